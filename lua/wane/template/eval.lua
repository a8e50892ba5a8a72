--- Chat templates, third step: running the tree.
---
--- Every node costs fuel, every byte of text more; what runs out of fuel,
--- output or depth ends with ELIMIT. Names are found where the template says
--- them, not where it is called: a loop, a block or a macro sees what stands
--- around it, and what it sets is gone behind it.
---
--- Nodes: const name tuple array object attr item slice call filter test
--- binary concat compare and or not sign cond collected (values); text print
--- if for set macro caller filter_block with autoescape block scope break
--- continue other (statements).
local M = {}

local A = require "wane.template.args"
local V = require "wane.template.value"
local attrs = require "wane.template.attrs"
local filters = require "wane.template.filters"
local globals = require "wane.template.globals"
local keys = require "wane.keys"
local loops = require "wane.template.loop"
local number = require "wane.template.number"
local operators = require "wane.template.operators"
local repr = require "wane.template.repr"
local tests = require "wane.template.tests"
require "wane.template.sequences"
local bad, kind, bytes = V.bad, V.kind, V.bytes
local NONE = V.NONE

M.MAX_STEPS, M.MAX_OUTPUT, M.MAX_DEPTH = 5000000, 8388608, 100

-- ---- state: fuel and output ---------------------------------------------------

local State = {}
State.__index = State

function State:spend(n)
  self.fuel = self.fuel - n
  if self.fuel < 0 then V.fail(nil, ("more than %d steps"):format(M.MAX_STEPS), "ELIMIT") end
end

--- Checks that text of n more bytes may be made.
function State:room(n)
  self:spend(1 + n / 16)
  if n > M.MAX_OUTPUT then V.fail(nil, ("more than %d bytes of text"):format(M.MAX_OUTPUT), "ELIMIT") end
end

--- The strings of a list in one.
function State:joined(list)
  local n = 0
  for i = 1, #list do n = n + #bytes(list[i]) end
  self:room(n)
  return V.concat(list)
end

