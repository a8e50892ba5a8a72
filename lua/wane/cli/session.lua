--- A conversation on the terminal: what is typed goes to a chat or is one of
--- its commands; answers are written as they come.
---
--- What is thought is dim, calls of functions are shown and wait for a result
--- to be typed, and each answer ends with a line that tells tokens, speed and
--- how full the context is. Ctrl-C ends the answer; what was shown stays in the
--- conversation. Nothing that is typed ends the session but /quit and the end
--- of input.
local core = require "wane.core"
local file = require "wane.file"
local json = require "wane.json"
local report = require "wane.report"

local M = {}

---@class wane.cli.Session
---@field chat wane.Chat
---@field out wane.Out
---@field thoughts boolean   what is thought is shown
local Session = {}
Session.__index = Session

--- A session over a chat. `reader` is wane.cli.line's, or what has its read.
---@param chat wane.Chat
---@param out wane.Out
---@param reader { read: fun(self, prompt: string): string?, string? }
---@return wane.cli.Session
function M.new(chat, out, reader)
  local s = setmetatable({ chat = chat, out = out, reader = reader, thoughts = true, tokens = 0, seconds = 0 }, Session)
  chat.on_delta = function(d) s:_delta(d) end
  return s
end

-- ---- answers --------------------------------------------------------------------

-- Writes a piece of an answer; another kind begins on a new line.
local function put(self, kind, text)
  if not self.kind then text = text:gsub("^%s+", "") end
  if text == "" then return end
  if self.kind and self.kind ~= kind then self.out.write "\n" end
  self.kind = kind
  self.out.write(kind == "thought" and self.out.paint("dim", text) or text)
end

function Session:_delta(d)
  if d.reasoning_content then
    if self.thoughts then put(self, "thought", d.reasoning_content)
    elseif self.kind ~= "thought" then put(self, "thought", "(thinks)") end
  elseif d.content then
    put(self, "content", d.content)
  end
end

local function rate(n, seconds) return seconds > 0 and ("%.1f tokens/s"):format(n / seconds) or "- tokens/s" end

-- The context: tokens held, tokens that fit.
local function context(chat) return chat.ctx:n_past(), chat.ctx:info().n_ctx end

local ENDS = { length = "cut at --max-tokens", context = "the context is full", cancelled = "stopped", running = "stopped" }

-- The line below an answer.
local function footer(self, stats)
  self.last, self.tokens, self.seconds = stats, self.tokens + stats.n_tokens, self.seconds + stats.token_seconds
  local used, all = context(self.chat)
  local how = ENDS[stats.state]
  self.out.note(self.out.paint("dim", ("[%s%d tokens, %s, context %d of %d]"):format(how and how .. ", " or "", stats.n_tokens,
    rate(stats.n_tokens, stats.token_seconds), used, all), "err"))
end

