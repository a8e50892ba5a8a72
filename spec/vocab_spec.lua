-- Tokenizers: the reference vectors, round trips, streams, options.
local S = require "spec.support"
local W = require "spec.support.words"
local gguf = require "wane.gguf"
local vocab = require "wane.vocab"

local dir = S.tmp "vocab"
assert(os.execute("mkdir -p " .. dir))

local DEMO = "examples/models/demo-f16.gguf"

--- The vocabulary of a conformance file with some metadata changed.
local function changed(name, set)
  local f = assert(gguf.open(S.conformance("tokenizers/" .. name .. ".gguf")))
  local to = dir .. "/changed.gguf"
  assert(f:write(to, { set = set, overwrite = true }))
  f:close()
  return vocab.open(to, { exact = "llama.cpp" })
end

local function conformance(name)
  return assert(vocab.open(S.conformance("tokenizers/" .. name .. ".gguf"), { exact = "llama.cpp" }))
end

describe("vocab", function()
  S.check_leaks()
  teardown(function() os.execute("rm -rf " .. dir) end)

  describe("the face", function()
    it("encodes, decodes and describes", function()
      local v = assert(vocab.open(DEMO))
      assert.equal("bpe", v.kind)
      assert.equal(2048, v.n)
      local ids = v:encode "Once upon a time"
      assert.truthy(#ids > 0)
      assert.equal("Once upon a time", v:decode(ids))
      local pieces = {}
      for i, id in ipairs(ids) do pieces[i] = v:piece(id) end
      assert.equal("Once upon a time", table.concat(pieces))
      assert.equal(ids[1], v:find(v:text(ids[1])))
      assert.is_nil(v:find "no token reads like this")
      assert.equal(v.special.eos, v.eos)
      assert.truthy(v:is_eog(v.eos))
      assert.same({}, v:encode "")
      assert.equal("", v:decode {})
      v:close()
    end)

    it("shares the file of wane.gguf, and outlives it", function()
      local f = assert(gguf.open(DEMO))
      local v = assert(vocab.of(f))
      f:close()
      assert.equal("Hi", v:decode(v:encode "Hi"))
      v:close()
    end)

    it("raises on misuse, returns what the world does wrong", function()
      local v = assert(vocab.open(DEMO))
      assert.error_matches(function() v:encode("x", { specail = true }) end, "unknown option 'specail'")
      assert.error_matches(function() v:encode("x", { special = 1 }) end, "true or false")
      assert.error_matches(function() v:encode(12) end, "string expected")
      assert.error_matches(function() vocab.open(DEMO, { exact = "no" }) end, 'exact: want "trained" or "llama.cpp", got no')
      assert.error_matches(function() vocab.open(DEMO, { exakt = 1 }) end, "unknown option 'exakt'")
      assert.error_matches(function() vocab.open(DEMO, 1) end, "want options as a table")
      assert.error_matches(function() v:decode { v.n } end, "token 1 of the list")
      assert.error_matches(function() v:decode { 1, -1 } end, "token 2 of the list")
      assert.error_matches(function() v:decode { 0.5 } end, "token 1")
      assert.error_matches(function() v:piece(v.n) end, "want an integer from 0 to")
      assert.error_matches(function() v:stream { speciel = true } end, "unknown option")
      v:close()
      v:close()
      assert.error_matches(function() v:encode "x" end, "vocab is closed")
      local none, msg, code = vocab.open "/nowhere.gguf"
      assert.is_nil(none)
      assert.truthy(msg:find "nowhere")
      assert.equal("ENOENT", code)
    end)

    it("V10 keeps control tokens in a text plain unless asked", function()
      local v = conformance "phi-3"
      local text = "<|user|>\nHi<|end|></s>"
      for _, id in ipairs(v:encode(text)) do
        assert.equal(0, v:attr(id) % 16 - v:attr(id) % 8, "token " .. id .. " is a control token")
      end
      local parsed = v:encode(text, { parse_special = true })
      assert.equal(v:find "<|user|>", parsed[1])
      assert.equal(v:find "</s>", parsed[#parsed])
      v:close()
    end)
  end)

  it("encodes parts: control tokens count only outside of input", function()
    local v = conformance "phi-3"
    local function ids(...)
      local parts = {}
      for i, p in ipairs { ... } do parts[i] = { text = p[1], input = p[2] } end
      return v:encode(parts, { parse_special = true })
    end
    local whole = v:encode("<|user|>\nHi you<|end|>", { parse_special = true })
    assert.same(whole, ids({ "<|user|>\n" }, { "Hi you", true }, { "<|end|>" }))
    assert.same(v:encode "<|end|>", ids { "<|end|>", true })
    -- a token may not begin in input and end outside, nor the other way round
    for cut = 1, 6 do
      assert.same(v:encode "<|end|>", ids({ ("<|end|>"):sub(1, cut), true }, { ("<|end|>"):sub(cut + 1) }))
      assert.same(v:encode "<|end|>", ids({ ("<|end|>"):sub(1, cut) }, { ("<|end|>"):sub(cut + 1), true }))
    end
    local e = v:find "<|end|>"
    local got = ids({ "<|end|>" }, { "<|end|><|end|>", true }, { "<|end|>" }, { "", true }, { "<|end|>" })
    assert.equal(e, got[1])
    assert.equal(e, got[#got])
    assert.equal(e, got[#got - 1])
    assert.are_not.equal(e, got[2])
    assert.error_matches(function() v.handle:encode("abc", nil, { 0, 4 }) end, "offsets within the text")
    assert.error_matches(function() v.handle:encode("abc", nil, { 2, 1 }) end, "ascending")
    assert.error_matches(function() v.handle:encode("abc", nil, { 1 }) end, "pairs")
    v:close()
  end)

  describe("streams", function()
    it("never cut a character", function()
      local v = assert(vocab.open(DEMO))
      local text = "naïve – 日本語 🌙 é\255x\240\159"
      local s, shown = v:stream(), {}
      for _, id in ipairs(v:encode(text)) do
        local piece = s:push(id)
        -- a lead byte has all its tails with it
        local lead = piece:find "[\194-\244][\128-\191]*$"
        if lead then
          local b = piece:byte(lead)
          local want = b < 224 and 2 or b < 240 and 3 or 4
          assert.equal(want, #piece - lead + 1, W.hex(piece))
        end
        shown[#shown + 1] = piece
      end
      shown[#shown + 1] = s:finish()
      assert.equal("naïve – 日本語 🌙 é\239\191\189x\239\191\189\239\191\189", table.concat(shown))
      assert.equal("", s:finish())
      s:close()
      assert.error_matches(function() s:push(1) end, "closed")
      v:close()
    end)

    it("give invalid bytes when nothing can complete them", function()
      local v = conformance "llama-spm"
      local s = v:stream()
      local out = {}
      for _, b in ipairs { 0xE2, 0x96, 0x41, 0xF0, 0x9F, 0x8C, 0x99, 0x80, 0xC3 } do
        out[#out + 1] = s:push(v:find(("<0x%02X>"):format(b)))
      end
      assert.same({ "", "", "\226\150A", "", "", "", "\240\159\140\153", "\128", "" }, out)
      assert.equal("\195", s:finish())
      s:close()
      v:close()
    end)
  end)

  --- The pieces of a text's tokens, joined.
  local function joined(v, text)
    local pieces = {}
    for i, id in ipairs(assert(v:encode(text))) do pieces[i] = v:piece(id) end
    return table.concat(pieces)
  end

  describe("V9 round trips", function()
    it("give every byte string back where the vocabulary knows bytes", function()
      local v = conformance "llama-spm"
      -- a lead byte takes the bytes behind it along, in llama.cpp too: of a
      -- space (written U+2581) it leaves the bytes of U+2581
      local function check(s)
        if joined(v, s):gsub("\226\150\129", " ") ~= " " .. s then error("bytes " .. W.hex(s)) end
      end
      for a = 0, 255 do
        assert.equal(" " .. string.char(a), joined(v, string.char(a)))
        for b = 0, 255 do check(string.char(a, b)) end
      end
      local rnd = W.random(7)
      for _ = 1, 20000 do check(string.char(rnd(0, 255), rnd(0, 255), rnd(0, 255), rnd(0, 255))) end
      v:close()
    end)

    it("give every text back, bytes that are no UTF-8 as U+FFFD", function()
      local v, bad = conformance "gpt-2", "\239\191\189"
      for a = 0, 127 do
        for b = 0, 127 do
          local s = string.char(a, b)
          if joined(v, s) ~= s then error("bytes " .. W.hex(s)) end
        end
      end
      for c = 0x80, 0x10FFFF, 97 do
        local s = W.utf8(c)
        if joined(v, s) ~= s then error(("U+%X"):format(c)) end
      end
      for a = 128, 255 do assert.equal(bad, joined(v, string.char(a))) end
      -- defined here where llama.cpp raises: above U+10FFFF each byte counts
      assert.equal(bad:rep(4), joined(v, "\244\144\128\128"))
      assert.equal("A", joined(v, "\193\129")) -- over-long, as llama.cpp reads it
      v:close()
    end)
  end)

  describe("reference vectors", function()
    local cjson = require "cjson"

    local function lines(name)
      local f = assert(io.open(S.conformance("tokenizers/" .. name), "rb"))
      return function()
        local line = f:read "*l"
        if not line then return f:close() and nil end
        local r = cjson.decode(line)
        r.bytes = r.hex and W.unhex(r.hex) or r.text
        return r
      end
    end

    local function check_index(v, info, name)
      for _, key in ipairs {
        "bos", "eos", "eot", "sep", "nl", "pad", "mask", "fim_pre", "fim_suf", "fim_mid", "fim_pad",
        "fim_rep", "fim_sep",
      } do
        assert.equal(info[key], v.special[key] or -1, name .. " " .. key)
      end
      assert.equal(info.n_tokens, v.n)
      assert.equal(info.vocab_type, v.kind)
      assert.same(info.eog, v.eog)
      for _, key in ipairs { "add_bos", "add_eos", "add_sep" } do assert.equal(info[key], v[key], key) end
      local count = {}
      for id = 0, v.n - 1 do
        local a = tostring(v:attr(id))
        count[a] = (count[a] or 0) + 1
      end
      assert.same(info.attr_histogram, count)
    end

    local function piece_hash(v, special)
      local path, out = dir .. "/pieces", {}
      for id = 0, v.n - 1 do
        local p = v:piece(id, special)
        out[#out + 1] = string.char(#p % 256, math.floor(#p / 256) % 256, math.floor(#p / 65536), 0) .. p
      end
      S.spit(path, table.concat(out))
      local p = io.popen("sha256sum " .. path)
      local hash = p:read(64)
      p:close()
      return hash
    end

    local function check_texts(v, name)
      for r in lines(name .. ".jsonl") do
        for add = 0, 1 do
          for parse = 0, 1 do
            local key = ("add%d_parse%d"):format(add, parse)
            local ids = assert(v:encode(r.bytes, { special = add == 1, parse_special = parse == 1 }))
            if r.ids then W.same_ids(r.ids[key], ids, name .. " " .. key .. " " .. r.bytes) end
            local text = r["detok_" .. key]
            for remove = 0, text and 1 or -1 do
              for unparse = 0, 1 do
                local want = text
                if type(text) == "table" then want = text[("remove%d_unparse%d"):format(remove, unparse)] end
                local got = v:decode(r.ids[key], { remove_special = remove == 1,
                  unparse_special = unparse == 1 })
                if want then assert.equal(want, W.hex(got), name .. " decoding " .. r.bytes) end
              end
            end
          end
        end
      end
    end

    --- The classic set: texts between marks, one line of ids for each.
    local function check_inp(v, name)
      local path = S.shared .. "conformance/tokenizers/" .. name .. ".gguf"
      if not S.exists(path .. ".inp") then return end
      local text, mark, at = S.slurp(path .. ".inp"), "\n__ggml_vocab_test__\n", 1
      for line in io.lines(path .. ".out") do
        local a, b = text:find(mark, at, true)
        local want = {}
        for id in line:gmatch "%d+" do want[#want + 1] = tonumber(id) end
        W.same_ids(want, v:encode(text:sub(at, (a or #text + 1) - 1)), name .. ".inp")
        at = (b or #text) + 1
      end
    end

    for _, name in ipairs { "baichuan", "bert-bge", "gpt-2", "llama-spm", "mpt", "phi-3", "starcoder" } do
      it("of " .. name .. " agree: ids, texts, pieces, specials", function()
        local v = conformance(name)
        local info = cjson.decode(S.slurp(S.conformance "tokenizers/index.json"))[name]
        check_index(v, info, name)
        assert.equal(info.pieces_sha256_special, piece_hash(v, true))
        assert.equal(info.pieces_sha256_nospecial, piece_hash(v, false))
        check_texts(v, name)
        check_inp(v, name)
        v:close()
      end)
    end

    it("of every pre-tokenizer agree", function()
      local now, v, n = nil, nil, 0
      for r in lines "pre_overrides_on_gpt-2.jsonl" do
        if r.pre ~= now then
          if v then v:close() end
          now, n = r.pre, n + 1
          v = assert(changed("gpt-2", { ["tokenizer.ggml.pre"] = now }))
          assert.equal(now, v.pre)
        end
        if r.ids then W.same_ids(r.ids, v:encode(r.bytes), now .. ": " .. r.bytes) end
      end
      v:close()
      assert.truthy(n > 70)
    end)

    it("refuse the pre-tokenizers that llama.cpp does not know", function()
      local index = cjson.decode(S.slurp(S.conformance "tokenizers/index.json"))
      for _, name in ipairs(index._pre_overrides.rejected_at_load) do
        local v, msg, code = changed("gpt-2", { ["tokenizer.ggml.pre"] = name })
        assert.is_nil(v)
        assert.equal("EUNSUP", code)
        assert.truthy(msg:find("unknown pre-tokenizer '" .. name .. "'", 1, true), msg)
      end
    end)

    it("of changed metadata agree: prefix, BOS and EOS, unigram", function()
      local variants = cjson.decode(S.slurp(S.conformance "tokenizers/index.json"))._spm_overrides.variants
      local now, v
      for r in lines "overrides_on_llama-spm.jsonl" do
        if r.variant ~= now then
          if v then v:close() end
          now = r.variant
          v = assert(changed("llama-spm", variants[now]))
        end
        W.same_ids(r.ids_add1_parse1, v:encode(r.bytes, { special = true, parse_special = true }),
          now .. ": " .. r.bytes)
        local text = v:decode(r.ids_add1_parse1, { remove_special = true })
        assert.equal(r.detok_remove1_unparse0, W.hex(text), now)
      end
      v:close()
    end)
  end)
end)
