--- The loop of training: batches in a shuffled order, AdamW, a rate that rises
--- and falls, checks on what is held out, checkpoints.
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

-- -- checkpoints ---------------------------------------------------------------

local PARTS = { "weight", "mean", "square" }

--- Writes all that goes on from here: weights, averages, the step.
function M.save(path, t, state, identity)
  local tensors = {}
  for _, name in ipairs(t:trained()) do
    for _, part in ipairs(PARTS) do
      local b = t:get(name, part)
      if b then
        local rows, cols = b:shape()
        tensors[#tensors + 1] = { name = name .. "#" .. part, type = "f32", shape = { cols, rows }, data = b:bytes() }
        b:close()
      end
    end
  end
  local curve = {}
  for i, l in ipairs(state.losses) do curve[i] = ("%.9g"):format(l) end
  return gguf.write {
    path = path, tensors = tensors, overwrite = true, meta = {
      { "general.type", "string", "checkpoint" }, { "wane.tune.identity", "string", identity },
      { "wane.tune.step", "u32", state.step }, { "wane.tune.losses", "string", table.concat(curve, " ") },
    },
  }
end

--- Goes on from a checkpoint: the state, or false when there is none of this run.
function M.resume(path, t, identity)
  local there = io.open(path, "rb")
  if not there then return false end
  there:close()
  local f, message, code = gguf.open(path)
  if not f then return nil, message, code end
  if f.meta["wane.tune.identity"] ~= identity then
    f:close()
    return nil, path .. ": a checkpoint of another run (other options, text or model): remove it", "EFORMAT"
  end
  local state = { step = f.meta["wane.tune.step"], losses = {} }
  for l in f.meta["wane.tune.losses"]:gmatch "%S+" do state.losses[#state.losses + 1] = tonumber(l) end
  for _, entry in ipairs(f.tensors) do
    local name, part = entry.name:match "^(.*)#(%a+)$"
    local b
    b, message, code = entry:read()
    if not b then
      f:close()
      return nil, message, code
    end
    t:put(name, b, part)
    b:close()
  end
  f:close()
  return state
end

-- -- the loop ------------------------------------------------------------------

--- Trains. o: steps, batch, rate, warmup, decay, clip, seed, check_every,
--- checkpoint, save_every, identity, progress, keep_best; list and held are
--- sequences, loss(t, sequence, scale) takes the loss of what was run.
---@return table|nil report  losses, held = { { step, loss }, ... }, best_step
---@return string? message
---@return string? code
function M.run(t, list, held, loss, o)
  local state, start, message, code = { step = 0, losses = {} }, core.now(), nil, nil
  local best, kept = math.huge, {}
  local report = { held = {}, losses = state.losses, tokens = 0 }
  local function check(step)
    if #held == 0 then return true end
    local l
    l, message, code = M.measure(t, held, loss)
    if not l then return nil, message, code end
    report.held[#report.held + 1] = { step = step, loss = l }
    if l < best then
      best, report.best_step = l, step
      for _, name in ipairs(o.keep_best and t:trained() or {}) do
        if kept[name] then kept[name]:close() end
        kept[name] = t:get(name)
      end
    end
    return true
  end
  local function forget()
    for _, b in pairs(kept) do b:close() end -- order does not matter
  end
  local function fail(...)
    forget()
    return nil, ...
  end
  local ok
  ok, message, code = check(0)
  if not ok then return fail(message, code) end
  if o.checkpoint then
    local from
    from, message, code = M.resume(o.checkpoint, t, o.identity)
    if from == nil then return fail(message, code) end
    if from then state, report.losses, report.resumed = from, from.losses, from.step end
  end
  local next_one = order(#list, o.seed)
  for _ = 1, state.step * o.batch do next_one() end
  for step = state.step + 1, o.steps do
    local chosen, n, sum = {}, 0, 0
    for k = 1, o.batch do
      chosen[k] = list[next_one()]
      n, report.tokens = n + #chosen[k].want, report.tokens + #chosen[k].ids
    end
    for _, s in ipairs(chosen) do
      local l
      l, message, code = one(t, s, loss, 1 / n)
      if not l then return fail(message, code) end
      sum = sum + l
    end
    local length
    length, message, code = t:adam { rate = rate_at(o, step), step = step, beta2 = 0.99, decay = o.decay, clip = o.clip }
    if not length then return fail(message, code) end
    state.step, state.losses[step] = step, sum / n
    if (o.check_every and step % o.check_every == 0) or step == o.steps then
      ok, message, code = check(step)
      if not ok then return fail(message, code) end
    end
    if o.checkpoint and step % o.save_every == 0 and step < o.steps then
      ok, message, code = M.save(o.checkpoint, t, state, o.identity)
      if not ok then return fail(message, code) end
    end
    local held_now = report.held[#report.held]
    if o.progress and o.progress { done = step, total = o.steps, loss = sum / n, length = length,
      held = held_now and held_now.loss } == false then
      return fail("cancelled", "ECANCEL")
    end
  end
  for name, b in pairs(kept) do t:put(name, b) end -- order does not matter
  forget()
  if o.checkpoint then os.remove(o.checkpoint) end
  report.steps, report.seconds = state.step, core.now() - start
  return report
end

return M
