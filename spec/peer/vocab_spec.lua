--- Tokenizers against llama.cpp's own: random texts, every pre-tokenizer,
--- every flag, ids and texts.
if not (jit and os.getenv "WANE_PEER") then return end
local ffi = require "ffi"
local gguf = require "wane.gguf"
local peer = require "spec.support.peer"
local S = require "spec.support"
local W = require "spec.support.words"
local vocab = require "wane.vocab"

ffi.cdef [[
int32_t llama_detokenize(void *, const int32_t *, int32_t, char *, int32_t, bool, bool);
bool llama_vocab_is_eog(void *, int32_t);
int llama_vocab_get_attr(void *, int32_t);
]]

local seed = tonumber(os.getenv "WANE_SEED") or os.time()
local N_TEXTS = tonumber(os.getenv "WANE_TEXTS") or 50
local ids_buf, text_buf = ffi.new("int32_t[?]", 100000), ffi.new("char[?]", 1000000)

--- Both vocabularies of one file, and what to do with them.
local function both(path, fn)
  local L = peer.open()
  local params = L.llama_model_default_params()
  params.b[72] = 1 -- the vocabulary only
  local m = L.llama_model_load_from_file(path, params)
  assert(m ~= nil, "the peer cannot load " .. path)
  local v = assert(vocab.open(path, { exact = "llama.cpp" }))
  local ok, why = pcall(fn, L, L.llama_model_get_vocab(m), v)
  L.llama_model_free(m)
  v:close()
  assert(ok, why)
end

--- Ids of a text, then a text of ids, both ways.
local function compare(L, p, v, rnd, specials)
  local text, add, parse = W.text(rnd, specials), rnd(0, 1) == 1, rnd(0, 1) == 1
  local n = L.llama_tokenize(p, text, #text, ids_buf, 100000, add, parse)
  local want = {}
  for i = 1, n do want[i] = ids_buf[i - 1] end
  local got = assert(v:encode(text, { special = add, parse_special = parse }))
  W.same_ids(want, got, "text " .. W.hex(text))
  if rnd(0, 1) == 1 then
    for i = 1, rnd(1, 20) do want[i] = rnd(0, v.n - 1) end
  end
  local remove, unparse = rnd(0, 1) == 1, rnd(0, 1) == 1
  n = L.llama_detokenize(p, ffi.new("int32_t[?]", #want + 1, want), #want, text_buf, 1000000, remove, unparse)
  assert.equal(W.hex(ffi.string(text_buf, n)),
    W.hex(v:decode(want, { remove_special = remove, unparse_special = unparse })))
end

local function check(path)
  both(path, function(L, p, v)
    local rnd, specials = W.random(seed), {}
    for id = 0, v.n - 1 do
      local a = v:attr(id)
      assert.equal(L.llama_vocab_get_attr(p, id), a)
      assert.equal(L.llama_vocab_is_eog(p, id), v:is_eog(id))
      if a % 32 >= 8 or a % 2 == 1 then specials[#specials + 1] = v:text(id) end
    end
    for _ = 1, N_TEXTS do compare(L, p, v, rnd, specials) end
  end)
end

describe("peer: tokenizers (seed " .. seed .. ")", function()
  local path = S.tmp "peer-vocab.gguf"
  teardown(function() os.remove(path) end)

  for _, name in ipairs { "baichuan", "bert-bge", "gpt-2", "llama-spm", "mpt", "phi-3", "starcoder" } do
    it(name .. " equals llama.cpp", function() check(S.conformance("tokenizers/" .. name .. ".gguf")) end)
  end

  for _, pre in ipairs(vocab.pre_names()) do
    -- on this vocabulary llama.cpp aborts in "whitespace"
    if pre ~= "whitespace" then
      it("pre-tokenizer " .. pre .. " equals llama.cpp", function()
        local f = assert(gguf.open(S.conformance "tokenizers/gpt-2.gguf"))
        assert(f:write(path, { set = { ["tokenizer.ggml.pre"] = pre }, overwrite = true }))
        f:close()
        check(path)
      end)
    end
  end
end)
