--- wane.quantize: everything around the bytes.
local cjson = require "cjson"
local core = require "wane.core"
local gguf = require "wane.gguf"
local models = require "spec.support.models"
local provenance = require "wane.provenance"
local quantize = require "wane.quantize"
local recipe = require "wane.recipe"
local sources = require "spec.support.sources"
local support = require "spec.support"

local demo = "examples/models/demo-f16.gguf"

local function tiny(extra)
  local model = {
    seed = 7,
    kv = {
      { "general.architecture", "str", "llama" }, { "general.file_type", "u32", 0 },
      { "llama.block_count", "u32", 2 }, { "llama.attention.head_count", "u32", 4 },
    },
    tensors = { { "output.weight", { 256, 64 }, 0 }, { "token_embd.weight", { 256, 64 }, 0 } },
  }
  for i = 0, 1 do
    for _, part in ipairs { "attn_q", "attn_v", "ffn_down", "ffn_up" } do
      model.tensors[#model.tensors + 1] = { ("blk.%d.%s.weight"):format(i, part), { 256, 96 }, 0 }
    end
    model.tensors[#model.tensors + 1] = { ("blk.%d.attn_norm.weight"):format(i), { 256 }, 0 }
  end
  for _, t in ipairs(extra or {}) do model.tensors[#model.tensors + 1] = t end
  return model
end

local function write_tiny(extra)
  local path = support.tmp "tiny.gguf"
  support.spit(path, sources.build(tiny(extra)))
  return path
end

-- Overwrites 4 bytes of a value of an f32 tensor.
local function poke(path, name, row, column, bytes)
  local f = assert(gguf.open(path))
  local t = assert(f:tensor(name))
  local off = t.off + (row - 1) * t.row_bytes + (column - 1) * 4
  f:close()
  local h = assert(io.open(path, "r+b"))
  h:seek("set", off)
  h:write(bytes)
  h:close()
end

local function flat(value, n)
  local v = {}
  for i = 1, n do v[i] = value end
  return v
end

describe("quantize", function()
  support.check_leaks()
  local made = {}
  local function tmp(suffix)
    local p = support.tmp(suffix or "q.gguf")
    made[#made + 1] = p
    return p
  end
  local function source(extra)
    local p = write_tiny(extra)
    made[#made + 1] = p
    return p
  end
  after_each(function()
    for _, p in ipairs(made) do
      for _, suffix in ipairs { "", ".part", ".part.journal" } do os.remove(p .. suffix) end
    end
    made = {}
  end)

  it("makes llama.cpp's files of the demo model", function()
    local path = support.conformance "eval/index.json"
    if not path then return end
    local n = 0
    for mix, runs in pairs(cjson.decode(support.slurp(path)).results) do
      for with, run in pairs(runs) do
        if run.sha256 then
          local out = tmp()
          local imatrix = with == "imatrix" and support.shared .. "conformance/eval/demo.imatrix.dat" or nil
          local report = assert(quantize { from = demo, to = out, recipe = mix, imatrix = imatrix })
          assert.equal(run.sha256, models.sha256(out), mix .. " " .. with)
          assert.equal(run.bytes, report.file_bytes)
          n = n + 1
        end
      end
    end
    assert(n >= 5)
  end)

  it("reports types, sizes, bits per weight", function()
    local out = tmp()
    local r = assert(quantize { from = demo, to = out, recipe = "Q4_K_M" })
    local f = assert(gguf.open(out))
    local bytes, values = 0, 0
    for i, t in ipairs(f.tensors) do
      assert.equal(t.name, r.tensors[i].name)
      assert.equal(t.type, r.tensors[i].to)
      assert.equal(t.bytes, r.tensors[i].bytes)
      bytes, values = bytes + t.bytes, values + t.shape[1] * t.n_rows
    end
    f:close()
    assert.equal(bytes, r.bytes)
    assert(math.abs(r.bpw - bytes * 8 / values) < 1e-9)
    assert.equal(0, r.fallback_share)
    assert.equal(out, r.files[1].path)
    assert.equal(#support.slurp(out), r.file_bytes)
  end)

  it("decides without writing on a dry run", function()
    local out = tmp()
    local plan = assert(quantize { from = demo, to = out, recipe = "Q4_K_M", dry_run = true })
    assert.is_false(support.exists(out) or support.exists(out .. ".part"))
    local r = assert(quantize { from = demo, to = out, recipe = "Q4_K_M" })
    assert.equal(r.file_bytes, plan.file_bytes)
    for i, d in ipairs(plan.tensors) do assert.equal(r.tensors[i].to, d.to) end
    plan = assert(quantize.plan { from = demo, recipe = "IQ2_XXS" })
    assert.is_true(plan.requires_imatrix)
    assert.matches("require an imatrix", table.concat(plan.warnings, "\n"))
  end)

  it("gives the same bytes for any number of threads", function()
    local want
    for _, threads in ipairs { 1, 2, 3, 7, 16 } do
      local out = tmp()
      assert(quantize { from = demo, to = out, recipe = "Q4_K_M", threads = threads })
      want = want or models.sha256(out)
      assert.equal(want, models.sha256(out))
    end
  end)

  it("tells its progress, can be cancelled and goes on", function()
    local whole, out, last = tmp(), tmp(), 0
    assert(quantize { from = demo, to = whole, recipe = "Q6_K", progress = function(p)
      assert(p.fraction >= last and p.fraction <= 1)
      assert(p.n_tensors == 75 or p.n_tensors > 10)
      last = p.fraction
    end })
    assert.equal(1, last)
    local r, msg, code = quantize { from = demo, to = out, recipe = "Q6_K", progress = function(p)
      return p.tensors_done < 20
    end }
    assert.is_nil(r)
    assert.equal("ECANCEL", code)
    assert.matches("cancelled", msg)
    assert.is_false(support.exists(out))
    assert.is_true(support.exists(out .. ".part"))
    r = assert(quantize { from = demo, to = out, recipe = "Q6_K" })
    assert(r.resumed >= 20, "resumed " .. r.resumed)
    assert.equal(models.sha256(whole), models.sha256(out))
    assert.is_false(support.exists(out .. ".part.journal"))
  end)

  it("steps as a job, and a forgotten job leaves nothing open", function()
    local out = tmp()
    local job = assert(quantize.start { from = demo, to = out, recipe = "Q8_0" })
    local steps = 0
    while assert(job:step()) ~= "done" do steps = steps + 1 end
    assert(steps > 5)
    assert.equal("done", job:step())
    assert.equal(0, job:report().resumed)
    local forgotten = assert(quantize.start { from = demo, to = tmp(), recipe = "Q8_0" })
    forgotten:step()
    forgotten = nil -- luacheck: ignore
    support.collect()
  end)

  it("passes errors of the progress function on, and stops", function()
    local out = tmp()
    assert.error_matches(function()
      quantize { from = demo, to = out, recipe = "Q8_0", progress = function() error "my own" end }
    end, "my own")
    assert.is_false(support.exists(out))
  end)

  it("needs little memory", function()
    support.collect()
    core.reset_peak()
    local before = core.memory().bytes
    assert(quantize { from = demo, to = tmp(), recipe = "Q4_K_M", threads = 2 })
    local peak = core.memory().peak_bytes - before
    assert(peak < 64 * 2 ^ 20, ("%.1f MiB"):format(peak / 2 ^ 20))
  end)

  describe("of several files", function()
    -- Names, types and data of all tensors of a model.
    local function content(path)
      local f = assert(gguf.open(path))
      local list = {}
      for i, t in ipairs(f.tensors) do list[i] = t.name .. " " .. t.type .. " "
        .. models.sha256_of(assert(t:raw())) end
      local meta = f.meta["general.file_type"]
      f:close()
      return table.concat(list, "\n") .. meta, #list
    end

    local function parts(base, n)
      local list = {}
      for i = 1, n do
        list[i] = ("%s-%05d-of-%05d.gguf"):format((base:gsub("%.gguf$", "")), i, n)
        made[#made + 1] = list[i]
      end
      return list
    end

    it("writes splits that load as one model", function()
      local one, split = tmp(), tmp()
      assert(quantize { from = demo, to = one, recipe = "Q4_K_M" })
      local r = assert(quantize { from = demo, to = split, recipe = "Q4_K_M", split = 3 })
      local files = parts(split, 3)
      for i, path in ipairs(files) do assert.equal(path, r.files[i].path) end
      assert.equal(content(one), content(files[2]))
      for _, f in ipairs(r.files) do assert(f.bytes > r.file_bytes / 6, "shards of very different size") end
    end)

    it("writes shards separately, the same as one split run", function()
      local split, shard = tmp(), tmp()
      assert(quantize { from = demo, to = split, recipe = "Q4_K_M", split = 3 })
      local a, b = parts(split, 3), parts(shard, 3)
      for _, i in ipairs { 2, 3, 1 } do
        local r = assert(quantize { from = demo, to = shard, recipe = "Q4_K_M", shard = { i, 3 } })
        assert.equal(b[i], r.files[1].path)
        assert.equal(1, #r.files)
      end
      for i = 1, 3 do assert.equal(models.sha256(a[i]), models.sha256(b[i])) end
    end)

    it("writes shards in parallel processes", function()
      local split, shard = tmp(), tmp()
      assert(quantize { from = demo, to = split, recipe = "Q8_0", split = 4 })
      local a, b = parts(split, 4), parts(shard, 4)
      local lua = os.getenv "WANE_LUA" or (jit and "luajit" or "lua5.4")
      local chunk = ("assert(require[[wane.quantize]]{from=[[%s]],to=[[%s]],recipe=[[Q8_0]],shard={{},4}})")
        :format(demo, shard)
      local one = ("%s -e '%s'"):format(lua, chunk)
      local probe = io.popen "parallel --version 2>/dev/null"
      local gnu = probe:read("*a"):find "GNU parallel"
      probe:close()
      local command = gnu and ("parallel -j 2 %q ::: 1 2 3 4 >/dev/null 2>&1"):format(one)
        or ("printf '%%s\\n' 1 2 3 4 | xargs -P 2 -I {} sh -c %q"):format(one)
      os.execute(command)
      for i = 1, 4 do assert.equal(models.sha256(a[i]), models.sha256(b[i])) end
    end)

    it("keeps the split of its source", function()
      local base, out, one = tmp(), tmp(), tmp()
      assert(quantize { from = demo, to = base, only_copy = true, split = 2 })
      local files = parts(base, 2)
      assert(quantize { from = files[1], to = out, recipe = "Q4_0", keep_split = true })
      assert(quantize { from = demo, to = one, recipe = "Q4_0" })
      local kept = parts(out, 2)
      assert.equal(content(one), content(kept[1]))
    end)

    it("refuses more files than tensors", function()
      local r, msg = quantize { from = source(), to = tmp(), recipe = "Q8_0", split = 50 }
      assert.is_nil(r)
      assert.matches("50 files for 12 tensors", msg)
    end)
  end)

  it("records where a file came from, and reuses what is unchanged", function()
    local a, b, fresh = tmp(), tmp(), tmp()
    local imatrix = { ["blk.0.ffn_down.weight"] = flat(2, 256) }
    local from = source()
    assert(quantize { from = from, to = a, recipe = "Q4_K_M", provenance = true, imatrix = imatrix })
    local p = assert(provenance.read(a))
    assert.equal("Q4_K_M", p.recipe)
    assert.equal(models.sha256(from), p.sources[1])
    local changed = recipe "Q4_K_M":when("attn_q", "q8_0")
    local o = { from = from, recipe = changed, provenance = true, imatrix = imatrix }
    o.to = fresh
    assert(quantize(o))
    o.to, o.reuse = b, a
    local r = assert(quantize(o))
    assert.equal(models.sha256(fresh), models.sha256(b))
    assert.equal(8, r.reused) -- 10 matrices, two of them attn_q
    -- another importance for one tensor: that one is made again
    o.imatrix = { ["blk.0.ffn_down.weight"] = flat(3, 256) }
    o.imatrix["blk.0.ffn_down.weight"][1] = 9
    o.overwrite = true
    assert.equal(7, assert(quantize(o)).reused)
    -- a change of the source is noticed
    poke(from, "blk.1.attn_v.weight", 5, 5, "\0\0\0\62")
    assert.equal(6, assert(quantize(o)).reused)
  end)

  it("verifies a file against its source", function()
    local a, from, other = tmp(), source(), tmp()
    local demo_imatrix = tmp "i.gguf"
    local im = require("wane.imatrix").new { ["blk.0.ffn_down.weight"] = flat(2, 256) }
    assert(im:save(demo_imatrix))
    assert(quantize { from = from, to = a, recipe = "Q4_K_M", provenance = true, imatrix = demo_imatrix })
    support.spit(a .. ".verify", "somebody's") -- neither these nor anything else is touched
    support.spit(a .. ".verify-1", "somebody's too")
    local v = assert(provenance.verify(a, { from = from, imatrix = demo_imatrix }))
    assert.equal("Q4_K_M", v.recipe)
    assert.equal(12, v.tensors)
    assert.equal("somebody's", support.slurp(a .. ".verify"))
    assert.equal("somebody's too", support.slurp(a .. ".verify-1"))
    assert.is_false(support.exists(a .. ".verify-2"))
    support.spit(other, support.slurp(from))
    poke(other, "blk.1.attn_v.weight", 5, 5, "\0\0\0\62")
    local ok, msg, code = provenance.verify(a, { from = other, imatrix = demo_imatrix })
    assert.is_nil(ok)
    assert.equal("ECHANGED", code)
    assert.matches("is not the source", msg)
    ok, msg = provenance.verify(a, { from = from })
    assert.is_nil(ok)
    assert.matches("an imatrix was used", msg)
    poke(a, "blk.1.ffn_up.weight", 3, 3, "damn")
    ok, msg = provenance.verify(a, { from = from, imatrix = demo_imatrix })
    assert.is_nil(ok)
    assert.matches("tensor blk.1.ffn_up.weight is not what its source gives", msg)
    ok, msg = provenance.verify(demo, { from = from })
    assert.is_nil(ok)
    assert.matches("holds no provenance", msg)
  end)

  it("says when there is nothing to reuse", function()
    local a, b = tmp(), tmp()
    local from = source()
    assert(quantize { from = from, to = a, recipe = "Q4_0" })
    local r = assert(quantize { from = from, to = b, recipe = "Q4_0", reuse = a })
    assert.equal(0, r.reused)
    assert.matches("without provenance", table.concat(r.warnings, "\n"))
    assert.equal(models.sha256(a), models.sha256(b))
  end)

  it("sets metadata in the given order, at the end", function()
    local out = tmp()
    assert(quantize { from = source(), to = out, recipe = "Q8_0", metadata = {
      { key = "general.name", value = "Mine" }, { key = "x.flag", value = true },
      { key = "llama.block_count", value = 2 }, { key = "x.half", value = 0.5 },
      { key = "x.list", type = "array", elem = "string", value = { "a", "b" } },
    } })
    local f = assert(gguf.open(out))
    local keys = f:keys()
    assert.same({ "general.architecture", "llama.attention.head_count", "general.quantization_version",
      "general.file_type", "general.name", "x.flag", "llama.block_count", "x.half", "x.list" }, keys)
    assert.equal("Mine", f.meta["general.name"])
    assert.equal(0.5, f.meta["x.half"])
    assert.equal("b", f.meta["x.list"][2])
    f:close()
  end)

  it("measures errors for recipes", function()
    local seen = {}
    local plan = assert(quantize.plan { from = source(), recipe = recipe(function(t)
      seen[t.name] = { q4 = t:error "q4_K", q8 = t:error "q8_0", cheap = t:cheapest_with(0.03) }
      return t:cheapest_with(0.03)
    end) })
    for _, d in ipairs(plan.tensors) do
      local s = seen[d.name]
      if s then
        assert(s.q8 > 0 and s.q8 < s.q4 and s.q4 < 0.2, d.name)
        assert.equal(s.cheap, d.to)
        assert.equal("q6_K", d.to)
      end
    end
  end)

  describe("meets bad input:", function()
    local function refused(o, pattern, code)
      local r, msg, got = quantize(o)
      assert.is_nil(r)
      assert.matches(pattern, msg)
      if code then assert.equal(code, got) end
      if o.to and o.to ~= o.from then
        assert.is_false(support.exists(o.to .. ".part"), "left a .part")
        assert.is_false(support.exists(o.to .. ".part.journal"), "left a journal")
      end
    end

    it("the output is the input", function()
      local from = source()
      local sum = models.sha256(from)
      refused({ from = from, to = from, recipe = "Q8_0", overwrite = true }, "one of the inputs")
      os.execute("ln -s $(basename " .. from .. ") " .. from .. ".link")
      refused({ from = from, to = from .. ".link", recipe = "Q8_0", overwrite = true }, "one of the inputs")
      os.remove(from .. ".link")
      assert.equal(sum, models.sha256(from))
    end)

    it("the output exists", function()
      local out = tmp()
      support.spit(out, "precious")
      refused({ from = source(), to = out, recipe = "Q8_0" }, "exists", "EEXIST")
      assert.equal("precious", support.slurp(out))
      assert(quantize { from = source(), to = out, recipe = "Q8_0", overwrite = true })
      assert.equal("GGUF", support.slurp(out):sub(1, 4))
    end)

    it("the output exists, before anything is decided", function()
      local out, asked = tmp(), 0
      support.spit(out, "precious")
      local o = { from = source(), to = out, recipe = function() asked = asked + 1 return "q8_0" end }
      refused(o, "exists", "EEXIST")
      assert.equal(0, asked)
      o.to = "build/no/such/folder/x.gguf"
      refused(o, "build/no/such/folder", "ENOENT")
      assert.equal(0, asked)
    end)

    it("values that are not finite", function()
      for _, bad in ipairs { { "\0\0\192\127", "nan" }, { "\0\0\128\127", "inf" }, { "\0\0\128\255",
        "%-inf" } } do
        local from, out = source(), tmp()
        poke(from, "blk.1.ffn_up.weight", 70, 33, bad[1])
        refused({ from = from, to = out, recipe = "Q4_K_M", resume = false },
          "blk.1.ffn_up.weight: row 70, column 33 is " .. bad[2], "EDATA")
        local clean, zeroed = source(), tmp()
        poke(clean, "blk.1.ffn_up.weight", 70, 33, "\0\0\0\0")
        assert(quantize { from = from, to = out, recipe = "Q4_K_M", nonfinite = "zero" })
        assert(quantize { from = clean, to = zeroed, recipe = "Q4_K_M" })
        assert.equal(models.sha256(zeroed), models.sha256(out))
      end
    end)

    it("values that are too large for the type", function()
      local from = source()
      poke(from, "blk.0.attn_v.weight", 2, 3, "\0\0\128\113") -- 2^100
      refused({ from = from, to = tmp(), recipe = "F16", resume = false },
        "blk.0.attn_v.weight: row 2, column 3", "EDATA")
      refused({ from = from, to = tmp(), recipe = "Q8_0", resume = false }, "blk.0.attn_v.weight: row 2",
        "EDATA")
    end)

    it("importance of another model, negative, or not finite", function()
      local function with(values) return { from = source(), to = tmp(), recipe = "Q4_K_M",
        imatrix = { ["blk.0.attn_q.weight"] = values } } end
      refused(with(flat(1, 300)),
        "blk.0.attn_q.weight: the imatrix has 300 values, the tensor wants 256", "EFORMAT")
      refused(with(flat(-1, 256)), "value 1 is negative or not finite", "EFORMAT")
      refused(with(flat(0 / 0, 256)), "value 1 is negative or not finite", "EFORMAT")
      refused(with(flat(1 / 0, 256)), "value 1 is negative or not finite", "EFORMAT")
    end)

    it("importance that is all zero is left out, and said", function()
      local from, a, b = source(), tmp(), tmp()
      local r = assert(quantize { from = from, to = a, recipe = "Q5_K_S",
        imatrix = { ["blk.0.attn_q.weight"] = flat(0, 256) } })
      assert.matches("all zero was not used: blk.0.attn_q.weight", table.concat(r.warnings, "\n"))
      assert(quantize { from = from, to = b, recipe = "Q5_K_S" })
      assert.equal(models.sha256(b), models.sha256(a))
    end)

    it("types that need importance", function()
      refused({ from = source(), to = tmp(), recipe = "IQ2_XXS" },
        "this quantization requires an imatrix!", "EDATA")
      refused({ from = source(), to = tmp(), recipe = "IQ2_XXS",
        imatrix = { ["blk.0.attn_q.weight"] = flat(1, 256) } },
        "missing importance matrix", "EDATA")
      refused({ from = source(), to = tmp(), recipe = recipe "Q4_K_M":role("output", "iq2_xs") },
        "requires an imatrix", "EDATA")
    end)

    it("quantized sources", function()
      local q8, out = tmp(), tmp()
      assert(quantize { from = source(), to = q8, recipe = "Q8_0" })
      refused({ from = q8, to = out, recipe = "Q4_K_M" }, "requantizing from type q8_0 is disabled", "EUNSUP")
      local r = assert(quantize { from = q8, to = out, recipe = "Q4_K_M", allow_requantize = true })
      assert.matches("10 tensors are requantized", table.concat(r.warnings, "\n"))
    end)

    it("a full disk, and failing calls", function()
      for _, case in ipairs {
        { "fallocate", 1, "ENOSPC", "ENOSPC" }, { "write", 5, "ENOSPC", "ENOSPC" }, { "write", 2, "EIO",
          "EIO" },
        { "fsync", 1, "EIO", "EIO" }, { "rename", 1, "EACCES", "EIO" }, { "pread", 12, "EIO", "EIO" },
      } do
        local from, out = source(), tmp()
        core.gguf.fail_os(case[1], case[2], case[3])
        local r, msg, code = quantize { from = from, to = out, recipe = "Q8_0", resume = false }
        core.gguf.fail_os(case[1], 0)
        assert.is_nil(r, case[1])
        assert.equal(case[4], code, case[1] .. ": " .. tostring(msg))
        assert.is_false(support.exists(out))
        assert.is_false(support.exists(out .. ".part"), case[1] .. " left a .part")
      end
    end)

    it("a source that changes while it is read", function()
      local from, out = source(), tmp()
      local job = assert(quantize.start { from = from, to = out, recipe = "Q8_0" })
      local f = assert(io.open(from, "ab"))
      f:write "more"
      f:close()
      local what, msg, code
      repeat
        what, msg, code = job:step()
      until what ~= "more"
      assert.is_nil(what, "did not notice")
      assert.equal("ECHANGED", code, msg)
      assert.is_false(support.exists(out))
    end)

    it("a source that is cut short", function()
      local from = source()
      local bytes = support.slurp(from)
      support.spit(from, bytes:sub(1, #bytes - 1000))
      refused({ from = from, to = tmp(), recipe = "Q8_0" }, "", "ETRUNC")
    end)

    it("wrong options", function()
      local from = source()
      for pattern, o in pairs {
        ["unknown option 'form'"] = { form = 1 },
        ["option 'from' is missing"] = { recipe = "Q8_0" },
        ["option 'recipe' is missing"] = { from = from },
        ["option 'threads': want an integer from 1 to 4096, got \"2\""] = { from = from, recipe = "Q8_0", threads = "2" },
        ["unknown mix 'Q7'"] = { from = from, recipe = "Q7" },
        ["unknown type 'q9'"] = { from = from, recipe = "Q8_0", output_tensor_type = "q9" },
        ["never closed"] = { from = from, recipe = "Q8_0", tensor_types = { { "(", "q8_0" } } },
        ["option 'shard': want { i, n } with i from 1 to n"] = { from = from, recipe = "Q8_0", shard = { 4, 3 } },
        ["exclude each other"] = { from = from, recipe = "Q8_0", shard = { 1, 3 }, split = 3 },
        ["option 'nonfinite': want \"error\" or \"zero\", got \"maybe\""] = { from = from, recipe = "Q8_0", nonfinite = "maybe" },
      } do
        o.to = "never.gguf"
        assert.error_matches(function() quantize(o) end, pattern, nil, false)
      end
      assert.is_nil((quantize { from = "nowhere.gguf", to = "never.gguf", recipe = "Q8_0" }))
      assert.is_nil((quantize { from = from, to = tmp(), recipe = "Q8_0", prune_layers = { 9 } }))
    end)

    it("memory that runs out at any allocation", function()
      local from, out = source(), tmp()
      assert(quantize { from = from, to = out, recipe = "Q4_K_M" })
      local n, want = 0, models.sha256(out)
      repeat
        n = n + 1
        os.remove(out)
        core.fail_alloc(n)
        local r, _, code = quantize { from = from, to = out, recipe = "Q4_K_M", threads = 1, resume = false }
        core.fail_alloc(0)
        if not r then
          assert.equal("ENOMEM", code)
          -- the last step, making the rename durable, may fail as well
          if support.exists(out) then assert.equal(want, models.sha256(out)) end
          assert.is_false(support.exists(out .. ".part"))
        end
      until r or n > 2000
      assert(n > 10 and n <= 2000)
    end)
  end)
end)

describe("digests", function()
  it("agree with published SHA-256 values", function()
    local function sha(s) return models.sha256_of(s) end
    assert.equal("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", sha "")
    assert.equal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", sha "abc")
    assert.equal("248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
      sha "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")
    assert.equal("cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0", sha(("a"):rep(1000000)))
  end)

  it("do not depend on how the input is cut, nor on the instruction set", function()
    local text = support.slurp "LICENSE"
    local best = core.cpu().isa
    for _, isa in ipairs { "ref", best } do
      core.set_isa(isa)
      for _, piece in ipairs { 1, 7, 63, 64, 65, 1000 } do
        local a, b
        for i = 1, #text, piece do
          a = core.stream.sha256(a, text:sub(i, i + piece - 1))
          b = core.stream.digest(b, text:sub(i, i + piece - 1))
        end
        assert.equal(models.sha256_of(text), core.stream.sha256_hex(a))
        assert.equal(core.stream.digest_hex(core.stream.digest(nil, text)), core.stream.digest_hex(b))
      end
    end
    core.set_isa(best)
  end)

  it("change with every bit and every length", function()
    local function digest(s) return core.stream.digest_hex(core.stream.digest(nil, s)) end
    local seen, base = {}, ("\0"):rep(150)
    local function add(s)
      local d = digest(s)
      assert.is_nil(seen[d])
      seen[d] = true
    end
    for n = 0, 150 do add(base:sub(1, n)) end
    for i = 1, 150 do
      for bit = 0, 7 do add(base:sub(1, i - 1) .. string.char(2 ^ bit) .. base:sub(i + 1)) end
    end
  end)
end)
