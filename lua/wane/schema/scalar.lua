--- Strings, numbers and enumerations as grammar text. Methods of the schema
--- compiler.
local automaton = require "wane.schema.automaton"
local node = require "wane.schema.node"
local number = require "wane.schema.number"
local regex = require "wane.schema.regex"
local text = require "wane.schema.text"

local M = {}

local fail = node.fail
local MAX_PATTERN = 32768

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
  ["relative-json-pointer"] = "(0|[1-9][0-9]{0,3})(/[A-Za-z0-9_.-]{0,20}){0,6}",
  regex = "[A-Za-z0-9 _:/-]{0,40}",
}
FORMATS["date-time"] = FORMATS.date .. "T" .. FORMATS.time
FORMATS["uri-reference"], FORMATS.iri = FORMATS.uri, FORMATS.uri
FORMATS["iri-reference"], FORMATS["uri-template"] = FORMATS.uri, FORMATS.uri
FORMATS["idn-email"], FORMATS["idn-hostname"] = FORMATS.email, FORMATS.hostname

-- Of formats that count a lot, what automata get: few states.
local LOOSE = {
  email = "[A-Za-z0-9]+([._-][A-Za-z0-9]+)*@[a-z0-9]+(\\.[a-z]{2,12}){1,3}",
  uri = "https?://[a-z0-9]+(\\.[a-z0-9]+)*(/[A-Za-z0-9._~-]*)*",
  ["json-pointer"] = "(/[A-Za-z0-9_.-]*)*",
}
for name, as in pairs { ["uri-reference"] = "uri", iri = "uri", ["iri-reference"] = "uri", ["uri-template"] = "uri", ["idn-email"] = "email" } do
  LOOSE[name] = LOOSE[as]
end

--- The tree of a pattern.
function M:tree(source, path)
  if type(source) ~= "string" then fail(path, "want a string", "EFORMAT") end
  if #source > MAX_PATTERN then fail(path, ("a pattern of %d bytes, want at most %d"):format(#source, MAX_PATTERN), "ELIMIT") end
  if not self.trees[source] then
    local tree, what, code = regex.parse(source)
    if not tree then fail(path, "not supported: " .. what, code) end
    self.trees[source] = tree
  end
  return self.trees[source]
end

-- What the automata raise, with a path.
local function guarded(path, f, ...)
  local ok, out = pcall(f, ...)
  if ok then return out end
  if type(out) == "table" and out.regex then fail(path, "not supported: " .. out.regex, out.code or "EUNSUP") end
  error(out, 0)
end

--- The automaton of a pattern.
function M:pattern(source, path)
  local a = self.automata[source]
  if not a then
    a = guarded(path, automaton.of_tree, self:tree(source, path))
    self.automata[source] = a
  end
  return a
end

-- The patterns of a string schema: { source, negate, path } each.
local function sources_of(self, m, path)
  local out = {}
  if m.pattern then out[1] = { m.pattern, path = path .. "/pattern" } end
  for _, p in ipairs(m[node.PATTERNS] or {}) do out[#out + 1] = { p[1], negate = p.negate, path = path .. "/pattern" } end
  if m.format ~= nil then
    local f, loose = FORMATS[m.format], LOOSE[m.format]
    if f then
      out[#out + 1] = { "^(" .. f .. ")$", path = path .. "/format", loose = loose and "^(" .. loose .. ")$", format = true }
    else -- an annotation, says the standard
      self:note(path .. "/format", ("the format '%s' is not known: any string"):format(m.format))
    end
  end
  return out
end

--- Automata of what a string must match, or must not: { automaton, negate = }.
function M:patterns_of(m, path)
  local out = {}
  for i, p in ipairs(sources_of(self, m, path)) do out[i] = { self:pattern(p.loose or p[1], p.path), negate = p.negate, format = p.format } end
  return out
end

--- A rule for the inside of strings of a schema that are none of the names and
--- satisfy more parts; nil when there is none.
function M:inside(m, names, more, bare, path)
  local parts = self:patterns_of(m, path)
  for _, p in ipairs(more or {}) do parts[#parts + 1] = p end
  if #names > 0 then parts[#parts + 1] = { guarded(path, automaton.of_names, names), negate = true } end
  return guarded(path, automaton.intersect, parts, m.minLength or 0, m.maxLength or math.huge, bare, function(body, name)
    if not name then return self:rule(body) end
    self.rules[name] = body
  end, function() self:step(path) end)
end

-- A string that is only counted.
local function counted(self, min, max, path)
  if min == 0 and max == math.huge then return self:fixed "string" end
  if (max < math.huge and max or min) > 1000000 then fail(path, "a string of over a million characters", "ELIMIT") end
  if max == 0 then return '"\\"\\""' end
  return '"\\"" ' .. self:fixed "char" .. text.times(min, max < math.huge and max or nil) .. ' "\\""'
end

function M:string(s, path)
  local m = s.map
  local min, max = m.minLength or 0, m.maxLength or math.huge
  if min > max then fail(path, "minLength is above maxLength", "EMPTY") end
  local sources, others = sources_of(self, m, path), m[node.OTHER_THAN] or {}
  if #sources == 0 and #others == 0 then return counted(self, min, max, path) end
  if #sources == 1 and #others == 0 and not sources[1].negate then
    local p = sources[1]
    local body = guarded(p.path, regex.direct, self:tree(p[1], p.path), min, max, self:fixed "char")
    if body then return '"\\"" ' .. body .. ' "\\""' end
  end
  local where = sources[1] and sources[1].path or path
  local body = self:inside(m, others, nil, false, where)
  if not body then fail(where, "no string is allowed", "EMPTY") end
  return '"\\"" ' .. body .. ' "\\""'
end

function M:number(s, whole, path)
  local m = s.map
  local low, high, low_open, high_open = m.minimum, m.maximum, false, false
  if m.exclusiveMinimum and (not low or m.exclusiveMinimum >= low) then low, low_open = m.exclusiveMinimum, true end
  if m.exclusiveMaximum and (not high or m.exclusiveMaximum <= high) then high, high_open = m.exclusiveMaximum, true end
  local out, what
  if whole or m.multipleOf then
    local first, last = low, high
    if low_open and low == math.floor(low) then first = low + 1 end
    if high_open and high == math.floor(high) then last = high - 1 end
    if m.multipleOf then
      out, what = number.multiples(m.multipleOf, first, last, { whole = whole, low = low, high = high, low_open = low_open,
        high_open = high_open }, function(body, name)
        if not name then return self:rule(body) end
        self.rules[name] = body
      end)
      if what then fail(path .. "/multipleOf", what) end
    else
      out = number.integer(first, last)
    end
  elseif not low and not high then
    return self:fixed "number"
  else
    out = number.number(low, high, low_open, high_open)
  end
  return out or fail(path, "no number is in this range", "EMPTY")
end

function M:enum(s, path)
  local out, rest = {}, node.without(s, { enum = true })
  for _, v in ipairs(s.map.enum) do
    if self:valid(rest, v, path) then out[#out + 1] = text.literal(node.encoded(v)) end
  end
  if #out == 0 then fail(path .. "/enum", "no value is allowed", "EMPTY") end
  return "(" .. table.concat(out, " | ") .. ")"
end

return M
