--- Conversations: messages in, replies out, over one context.
---
--- How a conversation becomes text is what the model's own template says
--- (wane.template); what a message holds stays text, control tokens included
--- (wane.transcript). A template that fails says why, with line and column:
--- another format is the user's choice, never a fallback. A model without a
--- template gets the format "plain". Answers are read back (wane.answer):
--- reasoning and tool calls become fields of the message.
---
--- Each turn tokenizes and feeds only what is new. When the context is full the
--- oldest turns are forgotten, never the system message; a message that does
--- not fit leaves the conversation as it was.
local answer = require "wane.answer"
local core = require "wane.core"
local formats = require "wane.chat_formats"
local generate = require "wane.generate"
local reply = require "wane.reply"
local template = require "wane.template"
local tools = require "wane.chat_tools"
local transcript = require "wane.transcript"

local M = {}

---@class wane.Message
---@field role string               "system", "user", "assistant", "tool", ...
---@field content string|table|nil  text, or parts { { type = "text", text = ... }, ... }
---@field reasoning_content? string what an assistant thought
---@field tool_calls? table[]       { { type = "function", ["function"] = { name =, arguments = "JSON" }, id = }, ... }
---@field tool_call_id? string      of a tool's result

--- The built-in formats by name (wane.chat_formats).
---
---     print(require("wane.chat").formats.chatml.render { { role = "user", content = "Hello" } })
---@error none
M.formats = formats.formats

--- The format that a model's template is recognised as, or "plain".
---
---     print(require("wane.chat").detect(model))   --> plain
---@param model wane.Model
---@return string name
---@error a closed model
function M.detect(model) return formats.detect(model:meta "tokenizer.chat_template") end

---@class wane.Chat
---@field messages wane.Message[]   the conversation so far; may be edited
---@field format string    a name of M.formats, or "template"
local Chat = {}
Chat.__index = Chat

local own = {
  system = true, format = true, context = true, template = true, tools = true, documents = true, variables = true,
  tool_rounds = true, on_delta = true,
}

-- Text of a token, "" where the vocabulary has none.
local function token_text(vocab, id) return id and vocab:text(id) or "" end

-- Messages as a template sees them: the model's own words as it wrote them, as
-- long as nobody changed the message.
local function seen(chat)
  local out = {}
  for i, m in ipairs(chat.messages) do
    local written = chat.written[m]
    if written and written.content == m.content and not m.tool_calls and not m.reasoning_content then
      m = { role = m.role, content = written.raw, raw = written.raw }
    end
    out[i] = m
  end
  return out
end

-- Pieces { text, input } of messages under the chat's template, arguments of
-- calls as JSON text or as objects; nil, message.
local function rendered(chat, messages, closed, as_text)
  local vocab, list = chat.model.vocab, {}
  for i, m in ipairs(messages) do list[i] = tools.for_template(m, as_text, chat.layout.thought) end
  local vars = {
    messages = template.list(list), add_generation_prompt = not closed,
    bos_token = token_text(vocab, vocab.bos), eos_token = token_text(vocab, vocab.eos),
    tools = chat.tools and chat.tools.list, documents = chat.documents,
  }
  for name, v in pairs(chat.variables or {}) do vars[name] = v end
  return chat.template:render(vars, { parts = true })
end

-- The same as the template wants the arguments: found out when there are any.
local function pieces(chat, messages, closed)
  for _, m in ipairs(messages) do
    if m.tool_calls and chat.text_arguments == nil then
      chat.text_arguments = tools.wants_text(function(probe, as_text) return rendered(chat, probe, true, as_text) end)
    end
  end
  return rendered(chat, messages, closed, chat.text_arguments)
end

-- The template's source, or nil: given, or the model's own unless a format is
-- named.
local function source_of(model, opts)
  if opts.template then return opts.template, "template" end
  if opts.format then return nil end
  local source = model:meta "tokenizer.chat_template"
  return type(source) == "string" and source or nil, "the model's template"
end

-- Renders a short conversation, so that a template that cannot is found at once.
local function try(chat, opts, what)
  local trial = { { role = "user", content = "Hello" } }
  if opts.system then table.insert(trial, 1, { role = "system", content = opts.system }) end
  local parts, message = pieces(chat, trial)
  if parts then return end
  error(("wane: chat: %s refuses a conversation: %s (option 'format' names another)"):format(what, message), 4)
end

local function check(name, v, want, ok)
  if v ~= nil and not ok(v) then error(("wane: chat: option '%s': want %s, got %s"):format(name, want, type(v)), 4) end
end

local function is_string(v) return type(v) == "string" end
local function is_table(v) return type(v) == "table" end

