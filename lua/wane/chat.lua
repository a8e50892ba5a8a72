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
local core = require "wane.core"
local generate = require "wane.generate"
local reply = require "wane.reply"
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
    { model = model, ctx = ctx, format = format, template = compiled, opts = rest, messages = {} },
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
  local held, same = chat.ctx:held(), 0
  while same < #ids - 1 and same < #held and held[same + 1] == ids[same + 1] do
    same = same + 1
  end
  assert(chat.ctx:truncate(same))
  same = chat.ctx:n_past() -- some memories can go back to a few places only
  local rest = {}
  for i = same + 1, #ids do
    rest[#rest + 1] = ids[i]
  end
  return rest
end

-- Ends a reply that was left in the middle: what was shown of it stays.
local function leave_reply(chat)
  if chat.reply then chat.reply:close() end
  core.job.idle(chat.ctx.handle, 10) -- a job that was closed ends within a layer
end

-- What there is to evaluate for a message, and the options of the generation.
local function turn(chat, text, where)
  if type(text) ~= "string" then
    error(("wane: %s: message: want a string, got %s"):format(where, type(text)), 4)
  end
  leave_reply(chat)
  local history = {}
  for i, m in ipairs(chat.messages) do history[i] = m end
  chat.messages[#chat.messages + 1] = { role = "user", content = text }
  local fine, ids, why = pcall(fitting, chat)
  if not fine or not ids then
    chat.messages = history
    error(fine and "wane: chat: " .. why or ids, fine and 4 or 0)
  end
  local opts = { context = chat.ctx, stop = not chat.template and M.formats[chat.format].stop or nil }
  for key, value in pairs(chat.opts) do opts[key] = value end
  local on_end = opts.on_end
  opts.on_end = nil
  return remainder(chat, ids), opts, on_end, history
end

-- The reply that `source` makes: what is shown of it joins the conversation,
-- however it ends; a turn that showed nothing and did not end by itself is
-- taken back.
local function reply_of(chat, source, on_end, history)
  chat.reply = reply.new(source, function(shown, stats)
    chat.reply = nil
    if shown == "" and stats.state ~= "eog" and stats.state ~= "stop" and stats.state ~= "length" then
      chat.messages = history
    else
      local content = shown:gsub("^%s+", ""):gsub("%s+$", "")
      chat.messages[#chat.messages + 1] = { role = "assistant", content = content }
    end
    if on_end then on_end(stats) end
  end)
  return chat.reply
end

--- Sends a message; the reply is a generation: an iterator over its text, with
--- step for frames (wane.generate). What was shown joins chat.messages when it
--- ends, is closed, or the next message is sent.
---
---     for text in chat:stream "Hello" do io.write(text) end
---@param text string
---@return wane.Reply
function Chat:stream(text)
  local ids, opts, on_end, history = turn(self, text, "chat:stream")
  local ok, source = pcall(generate.stream, self.model, ids, opts)
  if ok then return reply_of(self, source, on_end, history) end
  self.messages = history
  error(source, 0)
end

--- Sends a message; the reply is a job (wane.generate.start): for event loops.
---
---     local job = assert(chat:start "Hello")
---     repeat local text, running = job:poll(); io.write(text or "") until not running
---@param text string
---@return wane.Reply|nil
---@return string? message
---@return string? code
function Chat:start(text)
  local ids, opts, on_end, history = turn(self, text, "chat:start")
  local ok, source, message, code = pcall(generate.start, self.model, ids, opts)
  if ok and source then return reply_of(self, source, on_end, history) end
  self.messages = history
  if not ok then error(source, 0) end
  return nil, message, code
end

--- Sends a message and returns the whole reply.
---@param text string
---@return string reply
function Chat:ask(text)
  if type(text) ~= "string" then error(("wane: chat:ask: message: want a string, got %s"):format(type(text)), 2) end
  for _ in self:stream(text) do
  end
  return self.messages[#self.messages].content
end

--- Ends a reply in progress and frees the context.
function Chat:close()
  if self.reply then self.reply:close() end
  return self.ctx:close()
end
Chat.__close = Chat.close

return M
