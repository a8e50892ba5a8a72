--- One choice for every tensor: the least loss under limits of bytes and time.
---
--- Losses of tensors add up (small changes), so this is a knapsack with one
--- choice per tensor. Of each tensor only the lower convex hull of (bytes,
--- loss) can be part of a best mix under a Lagrange multiplier; walking all
--- hulls together in order of loss saved per byte gives the whole Pareto
--- front. For one budget a table over all budgets up to it (dynamic
--- programming) does better still, and exchanges use up what rounding left.
---
--- A second limit, of seconds a token, becomes a price: each second costs so
--- much loss, and the least price at which the best mix is fast enough is found
--- by halving. Exchanges under both limits follow.
---
--- A row is one choice: { tensor, type, bytes, kld, seconds? }. Everywhere
--- `order` lists tensors, and `by` has the rows of each by name.
local M = {}

-- Of a tensor's rows, small to large, those that no other beats.
local function undominated(list)
  local kept = {}
  table.sort(list, function(a, b)
    if a.bytes ~= b.bytes then return a.bytes < b.bytes end
    if a.kld ~= b.kld then return a.kld < b.kld end
    return a.type < b.type
  end)
  for _, r in ipairs(list) do
    if #kept == 0 or r.kld < kept[#kept].kld then kept[#kept + 1] = r end
  end
  return kept
end

--- Undominated rows of every tensor, by bytes and loss.
function M.undominated(order, by)
  local out = {}
  for _, name in ipairs(order) do
    local list = {}
    for i, r in ipairs(by[name]) do list[i] = r end
    out[name] = undominated(list)
  end
  return out
end

