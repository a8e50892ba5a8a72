--- A reply of a chat while it is made: a generation or a job (wane.generate)
--- with the same methods, that notes what it has shown. However it ends (by
--- itself, closed, failed), `ended(shown, stats)` is called once, before the
--- caller hears that it has.
local M = {}

---@class wane.Reply
---@field ids fun(self, from: integer?): integer[]
---@field fd fun(self): integer      of a job
---@field cancel fun(self)
local Reply = {}
Reply.__index = Reply

-- A reply over a generation or job. With a parser (wane.answer) the caller
-- gets the content alone, and on_delta everything.
-- @param source wane.Generation|wane.Job
-- @param ended fun(shown: string, stats: table)
-- @param parser? wane.AnswerParser
-- @param on_delta? fun(delta: table)
-- @return wane.Reply
function M.new(source, ended, parser, on_delta)
  return setmetatable({ source = source, parts = {}, ended = ended, parser = parser, on_delta = on_delta }, Reply)
end

-- The content among deltas.
local function content(self, deltas)
  local out = {}
  for i, d in ipairs(deltas) do
    out[i] = d.content or ""
    if self.on_delta then self.on_delta(d) end
  end
  return table.concat(out)
end

-- Notes text of the model; what of it the caller sees.
local function heard(self, text)
  self.parts[#self.parts + 1] = text
  return self.parser and content(self, self.parser:feed(text)) or text
end

-- What the parser still held back.
local function rest(self)
  if not self.parser or self.drained then return "" end
  self.drained = true
  return content(self, self.parser:drain())
end

-- Tells of the end, once.
local function finish(self)
  local ended = self.ended
  if not ended then return end
  self.ended = nil
  rest(self)
  local stats = self.source:stats()
  stats.ids = stats.ids or self.source:ids()
  self.last = stats
  ended(table.concat(self.parts), stats)
end

-- What the source has told.
local function note(self, text, running, code)
  if text and text ~= "" then text = heard(self, text) end
  if text and not running and self.ended then text = text .. rest(self) end
  if not text or not running then finish(self) end
  return text, running, code
end

function Reply:__call()
  local fine, text
  repeat
    fine, text = pcall(self.source)
    if fine and text then
      text = heard(self, text)
      if text ~= "" then return text end
    end
  until not fine or not text
  if fine and self.ended then
    text = rest(self)
    if text ~= "" then return text end -- the end is told by the next call
  end
  finish(self)
  if not fine then error(text, 0) end
  return nil
end

--- As wane.Generation's.
---
---     local reply = chat:stream "Hello"
---     repeat local text, running = reply:step { ms = 5 } until not running
---@param budget? { ms?: number, tokens?: integer }   as of Generation:step
---@error after close of the chat
function Reply:step(budget) return note(self, self.source:step(budget)) end

--- As wane.Job's.
---
---     local job = assert(chat:start "Hello")
---     repeat local text, running = job:poll() until not running
---@error after close of the chat
function Reply:poll() return note(self, self.source:poll()) end

function Reply:fd() return self.source:fd() end
function Reply:ids(from) return self.last and self.last.ids or self.source:ids(from) end
function Reply:cancel() return self.source:cancel() end
function Reply:stats() return self.last or self.source:stats() end

--- Ends it: what was shown stays in the conversation.
---
---     chat:stream("Hello"):close()
---@error none; closing twice is fine
function Reply:close()
  finish(self)
  return self.source:close()
end
Reply.__close = Reply.close

return M
