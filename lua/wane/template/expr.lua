--- Chat templates, second step: expressions, with jinja2's grammar.
---
--- From loosest to tightest: a if b else c; or; and; not; comparisons (in a
--- chain); + -; ~; * / // %; ** (from the left); signs; then .name [index]
--- (call), then |filter and `is test`. A sign binds tighter than **, a filter
--- after a sign takes the signed value: -2 ** 2 is 4, -5|abs is 5.
local M = {}

local V = require "wane.template.value"
local fail = V.fail

--- Nesting of blocks and expressions together.
M.MAX_DEPTH = 100

local P = {}
P.__index = P
M.Parser = P

function P:peek(ahead)
  return self.tokens[self.at + (ahead or 0)] or self.eof
end

function P:next()
  local t = self:peek()
  self.at = self.at + 1
  return t
end

function P:is(kind) return self:peek()[1] == kind end

function P:is_name(name)
  local t = self:peek()
  return t[1] == "name" and t[2] == name
end

--- Takes the token if it is of this kind.
function P:take(kind)
  if self:is(kind) then return self:next() end
end

--- Takes the token if it is this word.
function P:take_name(name)
  if self:is_name(name) then return self:next() end
end

--- How a token is named in messages.
local function spelled(t)
  if t[1] == "name" then return t[2] end
  if t[1] == "eof" then return "the end of the template" end
  return t[1]
end

function P:expect(kind)
  local t = self:peek()
  if t[1] == kind then return self:next() end
  fail(t[3], ("found %s, want %s"):format(spelled(t), kind))
end

--- One level deeper, for the time of fn.
function P:deeper(fn, ...)
  self.depth = self.depth + 1
  if self.depth > M.MAX_DEPTH then
    fail(self:peek()[3], ("blocks and expressions nest deeper than %d"):format(M.MAX_DEPTH), "ELIMIT")
  end
  local node = fn(self, ...)
  self.depth = self.depth - 1
  return node
end

--- A node over others: chains of operators count as nesting too, because they
--- are run by recursion.
local function node(t, pos, fields, ...)
  local deepest = 0
  for i = 1, select("#", ...) do
    local child = select(i, ...)
    if child and child.height > deepest then deepest = child.height end
  end
  if deepest >= 4 * M.MAX_DEPTH then
    fail(pos, ("an expression of more than %d parts"):format(4 * M.MAX_DEPTH), "ELIMIT")
  end
  fields.t, fields.pos, fields.height = t, pos, deepest + 1
  return fields
end
M.node = node

local CONSTANTS = {
  ["true"] = true, ["True"] = true, ["false"] = false, ["False"] = false, none = V.NONE, None = V.NONE,
}
M.CONSTANTS = CONSTANTS

-- ---- tuples, lists, objects ----------------------------------------------------

local function tuple_ends(self, extra)
  return self:is "}}" or self:is "%}" or self:is ")" or (extra and self:is_name(extra))
end

