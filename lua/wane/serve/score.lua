--- Log probabilities for wane.serve: of prompts and of what was generated.
---
--- What it guarantees: the log probability of every token under the model as it
--- is (before penalties, temperature and grammars), and of the most probable
--- ones beside it.
---
--- How it works: a second context, made when it is first asked for, reads the
--- same tokens again, a sequence for each text; long texts in slices, between
--- which the loop goes on. A text's last token is read only when another follows.
--- When all sequences are taken, a text that is not being read loses its own, and
--- reads itself anew when it goes on: nobody waits for another to end, so none
--- can wait for itself.
local M = {}

local condition = require "cqueues.condition"
local cqueues = require "cqueues"
local request = require "wane.serve.request"
local sample = require "wane.sample"

local SLICE = 64

---@class wane.serve.Scores
local Scores = {}
Scores.__index = Scores

--- Scores for a model: `parallel` texts of `context` tokens at once.
function M.new(model, parallel, context)
  return setmetatable({ model = model, parallel = parallel, context = context, freed = condition.new() }, Scores)
end

--- A text to score.
---@return wane.serve.Scorer
function Scores:text() return setmetatable({ scores = self, ids = {} }, M.Scorer) end

-- The text that has not been read for the longest time, and is not now.
local function idle_of(self)
  local oldest
  for seq = 1, self.parallel do
    local t = self.owners[seq]
    if not t.busy and (not oldest or t.used < oldest.used) then oldest = t end
  end
  return oldest
end

-- A sequence for a text: a free one, or an idle text's.
local function acquire(self, text)
  if not self.ctx then
    local ctx, message = self.model:context { sequences = self.parallel, context = self.context, batch = SLICE, outputs = SLICE }
    if not ctx then request.refuse(500, message) end
    self.ctx, self.free, self.owners, self.clock = ctx, {}, {}, 0
    for i = 1, self.parallel do self.free[i] = i end
  end
  local seq = table.remove(self.free)
  while not seq do
    local idle = idle_of(self)
    if idle then
      seq, idle.seq = idle.seq, nil
    else
      cqueues.poll(self.freed)
      seq = table.remove(self.free)
    end
  end
  self.owners[seq], text.seq = text, seq
  self.ctx:truncate(0, seq)
end

function Scores:close()
  if self.ctx then self.ctx:close() end
end

---@class wane.serve.Scorer
---@field ids integer[]   what was read
---@field last? integer    the token that was not read yet
---@field seq? integer     where it stands, as long as it has a sequence
local Scorer = {}
Scorer.__index = Scorer
M.Scorer = Scorer

-- Reads ids in slices; with targets, use(value, ids, values) for each.
local function slices(self, ids, targets, top, use)
  local ctx = self.scores.ctx
  for first = 1, #ids, SLICE do
    local part = {}
    for i = first, math.min(first + SLICE - 1, #ids) do part[#part + 1] = ids[i] end
    local rows, message = ctx:eval(part, { seq = self.seq, all = true })
    if not rows then request.refuse(500, message) end
    for r = 1, targets and #part or 0 do
      local value, best, values = sample.logprobs(rows, targets[first + r - 1], top, r)
      if not value then
        rows:close()
        request.refuse(500, tostring(best))
      end
      use(value, best, values)
    end
    rows:close()
    cqueues.sleep(0)
  end
end

-- The same with a sequence that holds what was read before.
local function read(self, ids, targets, top, use)
  self.busy = true
  local ok, why = pcall(function()
    if not self.seq then
      acquire(self.scores, self)
      slices(self, self.ids)
    end
    slices(self, ids, targets, top, use)
  end)
  self.busy, self.scores.clock = false, self.scores.clock + 1
  self.used = self.scores.clock
  self.scores.freed:signal(1)
  if not ok then error(why, 0) end
  for _, id in ipairs(ids) do self.ids[#self.ids + 1] = id end
end

-- What is to be read before ids can be scored, and which of them can.
local function shifted(self, ids)
  local before, targets = { self.last }, {}
  for i, id in ipairs(ids) do
    if i < #ids then before[#before + 1] = id end
    if self.last or i > 1 then targets[#targets + 1] = id end
  end
  return before, targets
end

--- Reads ids without scoring them.
function Scorer:feed(ids)
  if #ids == 0 then return end
  local before = shifted(self, ids)
  self.last = ids[#ids]
  read(self, before)
end

--- Scores ids behind what was read: a list of { id, value, ids, values }; the very
--- first token of a text has no value.
---@param ids integer[]
---@param top integer
---@return table[]
function Scorer:score(ids, top)
  if #ids == 0 then return {} end
  local out = {}
  if not self.last then out[1] = { id = ids[1] } end
  local before, targets = shifted(self, ids)
  self.last = ids[#ids]
  read(self, before, targets, top, function(value, best, values)
    local i = #out + 1
    out[i] = { id = ids[i], value = value, ids = best, values = values }
  end)
  return out
end

--- Gives the sequence back.
function Scorer:close()
  if self.seq == nil then return end
  local scores = self.scores
  scores.owners[self.seq] = nil
  table.insert(scores.free, self.seq)
  self.seq = nil
  scores.freed:signal(1)
end

return M
