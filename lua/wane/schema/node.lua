--- Schemas as nodes: { keys = { names in order }, map = { name = value } }. Lists
--- are plain tables, scalars are themselves, null is json.null. Used by the schema
--- compiler's files.
local json = require "wane.json"
local keys = require "wane.keys"

local unpack = table.unpack or unpack -- luacheck: ignore

local M = {}

local MAX_DEPTH = 128
local Node = {}

--- Ends the compilation. Codes: "EUNSUP" (cannot be expressed), "EFORMAT" (not a
--- schema), "ELIMIT", and "EMPTY" where no value is valid.
function M.fail(path, what, code)
  error({ schema = ("schema: %s: %s"):format(path == "" and "/" or path, what), code = code or "EUNSUP" }, 0)
end

function M.is_node(v) return getmetatable(v) == Node end
function M.new() return setmetatable({ keys = {}, map = {} }, Node) end

--- Sets a key; a new one comes last.
function M.set(n, key, value)
  if n.map[key] == nil then n.keys[#n.keys + 1] = key end
  n.map[key] = value
end

--- A node of pairs key, value, ...
function M.of(...)
  local n = M.new()
  for i = 1, select("#", ...), 2 do M.set(n, (select(i, ...)), (select(i + 1, ...))) end
  return n
end

--- A copy without the keys that `drop` holds.
function M.without(s, drop)
  local n = M.new()
  for _, key in ipairs(s.keys) do
    if not drop[key] then M.set(n, key, s.map[key]) end
  end
  return n
end

--- Is it a list (an empty table may be either)?
function M.is_list(v) return type(v) == "table" and v ~= json.null and not M.is_node(v) end

local IS_VALUE = { string = true, number = true, boolean = true, table = true }

--- Values of wane.json (ordered) or plain Lua tables as nodes and lists.
function M.convert(v, path, depth)
  if v == json.null then return v end
  if not IS_VALUE[type(v)] then M.fail(path, "want a value that JSON has, got a " .. type(v), "EFORMAT") end
  if v ~= v then M.fail(path, "want a number, got nan", "EFORMAT") end
  if v == 0 then return 0 end -- not the one below 0
  if type(v) ~= "table" then return v end
  if depth > MAX_DEPTH then M.fail(path, "over 128 levels deep", "ELIMIT") end
  local kind = getmetatable(v)
  if kind == json.ORDERED then
    local n = M.new()
    for _, pair in ipairs(v) do M.set(n, pair[1], M.convert(pair[2], path .. "/" .. pair[1], depth + 1)) end
    return n
  end
  if kind == json.LIST or (kind ~= json.OBJECT and #v > 0) then
    local list = {}
    for i, x in ipairs(v) do list[i] = M.convert(x, path .. "/" .. (i - 1), depth + 1) end
    return list
  end
  local n, names = M.new(), keys.of(v)
  for _, key in ipairs(names) do
    if type(key) ~= "string" then M.fail(path, "a key that is no string", "EFORMAT") end
  end
  table.sort(names)
  for _, key in ipairs(names) do M.set(n, key, M.convert(v[key], path .. "/" .. key, depth + 1)) end
  return n
end

-- Back to what wane.json writes; `sorted`: keys by name.
local function plain(v, sorted)
  if M.is_node(v) then
    local out, order = {}, v.keys
    if sorted then
      order = { unpack(order) }
      table.sort(order)
    end
    for i, key in ipairs(order) do out[i] = { key, plain(v.map[key], sorted) } end
    return json.ordered(out)
  elseif M.is_list(v) then
    local out = {}
    for i, x in ipairs(v) do out[i] = plain(x, sorted) end
    return json.list(out)
  end
  return v
end

--- A value as JSON text, keys in their order.
function M.encoded(v) return json.encode(plain(v)) end

--- JSON text that is the same for equal values only.
function M.canonical(v)
  if type(v) == "number" and v == math.floor(v) and math.abs(v) < 1e15 then return ("%.0f"):format(v) end
  return json.encode(plain(v, true))
end

M.TYPES = { "object", "array", "string", "number", "integer", "boolean", "null" }
M.IS_TYPE = {}
for _, t in ipairs(M.TYPES) do M.IS_TYPE[t] = true end

--- The JSON type of a value; "integer" for whole numbers.
function M.type_of(v)
  if v == json.null then return "null" end
  if M.is_node(v) then return "object" end
  local t = type(v)
  if t == "table" then return "array" end
  if t == "number" then return v == math.floor(v) and "integer" or "number" end
  return t
end

--- The types of a schema as a set; nil: all.
function M.types(s, path)
  local t = s.map.type
  if t == nil then return nil end
  local out = {}
  for _, name in ipairs(type(t) == "table" and t or { t }) do
    if not M.IS_TYPE[name] then M.fail(path .. "/type", "unknown type " .. tostring(name), "EFORMAT") end
    out[name] = true
  end
  return out
end

-- The type that a keyword is about.
M.ABOUT = {
  properties = "object", required = "object", additionalProperties = "object", minProperties = "object",
  maxProperties = "object", propertyNames = "object", patternProperties = "object", items = "array",
  prefixItems = "array", additionalItems = "array", minItems = "array", maxItems = "array", uniqueItems = "array",
  contains = "array", minContains = "array", maxContains = "array", minLength = "string", maxLength = "string",
  pattern = "string", format = "string", minimum = "number", maximum = "number", exclusiveMinimum = "number",
  exclusiveMaximum = "number", multipleOf = "number",
}

-- Keywords that hold schemas around the value, or values.
M.AROUND = {}
for name in ([[type enum const $ref allOf anyOf oneOf not if then else dependencies dependentRequired
  dependentSchemas]]):gmatch "%S+" do M.AROUND[name] = true end

--- Keywords that mean something and are not taken.
M.REFUSED = { unevaluatedProperties = true, unevaluatedItems = true, ["$dynamicRef"] = true, ["$recursiveRef"] = true }

-- What the compiler itself adds: no schema has keys that begin with a tab.
M.WAYS, M.PATTERNS, M.OTHER_THAN = "\tways", "\tpatterns", "\tother than"
M.AROUND[M.WAYS], M.ABOUT[M.PATTERNS], M.ABOUT[M.OTHER_THAN] = true, "string", "string"

local NUMBERS, OBJECTS = {}, { properties = true, patternProperties = true, dependentRequired = true, dependentSchemas = true, dependencies = true }
for name in ("minimum maximum exclusiveMinimum exclusiveMaximum multipleOf"):gmatch "%S+" do NUMBERS[name] = true end
local COUNTS = {}
for name in ("minLength maxLength minItems maxItems minContains maxContains minProperties maxProperties"):gmatch "%S+" do COUNTS[name] = true end

-- A list of names, without those that are there twice.
local function names(v, path)
  local out, seen = {}, {}
  if not M.is_list(v) then M.fail(path, "want a list of names", "EFORMAT") end
  for _, name in ipairs(v) do
    if type(name) ~= "string" then M.fail(path, "want a list of names", "EFORMAT") end
    if not seen[name] then out[#out + 1] = name end
    seen[name] = true
  end
  return out
end

--- The value of a keyword, of the shape it must have.
function M.shaped(key, v, path)
  path = path .. "/" .. key
  if NUMBERS[key] then
    if type(v) ~= "number" then M.fail(path, "want a number", "EFORMAT") end
    if key == "multipleOf" and v <= 0 then M.fail(path, "want a number above 0", "EFORMAT") end
  elseif COUNTS[key] then
    if type(v) ~= "number" or v < 0 or v ~= math.floor(v) then M.fail(path, "want a whole number", "EFORMAT") end
  elseif OBJECTS[key] then
    if M.is_list(v) and #v == 0 then return M.new() end
    if not M.is_node(v) then M.fail(path, "want an object", "EFORMAT") end
  elseif key == "required" then
    return names(v, path)
  elseif key == "enum" or key == "prefixItems" then
    if not M.is_list(v) then M.fail(path, "want a list", "EFORMAT") end
  elseif (key == "pattern" or key == "format") and type(v) ~= "string" then
    M.fail(path, "want a string", "EFORMAT")
  end
  return v
end

-- Keywords that hold a schema, or several: by number or by name.
local HOLD_SCHEMAS = {}
for name in ([[additionalProperties propertyNames items additionalItems contains not if then else unevaluatedProperties
  unevaluatedItems prefixItems allOf anyOf oneOf properties patternProperties $defs definitions dependentSchemas
  dependencies]]):gmatch "%S+" do HOLD_SCHEMAS[name] = true end
local BY_NAME = { properties = true, patternProperties = true, ["$defs"] = true, definitions = true, dependentSchemas = true,
  dependencies = true }

--- A schema and all that it holds without some keywords; left(path) is called for
--- each. What only a $ref to an odd place would find is not looked at.
function M.leave_out(s, drop, path, left)
  if M.is_list(s) then
    local list = {}
    for i, x in ipairs(s) do list[i] = M.leave_out(x, drop, path .. "/" .. (i - 1), left) end
    return list
  elseif not M.is_node(s) then
    return s
  end
  local out = M.new()
  for _, key in ipairs(s.keys) do
    local v, here = s.map[key], path .. "/" .. key
    if drop[key] then
      left(here)
    elseif BY_NAME[key] and M.is_node(v) then
      local named = M.new()
      for _, name in ipairs(v.keys) do M.set(named, name, M.leave_out(v.map[name], drop, here .. "/" .. name, left)) end
      M.set(out, key, named)
    else
      M.set(out, key, HOLD_SCHEMAS[key] and M.leave_out(v, drop, here, left) or v)
    end
  end
  return out
end

--- Does the keyword say anything about values?
function M.counts(key) return M.ABOUT[key] ~= nil or M.AROUND[key] ~= nil or M.REFUSED[key] ~= nil end

--- Is there a keyword that counts, beside the given one?
function M.has_more(s, but)
  for _, key in ipairs(s.keys) do
    if key ~= but and M.counts(key) then return true end
  end
  return false
end

return M
