-- Reading and rewriting GGUF files: values of every type, round trips, edits,
-- splits, both versions.
local S = require "spec.support"
local B = require "spec.hostile.build"
local core = require "wane.core"
local gguf = require "wane.gguf"

local dir = S.tmp "gguf"
assert(os.execute("mkdir -p " .. dir))
local function path(name) return dir .. "/" .. name end

--- Writes bytes and opens them.
local function open_bytes(bytes, name)
  local p = path(name or "x.gguf")
  S.spit(p, bytes)
  return assert(gguf.open(p)), p
end

--- Paths of GGUF files in a folder of the conformance data.
local function list(pattern)
  local out = {}
  local p = io.popen("ls " .. pattern .. " 2>/dev/null")
  for line in p:lines() do out[#out + 1] = line end
  p:close()
  return out
end

--- Copies `from` unchanged and compares all bytes.
local function round_trip(from)
  local f = assert(gguf.open(from))
  local to = path "copy.gguf"
  assert.same({ to }, assert(f:write(to, { overwrite = true })))
  assert.truthy(S.slurp(from) == S.slurp(to), from .. ": bytes differ")
  f:close()
end

describe("gguf", function()
  S.check_leaks()
  teardown(function() os.execute("rm -rf " .. dir) end)

  describe("reading", function()
    it("knows every scalar type at its extremes", function()
      local cases = {
        { "u8", "ff", 255 }, { "i8", "80", -128 }, { "u16", "ffff", 65535 }, { "i16", "8000", -32768 },
        { "u32", "ffffffff", 4294967295 }, { "i32", "80000000", -2147483648 },
        { "f32", "40490fdb", 3.1415927410125732 },
        { "bool", "01", true }, { "bool", "00", false }, { "f64", "400921fb54442d18", 3.141592653589793 },
        { "u64", "001fffffffffffff", 9007199254740991 }, { "i64", "ffffffffffffffff", -1 },
      }
      local kv = {}
      for i, c in ipairs(cases) do kv[i] = B.kv("k" .. i, c[1], B.int(c[2], #c[2] / 2)) end
      local f = open_bytes(B.file { kv = kv })
      for i, c in ipairs(cases) do
        assert.equal(c[3], f.meta["k" .. i])
        assert.equal(c[1], (f:type_of("k" .. i)))
      end
      f:close()
    end)

    it("keeps 64-bit integers exact", function()
      local f = open_bytes(B.file { kv = {
        B.kv("max", "u64", B.u64 "ffffffffffffffff"),
        B.kv("odd", "u64", B.u64 "0020000000000001"),
        B.kv("min", "i64", B.u64 "8000000000000000"),
        B.kv("list", "array", B.array("u64", 2, B.u64 "ffffffffffffffff" .. B.u64(7))),
      } })
      assert.equal("18446744073709551615", f.meta.max)
      assert.equal("9007199254740993", tostring(f.meta.odd))
      assert.equal("-9223372036854775808", tostring(f.meta.min))
      assert.same({ "18446744073709551615", 7 }, f.meta.list)
      f:close()
    end)

    it("knows strings, arrays and nested arrays", function()
      local f = open_bytes(B.file { kv = {
        B.kv("s", "string", B.str "a\0b\255"),
        B.kv("empty", "string", B.str ""),
        B.kv("names", "array", B.array("string", 3, B.str "x" .. B.str "" .. B.str "\0")),
        B.kv("flags", "array", B.array("bool", 2, "\1\0")),
        B.kv("nested", "array",
          B.array("array", 2, B.array("i8", 2, "\255\1") .. B.array("string", 1, B.str "q"))),
        B.kv("none", "array", B.array("f32", 0, "")),
      } })
      assert.equal("a\0b\255", f.meta.s)
      assert.equal("", f.meta.empty)
      assert.same({ "x", "", "\0" }, f.meta.names)
      assert.same({ true, false }, f.meta.flags)
      assert.same({ { -1, 1, elem = "i8" }, { "q", elem = "string" } }, f.meta.nested)
      assert.same({}, f.meta.none)
      local kind, elem, count = f:type_of "names"
      assert.same({ "array", "string", 3 }, { kind, elem, count })
      assert.same({ "s", "empty", "names", "flags", "nested", "none" }, f:keys())
      assert.is_nil(f.meta.absent)
      assert.is_nil(f:type_of "absent")
      assert.error_matches(function() f.meta.s = "x" end, "metadata is read%-only: use f:write%(path, { set = %.%.%. }%)")
      f:close()
    end)

    it("describes and reads tensors", function()
      local f, p = open_bytes(B.good())
      assert.equal(2, #f.tensors)
      local t = assert(f:tensor "w")
      assert.same({ "w", "f32", 0, 2, 16, 32, 1 },
        { t.name, t.type, t.type_id, t.n_rows, t.row_bytes, t.bytes, t.shard })
      assert.same({ 4, 2 }, t.shape)
      assert.equal(("\1"):rep(32), t:raw())
      local q = f.tensors[2]
      assert.same({ "blk.0.q", "q8_0", 34 }, { q.name, q.type, q.bytes })
      assert.equal("\2\2\2", q:raw(31))
      assert.equal("\2", q:raw(5, 1))
      assert.equal("", q:raw(34))
      assert.error_matches(function() q:raw(35) end, "tensor:raw: off: want an integer from 0 to 34, got 35")
      assert.error_matches(function() q:raw(0, 35) end, "tensor:raw: n: want an integer from 0 to 34, got 35")
      assert.error_matches(function() q:raw(-1, 1) end, "tensor:raw: off: want an integer from 0 to 34, got %-1")
      local none, msg, code = f:tensor "nope"
      assert.same({ nil, p .. ": no tensor 'nope'", "ENOENT" }, { none, msg, code })
      assert.is_true(f:verify())
      f:close()
    end)

    it("computes bytes of every type as the type table says", function()
      for _, x in ipairs { { 0, 4 }, { 1, 2 }, { 2, 144 }, { 3, 160 }, { 6, 176 }, { 7, 192 }, { 8, 272 },
        { 9, 288 }, { 10, 84 }, { 11, 110 }, { 12, 144 }, { 13, 176 }, { 14, 210 }, { 15, 292 },
        { 16, 66 }, { 17, 74 },
        { 18, 98 }, { 19, 50 }, { 20, 144 }, { 21, 110 }, { 22, 82 }, { 23, 136 }, { 24, 1 },
        { 25, 2 }, { 26, 4 },
        { 27, 8 }, { 28, 8 }, { 29, 56 }, { 30, 2 }, { 34, 54 }, { 35, 66 }, { 39, 136 }, { 40, 144 },
        { 41, 36 }, { 42, 72 } } do
        local plain = x[1] < 2 or (x[1] >= 24 and x[1] <= 28) or x[1] == 30
        local want = plain and 256 * x[2] or x[2]
        local t = { name = "w", dims = { 256, 3 }, type = x[1] }
        local f = open_bytes(B.file { tensors = { t }, data = ("\0"):rep(8192) })
        assert.equal(3 * want, f.tensors[1].bytes, "type " .. x[1])
        f:close()
      end
    end)

    it("raises after close, and on misuse", function()
      local f = open_bytes(B.good())
      local t = f:tensor "w"
      assert.is_true(f:close())
      assert.is_true(f:close())
      assert.error_matches(function() t:raw() end, "wane: gguf is closed")
      assert.error_matches(function() f:keys() end, "closed")
      assert.error_matches(function() gguf.open("x", { unknown = 1 }) end, "unknown option 'unknown'")
      assert.error_matches(function() core.gguf.open "a\0b" end, "NUL")
    end)

    it("reads little: memory follows the header, not the file", function()
      local p = path "sparse.gguf"
      S.spit(p, B.file { tensors = { { name = "w", dims = { 2 ^ 20, 2 ^ 16 } } } })
      assert(os.execute("truncate -s 257G " .. p))
      S.collect()
      local before = core.memory().bytes
      core.reset_peak()
      local f = assert(gguf.open(p))
      assert.truthy(core.memory().peak_bytes - before < 300000)
      assert.equal(2 ^ 38, f.tensors[1].bytes)
      assert.equal("\0\0", f.tensors[1]:raw(2 ^ 38 - 2))
      f:close()
      os.remove(p)
    end)
  end)

  describe("round trip", function()
    it("keeps every byte of hand-made files", function()
      local files = {
        B.good(), B.good { version = 2 }, B.file {}, B.file {} .. "\0\0\0\0\0\0\0\0",
        B.file { kv = { B.kv("a", "u8", "\1") }, data = "" },
        B.file { kv = { B.kv("f", "f32", B.int("7fa00001", 4)) } }, -- a signalling NaN
        B.file { kv = { B.kv("general.alignment", "u32", B.u32(8)) }, align = 8,
          tensors = { { name = "w", dims = { 3 } } }, data = ("\7"):rep(12) }, -- no padding at the end
        B.file { tensors = { { name = "a", dims = { 3 } }, { name = "b", dims = { 8 }, off = 32 } },
          data = ("\1"):rep(12) .. ("\9"):rep(20) .. ("\1"):rep(32) .. ("\5"):rep(99) }, -- odd padding
      }
      for i, bytes in ipairs(files) do
        local p = path("in" .. i .. ".gguf")
        S.spit(p, bytes)
        round_trip(p)
      end
    end)

    it("keeps the demo model", function() round_trip "examples/models/demo-f16.gguf" end)

    it("keeps all tokenizers and models of the conformance data", function()
      if not S.conformance "README.md" then return end
      local n = 0
      for _, pattern in ipairs { "tokenizers/*.gguf", "logits/*/*.gguf" } do
        for _, p in ipairs(list(S.shared .. "conformance/" .. pattern)) do
          round_trip(p)
          n = n + 1
        end
      end
      assert.truthy(n > 40)
    end)
  end)

  describe("editing", function()
    it("sets, adds and removes keys, keeping order, types and data", function()
      local f = open_bytes(B.good())
      local to = path "edited.gguf"
      assert(f:write(to, {
        set = { ["a.u8"] = 7, ["general.architecture"] = "gpt2", ["z.new"] = 1.5, ["y.list"] = { "p", "q" } },
        remove = { "a.bool" },
      }))
      f:close()
      local g = assert(gguf.open(to))
      assert.same({
        "general.architecture", "a.u8", "a.f32", "a.list", "a.names", "a.nested", "y.list", "z.new",
      }, g:keys())
      assert.equal(7, g.meta["a.u8"])
      assert.equal("u8", (g:type_of "a.u8"))
      assert.equal("gpt2", g.meta["general.architecture"])
      assert.equal(1.5, g.meta["z.new"])
      assert.same({ "p", "q" }, g.meta["y.list"])
      assert.same({ { 1, -1, elem = "i8" } }, g.meta["a.nested"])
      assert.equal(("\2"):rep(34), g.tensors[2]:raw())
      g:close()
    end)

    it("refuses values that do not fit", function()
      local f = open_bytes(B.good())
      local to = path "never.gguf"
      local function set(t) return function() f:write(to, { set = t }) end end
      assert.error_matches(set { ["a.u8"] = 256 }, "256.* does not fit in u8")
      assert.error_matches(set { ["a.u8"] = -1 }, "does not fit in u8")
      assert.error_matches(set { ["a.u8"] = 1.5 }, "does not fit in u8")
      assert.error_matches(set { ["a.u8"] = "x" }, "want a value for u8, found string")
      assert.error_matches(set { ["new"] = {} }, "empty array")
      assert.error_matches(set { ["new"] = print }, "cannot store a function")
      assert.error_matches(function() f:write(to, { remove = { "nope" } }) end, "no key 'nope'")
      assert.error_matches(function() f:write(to, { bad = 1 }) end, "unknown option 'bad'")
      assert.falsy(S.exists(to) or S.exists(to .. ".part"))
      local ok, _, code = f:write(to, { set = { ["general.alignment"] = 3 } })
      assert.same({ nil, "EFORMAT" }, { ok, code })
      f:close()
    end)

    it("writes every value type so that it reads back", function()
      local meta = {
        { "u8", "u8", 255 }, { "i8", "i8", -128 }, { "u16", "u16", 65535 }, { "i16", "i16", -1 },
        { "u32", "u32", 4294967295 }, { "i32", "i32", -2147483648 }, { "f32", "f32", 0.5 },
        { "f64", "f64", 1 / 3 },
        { "bool", "bool", true }, { "string", "string", "x\0y" }, { "u64", "u64", "18446744073709551615" },
        { "i64", "i64", "-9223372036854775808" }, { "a", "array", { 1, 2, 3 }, "i16" },
        { "n", "array", { { "x", elem = "string" }, { elem = "f64" } }, "array" },
      }
      local to = path "types.gguf"
      assert(gguf.write { path = to, meta = meta })
      local f = assert(gguf.open(to))
      for _, kv in ipairs(meta) do
        assert.equal(kv[2], (f:type_of(kv[1])))
        if type(kv[3]) == "table" then
          assert.same(kv[3], f.meta[kv[1]])
        else
          assert.equal(tostring(kv[3]), tostring(f.meta[kv[1]]))
        end
      end
      f:close()
    end)

    it("writes bytes that an independent builder makes too", function()
      local to = path "built.gguf"
      assert(gguf.write {
        path = to,
        meta = {
          { "general.architecture", "string", "llama" }, { "a.u8", "u8", 200 }, { "a.bool", "bool", true },
          { "a.f32", "f32", 1.5 }, { "a.list", "array", { 1, 2, 3 }, "u16" },
          { "a.names", "array", { "x", "yz" }, "string" },
          { "a.nested", "array", { { 1, -1, elem = "i8" } }, "array" },
        },
        tensors = {
          { name = "w", type = "f32", shape = { 4, 2 }, data = ("\1"):rep(32) },
          { name = "blk.0.q", type = "q8_0", shape = { 32 }, data = coroutine.wrap(function()
            for _ = 1, 34 do coroutine.yield "\2" end
          end) },
        },
      })
      assert.truthy(S.slurp(to) == B.good())
    end)

    it("honours another alignment", function()
      local f = open_bytes(B.good())
      local to = path "aligned.gguf"
      assert(f:write(to, { set = { ["general.alignment"] = 256 } }))
      local g = assert(gguf.open(to))
      assert.equal(256, g.alignment)
      assert.equal(0, g.tensors[2].off % 256)
      assert.equal(("\2"):rep(34), g.tensors[2]:raw())
      f:close()
      g:close()
    end)
  end)

  describe("splits", function()
    local n = 7
    local function model()
      local tensors = {}
      for i = 1, n do
        tensors[i] = { name = "t" .. i, type = "f32", shape = { 8, i }, data = string.char(i):rep(32 * i) }
      end
      return tensors
    end
    local meta = { { "general.architecture", "string", "llama" }, { "x", "u32", 5 } }

    it("writes, reads, copies and merges them", function()
      local whole = path "whole.gguf"
      assert(gguf.write { path = whole, meta = meta, tensors = model() })
      for _, split in ipairs { { tensors = 3 }, { bytes = 200 }, { tensors = 1 }, { bytes = 1 } } do
        local f = assert(gguf.open(whole))
        local paths = assert(f:write(path "cut.gguf", { split = split, overwrite = true }))
        f:close()
        assert.equal(path(("cut-00001-of-%05d.gguf"):format(#paths)), paths[1])
        assert.truthy(#paths > 1)
        -- whichever file is named, the model is found
        for _, p in ipairs { paths[1], paths[#paths] } do
          local g = assert(gguf.open(p))
          assert.equal(n, #g.tensors)
          assert.equal(#paths, #g.shards)
          for i, t in ipairs(g.tensors) do assert.equal(string.char(i):rep(32 * i), t:raw()) end
          assert.equal(n, g.meta["split.tensors.count"])
          assert.equal(5, g.meta.x)
          assert(g:write(path "merged.gguf", { overwrite = true }))
          assert.truthy(S.slurp(path "merged.gguf") == S.slurp(whole), "merged equals the original")
          local again = assert(g:write(path "again.gguf", { split = "keep", overwrite = true }))
          for i in ipairs(paths) do assert.truthy(S.slurp(paths[i]) == S.slurp(again[i]), "file " .. i) end
          g:close()
        end
        -- one file alone
        local one = assert(gguf.open(paths[2], { one = true }))
        assert.equal(1, #one.shards)
        assert.equal(1, one.meta["split.no"])
        one:close()
        for _, p in ipairs(paths) do os.remove(p) end
      end
    end)

    it("keeps the file sizes asked for", function()
      local paths = assert(gguf.write {
        path = path "s.gguf", meta = meta, tensors = model(), split = { bytes = 320 },
      })
      local seen = 0
      for k, p in ipairs(paths) do
        local one = assert(gguf.open(p, { one = true }))
        local bytes = 0
        for _, t in ipairs(one.tensors) do bytes = bytes + t.bytes end
        assert.truthy(bytes <= 320)
        seen = seen + #one.tensors
        assert.equal(k - 1, one.meta["split.no"])
        one:close()
      end
      assert.equal(n, seen)
    end)
  end)
end)
