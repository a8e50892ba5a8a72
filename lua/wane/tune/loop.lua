--- The loop of training: batches in a shuffled order, a rate that rises and falls,
--- checks on what is held out, checkpoints. What is trained is a subject: the
--- trainer's own weights (M.weights), or numbers of blocks (calibrate/learn.lua).
local core = require "wane.core"
local gguf = require "wane.gguf"

local M = {}

-- Park and Miller's generator.
local function generator(seed)
  local x = seed % 2147483646 + 1
  return function(n)
    x = x * 16807 % 2147483647
    return x % n + 1
  end
end
M.generator = generator

-- Sequence numbers without end, each epoch in an order of its own.
local function order(n, seed)
  local draw, list, at = generator(seed), {}, 0
  return function()
    if at == 0 then
      for i = 1, n do list[i] = i end
      for i = n, 2, -1 do
        local k = draw(i)
        list[i], list[k] = list[k], list[i]
      end
    end
    at = at % n + 1
    local i = list[at]
    if at == n then at = 0 end
    return i
  end
end

-- Up over the first `warmup` steps, then down along a cosine to a tenth.
local function rate_at(o, step)
  if step <= o.warmup then return o.rate * step / o.warmup end
  local along = (step - o.warmup) / math.max(1, o.steps - o.warmup)
  return o.rate * (0.1 + 0.45 * (1 + math.cos(math.pi * along)))
end

-- One sequence: its loss; with `scale` its gradient too.
local function one(t, s, loss, scale)
  local rows, message, code = t:forward(s.ids, { want = s.want })
  if not rows then return nil, message, code end
  local sum
  sum, message, code = loss(t, s, scale or 1)
  if not sum then return nil, message, code end
  while scale do
    local more
    more, message, code = t:back()
    if more == nil then return nil, message, code end
    if not more then break end
  end
  return sum
end

--- Mean loss of sequences, in nats per token that counts.
function M.measure(t, list, loss)
  local sum, n = 0, 0
  for _, s in ipairs(list) do
    local l, message, code = one(t, s, loss)
    if not l then return nil, message, code end
    sum, n = sum + l, n + #s.want
  end
  return sum / n
end

-- -- what is trained ------------------------------------------------------------

---@class wane.tune.Subject
---@field step fun(self, rate: number, step: integer): number|nil, string?, string?  uses the gradients, which become 0; their length
---@field save fun(self): table[]           all that changes, as tensors of a checkpoint
---@field load fun(self, name: string, part: string, entry: wane.Tensor): true|nil, string?, string?   takes one of them back
---@field keep fun(self)                    this is the best so far
---@field restore fun(self): true|nil, string?, string?   goes back to it
---@field close fun(self)

local Weights = {}
Weights.__index = Weights

--- The trained weights of t, by AdamW. o: decay, clip, keep_best.
function M.weights(t, o) return setmetatable({ t = t, o = o, best = {} }, Weights) end

function Weights:step(rate, step)
  return self.t:adam { rate = rate, step = step, beta2 = 0.99, decay = self.o.decay, clip = self.o.clip }
end

local PARTS = { "weight", "mean", "square" }

-- A buffer as a tensor of a checkpoint.
function M.as_tensor(name, b)
  local rows, cols = b:shape()
  return { name = name, type = "f32", shape = { cols, rows }, data = b:bytes() }
end

