--- The demo model in llama.cpp and in wane: token ids, greedy text,
--- perplexity, and whole quantized files, in one process.
if not (jit and os.getenv "WANE_PEER") then return end
local peer = require "spec.support.peer"
local support = require "spec.support"
local wane = require "wane"

local DEMO = "examples/models/demo-f16.gguf"
local FTYPES = { Q8_0 = 7, Q4_0 = 2, Q4_K_M = 15 }

local function close_to(got, want, share)
  assert(math.abs(got - want) <= share * want, ("%.6f is not within %g of %.6f"):format(got, share, want))
end

describe("peer: the demo model", function()
  local text = support.slurp "examples/text/heldout.txt"

  it("has the same tokens", function()
    local theirs = peer.load(DEMO, { context = 64 })
    local ours = assert(wane.load(DEMO))
    for _, s in ipairs { text:sub(1, 20000), "", " ", "\n\n  x\t", "caf\195\169 \240\159\153\130", "\255\254 bad" } do
      assert.same(theirs:tokenize(s, true, false), ours.vocab:encode(s, { special = true }))
    end
    theirs:close()
    ours:close()
  end)

  for name, ftype in pairs { F16 = false, Q8_0 = 7, Q4_0 = 2, Q4_K_M = 15 } do
    it(name .. " has the same bytes, perplexity and greedy text", function()
      local path = DEMO
      if ftype then
        path = support.tmp(name .. ".gguf")
        local other = support.tmp(name .. "-peer.gguf")
        assert(wane.quantize { from = DEMO, to = path, recipe = name })
        assert.equals(0, tonumber(peer.quantize_file(DEMO, other, FTYPES[name])))
        assert.is_true(support.slurp(path) == support.slurp(other), name .. ": files differ")
        os.remove(other)
      end
      local theirs = peer.load(path, { context = 512 })
      local ours = assert(wane.load(path))
      local ids = ours.vocab:encode(text:sub(1, 60000), { special = true })
      close_to(assert(wane.eval.perplexity(ours, ids, { chunks = 20 })).perplexity, theirs:perplexity(ids, 512, 20), 1e-3)
      local prompt = ours.vocab:encode("Once upon a time", { special = true })
      local want, margins = theirs:greedy(prompt, 40)
      local got
      for _ in ours:generate(prompt, { max_tokens = 40, temperature = 0, on_end = function(s) got = s.ids end }) do
      end
      for i = 1, 40 do
        if margins[i] < 0.1 then break end -- a near tie: either may win from here
        assert.equals(want[i], got[i], "token " .. i)
      end
      theirs:close()
      ours:close()
      if ftype then os.remove(path) end
    end)
  end
end)
