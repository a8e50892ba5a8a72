--- Log probabilities in the shapes of the API: lists of tokens for chats, four
--- parallel lists for completions.
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

-- A scorer that reads the prompt only when the first token is there.
local Late = {}
Late.__index = Late

--- A scorer of what comes behind a prompt.
---@param app table
---@param prompt integer[]
function M.scorer(app, prompt) return setmetatable({ text = app.scores:text(), prompt = prompt }, Late) end

function Late:score(ids, top)
  if #ids == 0 then return {} end
  if self.prompt then self.text:feed(self.prompt) end
  self.prompt = nil
  return self.text:score(ids, top)
end

function Late:close() self.text:close() end

local function bytes_of(piece)
  local out = json.list {}
  for i = 1, #piece do out[i] = piece:byte(i) end
  return out
end

local function entry(vocab, id, value)
  local piece = vocab:piece(id, true)
  return { { "token", piece }, { "logprob", value or json.null }, { "bytes", bytes_of(piece) } }
end

--- One token of a chat's logprobs.content.
function M.chat_entry(vocab, s)
  local out, top = entry(vocab, s.id, s.value), json.list {}
  for i, id in ipairs(s.ids or {}) do top[i] = json.ordered(entry(vocab, id, s.values[i])) end
  out[#out + 1] = { "top_logprobs", top }
  return json.ordered(out)
end

--- Tokens of a completion's logprobs: { tokens, token_logprobs, top_logprobs,
--- text_offset }. `offset`: bytes of text before the first.
function M.lists(vocab, list, offset)
  local out = { tokens = json.list {}, token_logprobs = json.list {}, top_logprobs = json.list {}, text_offset = json.list {} }
  for i, s in ipairs(list) do
    local piece = vocab:piece(s.id, true)
    out.tokens[i], out.token_logprobs[i], out.text_offset[i] = piece, s.value or json.null, offset
    offset = offset + #vocab:piece(s.id)
    local top = s.values and json.object {} or json.null
    for k, id in ipairs(s.ids or {}) do
      local name = vocab:piece(id, true)
      if top[name] == nil then top[name] = s.values[k] end -- several ids may look alike: the first is the best
    end
    out.top_logprobs[i] = top
  end
  return out
end

return M
