--- Conversations: messages in, replies out, over one context.
---
--- Each turn renders the whole conversation to tokens and feeds only what the
--- context does not hold yet, so a long chat costs no more per turn than its
--- new text. When the context is full the oldest turns are forgotten, never
--- the system message.
---
--- How a conversation becomes text is what the model's own template says
--- (wane.template); control tokens that somebody writes in a message stay plain
--- text. Models without a usable one get one of a few formats.
local generate = require "wane.generate"
local template = require "wane.template"

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
  local own_template = model:meta "tokenizer.chat_template"
  if type(own_template) == "string" then
    for _, mark in ipairs(marks) do
      if own_template:find(mark[1], 1, true) then return mark[2] end
    end
  end
  return "plain"
end

---@class wane.Chat
---@field messages wane.Message[]   the conversation so far; may be edited
---@field format string    a name of M.formats, or "template"
local Chat = {}
Chat.__index = Chat

local own = { system = true, format = true, context = true, template = true }

-- Text of a token, "" where the vocabulary has none.
local function token_text(vocab, id) return id and vocab:text(id) or "" end

-- Pieces { text, input } of a conversation under a template.
local function pieces(model, compiled, messages)
  local vocab = model.vocab
  return compiled:render({
    messages = template.list(messages), add_generation_prompt = true,
    bos_token = token_text(vocab, vocab.bos), eos_token = token_text(vocab, vocab.eos),
  }, { parts = true })
end

-- The template to use, or nil: given, or the model's own if it can render such
-- a conversation.
local function template_of(model, opts)
  if opts.template then
    local compiled, message = template.compile(opts.template)
    if not compiled then error("wane: chat: " .. message, 3) end
    return compiled
  end
  local source = not opts.format and model:meta "tokenizer.chat_template"
  local compiled = type(source) == "string" and template.compile(source) or nil
  local trial = { { role = "user", content = "Hello" } }
  if opts.system then table.insert(trial, 1, { role = "system", content = opts.system }) end
  return compiled and pieces(model, compiled, trial) and compiled or nil
end

-- Ids of pieces: as one text, unless a message contains control tokens, which
-- must stay text.
local function encode_pieces(vocab, list)
  local bos, texts, plain = token_text(vocab, vocab.bos), {}, true
  for i, p in ipairs(list) do
    texts[i] = p.text
    if p.input then
      plain = plain and #vocab:encode(p.text, { parse_special = true }) == #vocab:encode(p.text, {})
    end
  end
  -- the tokenizer adds it where the vocabulary says so: not twice
  if vocab.add_bos and bos ~= "" and texts[1] and texts[1]:sub(1, #bos) == bos then texts[1] = texts[1]:sub(#bos + 1) end
  if plain then return vocab:encode(table.concat(texts), { special = true, parse_special = true }) end
  local ids = {}
  for i, p in ipairs(list) do
    for _, id in ipairs(vocab:encode(texts[i], { special = i == 1, parse_special = not p.input })) do
      ids[#ids + 1] = id
    end
  end
  return ids
end

--- A conversation with a model.
---
---     local chat = model:chat { system = "Be brief." }
---     print(chat:ask "Hello")
---@param model wane.Model
---@param opts? table   system, format (a name of M.formats; default: the model's template, else M.detect),
---  template (Jinja source instead), context (tokens), and the options of model:generate
---@return wane.Chat
function M.new(model, opts)
  local rest = {}
  for key, value in pairs(opts or {}) do
    if not own[key] then rest[key] = value end
  end
  opts = opts or {}
  local compiled = template_of(model, opts)
  local format = compiled and "template" or opts.format or M.detect(model)
  if not compiled and not M.formats[format] then error(("wane: chat: no format '%s'"):format(tostring(format)), 2) end
  local ctx, message = model:context { context = opts.context }
  if not ctx then error("wane: " .. message, 2) end
  local chat = setmetatable(
    { model = model, ctx = ctx, format = format, template = compiled, opts = rest, messages = {}, held = {} },
    Chat
  )
  if opts.system then chat.messages[1] = { role = "system", content = opts.system } end
  return chat
end

--- Ids of the conversation as it stands.
local function render(chat)
  if chat.template then
    local list, message = pieces(chat.model, chat.template, chat.messages)
    if not list then error("wane: chat: " .. message, 0) end
    return encode_pieces(chat.model.vocab, list)
  end
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
    repeat -- whole turns: many templates want a user to begin
      table.remove(chat.messages, first)
    until #chat.messages <= first or chat.messages[first].role == "user"
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
  local fine, ids, why = pcall(fitting, self)
  if not fine then
    table.remove(self.messages)
    error(ids, 0)
  end
  if not ids then
    table.remove(self.messages)
    error("wane: chat: " .. why, 2)
  end
  local opts, parts = { context = self.ctx, stop = not self.template and M.formats[self.format].stop or nil }, {}
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
