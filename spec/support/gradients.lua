--- Checking gradients against central differences.
local M = {}

local core = require "wane.core"

local TOKENS = 12

-- Numbers from -1 to 1, the same everywhere.
local function generator(seed)
  local x = seed
  return function()
    x = x * 16807 % 2147483647
    return x / 2147483647 * 2 - 1
  end
end

--- Weights of a model's program, which all can be trained but for those that
--- `skip` says something about; those of one name in different layers together:
--- { { "blk.0.attn_q.weight", "blk.1.attn_q.weight" }, ... }
function M.groups(model, skip)
  local groups, by, seen = {}, {}, {}
  for name in model:program():gmatch "[%w_.]+" do
    local role = name:gsub("^blk%.%d+%.", "")
    if not seen[name] and model.gguf:find_tensor(name) and not (skip and skip(role)) then
      seen[name] = true
      if not by[role] then
        by[role] = {}
        groups[#groups + 1] = by[role]
      end
      table.insert(by[role], name)
    end
  end
  return groups
end

--- A step's tokens and targets.
function M.tokens(model, seed)
  local n_vocab, rnd = model.handle:info().n_vocab, generator(seed or 7)
  local ids, targets = {}, {}
  for i = 1, TOKENS do ids[i] = math.floor((rnd() + 1) / 2 * (n_vocab - 1)) end
  for i = 1, TOKENS do targets[i] = ids[i + 1] or -1 end
  return ids, targets
end

--- All segments.
function M.back(t)
  while true do
    local more, message = t:back()
    assert(more ~= nil, message)
    if not more then return end
  end
end

-- A direction for one weight: its gradient's with as much noise.
local function direction(t, name, rnd)
  local w, g = t:get(name), t:get(name, "grad")
  local n, length, size = #w, 0, 0
  for i = 1, n do length, size = length + g[i] ^ 2, size + w[i] ^ 2 end
  length, size = math.sqrt(length), math.sqrt(size)
  local d, dot = {}, 0
  for i = 1, n do
    d[i] = ((length > 0 and g[i] / length or 0) + rnd() / math.sqrt(n)) * size
    dot = dot + d[i] * g[i]
  end
  g:close()
  return { name = name, w = w, d = d }, dot
end

local function move(t, list, by)
  for _, m in ipairs(list) do
    local x = m.w:copy()
    if by ~= 0 then
      for i = 1, #x do x[i] = m.w[i] + by * m.d[i] end
    end
    assert(t:put(m.name, x))
    x:close()
  end
end

--- How far the slope of `loss` along a direction of each group of weights is from
--- what the gradient says, relative to it: the worst one, and of whom. The
--- gradient must be there. Of a few widths of the difference the best counts:
--- too wide bends, too narrow is lost in rounding.
function M.check(t, groups, loss)
  local worst, whose = 0, nil
  for k, names in ipairs(groups) do
    local rnd, list, slope = generator(k), {}, 0
    for i, name in ipairs(names) do
      local dot
      list[i], dot = direction(t, name, rnd)
      slope = slope + dot
    end
    local best = math.huge
    for _, h in ipairs { 3e-4, 1e-3, 1e-4, 3e-5, 1e-5 } do
      move(t, list, h)
      local up = loss()
      move(t, list, -h)
      local down = loss()
      best = math.min(best, math.abs((up - down) / (2 * h) - slope) / math.max(math.abs(slope), 1e-3))
      if best < 3e-4 then break end
    end
    move(t, list, 0)
    for _, m in ipairs(list) do m.w:close() end
    if best > worst then worst, whose = best, names[1] end
  end
  return worst, whose
end

-- At most n groups of those.
local function joined(groups, n)
  local out = {}
  for k, names in ipairs(groups) do
    local at = (k - 1) % n + 1
    out[at] = out[at] or {}
    for _, name in ipairs(names) do table.insert(out[at], name) end
  end
  return out
end

--- All of it for a model; opts: skip, split, threads, seed, most (groups: more
--- weights go together then).
function M.of_model(model, opts)
  opts = opts or {}
  local groups, all = M.groups(model, opts.skip), {}
  if opts.most then groups = joined(groups, opts.most) end
  for _, names in ipairs(groups) do
    for _, name in ipairs(names) do all[#all + 1] = name end
  end
  local t = assert(core.train.open(model.handle, { tokens = TOKENS, train = all, split = opts.split, threads = opts.threads }))
  local ids, targets = M.tokens(model, opts.seed)
  local function loss()
    assert(t:forward(ids))
    return (assert(t:ce(targets)))
  end
  loss()
  M.back(t)
  local worst, whose = M.check(t, groups, loss)
  t:close()
  return worst, whose, #groups
end

return M
