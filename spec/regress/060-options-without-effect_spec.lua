-- Options, rules and patterns that could have no effect were ignored, or
-- refused with a reason that was not true.
local gguf = require "wane.gguf"
local quantize = require "wane.quantize"
local recipe = require "wane.recipe"
local support = require "spec.support"
local wane = require("spec.support.cli").run

-- A model of zeros with these tensors (name -> shape) and metadata.
local function model(tensors, meta)
  local list = {}
  for name, shape in pairs(tensors) do
    local n = 1
    for _, d in ipairs(shape) do n = n * d end
    list[#list + 1] = { name = name, type = "f16", shape = shape, data = ("\0\60"):rep(n) }
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  local all = { { "general.architecture", "string", "llama" }, { "llama.block_count", "u32", 2 } }
  for _, e in ipairs(meta or {}) do all[#all + 1] = e end
  local path = support.tmp "small.gguf"
  assert(gguf.write { path = path, meta = all, tensors = list })
  return path
end

local shapes = {
  ["token_embd.weight"] = { 256, 8 }, ["output.weight"] = { 256, 8 }, ["blk.0.ffn_up.weight"] = { 256, 4 },
  ["blk.0.ffn_down.weight"] = { 256, 4 }, ["blk.1.ffn_up.weight"] = { 256, 4 }, ["blk.1.ffn_down.weight"] = { 256, 4 },
  ["blk.0.ffn_gate_inp.weight"] = { 256, 4 }, ["blk.0.attn_norm.weight"] = { 256 },
}

describe("options of quantize", function()
  support.check_leaks()
  local from
  before_each(function() from = model(shapes) end)
  after_each(function() os.remove(from) end)

  local function types(o)
    o.from = from
    local plan, why = quantize.plan(o)
    if not plan then return nil, why end
    local to = {}
    for _, d in ipairs(plan.tensors) do to[d.name] = d.to end
    return to, plan
  end

  it("choose types over an unquantized base too", function()
    for _, base in ipairs { "F16", "BF16", "F32" } do
      local to = assert(types { recipe = base, tensor_types = { { "blk\\.0\\.ffn_(up|down)", "q8_0" } } })
      assert.equals("q8_0", to["blk.0.ffn_up.weight"])
      assert.equals("q8_0", to["blk.0.ffn_down.weight"])
      assert.equals(base:lower(), to["blk.1.ffn_up.weight"])
    end
  end)

  it("name who decides instead", function()
    for want, o in pairs {
      ["'ffn_down' never decides: of its 2 tensors tensor_types 'ffn' decides for 2"] =
        { tensor_types = { { "ffn", "q5_K" }, { "ffn_down", "q8_0" } } },
      ["'token_embd' never decides: of its 1 tensors token_embedding_type decides for 1"] =
        { token_embedding_type = "q6_K", tensor_types = { { "token_embd", "q8_0" } } },
      ["'^output' never decides: of its 1 tensors output_tensor_type decides for 1"] =
        { output_tensor_type = "q6_K", tensor_types = { { "^output", "q8_0" } } },
      ["'gate_inp' matches only what is never quantized: blk.0.ffn_gate_inp.weight"] = { tensor_types = { { "gate_inp", "q8_0" } } },
      ["'nothing' matches no tensor"] = { tensor_types = { { "nothing", "q8_0" } } },
    } do
      o.recipe = "Q4_K"
      local to, why = types(o)
      assert.is_nil(to)
      assert.truthy(why:find(want, 1, true), why)
    end
    for want, r in pairs {
      ["never decides: of its 2 tensors tensor_types 'ffn' decides for 2"] = recipe "Q4_K":when("ffn_down", "q8_0"),
      ["never decides: of its 2 tensors layers(0, 1, q6_K)"] = recipe "Q4_K":when("ffn_up", "q8_0"):layers(0, 1, "q6_K"),
      ["matches only what is never quantized: blk.0.ffn_gate_inp.weight"] = recipe "Q4_K":when("gate_inp", "q8_0"),
      ["matches no tensor"] = recipe "Q4_K":when("attn_q", "q8_0"),
    } do
      local patterns = want:find "tensor_types" and { { "ffn", "q5_K" } } or nil
      local to, why = types { recipe = r, tensor_types = patterns }
      assert.is_nil(to)
      assert.truthy(why:find(want, 1, true), why)
    end
  end)

  it("cannot be given to a copy", function()
    for name, value in pairs {
      recipe = "Q4_K", tensor_types = { { "ffn", "q8_0" } }, output_tensor_type = "q8_0", token_embedding_type = "q8_0",
      imatrix = { x = { 1 } }, pure = true, fallback = "error", leave_output_tensor = true, nonfinite = "zero",
    } do
      local ok, why = pcall(quantize, { from = from, to = from .. ".out", only_copy = true, [name] = value })
      assert.is_false(ok)
      assert.truthy(why:find(("changes no type: option '%s' cannot be used with it"):format(name), 1, true), why)
    end
    local status, _, notes = wane("quantize", from, from .. ".out", "COPY", "--tensor-type", "ffn=q8_0")
    assert.equals(1, status)
    assert.truthy(notes:find("COPY changes no type: --tensor-type cannot be used with it", 1, true), notes)
  end)

  it("keep the meaning of classes on the command line", function()
    local status, _, notes = wane("quantize", from, "-", "Q4_K", "--dry-run", "--tensor-type", "blk\\.\\D+\\.ffn_down=q8_0")
    assert.equals(1, status)
    assert.truthy(notes:find("matches no tensor", 1, true), notes)
    local text
    status, text = wane("quantize", from, "-", "Q4_K", "--dry-run", "--tensor-type", "^blk\\.0\\.ffn_\\S+=q8_0")
    assert.equals(0, status)
    assert.equals(2, select(2, text:gsub("blk%.0%.ffn_[^\n]*q8_0", "")))
    status = wane("quantize", from, "-", "Q4_K", "--dry-run", "--tensor-type", "FFN_DOWN=q8_0") -- llama.cpp's users write so
    assert.equals(0, status)
  end)

  it("may have comments in files", function()
    local list = support.tmp "types.txt"
    support.spit(list, "# what matters\nffn_down=q8_0 # twice as large\n  # indented\nffn_up=q6_K\n")
    local status, text, notes = wane("quantize", from, "-", "Q4_K", "--dry-run", "--tensor-type-file", list)
    assert.equals(0, status, notes)
    assert.truthy(text:find "blk%.0%.ffn_up[^\n]*q6_K")
    os.remove(list)
  end)

  it("show tests of rules the documented view", function()
    local seen = {}
    local r = recipe "Q4_K":when(function(t)
      seen[#seen + 1] = { t.n_layers, t.arch, t.n_experts, t.chosen, t.role }
      t.shape[1] = 1
      assert.equals(256, t.shape[1])
      return t.layer and t.layer >= t.n_layers - 1
    end, "q8_0")
    local to = assert(types { recipe = r })
    assert.equals("q8_0", to["blk.1.ffn_up.weight"])
    assert.equals("q4_K", to["blk.0.ffn_up.weight"])
    assert.equals(2, seen[1][1])
    assert.equals("llama", seen[1][2])
    assert.is_string(seen[1][4])
    assert.has_error(function() types { recipe = recipe "Q4_K":when(function(t) return t.rol == "x" end, "q8_0") } end,
      "wane: a tensor has no field 'rol'")
    assert.has_error(function() types { recipe = recipe "Q4_K":when(function(t) t.role = "x" end, "q8_0") } end,
      "wane: tensors are read-only (assigning 'role')")
  end)

  it("list everything that lacks importance at once", function()
    assert.is_table((types { recipe = "IQ2_XS" })) -- a plan only warns
    local values = {}
    for i = 1, 256 do values[i] = i end
    local r, why = quantize { from = from, to = from .. ".out", recipe = "IQ2_XS",
      imatrix = { ["blk.0.ffn_up.weight"] = values } }
    assert.is_nil(r)
    assert.truthy(why:find("blk.1.ffn_down.weight", 1, true) and why:find("blk.1.ffn_up.weight", 1, true), why)
  end)
end)

describe("edits of metadata", function()
  support.check_leaks()
  local from
  before_each(function()
    from = model(shapes, {
      { "x.i32", "i32", -5 }, { "x.i64", "i64", "-1099511627776" }, { "x.u64", "u64", 2 ^ 40 }, { "x.f64", "f64", 1.5 },
      { "x.u16", "u16", 3 }, { "x.f32", "f32", 10000 }, { "x.bool", "bool", true }, { "x.str", "string", "a" },
      { "llama.attention.head_count_kv", "array", { 4, 2 }, "i32" }, { "llama.feed_forward_length", "array", { 8, 16 }, "u32" },
      { "llama.attention.sliding_window_pattern", "array", { true, false }, "bool" },
      { "llama.rope.dimension_sections", "array", { 3, 5 }, "i32" }, { "llama.leading_dense_block_count", "u32", 1 },
    })
  end)
  after_each(function() os.remove(from) os.remove(from .. ".out") end)

  local function edit(o)
    o.from, o.to, o.overwrite, o.only_copy = from, from .. ".out", true, true
    local r, why, code = quantize(o)
    if not r then return nil, why, code end
    local f = assert(gguf.open(from .. ".out"))
    local values = {}
    for _, key in ipairs(f:keys()) do
      local kind, elem = f:type_of(key)
      values[key] = { kind, f.meta[key], elem }
    end
    f:close()
    return values
  end

  it("keep the types of keys", function()
    local v = assert(edit { metadata = {
      { key = "x.i32", value = -7 }, { key = "x.i64", value = -3 }, { key = "x.u64", value = "1099511627777" , type = "int" },
      { key = "x.f64", value = 2 }, { key = "x.u16", value = 9 }, { key = "x.f32", value = 500000 }, { key = "new.neg", value = -1 },
      { key = "new.pos", value = 1 }, { key = "new.float", value = 2, type = "float" }, { key = "x.str", value = "b" },
    } })
    local function is(key, kind, value)
      assert.equals(kind, v[key][1], key)
      assert.equals(value, v[key][2], key)
    end
    is("x.i32", "i32", -7)
    is("x.i64", "i64", -3)
    is("x.u64", "u64", 1099511627777)
    is("x.f64", "f64", 2)
    is("x.u16", "u16", 9)
    is("x.f32", "f32", 500000)
    is("new.neg", "i32", -1)
    is("new.pos", "u32", 1)
    is("new.float", "f32", 2)
    is("x.str", "string", "b")
  end)

  it("are refused when the value does not fit", function()
    for key, value in pairs { ["x.u16"] = 70000, ["x.u64"] = -1, ["x.i32"] = 1.5, ["x.bool"] = 1, ["x.str"] = 3, ["x.f32"] = "a" } do
      local v, why, code = edit { metadata = { { key = key, value = value } } }
      assert.is_nil(v, key)
      assert.equals("EFORMAT", code)
      assert.truthy(why:find("key '" .. key .. "' is", 1, true), why)
    end
  end)

  it("follow the layers that are pruned", function()
    local v = assert(edit { prune_layers = { 0 } })
    assert.same({ 2 }, v["llama.attention.head_count_kv"][2])
    assert.equals("i32", v["llama.attention.head_count_kv"][3])
    assert.same({ 16 }, v["llama.feed_forward_length"][2])
    assert.same({ false }, v["llama.attention.sliding_window_pattern"][2])
    assert.same({ 3, 5 }, v["llama.rope.dimension_sections"][2])
    assert.equals(0, v["llama.leading_dense_block_count"][2])
    assert.equals(1, v["llama.block_count"][2])
  end)
end)

describe("files", function()
  support.check_leaks()

  it("are told by what they are", function()
    local path = support.tmp "x.gguf"
    for want, bytes in pairs {
      ["Git LFS pointer"] = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
      ["big-endian"] = "GGUF\0\0\0\3" .. ("\0"):rep(32), ["format before GGUF"] = "tjgg" .. ("\0"):rep(32),
    } do
      support.spit(path, bytes)
      local f, why, code = gguf.open(path)
      assert.is_nil(f)
      assert.equals("EFORMAT", code)
      assert.truthy(why:find(want, 1, true), why)
    end
    os.remove(path)
  end)

  it("can be looked at with types that nobody knows, and no more", function()
    local path = model(shapes)
    local bytes = support.slurp(path)
    -- the type of the first tensor, behind its name and two dimensions
    local at = select(2, bytes:find("blk.0.attn_norm.weight", 1, true)) + 4 + 8
    support.spit(path, bytes:sub(1, at) .. "\144\0\0\0" .. bytes:sub(at + 5))
    assert.is_nil((gguf.open(path)))
    local f = assert(gguf.open(path, { look = true }))
    assert.equals("llama", f.meta["general.architecture"])
    local t = f:tensor "blk.0.attn_norm.weight"
    assert.equals("type 144 (unknown)", t.type)
    assert.equals(512, #t:raw())
    local w, why, code = f:tensor("blk.0.ffn_up.weight"):read()
    assert.is_nil(w)
    assert.equals("EUNSUP", code)
    assert.truthy(why:find("unknown", 1, true))
    w, why = f:write(path .. ".copy")
    assert.is_nil(w)
    assert.truthy(why:find("looked at only", 1, true))
    f:close()
    local status, text = wane("inspect", path)
    assert.equals(0, status)
    assert.truthy(text:find("type 144 (unknown)", 1, true))
    os.remove(path)
  end)

  it("keep a first file without tensors", function()
    local base = support.tmp "split"
    local core = require "wane.core"
    local meta = assert(core.gguf.meta())
    assert(meta:set("general.architecture", "string", "llama"))
    local list = {
      { name = "blk.0.ffn_up.weight", type = "f16", shape = { 256, 4 }, shard = 2 },
      { name = "blk.1.ffn_up.weight", type = "f16", shape = { 256, 4 }, shard = 3 },
    }
    local layout = assert(core.gguf.layout(meta, list, { by_shard = true, n_files = 3 }))
    for k = 1, 3 do
      local w = assert(core.gguf.writer(layout, k, ("%s-%05d-of-00003.gguf"):format(base, k), {}))
      if k > 1 then assert(w:put(("\0\60"):rep(1024))) end
      assert(w:commit())
    end
    layout:close()
    meta:close()
    local r = assert(quantize { from = base .. "-00001-of-00003.gguf", to = base .. "-out.gguf", recipe = "Q8_0", keep_split = true })
    assert.equals(3, #r.files)
    assert.equals(0, r.files[1].n_tensors)
    local f = assert(gguf.open(r.files[1].path))
    assert.equals(3, f.meta["split.count"])
    assert.equals(2, #f.tensors)
    local copies = assert(f:write(base .. "-copy.gguf", { split = "keep" }))
    assert.equals(3, #copies)
    f:close()
    for k = 1, 3 do
      for _, middle in ipairs { "", "-out", "-copy" } do os.remove(("%s%s-%05d-of-00003.gguf"):format(base, middle, k)) end
    end
  end)
end)
