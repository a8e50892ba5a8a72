--- Mistral's tekken.json: byte-level BPE by ranks, special tokens in front.
---
--- The file: config (default_vocab_size, default_num_special_tokens), vocab (rank
--- and the token's bytes in base64, the 256 bytes first), special_tokens (rank and
--- text; older files have none and mean the list below). Ids are special tokens
--- first, then ranks. A merge is every way to split a token in two others, in the
--- order of the token's rank, then of the parts'.
local M = {}

local rows = require "wane.convert.rows"

local MAX_TOKEN = 1024

-- What special tokens are called where the file does not say.
local SPECIAL = {
  "<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]",
  "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]",
  "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]",
}

-- UTF-8 of a code point below 2048.
local function utf8_of(c)
  if c < 128 then return string.char(c) end
  return string.char(192 + math.floor(c / 64), 128 + c % 64)
end

-- GPT-2's letters for bytes: printable ones are themselves, others follow from U+0100.
local letter = {}
do
  local next_code = 256
  for b = 0, 255 do
    if (b >= 33 and b <= 126) or (b >= 161 and b <= 172) or b >= 174 then
      letter[string.char(b)] = utf8_of(b)
    else
      letter[string.char(b)] = utf8_of(next_code)
      next_code = next_code + 1
    end
  end
end

local function letters(bytes) return (bytes:gsub("[%z\1-\255]", letter)) end

local function count(config, key, max)
  local v = type(config) == "table" and config[key]
  if type(v) ~= "number" or v < 0 or v > max or v ~= math.floor(v) then
    rows.fail(("tekken.json: %s is %s, want a count"):format(key, tostring(v)))
  end
  return v
end

-- Texts of the special tokens, n of them.
local function special_tokens(t, n)
  local out = {}
  for i = 1, n do out[i] = SPECIAL[i] or ("<SPECIAL_%d>"):format(i - 1) end
  if type(t.special_tokens) ~= "table" then return out end
  for i = 1, n do out[i] = ("<SPECIAL_%d>"):format(i - 1) end
  for i, s in ipairs(t.special_tokens) do
    local rank = type(s) == "table" and s.rank or nil
    if type(rank) ~= "number" or not out[rank + 1] or type(s.token_str) ~= "string" then
      rows.fail(("tekken.json: special token %d has no rank below %d or no text"):format(i - 1, n))
    end
    out[rank + 1] = s.token_str
  end
  return out
end

-- Bytes of the first n tokens by rank, and ranks by bytes.
local function ranks(t, n, base64)
  local by_rank, rank_of = {}, {}
  for i, e in ipairs(type(t.vocab) == "table" and t.vocab or {}) do
    if i > n then break end
    local bytes = type(e) == "table" and type(e.token_bytes) == "string" and base64(e.token_bytes)
    if not bytes or #bytes == 0 or #bytes > MAX_TOKEN or e.rank ~= i - 1 or rank_of[bytes] then
      rows.fail(("tekken.json: token %d: want its rank and bytes that are no other token's"):format(i - 1))
    end
    by_rank[i], rank_of[bytes] = bytes, i - 1
  end
  if #by_rank < n then rows.fail(("tekken.json: %d tokens, want %d"):format(#by_rank, n)) end
  for b = 0, 255 do
    if not rank_of[string.char(b)] then rows.fail(("tekken.json: byte %d is no token"):format(b)) end
  end
  return by_rank, rank_of
end

-- The ways to split a token in two, as merges.
local function splits(bytes, rank_of, out)
  local found = {}
  for j = 1, #bytes - 1 do
    local a, b = bytes:sub(1, j), bytes:sub(j + 1)
    if rank_of[a] and rank_of[b] then found[#found + 1] = { rank_of[a], rank_of[b], a, b } end
  end
  table.sort(found, function(x, y)
    if x[1] ~= y[1] then return x[1] < y[1] end
    return x[2] < y[2]
  end)
  for _, s in ipairs(found) do out[#out + 1] = letters(s[3]) .. " " .. letters(s[4]) end
  return #found > 0
end

--- The vocabulary of a decoded tekken.json.
---@param t table
---@param base64 fun(text: string): string
---@return table vocabulary  texts, kinds (3 special, 1 others), n, merges, special: id by text
function M.read(t, base64)
  local n = count(t.config, "default_vocab_size", 4194304)
  local n_special = count(t.config, "default_num_special_tokens", n)
  local out = { texts = special_tokens(t, n_special), kinds = {}, merges = {}, special = {}, n = n }
  for i, text in ipairs(out.texts) do
    out.kinds[i], out.special[text] = 3, i - 1
  end
  local by_rank, rank_of = ranks(t, n - n_special, base64)
  for i, bytes in ipairs(by_rank) do
    out.texts[n_special + i], out.kinds[n_special + i] = letters(bytes), 1
    if #bytes > 1 and not splits(bytes, rank_of, out.merges) then
      rows.fail(("tekken.json: token %d cannot be put together from others"):format(i - 1))
    end
  end
  return out
end

return M
