--- Schemas put together and taken apart: $ref, allOf, anyOf, oneOf, not, if, and
--- what depends on properties. Methods of the schema compiler.
---
--- `flat` leaves a conjunction of keywords and, under node.WAYS, disjunctions: lists
--- of schemas of which one must hold (`one`: exactly one). `negation` gives the
--- schemas of which one holds where a schema does not. They may be narrower than
--- that, as a keyword whose opposite cannot be said adds none: what is made of
--- them is noted as loose, and never negated or taken to be disjoint from others.
local node = require "wane.schema.node"

local M = {}

local MAX_WAYS = 256
local fail, is_node, is_list, set = node.fail, node.is_node, node.is_list, node.set
local WAYS, PATTERNS, OTHER_THAN = node.WAYS, node.PATTERNS, node.OTHER_THAN
local SPLIT = {}
for name in ([[$ref allOf anyOf oneOf not if then else const pattern dependencies dependentRequired dependentSchemas]]):gmatch "%S+" do
  SPLIT[name] = true
end

-- ---- references and conjunctions ------------------------------------------------

function M:resolve(ref, path)
  if type(ref) ~= "string" then fail(path .. "/$ref", "want a string", "EFORMAT") end
  if ref:sub(1, 1) ~= "#" then fail(path .. "/$ref", "a reference outside of the schema: " .. ref:sub(1, 80)) end
  local at, pointer = self.root, ref:sub(2)
  if pointer ~= "" and pointer:sub(1, 1) ~= "/" then fail(path .. "/$ref", "a reference by name: " .. ref:sub(1, 80)) end
  for part in pointer:gmatch "/([^/]*)" do
    part = part:gsub("%%(%x%x)", function(h) return string.char(tonumber(h, 16)) end):gsub("~1", "/"):gsub("~0", "~")
    if is_node(at) then
      at = at.map[part]
    elseif is_list(at) and part:match "^%d+$" then
      at = at[tonumber(part) + 1]
    else
      at = nil
    end
    if at == nil then fail(path .. "/$ref", "nothing is at " .. ref:sub(1, 80), "EFORMAT") end
  end
  return at, pointer
end

--- The schema of what is valid under both; the same one for the same two.
function M:both(a, b)
  if a == true or a == b then return b end
  if b == true then return a end
  if a == false or b == false then return false end
  local of_a = self.pairs[a] or {}
  self.pairs[a] = of_a
  of_a[b] = of_a[b] or node.of("allOf", { a, b })
  return of_a[b]
end

--- The schema of what is not valid under a schema; the same one for the same one.
function M:opposite(s)
  if type(s) == "boolean" then return not s end
  self.opposites[s] = self.opposites[s] or node.of("not", s)
  return self.opposites[s]
end

