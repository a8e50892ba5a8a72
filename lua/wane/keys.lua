--- The keys of a table as a list: what is written, converted or shown in an
--- order sorts them, and what calls itself for every member goes by this list.
---
--- By next(), not by a loop over pairs(): LuaJIT 2.1.0-beta3 (Debian's) compiles
--- such a loop in a function that calls itself so that now and then it ends
--- before the first member: values 25 levels deep lost what lay below
--- (spec/regress/064).
local M = {}

--- In any order.
---@param t table
---@return any[]
function M.of(t)
  local list, key = {}, next(t)
  while key ~= nil do
    list[#list + 1] = key
    key = next(t, key)
  end
  return list
end

--- Sorted: all of one kind, strings or numbers.
---@param t table
---@return any[]
function M.sorted(t)
  local list = M.of(t)
  table.sort(list)
  return list
end

return M
