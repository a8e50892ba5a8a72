-- An idea for a format, judged before anybody writes C: a 16-level k-means
-- codebook with a scale for 32 weights, beside Q4_0, on the demo model.
local wane = require "wane"

local SOURCE = "examples/models/demo-f16.gguf"
local f = assert(io.open("examples/text/heldout.txt", "rb"))
local text = f:read "*a"
f:close()

-- only the feed-forward matrices: fitting in Lua takes its time
local codebook = wane.quant.codebook { levels = 16, block = 32, fit = "kmeans" }
local function only_down(to)
  return wane.recipe(function() return "keep" end):when("ffn_down", to)
end

local c = assert(wane.eval.compare {
  reference = SOURCE,
  candidates = {
    { name = "Q4_0", recipe = only_down "q4_0" },
    { name = "k-means codebook", recipe = only_down(codebook.name) },
    { name = "nf4", recipe = only_down "nf4" },
  },
  text = text, chunks = 3, speed = false,
})
print "feed-forward output matrices in 4 bits, everything else in F16:"
print(c)
