--- Every family of wane.convert: a model of the conformance data, made into the
--- checkpoint that Hugging Face's classes would save (support/checkpoint), is
--- converted into the model made by hand: the same tensors, the same settings,
--- the same logits or scores.
local support = require "spec.support"
local checkpoint = require "spec.support.checkpoint"
local converted = require "spec.support.converted"
local gguf = require "wane.gguf"
local model = require "wane.model"
local wane = require "wane"

-- Values that pass through 1 + w or exp and back differ in the last bit.
local ROUNDED = 1e-6

local function same_values(t, u)
  if t:raw() == u:raw() then return end
  local a, b = t:read(), u:read()
  local worst = 0
  for i = 1, #a do worst = math.max(worst, math.abs(a[i] - b[i]) / math.max(1, math.abs(a[i]))) end
  a:close()
  b:close()
  assert(worst <= ROUNDED, ("%s differs by %g"):format(t.name, worst))
end

-- Shape without trailing ones: a vector or a matrix of one row.
local function trimmed(shape)
  local n = #shape
  while n > 1 and shape[n] == 1 do n = n - 1 end
  return table.concat(shape, "x", 1, n)
end

local function same_tensors(f, g)
  for _, t in ipairs(f.tensors) do
    local u = assert(g:tensor(t.name), t.name .. " is missing")
    assert.equal(trimmed(t.shape), trimmed(u.shape), t.name)
    assert.equal("f32", u.type, t.name)
    same_values(t, u)
  end
  assert.equal(#f.tensors, #g.tensors)
end

-- Keys that a file made by hand has beside what the architecture reads, or that
-- have their default value there.
local function is_implied(f, key)
  local arch = f.meta["general.architecture"]
  local at = key:sub(#arch + 2)
  local function get(k) return f.meta[arch .. "." .. k] end
  local head = get "embedding_length" / get "attention.head_count"
  if at == "rope.dimension_count" then return f.meta[key] == (get "attention.key_length" or head) end
  if at == "attention.key_length" or at == "attention.value_length" then return f.meta[key] == head end
  return at == "vocab_size" or at == "pooling_type"
end

local function same_settings(f, g)
  local arch = f.meta["general.architecture"]
  for key, v in pairs(f.meta) do -- each on its own
    if key:sub(1, #arch + 1) == arch .. "." then
      local w = g.meta[key]
      if type(v) == "number" and type(w) == "number" then
        assert(math.abs(v - w) <= 1e-6 * math.abs(v), ("%s is %s, by hand %s"):format(key, w, v))
      elseif w ~= nil or not is_implied(f, key) then
        assert.same(v, w, key)
      end
    end
  end
end

-- Logits of a few tokens, or a score.
local function answer(path)
  local m = assert(model.load(path, { context = 64 }))
  local tokens, out = {}, {}
  for i = 1, 40 do tokens[i] = i * 37 % 250 + 8 end
  if m.hp.architecture == "bert" then
    local e = assert(m:embed(tokens, { pooling = m.hp.pooling == "rank" and "rank" or "mean", normalize = false }))
    for i = 1, #e do out[i] = e[i] end
  else
    local ctx = assert(m:context { kv = "f32", threads = 1 })
    local logits = assert(ctx:eval(tokens, { all = true }))
    for i = 1, #logits do out[i] = logits[i] end
    ctx:close()
  end
  m:close()
  return out
end

describe("convert:", function()
  support.check_leaks()
  for _, m in ipairs(converted.models) do
    it(m.name .. " from a checkpoint is the model made by hand", function()
      local path = support.conformance(converted.path(m))
      local dir = support.tmp "checkpoint"
      os.execute("mkdir -p " .. dir)
      local _, left = checkpoint.from_gguf(path, dir, { layout = m.layout })
      assert.same({}, left) -- the layout has a place for every tensor
      local f = assert(gguf.open(path))
      local to = dir .. ".gguf"
      local r = assert(wane.convert { from = dir, to = to, type = "f32", metadata = converted.metadata(m, path) })
      assert.equal(f.meta["general.architecture"], r.architecture)
      local g = assert(gguf.open(to))
      same_tensors(f, g)
      same_settings(f, g)
      f:close()
      g:close()
      local a, b, worst = answer(path), answer(to), 0
      assert.equal(#a, #b)
      for i = 1, #a do worst = math.max(worst, math.abs(a[i] - b[i])) end
      assert(worst <= 2e-4, ("answers differ by %g"):format(worst))
      os.execute(("rm -rf %s %s"):format(dir, to))
    end)
  end
end)
