--- JSON Schema (drafts 7 and 2020-12) as a grammar for generated text.
---
--- What it guarantees: every text of the grammar is valid under the schema. What
--- cannot be expressed is refused with its path - nil, "schema: /properties/x:
--- ...", "EUNSUP" - and never left out, unless the caller names it (`ignore`).
--- Formats that nobody knows are annotations: any string, and a note that says so.
--- The grammar may be narrower than the
--- schema: properties come in the schema's order, those it does not name come
--- only where additionalProperties or patternProperties say so, values have the
--- types that the keywords are about, numbers have at most 15 digits.
---
---     local schema = require "wane.schema"
---     local grammar = assert(schema.compile '{"type": "object", "properties": {"age": {"type": "integer"}}}')
---     for text in model:generate("As JSON: ", { grammar = grammar }) do io.write(text) end
local M = {}

local json = require "wane.json"
local node = require "wane.schema.node"
local options = require "wane.options"

local MAX_BYTES, MAX_DEPTH, MAX_STEPS, MAX_RULES = 4194304, 128, 500000, 100000
local fail, is_node = node.fail, node.is_node

-- The compiler: its methods are in the files of wane.schema.
local Compiler = {}
Compiler.__index = Compiler
for _, part in ipairs { "values", "logic", "scalar", "array", "object" } do
  for name, f in pairs(require("wane.schema." .. part)) do Compiler[name] = f end
end

function Compiler:step(path)
  self.steps = self.steps + 1
  if self.steps > MAX_STEPS then fail(path, "too much to work out (over 500,000 steps)", "ELIMIT") end
end

--- Tells the caller of something that the grammar does not check; once.
function Compiler:note(path, what)
  local text = ("schema: %s: %s"):format(path == "" and "/" or path, what)
  if not self.noted[text] then table.insert(self.notes, text) end
  self.noted[text] = true
end

-- ---- rules ------------------------------------------------------------------------

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

