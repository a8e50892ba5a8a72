--- Chat templates, second step: tokens to a tree.
---
--- A node is { t = kind, pos, ... }; eval.lua lists the kinds. Depth is
--- limited, so that neither parsing nor running can exhaust the stack.
local M = {}

local V = require "wane.template.value"
local fail = V.fail

--- Nesting of blocks and expressions together.
M.MAX_DEPTH = 100

local P = {}
P.__index = P

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

function P:expect(kind)
  local t = self:peek()
  if t[1] == kind then return self:next() end
  fail(t[3], ("found %s, want %s"):format(t[1] == "name" and t[2] or t[1], kind))
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

-- ---- expressions --------------------------------------------------------------

local expression

local function list_of(self, close, item)
  local out = {}
  while not self:take(close) do
    out[#out + 1] = item(self)
    if not self:take "," and not self:is(close) then self:expect(close) end
  end
  return out
end

--- One expression, or a tuple of several.
local function sequence(self, item)
  local pos, first = self:peek()[3], item(self)
  if not self:is "," then return first end
  local items = { first }
  while self:take "," do
    if self:is ")" or self:is "%}" or self:is "=" then break end
    items[#items + 1] = item(self)
  end
  return node("tuple", pos, { items = items })
end

local function pair(self)
  local key = expression(self)
  self:expect ":"
  return { key, expression(self) }
end

local PRIMARY = {}

function PRIMARY.int(_, t) return node("const", t[3], { value = t[2] }) end
function PRIMARY.float(_, t) return node("const", t[3], { value = { k = "float", n = t[2] } }) end
function PRIMARY.str(self, t)
  local parts = { t[2] }
  while self:is "str" do parts[#parts + 1] = self:next()[2] end
  return node("const", t[3], { value = table.concat(parts) })
end
function PRIMARY.name(_, t) return node("name", t[3], { name = t[2] }) end
PRIMARY["("] = function(self, t)
  if self:take ")" then return node("tuple", t[3], { items = {} }) end
  local inner = sequence(self, expression)
  self:expect ")"
  return inner
end
PRIMARY["["] = function(self, t)
  return node("array", t[3], { items = list_of(self, "]", expression) })
end
PRIMARY["{"] = function(self, t)
  return node("object", t[3], { pairs = list_of(self, "}", pair) })
end

local function primary(self)
  local t = self:next()
  local make = PRIMARY[t[1]]
  if not make then fail(t[3], ("found %s, want an expression"):format(t[1])) end
  return make(self, t)
end

local function argument(self)
  local pos = self:peek()[3]
  if self:take "*" then return node("spread", pos, { value = expression(self) }) end
  local e = expression(self)
  if not self:take "=" then return e end
  if e.t ~= "name" then fail(pos, "the name of an argument is an identifier") end
  return node("kwarg", pos, { name = e.name, value = expression(self) })
end

local function arguments(self)
  self:expect "("
  return list_of(self, ")", argument)
end

--- What stands in square brackets: an index or start:stop:step.
local function subscript(self)
  local pos, parts, n, slice = self:peek()[3], {}, 1, false
  while not self:is "]" do
    if self:take ":" then
      n, slice = n + 1, true
    else
      if parts[n] or n > 3 then self:expect "]" end
      parts[n] = expression(self)
    end
  end
  if slice then return node("slice", pos, { start = parts[1], stop = parts[2], step = parts[3] }) end
  return parts[1] or node("const", pos, { value = V.UNDEF })
end

--- .name, [index], (arguments), in any row.
local function postfix(self, object)
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
      local index = subscript(self)
      self:expect "]"
      object = node("item", t[3], { object = object, index = index }, object, index)
    elseif self:is "(" then
      object = node("call", t[3], { callee = object, args = arguments(self) }, object)
    else
      return object
    end
  end
end

--- A filter's or test's name with its arguments, if it has any.
local function applied(self)
  local t = self:expect "name"
  return t[2], self:is "(" and arguments(self) or {}, t[3]
end

local function filtered(self)
  local operand
  local sign = self:take "-" or self:take "+"
  if sign then
    operand = node("neg", sign[3], { operand = self:deeper(filtered), minus = sign[1] == "-" })
  else
    operand = postfix(self, primary(self))
  end
  while self:take "|" do
    local name, args, pos = applied(self)
    operand = node("filter", pos, { operand = operand, name = name, args = args }, operand)
    operand = postfix(self, operand)
  end
  return operand
end

local function tested(self)
  local operand = filtered(self)
  while self:is_name "is" do
    self:next()
    local negate = self:is_name "not" and self:next() ~= nil
    local name, args, pos = applied(self)
    if #args == 0 and (name == "in" or name == "eq" or name == "equalto" or name == "divisibleby") then
      args = { postfix(self, primary(self)) } -- `x is divisibleby 3`
    end
    operand = node("test", pos, { operand = operand, name = name, args = args, negate = negate }, operand)
  end
  return operand
end

--- A level of operators of equal rank, left to right.
local function binary(below, operator)
  return function(self)
    local left = below(self)
    while true do
      local pos, op = self:peek()[3], operator(self)
      if not op then return left end
      local right = below(self)
      left = node("binary", pos, { op = op, left = left, right = right }, left, right)
    end
  end
end

local function one_of(...)
  local set = {}
  for _, op in ipairs { ... } do set[op] = true end
  return function(self)
    if set[self:peek()[1]] then return self:next()[1] end
  end
end

local function comparison(self)
  local t, ahead = self:peek(), self:peek(1)
  if t[1] == "name" and t[2] == "not" and ahead[1] == "name" and ahead[2] == "in" then
    self.at = self.at + 2
    return "not in"
  end
  if self:is_name "in" then return self:next()[2] end
  local op = t[1]
  if op == "==" or op == "!=" or op == "<" or op == ">" or op == "<=" or op == ">=" then return self:next()[1] end
end

local product = binary(tested, one_of("*", "/", "%", "//", "**"))
local sum = binary(product, one_of("+", "-", "~"))
local compared = binary(sum, comparison)

local function negated(self)
  local t = self:peek()
  if self:is_name "not" then
    self:next()
    local operand = self:deeper(negated)
    return node("not", t[3], { operand = operand }, operand)
  end
  return compared(self)
end

local function word(name)
  return function(self)
    if self:is_name(name) then return self:next()[2] end
  end
end
local conjunction = binary(negated, word "and")
local disjunction = binary(conjunction, word "or")

--- a if b else c; without else (in a loop's list) a filter.
local function conditional(self)
  local value = disjunction(self)
  local pos = self:peek()[3]
  if not self:is_name "if" then return value end
  self:next()
  local test = disjunction(self)
  if not self:is_name "else" then
    return node("select", pos, { value = value, test = test }, value, test)
  end
  self:next()
  local other = self:deeper(conditional)
  return node("cond", pos, { value = value, test = test, other = other }, value, test, other)
end

function expression(self) return self:deeper(conditional) end

-- ---- statements -----------------------------------------------------------------

local statement

--- Statements up to one of the given block names; the name found.
local function body(self, ...)
  local out = {}
  while true do
    local t, name = self:peek(), self:peek(1)
    if t[1] == "eof" then fail(self.opened, ("this block has no {%% %s %%}"):format((...))) end
    if t[1] == "{%" and name[1] == "name" then
      for i = 1, select("#", ...) do
        if name[2] == select(i, ...) then
          self.at = self.at + 2
          return out, name[2]
        end
      end
    end
    out[#out + 1] = self:deeper(statement)
  end
end

local STATEMENTS = {}

STATEMENTS["if"] = function(self, pos)
  local branches, other, last = {}
  repeat
    local test = expression(self)
    self:expect "%}"
    self.opened = pos
    local inner
    inner, last = body(self, "endif", "elif", "else")
    branches[#branches + 1] = { test, inner }
  until last ~= "elif"
  if last == "else" then
    self:expect "%}"
    self.opened = pos
    other = body(self, "endif")
  end
  self:expect "%}"
  return node("if", pos, { branches = branches, other = other or {} })
end

local function target(self)
  return postfix(self, primary(self))
end

STATEMENTS["for"] = function(self, pos)
  local var = sequence(self, primary)
  if not self:is_name "in" then fail(self:peek()[3], "want 'in'") end
  self:next()
  local list = expression(self)
  if self:is_name "recursive" then fail(self:peek()[3], "recursive loops are not supported", "EUNSUP") end
  self:expect "%}"
  self.opened = pos
  local inner, last = body(self, "endfor", "else")
  local other = {}
  if last == "else" then
    self:expect "%}"
    other = body(self, "endfor")
  end
  self:expect "%}"
  return node("for", pos, { var = var, list = list, body = inner, other = other })
end

STATEMENTS["set"] = function(self, pos)
  local left, value, inner = sequence(self, target), nil, nil
  if self:take "=" then
    value = sequence(self, expression)
  else
    self:expect "%}"
    self.opened = pos
    inner = body(self, "endset")
  end
  self:expect "%}"
  return node("set", pos, { target = left, value = value, body = inner })
end

STATEMENTS["macro"] = function(self, pos)
  local name = self:expect "name"
  local params = arguments(self)
  for _, p in ipairs(params) do
    if p.t ~= "name" and p.t ~= "kwarg" then fail(p.pos, "a parameter is a name") end
  end
  self:expect "%}"
  self.opened = pos
  local inner = body(self, "endmacro")
  self:expect "%}"
  return node("macro", pos, { name = name[2], params = params, body = inner })
end

STATEMENTS["call"] = function(self, pos)
  local params = self:is "(" and arguments(self) or {}
  local call = postfix(self, primary(self))
  if call.t ~= "call" then fail(pos, "want a call of a macro") end
  self:expect "%}"
  self.opened = pos
  local inner = body(self, "endcall")
  self:expect "%}"
  return node("caller", pos, { call = call, params = params, body = inner })
end

STATEMENTS["filter"] = function(self, pos)
  local name, args = applied(self)
  self:expect "%}"
  self.opened = pos
  local inner = body(self, "endfilter")
  self:expect "%}"
  return node("filter_block", pos, { name = name, args = args, body = inner })
end

for _, name in ipairs { "break", "continue" } do
  STATEMENTS[name] = function(self, pos)
    self:expect "%}"
    return node(name, pos, {})
  end
end

--- Marks for training that mean nothing here.
for _, name in ipairs { "generation", "endgeneration" } do
  STATEMENTS[name] = function(self, pos)
    self:expect "%}"
    return node("const", pos, { value = V.UNDEF })
  end
end

function statement(self)
  local t = self:next()
  if t[1] == "text" then return node("const", t[3], { value = t[2] }) end
  if t[1] == "{{" then
    local e = sequence(self, expression)
    self:expect "}}"
    return e
  end
  local name = self:next()
  local make = name[1] == "name" and STATEMENTS[name[2]]
  if not make then fail(name[3], ("unknown statement '%s'"):format(tostring(name[2]))) end
  return make(self, name[3])
end

--- The statements of a template.
---@param tokens table
---@param source string
---@return table
function M.tree(tokens, source)
  local self = setmetatable({ tokens = tokens, at = 1, depth = 0, eof = { "eof", "eof", #source + 1 } }, P)
  local out = {}
  while not self:is "eof" do out[#out + 1] = self:deeper(statement) end
  return out
end

return M
