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

local unpack = rawget(table, "unpack") or rawget(_G, "unpack")

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

-- Experts as gpt-oss ships them, of random codes: the tensors NAME_blocks
-- (experts, rows, blocks, 16) and NAME_scales, and a function that gives the
-- blocks of some rows as llama.cpp's converter writes them: the scale, then in
-- each byte value i (low half) and value i + 16 of the 32, where the checkpoint
-- has 2 i and 2 i + 1.
local function packed_experts(name, n, rows, cols, seed)
  local per, blocks, scales = cols / 32, {}, {}
  for b = 1, n * rows * per do
    local bytes = {}
    for i = 1, 16 do
      seed = (seed * 16807) % 2147483647
      bytes[i] = seed % 256
    end
    blocks[b], scales[b] = bytes, 116 + seed % 5
  end
  local function written(first, step)
    local out = {}
    for e = 0, n - 1 do
      for r = first, rows - 1, step do
        for k = 1, per do
          local at = (e * rows + r) * per + k
          out[#out + 1] = string.char(scales[at])
          local function code(i)
            local byte = blocks[at][math.floor(i / 2) + 1]
            return i % 2 == 0 and byte % 16 or math.floor(byte / 16)
          end
          for i = 0, 15 do out[#out + 1] = string.char(code(i) + 16 * code(i + 16)) end
        end
      end
    end
    return table.concat(out)
  end
  local flat = {}
  for b, bytes in ipairs(blocks) do flat[b] = string.char(unpack(bytes)) end
  local bytes = {}
  for b, v in ipairs(scales) do bytes[b] = string.char(v) end
  return {
    { name = name .. "_blocks", dtype = "U8", shape = { n, rows, per, 16 }, bytes = table.concat(flat) },
    { name = name .. "_scales", dtype = "U8", shape = { n, rows, per }, bytes = table.concat(bytes) },
  }, written
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

  it("gpt-oss with MXFP4 experts gives llama.cpp's blocks, byte for byte", function()
    local path = support.conformance "logits/gpt-oss/gpt-oss.F32.gguf"
    local dir = support.tmp "checkpoint"
    os.execute("mkdir -p " .. dir)
    local config = checkpoint.from_gguf(path, dir)
    local list, wanted, f = {}, {}, assert(require("wane.convert.safetensors").open(dir))
    for i, name in ipairs(f.names) do
      local t = f.tensors[name]
      local layer, what = name:match "^model%.layers%.(%d+)%.mlp%.experts%.([%w_]+)_proj$"
      if layer then -- (experts, columns, rows)
        local two, written = packed_experts(name, t.shape[1], t.shape[3], t.shape[2], i)
        for _, x in ipairs(two) do list[#list + 1] = x end
        local function want(part, first, step) wanted[("blk.%s.ffn_%s_exps.weight"):format(layer, part)] = written(first, step) end
        if what == "down" then want("down", 0, 1) else want("gate", 0, 2) want("up", 1, 2) end
      else
        list[#list + 1] = { name = name, dtype = t.dtype, shape = t.shape, bytes = assert(f:read(t, 0, t.bytes)) }
      end
    end
    f:close()
    checkpoint.safetensors(dir .. "/model.safetensors", list)
    config.quantization_config = { quant_method = "mxfp4" }
    checkpoint.write(dir .. "/config.json", require("wane.json").encode(config))
    local to = dir .. ".gguf"
    assert(wane.convert { from = dir, to = to, type = "f32" })
    local g, n = assert(gguf.open(to)), 0
    for name, bytes in pairs(wanted) do
      local t = assert(g:tensor(name), name)
      assert.equal("mxfp4", t.type)
      assert.is_true(t:raw() == bytes, name)
      n = n + 1
    end
    assert.equal(3 * g.meta["gpt-oss.block_count"], n)
    g:close()
    for _, v in ipairs(answer(to)) do assert.is_true(math.abs(v) < 1e4) end
    os.execute(("rm -rf %s %s"):format(dir, to))
  end)
end)
