--- What quantizing the activations costs: perplexity of a quantized model
-- against the same weights as F32, where every product is a float one. In
-- every tier (make check-isa) at most 0.2 %; `ref` has no integer products.
local core = require "wane.core"
local quantize = require "wane.quantize"
local support = require "spec.support"
local wane = require "wane"

local reference = core.cpu().isa == "ref"
local TEXT = support.slurp "examples/text/heldout.txt"

local function perplexity(path)
  local m = assert(wane.load(path))
  local r = assert(wane.eval.perplexity(m, TEXT, { context = 512, chunks = reference and 1 or 3 }))
  m:close()
  return r.perplexity
end

describe("the accuracy of integer products", function()
  support.check_leaks()
  for _, recipe in ipairs { "Q8_0", "Q4_0", "Q4_K_M", "Q2_K", "IQ4_XS" } do
    it("keeps the perplexity of " .. recipe .. " within 0.2 % of the same weights as F32", function()
      local quantized, float = support.tmp "quantized.gguf", support.tmp "float.gguf"
      assert(quantize { from = "examples/models/demo-f16.gguf", to = quantized, recipe = recipe })
      assert(quantize { from = quantized, to = float, recipe = "F32", allow_requantize = true })
      local a, b = perplexity(quantized), perplexity(float)
      os.remove(quantized)
      os.remove(float)
      assert.equal(reference, a == b) -- both paths ran
      assert.near(1, a / b, 0.002)
    end)
  end
end)
