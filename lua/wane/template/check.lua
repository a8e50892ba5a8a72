--- Chat templates: what jinja2 refuses before anything runs.
---
--- An unknown filter or test is an error at once, except in the branches of
--- {% if %} and of conditional expressions, where it counts only when it is
--- reached; `break` and `continue` want a loop around them (a macro or block
--- between hides it); `loop` cannot be the variable of a loop.
local M = {}

local V = require "wane.template.value"
local fail = V.fail

--- Set by filters.lua and tests.lua.
M.has_filter, M.has_test = nil, nil

local expr

local function args(a, soft)
  for _, e in ipairs(a) do expr(e, soft) end
  for _, p in ipairs(a.named) do expr(p[2], soft) end
  if a.spread then expr(a.spread, soft) end
  if a.spread_named then expr(a.spread_named, soft) end
end

local function list(nodes, soft)
  for _, e in ipairs(nodes) do expr(e, soft) end
end

local EXPR = {}
EXPR.tuple = function(n, soft) list(n.items, soft) end
EXPR.array, EXPR.concat = EXPR.tuple, EXPR.tuple
EXPR.object = function(n, soft)
  for _, p in ipairs(n.pairs) do
    expr(p[1], soft)
    expr(p[2], soft)
  end
end
EXPR.attr = function(n, soft) return expr(n.object, soft) end
EXPR.item = function(n, soft)
  expr(n.object, soft)
  expr(n.index, soft)
end
EXPR.slice = function(n, soft)
  for _, key in ipairs { "start", "stop", "step" } do
    if n[key] then expr(n[key], soft) end
  end
end
EXPR.call = function(n, soft)
  expr(n.callee, soft)
  args(n.args, soft)
end
EXPR.filter = function(n, soft)
  if not soft and not M.has_filter(n.name) then fail(n.pos, ("unknown filter '%s'"):format(n.name), "EDATA") end
  expr(n.operand, soft)
  args(n.args, soft)
end
EXPR.test = function(n, soft)
  if not soft and not M.has_test(n.name) then fail(n.pos, ("unknown test '%s'"):format(n.name), "EDATA") end
  expr(n.operand, soft)
  args(n.args, soft)
end
EXPR["not"] = function(n, soft) return expr(n.operand, soft) end
EXPR.sign = EXPR["not"]
EXPR.binary = function(n, soft)
  expr(n.left, soft)
  expr(n.right, soft)
end
EXPR["and"], EXPR["or"] = EXPR.binary, EXPR.binary
EXPR.compare = function(n, soft)
  expr(n.first, soft)
  for _, op in ipairs(n.ops) do expr(op[2], soft) end
end
EXPR.cond = function(n)
  expr(n.value, true)
  expr(n.test, true)
  if n.other then expr(n.other, true) end
end

function expr(n, soft)
  local fn = EXPR[n.t]
  if fn then return fn(n, soft) end
end

local statements

local function no_loop_name(target)
  if target.t == "name" and target.name == "loop" then fail(target.pos, "'loop' cannot be the variable of a loop") end
  for _, item in ipairs(target.items or {}) do no_loop_name(item) end
end

local function params(list_of, soft)
  for _, p in ipairs(list_of) do
    if p.default then expr(p.default, soft) end
  end
end

local STATEMENT = {}
STATEMENT.print = function(n, soft) list(n.items, soft) end
STATEMENT["if"] = function(n, _, in_loop)
  for _, b in ipairs(n.branches) do
    expr(b[1], true)
    statements(b[2], true, in_loop)
  end
  statements(n.other, true, in_loop)
end
STATEMENT["for"] = function(n, soft, in_loop)
  no_loop_name(n.var)
  expr(n.list, soft)
  if n.test then expr(n.test, false) end
  statements(n.body, false, true)
  statements(n.other, false, in_loop)
end
STATEMENT.set = function(n, soft)
  if n.value then return expr(n.value, soft) end
  statements(n.body, false, false)
  expr(n.filter, false)
end
STATEMENT.macro = function(n, soft)
  params(n.params, soft)
  statements(n.body, false, false)
end
STATEMENT.caller = function(n, soft)
  expr(n.call, soft)
  params(n.params, soft)
  statements(n.body, false, false)
end
STATEMENT.filter_block = function(n)
  expr(n.filter, false)
  statements(n.body, false, false)
end
STATEMENT.with = function(n, soft, in_loop)
  for _, p in ipairs(n.pairs) do expr(p[2], soft) end
  statements(n.body, false, in_loop)
end
STATEMENT.autoescape = function(n, soft, in_loop)
  expr(n.on, soft)
  statements(n.body, false, in_loop)
end
STATEMENT.block = function(n) statements(n.body, false, false) end
STATEMENT.scope = function(n) statements(n.body, false, false) end
STATEMENT["break"] = function(n, _, in_loop)
  if not in_loop then fail(n.pos, ("'%s' outside of a loop"):format(n.t)) end
end
STATEMENT["continue"] = STATEMENT["break"]

function statements(nodes, soft, in_loop)
  for _, n in ipairs(nodes) do
    local fn = STATEMENT[n.t]
    if fn then fn(n, soft, in_loop) end
  end
end

--- Raises for what is wrong in a tree.
function M.tree(nodes)
  statements(nodes, false, false)
end

return M
