--- What is trained on: sequences of tokens, and which of them count.
local options = require "wane.options"

local M = {}

---@class wane.tune.Sequence
---@field ids integer[]
---@field want integer[]     rows whose next token counts, from 1
---@field targets integer[]  that token, for each of them

-- The sequence of ids in which all tokens behind the first `given` count.
local function sequence(ids, given)
  local s = { ids = ids, want = {}, targets = {} }
  for i = math.max(given, 1), #ids - 1 do
    s.want[#s.want + 1], s.targets[#s.targets + 1] = i, ids[i + 1]
  end
  return s
end

--- A text in pieces of n tokens, the first of each replaced by BOS where the
--- vocabulary adds one. The last piece may be short.
---@param model wane.Model
---@param text string|integer[]
---@param n integer
---@return wane.tune.Sequence[]|nil
---@return string? message
---@return string? code
function M.of_text(model, text, n)
  local ids = text
  if type(ids) ~= "table" then
    if not model.vocab then return nil, "the model has no vocabulary: give token ids", "EUNSUP" end
    local message, code
    ids, message, code = model.vocab:encode(text, { special = true })
    if not ids then return nil, message, code end
  end
  local bos, list = model.vocab and model.vocab.add_bos and model.vocab.bos, {}
  for first = 1, #ids, n do
    local part = {}
    for i = first, math.min(first + n - 1, #ids) do part[#part + 1] = ids[i] end
    if bos then part[1] = bos end
    if #part >= math.min(n, 8) then list[#list + 1] = sequence(part, 1) end
  end
  if #list == 0 then return nil, ("text: %d tokens are too few to train on"):format(#ids), "EDATA" end
  return list
end

-- Cuts behind the token that ends the reply, where there is one: a format may
-- have begun the next turn.
local function end_reply(vocab, ids, given)
  for i = given + 1, #ids do
    if vocab:is_eog(ids[i]) then
      while #ids > i do ids[#ids] = nil end
      return
    end
  end
end

-- Tokens that two lists have in common at their beginnings.
local function common(a, b)
  local n = 0
  while a[n + 1] and a[n + 1] == b[n + 1] do n = n + 1 end
  return n
end

--- Conversations, lists of { role, content }: one sequence for each reply of the
--- assistant, of which only the reply counts. Replies that begin behind n
--- tokens are left out; longer ones are cut.
---@param model wane.Model
---@param chats table[][]
---@param n integer
---@param format? string   a name of wane.chat.formats
---@return wane.tune.Sequence[]|nil
---@return string? message
---@return string? code
function M.of_chats(model, chats, n, format)
  local chat = require("wane.chat").new(model, { format = format, context = n })
  local list = {}
  for _, messages in ipairs(chats) do
    for i, m in ipairs(messages) do
      if m.role == "assistant" then
        local before, with = {}, {}
        for k = 1, i do
          before[k], with[k] = k < i and messages[k] or nil, messages[k]
        end
        local asked, all = chat:tokens(before, true), chat:tokens(with, false)
        local given = common(asked, all)
        end_reply(model.vocab, all, given)
        while #all > n do all[#all] = nil end
        if given >= 1 and given < #all then list[#list + 1] = sequence(all, given) end
      end
    end
  end
  chat:close()
  if #list == 0 then return nil, "chats: no reply of an assistant fits the context", "EDATA" end
  return list
end

local a_message = options.type("{ role =, content = }", function(m)
  return type(m) == "table" and type(m.role) == "string" and type(m.content) == "string"
end)
M.chats = options.list(options.list(a_message, 1), 1)

return M
