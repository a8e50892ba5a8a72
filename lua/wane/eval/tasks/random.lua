--- Random numbers that are the same on every Lua and machine: tasks made from
--- a seed must be equal wherever they run. (Park and Miller, 1988.)
local M = {}

---@class wane.Random
---@field state integer
local Random = {}
Random.__index = Random

--- A source of numbers.
---@param seed integer
---@return wane.Random
function M.new(seed)
  local r = setmetatable({ state = (math.floor(seed) * 7919 + 12345) % 2147483646 + 1 }, Random)
  for _ = 1, 4 do r:integer(1, 2) end
  return r
end

--- An integer from a to b.
---@param a integer
---@param b integer
---@return integer
function Random:integer(a, b)
  self.state = self.state * 16807 % 2147483647
  return a + math.floor((self.state - 1) / 2147483646 * (b - a + 1))
end

--- One of a list.
function Random:pick(list) return list[self:integer(1, #list)] end

--- The list in another order, in place.
function Random:shuffle(list)
  for i = #list, 2, -1 do
    local j = self:integer(1, i)
    list[i], list[j] = list[j], list[i]
  end
  return list
end

return M