function Weights:save()
  local list = {}
  for _, name in ipairs(self.t:trained()) do
    for _, part in ipairs(PARTS) do
      local b = self.t:get(name, part)
      if b then
        list[#list + 1] = M.as_tensor(name .. "#" .. part, b)
        b:close()
      end
    end
    if self.best[name] then list[#list + 1] = M.as_tensor(name .. "#best", self.best[name]) end
  end
  return list
end

function Weights:load(name, part, entry)
  local b, message, code = entry:read()
  if not b then return nil, message, code end
  if part == "best" then
    self.best[name] = b
  else
    self.t:put(name, b, part)
    b:close()
  end
  return true
end

function Weights:keep()
  if not self.o.keep_best then return end
  self:close()
  for _, name in ipairs(self.t:trained()) do self.best[name] = self.t:get(name) end
end

function Weights:restore()
  for name, b in pairs(self.best) do self.t:put(name, b) end -- order does not matter
  return true
end

function Weights:close()
  for _, b in pairs(self.best) do b:close() end -- order does not matter
  self.best = {}
end

-- -- checkpoints ---------------------------------------------------------------

local function numbers(list) return table.concat(list, " ") end

local function precise(x) return ("%.17g"):format(x) end

local function save(path, subject, state, identity)
  local losses, held = {}, {}
  for i, l in ipairs(state.losses) do losses[i] = precise(l) end
  for i, h in ipairs(state.held) do held[i] = ("%d %s"):format(h.step, precise(h.loss)) end
  return gguf.write {
    path = path, tensors = subject:save(), overwrite = true, meta = {
      { "general.type", "string", "checkpoint" }, { "wane.tune.identity", "string", identity },
      { "wane.tune.step", "u32", state.step }, { "wane.tune.losses", "string", numbers(losses) },
      { "wane.tune.held", "string", numbers(held) },
    },
  }
end

-- A check's loss: true when it is the best so far; a worse one halves the rate of
-- those who go back then (o.retreat).
local function note(state, loss, step)
  if loss < state.best then
    state.best, state.best_step = loss, step
    return true
  end
  state.ease = state.ease / 2
  return false
end

local function new_state(step) return { step = step, losses = {}, held = {}, best = math.huge, ease = 1 } end

local function read_state(meta)
  local state = new_state(meta["wane.tune.step"])
  for l in meta["wane.tune.losses"]:gmatch "%S+" do state.losses[#state.losses + 1] = tonumber(l) end
  for step, l in meta["wane.tune.held"]:gmatch "(%S+) (%S+)" do
    local h = { step = tonumber(step), loss = tonumber(l) }
    state.held[#state.held + 1] = h
    note(state, h.loss, h.step)
  end
  return state
end

-- Goes on from a checkpoint: the state, or false when there is none of this run.
local function resume(path, subject, identity)
  local there = io.open(path, "rb")
  if not there then return false end
  there:close()
  local f, message, code = gguf.open(path)
  if not f then return nil, message, code end
  if f.meta["wane.tune.identity"] ~= identity then
    f:close()
    return nil, path .. ": a checkpoint of another run (other options, text or model): remove it", "EFORMAT"
  end
  local state = read_state(f.meta)
  for _, entry in ipairs(f.tensors) do
    local name, part = entry.name:match "^(.*)#(%a+)$"
    local ok
    ok, message, code = subject:load(name, part, entry)
    if not ok then
      f:close()
      return nil, message, code
    end
  end
  f:close()
  return state
end

-- -- the loop ------------------------------------------------------------------

--- The least of the losses of checks.
function M.best(held)
  local least = math.huge
  for _, h in ipairs(held) do least = math.min(least, h.loss) end
  return least
end

-- Measures what is held out; the best of all checks is kept, and with `retreat`
-- what is worse goes back to it.
local function check(t, subject, state, held, loss, retreat)
  if #held == 0 then return true end
  local l, message, code = M.measure(t, held, loss)
  if not l then return nil, message, code end
  state.held[#state.held + 1] = { step = state.step, loss = l }
  if note(state, l, state.step) then
    subject:keep()
  elseif retreat then
    return subject:restore()
  end
  return true
end

-- One step: a batch of sequences, then the subject's. Mean loss, length.
local function one_step(t, subject, chosen, loss, rate, step)
  local n, sum = 0, 0
  for _, s in ipairs(chosen) do n = n + #s.want end
  for _, s in ipairs(chosen) do
    local l, message, code = one(t, s, loss, 1 / n)
    if not l then return nil, message, code end
    sum = sum + l
  end
  local length, message, code = subject:step(rate, step)
  if not length then return nil, message, code end
  return sum / n, length
end

-- All steps that are left.
local function go_on(t, subject, state, list, held, loss, o)
  local next_one = order(#list, o.seed)
  for _ = 1, state.step * o.batch do next_one() end
  for step = state.step + 1, o.steps do
    local chosen = {}
    for k = 1, o.batch do chosen[k] = list[next_one()] end
    local rate = rate_at(o, step) * (o.retreat and state.ease or 1)
    local l, length, code = one_step(t, subject, chosen, loss, rate, step)
    if not l then return nil, length, code end
    state.step, state.losses[step] = step, l
    local ok, message = true, nil
    if (o.check_every and step % o.check_every == 0) or step == o.steps then
      ok, message, code = check(t, subject, state, held, loss, o.retreat)
    end
    if ok and o.checkpoint and step % o.save_every == 0 and step < o.steps then
      ok, message, code = save(o.checkpoint, subject, state, o.identity)
    end
    if not ok then return nil, message, code end
    local last = state.held[#state.held]
    if o.progress and o.progress { done = step, total = o.steps, loss = l, length = length, held = last and last.loss } == false then
      return nil, "cancelled", "ECANCEL"
    end
  end
  return true
end

--- Trains. o: steps, batch, rate, warmup, seed, check_every, checkpoint, save_every,
--- identity, progress, keep_best (the end is the best of all checks), retreat (a check
--- that is worse goes back to the best, and on at half the rate); list and held are
--- sequences, loss(t, sequence, scale) takes the loss of what was run.
---@return table|nil report  losses, held = { { step, loss }, ... }, best_step, steps, seconds, resumed
---@return string? message
---@return string? code
function M.run(t, subject, list, held, loss, o)
  local start, resumed = core.now(), nil
  local state, message, code = false, nil, nil
  if o.checkpoint then state, message, code = resume(o.checkpoint, subject, o.identity) end
  if state == nil then return nil, message, code end
  local ok = true
  if state then
    resumed = state.step
  else
    state = new_state(0)
    ok, message, code = check(t, subject, state, held, loss)
  end
  if ok then ok, message, code = go_on(t, subject, state, list, held, loss, o) end
  if not ok then return nil, message, code end
  if o.keep_best then ok, message, code = subject:restore() end
  if not ok then return nil, message, code end
  if o.checkpoint then os.remove(o.checkpoint) end
  return {
    losses = state.losses, held = state.held, best_step = state.best_step, steps = state.step, resumed = resumed,
    seconds = core.now() - start,
  }
end

return M
