--- The choices of one request: its generations, run to their ends together.
---
--- What it guarantees: whatever ends a request - all is said, the client has
--- gone, its time is over, something failed - none of its generations runs on.
local M = {}

local condition = require "cqueues.condition"
local cqueues = require "cqueues"
local params = require "wane.serve.params"

local LOOK = 0.25 -- seconds between two looks at a client that waits

---@class wane.serve.Choices
---@field tickets wane.serve.Ticket[]
local Choices = {}
Choices.__index = Choices

--- Starts n generations for each of the prompts; all or none.
---@param app table
---@param prompts integer[][]
---@param n integer
---@param opts table
---@return wane.serve.Choices
function M.start(app, prompts, n, opts)
  local self = setmetatable({ app = app, tickets = {}, cond = condition.new() }, Choices)
  app.engine:room(#prompts * n)
  for _, ids in ipairs(prompts) do
    for i = 1, n do
      local ok, ticket = pcall(app.engine.add, app.engine, ids, params.choice(opts, i), self.cond)
      if not ok then
        self:close()
        error(ticket, 0)
      end
      self.tickets[#self.tickets + 1] = ticket
      for _, note in ipairs(#self.tickets == 1 and ticket.gen.notes or {}) do app.opts.note(note) end
    end
  end
  return self
end

local function has_news(self, done)
  for i, t in ipairs(self.tickets) do
    if not done[i] and (#t.pending > 0 or t.ended) then return true end
  end
end

-- One look at all of them: how many have ended now.
local function look(self, done, each)
  local n = 0
  for i, t in ipairs(self.tickets) do
    if not done[i] and (#t.pending > 0 or t.ended) then
      local text, running = t:take()
      done[i] = not running
      n = n + (running and 0 or 1)
      if each(i, text, t, not running) == false then return nil end
    end
  end
  return n
end

local function loop(self, x, each)
  local done, left, deadline = {}, #self.tickets, cqueues.monotime() + self.app.opts.request_seconds
  while left > 0 do
    local n = look(self, done, each)
    if not n or x:gone() then return false end
    left = left - n
    if cqueues.monotime() > deadline then
      for _, t in ipairs(self.tickets) do t:cancel() end
    end
    if left > 0 and not has_news(self, done) then cqueues.poll(self.cond, LOOK) end
  end
  return true
end

--- Runs until all have ended: each(i, text, ticket, ended) with their news, and
--- once with ended = true; false from it ends all. False when the client is gone.
---@param x wane.serve.Exchange
---@param each fun(i: integer, text: string, ticket: wane.serve.Ticket, ended: boolean): boolean|nil
---@return boolean all
function Choices:run(x, each)
  local ok, all = pcall(loop, self, x, each)
  self:close()
  if not ok then error(all, 0) end
  return all
end

--- Cancels what runs.
function Choices:close()
  for _, t in ipairs(self.tickets) do t:cancel() end
end

--- Why a generation ended, in OpenAI's words.
function M.reason(t)
  local state = t.stats.state
  return (state == "eog" or state == "stop") and "stop" or "length"
end

--- The usage of all of them; prompts count once.
---@param tickets wane.serve.Ticket[]
---@param prompts integer[][]
function M.usage(tickets, prompts)
  local prompt, made, cached = 0, 0, 0
  for _, ids in ipairs(prompts) do prompt = prompt + #ids end
  for _, t in ipairs(tickets) do
    local s = t.stats
    made = made + s.n_tokens
    cached = math.max(cached, s.n_reused)
  end
  return { prompt_tokens = prompt, completion_tokens = made, total_tokens = prompt + made,
    prompt_tokens_details = { cached_tokens = math.min(cached, prompt) } }
end

return M
