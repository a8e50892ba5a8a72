--- JSON Schema (drafts 7 and 2020-12) as a grammar for generated text.
---
--- What it guarantees: every text of the grammar is valid under the schema. What
--- cannot be expressed is refused with its path - nil, "schema: /properties/x:
--- ...", "EUNSUP" - and never left out. The grammar may be narrower than the
--- schema: properties come in the schema's order, those it does not name come
--- only where additionalProperties says so, numbers have at most 15 digits.
---
---     local schema = require "wane.schema"
---     local grammar = assert(schema.compile '{"type": "object", "properties": {"age": {"type": "integer"}}}')
---     for text in model:generate("As JSON: ", { grammar = grammar }) do io.write(text) end
local M = {}

local json = require "wane.json"
local number = require "wane.schema.number"
local regex = require "wane.schema.regex"
local text = require "wane.schema.text"

local MAX_DEPTH, MAX_WAYS, MAX_STEPS = 128, 256, 300000

-- ---- schemas as nodes: { keys = { names in order }, map = { name = value } } ----

local Node = {}

local function fail(path, what, code) error({ schema = ("schema: %s: %s"):format(path == "" and "/" or path, what), code = code or "EUNSUP" }, 0) end

local function is_node(v) return getmetatable(v) == Node end
local function new_node() return setmetatable({ keys = {}, map = {} }, Node) end
local function set(n, key, value)
  if n.map[key] == nil then n.keys[#n.keys + 1] = key end
  n.map[key] = value
end

-- Values of wane.json (ordered) or plain Lua tables as nodes and lists.
local function convert(v, path, depth)
  if type(v) ~= "table" or v == json.null then return v end
  if depth > MAX_DEPTH then fail(path, "over 128 levels deep", "ELIMIT") end
  local kind = getmetatable(v)
  if kind == json.ORDERED then
    local n = new_node()
    for _, pair in ipairs(v) do set(n, pair[1], convert(pair[2], path .. "/" .. pair[1], depth + 1)) end
    return n
  end
  if kind == json.LIST or (kind ~= json.OBJECT and #v > 0) then
    local list = {}
    for i, x in ipairs(v) do list[i] = convert(x, path .. "/" .. (i - 1), depth + 1) end
    return list
  end
  local n, names = new_node(), {}
  for key in pairs(v) do
    if type(key) ~= "string" then fail(path, "a key that is no string", "EFORMAT") end
    names[#names + 1] = key
  end
  table.sort(names)
  for _, key in ipairs(names) do set(n, key, convert(v[key], path .. "/" .. key, depth + 1)) end
  return n
end

-- Back to what wane.json writes.
local function plain(v)
  if is_node(v) then
    local out = {}
    for i, key in ipairs(v.keys) do out[i] = { key, plain(v.map[key]) } end
    return json.ordered(out)
  elseif type(v) == "table" and v ~= json.null then
    local out = {}
    for i, x in ipairs(v) do out[i] = plain(x) end
    return json.list(out)
  end
  return v
end

local function encoded(v) return json.encode(plain(v)) end

-- ---- what keywords mean -------------------------------------------------------

local ANNOTATIONS = {}
for name in ([[title description default examples $schema $id $comment deprecated readOnly writeOnly $defs definitions
  $anchor contentMediaType contentEncoding contentSchema $vocabulary]]):gmatch "%S+" do ANNOTATIONS[name] = true end

local REFUSED = {}
for name in ([[not if then else dependentRequired dependentSchemas dependencies patternProperties unevaluatedProperties
  unevaluatedItems contains minContains maxContains $dynamicRef $recursiveRef]]):gmatch "%S+" do REFUSED[name] = true end

-- The type that a keyword is about.
local ABOUT = {
  properties = "object", required = "object", additionalProperties = "object", minProperties = "object",
  maxProperties = "object", propertyNames = "object", items = "array", prefixItems = "array", additionalItems = "array",
  minItems = "array", maxItems = "array", uniqueItems = "array", minLength = "string", maxLength = "string",
  pattern = "string", format = "string", minimum = "number", maximum = "number", exclusiveMinimum = "number",
  exclusiveMaximum = "number", multipleOf = "number",
}
local TYPES = { "object", "array", "string", "number", "integer", "boolean", "null" }
local IS_TYPE = {}
for _, t in ipairs(TYPES) do IS_TYPE[t] = true end

local function type_of(v)
  if v == json.null then return "null" end
  if is_node(v) then return "object" end
  local t = type(v)
  if t == "table" then return "array" end
  if t == "number" then return v == math.floor(v) and "integer" or "number" end
  return t
end

-- The types of a schema as a set; nil: all.
local function types_of(s, path)
  local t = s.map.type
  if t == nil then return nil end
  local out = {}
  for _, name in ipairs(type(t) == "table" and t or { t }) do
    if not IS_TYPE[name] then fail(path .. "/type", "unknown type " .. tostring(name), "EFORMAT") end
    out[name] = true
  end
  return out
end

local function count(s, key, path, default)
  local v = s.map[key]
  if v == nil then return default end
  if type(v) ~= "number" or v < 0 or v ~= math.floor(v) then fail(path .. "/" .. key, "want a whole number", "EFORMAT") end
  return v
end

-- ---- references and conjunctions ------------------------------------------------

local Compiler = {}
Compiler.__index = Compiler

function Compiler:step(path)
  self.steps = self.steps + 1
  if self.steps > MAX_STEPS then fail(path, "too much to work out (over 300000 steps)", "ELIMIT") end
end

function Compiler:resolve(ref, path)
  if type(ref) ~= "string" then fail(path .. "/$ref", "want a string", "EFORMAT") end
  if ref:sub(1, 1) ~= "#" then fail(path .. "/$ref", "a reference outside of the schema: " .. ref:sub(1, 80)) end
  local at, pointer = self.root, ref:sub(2)
  if pointer ~= "" and pointer:sub(1, 1) ~= "/" then fail(path .. "/$ref", "a reference by name: " .. ref:sub(1, 80)) end
  for part in pointer:gmatch "/([^/]*)" do
    part = part:gsub("%%(%x%x)", function(h) return string.char(tonumber(h, 16)) end):gsub("~1", "/"):gsub("~0", "~")
    if is_node(at) then
      at = at.map[part]
    elseif type(at) == "table" and part:match "^%d+$" then
      at = at[tonumber(part) + 1]
    else
      at = nil
    end
    if at == nil then fail(path .. "/$ref", "nothing is at " .. ref:sub(1, 80), "EFORMAT") end
  end
  return at, pointer
end

-- Is there anything beside a reference that counts?
local function has_siblings(s)
  for _, key in ipairs(s.keys) do
    if key ~= "$ref" and not ANNOTATIONS[key] then return true end
  end
  return false
end

local function both(a, b)
  local n = new_node()
  set(n, "allOf", { a, b })
  return n
end

-- How two values of one keyword are one.
local MERGE = {}
local function bigger(a, b) return math.max(a, b) end
local function smaller(a, b) return math.min(a, b) end
for _, k in ipairs { "minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties" } do MERGE[k] = bigger end
for _, k in ipairs { "maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties" } do MERGE[k] = smaller end
function MERGE.type(a, b, path)
  local s, t = new_node(), new_node()
  s.map.type, t.map.type = a, b
  local x, y, out = types_of(s, path), types_of(t, path), {}
  for _, name in ipairs(TYPES) do
    local in_x = x[name] or (name == "integer" and x.number)
    local in_y = y[name] or (name == "integer" and y.number)
    if in_x and in_y and not (name == "integer" and x.number and y.number) then out[#out + 1] = name end
  end
  return out
end
function MERGE.required(a, b)
  local out, seen = {}, {}
  for _, list in ipairs { a, b } do
    for _, name in ipairs(list) do
      if not seen[name] then out[#out + 1] = name end
      seen[name] = true
    end
  end
  return out
end
function MERGE.enum(a, b)
  local out, seen = {}, {}
  for _, v in ipairs(b) do seen[encoded(v)] = true end
  for _, v in ipairs(a) do
    if seen[encoded(v)] then out[#out + 1] = v end
  end
  return out
end
function MERGE.items(a, b) return both(a, b) end
MERGE.propertyNames = MERGE.items
function MERGE.uniqueItems(a, b) return a or b end

-- What a schema says of a property or item that it does not list.
local function merge_properties(a, b)
  local out = new_node()
  local pa, pb = a.map.properties or new_node(), b.map.properties or new_node()
  local rest_a, rest_b = a.map.additionalProperties, b.map.additionalProperties
  local function add(mine, other, other_rest)
    for _, key in ipairs(mine.keys) do
      if out.map[key] == nil then
        local v, w = mine.map[key], other.map[key]
        if w == nil then w = other_rest end
        set(out, key, (w == nil or w == true) and v or both(v, w))
      end
    end
  end
  add(pa, pb, rest_b)
  add(pb, pa, rest_a)
  return out
end

function Compiler:merge(a, b, path)
  self:step(path)
  if a == true then return b end
  if b == true then return a end
  if a == false or b == false then return false end
  local out = new_node()
  for _, key in ipairs(a.keys) do set(out, key, a.map[key]) end
  for _, key in ipairs(b.keys) do
    local x, y = a.map[key], b.map[key]
    if ANNOTATIONS[key] or x == nil then
      if x == nil then set(out, key, y) end
    elseif key == "properties" then -- below
      self:step(path)
    elseif key == "additionalProperties" then
      out.map[key] = both(x, y)
    elseif MERGE[key] then
      out.map[key] = MERGE[key](x, y, path)
    elseif encoded(x) ~= encoded(y) then
      fail(path, ("two different '%s' at one place"):format(key))
    end
  end
  if a.map.properties or b.map.properties then set(out, "properties", merge_properties(a, b)) end
  return out
end

-- A schema without $ref, allOf, const at the top; anyOf and oneOf may be left.
function Compiler:flat(s, path, depth)
  self:step(path)
  if depth > 64 then fail(path, "a $ref or allOf that leads to itself", "EFORMAT") end
  if type(s) == "boolean" then return s end
  if not is_node(s) then
    if type(s) == "table" and #s == 0 then return true end
    fail(path, "want a schema", "EFORMAT")
  end
  for _, key in ipairs(s.keys) do
    if REFUSED[key] then fail(path .. "/" .. key, "this keyword is not supported") end
  end
  local ref, all, const = s.map["$ref"], s.map.allOf, s.map.const
  if ref == nil and all == nil and const == nil then return s end
  local rest = new_node()
  for _, key in ipairs(s.keys) do
    if key ~= "$ref" and key ~= "allOf" and key ~= "const" then set(rest, key, s.map[key]) end
  end
  if const ~= nil then
    local c = new_node()
    set(c, "enum", { const })
    rest = self:merge(rest, c, path)
  end
  local out = rest
  if ref ~= nil then out = self:merge(self:flat(self:resolve(ref, path), path, depth + 1), out, path) end
  if all ~= nil then
    if type(all) ~= "table" or is_node(all) then fail(path .. "/allOf", "want a list of schemas", "EFORMAT") end
    for i, x in ipairs(all) do out = self:merge(out, self:flat(x, path .. "/allOf/" .. (i - 1), depth + 1), path) end
  end
  return out
end

-- ---- enumerations: which values does the rest of the schema take? ------------------

local function length_of(s) return #text.points(s) end

function Compiler:takes(s, v, path)
  s = self:flat(s, path, 0)
  if type(s) == "boolean" then return s end
  local m, t = s.map, type_of(v)
  local types = types_of(s, path)
  if types and not (types[t] or (t == "integer" and types.number)) then return false end
  if m.enum then
    local found = false
    for _, x in ipairs(m.enum) do found = found or encoded(x) == encoded(v) end
    if not found then return false end
  end
  if t == "string" then
    if m.pattern or m.format then fail(path, "enum together with pattern or format") end
    return length_of(v) >= (m.minLength or 0) and length_of(v) <= (m.maxLength or math.huge)
  elseif t == "integer" or t == "number" then
    if m.multipleOf then fail(path, "enum together with multipleOf") end
    return v >= (m.minimum or -math.huge) and v <= (m.maximum or math.huge)
      and v > (m.exclusiveMinimum or -math.huge) and v < (m.exclusiveMaximum or math.huge)
  elseif t == "object" or t == "array" then
    for _, key in ipairs(s.keys) do
      if ABOUT[key] == t then fail(path, ("enum of an %s together with '%s'"):format(t, key)) end
    end
  end
  if m.anyOf or m.oneOf then fail(path, "enum together with anyOf or oneOf") end
  return true
end

-- ---- alternatives ---------------------------------------------------------------

-- True when no value can satisfy both: by type, by value, or by a property that
-- one of them must have.
function Compiler:disjoint(a, b, path, depth)
  self:step(path)
  a, b = self:flat(a, path, 0), self:flat(b, path, 0)
  if a == false or b == false then return true end
  if a == true or b == true or depth > 4 then return false end
  if a.map.anyOf or a.map.oneOf or b.map.anyOf or b.map.oneOf then return false end
  if a.map.enum then
    for _, v in ipairs(a.map.enum) do
      if self:takes(b, v, path) then return false end
    end
    return true
  end
  if b.map.enum then return self:disjoint(b, a, path, depth) end
  local x, y = types_of(a, path), types_of(b, path)
  if not x or not y then return false end
  local shared
  for _, t in ipairs(TYPES) do
    if (x[t] or (t == "integer" and x.number)) and (y[t] or (t == "integer" and y.number)) then shared = shared and "many" or t end
  end
  if not shared then return true end
  if shared ~= "object" then return false end
  local pa, pb = a.map.properties or new_node(), b.map.properties or new_node()
  for _, pair in ipairs { { a, pa, b, pb }, { b, pb, a, pa } } do
    for _, name in ipairs(pair[1].map.required or {}) do
      local mine, other = pair[2].map[name], pair[4].map[name]
      if other == nil and pair[3].map.additionalProperties == false then return true end
      if mine ~= nil and other ~= nil and self:disjoint(mine, other, path, depth + 1) then return true end
    end
  end
  return false
end

-- The alternatives of anyOf and oneOf, each with the rest of the schema.
function Compiler:ways(s, path)
  local kind = s.map.anyOf and "anyOf" or "oneOf"
  local list = s.map[kind]
  if type(list) ~= "table" or is_node(list) or #list == 0 then fail(path .. "/" .. kind, "want a list of schemas", "EFORMAT") end
  if #list > MAX_WAYS then fail(path .. "/" .. kind, "over 256 alternatives", "ELIMIT") end
  local rest, out = new_node(), {}
  for _, key in ipairs(s.keys) do
    if key ~= kind then set(rest, key, s.map[key]) end
  end
  for i, x in ipairs(list) do
    local here = path .. "/" .. kind .. "/" .. (i - 1)
    for k = 1, kind == "oneOf" and i - 1 or 0 do
      if not self:disjoint(list[k], x, path, 0) then
        fail(path .. "/oneOf", ("alternatives %d and %d may both match"):format(k - 1, i - 1))
      end
    end
    out[i] = { schema = has_siblings(rest) and both(x, rest) or x, path = here }
  end
  return out
end

-- ---- grammar ------------------------------------------------------------------------

local FIXED = {
  ws = '| " " | "\\n" [ \\t]{0,20}',
  char = '[^"\\\\\\x00-\\x1F\\x7F] | "\\\\" (["\\\\/bfnrt] | "u" ([0-9a-cA-CefEF] [0-9a-fA-F]{3} | [dD] [0-7] [0-9a-fA-F]{2}))',
  string = '"\\"" char* "\\""',
  number = '"-"? ("0" | [1-9] [0-9]{0,14}) ("." [0-9]{1,6})? ([eE] [-+]? [0-9]{1,2})?',
  boolean = '"true" | "false"',
  null = '"null"',
  value = "object | array | string | number | boolean | null",
  object = '"{" ws (string ws ":" ws value ("," ws string ws ":" ws value)*)? ws "}"',
  array = '"[" ws (value ("," ws value)*)? ws "]"',
}
local NEEDS = { value = { "object", "array", "string", "number", "boolean", "null", "char", "ws" }, object = { "value" },
  array = { "value" }, string = { "char" } }

function Compiler:fixed(name)
  if not self.rules[name] then
    self.rules[name] = FIXED[name]
    self.order[#self.order + 1] = name
    for _, other in ipairs(NEEDS[name] or {}) do self:fixed(other) end
  end
  return name
end

function Compiler:rule(expression)
  self.n = self.n + 1
  local name = "r" .. self.n
  self.rules[name] = expression
  self.order[#self.order + 1] = name
  return name
end

local FORMATS = {
  date = "[1-9][0-9]{3}-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)",
  time = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])",
  duration = "P([0-9]{1,4}[DWYM]|T[0-9]{1,4}[HMS])",
  uuid = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
  email = "[A-Za-z0-9]{1,16}([._-][A-Za-z0-9]{1,16}){0,3}@[a-z0-9]{1,20}(\\.[a-z]{2,12}){1,3}",
  ipv4 = "((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])",
  ipv6 = "([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}",
  hostname = "[a-z0-9]{1,20}(\\.[a-z0-9]{1,20}){0,3}",
  uri = "https?://[a-z0-9]{1,20}(\\.[a-z0-9]{1,20}){0,3}(/[A-Za-z0-9._~-]{0,30}){0,6}",
  ["json-pointer"] = "(/[A-Za-z0-9_.-]{0,20}){0,6}",
}
FORMATS["date-time"] = FORMATS.date .. "T" .. FORMATS.time
FORMATS["uri-reference"], FORMATS.iri = FORMATS.uri, FORMATS.uri
FORMATS["idn-email"], FORMATS["idn-hostname"] = FORMATS.email, FORMATS.hostname

function Compiler:string(s, path)
  local m = s.map
  local min, max = count(s, "minLength", path, 0), count(s, "maxLength", path, math.huge)
  if min > max then fail(path, "minLength is above maxLength") end
  local pattern, where = m.pattern, "/pattern"
  if m.format then
    if m.pattern then fail(path, "pattern and format together") end
    pattern, where = FORMATS[m.format], "/format"
    if not pattern then fail(path .. "/format", ("the format '%s' is not known"):format(tostring(m.format))) end
    pattern = "^(" .. pattern .. ")$"
  end
  if pattern then
    if type(pattern) ~= "string" then fail(path .. where, "want a string", "EFORMAT") end
    local expression, what, code = regex.compile(pattern, min, max, self:fixed "char")
    if not expression then fail(path .. where, "not supported: " .. what, code) end
    return '"\\"" ' .. expression .. ' "\\""'
  end
  if min == 0 and max == math.huge then return self:fixed "string" end
  if (max < math.huge and max or min) > 1000000 then fail(path, "a string of over a million characters", "ELIMIT") end
  if max == 0 then return '"\\"\\""' end
  return '"\\"" ' .. self:fixed "char" .. text.times(min, max < math.huge and max or nil) .. ' "\\""'
end

function Compiler:number(s, whole, path)
  local m = s.map
  for _, key in ipairs { "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum" } do
    if m[key] ~= nil and type(m[key]) ~= "number" then fail(path .. "/" .. key, "want a number", "EFORMAT") end
  end
  if m.multipleOf ~= nil and not (whole and m.multipleOf == 1) then fail(path .. "/multipleOf", "this keyword is not supported") end
  local low, high, low_open, high_open = m.minimum, m.maximum, false, false
  if m.exclusiveMinimum and (not low or m.exclusiveMinimum >= low) then low, low_open = m.exclusiveMinimum, true end
  if m.exclusiveMaximum and (not high or m.exclusiveMaximum <= high) then high, high_open = m.exclusiveMaximum, true end
  local out
  if whole then
    if low_open and low == math.floor(low) then low = low + 1 end
    if high_open and high == math.floor(high) then high = high - 1 end
    out = number.integer(low, high)
  elseif not low and not high then
    return self:fixed "number"
  else
    out = number.number(low, high, low_open, high_open)
  end
  return out or fail(path, "no number is in this range")
end

function Compiler:array(s, path, depth)
  local m = s.map
  local prefix, rest = m.prefixItems, m.items
  if type(rest) == "table" and not is_node(rest) and #rest > 0 then prefix, rest = rest, m.additionalItems end
  prefix = prefix or {}
  if rest == nil then rest = true end
  local min, max = count(s, "minItems", path, 0), count(s, "maxItems", path, math.huge)
  if m.uniqueItems == true and max > 1 then fail(path .. "/uniqueItems", "this keyword is not supported") end
  local closed = self:flat(rest, path .. "/items", 0) == false
  if closed then max = math.min(max, #prefix) end
  if min > max then fail(path, "minItems is above what is allowed") end
  self:fixed "ws"
  if max == 0 then return '"[" ws "]"' end
  local n = math.min(#prefix, max)
  local out = ""
  if max > n then -- what follows the listed ones
    local item = self:compile(rest, path .. "/items", depth + 1)
    local from, to = math.max(min - n, 0), max - n
    if (to < math.huge and to or from) > 1000000 then fail(path, "over a million items", "ELIMIT") end
    if n == 0 then
      local more = ('("," ws %s)%s'):format(item, text.times(math.max(from - 1, 0), to < math.huge and to - 1 or nil))
      if to == 1 then more = "" end
      out = item .. " " .. more
      if from == 0 then out = "(" .. out .. ")?" end
    else
      out = ('("," ws %s)%s'):format(item, text.times(from, to < math.huge and to or nil))
    end
  end
  for i = n, 1, -1 do
    out = (i > 1 and '"," ws ' or "") .. self:compile(prefix[i], ("%s/prefixItems/%d"):format(path, i - 1), depth + 1) .. " " .. out
    if i > min then out = "(" .. out .. ")?" end
  end
  return '"[" ws ' .. out .. ' ws "]"'
end

-- A string that is none of the names, without escapes.
function Compiler:other_name(names)
  local root = {}
  for _, name in ipairs(names) do
    local at = root
    for _, c in ipairs(text.points(name)) do
      at[c] = at[c] or {}
      at = at[c]
    end
    at.ends = true
  end
  local plain_chars = { { 0, 31 }, { 34, 34 }, { 92, 92 }, { 127, 127 } }
  local any = text.class(text.complement(plain_chars, 0x10FFFF)) .. "*"
  local function walk(node)
    local points, ways, used = {}, {}, { { 0, 31 }, { 34, 34 }, { 92, 92 }, { 127, 127 } }
    for c in pairs(node) do if type(c) == "number" then points[#points + 1] = c end end
    table.sort(points)
    for _, c in ipairs(points) do
      used[#used + 1] = { c, c }
      if c >= 32 and c ~= 34 and c ~= 92 and c ~= 127 then ways[#ways + 1] = text.class { { c, c } } .. " " .. walk(node[c]) end
    end
    ways[#ways + 1] = text.class(text.complement(used, 0x10FFFF)) .. " " .. any
    if not node.ends then ways[#ways + 1] = '""' end
    return self:rule(table.concat(ways, " | "))
  end
  return '"\\"" ' .. walk(root) .. ' "\\""'
end

function Compiler:object(s, path, depth)
  local m = s.map
  local properties, extra = m.properties or new_node(), m.additionalProperties
  if not is_node(properties) then
    if type(properties) == "table" and #properties == 0 then properties = new_node() else fail(path .. "/properties", "want an object", "EFORMAT") end
  end
  local required, is_required = m.required or {}, {}
  if type(required) ~= "table" or is_node(required) and #required.keys > 0 then fail(path .. "/required", "want a list of names", "EFORMAT") end
  for _, name in ipairs(required) do is_required[name] = true end
  self:fixed "ws"
  if extra == nil then extra = #properties.keys == 0 and #required == 0 end
  local open = self:flat(extra, path .. "/additionalProperties", 0) ~= false
  -- names that are required but not listed are what additional ones are
  local names, schemas = {}, {}
  for _, name in ipairs(properties.keys) do
    names[#names + 1] = name
    schemas[name] = { properties.map[name], path .. "/properties/" .. name }
  end
  for _, name in ipairs(required) do
    if type(name) ~= "string" then fail(path .. "/required", "want a list of names", "EFORMAT") end
    if not schemas[name] then
      local additional = m.additionalProperties
      if additional == nil then additional = true end
      names[#names + 1] = name
      schemas[name] = { additional, path .. "/required/" .. name }
    end
  end
  local min, max = count(s, "minProperties", path, 0), count(s, "maxProperties", path, math.huge)
  if #names > 0 and (min > #required or max < (open and math.huge or #names)) then
    fail(path .. (min > #required and "/minProperties" or "/maxProperties"), "not supported together with properties")
  end
  if #names > 0 and m.propertyNames ~= nil then fail(path .. "/propertyNames", "not supported together with properties") end
  local members = {}
  for _, name in ipairs(names) do
    local schema, here = schemas[name][1], schemas[name][2]
    if self:flat(schema, here, 0) ~= false then
      members[#members + 1] = { required = is_required[name],
        rule = self:rule(text.literal(json.encode(name)) .. ' ws ":" ws ' .. self:compile(schema, here, depth + 1)) }
    elseif is_required[name] then
      fail(here, "required, but nothing is allowed")
    end
  end
  local rest, first = "", ""
  if open then
    local key
    if m.propertyNames ~= nil then
      local flat = self:flat(m.propertyNames, path .. "/propertyNames", 0)
      if type(flat) == "boolean" then
        if not flat then return '"{" ws "}"' end
        key = self:fixed "string"
      elseif flat.map.enum then
        key = self:enum(flat, path .. "/propertyNames")
      else
        key = self:string(flat, path .. "/propertyNames")
      end
    else
      key = #names > 0 and self:other_name(names) or self:fixed "string"
    end
    local pair = self:rule(key .. ' ws ":" ws ' .. self:compile(extra, path .. "/additionalProperties", depth + 1))
    if #names > 0 then
      rest, first = ('("," ws %s)*'):format(pair), ('(%s ("," ws %s)*)?'):format(pair, pair)
    else
      if min > max then fail(path, "minProperties is above maxProperties") end
      if max == 0 then return '"{" ws "}"' end
      -- equal names would count once
      if min > 1 then fail(path .. "/minProperties", "more than one of properties that are not listed") end
      first = pair .. (max == 1 and "" or (' ("," ws %s)%s'):format(pair, text.times(0, max < math.huge and max - 1 or nil)))
      if min == 0 then first = "(" .. first .. ")?" end
    end
  elseif min > #members then
    fail(path .. "/minProperties", "more than there are")
  end
  for i = #members, 1, -1 do
    local x = members[i]
    local here_rest = i < #members and self:rule(rest) or rest
    first = x.required and x.rule .. " " .. here_rest or ("(%s %s | %s)"):format(x.rule, here_rest, first == "" and '""' or self:rule(first))
    rest = ('("," ws %s)%s %s'):format(x.rule, x.required and "" or "?", here_rest)
  end
  return '"{" ws ' .. first .. ' ws "}"'
end

function Compiler:enum(s, path)
  if type(s.map.enum) ~= "table" or is_node(s.map.enum) then fail(path .. "/enum", "want a list", "EFORMAT") end
  local out, rest = {}, new_node()
  for _, key in ipairs(s.keys) do
    if key ~= "enum" then set(rest, key, s.map[key]) end
  end
  for _, v in ipairs(s.map.enum) do
    if self:takes(rest, v, path) then out[#out + 1] = text.literal(encoded(v)) end
  end
  if #out == 0 then fail(path .. "/enum", "no value is allowed") end
  return "(" .. table.concat(out, " | ") .. ")"
end

-- A schema that is nothing but a reference is a rule of its own.
function Compiler:reference(s, path, depth)
  local seen = {}
  local target, pointer = self:resolve(s.map["$ref"], path)
  while is_node(target) and target.map["$ref"] and not has_siblings(target) do
    if seen[pointer] then fail(path .. "/$ref", "a $ref that leads to itself", "EFORMAT") end
    seen[pointer] = true
    target, pointer = self:resolve(target.map["$ref"], "#" .. pointer)
  end
  local name = self.refs[pointer]
  if name then return name end
  name = self:rule ""
  self.refs[pointer] = name
  self.rules[name] = self:compile(target, "#" .. pointer, depth + 1)
  return name
end

function Compiler:compile(s, path, depth)
  self:step(path)
  if depth > MAX_DEPTH then fail(path, "over 128 levels deep", "ELIMIT") end
  if is_node(s) and s.map["$ref"] and not has_siblings(s) then return self:reference(s, path, depth) end
  s = self:flat(s, path, 0)
  if s == false then fail(path, "nothing is allowed") end
  if s == true then return self:fixed "value" end
  if s.map.anyOf or s.map.oneOf then
    local out = {}
    for i, way in ipairs(self:ways(s, path)) do out[i] = self:compile(way.schema, way.path, depth + 1) end
    return "(" .. table.concat(out, " | ") .. ")"
  end
  if s.map.enum then return self:enum(s, path) end
  local types = types_of(s, path)
  if not types then -- the types that the keywords are about; without any, all
    types = {}
    for _, key in ipairs(s.keys) do if ABOUT[key] then types[ABOUT[key]] = true end end
    if next(types) == nil then return self:fixed "value" end
  end
  local out = {}
  for _, t in ipairs(TYPES) do
    if types[t] then
      if t == "object" then
        out[#out + 1] = self:object(s, path, depth)
      elseif t == "array" then
        out[#out + 1] = self:array(s, path, depth)
      elseif t == "string" then
        out[#out + 1] = self:string(s, path)
      elseif t == "number" or t == "integer" then
        if not (t == "integer" and types.number) then out[#out + 1] = self:number(s, t == "integer", path) end
      else
        out[#out + 1] = self:fixed(t)
      end
    end
  end
  if #out == 0 then fail(path, "no type is allowed") end
  return #out == 1 and out[1] or "(" .. table.concat(out, " | ") .. ")"
end

--- The grammar (GBNF) of the texts that are valid under a schema.
---
---     print(assert(require("wane.schema").compile { type = "integer", minimum = 1, maximum = 12 }))
---@param schema string|table|boolean   JSON text, or the same as a Lua table (properties then come in the order of
---  their names; json.ordered keeps another)
---@return string|nil grammar
---@return string? message   with the path in the schema
---@return string? code      "EUNSUP", "EFORMAT", "ELIMIT"
function M.compile(schema)
  if type(schema) == "string" then
    local message, code
    schema, message, code = json.decode(schema, { ordered = true })
    if schema == nil then return nil, "schema: " .. message, code end
  elseif type(schema) ~= "table" and type(schema) ~= "boolean" then
    error("wane: schema.compile: want JSON text or a table, got a " .. type(schema), 2)
  end
  local c = setmetatable({ rules = {}, order = {}, refs = {}, n = 0, steps = 0 }, Compiler)
  local ok, out = pcall(function()
    c.root = convert(schema, "", 0)
    return c:compile(c.root, "", 0)
  end)
  if not ok then
    if type(out) == "table" and out.schema then return nil, out.schema, out.code end
    error(out, 0)
  end
  local lines = { "root ::= " .. out }
  for _, name in ipairs(c.order) do lines[#lines + 1] = name .. " ::= " .. c.rules[name] end
  return table.concat(lines, "\n") .. "\n"
end

return M
