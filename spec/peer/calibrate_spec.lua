--- Importance, perplexity and KL divergence on the demo model against the
--- figures of llama.cpp's own tools (conformance/eval).
if not (jit and os.getenv "WANE_PEER") then return end
local core = require "wane.core"
local cjson = require "cjson"
local peer = require "spec.support.peer"
local support = require "spec.support"
local wane = require "wane"

local SOURCE = "examples/models/demo-f16.gguf"

describe("peer: calibrating and judging", function()
  support.check_leaks()

  it("importance equals llama-imatrix", function()
    local theirs = assert(wane.imatrix.open(support.conformance "eval/demo.imatrix.dat"))
    local m = assert(wane.load(SOURCE, { context = 512 }))
    local ours = assert(wane.calibrate.imatrix(m, support.slurp "examples/text/calib.txt"))
    assert.equals(theirs.chunks, ours.chunks)
    assert.same(theirs:names(), ours:names())
    local n = 0
    for _, name in ipairs(theirs:names()) do
      local a, b = core.imatrix.floats(theirs:values(name)), core.imatrix.floats(ours:values(name))
      for i = 1, #a do
        n = n + 1
        assert(math.abs(a[i] - b[i]) <= 1e-3 * a[i], ("%s %d: %g is not %g"):format(name, i, b[i], a[i]))
      end
    end
    assert(n > 10000)
    theirs:close()
    m:close()
  end)

  it("perplexity and divergence equal llama-perplexity", function()
    local index = cjson.decode(support.slurp(support.conformance "eval/index.json"))
    local want = index.results.Q4_K_M.imatrix
    local file = support.tmp "q4.gguf"
    local r = assert(wane.quantize { from = SOURCE, to = file, recipe = "Q4_K_M",
      imatrix = support.conformance "eval/demo.imatrix.dat" })
    assert.equals(want.bytes, r.file_bytes)
    local ref, q = assert(wane.load(SOURCE, { context = 512 })), assert(wane.load(file, { context = 512 }))
    local text = support.slurp "examples/text/heldout.txt"
    local d = assert(wane.eval.divergence(ref, { q }, text, { chunks = 40 }))[1]
    -- its kernels round activations in another order: the fourth digit moves
    assert(math.abs(d.perplexity / want.ppl[1] - 1) < 1e-3, d.perplexity .. " is not " .. want.ppl[1])
    assert(math.abs(d.kld.mean - want.kld_mean[1]) < 4 * want.kld_mean[2], d.kld.mean .. " is not " .. want.kld_mean[1])
    assert(math.abs(100 * d.same_top - want.same_top_percent[1]) < 4 * want.same_top_percent[2])
    q:close()
    ref:close()
    os.remove(file)
  end)

  it("files encoded against measured inputs predict the same there", function()
    local file = support.tmp "gptq.gguf"
    local text = support.slurp "examples/text/heldout.txt"
    assert(wane.calibrate.gptq { from = SOURCE, to = file, recipe = "IQ3_XXS",
      text = support.slurp "examples/text/calib.txt", chunks = 4 })
    local ours = assert(wane.load(file, { context = 512 }))
    local mine = assert(wane.eval.perplexity(ours, text, { chunks = 16 })).perplexity
    local theirs = peer.load(file, { context = 512 })
    local ppl = theirs:perplexity(ours.vocab:encode(text, { special = true }), 512, 16)
    theirs:close()
    ours:close()
    assert(math.abs(mine / ppl - 1) < 1e-3, mine .. " is not " .. ppl)
    os.remove(file)
  end)
end)
