--- Objects as grammar text. Methods of the schema compiler.
---
--- Properties come in the schema's order: those it names, then others, whose
--- names are told apart by the patterns they match. Where their number is bounded
--- there is a rule for each property and count. The same other name may come
--- twice, so that only one of them is sure to count.
local json = require "wane.json"
local node = require "wane.schema.node"
local text = require "wane.schema.text"

local M = {}

local unpack = table.unpack or unpack -- luacheck: ignore

local fail = node.fail
local MAX_NAMES, MAX_COUNTED = 256, 20000

-- Properties beyond those that are listed may come.
local function is_open(self, m, path)
  if m.additionalProperties ~= nil then return self:flat(m.additionalProperties, path .. "/additionalProperties", 0) ~= false end
  return not (m.properties and #m.properties.keys > 0) and not (m.required and #m.required > 0)
    and not (m.patternProperties and #m.patternProperties.keys > 0)
end

-- Names in order; second: propertyNames leaves no others.
local function names_of(self, m, path)
  local out, seen, closed = {}, {}, false
  local function add(name)
    if not seen[name] then out[#out + 1] = name end
    seen[name] = true
  end
  for _, name in ipairs(m.properties and m.properties.keys or {}) do add(name) end
  for _, name in ipairs(m.required or {}) do add(name) end
  if m.propertyNames ~= nil then
    local few = self:finite(m.propertyNames, path .. "/propertyNames", MAX_NAMES)
    closed = few ~= nil
    for _, name in ipairs(few or {}) do
      if type(name) == "string" then add(name) end
    end
  end
  return out, closed
end

-- Members in order: { name, rule, required }.
local function members_of(self, m, names, path, depth)
  local out, is_required = {}, {}
  for _, name in ipairs(m.required or {}) do is_required[name] = true end
  for _, name in ipairs(names) do
    local listed = m.properties and m.properties.map[name] ~= nil
    local here = path .. (listed and "/properties/" or is_required[name] and "/required/" or "/propertyNames/") .. name
    local value = self:try(self:property_schema(m, name, path), here, depth + 1)
    if value then
      out[#out + 1] = { required = is_required[name], rule = self:rule(text.literal(json.encode(name)) .. ' ws ":" ws ' .. value) }
    elseif is_required[name] then
      fail(here, "required, but nothing is allowed", "EMPTY")
    end
  end
  return out
end

-- What propertyNames says of names that are not listed: keywords of strings.
local function name_rules(self, m, path)
  if m.propertyNames == nil then return {} end
  local s = self:flat(m.propertyNames, path .. "/propertyNames", 0)
  if s == true then return {} end
  if s.map[node.WAYS] then fail(path .. "/propertyNames", "not supported with anyOf, oneOf or if") end
  return s.map
end

-- One kind of other properties: names that match one pattern and no other, or
-- none at all.
local function kind(self, names, about, pattern, patterns, value, path)
  local parts = {}
  for _, p in ipairs(patterns) do parts[#parts + 1] = { self:pattern(p, path), negate = p ~= pattern } end
  local key
  if #parts == 0 and #names == 0 and next(about) == nil then
    key = self:fixed "string"
  else
    local except = { unpack(names) }
    for _, name in ipairs(about[node.OTHER_THAN] or {}) do except[#except + 1] = name end
    key = self:inside(about, except, parts, true, path)
    key = key and '"\\"" ' .. key .. ' "\\""'
  end
  return key and self:rule(key .. ' ws ":" ws ' .. value)
end

-- A rule for one property that is not listed; nil when there is none.
local function other_of(self, m, names, path, depth)
  local about = name_rules(self, m, path)
  local patterns, out = m.patternProperties and m.patternProperties.keys or {}, {}
  for _, p in ipairs(patterns) do
    local here = path .. "/patternProperties/" .. p
    local value = self:try(m.patternProperties.map[p], here, depth + 1)
    out[#out + 1] = value and kind(self, names, about, p, patterns, value, here)
  end
  if is_open(self, m, path) then
    local extra = m.additionalProperties
    if extra == nil then extra = true end
    local value = self:try(extra, path .. "/additionalProperties", depth + 1)
    out[#out + 1] = value and kind(self, names, about, nil, patterns, value, path .. "/additionalProperties")
  end
  if #out == 0 then return nil end
  return #out == 1 and out[1] or self:rule(table.concat(out, " | "))
end

-- All members in order, then others, in any number.
local function uncounted(self, members, other)
  local rest = other and ('("," ws %s)*'):format(other) or ""
  local first = other and ('(%s ("," ws %s)*)?'):format(other, other) or ""
  for i = #members, 1, -1 do
    local x = members[i]
    local here_rest = i < #members and self:rule(rest) or rest
    first = x.required and x.rule .. " " .. here_rest or ("(%s %s | %s)"):format(x.rule, here_rest, first == "" and '""' or self:rule(first))
    rest = ('("," ws %s)%s %s'):format(x.rule, x.required and "" or "?", here_rest)
  end
  return first
end

-- The same, min to max of them: a rule for each member and count.
local function counted(self, members, other, min, max, path)
  local cap = math.max(max < math.huge and max or min, 1)
  if (#members + 1) * (cap + 1) > MAX_COUNTED then fail(path, "too many properties to count", "ELIMIT") end
  local memo = {}
  local function others(n)
    local need, room = math.max(min - n, 0), max - n
    if need == 0 and (not other or room == 0) then return '""' end
    if need > 1 or not other or room < need then return nil end
    if n > 0 then return ('("," ws %s)%s'):format(other, text.times(need, room < math.huge and room or nil)) end
    local out = other .. (room > 1 and (' ("," ws %s)%s'):format(other, text.times(0, room < math.huge and room - 1 or nil)) or "")
    return need > 0 and out or "(" .. out .. ")?"
  end
  local function from(i, n)
    self:step(path)
    local key = i .. "," .. n
    if memo[key] ~= nil then return memo[key] end
    local out = false
    if i > #members then
      out = others(n) or false
    else
      local x, ways = members[i], {}
      local with = n < max and from(i + 1, math.min(n + 1, cap))
      if with then ways[1] = (n > 0 and '"," ws ' or "") .. x.rule .. " " .. with end
      local without = not x.required and from(i + 1, n)
      if without then ways[#ways + 1] = without end
      if #ways > 0 then out = self:rule(table.concat(ways, " | ")) end
    end
    memo[key] = out
    return out
  end
  return from(1, 0) or fail(path .. (min > 0 and "/minProperties" or "/maxProperties"), "cannot be met, or only by properties that are not listed",
    other and "EUNSUP" or "EMPTY")
end

function M:object(s, path, depth)
  local m = s.map
  self:fixed "ws"
  local min, max = m.minProperties or 0, m.maxProperties or math.huge
  if min > max then fail(path, "minProperties is above maxProperties", "EMPTY") end
  if max == 0 and not (m.required and #m.required > 0) then return '"{" ws "}"' end
  local names, closed = names_of(self, m, path)
  local members = members_of(self, m, names, path, depth)
  local other = not closed and other_of(self, m, names, path, depth) or nil
  local sure = 0
  for _, x in ipairs(members) do sure = sure + (x.required and 1 or 0) end
  local body
  if min > sure or max < (other and math.huge or #members) then
    body = counted(self, members, other, min, max, path)
  else
    body = uncounted(self, members, other)
  end
  return '"{" ws ' .. body .. ' ws "}"'
end

return M
