--- Values under schemas: is one valid, which ones are there at all?
---
--- Methods of the schema compiler. `valid` is a validator in full, but for formats:
--- a value that is not of the narrower format that texts are made of is refused.
local automaton = require "wane.schema.automaton"
local json = require "wane.json"
local node = require "wane.schema.node"
local text = require "wane.schema.text"

local M = {}

local fail = node.fail

local function any_of(self, list, v, path)
  local n = 0
  for _, x in ipairs(list) do
    if self:valid(x, v, path) then n = n + 1 end
  end
  return n
end

local function valid_string(self, m, v, path)
  local length = #text.points(v)
  if length < (m.minLength or 0) or length > (m.maxLength or math.huge) then return false end
  for _, p in ipairs(self:patterns_of(m, path)) do
    local matches = automaton.matches(p[1], v)
    if p.format and not matches then fail(path .. "/format", ("is '%s' of the format?"):format(v:sub(1, 40))) end
    if matches == (p.negate or false) then return false end
  end
  return true
end

local function valid_number(m, v)
  if v < (m.minimum or -math.huge) or v > (m.maximum or math.huge) then return false end
  if v <= (m.exclusiveMinimum or -math.huge) or v >= (m.exclusiveMaximum or math.huge) then return false end
  if m.multipleOf then
    local q = v / m.multipleOf
    return q == math.floor(q)
  end
  return true
end

local function valid_array(self, m, v, path)
  if #v < (m.minItems or 0) or #v > (m.maxItems or math.huge) then return false end
  local prefix, rest = self:item_schemas(m)
  local found, seen = 0, {}
  for i, x in ipairs(v) do
    local s = prefix[i]
    if s == nil then s = rest end
    if not self:valid(s, x, path .. "/items") then return false end
    if m.contains ~= nil and self:valid(m.contains, x, path .. "/contains") then found = found + 1 end
    local key = node.canonical(x)
    if m.uniqueItems == true and seen[key] then return false end
    seen[key] = true
  end
  return m.contains == nil or (found >= (m.minContains or 1) and found <= (m.maxContains or math.huge))
end

local function valid_object(self, m, v, path)
  if #v.keys < (m.minProperties or 0) or #v.keys > (m.maxProperties or math.huge) then return false end
  for _, name in ipairs(m.required or {}) do
    if v.map[name] == nil then return false end
  end
  for _, name in ipairs(v.keys) do
    if not self:valid(self:property_schema(m, name, path), v.map[name], path .. "/properties/" .. name) then return false end
  end
  return true
end

local function holds(list, v)
  for _, x in ipairs(list) do
    if node.canonical(x) == node.canonical(v) then return true end
  end
  return false
end

-- Keywords that hold schemas around the value.
local function valid_around(self, m, v, path)
  if m["$ref"] ~= nil and not self:valid(self:resolve(m["$ref"], path), v, path) then return false end
  for _, x in ipairs(m.allOf or {}) do
    if not self:valid(x, v, path) then return false end
  end
  if m.anyOf and any_of(self, m.anyOf, v, path) == 0 then return false end
  if m.oneOf and any_of(self, m.oneOf, v, path) ~= 1 then return false end
  if m["not"] ~= nil and self:valid(m["not"], v, path) then return false end
  if m["if"] ~= nil then
    local branch = m[self:valid(m["if"], v, path) and "then" or "else"]
    if branch ~= nil and not self:valid(branch, v, path) then return false end
  end
  for _, way in ipairs(m[node.WAYS] or {}) do
    local n = any_of(self, way.list, v, path)
    if n == 0 or (way.one and n ~= 1) then return false end
  end
  return true
end

local function valid_dependencies(self, m, v, path)
  for _, key in ipairs { "dependentRequired", "dependentSchemas", "dependencies" } do
    for _, name in ipairs(m[key] and m[key].keys or {}) do
      local s = m[key].map[name]
      if node.is_list(s) then s = node.of("required", s) end
      if v.map[name] ~= nil and not self:valid(s, v, path) then return false end
    end
  end
  return true
end

