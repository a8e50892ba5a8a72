--- Log probabilities in the shapes of the API: lists of tokens for chats, four
--- parallel lists for completions. What is told is of the model as it is: before
--- penalties, temperature and grammars. It comes with the generation (option
--- logprobs of model:generate); nothing is read twice.
local M = {}

local json = require "wane.json"
local request = require "wane.serve.request"

--- How many of the most probable tokens a chat wants beside each; nil for no
--- log probabilities at all.
---@param r wane.serve.Request
---@return integer|nil
function M.wanted(r)
  local wants, top = r:boolean "logprobs", r:integer("top_logprobs", 0, 20)
  if top and not wants then request.refuse(400, "'top_logprobs' wants logprobs = true", "top_logprobs") end
  return wants and (top or 0) or nil
end

local function bytes_of(piece)
  local out = json.list {}
  for i = 1, #piece do out[i] = piece:byte(i) end
  return out
end

local function entry(s) return { { "token", s.text }, { "logprob", s.logprob }, { "bytes", bytes_of(s.text) } } end

--- One token of a chat's logprobs.content.
---@param s table   an entry of Generation:logprobs
function M.chat_entry(s)
  local out, top = entry(s), json.list {}
  for i, other in ipairs(s.top) do top[i] = json.ordered(entry(other)) end
  out[#out + 1] = { "top_logprobs", top }
  return json.ordered(out)
end

--- Tokens of a completion's logprobs: { tokens, token_logprobs, top_logprobs,
--- text_offset }. `offset`: bytes of text before the first. The first token of a
--- text has neither a log probability nor others beside it.
function M.lists(vocab, list, offset)
  local out = { tokens = json.list {}, token_logprobs = json.list {}, top_logprobs = json.list {}, text_offset = json.list {} }
  for i, s in ipairs(list) do
    out.tokens[i], out.token_logprobs[i], out.text_offset[i] = s.text, s.logprob or json.null, offset
    offset = offset + #vocab:piece(s.id)
    local top = s.logprob and json.object {} or json.null
    for _, other in ipairs(s.top) do
      if top[other.text] == nil then top[other.text] = other.logprob end -- ids may look alike: the first is the best
    end
    out.top_logprobs[i] = top
  end
  return out
end

return M
