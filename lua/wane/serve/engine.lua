--- The engine of wane.serve: all requests' generations in the steps of one
--- context.
---
--- What it guarantees: generations share steps (wane.batch), each gives the text
--- that it gives alone; one whose client is gone leaves at once; at most
--- `parallel` run and `queue` wait, more are refused. Prompts take over what
--- the context still holds of earlier ones.
---
--- How it works: one coroutine of the server's loop works while anything is
--- live: a few milliseconds of steps, then all sockets that are ready. Each
--- generation's news wake the coroutine of its request.
local M = {}

local condition = require "cqueues.condition"
local cqueues = require "cqueues"
local request = require "wane.serve.request"

local STEP_MS = 8       -- between two looks at the sockets
local STEP_TOKENS = 256 -- of one step: those who run keep getting tokens beside long prompts

---@class wane.serve.Engine
---@field counts table   totals for /metrics
local Engine = {}
Engine.__index = Engine

--- An engine for a model. o: parallel, queue, context (tokens of each sequence).
---@return wane.serve.Engine|nil, string|nil, string|nil
function M.new(model, o)
  local ctx, message, code = model:context { sequences = o.parallel, context = o.context }
  if not ctx then return nil, message, code end
  return setmetatable({
    model = model, ctx = ctx, batch = ctx:batch(), n_ctx = ctx:info().n_ctx, limit = o.parallel + o.queue,
    parallel = o.parallel, live = {}, work = condition.new(),
    counts = { prompt = 0, reused = 0, generated = 0, finished = 0, cancelled = 0, failed = 0, refused = 0, steps = 0, seconds = 0 },
  }, Engine)
end

--- One generation of a request: pending (text not taken), ended, stats; ids
--- and, where they were asked for, the log probabilities of those ids (scores) and
--- of the prompt (prompt_scores, once the first text is there).
---@class wane.serve.Ticket
local Ticket = {}
Ticket.__index = Ticket

-- Codes of the library that are the client's doing.
local ITS_OWN = { EARG = true, ELIMIT = true, EUNSUP = true, EFORMAT = true, EDATA = true }

--- Refuses when there is no room for n more.
function Engine:room(n)
  if #self.live + n <= self.limit then return end
  self.counts.refused = self.counts.refused + 1
  request.refuse(503, "all slots are busy and the queue is full", nil, "overloaded")
end

--- Adds a generation; refuses what is too long or wrong. cond is signalled
--- with its news.
---@param ids integer[]
---@param opts table      options of model:generate
---@param cond userdata
---@return wane.serve.Ticket
function Engine:add(ids, opts, cond)
  if #ids == 0 then request.refuse(400, "the prompt is empty") end
  local room = (opts.max_tokens or 2) < 2 and self.n_ctx or self.n_ctx - 1 -- the last token made is not read any more
  if #ids > room then
    request.refuse(400, ("the prompt has %d tokens, a slot has room for %d"):format(#ids, room), nil, "context_length_exceeded")
  end
  self:room(1)
  local ok, gen, message, code = pcall(self.batch.add, self.batch, ids, opts)
  if not ok then request.refuse(400, (tostring(gen):gsub("^[^\n]-:%d+: ", ""):gsub("^wane: [%w:_.]+: ", ""))) end
  if not gen then request.refuse(ITS_OWN[code] and 400 or 500, message) end
  local t = setmetatable({ engine = self, gen = gen, cond = cond, pending = {}, ids = {}, scores = {}, prompt = ids,
    scored = opts.logprobs, echo = opts.echo, began = os.time() }, Ticket)
  self.live[#self.live + 1] = t
  self.work:signal()
  return t
end

local function leave(self, t)
  for i, other in ipairs(self.live) do
    if other == t then
      table.remove(self.live, i)
      break
    end
  end
  local c, s = self.counts, t.stats
  c.prompt, c.reused, c.generated = c.prompt + s.n_prompt, c.reused + s.n_reused, c.generated + s.n_tokens
  local kind = t.cancelled and "cancelled" or t.message and "failed" or "finished"
  c[kind] = c[kind] + 1
end

local function extend(list, more)
  for _, x in ipairs(more) do list[#list + 1] = x end
end

-- Ids that came since the last time, and what is told of them.
local function note(t)
  extend(t.ids, t.gen:ids(#t.ids + 1))
  if t.scored then extend(t.scores, t.gen:logprobs(#t.scores + 1)) end
  if t.echo and not t.prompt_scores then t.prompt_scores = t.gen:prompt_logprobs() end
end

local function finish(t)
  t.stats, t.ended = t.gen:stats(), true
  note(t)
  t.gen:close()
  leave(t.engine, t)
  t.cond:signal()
end

-- Takes a generation's news.
local function collect(t)
  local text, running = t.gen:take()
  if text == nil then
    t.message = running
    return finish(t)
  end
  if text ~= "" then t.pending[#t.pending + 1] = text end
  if not running then return finish(t) end
  if text == "" then return end
  note(t)
  t.cond:signal()
end

--- New text ("" for none) and whether more may come; refuses when it failed.
---@return string text
---@return boolean running
function Ticket:take()
  local text = table.concat(self.pending)
  self.pending = {}
  if self.message and text == "" then request.refuse(500, self.message) end
  return text, not self.ended or self.message ~= nil
end

--- Ends it now; nothing more is computed for it.
function Ticket:cancel()
  if self.ended then return end
  self.cancelled = true
  self.gen:cancel()
  collect(self)
  if not self.ended then finish(self) end
end

-- Everybody's generations end with a failure of the context's.
local function fail_all(self, message)
  for i = #self.live, 1, -1 do
    self.live[i].message = message
    finish(self.live[i])
  end
end

local function work(self)
  local begun = cqueues.monotime()
  local ok, n, message = pcall(self.batch.step, self.batch, { ms = STEP_MS, tokens = STEP_TOKENS })
  self.counts.steps, self.counts.seconds = self.counts.steps + 1, self.counts.seconds + cqueues.monotime() - begun
  for i = #self.live, 1, -1 do collect(self.live[i]) end
  if not ok or not n then fail_all(self, tostring(ok and message or n)) end
end

--- The coroutine that works.
function Engine:run()
  while not self.closed do
    if #self.live == 0 then
      cqueues.poll(self.work)
    else
      work(self)
      cqueues.sleep(0)
    end
  end
end

--- Frees the context; what is live is cancelled.
function Engine:close()
  if self.closed then return end
  self.closed = true
  for i = #self.live, 1, -1 do self.live[i]:cancel() end
  self.work:signal()
  self.ctx:close()
end

return M
