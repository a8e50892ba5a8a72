--- Vocabularies: from tokenizer.json, tokenizer.model and their settings to the
--- tokenizer.* metadata.
---
--- Four kinds: sentencepiece ("llama"), byte-level BPE ("gpt2"), WordPiece
--- ("bert") and unigram ("t5"). Where llama.cpp's converter is known to be wrong
--- this is not: scores of a BPE with byte fallback are the ranks of its merges,
--- not all alike; an added token that is text keeps its own spaces.
local M = {}

local core = require "wane.core"
local file = require "wane.file"
local fingerprints = require "wane.convert.fingerprints"
local json = require "wane.json"
local rows = require "wane.convert.rows"
local sentencepiece = require "wane.convert.sentencepiece"
local tekken = require "wane.convert.tekken"

local NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
local KIND = { normal = NORMAL, unknown = UNKNOWN, control = CONTROL, user = USER, unused = UNUSED, byte = BYTE }
local SPACE = "\226\150\129" -- U+2581
local MAX_JSON = 256 * 1024 * 1024

local function known(v) if v ~= json.null then return v end end

--- A JSON file of the checkpoint, or nil when it is absent.
function M.json(dir, name)
  local path = dir .. "/" .. name
  if not file.kind(path) then return nil end
  local text, message, code = file.read(path, { max_bytes = MAX_JSON })
  if not text then rows.fail(message, code) end
  local v
  v, message, code = json.decode(text, { max_bytes = MAX_JSON })
  if v == nil then rows.fail(("%s: %s"):format(path, message), code) end
  if type(v) ~= "table" then rows.fail(path .. ": want an object") end
  return v
end

-- Tokens that look like control tokens although nobody says so.
local function looks_special(token)
  return token == "<pad>" or token == "<mask>" or token == "<2mass>" or token == "[@BOS@]"
    or token:find "^<|.*|>$" ~= nil or token:find "^<\239\189\156.*\239\189\156>$" ~= nil
    or token:find "^<unused" ~= nil and token:sub(-1) == ">"
end

-- ---- token lists ---------------------------------------------------------------

local MAX_TOKENS = 4194304

local function padded(n, score)
  if type(n) ~= "number" or n < 0 or n > MAX_TOKENS or n ~= math.floor(n) then
    rows.fail(("%s tokens: want at most %d"):format(tostring(n), MAX_TOKENS))
  end
  local t = { texts = {}, kinds = {}, scores = {}, n = n }
  for i = 1, n do t.texts[i], t.kinds[i], t.scores[i] = ("[PAD%d]"):format(i - 1), UNUSED, score end
  return t
end

local function put(t, id, text, kind, score)
  if type(id) ~= "number" or id < 0 or id ~= math.floor(id) then rows.fail("a token's id is no count") end
  if type(text) ~= "string" or type(score) ~= "number" or score ~= score then
    rows.fail(("token %d: want a text and a score"):format(id))
  end
  if id >= t.n then return end -- llama.cpp leaves them out too
  t.texts[id + 1], t.kinds[id + 1], t.scores[id + 1] = text, kind, score
end

