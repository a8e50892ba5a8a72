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

--- A reply over a generation or job.
---@param source wane.Generation|wane.Job
---@param ended fun(shown: string, stats: table)
---@return wane.Reply
function M.new(source, ended) return setmetatable({ source = source, parts = {}, ended = ended }, Reply) end

-- Tells of the end, once.
local function finish(self)
  local ended = self.ended
  if not ended then return end
  self.ended = nil
  local stats = self.source:stats()
  stats.ids = stats.ids or self.source:ids()
  self.last = stats
  ended(table.concat(self.parts), stats)
end

-- What the source has told.
local function note(self, text, running, code)
  if text and text ~= "" then self.parts[#self.parts + 1] = text end
  if not text or not running then finish(self) end
  return text, running, code
end

function Reply:__call()
  local fine, text = pcall(self.source)
  if fine and text then
    self.parts[#self.parts + 1] = text
    return text
  end
  finish(self)
  if not fine then error(text, 0) end
  return nil
end

--- As wane.Generation's.
function Reply:step(budget) return note(self, self.source:step(budget)) end

--- As wane.Job's.
function Reply:poll() return note(self, self.source:poll()) end

function Reply:fd() return self.source:fd() end
function Reply:ids(from) return self.last and self.last.ids or self.source:ids(from) end
function Reply:cancel() return self.source:cancel() end
function Reply:stats() return self.last or self.source:stats() end

--- Ends it: what was shown stays in the conversation.
function Reply:close()
  finish(self)
  return self.source:close()
end
Reply.__close = Reply.close

return M
