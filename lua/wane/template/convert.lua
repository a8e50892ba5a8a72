--- Chat templates: values of Lua become values of templates.
local M = {}

local V = require "wane.template.value"
local big = require "wane.template.big"
local keys = require "wane.keys"
local options = require "wane.options"

local DIGITS = options.type("decimal digits in a string", function(v) return type(v) == "string" and v:find "^-?%d+$" ~= nil end)

--- Metatables that tell lists and ordered objects from plain tables, and what
--- stands for none (template.lua).
M.LIST, M.ORDERED, M.FLOAT, M.INTEGER, M.NULL = {}, {}, {}, {}, {}

--- A number that is a float although it is whole.
function M.float(n)
  options.argument("template.float", "n", n, "number")
  return setmetatable({ n }, M.FLOAT)
end

--- An integer by its decimal digits, exact however long.
function M.integer(digits)
  options.argument("template.integer", "digits", digits, DIGITS)
  return setmetatable({ digits }, M.INTEGER)
end

local from

local function from_list(t, outside, level)
  local out = {}
  local n = #t
  for i = 1, n do out[i] = from(t[i], outside, level + 1) end
  return V.array(out, n)
end

--- Whether a field is a role of a message: the program's word, not the user's;
--- templates build control tokens from it. Only a plain word passes, so that
--- nothing can hide in it.
local function is_role(key, v)
  return key == "role" and type(v) == "string" and #v <= 32 and v:find "^[A-Za-z][A-Za-z0-9_-]*$" ~= nil
end

--- Keys come from outside as well.
local function key_of(key, outside)
  return outside and V.outside(key) or key
end

--- An object that knows its order: { { key, value }, ... }.
local function from_ordered(t, outside, level)
  local obj = V.object()
  for i = 1, #t do
    if type(t[i][1]) ~= "string" then error("wane: template: keys of an object are strings", 0) end
    V.set(obj, key_of(t[i][1], outside), from(t[i][2], outside and not is_role(t[i][1], t[i][2]), level + 1))
  end
  return obj
end

--- Plain tables have no order: keys go by name.
local function from_table(t, outside, level)
  local names, obj = keys.of(t), V.object()
  for _, name in ipairs(names) do
    if type(name) ~= "string" then error("wane: template: keys of an object are strings", 0) end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    V.set(obj, key_of(name, outside), from(t[name], outside and not is_role(name, t[name]), level + 1))
  end
  return obj
end

local number_type = rawget(math, "type")

--- An integer of any size of Lua, without a detour through a double.
local function from_number(v)
  if number_type and number_type(v) == "integer" then
    if v > -2 ^ 53 and v < 2 ^ 53 then return v + 0.0 end
    return big.parse(("%d"):format(v))
  end
  if v == math.floor(v) and v > -2 ^ 63 and v < 2 ^ 63 then return big.from_float(v) end
  return { k = "float", n = v }
end

--- A template value of a Lua value. Strings are marked when `outside`.
function from(v, outside, level)
  local t = type(v)
  if level > 100 then error("wane: template: a value nests deeper than 100", 0) end
  if t == "nil" then return V.NONE end
  if t == "boolean" then return v end
  if t == "string" then return outside and V.outside(v) or v end
  if t == "number" then return from_number(v) end
  if t ~= "table" then error("wane: template: a " .. t .. " is no value", 0) end
  local meta = getmetatable(v)
  if meta == M.LIST then return from_list(v, outside, level) end
  if meta == M.ORDERED then return from_ordered(v, outside, level) end
  if meta == M.FLOAT then return { k = "float", n = v[1] } end
  if meta == M.INTEGER then return big.parse(v[1]) end
  if v == M.NULL then return V.NONE end
  if v[1] ~= nil then return from_list(v, outside, level) end
  return from_table(v, outside, level)
end

function M.from_lua(v, outside)
  return from(v, outside, 0)
end

return M
