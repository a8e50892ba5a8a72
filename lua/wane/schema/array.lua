--- Arrays as grammar text. Methods of the schema compiler.
local node = require "wane.schema.node"
local text = require "wane.schema.text"

local M = {}

local fail = node.fail
local MAX_UNIQUE, ANY_ORDER, MAX_COUNTED = 256, 6, 20000
local NESTED = 32 -- groups in groups, before a rule

-- Items one after the other: the listed ones, then min to max in all.
local function plain(self, prefix, rest, min, max, path, depth)
  local n, out = math.min(#prefix, max), ""
  if max > n then -- what follows the listed ones
    local item = self:try(rest, path .. "/items", depth + 1)
    local from, to = math.max(min - n, 0), max - n
    if (to < math.huge and to or from) > 1000000 then fail(path, "over a million items", "ELIMIT") end
    if not item then
      if from > 0 then fail(path, "more items than are allowed", "EMPTY") end
    elseif n == 0 then
      local more = to == 1 and "" or ('("," ws %s)%s'):format(item, text.times(math.max(from - 1, 0), to < math.huge and to - 1 or nil))
      out = item .. " " .. more
      if from == 0 then out = "(" .. out .. ")?" end
    else
      out = ('("," ws %s)%s'):format(item, text.times(from, to < math.huge and to or nil))
    end
  end
  for i = n, 1, -1 do
    local item = self:try(prefix[i], ("%s/prefixItems/%d"):format(path, i - 1), depth + 1)
    if not item then
      if min >= i then fail(("%s/prefixItems/%d"):format(path, i - 1), "nothing is allowed", "EMPTY") end
      out = ""
    else
      out = (i > 1 and '"," ws ' or "") .. item .. " " .. out
      if i > min then out = "(" .. out .. ")?" end
      if i % NESTED == 0 then out = self:rule(out) end
    end
  end
  return out
end

-- The states of an array whose contained items are counted: place and count, what
-- may come there, and whether the end can be reached.
local function states_of(self, m, prefix, rest, min, max, path, depth)
  local least, most = m.minContains or 1, m.maxContains or math.huge
  local last = math.max(#prefix, max < math.huge and max or min)
  local cap = most < math.huge and most or least
  if (last + 2) * (cap + 1) > MAX_COUNTED then fail(path .. "/contains", "too many items to count", "ELIMIT") end
  local states, ids = {}, {}
  local function state(i, n)
    local key = i .. "," .. n
    if not ids[key] then
      states[#states + 1] = { i = i, n = n, ends = i >= min and n >= least, edges = {} }
      ids[key] = #states
    end
    return ids[key]
  end
  state(0, 0)
  local at = 1
  while states[at] do
    self:step(path)
    local x = states[at]
    local item, here = prefix[x.i + 1], ("%s/prefixItems/%d"):format(path, x.i)
    if item == nil then item, here = rest, path .. "/items" end
    local next_i = math.min(x.i + 1, max < math.huge and last or last + 1)
    if x.i < max then
      local with = x.n < most and self:try(self:both(item, m.contains), here, depth + 1)
      if with then table.insert(x.edges, { with, state(next_i, math.min(x.n + 1, cap)) }) end
      local other = self:try(most < math.huge and self:both(item, self:opposite(m.contains)) or item, here, depth + 1)
      if other then table.insert(x.edges, { other, state(next_i, x.n) }) end
    end
    at = at + 1
  end
  local changed = true
  while changed do
    changed = false
    for i = #states, 1, -1 do
      local x = states[i]
      for _, e in ipairs(x.edges) do
        self:step(path)
        if not x.ends and states[e[2]].ends then x.ends, x.later, changed = true, true, true end
      end
    end
  end
  return states
end

-- Items of which some are contained ones: a rule for each state.
local function containing(self, m, prefix, rest, min, max, path, depth)
  local states, names = states_of(self, m, prefix, rest, min, max, path, depth), {}
  if not states[1].ends then fail(path .. "/contains", "no array is allowed", "EMPTY") end
  for i, x in ipairs(states) do names[i] = x.ends and self:rule "" end
  for i, x in ipairs(states) do
    local ways = {}
    if not x.later then ways[1] = '""' end
    for _, e in ipairs(x.edges) do
      if names[e[2]] then ways[#ways + 1] = ("%s%s %s"):format(x.i > 0 and '"," ws ' or "", e[1], names[e[2]]) end
    end
    if names[i] then self.rules[names[i]] = table.concat(ways, " | ") end
  end
  return names[1]
end

-- Different values of a few: in any order where they are very few, else in the
-- order that the schema has them in.
local function different(self, values, min, max, path)
  local n, memo = #values, {}
  if min > n then fail(path, "more different items than there are", "EMPTY") end
  max = math.min(max, n)
  local function from(i, used, count)
    self:step(path)
    local key = i .. "," .. used .. "," .. count
    if memo[key] ~= nil then return memo[key] end
    local ways = {}
    if count >= min then ways[1] = '""' end
    for k = n <= ANY_ORDER and 1 or i, count < max and n or 0 do
      local bit = 2 ^ (k - 1)
      if n > ANY_ORDER or math.floor(used / bit) % 2 == 0 then
        local rest = from(k + 1, n <= ANY_ORDER and used + bit or 0, count + 1)
        if rest then
          ways[#ways + 1] = ("%s%s %s"):format(count > 0 and '"," ws ' or "", text.literal(node.encoded(values[k])), rest)
        end
      end
    end
    memo[key] = #ways > 0 and self:rule(table.concat(ways, " | ")) or false
    return memo[key]
  end
  if n > ANY_ORDER and n * n * math.min(n, max) > MAX_COUNTED * 20 then fail(path .. "/uniqueItems", "too many values", "ELIMIT") end
  return from(1, 0, 0) or fail(path, "no such array", "EMPTY")
end

function M:array(s, path, depth)
  local m = s.map
  local prefix, rest = self:item_schemas(m)
  local min, max = m.minItems or 0, m.maxItems or math.huge
  if self:flat(rest, path .. "/items", 0) == false then max = math.min(max, #prefix) end
  if min > max then fail(path, "minItems is above what is allowed", "EMPTY") end
  self:fixed "ws"
  local contains = m.contains
  if contains ~= nil and m.minContains == 0 and m.maxContains == nil then contains = nil end
  local body
  if m.uniqueItems == true and max > 1 then
    if #prefix > 0 or contains ~= nil then fail(path .. "/uniqueItems", "not supported together with prefixItems or contains") end
    local values = self:finite(rest, path .. "/items", MAX_UNIQUE)
    if not values then fail(path .. "/uniqueItems", "only supported for items of up to 256 values") end
    body = different(self, values, min, max, path)
  elseif max == 0 and contains == nil then
    return '"[" ws "]"'
  elseif contains ~= nil then
    body = containing(self, m, prefix, rest, min, max, path, depth)
  else
    body = plain(self, prefix, rest, min, max, path, depth)
  end
  return '"[" ws ' .. body .. ' ws "]"'
end

return M