-- Tokens that tokenizer_config.json and tokenizer.json add: { id, content, special }.
local function added_tokens(src)
  local list, seen = {}, {}
  local function add(id, a)
    id = tonumber(id)
    if not id or type(a) ~= "table" or type(a.content) ~= "string" or seen[id] then return end
    seen[id] = true
    list[#list + 1] = { id = id, content = a.content, special = a.special == true }
  end
  for id, a in pairs(src.config and known(src.config.added_tokens_decoder) or {}) do add(id, a) end -- sorted below
  for _, a in ipairs(src.json and known(src.json.added_tokens) or {}) do add(a.id, a) end
  table.sort(list, function(a, b) return a.id < b.id end)
  return list
end

local function put_added(t, src, score)
  for _, a in ipairs(added_tokens(src)) do
    local control = a.special or looks_special(a.content)
    put(t, a.id, control and a.content or a.content:gsub(SPACE, " "), control and CONTROL or USER, score)
  end
end

-- ---- special tokens --------------------------------------------------------------

local NAMES = { "bos", "eos", "unk", "sep", "pad", "cls", "mask" }
local KEYS = {
  bos = "bos_token_id", eos = "eos_token_id", unk = "unknown_token_id", sep = "seperator_token_id",
  pad = "padding_token_id", cls = "cls_token_id", mask = "mask_token_id", eot = "eot_token_id", eom = "eom_token_id",
}
M.KEYS = KEYS

local function content_of(entry)
  entry = known(entry)
  if type(entry) == "table" then entry = known(entry.content) end
  return type(entry) == "string" and entry or nil
end

-- Whether the tokenizer's own template puts tokens around a text.
local function template_flags(src, flags, special)
  local post = known(src.json and src.json.post_processor)
  if not post then return end
  for _, p in ipairs(known(post.processors) or { post }) do
    if p.type == "RobertaProcessing" then
      flags.bos, flags.eos, flags.sep = true, true, true
      special.cls = special.cls or p.cls and p.cls[1]
      special.sep = special.sep or p.sep and p.sep[1]
    elseif p.type == "TemplateProcessing" and #(p.single or {}) > 1 then
      local first = (p.single[1].SpecialToken or {}).id
      local last = (p.single[#p.single].SpecialToken or {}).id
      if first then
        special.bos = special.bos or first
        flags.bos = first == special.bos or first == special.cls
      end
      if last then
        if special.eos and last ~= special.eos then special.eot = special.eos end
        special.eos = last
        flags.eos = true
      end
      local pair = p.pair or {}
      for _, e in ipairs(pair) do
        if e.SpecialToken and not last and (e.SpecialToken.id == special.sep or e.SpecialToken.id == special.eos) then
          flags.sep = true
        end
      end
    end
  end
end

-- Ids of special tokens and the flags that go with them.
local function set_special(p, src, t)
  local special, flags, id_of = {}, {}, {}
  for i = t.n, 1, -1 do id_of[t.texts[i]] = i - 1 end
  for _, a in ipairs(added_tokens(src)) do id_of[a.content] = a.id end
  local config = src.config or {}
  for _, name in ipairs(NAMES) do
    special[name] = content_of(config[name .. "_token"]) or content_of((src.map or {})[name .. "_token"])
  end
  special.bos, special.eos = special.bos or special.cls, special.eos or special.sep
  template_flags(src, flags, special)
  for _, name in ipairs(NAMES) do
    local f = known(config["add_" .. name .. "_token"])
    if type(f) == "boolean" then flags[name] = f end
  end
  local function ids_of(name)
    if special[name] and id_of[special[name]] then return id_of[special[name]] end
    local id = known(src.model_config[name .. "_token_id"])
    if id == nil then id = known((src.generation or {})[name .. "_token_id"]) end
    if type(id) == "table" then id = id[1] end
    return type(id) == "number" and id >= 0 and id < t.n and id or nil
  end
  for _, name in ipairs { "bos", "eos", "unk", "sep", "pad", "cls", "mask", "eot" } do
    local id = ids_of(name)
    if id then p:set("tokenizer.ggml." .. KEYS[name], "u32", id) end
  end
  for _, name in ipairs { "bos", "eos", "sep" } do
    if flags[name] ~= nil then p:set("tokenizer.ggml.add_" .. name .. "_token", "bool", flags[name]) end
  end
end

-- Several end tokens in generation_config.json: the second is the end of a turn.
local function set_more_ends(p, src)
  local ends = known((src.generation or {}).eos_token_id)
  if type(ends) ~= "table" then return end
  local eos = p.index["tokenizer.ggml.eos_token_id"]
  eos = eos and p.list[eos].value
  for _, id in ipairs(ends) do
    if id ~= eos and not p.index["tokenizer.ggml.eot_token_id"] and type(id) == "number" then
      p:set("tokenizer.ggml.eot_token_id", "u32", id)
    end
  end
end

local function set_template(p, src)
  local text = known(src.config and src.config.chat_template)
  local path = src.dir .. "/chat_template.jinja"
  if not text and file.kind(path) then
    local message, code
    text, message, code = file.read(path, { max_bytes = 2 ^ 20 })
    if not text then rows.fail(message, code) end
  end
  if not text then
    local other = M.json(src.dir, "chat_template.json")
    text = other and known(other.chat_template)
  end
  if type(text) == "table" then -- several: the default has the plain key
    local names = {}
    for _, e in ipairs(text) do
      if type(e) == "table" and type(e.name) == "string" and type(e.template) == "string" then
        if e.name == "default" then
          p:set("tokenizer.chat_template", "string", e.template)
        elseif e.name:find "^[%w_]+$" then
          names[#names + 1] = e.name
          p:set("tokenizer.chat_template." .. e.name, "string", e.template)
        end
      end
    end
    if #names > 0 then p:set("tokenizer.chat_templates", "array", names, "string") end
  elseif type(text) == "string" then
    p:set("tokenizer.chat_template", "string", text)
  end
end

-- ---- kinds ------------------------------------------------------------------------

local function set_tokens(p, t, scores)
  p:set("tokenizer.ggml.tokens", "array", t.texts, "string")
  if scores then p:set("tokenizer.ggml.scores", "array", t.scores, "f32") end
  p:set("tokenizer.ggml.token_type", "array", t.kinds, "i32")
end

local function by_sentencepiece(p, src, path)
  src.sentencepiece = true
  local bytes, message, code = file.read(path, { max_bytes = 64 * 2 ^ 20 })
  if not bytes then rows.fail(message, code) end
  local model
  model, message, code = sentencepiece.parse(bytes)
  if not model then rows.fail(("%s: %s"):format(path, message), code) end
  local n = known(src.model_config.vocab_size_per_layer_input) or known(src.model_config.vocab_size) or #model.pieces
  local t = padded(n, -10000)
  for i, piece in ipairs(model.pieces) do put(t, i - 1, piece.text, KIND[piece.kind], piece.score) end
  for text, id in pairs(M.json(src.dir, "added_tokens.json") or {}) do -- each has its own id
    put(t, tonumber(id), text, USER, -1000)
  end
  put_added(t, { config = src.config }, -1000)
  p:set("tokenizer.ggml.model", "string", "llama")
  p:set("tokenizer.ggml.pre", "string", "default")
  set_tokens(p, t, true)
  return t
end

-- The tokens of tokenizer.json by id.
local function json_tokens(src, n)
  local vocab, count = known(src.json.model and src.json.model.vocab), 0
  if type(vocab) ~= "table" then rows.fail(src.dir .. "/tokenizer.json: no vocabulary") end
  for _, id in pairs(vocab) do -- the greatest counts
    if type(id) == "number" and id + 1 > count then count = id + 1 end
  end
  for _, a in ipairs(added_tokens(src)) do count = math.max(count, a.id + 1) end
  local t = padded(math.max(n or 0, count), -10000)
  for text, id in pairs(vocab) do put(t, id, text, NORMAL, 0) end -- each has its own id
  return t
end

local function merges_of(src)
  local list = {}
  for i, m in ipairs(known(src.json.model.merges) or {}) do
    if type(m) == "table" then
      list[i] = (tostring(m[1]):gsub(" ", "\196\160")) .. " " .. (tostring(m[2]):gsub(" ", "\196\160"))
    else
      list[i] = m
    end
  end
  return list
end

-- BPE over characters with bytes for the rest, as old fast tokenizers of llama
-- models have it: sentencepiece's kind, whose scores order the merges.
local function by_fallback_bpe(src)
  local t = json_tokens(src, known(src.model_config.vocab_size))
  local rank = {}
  for i, m in ipairs(known(src.json.model.merges) or {}) do
    local text = type(m) == "table" and m[1] .. m[2] or m:gsub(" ", "", 1)
    rank[text] = rank[text] or i
  end
  for i, text in ipairs(t.texts) do
    if t.kinds[i] == NORMAL then
      t.scores[i] = rank[text] and -rank[text] or 0
      if text:find "^<0x%x%x>$" then t.kinds[i] = BYTE end
      if text == (known(src.json.model.unk_token) or "<unk>") then t.kinds[i] = UNKNOWN end
    end
  end
  for _, a in ipairs(added_tokens(src)) do
    local unknown = a.content == known(src.json.model.unk_token)
    put(t, a.id, a.content, unknown and UNKNOWN or (a.special or looks_special(a.content)) and CONTROL or USER, -1000)
  end
  return t
end

-- Regular expressions of pre-tokenizers, and the name of each; the fingerprint
-- decides where it is known.
local guesses = {
  { "[\\p{L}\\p{M}]+|\\p{N}|", "qwen35" },
  { "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:", "gpt-4o" },
  { "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}", "tekken" },
  { "]?\\p{L}+|\\p{N}{1,3}|", "llama-bpe" },
  { "]?+\\p{L}+|\\p{N}{1,3}|", "dbrx" },
  { "]?\\p{L}+|\\p{N}|", "qwen2" },
  { "Digits", "refact" },
}

local function guess(src)
  local text = json.encode(known(src.json.pre_tokenizer) or {}):gsub("\\\\", "\\")
  for _, g in ipairs(guesses) do
    if text:find(g[1], 1, true) then return g[2] end
  end
  return "gpt-2"
end

--- SHA-256 of ids as Python prints a list.
function M.fingerprint(ids)
  local state = core.stream.sha256(nil, "[" .. table.concat(ids, ", ") .. "]")
  return core.stream.sha256_hex(state)
end

local function by_bpe(p, src)
  local t = json_tokens(src, known(src.model_config.vocab_size))
  put_added(t, src, 0)
  p:set("tokenizer.ggml.model", "string", "gpt2")
  p:set("tokenizer.ggml.pre", "string", guess(src))
  set_tokens(p, t)
  p:set("tokenizer.ggml.merges", "array", merges_of(src), "string")
  return t
end

local function by_wordpiece(p, src)
  local t = json_tokens(src, known(src.model_config.vocab_size))
  put_added(t, src, 0)
  for i, text in ipairs(t.texts) do
    if t.kinds[i] ~= CONTROL then t.texts[i] = text:sub(1, 2) == "##" and text:sub(3) or SPACE .. text end
  end
  p:set("tokenizer.ggml.token_type_count", "u32", known(src.model_config.type_vocab_size) or 1)
  p:set("tokenizer.ggml.model", "string", "bert")
  p:set("tokenizer.ggml.pre", "string", "default")
  set_tokens(p, t)
  return t
end

-- Bytes of base64, or nil.
local function base64(text)
  local alphabet, value = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", {}
  for i = 1, 64 do value[alphabet:byte(i)] = i - 1 end
  local out, acc, n = {}, 0, 0
  for i = 1, #text do
    local v = value[text:byte(i)]
    if v then
      acc, n = acc * 64 + v, n + 1
      if n == 4 then
        out[#out + 1] = string.char(math.floor(acc / 65536), math.floor(acc / 256) % 256, acc % 256)
        acc, n = 0, 0
      end
    end
  end
  if n == 3 then out[#out + 1] = string.char(math.floor(acc / 1024), math.floor(acc / 4) % 256) end
  if n == 2 then out[#out + 1] = string.char(math.floor(acc / 16)) end
  return table.concat(out)
end

local function by_unigram(p, src)
  local list = known(src.json.model.vocab) or {}
  local t = padded(math.max(#list, known(src.model_config.vocab_size) or 0), -10000)
  for i, e in ipairs(list) do put(t, i - 1, e[1], NORMAL, e[2]) end
  local unk = known(src.json.model.unk_id)
  if unk then t.kinds[unk + 1] = UNKNOWN end
  for _, a in ipairs(added_tokens(src)) do
    if a.id ~= unk then put(t, a.id, a.content, CONTROL, t.scores[a.id + 1] or 0) end
  end
  p:set("tokenizer.ggml.model", "string", "t5")
  p:set("tokenizer.ggml.pre", "string", "default")
  set_tokens(p, t, true)
  p:set("tokenizer.ggml.add_space_prefix", "bool", true)
  p:set("tokenizer.ggml.token_type_count", "u32", known(src.model_config.type_vocab_size) or 1)
  p:set("tokenizer.ggml.remove_extra_whitespaces", "bool", true)
  local function charsmap(n)
    if type(n) ~= "table" then return end
    if type(n.precompiled_charsmap) == "string" then return n.precompiled_charsmap end
    for _, x in ipairs(n.normalizers or {}) do
      local c = charsmap(x)
      if c then return c end
    end
  end
  local map = charsmap(known(src.json.normalizer))
  if map then
    local bytes, raw = {}, base64(map)
    for i = 1, #raw do bytes[i] = raw:byte(i) end
    p:set("tokenizer.ggml.precompiled_charsmap", "array", bytes, "u8")
  end
  return t
end

-- Mistral's own file; its ids of special tokens are those of their texts.
local function by_tekken(p, src)
  local t = tekken.read(src.tekken, base64)
  p:set("tokenizer.ggml.model", "string", "gpt2")
  p:set("tokenizer.ggml.pre", "string", "tekken")
  p:set("tokenizer.ggml.merges", "array", t.merges, "string")
  for key, text in pairs { bos = "<s>", eos = "</s>", unk = "<unk>", pad = "<pad>" } do -- each its own key
    local id = t.special[text]
    if id then p:set("tokenizer.ggml." .. KEYS[key], "u32", id) end
  end
  p:set("tokenizer.ggml.add_bos_token", "bool", true)
  p:set("tokenizer.ggml.add_eos_token", "bool", false)
  set_tokens(p, t)
  return t
end

-- What the tokenizer does to a text before it is cut: whether letters become
-- small, whether accents are dropped.
local function set_normalizer(p, src)
  local function visit(n, depth)
    if type(n) ~= "table" or depth > 8 then return end
    local function flag(key, v)
      if type(v) == "boolean" then p:set("tokenizer.ggml.normalizer." .. key, "bool", v) end
    end
    if n.type == "Lowercase" then flag("lowercase", true) end
    if n.type == "StripAccents" then flag("strip_accents", true) end
    if n.type == "BertNormalizer" then
      flag("lowercase", n.lowercase)
      flag("strip_accents", n.strip_accents)
    end
    for _, x in ipairs(type(n.normalizers) == "table" and n.normalizers or {}) do visit(x, depth + 1) end
  end
  if src.json then visit(src.json.normalizer, 0) end
end

-- Which kind a checkpoint has.
local function choose(p, src, family)
  local path = src.dir .. "/tokenizer.model"
  local model = src.json and known(src.json.model) or {}
  if file.kind(path) and not family.no_sentencepiece then return by_sentencepiece(p, src, path) end
  src.tekken = not src.json and M.json(src.dir, "tekken.json") or nil
  if src.tekken then return by_tekken(p, src) end
  if not src.json then rows.fail(src.dir .. ": neither tokenizer.json nor tokenizer.model nor tekken.json", "ENOENT") end
  if model.type == "WordPiece" then return by_wordpiece(p, src) end
  if model.type == "Unigram" then return by_unigram(p, src) end
  if model.type ~= "BPE" then
    rows.fail(("%s/tokenizer.json: a tokenizer of kind %s is not known"):format(src.dir, tostring(model.type)), "EUNSUP")
  end
  if known(model.byte_fallback) and not known(model.ignore_merges) then
    local t = by_fallback_bpe(src)
    p:set("tokenizer.ggml.model", "string", family.fallback_model or "llama")
    if not family.fallback_model then p:set("tokenizer.ggml.pre", "string", "default") end
    set_tokens(p, t, true)
    if family.fallback_model then p:set("tokenizer.ggml.merges", "array", merges_of(src), "string") end
    return t
  end
  return by_bpe(p, src)
end

--- Adds the vocabulary of a checkpoint to its metadata.
---@param p table       params
---@param dir string
---@param family table
function M.add(p, dir, family)
  local src = {
    dir = dir, json = M.json(dir, "tokenizer.json"), config = M.json(dir, "tokenizer_config.json"),
    map = M.json(dir, "special_tokens_map.json"), generation = M.json(dir, "generation_config.json"),
    model_config = p.config,
  }
  local prefix = known((src.config or {}).add_prefix_space)
  if family.prefix_space_flag and prefix ~= nil then p:set("tokenizer.ggml.add_space_prefix", "bool", prefix) end
  local t = choose(p, src, family)
  set_normalizer(p, src)
  if not src.tekken then set_special(p, src, t) end
  set_more_ends(p, src)
  set_template(p, src)
  if family.vocab then family.vocab(p, t, src) end
  return t.n
end

--- The pre-tokenizer's name by what a vocabulary does with the fingerprint's
--- text; nil when that is in no list.
---@param vocab wane.Vocab
---@return string|nil
function M.name_of(vocab)
  local ids = vocab:encode(fingerprints.text, { special = true })
  return ids and fingerprints.names[M.fingerprint(ids)]
end

return M