--- One expression, or a tuple of several. `item` reads one; `ends`: a word
--- that ends a tuple too; `parens`: it may be empty.
function P:tuple(item, ends, parens)
  local pos, items, is_tuple = self:peek()[3], {}, false
  while true do
    if #items > 0 then self:expect "," end
    if tuple_ends(self, ends) then break end
    items[#items + 1] = item(self)
    if not self:is "," then break end
    is_tuple = true
  end
  if not is_tuple then
    if items[1] then return items[1] end
    if not parens then fail(pos, ("found %s, want an expression"):format(spelled(self:peek()))) end
  end
  return node("tuple", pos, { items = items })
end

local function series(self, close, item)
  local out = {}
  while not self:is(close) do
    if #out > 0 then
      self:expect ","
      if self:is(close) then break end
    end
    out[#out + 1] = item(self)
  end
  self:next()
  return out
end

local expression

local function pair(self)
  local key = expression(self)
  self:expect ":"
  return { key, expression(self) }
end

local PRIMARY = {}
local function constant(_, t) return node("const", t[3], { value = t[2] }) end
PRIMARY.int, PRIMARY.float = constant, constant
function PRIMARY.str(self, t)
  local parts = { t[2] }
  while self:is "str" do parts[#parts + 1] = self:next()[2] end
  return node("const", t[3], { value = table.concat(parts) })
end
function PRIMARY.name(_, t)
  local c = CONSTANTS[t[2]]
  if c ~= nil then return node("const", t[3], { value = c }) end
  return node("name", t[3], { name = t[2] })
end
PRIMARY["("] = function(self)
  local inner = self:tuple(expression, nil, true)
  self:expect ")"
  return inner
end
PRIMARY["["] = function(self, t)
  return node("array", t[3], { items = series(self, "]", expression) })
end
PRIMARY["{"] = function(self, t)
  return node("object", t[3], { pairs = series(self, "}", pair) })
end

function P:primary()
  local t = self:next()
  local make = PRIMARY[t[1]]
  if not make then fail(t[3], ("found %s, want an expression"):format(spelled(t))) end
  return make(self, t)
end

-- ---- calls, indexes --------------------------------------------------------------

--- (a, b=c, *d, **e): { args, named = { { name, value } }, spread, spread_named }
function P:arguments()
  local out = { named = {} }
  self:expect "("
  local comma, seen = false, {}
  while not self:is ")" do
    if comma then
      self:expect ","
      if self:is ")" then break end
    end
    local t = self:peek()
    if self:take "*" then
      if out.spread or out.spread_named then fail(t[3], "two * arguments") end
      out.spread = expression(self)
    elseif self:take "**" then
      if out.spread_named then fail(t[3], "two ** arguments") end
      out.spread_named = expression(self)
    elseif t[1] == "name" and self:peek(1)[1] == "=" then
      if out.spread_named then fail(t[3], "a named argument behind **") end
      if seen[t[2]] then fail(t[3], ("argument '%s' is given twice"):format(t[2])) end
      seen[t[2]] = true
      self.at = self.at + 2
      out.named[#out.named + 1] = { t[2], expression(self) }
    else
      if out.spread or out.spread_named or #out.named > 0 then fail(t[3], "a plain argument behind a named one") end
      out[#out + 1] = expression(self)
    end
    comma = true
  end
  self:next()
  return out
end

--- What stands in square brackets: an index or start:stop:step.
local function subscribed(self)
  local pos, parts = self:peek()[3], {}
  if self:take ":" then
    parts[1] = false
  else
    local e = expression(self)
    if not self:take ":" then return e end
    parts[1] = e
  end
  local function part()
    if self:is ":" or self:is "]" or self:is "," then return false end
    return expression(self)
  end
  parts[2] = part()
  parts[3] = self:take ":" and part() or false
  return node("slice", pos, { start = parts[1], stop = parts[2], step = parts[3] })
end

local function subscript(self, object, pos)
  local items = series(self, "]", subscribed)
  if #items == 1 then return node("item", pos, { object = object, index = items[1] }, object, items[1]) end
  for _, item in ipairs(items) do
    if item.t == "slice" then fail(item.pos, "a slice among indexes") end
  end
  local index = node("tuple", pos, { items = items })
  return node("item", pos, { object = object, index = index }, object, index)
end

--- .name, [index], (arguments), in any row.
function P:postfix(object)
  while true do
    local t = self:peek()
    if self:take "." then
      local name = self:next()
      if name[1] == "name" then
        object = node("attr", t[3], { object = object, name = name[2] }, object)
      elseif name[1] == "int" then -- x.0 is x[0]
        local index = node("const", name[3], { value = name[2] })
        object = node("item", t[3], { object = object, index = index }, object)
      else
        fail(name[3], "want a name after the dot")
      end
    elseif self:take "[" then
      object = subscript(self, object, t[3])
    elseif self:is "(" then
      object = node("call", t[3], { callee = object, args = self:arguments() }, object)
    else
      return object
    end
  end
end

-- ---- filters and tests -------------------------------------------------------------

local function dotted(self)
  local t = self:expect "name"
  local name = t[2]
  while self:take "." do name = name .. "." .. self:expect "name"[2] end
  return name, t[3]
end

--- |name(arguments), as often as it comes. `inline`: the first has no bar.
function P:filters(operand, inline)
  while inline or self:is "|" do
    if not inline then self:next() end
    local name, pos = dotted(self)
    local args = self:is "(" and self:arguments() or { named = {} }
    operand = node("filter", pos, { operand = operand, name = name, args = args }, operand)
    inline = false
  end
  return operand
end

local TEST_ARGUMENT = { name = true, str = true, int = true, float = true, ["("] = true, ["["] = true, ["{"] = true }

local function tested(self, operand)
  local pos = self:next()[3]
  local negate = self:take_name "not" ~= nil
  local name = dotted(self)
  local args = { named = {} }
  local t = self:peek()
  if t[1] == "(" then
    args = self:arguments()
  elseif TEST_ARGUMENT[t[1]] and not (t[1] == "name" and (t[2] == "else" or t[2] == "or" or t[2] == "and")) then
    if self:is_name "is" then fail(t[3], "tests cannot be chained with 'is'") end
    args[1] = self:postfix(self:primary())
  end
  local test = node("test", pos, { operand = operand, name = name, args = args }, operand)
  return negate and node("not", pos, { operand = test }, test) or test
end

local function filtered(self, operand)
  while true do
    if self:is "|" then
      operand = self:filters(operand)
    elseif self:is_name "is" then
      operand = tested(self, operand)
    elseif self:is "(" then
      operand = node("call", self:peek()[3], { callee = operand, args = self:arguments() }, operand)
    else
      return operand
    end
  end
end

-- ---- operators ----------------------------------------------------------------------

local function unary(self, with_filter)
  local t = self:peek()
  local operand
  if self:take "-" or self:take "+" then
    local inner = self:deeper(unary, false)
    operand = node("sign", t[3], { operand = inner, minus = t[1] == "-" }, inner)
  else
    operand = self:primary()
  end
  operand = self:postfix(operand)
  if with_filter then operand = filtered(self, operand) end
  return operand
end

local function signed(self) return unary(self, true) end

--- Operators of one level, applied from the left.
local function binary(operand, ...)
  local set = {}
  for _, op in ipairs { ... } do set[op] = true end
  return function(self)
    local left = operand(self)
    while set[self:peek()[1]] do
      local t = self:next()
      local right = operand(self)
      left = node("binary", t[3], { op = t[1], left = left, right = right }, left, right)
    end
    return left
  end
end

local power = binary(signed, "**")
local product = binary(power, "*", "/", "//", "%")

local function joined(self)
  local pos, first = self:peek()[3], product(self)
  if not self:is "~" then return first end
  local items = { first }
  while self:take "~" do items[#items + 1] = product(self) end
  if #items > 4 * M.MAX_DEPTH then fail(pos, ("an expression of more than %d parts"):format(4 * M.MAX_DEPTH), "ELIMIT") end
  local tallest = first
  for _, item in ipairs(items) do
    if item.height > tallest.height then tallest = item end
  end
  return node("concat", pos, { items = items }, tallest)
end

local sum = binary(joined, "+", "-")

local COMPARISONS = { ["=="] = true, ["!="] = true, ["<"] = true, [">"] = true, ["<="] = true, [">="] = true }

local function comparison(self)
  if COMPARISONS[self:peek()[1]] then return self:next()[1] end
  if self:take_name "in" then return "in" end
  local ahead = self:peek(1)
  if self:is_name "not" and ahead[1] == "name" and ahead[2] == "in" then
    self.at = self.at + 2
    return "not in"
  end
end

local function compared(self)
  local pos, first = self:peek()[3], sum(self)
  local ops = {}
  while true do
    local at, op = self:peek()[3], comparison(self)
    if not op then break end
    ops[#ops + 1] = { op, sum(self), at }
    if #ops > 4 * M.MAX_DEPTH then fail(at, ("an expression of more than %d parts"):format(4 * M.MAX_DEPTH), "ELIMIT") end
  end
  if #ops == 0 then return first end
  return node("compare", pos, { first = first, ops = ops }, first, ops[1][2])
end

local function negated(self)
  local t = self:peek()
  if self:take_name "not" then
    local operand = self:deeper(negated)
    return node("not", t[3], { operand = operand }, operand)
  end
  return compared(self)
end

local function logical(operand, word)
  return function(self)
    local left = operand(self)
    while self:is_name(word) do
      local pos = self:next()[3]
      local right = operand(self)
      left = node(word, pos, { left = left, right = right }, left, right)
    end
    return left
  end
end

local conjunction = logical(negated, "and")
local disjunction = logical(conjunction, "or")

--- An expression that is no conditional one.
function P:plain_expression() return self:deeper(disjunction) end

--- a if b else c; without else it may be undefined.
local function conditional(self)
  local value = disjunction(self)
  while self:is_name "if" do
    local pos = self:next()[3]
    local test = disjunction(self)
    local other
    if self:take_name "else" then other = self:deeper(conditional) end
    value = node("cond", pos, { value = value, test = test, other = other }, value, test, other)
  end
  return value
end

function expression(self) return self:deeper(conditional) end
P.expression = expression

return M