--- Appends a string to the output, or to what a macro or block collects.
function State:put(s)
  local n = #bytes(s)
  if n == 0 then return end
  self.written = self.written + n
  self:spend(1 + n / 16)
  if self.written > M.MAX_OUTPUT then
    V.fail(nil, ("more than %d bytes of output"):format(M.MAX_OUTPUT), "ELIMIT")
  end
  self.out[#self.out + 1] = s
end

-- ---- scopes ---------------------------------------------------------------------

local function scope(parent) return { vars = {}, parent = parent } end

local function lookup(s, name)
  while s do
    local v = s.vars[name]
    if v ~= nil then return v end
    s = s.parent
  end
  local g = globals.GLOBALS[name]
  if g ~= nil then return g end
  return V.undefined(("'%s'"):format(name:sub(1, 64)))
end

-- ---- values ------------------------------------------------------------------------

local VALUE = {}

local function value(st, sc, node)
  local fuel, v = st.fuel - 2, VALUE[node.t]
  st.fuel, st.pos = fuel, node.pos
  if fuel < 0 then st:spend(0) end
  return v(st, sc, node)
end

function VALUE.const(_, _, node) return node.value end
function VALUE.name(_, sc, node) return lookup(sc, node.name) end
function VALUE.collected(st) return st.collected end

local function values(st, sc, nodes)
  local out = {}
  for i, n in ipairs(nodes) do out[i] = value(st, sc, n) end
  return out
end

function VALUE.array(st, sc, node) return V.array(values(st, sc, node.items), #node.items) end
function VALUE.tuple(st, sc, node) return V.array(values(st, sc, node.items), #node.items, true) end

function VALUE.object(st, sc, node)
  local out = V.object()
  for _, p in ipairs(node.pairs) do
    local key = value(st, sc, p[1])
    V.set(out, key, value(st, sc, p[2]))
  end
  return out
end

local function add_named(args, key, v)
  if args.named[key] ~= nil then bad(("got multiple values for keyword argument '%s'"):format(key)) end
  args.order[#args.order + 1] = key
  args.named[key] = v
end

--- Evaluated arguments, `first` (when not nil) in front.
local function call_args(st, sc, nodes, first)
  local args, n = { named = {}, order = {} }, 0
  if first ~= nil then args[1], n = first, 1 end
  for _, node in ipairs(nodes) do
    n = n + 1
    args[n] = value(st, sc, node)
  end
  if nodes.spread then
    local list, count = V.each(value(st, sc, nodes.spread), st)
    for i = 1, count do args[n + i] = list[i] end
    n = n + count
  end
  for _, p in ipairs(nodes.named) do add_named(args, p[1], value(st, sc, p[2])) end
  if nodes.spread_named then
    local map = value(st, sc, nodes.spread_named)
    if kind(map) ~= "obj" then bad "argument after ** must be a mapping" end
    for i = 1, map.n do
      if kind(map.keys[i]) ~= "str" then bad "keywords must be strings" end
      add_named(args, bytes(map.keys[i]), map.vals[i])
    end
  end
  args.n = n
  return args
end

function VALUE.attr(st, sc, node)
  local object = value(st, sc, node.object)
  st.pos = node.pos
  return attrs.attr(st, object, node.name)
end

function VALUE.item(st, sc, node)
  local object, index = value(st, sc, node.object), node.index
  if index.t == "slice" then
    local function part(n)
      if not n then return NONE end
      return value(st, sc, n)
    end
    local start, stop, step = part(index.start), part(index.stop), part(index.step)
    st.pos = node.pos
    return attrs.slice(st, object, start, stop, step)
  end
  local key = value(st, sc, index)
  st.pos = node.pos
  return attrs.item(st, object, key)
end

--- Calls, each counted, so that they cannot nest without end.
local function call(st, fn, args)
  st.depth = st.depth + 1
  if st.depth > M.MAX_DEPTH then V.fail(nil, ("macros and blocks call each other deeper than %d"):format(M.MAX_DEPTH), "ELIMIT") end
  local v = A.call(st, fn, args)
  st.depth = st.depth - 1
  return v
end

function VALUE.call(st, sc, node)
  local fn = value(st, sc, node.callee)
  local args = call_args(st, sc, node.args)
  st.pos = node.pos
  return call(st, fn, args)
end

function VALUE.filter(st, sc, node)
  local args = call_args(st, sc, node.args, value(st, sc, node.operand))
  st.pos = node.pos
  return filters.apply(st, node.name, args)
end

function VALUE.test(st, sc, node)
  local args = call_args(st, sc, node.args, value(st, sc, node.operand))
  st.pos = node.pos
  return tests.apply(st, node.name, args)
end

VALUE["not"] = function(st, sc, node) return not V.truthy(value(st, sc, node.operand)) end

VALUE["and"] = function(st, sc, node)
  local left = value(st, sc, node.left)
  if not V.truthy(left) then return left end
  return value(st, sc, node.right)
end

VALUE["or"] = function(st, sc, node)
  local left = value(st, sc, node.left)
  if V.truthy(left) then return left end
  return value(st, sc, node.right)
end

function VALUE.sign(st, sc, node)
  local v = value(st, sc, node.operand)
  st.pos = node.pos
  if kind(v) == "undef" then V.not_defined(v) end
  if kind(v) == "float" then return node.minus and number.float(-v.n) or v end
  local n = V.int(v)
  if not n then bad(("bad operand type for unary %s: '%s'"):format(node.minus and "-" or "+", V.type_name(v))) end
  return node.minus and number.neg(n) or n
end

function VALUE.cond(st, sc, node)
  if V.truthy(value(st, sc, node.test)) then return value(st, sc, node.value) end
  if node.other then return value(st, sc, node.other) end
  return V.undefined "an expression without else"
end

function VALUE.binary(st, sc, node)
  local left = value(st, sc, node.left)
  local right = value(st, sc, node.right)
  st.pos = node.pos
  return operators.apply(st, node.op, left, right)
end

function VALUE.concat(st, sc, node)
  local list = values(st, sc, node.items)
  for i, v in ipairs(list) do list[i] = repr.str(v, st) end
  if st.escape then return operators.join_markup(st, list) end
  return st:joined(list)
end

function VALUE.compare(st, sc, node)
  local left = value(st, sc, node.first)
  for _, op in ipairs(node.ops) do
    local right = value(st, sc, op[2])
    st.pos = op[3]
    if not operators.compare(st, op[1], left, right) then return false end
    left = right
  end
  return true
end

-- ---- statements --------------------------------------------------------------------------

local STATEMENT = {}

--- Runs statements; "break" or "continue" when one of them said so.
local function run(st, sc, nodes)
  for _, node in ipairs(nodes) do
    st:spend(1)
    st.pos = node.pos
    local signal = STATEMENT[node.t](st, sc, node)
    if signal then return signal end
  end
end

--- What fn writes, as a string value.
local function collect(st, fn, ...)
  local outer, written = st.out, st.written
  st.depth = st.depth + 1
  if st.depth > M.MAX_DEPTH then
    V.fail(nil, ("macros and blocks call each other deeper than %d"):format(M.MAX_DEPTH), "ELIMIT")
  end
  st.out = {}
  fn(st, ...)
  local text = V.concat(st.out)
  st.out, st.written, st.depth = outer, written, st.depth - 1
  return st.escape and V.markup(text) or text
end

function STATEMENT.text(st, _, node) st:put(node.value) end

function STATEMENT.print(st, sc, node)
  for _, item in ipairs(node.items) do
    local v = value(st, sc, item)
    if st.escape then v = filters.escape(st, v) end
    st:put(repr.str(v, st))
  end
end

STATEMENT["break"] = function() return "break" end
STATEMENT["continue"] = function() return "continue" end

STATEMENT["if"] = function(st, sc, node)
  for _, branch in ipairs(node.branches) do
    if V.truthy(value(st, sc, branch[1])) then return run(st, sc, branch[2]) end
  end
  return run(st, sc, node.other)
end

--- Gives names their values; a tuple of names takes a list apart.
local function assign(st, sc, target, v)
  if target.t == "name" then
    sc.vars[target.name] = v
    return
  end
  if target.t == "field" then
    local ns = lookup(sc, target.name)
    if kind(ns) ~= "ns" then bad "cannot assign attribute on non-namespace object" end
    V.set(ns, target.attr, v)
    return
  end
  local list, n = V.elements(v, st)
  if not list then bad(("cannot unpack non-iterable %s object"):format(V.type_name(v))) end
  if n ~= #target.items then bad(("%d values for %d names"):format(n, #target.items)) end
  for i, t in ipairs(target.items) do assign(st, sc, t, list[i]) end
end

--- The values of a loop that pass its `if`.
local function kept(st, sc, node, list, n)
  if not node.test then return list, n end
  local out, count = {}, 0
  for i = 1, n do
    local inner = scope(sc)
    assign(st, inner, node.var, list[i])
    if V.truthy(value(st, inner, node.test)) then
      count = count + 1
      out[count] = list[i]
    end
  end
  return out, count
end

--- Runs the body for each value; the else branch when no round came to its
--- end.
local function rounds(st, sc, node, source, depth)
  local again
  if node.recursive then
    again = function(inner_state, v) return collect(inner_state, rounds, sc, node, v, depth + 1) end
  end
  local list, n = V.each(source, st)
  list, n = kept(st, sc, node, list, n)
  local loop, ran = loops.new(list, n, depth, again), false
  for i = 1, n do
    st:spend(10)
    loop.i = i
    local inner = scope(sc)
    inner.vars.loop = loop.value
    assign(st, inner, node.var, list[i])
    local signal = run(st, inner, node.body)
    if signal == "break" then break end
    ran = ran or signal ~= "continue"
  end
  if not ran then return run(st, scope(sc), node.other) end
end

STATEMENT["for"] = function(st, sc, node)
  return rounds(st, sc, node, value(st, sc, node.list), 1)
end

--- The text of a block, through the filters that stand at its head.
local function filtered(st, sc, node)
  local outer = st.collected
  st.collected = collect(st, run, scope(sc), node.body)
  local v = value(st, sc, node.filter)
  st.collected = outer
  return v
end

STATEMENT["set"] = function(st, sc, node)
  if node.value then return assign(st, sc, node.target, value(st, sc, node.value)) end
  assign(st, sc, node.target, filtered(st, sc, node))
end

STATEMENT["filter_block"] = function(st, sc, node) st:put(repr.str(filtered(st, sc, node), st)) end

--- Whether a tree mentions a name.
local function mentions(node, name)
  if node.t == "name" and node.name == name then return true end
  for _, key in ipairs(keys.of(node)) do
    if key ~= "value" or node.t ~= "const" then
      if type(node[key]) == "table" and mentions(node[key], name) then return true end
    end
  end
  return false
end

--- What a macro takes beside its parameters: by what its body mentions.
local function catches(node)
  if not node.catches then
    local own = {}
    for _, p in ipairs(node.params) do own[p.name] = true end
    node.catches = {}
    for _, name in ipairs { "caller", "varargs", "kwargs" } do
      node.catches[name] = not own[name] and mentions({ node.body }, name)
    end
  end
  return node.catches
end

--- Named arguments that no parameter took.
local function left_over(args, used)
  local out = V.object()
  for _, key in ipairs(args.order) do
    if not used[key] then V.set(out, key, args.named[key]) end
  end
  return out
end

--- Binds a macro's parameters: by place, by name, by default. A default sees
--- all that were given, and none of the others before its turn.
local function bind(st, sc, node, name, args)
  local params, takes, used, missing = node.params, catches(node), {}, {}
  for i, p in ipairs(params) do
    local v = args[i]
    if v == nil then v, used[p.name] = args.named[p.name], true end
    if v == nil then v, missing[i] = V.undefined(("parameter '%s'"):format(p.name)), true end
    sc.vars[p.name] = v
  end
  for i, p in ipairs(params) do
    if missing[i] and p.default then sc.vars[p.name] = value(st, sc, p.default) end
  end
  if takes.caller then
    local caller = args.named.caller
    used.caller = true
    if caller == nil then caller = V.undefined "the caller" end
    sc.vars.caller = caller
  end
  local rest = left_over(args, used)
  if takes.kwargs then
    sc.vars.kwargs = rest
  elseif rest.n > 0 then
    bad(("macro '%s' takes no keyword argument '%s'"):format(name, bytes(rest.keys[1])))
  end
  if takes.varargs then
    local list = {}
    for i = #params + 1, args.n do list[#list + 1] = args[i] end
    sc.vars.varargs = V.array(list, #list, true)
  elseif args.n > #params then
    bad(("macro '%s' takes not more than %d argument(s)"):format(name, #params))
  end
end

--- A function that runs statements and gives what they write. Its scope hangs
--- on the place where it stands.
local function macro(sc, node, name)
  local function body(st, inner, args)
    bind(st, inner, node, name, args)
    run(st, inner, node.body)
  end
  local names = {}
  for i, p in ipairs(node.params) do names[i] = p.name end
  local fn = A.fn(name, function(st, args) return collect(st, body, scope(sc), args) end, ("<Macro '%s'>"):format(name))
  local takes = catches(node)
  fn.attrs = {
    name = name, arguments = V.array(names, #names, true), catch_kwargs = takes.kwargs, catch_varargs = takes.varargs,
    caller = takes.caller, explicit_caller = false,
  }
  return fn
end

STATEMENT["macro"] = function(_, sc, node) sc.vars[node.name] = macro(sc, node, node.name) end

--- {% call f(x) %}body{% endcall %}: f may call caller() to get the body.
STATEMENT["caller"] = function(st, sc, node)
  local fn = value(st, sc, node.call.callee)
  local args = call_args(st, sc, node.call.args)
  add_named(args, "caller", macro(sc, node, "caller"))
  st.pos = node.pos
  st:put(repr.str(call(st, fn, args), st))
end

STATEMENT["with"] = function(st, sc, node)
  local inner = scope(sc)
  for _, p in ipairs(node.pairs) do assign(st, inner, p[1], value(st, sc, p[2])) end
  return run(st, inner, node.body)
end

STATEMENT["autoescape"] = function(st, sc, node)
  local outer = st.escape
  st.escape = V.truthy(value(st, sc, node.on))
  local signal = run(st, scope(sc), node.body)
  st.escape = outer
  return signal
end

--- A block sees what is set at the top of the template, not in a loop.
STATEMENT["block"] = function(st, sc, node)
  local top = sc
  while top.parent and top.parent.parent do top = top.parent end
  return run(st, scope(top.parent and top or sc), node.body)
end
STATEMENT["scope"] = function(st, sc, node) return run(st, scope(sc), node.body) end

STATEMENT["other"] = function(_, _, node) bad(("%s: there are no other templates"):format(node.name)) end

-- ---- the whole -------------------------------------------------------------------------------

--- Runs a tree with variables (template values by name); a string value.
---@param tree table
---@param vars table<string, any>
---@param time? integer   what strftime_now sees
function M.run(tree, vars, time)
  local st = setmetatable(
    { fuel = M.MAX_STEPS, written = 0, depth = 0, out = {}, escape = false, time = time or os.time() }, State)
  local base = scope(nil)
  for name, v in pairs(vars) do base.vars[name] = v end
  local ok, why = pcall(run, st, scope(base), tree)
  if ok then return V.concat(st.out) end
  if type(why) == "table" and why.code then
    why.pos = why.pos or st.pos
    return nil, why
  end
  local deep = tostring(why):find "stack overflow" or tostring(why):find "not enough memory"
  if not deep then error(why, 0) end
  return nil, { pos = st.pos, message = "the template needs too much memory or stack", code = "ELIMIT" }
end

return M
