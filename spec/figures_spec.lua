--- Judging, against the figures of llama.cpp's own tool on the same text
--- (conformance/eval: the whole held-out text, and the first 40 chunks).
local support = require "spec.support"
local wane = require "wane"

local DEMO = "examples/models/demo-f16.gguf"
local SLOW = os.getenv "WANE_SLOW" ~= "0"

local function near(got, want, share)
  assert(math.abs(got - want) <= share * want, ("%.5f is not within %g of %.5f"):format(got, share, want))
end

describe("eval: llama.cpp's figures", function()
  local text
  support.check_leaks(function() text = support.slurp "examples/text/heldout.txt" end)

  it("gives llama.cpp's perplexity on 40 chunks", function()
    local m = assert(wane.load(DEMO))
    local r = assert(wane.eval.perplexity(m, text, { chunks = 40 }))
    near(r.perplexity, 22.6755, 1e-3)
    near(r.err, 0.54889, 0.02)
    assert.equals(40 * 255, r.tokens)
    m:close()
  end)

  -- type -> perplexity of the whole text with weights expanded ("deq")
  local whole = { F16 = 22.260, Q8_0 = 22.260, Q4_K_M = 22.374, Q4_0 = 22.518 }
  for name, want in pairs(whole) do
    it("gives llama.cpp's perplexity of the whole text for " .. name, function()
      if not SLOW then support.skip "slow" end
      local path = DEMO
      if name ~= "F16" then
        path = support.tmp(name .. ".gguf")
        assert(wane.quantize { from = DEMO, to = path, recipe = name })
      end
      local m = assert(wane.load(path))
      near(assert(wane.eval.perplexity(m, text)).perplexity, want, 1e-3)
      m:close()
      if path ~= DEMO then os.remove(path) end
    end)
  end

  it("finds no divergence of a model from itself", function()
    local m = assert(wane.load(DEMO))
    local d = assert(wane.eval.divergence(m, { m }, text, { chunks = 2 }))[1]
    assert.equals(0, d.kld.max)
    assert.equals(1, d.same_top)
    assert.equals(0, d.rms_dp)
    m:close()
  end)

  it("gives llama.cpp's divergence of Q4_K_M on 40 chunks", function()
    local path = support.tmp "q4km.gguf"
    assert(wane.quantize { from = DEMO, to = path, recipe = "Q4_K_M" })
    local m, q = assert(wane.load(DEMO)), assert(wane.load(path))
    local d = assert(wane.eval.divergence(m, { q }, text, { chunks = 40 }))[1]
    -- its figure includes its own 8-bit activations and half KV cache
    near(d.kld.mean, 0.006091, 0.1)
    near(d.same_top, 0.94088, 0.01)
    m:close()
    q:close()
    os.remove(path)
  end)

  it("says when the text is too short, and raises on unknown options", function()
    local m = assert(wane.load(DEMO))
    local r, message, code = wane.eval.perplexity(m, "short")
    assert.is_nil(r)
    assert.equals("EDATA", code)
    assert.truthy(message:find "fewer than one chunk")
    assert.error_matches(function() wane.eval.perplexity(m, text, { colour = 1 }) end,
      "eval%.perplexity: unknown option 'colour'")
    m:close()
  end)
end)
