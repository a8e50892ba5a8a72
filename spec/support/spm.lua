--- SentencePiece's merging as it is defined, slowly: of all neighbours whose
--- joint text is a token, the pair with the highest score merges, the leftmost
--- of several; until there is none. And a vocabulary file to compare with.
local M = {}

--- The characters of valid UTF-8.
local function characters(text)
  local t = {}
  for c in text:gmatch "[%z\1-\127\194-\244][\128-\191]*" do t[#t + 1] = c end
  return t
end

--- Ids of `text` (spaces as U+2581 already); words: text -> { id =, score = }.
---@param words table<string, { id: integer, score: number }>
---@param text string
---@return integer[]
function M.encode(words, text)
  local row = characters(text)
  while true do
    local best, at
    for i = 1, #row - 1 do
      local w = words[row[i] .. row[i + 1]]
      if w and (not best or w.score > best) then best, at = w.score, i end
    end
    if not at then break end
    row[at] = row[at] .. table.remove(row, at + 1)
  end
  for i, piece in ipairs(row) do row[i] = words[piece].id end
  return row
end

--- Writes an SPM vocabulary of these tokens (text -> score) without byte
--- tokens; returns the path and what M.encode wants.
---@param path string
---@param scores table<string, number>
---@param gguf table   wane.gguf
---@return string path, table words
function M.write(path, scores, gguf)
  local names = {}
  for name in pairs(scores) do names[#names + 1] = name end
  table.sort(names)
  local texts, values, types, words = { "<unk>", "<s>", "</s>" }, { 0, 0, 0 }, { 2, 3, 3 }, {}
  for _, name in ipairs(names) do
    texts[#texts + 1], values[#values + 1], types[#types + 1] = name, scores[name], 1
    words[name] = { id = #texts - 1, score = scores[name] }
  end
  assert(gguf.write { path = path, overwrite = true, tensors = {}, meta = {
    { "general.architecture", "string", "llama" },
    { "tokenizer.ggml.model", "string", "llama" },
    { "tokenizer.ggml.tokens", "array", texts, "string" },
    { "tokenizer.ggml.scores", "array", values, "f32" },
    { "tokenizer.ggml.token_type", "array", types, "i32" },
    { "tokenizer.ggml.unknown_token_id", "u32", 0 },
    { "tokenizer.ggml.bos_token_id", "u32", 1 },
    { "tokenizer.ggml.eos_token_id", "u32", 2 },
    { "tokenizer.ggml.add_bos_token", "bool", false },
    { "tokenizer.ggml.add_space_prefix", "bool", false },
  } })
  return path, words
end

return M