--- Is the value valid under the schema, flat or as it was given?
function M:valid(s, v, path)
  self:step(path)
  if type(s) == "boolean" then return s end
  self:flat(s, path, 0) -- of the shapes that keywords must have
  if not node.is_node(s) then return true end
  local m, t = {}, node.type_of(v)
  for _, key in ipairs(s.keys) do m[key] = node.shaped(key, s.map[key], path) end
  local types = node.types(s, path)
  if types and not (types[t] or (t == "integer" and types.number)) then return false end
  if m.enum and not holds(m.enum, v) then return false end
  if m.const ~= nil and not holds({ m.const }, v) then return false end
  if m[node.OTHER_THAN] and holds(m[node.OTHER_THAN], v) then return false end
  if not valid_around(self, m, v, path) then return false end
  if t == "string" then return valid_string(self, m, v, path) end
  if t == "integer" or t == "number" then return valid_number(m, v) end
  if t == "array" then return valid_array(self, m, v, path) end
  if t == "object" then return valid_object(self, m, v, path) and valid_dependencies(self, m, v, path) end
  return true
end

-- ---- all the values there are -----------------------------------------------------

local function whole_numbers(m, limit)
  local low, high = m.minimum, m.maximum
  if m.exclusiveMinimum then low = math.max(low or -math.huge, math.floor(m.exclusiveMinimum) + 1) end
  if m.exclusiveMaximum then high = math.min(high or math.huge, math.ceil(m.exclusiveMaximum) - 1) end
  if not low or not high or high - low >= limit then return nil end
  local out = {}
  for v = math.ceil(low) + 0, math.floor(high) do out[#out + 1] = v end
  return out
end

-- What the type and enum keywords leave, each to be tested.
local function candidates(self, s, path, limit)
  if s.map.enum then return node.is_list(s.map.enum) and s.map.enum or nil end
  local ways = s.map[node.WAYS]
  if ways and ways[1] then
    local out = {}
    for _, x in ipairs(ways[1].list) do
      local some = self:finite(x, path, limit)
      if not some then return nil end
      for _, v in ipairs(some) do out[#out + 1] = v end
    end
    return out
  end
  local out = {}
  for _, t in ipairs(node.TYPES) do
    local types = node.types(s, path)
    if types == nil then return nil end
    if types[t] then
      local some = t == "boolean" and { true, false } or t == "null" and { json.null } or t == "integer" and whole_numbers(s.map, limit)
      if not some then return nil end
      for _, v in ipairs(some) do out[#out + 1] = v end
    end
  end
  return out
end

--- The values that are valid under a schema, when they are finitely many and at
--- most `limit`; nil otherwise.
function M:finite(s, path, limit)
  self:step(path)
  local given = s
  s = self:flat(s, path, 0)
  if self.loose[given] or s == true then return nil end
  if s == false then return {} end
  local list = candidates(self, s, path, limit)
  if not list then return nil end
  local out, seen = {}, {}
  for _, v in ipairs(list) do
    local key = node.canonical(v)
    if not seen[key] and self:valid(s, v, path) then out[#out + 1] = v end
    seen[key] = true
  end
  if #out > limit then return nil end
  return out
end

--- The schema of an object's property of that name: those that are listed for it
--- and whose pattern matches, or that of additional ones.
function M:property_schema(m, name, path)
  local out, found = true, false
  local function also(s)
    out = found and self:both(out, s) or s
    found = true
  end
  if m.properties and m.properties.map[name] ~= nil then also(m.properties.map[name]) end
  for _, p in ipairs(m.patternProperties and m.patternProperties.keys or {}) do
    if automaton.matches(self:pattern(p, path .. "/patternProperties"), name) then also(m.patternProperties.map[p]) end
  end
  if not found and m.additionalProperties ~= nil then also(m.additionalProperties) end
  if m.propertyNames ~= nil and not self:valid(m.propertyNames, name, path .. "/propertyNames") then return false end
  return out
end

--- Is there a pattern among patternProperties that the name matches?
function M:has_pattern_for(m, name, path)
  for _, p in ipairs(m.patternProperties and m.patternProperties.keys or {}) do
    if automaton.matches(self:pattern(p, path .. "/patternProperties"), name) then return true end
  end
  return false
end

--- The schemas of an array's first items, and of those behind them.
function M.item_schemas(_, m)
  local prefix, rest = m.prefixItems, m.items
  if node.is_list(rest) and #rest > 0 then prefix, rest = rest, m.additionalItems end
  if rest == nil then rest = true end
  return prefix or {}, rest
end

return M
