--- Prints what every machine and instruction set must print alike (`make
--- check-neon` compares): for every weight type a digest of its blocks, as
--- encoded, and of their products with activations in the tier in force; what
--- perplexity the demo model has, shrunk to some types, and what it says.
local core = require "wane.core"
local wane = require "wane"
local demo = "examples/models/demo-f16.gguf"

local state = 1
local function uniform()
  state = (state * 16807) % 2147483647
  return state / 1073741824 - 1
end

local function matrix(rows, cols)
  local v = {}
  for i = 1, rows * cols do v[i] = uniform() * (i % 37 == 0 and 6 or 1) end
  return assert(wane.quant.buffer(rows, cols, v))
end

local function hex(bytes) return core.stream.digest_hex(core.stream.digest(nil, bytes)) end

local tiers = core.kern.tiers()
local ROWS, K, N = 43, 512, 9
local w, x, importance = matrix(ROWS, K), matrix(N, K), matrix(1, K)
for i = 1, K do importance[i] = 1 + math.abs(importance[i]) end

for _, t in ipairs(wane.quant.types()) do
  if t.class == "quant" or t.name == "f32" or t.name == "f16" or t.name == "bf16" then
    local blocks = assert(wane.quant.encode(t.name, w, { importance = importance }))
    local y = matrix(N, ROWS)
    local ok = pcall(core.kern.mm, tiers[#tiers], t.name, blocks:bytes(), x, y)
    print(t.name, hex(blocks:bytes()), ok and hex(y:bytes()) or "not multiplied")
  end
end

local text = assert(io.open("examples/text/heldout.txt")):read(6000)
for _, type in ipairs { "f16", "q8_0", "q4_K", "iq4_xs", "q4_0" } do
  local m = assert(wane.eval.shrink(demo, type))
  local r = assert(wane.eval.perplexity(m, text, { context = 128, chunks = 2 }))
  local said = {}
  for piece in m:generate("Once upon a time", { max_tokens = 24, temperature = 0 }) do said[#said + 1] = piece end
  print(type, ("%.6f"):format(r.perplexity), (table.concat(said):gsub("%s+", " ")))
  m:close()
end