-- The calls of the last message, written; their results as messages, or nil
-- when none are given.
local function results(self)
  local last = self.chat.messages[#self.chat.messages]
  local calls = last and last.role == "assistant" and last.tool_calls
  if not calls then return nil end
  local list = {}
  for _, call in ipairs(calls) do
    local f = call["function"]
    self.out.write(self.out.paint("cyan", ("calls %s %s"):format(report.printable(f.name), report.printable(f.arguments))) .. "\n")
  end
  for i, call in ipairs(calls) do
    local name = call["function"].name
    local text = self.reader:read(("result of %s> "):format(report.printable(name)))
    if not text or text == "" then return nil end
    list[i] = { role = "tool", content = text, name = name, tool_call_id = call.id }
  end
  return list
end

-- One answer; whether it ended by itself.
local function stream(self, message)
  local fine, reply = pcall(self.chat.stream, self.chat, message)
  if not fine then return false, reply end
  self.kind = nil
  local ok, text, running
  repeat
    ok, text, running = pcall(reply.step, reply, { ms = 50 })
    local stop = core.terminal.taken()
    if not ok or not text or stop then break end
  until not running
  reply:close()
  if self.kind then self.out.write "\n" end
  if not ok then return false, text end
  if not text then return false, running end
  footer(self, reply:stats())
  return not running
end

local function complain(self, message)
  local text = tostring(message):gsub("^[^\n]-%.lua:%d+: ", ""):gsub("^wane: ", "")
  self.out.note(self.out.paint("red", "wane:", "err") .. " " .. report.printable(text))
end

--- Sends a message and writes the answer, and those after calls of functions.
---@param message string|table
function Session:answer(message)
  while message do
    local ended, why = stream(self, message)
    if why then complain(self, why) end
    message = ended and results(self) or nil
  end
end

-- ---- commands -------------------------------------------------------------------

local commands, order = {}, {}

local function command(name, argument, text, run)
  commands[name], order[#order + 1] = { argument = argument, text = text, run = run }, name
end

-- The place of the last message of a user, or nil.
local function last_turn(chat)
  for i = #chat.messages, 1, -1 do
    if chat.messages[i].role == "user" then return i end
  end
end

-- Takes the last turn away; the message that began it.
local function take_back(chat)
  local at = last_turn(chat)
  if not at then return nil end
  local message = chat.messages[at]
  for i = #chat.messages, at, -1 do chat.messages[i] = nil end
  return message
end

command("help", nil, "these commands", function(self)
  local t = report.table { { key = "name", title = "command" }, { key = "text", title = "what it does" } }
  for _, name in ipairs(order) do
    local c = commands[name]
    t:add { name = "/" .. name .. (c.argument and " " .. c.argument or ""), text = c.text }
  end
  self.out.print(t:text(self.out.width))
  self.out.print 'A line that ends with \\ goes on; """ begins and ends a text of several lines.'
  self.out.print "Ctrl-C stops an answer, Ctrl-D ends."
end)

command("system", "[TEXT]", "set the system message, or show it", function(self, text)
  local m = self.chat.messages
  local has = m[1] and m[1].role == "system"
  if text == "" then
    self.out.print(has and report.printable(m[1].content) or "(none)")
  elseif has then
    m[1] = { role = "system", content = text }
  else
    table.insert(m, 1, { role = "system", content = text })
  end
end)

command("regen", nil, "answer the last message again", function(self)
  local message = take_back(self.chat)
  if not message then return self.out.note "nothing to answer yet" end
  self:answer(message)
end)

command("undo", nil, "take back the last message and its answer", function(self)
  local message = take_back(self.chat)
  self.out.note(message and "taken back: " .. report.clip(report.printable(message.content), 60) or "nothing to take back")
end)

command("clear", nil, "forget all but the system message", function(self)
  local first = self.chat.messages[1]
  self.chat.messages = { first and first.role == "system" and first or nil }
  self.out.note "forgotten"
end)

command("save", "FILE", "write the conversation as JSON", function(self, path)
  local ok, why = file.write(path, json.encode({ messages = self.chat.messages }, { indent = 2 }) .. "\n", { overwrite = true })
  if not ok then return complain(self, why) end
  self.out.note(("%s: %d messages"):format(report.printable(path), #self.chat.messages))
end)

-- What is wrong with messages of a file, or nil.
local function bad(messages)
  if type(messages) ~= "table" or #messages == 0 then return "want { messages = a list }" end
  for i, m in ipairs(messages) do
    if type(m) ~= "table" or type(m.role) ~= "string" then return ("message %d: want a role"):format(i) end
    if m.content ~= nil and m.content ~= json.null and type(m.content) ~= "string" and type(m.content) ~= "table" then
      return ("message %d: want a text as content"):format(i)
    end
  end
end

command("load", "FILE", "go on with a saved conversation", function(self, path)
  local text, why = file.read(path, { max_bytes = 2 ^ 26 })
  if not text then return complain(self, why) end
  local saved
  saved, why = json.decode(text)
  if saved == nil then return complain(self, path .. ": " .. tostring(why)) end
  local list = type(saved) == "table" and saved.messages or nil
  why = bad(list)
  if why then return complain(self, path .. ": " .. why) end
  for _, m in ipairs(list) do
    if m.content == json.null then m.content = nil end
  end
  self.chat.messages = list
  self.out.note(("%s: %d messages"):format(report.printable(path), #list))
end)

command("read", "FILE", "put a text file before the next message", function(self, path)
  local text, why = file.read(path, { max_bytes = 2 ^ 26 })
  if not text then return complain(self, why) end
  self.before = (self.before or "") .. text .. "\n\n"
  self.out.note(("%s: %s bytes, for your next message"):format(report.printable(path), report.count(#text)))
end)

command("tokens", nil, "how full the context is", function(self)
  local used, all = context(self.chat)
  self.out.print(("context: %d of %d tokens; %d messages; %d tokens answered so far"):format(used, all, #self.chat.messages,
    self.tokens))
end)

command("speed", nil, "how fast the last answer was", function(self)
  local s = self.last
  if not s then return self.out.note "no answer yet" end
  self.out.print(("message: %d tokens, %s; answer: %d tokens, %s; all answers: %s"):format(s.n_prompt,
    rate(s.n_prompt, s.prompt_seconds), s.n_tokens, rate(s.n_tokens, s.token_seconds), rate(self.tokens, self.seconds)))
end)

command("think", "[on|off|show|hide]", "let it think or not; show what it thinks or not", function(self, how)
  local chat = self.chat
  local switch = chat.template and chat.template.source:find("enable_thinking", 1, true)
  if how == "show" or how == "hide" then
    self.thoughts = how == "show"
  elseif how == "on" or how == "off" then
    if not switch then return self.out.note "the model's template has no switch for thinking" end
    chat.variables = chat.variables or {}
    chat.variables.enable_thinking = how == "on"
  elseif how ~= "" then
    return complain(self, "/think: want on, off, show or hide")
  end
  local now = chat.variables and chat.variables.enable_thinking
  self.out.print(("thinking: %s, %s"):format(not switch and "as the model likes" or now == nil and "as the template says"
    or now and "on" or "off", self.thoughts and "shown" or "hidden"))
end)

command("quit", nil, "end (as Ctrl-D)", function() return "quit" end)

--- The names of the commands, with their slashes.
---@return string[]
function M.words()
  local list = {}
  for i, name in ipairs(order) do list[i] = "/" .. name end
  return list
end

--- Does what was typed: a command or a message.
---@param text string
---@return "quit"|nil
function Session:enter(text)
  local name, rest = text:match "^/(%a+)%s*(.-)%s*$"
  if name then
    local c = commands[name:lower()]
    if not c then
      complain(self, ("no command /%s: see /help"):format(name))
    elseif rest == "" and c.argument and not c.argument:find "^%[" then
      complain(self, ("/%s wants %s"):format(name, c.argument))
    else
      return c.run(self, rest)
    end
  elseif text:find "%S" then
    local before = self.before
    self.before = nil
    self:answer((before or "") .. text)
  end
end

--- Reads and does until the end.
---@return integer status  130 when Ctrl-C was pressed twice at the prompt
function Session:run()
  local pressed = false
  while true do
    local text, why = self.reader:read "> "
    core.terminal.taken()
    if why == "interrupt" then
      self.out.write "\n"
      if pressed then return 130 end
      self.out.note(self.out.paint("dim", "(Ctrl-C again or Ctrl-D ends, /help helps)", "err"))
    elseif not text then
      if self.reader.tty then self.out.write "\n" end
      return 0
    elseif self:enter(text) == "quit" then
      return 0
    end
    pressed = why == "interrupt"
  end
end

return M