--- The name of a rule that every grammar has in the same words.
function Compiler:fixed(name)
  if not self.rules[name] then
    self.rules[name] = FIXED[name]
    self.order[#self.order + 1] = name
    for _, other in ipairs(NEEDS[name] or {}) do self:fixed(other) end
  end
  return name
end

--- A new rule.
function Compiler:rule(expression)
  if #self.order >= MAX_RULES then fail("", "over 100000 rules", "ELIMIT") end
  self.n = self.n + 1
  local name = "r" .. self.n
  self.rules[name] = expression
  self.order[#self.order + 1] = name
  return name
end

-- ---- schemas ------------------------------------------------------------------------

-- The alternatives of the first disjunction that some value is valid under.
local function alternatives(self, s, depth)
  local out, empty = {}, nil
  local ways, both_match, where = self:ways(s)
  for _, way in ipairs(ways) do
    local name, failed = self:attempt(way.schema, way.path, depth + 1)
    empty = empty or failed
    out[#out + 1] = name
  end
  if #out == 0 and both_match then fail(where, both_match) end
  if #out == 0 then error(empty, 0) end
  return "(" .. table.concat(out, " | ") .. ")"
end

local function by_types(self, s, path, depth)
  local types, out, empty = node.types(s, path), {}, nil
  if not types then -- the types that the keywords are about; without any, all
    types = {}
    for _, t in ipairs(self:about(s)) do types[t] = true end
    if next(types) == nil then return self:fixed "value" end
  end
  local makers = {
    object = function() return self:object(s, path, depth) end,
    array = function() return self:array(s, path, depth) end,
    string = function() return self:string(s, path) end,
    number = function() return self:number(s, false, path) end,
    integer = function() return not types.number and self:number(s, true, path) or nil end,
    boolean = function() return self:fixed "boolean" end,
    null = function() return self:fixed "null" end,
  }
  for _, t in ipairs(node.TYPES) do
    if types[t] then
      local made, failed = self:catch(makers[t])
      empty = empty or failed
      out[#out + 1] = made
    end
  end
  if #out == 0 then
    if empty then error(empty, 0) end
    fail(path, "no type is allowed", "EMPTY")
  end
  return #out == 1 and out[1] or "(" .. table.concat(out, " | ") .. ")"
end

local function expression(self, s, path, depth)
  if s == false then fail(path, "nothing is allowed", "EMPTY") end
  if s == true then return self:fixed "value" end
  if s.map[node.WAYS] then return alternatives(self, s, depth) end
  if s.map.enum then return self:enum(s, path) end
  return by_types(self, s, path, depth)
end

-- Calls f; nil and the error where no value is valid. What it made until then is
-- forgotten.
function Compiler:catch(f)
  local n_order, n_made = #self.order, #self.made
  local ok, out = pcall(f)
  if ok then return out end
  if type(out) ~= "table" or out.code ~= "EMPTY" then error(out, 0) end
  for i = #self.order, n_order + 1, -1 do
    self.rules[self.order[i]] = nil
    self.order[i] = nil
  end
  for i = #self.made, n_made + 1, -1 do
    self.memo[self.made[i]] = nil
    self.made[i] = nil
  end
  return nil, out
end

-- A schema's grammar, at the same place of the text as what is being compiled.
function Compiler:attempt(s, path, depth)
  return self:catch(function() return self:compile(s, path, depth) end)
end

--- The grammar of something within an object or array; nil when no value is
--- valid, and the error.
function Compiler:try(s, path, depth)
  self.level = self.level + 1
  local out, failed = self:attempt(s, path, depth)
  self.level = self.level - 1
  return out, failed
end

--- The grammar of a schema: an expression. The same schema is the same rule, so
--- that one which holds itself ends.
function Compiler:compile(s, path, depth)
  self:step(path)
  if depth > MAX_DEPTH then fail(path, "over 128 levels deep", "ELIMIT") end
  local hops = 0
  while is_node(s) and s.map["$ref"] ~= nil and not node.has_more(s, "$ref") do -- nothing but a reference
    if hops > MAX_DEPTH then fail(path .. "/$ref", "a $ref that leads to itself, or over 128 in a row", "EFORMAT") end
    local pointer
    hops, s, pointer = hops + 1, self:resolve(s.map["$ref"], path)
    path = "#" .. pointer
  end
  if not is_node(s) then return expression(self, self:flat(s, path, 0), path, depth) end
  local known = self.memo[s]
  if known then
    if known.level == self.level then fail(path, "a schema that leads to itself", "EFORMAT") end
    return known.name
  end
  local name = self:rule ""
  self.memo[s] = { name = name, level = self.level }
  self.made[#self.made + 1] = s
  self.rules[name] = expression(self, self:flat(s, path, 0), path, depth)
  if self.memo[s] then self.memo[s].level = nil end
  return name
end

local function new_compiler()
  return setmetatable({ rules = {}, order = {}, n = 0, steps = 0, level = 0, hops = 0, memo = {}, made = {}, pairs = {}, opposites = {},
    flats = {}, loose = {}, trees = {}, automata = {}, notes = {}, noted = {} }, Compiler)
end

local check_options = options.checker("schema.compile", { ignore = "table", notes = "table" })

-- The keywords to leave out, as a set.
local function ignored(opts)
  local set = {}
  for i, key in ipairs(opts.ignore or {}) do
    if type(key) ~= "string" or not node.counts(key) or key:find "^[\t$]" and not node.REFUSED[key] then
      error(("wane: schema.compile: option 'ignore[%d]': want a keyword of JSON Schema, got %s"):format(i, tostring(key)), 3)
    end
    set[key] = true
  end
  return set
end

--- The grammar (GBNF) of the texts that are valid under a schema.
---
---     print(assert(require("wane.schema").compile { type = "integer", minimum = 1, maximum = 12 }))
---@param schema string|table|boolean   JSON text, or the same as a Lua table (properties then come in the order of
---  their names; json.ordered keeps another)
---@param opts? table        notes (a list that gets what the grammar does not check, with paths: unknown formats, ignored
---  keywords), ignore (names of keywords to leave out: for those that are refused)
---@return string|nil grammar
---@return string? message   with the path in the schema
---@return string? code      "EUNSUP", "EFORMAT", "ELIMIT"
function M.compile(schema, opts)
  local o = check_options(opts or {})
  local ignore = ignored(o)
  if type(schema) == "string" then
    local message, code
    if #schema > MAX_BYTES then return nil, ("schema: %d bytes, want at most %d"):format(#schema, MAX_BYTES), "ELIMIT" end
    schema, message, code = json.decode(schema, { ordered = true })
    if schema == nil then return nil, "schema: " .. message, code end
  elseif type(schema) ~= "table" and type(schema) ~= "boolean" then
    error("wane: schema.compile: want JSON text or a table, got a " .. type(schema), 2)
  end
  local c = new_compiler()
  local ok, out = pcall(function()
    c.root = node.convert(schema, "", 0)
    if next(ignore) then c.root = node.leave_out(c.root, ignore, "", function(path) c:note(path, "left out") end) end
    return c:compile(c.root, "", 0)
  end)
  if not ok then
    if type(out) == "table" and out.schema then return nil, out.schema, out.code == "EMPTY" and "EUNSUP" or out.code end
    error(out, 0)
  end
  local lines = { "root ::= " .. out }
  for _, name in ipairs(c.order) do lines[#lines + 1] = name .. " ::= " .. c.rules[name] end
  for _, note in ipairs(c.notes) do
    if o.notes then table.insert(o.notes, note) end
  end
  return table.concat(lines, "\n") .. "\n"
end

return M