-- Checks the options and gives those of generations.
local function options(opts)
  if opts ~= nil and type(opts) ~= "table" then error("wane: chat: options: want a table, got a " .. type(opts), 4) end
  local rest = {}
  for key, value in pairs(opts or {}) do
    if not own[key] then rest[key] = value end
  end
  opts = opts or {}
  generate.check_options(rest, "chat", 4, "(a variable of the template goes into variables = { ... })")
  check("system", opts.system, "a string", is_string)
  check("template", opts.template, "a string", is_string)
  check("format", opts.format, "the name of a format", is_string)
  check("documents", opts.documents, "a list", is_table)
  check("variables", opts.variables, "a table", is_table)
  check("on_delta", opts.on_delta, "a function", function(v) return type(v) == "function" end)
  if opts.format and not M.formats[opts.format] then
    error(("wane: chat: no format '%s': want one of %s"):format(opts.format, table.concat(formats.names(), ", ")), 4)
  end
  if opts.format and opts.template then error("wane: chat: options 'format' and 'template': want one of them", 4) end
  return opts, rest
end

--- A conversation with a model.
---
---     local chat = model:chat { system = "Be brief." }
---     print(chat:ask "Hello")
---
--- With tools: { name, description, parameters (a JSON schema), handler }; where
--- all that are called have handlers, ask calls them and goes on.
---
---     local chat = model:chat { tools = { {
---       name = "add", description = "Adds two numbers",
---       parameters = { type = "object", properties = { a = { type = "number" }, b = { type = "number" } } },
---       handler = function(args) return args.a + args.b end,
---     } } }
---@param model wane.Model
---@param opts? table   system, format (a name of M.formats), template (Jinja source instead of the model's), tools,
---  documents, variables (what else the template sees: { enable_thinking = false }), tool_rounds (8), on_delta(delta)
---  (wane.answer), context (tokens), and the options of model:generate
---@return wane.Chat
---@error an unknown format, a template that does not compile, a model without a vocabulary, a context that cannot be
---  made; after model:close
function M.new(model, opts)
  local rest
  opts, rest = options(opts)
  if not model.vocab then
    error("wane: chat: the model has no vocabulary" .. (model.vocab_error and ": " .. model.vocab_error or ""), 3)
  end
  local chat = setmetatable({ model = model, opts = rest, messages = {}, written = setmetatable({}, { __mode = "k" }) }, Chat)
  chat.tools = tools.new(opts.tools, opts.tool_rounds, 3)
  chat.documents, chat.variables, chat.on_delta = opts.documents, opts.variables, opts.on_delta
  local source, what = source_of(model, opts)
  chat.layout = answer.plain
  if source then
    local message
    chat.template, message = template.compile(source)
    if not chat.template then error(("wane: chat: %s: %s (option 'format' names another)"):format(what, message), 3) end
    chat.layout = answer.detect(chat.template)
    if not opts.template then try(chat, opts, what) end
  elseif chat.tools then
    error("wane: chat: option 'tools': built-in formats have no place for tools: give a template", 3)
  end
  chat.format = source and "template" or opts.format or "plain"
  chat.transcript = transcript.new(model.vocab)
  local message
  chat.ctx, message = model:context { context = opts.context }
  if not chat.ctx then error("wane: " .. message, 3) end
  if opts.system then chat.messages[1] = { role = "system", content = opts.system } end
  return chat
end

--- Ids of the conversation as it stands, and its parts.
local function render(chat)
  local parts, message
  local messages = seen(chat)
  if chat.template then
    parts, message = pieces(chat, messages)
    if not parts then error("wane: chat: " .. message, 0) end
  else
    parts = M.formats[chat.format].parts(messages)
  end
  local ids
  ids, message = chat.transcript:encode(parts)
  if not ids then error("wane: chat: " .. message, 0) end
  return ids, parts
end

--- Ids that leave at least a quarter of the context for the reply: forgets
--- the oldest turns until they do. Parts too; nil, message when it cannot.
local function fitting(chat, newest)
  local room = math.floor(chat.ctx:info().n_ctx * 3 / 4)
  local ids, parts = render(chat)
  while #ids > room do
    local first = chat.messages[1].role == "system" and 2 or 1
    if #chat.messages - newest < first then
      return nil, ("the message has %d tokens, the context has room for %d"):format(#ids, room)
    end
    repeat -- whole turns: many templates want a user to begin
      table.remove(chat.messages, first)
    until #chat.messages - newest < first or chat.messages[first].role == "user"
    ids, parts = render(chat)
  end
  return ids, parts
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

-- What there is to evaluate for messages, and the options of the generation.
local function turn(chat, message, where)
  local list = tools.messages_of(message, where, 4)
  leave_reply(chat)
  local history = {}
  for i, m in ipairs(chat.messages) do history[i] = m end
  for _, m in ipairs(list) do chat.messages[#chat.messages + 1] = m end
  local fine, ids, parts = pcall(fitting, chat, #list)
  if not fine or not ids then
    chat.messages = history
    error(fine and "wane: chat: " .. parts or ids, fine and 4 or 0)
  end
  local opts = { context = chat.ctx, stop = not chat.template and M.formats[chat.format].stop or nil }
  if chat.layout.special then opts.special = true end
  for key, value in pairs(chat.opts) do opts[key] = value end
  local on_end = opts.on_end
  opts.on_end = nil
  return remainder(chat, ids), opts, on_end, history, parts
end

-- The reply that `source` makes: what is shown of it joins the conversation,
-- however it ends; a turn that showed nothing and did not end by itself is
-- taken back.
local function reply_of(chat, source, on_end, history, parts)
  local prompt = parts[#parts].input and "" or parts[#parts].text
  local parser = answer.parser(chat.layout, { prompt = prompt, tools = chat.tools and chat.tools.list })
  chat.reply = reply.new(source, function(shown, stats)
    chat.reply = nil
    if shown == "" and stats.state ~= "eog" and stats.state ~= "stop" and stats.state ~= "length" then
      chat.messages = history
    else
      local m = parser:message()
      if chat.layout == answer.plain then chat.written[m] = { content = m.content, raw = shown } end
      if chat.layout ~= answer.plain and parser.plain_so_far then chat.written[m] = { content = m.content, raw = shown } end
      chat.messages[#chat.messages + 1] = m
    end
    if on_end then on_end(stats) end
  end, parser, chat.on_delta)
  return chat.reply
end

--- Sends a message; the reply is a generation: an iterator over its text, with
--- step for frames (wane.generate). What was shown joins chat.messages when it
--- ends, is closed, or the next message is sent. Reasoning and tool calls are no
--- text: on_delta gets them as they come.
---
---     for text in chat:stream "Hello" do io.write(text) end
---@param message string|wane.Message|table  a text, a message, parts of a content, or a list of messages
---@return wane.Reply
---@error a message that is longer than the context; a template that refuses the conversation; after chat:close; in
---  the middle, what the world does wrong
function Chat:stream(message)
  local ids, opts, on_end, history, parts = turn(self, message, "chat:stream")
  local ok, source = pcall(generate.stream, self.model, ids, opts)
  if ok then return reply_of(self, source, on_end, history, parts) end
  self.messages = history
  error(source, 0)
end

--- Sends a message; the reply is a job (wane.generate.start): for event loops.
---
---     local job = assert(chat:start "Hello")
---     repeat local text, running = job:poll(); io.write(text or "") until not running
---@param message string|wane.Message|table  as Chat:stream
---@return wane.Reply|nil
---@return string? message
---@return string? code
function Chat:start(message)
  local ids, opts, on_end, history, parts = turn(self, message, "chat:start")
  local ok, source, why, code = pcall(generate.start, self.model, ids, opts)
  if ok and source then return reply_of(self, source, on_end, history, parts) end
  self.messages = history
  if not ok then error(source, 0) end
  return nil, why, code
end

--- Sends a message and returns the whole reply. Tool calls whose handlers were
--- given are answered, and the model goes on, `tool_rounds` times at most; the
--- last message tells of calls that are left.
---
---     print(chat:ask "Hello")
---@param message string|wane.Message|table  as Chat:stream
---@return string reply
---@error a message that is longer than the context; a template that refuses the conversation; after chat:close; in
---  the middle, what the world does wrong
function Chat:ask(message)
  tools.messages_of(message, "chat:ask", 3)
  local round = 0
  while true do
    for _ in self:stream(message) do
    end
    local last = self.messages[#self.messages]
    local results = self.tools and round < self.tools.rounds and self.tools:answer(last)
    if not results then return last and last.content or "" end
    message, round = results, round + 1
  end
end

--- Ids of messages as this conversation would write them; with `open` the
--- beginning of the next reply behind them, where its format tells them apart.
---
---     print(#chat:tokens({ { role = "user", content = "Hello" } }, true))
---@param messages wane.Message[]
---@param open boolean
---@return integer[]
---@error a template that refuses the messages
function Chat:tokens(messages, open)
  if type(messages) ~= "table" then error("wane: chat:tokens: messages: want a list, got a " .. type(messages), 2) end
  local parts, message
  if self.template then
    parts, message = pieces(self, messages, not open)
    if not parts then error("wane: chat: " .. message, 0) end
  else
    parts = M.formats[self.format].parts(messages)
  end
  local ids
  ids, message = transcript.new(self.model.vocab):encode(parts)
  if not ids then error("wane: chat: " .. message, 0) end
  return ids
end

--- Ends a reply in progress and frees the context.
---
---     chat:close()
---@error none; closing twice is fine
function Chat:close()
  if self.reply then self.reply:close() end
  return self.ctx:close()
end
Chat.__close = Chat.close
function Chat:__tostring() return ("wane.Chat (%s, %d messages)"):format(self.format, #self.messages) end

return M
