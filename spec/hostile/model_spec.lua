--- HARDENING K and the K-like rows of M and A: files that parse, but whose
--- metadata or tensors make no model. Each is refused with the exact code and
--- a message that names the key or tensor; nothing leaks, and a good file
--- loads afterwards.
local support = require "spec.support"
local tiny = require "spec.support.tiny"
local core = require "wane.core"
local model = require "wane.model"

local LIMITS = core.limits()

-- { id, what, code, pattern, edit(meta, tensors) }
local rows = {}
local function row(id, what, code, pattern, edit, over)
  rows[#rows + 1] = { id = id, what = what, code = code, pattern = pattern, edit = edit, over = over }
end

-- Replaces, adds or (kind nil) removes a key.
local function set(meta, key, kind, value, elem)
  for i, kv in ipairs(meta) do
    if kv[1] == key then
      if kind then meta[i] = { key, kind, value, elem } else table.remove(meta, i) end
      return
    end
  end
  meta[#meta + 1] = { key, kind, value, elem }
end
local function with(key, kind, value, elem)
  return function(meta) set(meta, "llama." .. key, kind, value, elem) end
end

-- K1: required keys of every other type.
local VALUES = {
  u8 = 1, i8 = 1, u16 = 1, i16 = 1, u32 = 1, i32 = 1, f32 = 1, bool = true, string = "1", u64 = 1,
  i64 = 1, f64 = 1,
}
local KINDS = { "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "u64", "i64", "f64" }
local REQUIRED = {
  { "block_count", "u32" }, { "context_length", "u32" }, { "embedding_length", "u32" },
  { "feed_forward_length", "u32" }, { "attention.head_count", "u32" },
  { "attention.layer_norm_rms_epsilon", "f32" },
}
for _, r in ipairs(REQUIRED) do
  for _, kind in ipairs(KINDS) do
    if kind ~= r[2] then
      row("K1", r[1] .. " as " .. kind, "EFORMAT", "key llama%." .. r[1]:gsub("%.",
        "%%.") .. " is " .. kind .. ", want " .. r[2],
        with(r[1], kind, VALUES[kind]))
    end
  end
  row("K2", r[1] .. " missing", "EFORMAT", "key llama%." .. r[1]:gsub("%.",
    "%%.") .. " is missing, want " .. r[2], with(r[1]))
  row("K2", r[1] .. " as an empty array", "EFORMAT", "key llama%." .. r[1]:gsub("%.", "%%."),
    with(r[1], "array", {}, "u32"))
end
for _, key in ipairs { "attention.head_count_kv", "rope.dimension_count", "expert_count" } do
  row("K1", "optional " .. key .. " as string", "EFORMAT", "is string, want u32", with(key, "string", "4"))
end
row("K1", "rope.freq_base as u32", "EFORMAT", "is u32, want f32", with("rope.freq_base", "u32", 10000))
row("K1", "rope.scaling.type as u32", "EFORMAT", "is u32, want string", with("rope.scaling.type", "u32", 1))

-- K3: counts at and beyond their limits.
local BIG = 4294967295
for key, limit in pairs {
  block_count = LIMITS.MAX_LAYERS, context_length = LIMITS.MAX_CONTEXT, embedding_length = LIMITS.MAX_WIDTH,
  feed_forward_length = LIMITS.MAX_WIDTH, ["attention.head_count"] = LIMITS.MAX_HEADS,
  ["attention.head_count_kv"] = LIMITS.MAX_HEADS,
} do
  local name = "key llama%." .. key:gsub("%.", "%%.")
  row("K3", key .. " = 0", "EFORMAT", name .. " is 0, ", with(key, "u32", 0))
  row("K3", key .. " one beyond its limit", "ELIMIT", name .. " is " .. limit + 1,
    with(key, "u32", limit + 1))
  row("K3", key .. " = 2^32-1", "ELIMIT", name .. " is 4294967295", with(key, "u32", BIG))
end
row("K3", "more layers than tensors", "EFORMAT", "tensor blk%.2%..* is missing",
  with("block_count", "u32", LIMITS.MAX_LAYERS))
row("K3", "one layer less: tensors are left over", "EUNSUP", "9 tensors that llama does not use: blk%.1%.",
  with("block_count", "u32", 1))
row("K3", "experts beyond the limit", "ELIMIT", "expert_count is 4097",
  with("expert_count", "u32", LIMITS.MAX_EXPERTS + 1))
row("K3", "a rope of 2^32-1", "ELIMIT", "rope%.dimension_count is", with("rope.dimension_count", "u32", BIG))
row("K3", "head length 0", "EFORMAT", "key_length is 0", with("attention.key_length", "u32", 0))
row("K3", "vocab_size 0", "EFORMAT", "vocab_size is 0", with("vocab_size", "u32", 0))
row("K3", "vocab_size beyond the limit", "ELIMIT", "vocab_size is",
  with("vocab_size", "u32", LIMITS.MAX_VOCAB + 1))
row("K3", "original context 0", "EFORMAT", "original_context_length is 0",
  with("rope.scaling.original_context_length", "u32", 0))

-- K4: numbers that contradict each other.
row("K4", "heads that key heads do not divide", "EFORMAT", "4 heads are not a multiple of 3",
  with("attention.head_count_kv", "u32", 3))
row("K4", "more key heads than heads", "EFORMAT", "4 heads are not a multiple of 8",
  with("attention.head_count_kv", "u32", 8))
row("K4", "a width that heads do not divide", "EFORMAT", "not a multiple of 5 heads", function(meta)
  set(meta, "llama.attention.head_count", "u32", 5)
  set(meta, "llama.attention.head_count_kv", "u32", 1)
end)
row("K4", "an odd rope", "EFORMAT", "want an even number", with("rope.dimension_count", "u32", 7))
row("K4", "a rope beyond the head", "ELIMIT", "rope%.dimension_count is 32, want 0 to 16",
  with("rope.dimension_count", "u32", 32))
row("K4", "more experts used than there are", "ELIMIT", "expert_used_count is 7, want 1 to 4", function(meta)
  set(meta, "llama.expert_count", "u32", 4)
  set(meta, "llama.expert_used_count", "u32", 7)
end)
row("K4", "experts, none used", "EFORMAT", "expert_used_count is 0", function(meta)
  set(meta, "llama.expert_count", "u32", 4)
  set(meta, "llama.expert_used_count", "u32", 0)
end)
row("K4", "experts, used unsaid", "EFORMAT", "expert_used_count is missing", with("expert_count", "u32", 4))
for what, value in pairs { zero = 0, negative = -1, NaN = 0 / 0, infinite = math.huge } do
  row("K4", "eps " .. what, "EFORMAT", "layer_norm_rms_epsilon is",
    with("attention.layer_norm_rms_epsilon", "f32", value))
  row("K4", "freq_base " .. what, "EFORMAT", "rope%.freq_base is", with("rope.freq_base", "f32", value))
end
row("K4", "eps 2", "EFORMAT", "epsilon is 2, want at most 1",
  with("attention.layer_norm_rms_epsilon", "f32", 2))
row("K4", "scaling factor NaN", "EFORMAT", "rope%.scaling%.factor is",
  with("rope.scaling.factor", "f32", 0 / 0))
row("K4", "scaling factor -4", "EFORMAT", "rope%.scaling%.factor is %-4",
  with("rope.scaling.factor", "f32", -4))
row("K4", "scaling of an unknown kind", "EFORMAT", 'rope%.scaling%.type is "wiggle"',
  with("rope.scaling.type", "string", "wiggle"))
row("K4", "YaRN of factor 1e-30", "EFORMAT", "factor", function(meta)
  set(meta, "llama.rope.scaling.type", "string", "yarn")
  set(meta, "llama.rope.scaling.factor", "f32", 2 ^ -100)
end)

-- K5: arrays for layers.
row("K5", "heads for 1 of 2 layers", "EFORMAT", "head_count has 1 values for 2 layers",
  with("attention.head_count", "array", { 4 }, "u32"))
row("K5", "widths for 3 of 2 layers", "EFORMAT", "feed_forward_length has 3 values for 2 layers",
  with("feed_forward_length", "array", { 96, 96, 96 }, "u32"))
row("K5", "heads as floats", "EFORMAT", "is an array of f32, want u32",
  with("attention.head_count", "array", { 4, 4 }, "f32"))
row("K5", "a layer without heads", "EFORMAT", "head_count is 0, but blk%.1%.attn_q is needed",
  with("attention.head_count", "array", { 4, 0 }, "u32"))
row("K5", "arrays that fit", "OK", nil, with("attention.head_count", "array", { 4, 4 }, "u32"))

-- K6: architectures.
for _, name in ipairs { "../../x", "init", "graph", "hparams", "Llama", "llama\0", "", ("x"):rep(65536) } do
  row("K6", "architecture " .. name:sub(1, 20), "EUNSUP", "unknown architecture", function(meta)
    set(meta, "general.architecture", "string", name)
  end)
end
row("K6", "architecture missing", "EFORMAT", "general%.architecture is missing",
  function(meta) set(meta, "general.architecture") end)
row("K6", "architecture as a number", "EFORMAT", "general%.architecture is u32, want string",
  function(meta) set(meta, "general.architecture", "u32", 1) end)

-- K7: tensors.
local function drop(name)
  return function(_, tensors)
    for i, t in ipairs(tensors) do
      if t.name == name then return table.remove(tensors, i) end
    end
  end
end
local function replace(name, kind, shape, bytes)
  return function(_, tensors)
    for _, t in ipairs(tensors) do
      if t.name == name then t.type, t.shape, t.data = kind, shape, ("\0"):rep(bytes) end
    end
  end
end
for _, name in ipairs {
  "token_embd.weight", "blk.0.attn_norm.weight", "blk.1.attn_q.weight", "blk.1.ffn_down.weight",
  "output_norm.weight",
} do
  row("K7", name .. " missing", "EFORMAT", "tensor " .. name:gsub("%.", "%%.") .. " is missing", drop(name))
end
row("K7", "a transposed matrix", "EFORMAT", "ffn_up%.weight is 96 x 64, want 64 x 96",
  replace("blk.0.ffn_up.weight", "f32", { 96, 64 }, 4 * 96 * 64))
row("K7", "a longer vector", "EFORMAT", "attn_norm%.weight is 65, want 64",
  replace("blk.0.attn_norm.weight", "f32", { 65 }, 4 * 65))
row("K7", "a vector of two rows", "EFORMAT", "attn_norm%.weight is 64 x 2, want 64",
  replace("blk.0.attn_norm.weight", "f32", { 64, 2 }, 512))
row("K7", "a smaller vocabulary", "EFORMAT", "token_embd%.weight is 64 x 79, want 64 x 80",
  replace("token_embd.weight", "f32", { 64, 79 }, 4 * 64 * 79))
row("K7", "a vector in blocks", "EFORMAT", "attn_norm%.weight is q8_0, want f32, f16 or bf16",
  replace("blk.0.attn_norm.weight", "q8_0", { 64 }, 68))
row("K7", "a matrix of integers", "EUNSUP", "ffn_up%.weight is i32, want a type that can be multiplied",
  replace("blk.0.ffn_up.weight", "i32", { 64, 96 }, 4 * 96 * 64))
row("K7", "a tensor too many", "EUNSUP", "1 tensors that llama does not use: blk%.0%.surprise", function(_, tensors)
  tensors[#tensors + 1] = { name = "blk.0.surprise", type = "f32", shape = { 4 }, data = ("\0"):rep(16) }
end)

local good
local function good_file_loads()
  local m = assert(model.load(good))
  local ctx = assert(m:context { threads = 1 })
  assert(ctx:eval { 1, 2, 3 })
  ctx:close()
  m:close()
end

describe("hostile models", function()
  support.check_leaks()
  setup(function() good = tiny.write() end)
  teardown(function() os.remove(good) end)

  for _, r in ipairs(rows) do
    it(r.id .. ": " .. r.what, function()
      local path = tiny.write(r.over, r.edit)
      local t0 = os.clock()
      local m, msg, code = model.load(path)
      assert(os.clock() - t0 < 2, "took too long")
      if r.code == "OK" then
        assert(m, msg)
        m:close()
      else
        assert.is_nil(m)
        assert.equal(r.code, code, msg)
        assert.truthy(msg:find(path, 1, true) == 1, msg)
        assert.truthy(msg:find(r.pattern), msg .. "\n  want " .. r.pattern)
        assert.falsy(msg:find "[%c\128-\255]", "control characters in the message")
      end
      os.remove(path)
      good_file_loads()
    end)
  end

  it("A2: a limit on memory refuses before allocating, with both numbers", function()
    local m, msg, code = model.load(good, { max_bytes = 1000 })
    assert.is_nil(m)
    assert.equal("ENOMEM", code)
    assert.truthy(msg:find "weights of %d+ bytes, max_bytes is 1000", msg)
    m = assert(model.load(good))
    local before = core.memory().bytes
    core.reset_peak()
    local ctx
    ctx, msg, code = m:context { max_bytes = 5000 }
    assert.is_nil(ctx)
    assert.equal("ENOMEM", code)
    assert.truthy(msg:find "cache of %d+ bytes and buffers of %d+, max_bytes is 5000", msg)
    assert.truthy(core.memory().peak_bytes - before < 200000)
    local e = assert(m:estimate())
    ctx = assert(m:context { max_bytes = e.cache + e.buffers })
    assert.truthy(ctx:info().bytes <= e.cache + e.buffers)
    ctx:close()
    m:close()
  end)

  it("M5: without a map the weights are read, and the results are the same", function()
    local a, b = assert(model.load(good)), assert(model.load(good, { map = false }))
    assert.is_true(a:info().mapped)
    assert.is_false(b:info().mapped)
    local ca, cb = assert(a:context()), assert(b:context())
    assert.truthy(assert(ca:eval { 5, 6, 7 }):bytes() == assert(cb:eval { 5, 6, 7 }):bytes())
    for _, x in ipairs { ca, cb, a, b } do x:close() end
  end)

  it("the map is refused: loading says why and reads", function()
    assert(core.gguf.fail_os)("mmap", 1, "ENOMEM")
    local m = assert(model.load(good))
    assert.is_false(m:info().mapped)
    assert.truthy(#m:info().map_error > 0)
    m:close()
  end)

  it("misuse of a context raises and changes nothing", function()
    local m = assert(model.load(good))
    local ctx = assert(m:context { context = 8, batch = 4, sequences = 2 })
    assert(ctx:step { 1, 2, 3 })
    for _, bad in ipairs {
      { "token 1 is %-1, want 0 to 79", -1 }, { "token 1 is 80, want 0 to 79", 80 }, { "item 1: want an integer", 2 ^ 31 },
      { "a step of 0 tokens, want 1 to 4" }, { "a step of 5 tokens, want 1 to 4", 1, 2, 3, 4, 5 },
      { "item 1: want an integer .* got string", "x" }, { "item 1: want an integer .* got 1.5", 1.5 },
    } do
      local why = table.remove(bad, 1)
      assert.error_matches(function() ctx:step(bad) end, why)
    end
    assert.error_matches(function() ctx:step({ 1 }, { seq = 3 }) end, "token 1 is for sequence 3 of 2")
    assert.error_matches(function() ctx:step({ 1 }, { seq = 0 }) end,
      "ctx:step: option 'seq': item 1: want an integer from 1 to 4294967295, got 0")
    assert.error_matches(function() ctx:step({ 1 }, { sequence = 1 }) end, "unknown option 'sequence'")
    assert.error_matches(function() ctx:step({ 1 }, { want = "some" }) end,
      'ctx:step: option .want.: want "last", "none", "all" or a list of booleans')
    assert.error_matches(function() ctx:truncate(1, 3) end, "sequence 3 of 2")
    assert.error_matches(function() ctx:copy(1, 2, 4) end, "4 tokens of a sequence of 3")
    assert.equal(3, ctx:n_past())
    assert(ctx:step { 1, 2, 3, 4 })
    assert.error_matches(function() ctx:step { 1, 2 } end, "sequence 1 is full: it holds 7 tokens, the context 8") -- 7 + 2 > 8
    assert(ctx:step { 1 })
    assert.equal(8, ctx:n_past())
    ctx:close()
    assert.is_true(ctx:close())
    assert.has_error(function() ctx:step { 1 } end, "wane: context is closed")
    m:close()
    assert.error_matches(function() m:context() end, "model is closed")
  end)

  it("L2: a context outlives its model", function()
    local m = assert(model.load(good))
    local ctx = assert(m:context())
    local want = assert(ctx:eval { 9 }):bytes()
    m:close()
    m = nil
    support.collect()
    assert(ctx:truncate(0))
    assert.equal(2, (assert(ctx:eval({ 9, 9 }, { all = true })):shape()))
    assert(ctx:truncate(0))
    assert(ctx:step { 9 })
    assert.truthy(want == ctx:logits(1):bytes())
    assert.is_nil(m)
    ctx:close()
  end)

  it("A1: any failing allocation gives an error and leaks nothing", function()
    local before = core.memory().blocks
    for n = 1, 400 do
      core.fail_alloc(n)
      local ok, m, msg, code = pcall(model.load, good)
      if ok and m then
        local ok2, ctx, msg2, code2 = pcall(m.context, m, { context = 16 })
        core.fail_alloc(0)
        if ok2 and ctx then
          ctx:close()
          m:close()
          support.collect()
          break
        end
        assert.equal("ENOMEM", code2, tostring(msg2))
        m:close()
      else
        core.fail_alloc(0)
        if ok then assert.equal("ENOMEM", code, tostring(msg)) end
      end
      m = nil -- luacheck: ignore
      support.collect()
      assert.equal(before, core.memory().blocks, "after failure " .. n)
    end
    core.fail_alloc(0)
    good_file_loads()
  end)
end)
