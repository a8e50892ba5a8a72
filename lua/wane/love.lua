--- wane.love: characters of a game that answer while the game goes on.
---
--- With `ms` the model works so many milliseconds of each frame on the game's own
--- thread; without, in a thread of its own. Neither ever waits, nor does closing.
--- It needs nothing of LÖVE: any engine with a Lua and frames will do.
---
---     local speaker = assert(require("wane.love").new("model.gguf", { ms = 2 }))
---     speaker:say("Who are you?", function(text, done) print(text, done) end)
---     function love.update() speaker:update() end
---     function love.quit() speaker:close() end
local M = {}

---@class wane.Speaker
---@field text string    what has been said of the answer so far
local Speaker = {}
Speaker.__index = Speaker

--- Loads a model for one character; characters may share one (option model).
---@param path string?
---@param o? { ms?: number, model?: wane.Model, threads?: integer, context?: integer, raw?: boolean, options?: table }
---  raw: prompts are continued as they are, without a conversation; options: of model:chat or model:generate
---@return wane.Speaker|nil
---@return string? message
---@return string? code
function M.new(path, o)
  o = require("wane.options").checker("love.new", { ms = "number", model = "table", threads = "number",
    context = "number", raw = "boolean", options = "table" })(o)
  local threads = o.threads or (o.ms and 1 or math.max(1, require("wane").cpu().threads - 1))
  local model, message, code = o.model, nil, nil
  if not model then
    model, message, code = require("wane").load(path, { context = o.context or 512, threads = threads })
  end
  if not model then return nil, message, code end
  local self = { model = model, own = not o.model, ms = o.ms, raw = o.raw, options = o.options or {}, text = "" }
  return setmetatable(self, Speaker)
end

--- Asks for an answer; update then calls heard(text so far, done, message) whenever
--- there is more, message when it failed. What is still being said is cut off.
---@param prompt string
---@param heard fun(text: string, done: boolean, message?: string)
function Speaker:say(prompt, heard)
  self:hush()
  if not self.raw then self.chat = self.chat or self.model:chat(self.options) end
  local reply, message
  if self.ms then
    reply = self.chat and self.chat:stream(prompt) or self.model:generate(prompt, self.options)
  elseif self.chat then
    reply, message = self.chat:start(prompt)
  else
    reply, message = self.model:start(prompt, self.options)
  end
  self.text, self.heard, self.reply = "", heard, reply
  if not reply then heard("", true, message) end
end

--- Call once a frame.
function Speaker:update()
  local reply = self.reply
  if not reply then return end
  local pull = self.ms and reply.step or reply.poll
  local text, running = pull(reply, self.ms and { ms = self.ms } or nil)
  self.text = self.text .. (text or "")
  if not text or not running then self:hush() end
  if text ~= "" or not running then self.heard(self.text, not text or not running, not text and running or nil) end
end

--- Ends what is being said, without waiting.
function Speaker:hush()
  if self.reply then self.reply:close() end
  self.reply = nil
end

--- Ends all, without waiting; the model too, unless it was given.
function Speaker:close()
  self:hush()
  if self.chat then self.chat:close() end
  if self.own then self.model:close() end
  self.chat = nil
end

return M
