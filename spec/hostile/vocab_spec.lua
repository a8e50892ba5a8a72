-- Hostile vocabularies and hostile texts: exact errors, linear time, no leaks.
local S = require "spec.support"
local B = require "spec.hostile.build"
local core = require "wane.core"

local dir = S.tmp "hostile-vocab"
assert(os.execute("mkdir -p " .. dir))

local function strings(list)
  local out = {}
  for i, s in ipairs(list) do out[i] = B.str(s) end
  return B.array("string", #list, table.concat(out))
end
local function i32s(list)
  local out = {}
  for i, x in ipairs(list) do out[i] = B.int(x, 4) end
  return B.array("i32", #list, table.concat(out))
end
--- float32 bits of small whole numbers, and of the names below
local BITS = { nan = "7fc00000", inf = "7f800000", ninf = "ff800000", [0] = "00000000", [1] = "3f800000",
  [-1] = "bf800000" }
local function f32s(list)
  local out = {}
  for i, x in ipairs(list) do out[i] = B.int(BITS[x], 4) end
  return B.array("f32", #list, table.concat(out))
end

--- The bytes of a vocabulary file; every key can be overruled, false drops it.
local function file(set)
  local keys = {
    { "general.architecture", "string", B.str "llama" },
    { "tokenizer.ggml.model", "string", B.str "llama" },
    { "tokenizer.ggml.tokens", "array", strings { "<unk>", "<s>", "</s>", "a", "b", "ab", "▁", "<0x41>" } },
    { "tokenizer.ggml.scores", "array", f32s { 0, 0, 0, -1, -1, 1, -1, 0 } },
    { "tokenizer.ggml.token_type", "array", i32s { 2, 3, 3, 1, 1, 1, 1, 6 } },
  }
  local kv, seen = {}, {}
  for _, k in ipairs(keys) do
    local over = set[k[1]]
    seen[k[1]] = true
    if over == nil then kv[#kv + 1] = B.kv(k[1], k[2], k[3]) end
    if over then kv[#kv + 1] = B.kv(k[1], over[1], over[2]) end
  end
  local names = {}
  for name in pairs(set) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    if not seen[name] and set[name] then kv[#kv + 1] = B.kv(name, set[name][1], set[name][2]) end
  end
  return B.file { kv = kv }
end

local path = dir .. "/v.gguf"

--- Loads a vocabulary from bytes: v, or nil, message, code.
local function load(bytes)
  S.spit(path, bytes)
  local g = assert(core.gguf.open(path))
  local v, msg, code = core.vocab.new(g)
  g:close()
  return v, msg, code
end

local K = "tokenizer.ggml."
--- A byte-level vocabulary of letters.
local function letters(more, merges)
  local tokens, types = {}, {}
  for c = 33, 126 do tokens[#tokens + 1], types[#types + 1] = string.char(c), 1 end
  for _, t in ipairs(more or {}) do tokens[#tokens + 1], types[#types + 1] = t, 1 end
  return {
    [K .. "model"] = { "string", B.str "gpt2" }, [K .. "scores"] = false,
    [K .. "tokens"] = { "array", strings(tokens) }, [K .. "token_type"] = { "array", i32s(types) },
    [K .. "merges"] = { "array", strings(merges or {}) },
  }
end

local rows = {}
local function row(id, what, set, code, msg)
  rows[#rows + 1] = { id = id, what = what, set = set, code = code, msg = msg }
end

row("V1", "fewer scores", { [K .. "scores"] = { "array", f32s { 0 } } },
  "EFORMAT", "scores': 1 elements, want 8")
row("V1", "more scores", { [K .. "scores"] = { "array", f32s { 0, 0, 0, 0, 0, 0, 0, 0, 0 } } },
  "EFORMAT", "scores': 9 elements")
row("V1", "scores of strings", { [K .. "scores"] = { "array", strings { "0" } } },
  "EFORMAT", "scores' is array of string")
row("V1", "scores that are no array", { [K .. "scores"] = { "f32", B.int(BITS[0], 4) } },
  "EFORMAT", "scores' is f32")
row("V1", "a score that is NaN", { [K .. "scores"] = { "array", f32s { 0, 0, 0, "nan", 0, 0, 0, 0 } } },
  "EFORMAT", "score of token 3 is NaN")
row("V1", "infinite scores", { [K .. "scores"] = { "array", f32s { 0, 0, 0, "inf", "ninf", 0, 0, 0 } } },
  "OK")
row("V1", "fewer types", { [K .. "token_type"] = { "array", i32s { 1 } } },
  "EFORMAT", "token_type': 1 elements, want 8")
row("V1", "types of another width", { [K .. "token_type"] = { "array", B.array("u8", 8, ("\1"):rep(8)) } },
  "EFORMAT", "token_type' is array of u8")
row("V1", "unknown types", { [K .. "token_type"] = { "array", i32s { 2, 3, 3, -1, 7, 255, 1, 6 } } }, "OK")
row("V1", "tokens of numbers", { [K .. "tokens"] = { "array", i32s { 1 } } },
  "EFORMAT", "tokens' is array of i32")
row("V1", "no tokens key", { [K .. "tokens"] = false }, "EFORMAT", "tokens': missing")
row("V1", "merges of numbers",
  { [K .. "model"] = { "string", B.str "gpt2" }, [K .. "merges"] = { "array", i32s { 1 } } },
  "EFORMAT", "merges' is array of i32")
row("V1", "no merges", { [K .. "model"] = { "string", B.str "gpt2" } }, "EFORMAT", "merges': missing")
row("V1", "no model", { [K .. "model"] = false }, "EFORMAT", "model': missing")
row("V1", "unknown model", { [K .. "model"] = { "string", B.str "\27[2Jx" } },
  "EUNSUP", "unknown tokenizer '\\x1b%[2Jx'")
row("V1", "unknown pre",
  { [K .. "model"] = { "string", B.str "gpt2" }, [K .. "pre"] = { "string", B.str "nope" } },
  "EUNSUP", "unknown pre%-tokenizer 'nope'")
row("V1", "a flag that is a number", { [K .. "add_bos_token"] = { "u8", "\1" } },
  "EFORMAT", "add_bos_token' is u8, want bool")

local IDS = {
  "bos", "eos", "eot", "eom", "unknown", "seperator", "padding", "mask", "fim_pre", "fim_suf", "fim_mid",
  "fim_pad", "fim_rep", "fim_sep", "prefix", "suffix", "middle",
}
for _, name in ipairs(IDS) do
  local key = K .. name .. "_token_id"
  row("V2", name .. " = n", { [key] = { "u32", B.u32(8) } }, "EFORMAT", key .. "': 8, want 0 to 7")
  row("V2", name .. " = 2^31", { [key] = { "u32", B.u32(2 ^ 31) } },
    "EFORMAT", key .. "': 2147483648, want 0 to 7")
  row("V2", name .. " = -1", { [key] = { "i32", B.int(-1, 4) } },
    "EFORMAT", key .. "' is %-1, want at least 0")
  row("V2", name .. " = 2^32 - 1", { [key] = { "u32", "\255\255\255\255" } },
    "EFORMAT", key .. "': 4294967295")
end
row("V2", "no tokens at all", { [K .. "tokens"] = { "array", strings {} } }, "EFORMAT", "tokens': no tokens")
row("V2", "one token, default ids beyond it",
  { [K .. "tokens"] = { "array", strings { "a" } }, [K .. "scores"] = false, [K .. "token_type"] = false },
  "EFORMAT", "bos_token_id': missing, but the token is to be added")

local function eight(text) return { "array", strings { "<unk>", "<s>", "</s>", "a", "b", text, "▁",
  "<0x41>" } } end
row("V3", "an empty text", { [K .. "tokens"] = eight "" }, "OK")
row("V3", "a text of 64 KiB", { [K .. "tokens"] = eight(("x"):rep(65536)) }, "OK")
row("V3", "a text of 64 KiB + 1", { [K .. "tokens"] = eight(("x"):rep(65537)) },
  "ELIMIT", "token 5 has 65537 bytes, want at most 65536")
row("V3", "a duplicate", { [K .. "tokens"] = eight "a" }, "OK")
row("V3", "a text that is no UTF-8", { [K .. "tokens"] = eight "\255\192\128" }, "OK")
row("V3", "a NUL", { [K .. "tokens"] = eight "a\0b" }, "OK")
row("V3", "a merge of 200 KB", letters({}, { ("a"):rep(200000) .. " b" }),
  "ELIMIT", "merge 0 has 200002 bytes")

--- t5 with a charsmap of these bytes
local function charsmap(bytes)
  return { [K .. "model"] = { "string", B.str "t5" }, [K .. "precompiled_charsmap"] = { "array",
    B.array("u8", #bytes, bytes) } }
end
--- units of a double array, then replacements
local function map(units, repl)
  local out = {}
  for i, u in ipairs(units) do out[i] = B.u32(u) end
  return B.u32(4 * #units) .. table.concat(out) .. repl
end
--- n units, some of them set: [index] = unit
local function sparse(n, set)
  local units = {}
  for i = 1, n do units[i] = set[i - 1] or 0 end
  return units
end
for n = 0, 8 do row("V4", "a charsmap of " .. n .. " bytes", charsmap(("\0"):rep(n)),
  "EFORMAT", "charsmap':") end
row("V4", "more units than bytes", charsmap(B.u32(4096) .. ("\0"):rep(4096)),
  "EFORMAT", "4096 bytes of units in 4100")
row("V4", "2^32 - 1 bytes of units", charsmap("\255\255\255\255" .. ("\0"):rep(64)),
  "EFORMAT", "4294967295 bytes of units")
row("V4", "no end of the last replacement", charsmap(map(sparse(256, {}), "abc")),
  "EFORMAT", "last replacement has no end")
row("V4", "the root leads outside", charsmap(map(sparse(256, { [0] = 256 * 1024 }), "a\0")),
  "EFORMAT", "a unit leads outside")
-- root 0: base 0, so its child for "a" is unit 97
row("V4", "a child leads outside", charsmap(map(sparse(256, { [97] = 97 + 1024 * 4096 }), "a\0")),
  "EFORMAT", "a unit leads outside")
row("V4", "a cycle", charsmap(map(sparse(256, { [97] = 97 + 1024 * 97 }), "a\0")), "EFORMAT", "form a cycle")
row("V4", "a replacement outside", charsmap(map(sparse(256, { [97] = 97 + 256 + 1024 * 98,
  [3] = 2 ^ 31 + 77 }), "a\0")),
  "EFORMAT", "a replacement lies outside")
row("V4", "one that is right", charsmap(map(sparse(256, { [97] = 97 + 256 + 1024 * 98, [3] = 2 ^ 31 }),
  "b\0")),
  "OK")

for _, text in ipairs { "<0x-1>", "<0xZZ>", "<0x100>", "<0x4>", "", "A", "<0x41" } do
  row("V5", "byte token '" .. text .. "'",
    { [K .. "tokens"] = { "array", strings { "<unk>", "<s>", "</s>", "a", "b", "ab", "▁", text } } },
    "EFORMAT", "byte token 7 is '.*', want <0x00> to <0xFF>")
end
row("V5", "only one of 256 byte tokens", {}, "OK")

describe("hostile vocabularies", function()
  S.check_leaks()
  teardown(function() os.execute("rm -rf " .. dir) end)

  for _, r in ipairs(rows) do
    it(r.id .. " " .. r.what, function()
      local before, t0 = core.memory(), os.clock()
      local v, msg, code = load(file(r.set))
      assert.truthy(os.clock() - t0 < 2)
      if r.code == "OK" then
        assert(v, msg)
        -- it works on anything, and gives ids of its own
        for _, text in ipairs { "", "ab a b", "\0\255\240\159", "<s>x</s>", ("ab"):rep(200) } do
          for _, id in ipairs(assert(v:encode(text, { special = true, parse_special = true }))) do
            assert.truthy(id >= 0 and id < #v)
            v:piece(id, true)
          end
        end
        v:close()
      else
        assert.is_nil(v)
        assert.equal(r.code, code, msg)
        assert.truthy(msg:find(r.msg), msg .. "\n  want " .. r.msg)
        assert.truthy(msg:find(path, 1, true), "names the file: " .. msg)
        assert.falsy(msg:find "[%c\128-\255]", "message is printable")
        assert.equal(before.blocks, core.memory().blocks)
      end
      local good = assert(load(file {}))
      assert.same({ 1, 6, 5 }, good:encode("ab", { special = true }))
      good:close()
    end)
  end

  it("V5 missing bytes become the unknown token", function()
    local v = assert(load(file {}))
    assert.same({ 6, 7, 0, 0 }, v:encode "A\255\1")
    v:close()
  end)

  it("K1 refuses every other type of every key", function()
    local values = { u8 = "\1", i32 = "\1\0\0\0", f32 = "\0\0\0\0", bool = "\1", string = B.str "x",
      u64 = B.u64(1), array = B.array("u8", 0, "") }
    for _, key in ipairs { "model", "tokens", "scores", "token_type", "add_bos_token", "bos_token_id",
      "add_space_prefix" } do
      for kind, bytes in pairs(values) do
        local v, _, code = load(file { [K .. key] = { kind, bytes } })
        if v then v:close() else assert.truthy(code == "EFORMAT" or code == "EUNSUP", code) end
      end
    end
  end)

  it("survives every byte of a small file being changed", function()
    local bytes = file {}
    for at = 1, #bytes do
      for _, b in ipairs { 0, 1, 0x7f, 0x80, 0xff } do
        S.spit(path, bytes:sub(1, at - 1) .. string.char(b) .. bytes:sub(at + 1))
        local g = core.gguf.open(path)
        local v = g and core.vocab.new(g)
        if v then
          v:encode("ab <s> A\255", { special = true, parse_special = true })
          v:close()
        end
        if g then g:close() end
      end
    end
  end)

  it("fails cleanly at every allocation", function()
    local sets = { file {}, file(letters({ "ab" }, { "a b" })), file(charsmap(map(sparse(256, {}), "b\0"))) }
    for _, bytes in ipairs(sets) do
      S.spit(path, bytes)
      local g = assert(core.gguf.open(path))
      local n, v, ids, code = 0
      repeat
        n = n + 1
        core.fail_alloc(n)
        v, _, code = core.vocab.new(g)
        core.fail_alloc(0)
        assert.truthy(v or code == "ENOMEM", code)
      until v
      assert.truthy(n > 5)
      n = 0
      local text = ("ab <s>\255"):rep(300)
      repeat
        n = n + 1
        core.fail_alloc(n)
        ids, _, code = v:encode(text, { parse_special = true })
        core.fail_alloc(0)
        assert.truthy(ids or code == "ENOMEM", code)
      until ids
      n = 0
      local out
      repeat
        n = n + 1
        core.fail_alloc(n)
        out, _, code = v:decode(ids)
        core.fail_alloc(0)
        assert.truthy(out or code == "ENOMEM", code)
      until out
      v:close()
      g:close()
    end
  end)
end)

describe("hostile texts", function()
  S.check_leaks()
  teardown(function() os.execute("rm -rf " .. dir) end)
  assert(os.execute("mkdir -p " .. dir))

  --- A million of one thing; under a sanitizer a tenth.
  local N = os.getenv "WANE_LANE" and 100000 or 1000000
  local runs = {
    A = "A", space = " ", ["line ends"] = "\n", dots = ".", marks = "\204\129", CJK = "\228\184\173",
      digits = "1",
    ["words"] = " a", ["cases"] = "aA", ["bytes that are no UTF-8"] = "\255",
  }

  local function time(v, s)
    local t0 = os.clock()
    assert(v:encode(s))
    return os.clock() - t0
  end

  it("V7 every pre-tokenizer is fast on a million of anything", function()
    local merges = {}
    for i = 0, 9 do merges[#merges + 1] = ("A"):rep(2 ^ i) .. " " .. ("A"):rep(2 ^ i) end
    local set = letters({}, merges)
    for _, pre in ipairs(core.vocab.pre_names()) do
      set[K .. "pre"] = { "string", B.str(pre) }
      set[K .. "bos_token_id"] = { "u32", B.u32(0) }
      local v = assert(load(file(set)))
      for what, s in pairs(runs) do
        local took = time(v, s:rep(math.floor(N / #s)))
        assert(took < 1, ("%s: %d bytes of %s took %.2f s"):format(pre, N, what, took))
      end
      v:close()
    end
  end)

  it("V7 needs little stack", function()
    local script = dir .. "/stack.lua"
    S.spit(path, file(letters({ "AA" }, { "A A" })))
    S.spit(script, ([[
      local core = require "wane.core"
      local g = assert(core.gguf.open %q)
      local v = assert(core.vocab.new(g))
      for _, s in ipairs { "A", " ", ".", "\204\129", "\228\184\173" } do assert(v:encode(s:rep(1000000))) end
    ]]):format(path))
    local env = ("LUA_PATH='%s' LUA_CPATH='%s' "):format(package.path, package.cpath)
    if not os.getenv "WANE_LANE" then -- sanitizers want more for themselves
      local lua = jit and "luajit " or "lua5.4 "
      local p = io.popen("ulimit -s 192; " .. env .. lua .. script .. " 2>&1; echo end $?")
      assert.equal("end 0\n", p:read "*a")
      p:close()
    end
  end)

  it("V8 time grows with length, not with its square", function()
    local merges, tokens = { "A A" }, { "AA" }
    for i = 2, 200 do -- every merge makes the next longer by one
      merges[i] = ("A"):rep(i) .. " A"
      tokens[i] = ("A"):rep(i + 1)
    end
    -- ranks upside down: the longest merge is the most urgent
    local upside = {}
    for i = 1, #merges do upside[i] = merges[#merges + 1 - i] end
    for _, list in ipairs { merges, upside } do
      local v = assert(load(file(letters(tokens, list))))
      local short = math.max(time(v, ("A"):rep(math.floor(N / 8))), 0.002)
      local long = time(v, ("A"):rep(N))
      assert(long < 40 * short, ("%.4f s for %d, %.4f s for %d"):format(short, N / 8, long, N))
      v:close()
    end
    local v = assert(load(file {}))
    assert(time(v, ("ab"):rep(math.floor(N / 2))) < 1)
    assert(time(v, ("a"):rep(N)) < 1)
    v:close()
  end)

  it("special tokens that overlap themselves are found in linear time", function()
    local tokens, types = { "<unk>", "<s>", "</s>" }, { 2, 3, 3 }
    for i = 1, 40 do tokens[#tokens + 1], types[#types + 1] = ("A"):rep(i * 1000), 3 end
    local v = assert(load(file {
      [K .. "tokens"] = { "array", strings(tokens) }, [K .. "token_type"] = { "array", i32s(types) },
        [K .. "scores"] = false,
    }))
    local t0 = os.clock()
    local ids = assert(v:encode(("A"):rep(N) .. "B", { parse_special = true }))
    assert(os.clock() - t0 < 2)
    assert.equal(42, ids[1])
    v:close()
  end)

  it("V6 refuses more than 256 MiB", function()
    if os.getenv "WANE_LANE" or os.getenv "WANE_SLOW" == "0" then return end
    local v = assert(load(file {}))
    local ids, msg, code = v:encode(("x"):rep(2 ^ 28 + 1))
    assert.is_nil(ids)
    assert.equal("ELIMIT", code)
    assert.truthy(msg:find "268435457 bytes, want at most 268435456", msg)
    v:close()
  end)

  describe("special tokens in a text", function()
    --- Ids of a text under both rules; `types` as in a file, tokens from id 8 on.
    local function both(tokens, types, text, opts)
      local base, kinds = { "<unk>", "<s>", "</s>", "a", "b", "c", "d", "▁" }, { 2, 3, 3, 1, 1, 1, 1, 1 }
      local zeros = {}
      for i, t in ipairs(tokens) do base[#base + 1], kinds[#kinds + 1] = t, types[i] end
      for i = 1, #base do zeros[i] = 0 end
      S.spit(path, file {
        [K .. "tokens"] = { "array", strings(base) }, [K .. "scores"] = { "array", f32s(zeros) },
        [K .. "token_type"] = { "array", i32s(kinds) }, [K .. "add_space_prefix"] = { "bool", "\0" },
      })
      local out = {}
      for i, exact in ipairs { "trained", "llama.cpp" } do
        local g = assert(core.gguf.open(path))
        local v = assert(core.vocab.new(g, exact))
        g:close()
        out[i] = table.concat(v:encode(text, opts), " ")
        v:close()
      end
      return out[1], out[2]
    end
    local USER, CONTROL = 4, 3

    it("are the leftmost and longest, not the longest of all", function()
      local ours, peer = both({ "ab", "bcd" }, { USER, USER }, "abcd")
      assert.equal("8 5 6", ours)
      assert.equal("3 9", peer)
      assert.equal("9 8", (both({ "ab", "abc" }, { USER, USER }, "abcab")))
      -- a shorter one where the longer does not go on
      assert.equal("8 5 8 5 4", (both({ "ab", "abcd" }, { USER, USER }, "abcabcb")))
    end)

    it("count by their kind: control only when asked for", function()
      assert.equal("3 4 5", (both({ "abc" }, { CONTROL }, "abc")))
      assert.equal("8", (both({ "abc" }, { CONTROL }, "abc", { parse_special = true })))
      -- of two at one place the longer, whatever its kind
      assert.equal("9 6", (both({ "ab", "abc" }, { USER, CONTROL }, "abcd", { parse_special = true })))
      assert.equal("8 5 6", (both({ "ab", "abc" }, { USER, CONTROL }, "abcd")))
    end)

    it("stand for spaces in both spellings", function()
      assert.equal("3 8 4", (both({ "  " }, { USER }, "a  b")))
      assert.equal("3 8 4", (both({ "  " }, { USER }, "a▁▁b")))
      assert.equal("3 7 7 4", select(2, both({ "  " }, { USER }, "a▁▁b")))
    end)

    it("take linear time when each is the start of the next", function()
      local tokens, types = {}, {}
      for i = 2, 400 do tokens[#tokens + 1], types[#types + 1] = ("a"):rep(i) .. "b", USER end
      local text = ("a"):rep(300000)
      local t = os.clock()
      local ours = both(tokens, types, text .. "b")
      local _, n = ours:gsub("%d+", "")
      assert.equal(300000 - 400 + 1, n) -- all but the last 400 alone, then one token
      assert.truthy(os.clock() - t < 20)
    end)

    it("never come of plain text, whatever the kind", function()
      local function ids(model, tokens, types, text, more)
        local zeros = {}
        for k = 1, #tokens do zeros[k] = 0 end
        local set = { [K .. "model"] = { "string", B.str(model) }, [K .. "tokens"] = { "array", strings(tokens) },
          [K .. "scores"] = { "array", f32s(zeros) }, [K .. "token_type"] = { "array", i32s(types) } }
        for key, value in pairs(more or {}) do set[K .. key] = value end
        S.spit(path, file(set))
        local out = {}
        for n, exact in ipairs { "trained", "llama.cpp" } do
          local g = assert(core.gguf.open(path))
          local v = assert(core.vocab.new(g, exact))
          g:close()
          out[n] = table.concat(assert(v:encode(text)), " ")
          if exact == "llama.cpp" then out[3] = table.concat(assert(v:encode(text, nil, { 0, #text })), " ") end
          v:close()
        end
        return out
      end
      -- the rules of llama.cpp let them where all of a text is trusted, but not in a message
      local u32 = function(x) return { "u32", B.int(x, 4) } end
      local wpm = { bos_token_id = u32(0), seperator_token_id = u32(0), unknown_token_id = u32(1) }
      assert.same({ "2 3 4", "5", "2 3 4" },
        ids("bert", { "[CLS]", "[UNK]", "▁a", "b", "c", "▁abc" }, { 3, 3, 1, 1, 1, 3 }, "abc", wpm))
      assert.same({ "1 2", "3", "1 2" }, ids("rwkv", { "<s>", "a", "b", "ab" }, { 3, 1, 1, 3 }, "ab"))
      local t5 = { add_eos_token = { "bool", "\0" }, add_space_prefix = { "bool", "\0" } }
      -- "</s>" calls itself ordinary, and is known all the same
      assert.same({ "5 6 3 7", "4", "5 6 3 7" },
        ids("t5", { "<pad>", "<unk>", "x", "s", "</s>", "<", "/", ">" }, { 3, 2, 1, 1, 1, 1, 1, 1 }, "</s>", t5))
    end)
  end)

  it("V7 take memory in proportion to the text: at most 48 bytes for each of its own", function()
    local wpm = { [K .. "model"] = { "string", B.str "bert" }, [K .. "bos_token_id"] = { "u32", B.int(1, 4) },
      [K .. "seperator_token_id"] = { "u32", B.int(1, 4) } }
    local t5 = { [K .. "model"] = { "string", B.str "t5" } }
    for name, set in pairs { bpe = letters({ "AA", "AAAA" }, { "A A", "AA AA" }), spm = {}, wpm = wpm, ugm = t5 } do
      local v = assert(load(file(set)))
      for _, unit in ipairs { "A", " ", "a", "▁", "\204\129" } do
        local text = unit:rep(math.floor(1e6 / #unit))
        local before = core.memory().bytes
        core.reset_peak()
        local n = assert(v:count(text))
        local peak = core.memory().peak_bytes - before
        assert.truthy(n >= 0)
        assert(peak <= 48 * #text + 4e6, ("%s of %q: %d bytes for %d"):format(name, unit, peak, #text))
      end
      v:close()
    end
  end)
end)
