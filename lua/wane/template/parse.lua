--- Chat templates, second step: tokens to a tree of statements.
---
--- A node is { t = kind, pos, ... }; eval.lua lists the kinds. Depth is
--- limited, so that neither parsing nor running can exhaust the stack. What
--- jinja2 refuses at compile time (unknown filters outside of branches, break
--- outside of a loop) is refused here: check.lua.
local M = {}

local E = require "wane.template.expr"
local V = require "wane.template.value"
local check = require "wane.template.check"
local fail, node = V.fail, E.node

M.MAX_DEPTH = E.MAX_DEPTH

local expression = E.Parser.expression
local plain = E.Parser.plain_expression

local statement

--- Statements up to one of the given block names; the name found. The end of
--- the block that leads to them is still to come.
local function body(self, opened, ...)
  self:take ":"
  self:expect "%}"
  local out = {}
  while true do
    local t, name = self:peek(), self:peek(1)
    if t[1] == "eof" then fail(opened, ("this block has no {%% %s %%}"):format((...))) end
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

local function assignable(target)
  if target.t == "tuple" then
    for _, item in ipairs(target.items) do assignable(item) end
  elseif target.t ~= "name" and target.t ~= "field" then
    fail(target.pos, "want a name to assign to")
  end
  return target
end

--- A name, or names, that get a value. `fields`: name.attribute may stand
--- there too.
local function target_item(fields)
  return function(self)
    local t, dot, attr = self:peek(), self:peek(1), self:peek(2)
    if fields and t[1] == "name" and dot[1] == "." then
      if attr[1] ~= "name" then fail(attr[3], "want a name after the dot") end
      self.at = self.at + 3
      return node("field", t[3], { name = t[2], attr = attr[2] })
    end
    return self:primary()
  end
end

local function names(self, fields, ends)
  return assignable(self:tuple(target_item(fields), ends))
end

local function single(self)
  local t = self:expect "name"
  if E.CONSTANTS[t[2]] ~= nil then fail(t[3], ("'%s' cannot be assigned to"):format(t[2])) end
  return t[2], t[3]
end

local STATEMENTS = {}

STATEMENTS["if"] = function(self, pos)
  local branches, other, last = {}, {}
  repeat
    local test = self:tuple(plain)
    local inner
    inner, last = body(self, pos, "endif", "elif", "else")
    branches[#branches + 1] = { test, inner }
  until last ~= "elif"
  if last == "else" then other = body(self, pos, "endif") end
  return node("if", pos, { branches = branches, other = other })
end

STATEMENTS["for"] = function(self, pos)
  local var = names(self, false, "in")
  if not self:take_name "in" then fail(self:peek()[3], "want 'in'") end
  local list = self:tuple(plain, "recursive")
  local test
  if self:take_name "if" then test = expression(self) end
  local recursive = self:take_name "recursive" ~= nil
  local inner, last = body(self, pos, "endfor", "else")
  local other = {}
  if last == "else" then other = body(self, pos, "endfor") end
  return node("for", pos, { var = var, list = list, test = test, recursive = recursive, body = inner, other = other })
end

STATEMENTS["set"] = function(self, pos)
  local left = names(self, true)
  if self:take "=" then return node("set", pos, { target = left, value = self:tuple(expression) }) end
  local filter = self:filters(node("collected", pos, {}))
  local inner = body(self, pos, "endset")
  return node("set", pos, { target = left, body = inner, filter = filter })
end

local function signature(self)
  local params, optional = {}, false
  self:expect "("
  while not self:is ")" do
    if #params > 0 then self:expect "," end
    local name, pos = single(self)
    local default
    if self:take "=" then
      default, optional = expression(self), true
    elseif optional then
      fail(pos, "a parameter without a default behind one with a default")
    end
    params[#params + 1] = { name = name, default = default }
  end
  self:next()
  return params
end

STATEMENTS["macro"] = function(self, pos)
  local name = single(self)
  local params = signature(self)
  return node("macro", pos, { name = name, params = params, body = (body(self, pos, "endmacro")) })
end

STATEMENTS["call"] = function(self, pos)
  local params = self:is "(" and signature(self) or {}
  local call = expression(self)
  if call.t ~= "call" then fail(pos, "want a call of a macro") end
  return node("caller", pos, { call = call, params = params, body = (body(self, pos, "endcall")) })
end

STATEMENTS["filter"] = function(self, pos)
  local filter = self:filters(node("collected", pos, {}), true)
  return node("filter_block", pos, { filter = filter, body = (body(self, pos, "endfilter")) })
end

STATEMENTS["with"] = function(self, pos)
  local pairs_of = {}
  while not self:is "%}" do
    if #pairs_of > 0 then self:expect "," end
    local t = names(self, false)
    self:expect "="
    pairs_of[#pairs_of + 1] = { t, expression(self) }
  end
  return node("with", pos, { pairs = pairs_of, body = (body(self, pos, "endwith")) })
end

STATEMENTS["autoescape"] = function(self, pos)
  local on = expression(self)
  return node("autoescape", pos, { on = on, body = (body(self, pos, "endautoescape")) })
end

STATEMENTS["print"] = function(self, pos)
  local items = {}
  while not self:is "%}" do
    if #items > 0 then self:expect "," end
    items[#items + 1] = expression(self)
  end
  return node("print", pos, { items = items })
end

STATEMENTS["block"] = function(self, pos)
  local name = single(self)
  if self.blocks[name] then fail(pos, ("block '%s' is there twice"):format(name)) end
  self.blocks[name] = true
  self:take_name "scoped"
  self:take_name "required"
  local inner = body(self, pos, "endblock")
  self:take_name(name)
  return node("block", pos, { name = name, body = inner })
end

--- Marks of what a model is trained on.
STATEMENTS["generation"] = function(self, pos)
  return node("scope", pos, { body = (body(self, pos, "endgeneration")) })
end

for _, name in ipairs { "break", "continue" } do
  STATEMENTS[name] = function(_, pos) return node(name, pos, {}) end
end

--- Other templates: there are none, so these fail when they are reached.
for _, name in ipairs { "include", "import", "from", "extends" } do
  STATEMENTS[name] = function(self, pos)
    expression(self)
    while not self:is "%}" and not self:is "eof" do self:next() end
    return node("other", pos, { name = name })
  end
end

function statement(self)
  local t = self:next()
  if t[1] == "text" then return node("text", t[3], { value = t[2] }) end
  if t[1] == "{{" then
    local e = self:tuple(expression)
    self:expect "}}"
    return node("print", t[3], { items = { e } })
  end
  local name = self:next()
  if name[1] ~= "name" then fail(name[3], "want the name of a statement") end
  local make = STATEMENTS[name[2]]
  if not make then fail(name[3], ("unknown statement '%s'"):format(tostring(name[2]))) end
  local made = make(self, name[3])
  self:expect "%}"
  return made
end

--- The statements of a template.
---@param tokens table
---@param source string
---@return table
function M.tree(tokens, source)
  local self = setmetatable(
    { tokens = tokens, at = 1, depth = 0, eof = { "eof", "eof", #source + 1 }, blocks = {} }, E.Parser)
  local out = {}
  while not self:is "eof" do out[#out + 1] = self:deeper(statement) end
  check.tree(out)
  return out
end

return M