-- Corners of the lower convex hull.
local function hull_of(list)
  local hull = {}
  for _, r in ipairs(list) do
    while #hull >= 2 do
      local a, b = hull[#hull - 1], hull[#hull]
      if (a.kld - b.kld) * (r.bytes - b.bytes) < (b.kld - r.kld) * (b.bytes - a.bytes) then
        hull[#hull] = nil
      else
        break
      end
    end
    hull[#hull + 1] = r
  end
  return hull
end

-- All upgrades along the hulls, best first.
function M.upgrades(order, by)
  local steps = {}
  for k, name in ipairs(order) do
    local hull = hull_of(by[name])
    for i = 2, #hull do
      steps[#steps + 1] = {
        tensor = name, from = hull[i - 1], to = hull[i], order = k,
        gain = (hull[i - 1].kld - hull[i].kld) / (hull[i].bytes - hull[i - 1].bytes),
      }
    end
  end
  table.sort(steps, function(a, b)
    if a.gain ~= b.gain then return a.gain > b.gain end
    if a.order ~= b.order then return a.order < b.order end
    return a.to.bytes < b.to.bytes
  end)
  return steps
end

local function start(order, by)
  local s = { chosen = {}, bytes = 0, kld = 0, seconds = 0 }
  for _, name in ipairs(order) do
    local r = by[name][1]
    s.chosen[name] = r
    s.bytes, s.kld, s.seconds = s.bytes + r.bytes, s.kld + r.kld, s.seconds + (r.seconds or 0)
  end
  return s
end

local function take(s, name, to)
  local from = s.chosen[name]
  s.bytes, s.kld = s.bytes + to.bytes - from.bytes, s.kld + to.kld - from.kld
  s.seconds = s.seconds + (to.seconds or 0) - (from.seconds or 0)
  s.chosen[name] = to
end
M.start, M.take = start, take

-- The hulls' mix of at most `budget` bytes.
local function by_hulls(order, by, budget)
  local s = start(order, by)
  for _, step in ipairs(M.upgrades(order, by)) do
    if s.chosen[step.tensor] == step.from and s.bytes + step.to.bytes - step.from.bytes <= budget then
      take(s, step.tensor, step.to)
    end
  end
  return s
end

local function gcd(a, b)
  while b > 0 do a, b = b, a % b end
  return a
end

local STEPS = 20000 -- units that a budget is divided into, at most

-- The best mix by dynamic programming over the budget, in units of bytes:
-- exact when all sizes are multiples of the unit, else sizes round up.
local function by_table(order, by, budget)
  local s = start(order, by)
  local unit, spare = 0, budget - s.bytes
  for _, name in ipairs(order) do
    for _, r in ipairs(by[name]) do unit = gcd(unit, r.bytes - by[name][1].bytes) end
  end
  if unit == 0 then return s end
  unit = math.max(unit, math.ceil(spare / STEPS))
  local n = math.floor(spare / unit)
  local gain, pick = {}, {} -- gain[u]: most loss saved with u units
  for u = 0, n do gain[u] = 0 end
  for k, name in ipairs(order) do
    local list, chosen = by[name], {}
    for u = n, 0, -1 do
      local best, at = gain[u], 1
      for i = 2, #list do
        local cost = math.ceil((list[i].bytes - list[1].bytes) / unit)
        if cost > u then break end
        local value = gain[u - cost] + list[1].kld - list[i].kld
        if value > best then best, at = value, i end
      end
      gain[u], chosen[u] = best, at
    end
    pick[k] = chosen
  end
  local u = n
  for k = #order, 1, -1 do
    local list = by[order[k]]
    local r = list[pick[k][u]]
    take(s, order[k], r)
    u = u - math.ceil((r.bytes - list[1].bytes) / unit)
  end
  return s
end

-- Changes that lower the loss and fit both limits, the best first; also one
-- tensor down and another up.
local function exchange(s, order, by, bytes, seconds)
  for _ = 1, 4 * #order do
    local best, gain = nil, 1e-12
    for _, a in ipairs(order) do
      local ra = s.chosen[a]
      for _, up in ipairs(by[a]) do
        local won = ra.kld - up.kld
        local need, late = s.bytes + up.bytes - ra.bytes - bytes, s.seconds - seconds
        late = late + (up.seconds or 0) - (ra.seconds or 0)
        if won > gain and need <= 0 and late <= 0 then best, gain = { { a, up } }, won end
        if won > gain and (need > 0 or late > 0) then
          for _, b in ipairs(order) do
            local rb = s.chosen[b]
            for _, down in ipairs(by[b]) do
              local lost = down.kld - rb.kld
              if won - lost > gain and b ~= a and rb.bytes - down.bytes >= need
                and (rb.seconds or 0) - (down.seconds or 0) >= late then
                best, gain = { { a, up }, { b, down } }, won - lost
              end
            end
          end
        end
      end
    end
    if not best then break end
    for _, c in ipairs(best) do take(s, c[1], c[2]) end
  end
  return s
end

-- Rows as they are when a second costs `price`; row.row is the row itself. At
-- an infinite price seconds are all that counts.
local function priced(order, by, price)
  local out = {}
  for _, name in ipairs(order) do
    local list = {}
    for i, r in ipairs(by[name]) do
      list[i] = { type = r.type, bytes = r.bytes, row = r,
        kld = price == math.huge and r.seconds or r.kld + price * r.seconds }
    end
    out[name] = undominated(list)
  end
  return out
end

-- A mix of priced rows as one of the rows themselves.
local function unpriced(order, by, s)
  local real = start(order, by)
  for _, name in ipairs(order) do take(real, name, s.chosen[name].row) end
  return real
end

-- The mix within `bytes` at the least price that makes it fast enough.
local function by_price(order, by, bytes, seconds)
  local function at(price, method) return unpriced(order, by, method(order, priced(order, by, price), bytes)) end
  local fastest = at(math.huge, by_table)
  if fastest.seconds > seconds then return nil, fastest.seconds end
  local best, low, high = fastest, 0, 1e-6
  for _ = 1, 60 do -- a price that is enough
    local s = at(high, by_hulls)
    if s.seconds <= seconds then break end
    low, high = high, 2 * high
  end
  for _ = 1, 30 do
    local price = (low + high) / 2
    local s = at(price, by_hulls)
    if s.seconds <= seconds then
      high = price
      if s.kld < best.kld then best = s end
    else
      low = price
    end
  end
  local s = at(high, by_table)
  if s.seconds <= seconds and s.kld < best.kld then best = s end
  return best
end

--- Best mix of at most `bytes` and at most `seconds` a token (nil: as long as it
--- takes). nil, and the fewest bytes; or nil, nil and the fewest seconds that
--- any mix within the bytes takes.
function M.fill(order, by, bytes, seconds)
  local thin = M.undominated(order, by)
  local s = start(order, thin)
  if s.bytes > bytes then return nil, s.bytes end
  s = by_hulls(order, thin, bytes)
  local other = by_table(order, thin, bytes)
  if other.kld < s.kld then s = other end
  s = exchange(s, order, thin, bytes, math.huge)
  if not seconds or s.seconds <= seconds then return s end
  local fast, least = by_price(order, by, bytes, seconds)
  if not fast then return nil, nil, least end
  return exchange(fast, order, by, bytes, seconds)
end

--- The fewest seconds that a mix of at most `bytes` takes, whatever it loses.
function M.fastest(order, by, bytes)
  local rows = priced(order, by, math.huge)
  return unpriced(order, by, by_table(order, rows, bytes)).seconds
end

-- Cheapest mix whose loss is at most `limit`.
function M.reach(order, by, limit)
  local s = start(order, by)
  for _, step in ipairs(M.upgrades(order, by)) do
    if s.kld <= limit then break end
    take(s, step.tensor, step.to)
  end
  if s.kld > limit then return nil, s.kld end
  return s
end

return M
