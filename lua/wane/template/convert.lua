--- Chat templates: values of Lua become values of templates.
local M = {}

local V = require "wane.template.value"

--- Metatables that tell lists and ordered objects from plain tables, and what
--- stands for none (template.lua).
M.LIST, M.ORDERED, M.FLOAT, M.NULL = {}, {}, {}, {}

--- A number that is a float although it is whole.
function M.float(n) return setmetatable({ n }, M.FLOAT) end

local from

local function from_list(t, outside, level)
  local out = {}
  local n = #t
  for i = 1, n do out[i] = from(t[i], outside, level + 1) end
  return V.array(out, n)
end

--- An object that knows its order: { { key, value }, ... }.
local function from_ordered(t, outside, level)
  local obj = V.object()
  for i = 1, #t do
    if type(t[i][1]) ~= "string" then error("wane: template: keys of an object are strings", 0) end
    V.set(obj, t[i][1], from(t[i][2], outside, level + 1))
  end
  return obj
end

--- Plain tables have no order: keys go by name.
local function from_table(t, outside, level)
  local names, obj = {}, V.object()
  for name in pairs(t) do
    if type(name) ~= "string" then error("wane: template: keys of an object are strings", 0) end
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do V.set(obj, name, from(t[name], outside, level + 1)) end
  return obj
end

--- A template value of a Lua value; values of this module pass. Strings are
--- marked when `outside`.
function from(v, outside, level)
  local t = type(v)
  if level > 100 then error("wane: template: a value nests deeper than 100", 0) end
  if t == "nil" then return V.NONE end
  if t == "boolean" then return v end
  if t == "string" then return outside and V.outside(v) or v end
  if t == "number" then
    if v == math.floor(v) and v > -2 ^ 63 and v < 2 ^ 63 then return v end
    return { k = "float", n = v }
  end
  if t ~= "table" then error("wane: template: a " .. t .. " is no value", 0) end
  local meta = getmetatable(v)
  if meta == M.LIST then return from_list(v, outside, level) end
  if meta == M.ORDERED then return from_ordered(v, outside, level) end
  if meta == M.FLOAT then return { k = "float", n = v[1] } end
  if v == M.NULL then return V.NONE end
  if v[1] ~= nil then return from_list(v, outside, level) end
  return from_table(v, outside, level)
end

function M.from_lua(v, outside)
  return from(v, outside, 0)
end

return M
