--- A real checkpoint, all-MiniLM-L6-v2 (spec/support/fetch_real.sh): converted,
--- its embeddings are those of a computation in float64 from the safetensors
--- themselves, written from BERT's definition. LuaJIT: the other is too slow.
local support = require "spec.support"
local DIR = "build/real/minilm"
local safetensors = require "wane.convert.safetensors"
local wane = require "wane"

local TEXTS = {
  "The moon grows smaller every night.", "A quantized model is a smaller model, and nearly the same.", "42",
}
local HEADS, EPS = 12, 1e-12

-- erf to the last digits: a series for small x, a continued fraction for large.
local function erf(x)
  local a = math.abs(x)
  if a < 3 then
    local term, sum, n = a, a, 0
    repeat
      n = n + 1
      term = -term * a * a / n
      sum = sum + term / (2 * n + 1)
    until math.abs(term) < 1e-18 * math.abs(sum) or n > 200
    sum = 2 / math.sqrt(math.pi) * sum
    return x < 0 and -sum or sum
  end
  local f = 0
  for k = 60, 1, -1 do f = k / 2 / (a + f) end
  local v = 1 - math.exp(-a * a) / math.sqrt(math.pi) / (a + f)
  return x < 0 and -v or v
end

-- Tensors as Lua numbers.
local function reader(f)
  return function(name, first, n)
    local t = assert(f.tensors[name] or f.tensors["bert." .. name], name)
    local cols = t.shape[#t.shape]
    first, n = first or 0, n or t.n / cols
    local b = assert(safetensors.decode(t.dtype, assert(f:read(t, first * cols * t.size, n * cols * t.size)), n, cols))
    local out = {}
    for i = 1, #b do out[i] = b[i] end
    b:close()
    return out
  end
end

local function layer_norm(x, w, b)
  local n, mean, var = #x, 0, 0
  for i = 1, n do mean = mean + x[i] end
  mean = mean / n
  for i = 1, n do var = var + (x[i] - mean) ^ 2 end
  local scale = 1 / math.sqrt(var / n + EPS)
  for i = 1, n do x[i] = (x[i] - mean) * scale * w[i] + b[i] end
  return x
end

-- Rows of x through a matrix and its bias.
local function linear(get, name, rows)
  local w, b, out = get(name .. ".weight"), get(name .. ".bias"), {}
  local n = #rows[1]
  for t, x in ipairs(rows) do
    local y = {}
    for o = 1, #b do
      local sum, at = 0, (o - 1) * n
      for i = 1, n do sum = sum + w[at + i] * x[i] end
      y[o] = sum + b[o]
    end
    out[t] = y
  end
  return out
end

local function attend(q, k, v)
  local d, out = #q[1] / HEADS, {}
  for t = 1, #q do
    local y = {}
    for h = 0, HEADS - 1 do
      local p, sum, max = {}, 0, -math.huge
      for s = 1, #k do
        local dot = 0
        for i = h * d + 1, h * d + d do dot = dot + q[t][i] * k[s][i] end
        p[s] = dot / math.sqrt(d)
        max = math.max(max, p[s])
      end
      for s = 1, #k do
        p[s] = math.exp(p[s] - max)
        sum = sum + p[s]
      end
      for i = h * d + 1, h * d + d do
        local z = 0
        for s = 1, #v do z = z + p[s] * v[s][i] end
        y[i] = z / sum
      end
    end
    out[t] = y
  end
  return out
end

local function add_norm(get, name, x, y)
  local w, b = get(name .. ".weight"), get(name .. ".bias")
  for t = 1, #x do
    for i = 1, #x[t] do x[t][i] = x[t][i] + y[t][i] end
    layer_norm(x[t], w, b)
  end
end

-- The mean of the last layer's rows.
local function embedding(get, ids)
  local x, kind = {}, get("embeddings.token_type_embeddings.weight", 0, 1)
  local w, b = get "embeddings.LayerNorm.weight", get "embeddings.LayerNorm.bias"
  for t, id in ipairs(ids) do
    local word, place = get("embeddings.word_embeddings.weight", id, 1), get("embeddings.position_embeddings.weight", t - 1, 1)
    for i = 1, #word do word[i] = word[i] + place[i] + kind[i] end
    x[t] = layer_norm(word, w, b)
  end
  for l = 0, 5 do
    local at = ("encoder.layer.%d."):format(l)
    local q, k, v = linear(get, at .. "attention.self.query", x), linear(get, at .. "attention.self.key", x),
      linear(get, at .. "attention.self.value", x)
    add_norm(get, at .. "attention.output.LayerNorm", x, linear(get, at .. "attention.output.dense", attend(q, k, v)))
    local h = linear(get, at .. "intermediate.dense", x)
    for _, row in ipairs(h) do
      for i = 1, #row do row[i] = 0.5 * row[i] * (1 + erf(row[i] / math.sqrt(2))) end
    end
    add_norm(get, at .. "output.LayerNorm", x, linear(get, at .. "output.dense", h))
  end
  local mean = {}
  for i = 1, #x[1] do
    mean[i] = 0
    for t = 1, #x do mean[i] = mean[i] + x[t][i] / #x end
  end
  return mean
end

local function distance(a, b)
  local dot, aa, bb = 0, 0, 0
  for i = 1, #a do dot, aa, bb = dot + a[i] * b[i], aa + a[i] ^ 2, bb + b[i] ^ 2 end
  return 1 - dot / math.sqrt(aa * bb)
end

describe("real: all-MiniLM-L6-v2", function()
  it("embeds as float64 does", function()
    if not support.exists(DIR .. "/model.safetensors") then return support.skip "run sh spec/support/fetch_real.sh" end
    if not jit then return support.skip "float64 in Lua 5.4 is slow" end
    local f = assert(safetensors.open(DIR))
    local get, want, ids = reader(f), {}, {}
    for _, kind in ipairs { "f32", "f16" } do
      local to = support.tmp(kind .. ".gguf")
      assert(wane.convert { from = DIR, to = to, type = kind })
      local v, m = assert(wane.vocab.open(to)), assert(wane.load(to))
      for i, text in ipairs(TEXTS) do
        ids[i] = ids[i] or assert(v:encode(text, { special = true }))
        want[i] = want[i] or embedding(get, ids[i])
        local e = assert(m:embed(ids[i], { normalize = false }))
        assert.equal(384, #e)
        local d = distance(want[i], e)
        print(("minilm %s, %d tokens: cosine distance %.2e"):format(kind, #ids[i], d))
        assert(d < 1e-5, ("%s: cosine distance %g, want below 1e-5"):format(text, d))
      end
      v:close()
      m:close()
      os.remove(to)
    end
    f:close()
  end)
end)
