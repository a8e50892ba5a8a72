--- Conversations: messages in, replies out, over one context.
---
--- Each turn renders the whole conversation to tokens and feeds only what the
--- context does not hold yet, so a long chat costs no more per turn than its
--- new text. When the context is full the oldest turns are forgotten, never
--- the system message.
local generate = require "wane.generate"

local M = {}

---@class wane.Message
---@field role "system"|"user"|"assistant"
---@field content string

--- Formats by name: how a conversation becomes one text. Each function gets
--- the messages and ends with the start of the assistant's turn. `stop` ends
--- a reply where the model has no token for it.
---@type table<string, { render: fun(messages: wane.Message[]): string, stop: string[]? }>
M.formats = {}

--- A format whose turns are all alike: `turn` has %role and %content.
local function turns(turn, start, names)
  names = names or {}
  return function(messages)
    local out = {}
    for i, m in ipairs(messages) do
      local parts = { role = names[m.role] or m.role, content = m.content }
      out[i] = turn:gsub("%%(%a+)", parts)
    end
    return table.concat(out) .. start
  end
end

M.formats.chatml = {
  render = turns("<|im_start|>%role\n%content<|im_end|>\n", "<|im_start|>assistant\n"),
  stop = { "<|im_end|>" },
}
M.formats.llama3 = {
  render = turns(
    "<|start_header_id|>%role<|end_header_id|>\n\n%content<|eot_id|>",
    "<|start_header_id|>assistant<|end_header_id|>\n\n"
  ),
  stop = { "<|eot_id|>" },
}
M.formats.gemma = {
  render = turns("<start_of_turn>%role\n%content<end_of_turn>\n", "<start_of_turn>model\n", { assistant = "model", system = "user" }),
  stop = { "<end_of_turn>" },
}
M.formats.phi3 = {
  render = turns("<|%role|>\n%content<|end|>\n", "<|assistant|>\n"),
  stop = { "<|end|>" },
}
M.formats.zephyr = {
  render = turns("<|%role|>\n%content<|endoftext|>\n", "<|assistant|>\n"),
  stop = { "<|endoftext|>" },
}
--- For models that were never taught to chat: a script of named speakers.
M.formats.plain = {
  render = turns("%role: %content\n\n", "Assistant:", { system = "System", user = "User", assistant = "Assistant" }),
  stop = { "\nUser:", "\n\nUser" },
}

--- Texts in a model's own template that tell which format it means.
local marks = {
  { "<|im_start|>", "chatml" },
  { "<|start_header_id|>", "llama3" },
  { "<start_of_turn>", "gemma" },
  { "<|end|>", "phi3" },
  { "<|endoftext|>", "zephyr" },
}

--- The format for a model: recognised from its own chat template, or "plain".
---@param model wane.Model
---@return string name
function M.detect(model)
  local template = model:meta "tokenizer.chat_template"
  if type(template) == "string" then
    for _, mark in ipairs(marks) do
      if template:find(mark[1], 1, true) then return mark[2] end
    end
  end
  return "plain"
end

---@class wane.Chat
---@field messages wane.Message[]   the conversation so far; may be edited
---@field format string
local Chat = {}
Chat.__index = Chat

local own = { system = true, format = true, context = true }

--- A conversation with a model.
---
---     local chat = model:chat { system = "Be brief." }
---     print(chat:ask "Hello")
---@param model wane.Model
---@param opts? table   system, format (a name of M.formats; default: M.detect), context (tokens), and the options of model:generate
---@return wane.Chat
function M.new(model, opts)
  local rest = {}
  for key, value in pairs(opts or {}) do
    if not own[key] then rest[key] = value end
  end
  opts = opts or {}
  local format = opts.format or M.detect(model)
  if not M.formats[format] then error(("wane: chat: no format '%s'"):format(tostring(format)), 2) end
  local ctx, message = model:context { context = opts.context }
  if not ctx then error("wane: " .. message, 2) end
  local chat = setmetatable(
    { model = model, ctx = ctx, format = format, opts = rest, messages = {}, held = {} },
    Chat
  )
  if opts.system then chat.messages[1] = { role = "system", content = opts.system } end
  return chat
end

--- Ids of the conversation as it stands.
local function render(chat)
  local text = M.formats[chat.format].render(chat.messages)
  return chat.model.vocab:encode(text, { special = true, parse_special = true })
end

--- Ids that leave at least a quarter of the context for the reply: forgets
--- the oldest turns until they do.
local function fitting(chat)
  local room = math.floor(chat.ctx:info().n_ctx * 3 / 4)
  local ids = render(chat)
  while #ids > room do
    local first = chat.messages[1].role == "system" and 2 or 1
    if #chat.messages <= first then return nil, ("the message has %d tokens, the context has room for %d"):format(#ids, room) end
    table.remove(chat.messages, first)
    ids = render(chat)
  end
  return ids
end

--- What the context does not hold yet; it forgets what differs.
local function remainder(chat, ids)
  local same = 0
  while same < #ids - 1 and same < #chat.held and chat.held[same + 1] == ids[same + 1] do
    same = same + 1
  end
  assert(chat.ctx:truncate(same))
  local rest = {}
  for i = same + 1, #ids do
    rest[#rest + 1] = ids[i]
  end
  return rest
end

--- Sends a message and iterates over the reply's text as it is made. The
--- reply joins chat.messages when the iteration ends.
---@param text string
---@return fun(): string?
function Chat:stream(text)
  self.messages[#self.messages + 1] = { role = "user", content = text }
  local ids, why = fitting(self)
  if not ids then
    table.remove(self.messages)
    error("wane: chat: " .. why, 2)
  end
  local opts, parts = { context = self.ctx, stop = M.formats[self.format].stop }, {}
  for key, value in pairs(self.opts) do
    opts[key] = value
  end
  opts.on_end = function(stats)
    self.held = ids
    for _, id in ipairs(stats.ids) do
      self.held[#self.held + 1] = id
    end
    -- the last tokens may not have been evaluated
    for i = #self.held, self.ctx:n_past() + 1, -1 do
      self.held[i] = nil
    end
    local reply = table.concat(parts):gsub("^%s+", ""):gsub("%s+$", "")
    self.messages[#self.messages + 1] = { role = "assistant", content = reply }
    if self.opts.on_end then self.opts.on_end(stats) end
  end
  local next_piece = generate.stream(self.model, remainder(self, ids), opts)
  return function()
    local piece = next_piece()
    if piece then parts[#parts + 1] = piece end
    return piece
  end
end

--- Sends a message and returns the whole reply.
---@param text string
---@return string reply
function Chat:ask(text)
  for _ in self:stream(text) do
  end
  return self.messages[#self.messages].content
end

function Chat:close() return self.ctx:close() end

return M