-- How two values of one keyword are one.
local MERGE = {}
local function bigger(_, a, b) return math.max(a, b) end
local function smaller(_, a, b) return math.min(a, b) end
for name in ("minimum exclusiveMinimum minLength minItems minProperties"):gmatch "%S+" do MERGE[name] = bigger end
for name in ("maximum exclusiveMaximum maxLength maxItems maxProperties"):gmatch "%S+" do MERGE[name] = smaller end
function MERGE.type(_, a, b, path)
  local x, y, out = node.types(node.of("type", a), path), node.types(node.of("type", b), path), {}
  for _, name in ipairs(node.TYPES) do
    local in_x = x[name] or (name == "integer" and x.number)
    local in_y = y[name] or (name == "integer" and y.number)
    if in_x and in_y and not (name == "integer" and x.number and y.number) then out[#out + 1] = name end
  end
  return out
end
function MERGE.required(_, a, b)
  local out, seen = {}, {}
  for _, list in ipairs { a, b } do
    for _, name in ipairs(list) do
      if not seen[name] then out[#out + 1] = name end
      seen[name] = true
    end
  end
  return out
end
function MERGE.enum(_, a, b)
  local out, seen = {}, {}
  for _, v in ipairs(b) do seen[node.canonical(v)] = true end
  for _, v in ipairs(a) do
    if seen[node.canonical(v)] then out[#out + 1] = v end
  end
  return out
end
function MERGE.multipleOf(_, a, b, path)
  if a ~= math.floor(a) or b ~= math.floor(b) then fail(path .. "/multipleOf", "two different ones that are not whole") end
  local x, y = a, b
  while y > 0 do x, y = y, x % y end
  return a / x * b
end
function MERGE.propertyNames(self, a, b) return self:both(a, b) end
function MERGE.uniqueItems(_, a, b) return a or b end
local function joined(_, a, b)
  local out = {}
  for _, list in ipairs { a, b } do
    for _, x in ipairs(list) do out[#out + 1] = x end
  end
  return out
end
MERGE[WAYS], MERGE[PATTERNS], MERGE[OTHER_THAN] = joined, joined, joined

local OBJECT = { properties = true, patternProperties = true, additionalProperties = true }
local ARRAY = { items = true, prefixItems = true, additionalItems = true }

-- What two schemas say of properties. A pattern of one beside names of the other
-- that are additional there, is what cannot be said of one schema.
local function merge_objects(self, out, a, b, path)
  local x, y = a.map, b.map
  local function closes(m) return m.additionalProperties ~= nil and m.additionalProperties ~= true end
  if (x.patternProperties and closes(y)) or (y.patternProperties and closes(x)) then
    local same = x.patternProperties and y.patternProperties
      and node.canonical(x.patternProperties) == node.canonical(y.patternProperties)
    if not same then fail(path .. "/patternProperties", "together with additionalProperties of another schema at one place") end
  end
  local function said(s, name)
    local m = s.map
    if m.properties and m.properties.map[name] ~= nil then return m.properties.map[name] end
    if m.additionalProperties == nil or self:has_pattern_for(m, name, path) then return true end
    return m.additionalProperties
  end
  local props = node.new()
  for _, name in ipairs(joined(nil, x.properties and x.properties.keys or {}, y.properties and y.properties.keys or {})) do
    if props.map[name] == nil then set(props, name, self:both(said(a, name), said(b, name))) end
  end
  if #props.keys > 0 or x.properties or y.properties then set(out, "properties", props) end
  local patterns = node.new()
  for _, m in ipairs { x, y } do
    for _, p in ipairs(m.patternProperties and m.patternProperties.keys or {}) do
      local s, old = m.patternProperties.map[p], patterns.map[p]
      set(patterns, p, old == nil and s or self:both(old, s))
    end
  end
  if #patterns.keys > 0 then set(out, "patternProperties", patterns) end
  local rest, other = x.additionalProperties, y.additionalProperties
  if rest == nil then rest = other elseif other ~= nil then rest = self:both(rest, other) end
  if rest ~= nil then set(out, "additionalProperties", rest) end
end

local function merge_arrays(self, out, a, b)
  local p, rest_p = self:item_schemas(a.map)
  local q, rest_q = self:item_schemas(b.map)
  local first = {}
  for i = 1, math.max(#p, #q) do
    local x, y = p[i], q[i]
    if x == nil then x = rest_p end
    if y == nil then y = rest_q end
    first[i] = self:both(x, y)
  end
  if #first > 0 then set(out, "prefixItems", first) end
  set(out, "items", self:both(rest_p, rest_q))
end

--- Two flat schemas as one.
function M:merge(a, b, path)
  self:step(path)
  if a == true then return b end
  if b == true then return a end
  if a == false or b == false then return false end
  local out, objects, arrays = node.new(), false, false
  for _, s in ipairs { a, b } do
    for _, key in ipairs(s.keys) do
      local x, y = out.map[key], s.map[key]
      local later = OBJECT[key] or ARRAY[key] or not node.counts(key)
      if later then -- below, or never
        objects, arrays = objects or OBJECT[key], arrays or ARRAY[key]
      elseif x == nil then
        set(out, key, y)
      elseif MERGE[key] then
        out.map[key] = MERGE[key](self, x, y, path)
      elseif node.canonical(x) ~= node.canonical(y) then
        fail(path, ("two different '%s' at one place"):format(key))
      end
    end
  end
  if objects then merge_objects(self, out, a, b, path) end
  if arrays then merge_arrays(self, out, a, b) end
  return out
end

-- ---- keywords that hold schemas -------------------------------------------------------

local function list_at(s, key, path)
  local list = s.map[key]
  if not is_list(list) or #list == 0 then fail(path .. "/" .. key, "want a list of schemas", "EFORMAT") end
  if #list > MAX_WAYS then fail(path .. "/" .. key, "over 256 alternatives", "ELIMIT") end
  return list
end

local function object_at(s, key, path)
  local v = s.map[key]
  if is_list(v) and #v == 0 then return node.new() end
  if not is_node(v) then fail(path .. "/" .. key, "want an object", "EFORMAT") end
  return v
end

-- One of the schemas; `path` is where they are, each at its number unless they
-- were made here.
local function way(list, path, made) return node.of(WAYS, { { list = list, path = path, made = made } }) end

-- A schema that holds where a property is there.
local function with_property(self, name, s, path)
  return way({ node.of("properties", node.of(name, false)), self:both(node.of("required", { name }), s) }, path, true)
end

-- Each gives flat schemas that hold together.
local SPLITTERS = {}
function SPLITTERS.allOf(self, s, path, depth)
  local out = {}
  if is_list(s.map.allOf) and #s.map.allOf == 0 then return out end
  for i, x in ipairs(list_at(s, "allOf", path)) do
    out[i] = self:flat(x, path .. "/allOf/" .. (i - 1), depth + 1)
    out.loose = out.loose or self.loose[x]
  end
  return out
end
SPLITTERS["$ref"] = function(self, s, path, depth)
  local target = self:resolve(s.map["$ref"], path)
  return { self:flat(target, path, depth + 1), loose = self.loose[target] }
end
function SPLITTERS.const(_, s) return { node.of("enum", { s.map.const }) } end
function SPLITTERS.pattern(_, s) return { node.of(PATTERNS, { { s.map.pattern } }) } end
function SPLITTERS.anyOf(_, s, path) return { way(list_at(s, "anyOf", path), path .. "/anyOf") } end
function SPLITTERS.oneOf(_, s, path)
  local out = way(list_at(s, "oneOf", path), path .. "/oneOf")
  out.map[WAYS][1].one = true
  return { out }
end
SPLITTERS["not"] = function(self, s, path)
  local list, left_out = self:negation(s.map["not"], path .. "/not")
  local out = { loose = left_out }
  if #list == 1 then
    out[1] = self:flat(list[1], path .. "/not", 1)
    out.loose = left_out or self.loose[list[1]]
  else
    out[1] = #list > 0 and way(list, path .. "/not", true) or false
  end
  return out
end
SPLITTERS["if"] = function(self, s, path)
  local m, yes, no = s.map, s.map["then"], s.map["else"]
  if yes == nil and no == nil then return {} end
  if yes == nil then yes = true end
  if no == nil then no = true end
  return { way({ self:both(m["if"], yes), self:both(self:opposite(m["if"]), no) }, path .. "/if", true) }
end
SPLITTERS["then"] = function() return {} end
SPLITTERS["else"] = SPLITTERS["then"]
function SPLITTERS.dependentRequired(self, s, path)
  local out = {}
  for _, name in ipairs(object_at(s, "dependentRequired", path).keys) do
    local list = s.map.dependentRequired.map[name]
    if not is_list(list) then fail(path .. "/dependentRequired/" .. name, "want a list of names", "EFORMAT") end
    if #list > 0 then out[#out + 1] = with_property(self, name, node.of("required", list), path .. "/dependentRequired/" .. name) end
  end
  return out
end
function SPLITTERS.dependentSchemas(self, s, path)
  local out = {}
  for _, name in ipairs(object_at(s, "dependentSchemas", path).keys) do
    out[#out + 1] = with_property(self, name, s.map.dependentSchemas.map[name], path .. "/dependentSchemas/" .. name)
  end
  return out
end
function SPLITTERS.dependencies(self, s, path)
  local out = {}
  for _, name in ipairs(object_at(s, "dependencies", path).keys) do
    local v = s.map.dependencies.map[name]
    if is_list(v) then v = node.of("required", v) end
    out[#out + 1] = with_property(self, name, v, path .. "/dependencies/" .. name)
  end
  return out
end

--- A schema as a conjunction of keywords: see the top.
function M:flat(s, path, depth)
  self:step(path)
  if depth > 64 then fail(path, "a $ref or allOf that leads to itself", "EFORMAT") end
  if type(s) == "boolean" then return s end
  if not is_node(s) then
    if is_list(s) and #s == 0 then return true end
    fail(path, "want a schema", "EFORMAT")
  end
  if self.flats[s] ~= nil then return self.flats[s] end
  local given = s
  local splits, out = false, s
  for _, key in ipairs(s.keys) do
    if node.REFUSED[key] then fail(path .. "/" .. key, "this keyword is not supported") end
    splits = splits or SPLIT[key]
    local v = node.shaped(key, s.map[key], path)
    if v ~= s.map[key] then
      if out == s then out = node.without(s, {}) end
      out.map[key] = v
    end
  end
  if splits then
    s, out = out, node.without(out, SPLIT)
    for _, key in ipairs(s.keys) do
      local parts = SPLIT[key] and SPLITTERS[key](self, s, path, depth) or {}
      for _, part in ipairs(parts) do out = self:merge(part, out, path) end
      if parts.loose then self.loose[given] = true end
    end
  end
  if out ~= false and out ~= true and self:hopeless(out, path) then out = false end
  self.flats[given] = out
  return out
end

--- Can it be seen at once that no value is valid? (Sufficient.)
function M.hopeless(_, s, path)
  local m, types = s.map, node.types(s, path)
  if (types and next(types) == nil) or (is_list(m.enum) and #m.enum == 0) then return true end
  if types and next(types) == "object" and next(types, "object") == nil and is_node(m.properties) and is_list(m.required) then
    for _, name in ipairs(m.required) do
      if m.properties.map[name] == false then return true end
    end
  end
  return false
end

-- ---- opposites --------------------------------------------------------------------------

local function typed(t, ...) return node.of("type", t, ...) end

-- Types other than those of the set. Numbers that are not whole cannot be said:
-- where "integer" is in the set without "number", they are left out.
local function other_types(types)
  local out = {}
  for _, t in ipairs(node.TYPES) do
    if not types[t] and not (t == "integer" and types.number) and not (t == "number" and types.integer) and t ~= "integer" then
      out[#out + 1] = t
    end
  end
  return out
end

-- Whole numbers beside the given ones, as ranges.
local function between_numbers(list, out)
  table.sort(list)
  local from
  for _, v in ipairs(list) do
    if v == math.floor(v) then
      local range = typed("integer", "maximum", v - 1)
      if from then set(range, "minimum", from) end
      if not from or from < v then out[#out + 1] = range end
      from = v + 1
    end
  end
  if from then out[#out + 1] = typed("integer", "minimum", from) end
end

-- Numbers that are not whole, objects and arrays other than the given ones are
-- left out.
local function other_values(values)
  local by, out = {}, {}
  for _, v in ipairs(values) do
    local t = node.type_of(v)
    if t == "integer" then t = "number" end
    by[t] = by[t] or {}
    table.insert(by[t], v)
  end
  local others = {}
  for _, t in ipairs(node.TYPES) do
    if t ~= "integer" and not by[t] then others[#others + 1] = t end
  end
  if #others > 0 then out[1] = typed(others) end
  if by.string then out[#out + 1] = typed("string", OTHER_THAN, by.string) end
  if by.number then between_numbers(by.number, out) end
  if by.boolean and #by.boolean == 1 then out[#out + 1] = node.of("enum", { not by.boolean[1] }) end
  return out, (by.number or by.object or by.array) and "enum"
end

-- The schemas of which one holds where the keyword does not; second: true when
-- there are others that cannot be said.
local OPPOSITES = {}
function OPPOSITES.type(_, m, path)
  local types = node.types(node.of("type", m.type), path)
  local others = other_types(types)
  return #others > 0 and { typed(others) } or {}, types.integer and not types.number
end
function OPPOSITES.enum(_, m) return other_values(m.enum) end
function OPPOSITES.const(_, m) return other_values { m.const } end
function OPPOSITES.minimum(_, m) return { typed("number", "exclusiveMaximum", m.minimum) } end
function OPPOSITES.maximum(_, m) return { typed("number", "exclusiveMinimum", m.maximum) } end
function OPPOSITES.exclusiveMinimum(_, m) return { typed("number", "maximum", m.exclusiveMinimum) } end
function OPPOSITES.exclusiveMaximum(_, m) return { typed("number", "minimum", m.exclusiveMaximum) } end
for _, pair in ipairs { { "Length", "string" }, { "Items", "array" }, { "Properties", "object" } } do
  local min, max, t = "min" .. pair[1], "max" .. pair[1], pair[2]
  OPPOSITES[min] = function(_, m) return m[min] > 0 and { typed(t, max, m[min] - 1) } or {} end
  OPPOSITES[max] = function(_, m) return { typed(t, min, m[max] + 1) } end
end
function OPPOSITES.required(_, m)
  local out = {}
  for i, name in ipairs(m.required) do out[i] = typed("object", "properties", node.of(name, false)) end
  return out
end
function OPPOSITES.properties(self, m)
  local out = {}
  for _, name in ipairs(m.properties.keys) do
    local s = m.properties.map[name]
    if s ~= true then
      out[#out + 1] = typed("object", "properties", node.of(name, self:opposite(s)), "required", { name })
    end
  end
  return out
end
function OPPOSITES.items(self, m)
  if is_list(m.items) or m.prefixItems then return {}, true end
  return { typed("array", "contains", self:opposite(m.items)) }
end
function OPPOSITES.contains(self, m)
  if m.minContains or m.maxContains then return {}, true end
  return { typed("array", "items", self:opposite(m.contains)) }
end
function OPPOSITES.pattern(_, m) return { typed("string", PATTERNS, { { m.pattern, negate = true } }) } end
OPPOSITES["$ref"] = function(self, m, path) return self:negation(self:resolve(m["$ref"], path), path) end
OPPOSITES["not"] = function(_, m) return { m["not"] } end
function OPPOSITES.allOf(self, m)
  local out = {}
  for i, x in ipairs(m.allOf) do out[i] = self:opposite(x) end
  return out
end
-- None of them holds; that several of "exactly one" hold is left out.
function OPPOSITES.anyOf(self, m)
  local none = {}
  for i, x in ipairs(m.anyOf) do none[i] = self:opposite(x) end
  return { node.of("allOf", none) }
end
function OPPOSITES.oneOf(self, m) return OPPOSITES.anyOf(self, { anyOf = m.oneOf }), true end
OPPOSITES["if"] = function(self, m)
  local out, yes, no = {}, m["then"], m["else"]
  if yes ~= nil then out[1] = self:both(m["if"], self:opposite(yes)) end
  if no ~= nil then out[#out + 1] = self:both(self:opposite(m["if"]), self:opposite(no)) end
  return out
end
OPPOSITES["then"] = function() return {} end
OPPOSITES["else"] = OPPOSITES["then"]
for _, key in ipairs { "dependentRequired", "dependentSchemas", "dependencies" } do
  OPPOSITES[key] = function(self, m)
    local out = {}
    for i, name in ipairs(m[key].keys) do
      local s = m[key].map[name]
      if is_list(s) then s = node.of("required", s) end
      out[i] = self:both(typed("object", "required", { name }), self:opposite(s))
    end
    return out
  end
end

--- Schemas of which one holds where `s` does not; none when nothing is left.
--- Second: a keyword whose opposite is left out, or not all of it. Fails where
--- that leaves none.
function M:negation(s, path)
  self:step(path)
  if type(s) == "boolean" then return s and {} or { true } end
  self.hops = self.hops + 1
  if self.hops > 64 then fail(path, "a $ref that leads to itself", "EFORMAT") end
  self:flat(s, path, 0) -- of the shapes that keywords must have
  local out, left_out, m = {}, nil, {}
  for _, key in ipairs(s.keys or {}) do m[key] = node.shaped(key, s.map[key], path) end
  for _, key in ipairs(s.keys or {}) do
    local list, not_all = {}, node.counts(key)
    if OPPOSITES[key] then list, not_all = OPPOSITES[key](self, m, path) end
    for _, x in ipairs(list) do out[#out + 1] = x end
    if not_all then left_out = key end
  end
  self.hops = self.hops - 1
  if #out == 0 and left_out then fail(path, ("the opposite of '%s' is not supported"):format(left_out)) end
  return out, left_out
end

-- ---- alternatives ---------------------------------------------------------------

local function shared_types(x, y)
  local out = {}
  for _, t in ipairs(node.TYPES) do
    if (x[t] or (t == "integer" and x.number)) and (y[t] or (t == "integer" and y.number)) then out[#out + 1] = t end
  end
  return out
end

--- True when no value can satisfy both: by type, by value, or by a property that
--- one of them must have.
function M:disjoint(a, b, path, depth)
  self:step(path)
  if depth > 5 then return false end
  local loose_a, loose_b = a, b
  a, b = self:flat(a, path, 0), self:flat(b, path, 0)
  if self.loose[loose_a] or self.loose[loose_b] then return false end
  if a == false or b == false then return true end
  if a == true or b == true then return false end
  for _, pair in ipairs { { a, b }, { b, a } } do
    local ways = pair[1].map[WAYS]
    if ways then
      local all = true
      for _, x in ipairs(ways[1].list) do all = all and self:disjoint(x, pair[2], path, depth + 1) end
      if all then return true end
    end
  end
  for _, pair in ipairs { { a, b }, { b, a } } do
    local values = self:finite(pair[1], path, MAX_WAYS)
    if values then
      for _, v in ipairs(values) do
        if self:valid(pair[2], v, path) then return false end
      end
      return true
    end
  end
  local x, y = node.types(a, path) or node.IS_TYPE, node.types(b, path) or node.IS_TYPE
  local shared = shared_types(x, y)
  if #shared == 0 then return true end
  if #shared > 1 or shared[1] ~= "object" then return self:hopeless(self:merge(a, b, path), path) end
  local pa, pb = a.map.properties or node.new(), b.map.properties or node.new()
  for _, pair in ipairs { { a, pa, b, pb }, { b, pb, a, pa } } do
    for _, name in ipairs(pair[1].map.required or {}) do
      local mine, other = pair[2].map[name], pair[4].map[name]
      if other == nil and pair[3].map.additionalProperties == false and not pair[3].map.patternProperties then return true end
      if other == false then return true end
      if mine ~= nil and other ~= nil and self:disjoint(mine, other, path, depth + 1) then return true end
    end
  end
  return false
end

-- The types that a schema without any is narrowed to: those of its keywords.
function M.about(_, s)
  local out = {}
  for _, t in ipairs(node.TYPES) do
    for _, key in ipairs(s.keys) do
      if node.ABOUT[key] == t then
        out[#out + 1] = t
        break
      end
    end
  end
  return out
end

-- The i-th alternative of "exactly one": no other one may hold beside it.
function M:alone(first, i, schema, path)
  local flat = self:flat(schema, path, 0)
  if is_node(flat) and not flat.map.type and not flat.map.enum then
    local types = self:about(flat)
    if #types > 0 then schema = self:both(schema, node.of("type", types)) end
  end
  local beside
  for k, other in ipairs(first.list) do
    if k ~= i and not self:disjoint(other, schema, path, 0) then
      beside = k
      local hops, ok = self.hops, pcall(self.negation, self, other, path)
      self.hops = hops
      if not ok then return nil, k end
      schema = self:both(schema, self:opposite(other))
    end
  end
  return schema, beside
end

--- The first disjunction of a flat schema as { schema, path } each, with the rest
--- of the schema. Of "exactly one" those that may hold together exclude each
--- other; second: the message for when nothing is left.
function M:ways(s)
  local first = s.map[WAYS][1]
  local rest, more = node.without(s, { [WAYS] = true }), {}
  for i = 2, #s.map[WAYS] do more[i - 1] = s.map[WAYS][i] end
  if #more > 0 then set(rest, WAYS, more) end
  rest = node.has_more(rest) and rest or true
  local out, both_match = {}, nil
  for i, x in ipairs(first.list) do
    local here = first.made and first.path or first.path .. "/" .. (i - 1)
    local schema, beside = self:both(x, rest), nil
    if first.one then schema, beside = self:alone(first, i, schema, here) end
    if beside then
      both_match = both_match or ("alternatives %d and %d may both match"):format(math.min(i, beside) - 1, math.max(i, beside) - 1)
    end
    if schema == nil then fail(first.path, both_match) end
    out[#out + 1] = { schema = schema, path = here }
  end
  return out, both_match, first.path
end

return M
