--- Chat templates, third step: running the tree.
---
--- Every node costs fuel, every byte of text more; what runs out of fuel,
--- output or depth ends with ELIMIT. Nodes: const name tuple array object
--- attr item call filter test binary not neg select cond (values), kwarg
--- spread slice (parts of them), if for set macro caller filter_block break
--- continue (statements).
local M = {}

local B = require "wane.template.builtins"
local V = require "wane.template.value"
local operators = require "wane.template.operators"
local bad, kind, bytes = V.bad, V.kind, V.bytes
local UNDEF, NONE = V.UNDEF, V.NONE

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
  return UNDEF
end

-- ---- values ------------------------------------------------------------------------

local VALUE = {}

local function value(st, sc, node)
  local fuel, v = st.fuel - 2, VALUE[node.t]
  st.fuel, st.pos = fuel, node.pos
  if fuel < 0 then st:spend(0) end
  if not v then bad("a " .. node.t .. " is no value here") end
  return v(st, sc, node)
end

function VALUE.const(_, _, node) return node.value end

function VALUE.name(_, sc, node)
  local v = lookup(sc, node.name)
  if v ~= UNDEF then return v end
  local fn = B.FUNCTIONS[node.name]
  return fn and { k = "fn", name = node.name, call = fn } or UNDEF
end

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

--- Evaluated arguments, `first` (when not nil) in front.
local function call_args(st, sc, nodes, first)
  local args, n = { named = {}, order = {} }, 0
  if first ~= nil then args[1], n = first, 1 end
  for _, node in ipairs(nodes) do
    if node.t == "kwarg" then
      if args.named[node.name] == nil then args.order[#args.order + 1] = node.name end
      args.named[node.name] = value(st, sc, node.value)
    elseif node.t == "spread" then
      local list = value(st, sc, node.value)
      if kind(list) ~= "arr" then bad "only a list can be spread" end
      for i = 1, list.n do args[n + i] = list[i] end
      n = n + list.n
    else
      n = n + 1
      args[n] = value(st, sc, node)
    end
  end
  args.n = n
  return args
end

local function bound(v, name)
  local fn = B.method(v, name)
  return fn and { k = "fn", name = name, call = fn, this = v } or nil
end

--- object.name: a method first, then a key.
function VALUE.attr(st, sc, node)
  local object = value(st, sc, node.object)
  local method = bound(object, node.name)
  if method then return method end
  if kind(object) ~= "obj" then return UNDEF end
  local v = V.get(object, node.name)
  if v == nil then return UNDEF end
  return v
end

local function element(object, i)
  if kind(object) == "arr" then
    if i < 0 then i = i + object.n end
    if i >= 0 and i < object.n then return object[i + 1] end
  elseif i >= 0 and i < #bytes(object) then
    return V.sub(object, i + 1, i + 1)
  end
  return UNDEF
end

--- object[index]: a key first, then a method.
function VALUE.item(st, sc, node)
  local object, index = value(st, sc, node.object), node.index
  if index.t == "slice" then
    local function part(n) return n and value(st, sc, n) end
    return B.slice(st, object, part(index.start), part(index.stop), part(index.step))
  end
  local key = value(st, sc, index)
  local k, kk = kind(object), kind(key)
  if kk == "undef" then return UNDEF end
  V.name_of(key)
  if k == "undef" then return UNDEF end
  if k == "obj" then
    local v = V.get(object, key)
    if v ~= nil then return v end
  elseif (k == "arr" or k == "str") and kk == "int" then
    return element(object, key)
  elseif kk ~= "str" then
    bad(("a %s has no element %s"):format(V.type_name(object), V.type_name(key)))
  end
  return kk == "str" and bound(object, bytes(key)) or UNDEF
end

function VALUE.call(st, sc, node)
  local callee = node.callee
  local args = call_args(st, sc, node.args)
  local fn = value(st, sc, callee)
  st.pos = node.pos
  if kind(fn) ~= "fn" then bad(("a %s cannot be called"):format(V.type_name(fn))) end
  if fn.this ~= nil then
    table.insert(args, 1, fn.this)
    args.n = args.n + 1
  end
  return fn.call(st, args, sc)
end

function VALUE.filter(st, sc, node)
  local v = value(st, sc, node.operand)
  local args = call_args(st, sc, node.args, v)
  st.pos = node.pos
  return B.filter(st, node.name, args)
end

function VALUE.test(st, sc, node)
  local args = call_args(st, sc, node.args, value(st, sc, node.operand))
  st.pos = node.pos
  return B.test(node.name)(st, args) ~= node.negate
end

VALUE["not"] = function(st, sc, node) return not V.truthy(value(st, sc, node.operand)) end

function VALUE.neg(st, sc, node)
  local v = value(st, sc, node.operand)
  local n = V.number(v)
  if not n then bad "a sign wants a number" end
  if not node.minus then return v end
  return kind(v) == "int" and -n or { k = "float", n = -n }
end

function VALUE.select(st, sc, node)
  if not V.truthy(value(st, sc, node.test)) then return UNDEF end
  return value(st, sc, node.value)
end

function VALUE.cond(st, sc, node)
  return value(st, sc, V.truthy(value(st, sc, node.test)) and node.value or node.other)
end

-- ---- operators ------------------------------------------------------------------------

function VALUE.binary(st, sc, node)
  local op, left = node.op, value(st, sc, node.left)
  if op == "and" or op == "or" then
    if V.truthy(left) == (op == "or") then return left end
    return value(st, sc, node.right)
  end
  local right = value(st, sc, node.right)
  st.pos = node.pos
  if op == "==" then return V.equal(left, right, st) end
  if op == "!=" then return not V.equal(left, right, st) end
  return operators.apply(st, op, left, right)
end

-- ---- statements --------------------------------------------------------------------------

local STATEMENT = {}

--- Writes a value: strings, numbers, booleans; lists element by element.
local function show(st, v, level)
  local k = kind(v)
  if k == "str" then st:put(v)
  elseif k == "int" or k == "float" or k == "bool" then st:put(V.text(v))
  elseif k == "arr" then
    if level > M.MAX_DEPTH then V.fail(nil, "a list nests too deep", "ELIMIT") end
    for i = 1, v.n do
      st:spend(4)
      show(st, v[i], level + 1)
    end
  end
end

--- Runs statements; "break" or "continue" when one of them said so.
local function run(st, sc, nodes)
  for _, node in ipairs(nodes) do
    local fn = STATEMENT[node.t]
    st:spend(1)
    if fn then
      st.pos = node.pos
      local signal = fn(st, sc, node)
      if signal then return signal end
    else
      show(st, value(st, sc, node), 0)
    end
  end
end

--- What statements write, as a string value.
local function collect(st, sc, nodes)
  local outer, written = st.out, st.written
  st.depth = st.depth + 1
  if st.depth > M.MAX_DEPTH then
    V.fail(nil, ("macros and blocks call each other deeper than %d"):format(M.MAX_DEPTH), "ELIMIT")
  end
  st.out = {}
  run(st, sc, nodes)
  local text = V.concat(st.out)
  st.out, st.written, st.depth = outer, written, st.depth - 1
  return text
end

STATEMENT["break"] = function() return "break" end
STATEMENT["continue"] = function() return "continue" end

STATEMENT["if"] = function(st, sc, node)
  for _, branch in ipairs(node.branches) do
    if V.truthy(value(st, sc, branch[1])) then return run(st, sc, branch[2]) end
  end
  return run(st, sc, node.other)
end

--- Gives the names of a loop or an assignment their values.
local function assign(sc, target, v, what)
  if target.t == "name" then
    sc.vars[target.name] = v
    return
  end
  if target.t ~= "tuple" then bad(what .. ": want names") end
  if kind(v) ~= "arr" then bad(("%s: a %s cannot be unpacked"):format(what, V.type_name(v))) end
  if v.n ~= #target.items then bad(("%s: %d values for %d names"):format(what, v.n, #target.items)) end
  for i, t in ipairs(target.items) do
    if t.t ~= "name" then bad(what .. ": want names") end
    sc.vars[t.name] = v[i]
  end
end

--- The elements of a loop's list: an object gives its keys, or pairs where
--- two names are to be filled.
local function elements(st, v, target)
  local k, out = kind(v), {}
  if k == "undef" then return out end
  if k == "arr" then
    for i = 1, v.n do out[i] = v[i] end
  elseif k == "obj" then
    for i = 1, v.n do
      out[i] = target.t == "tuple" and V.array({ v.keys[i], v.vals[i] }, 2, true) or v.keys[i]
    end
  else
    bad(("for: a %s is no list"):format(V.type_name(v)))
  end
  st:spend(#out)
  return out
end

local function kept(st, sc, node, list)
  if node.list.t ~= "select" then return list end
  local out = {}
  for _, v in ipairs(list) do
    local inner = scope(sc)
    assign(inner, node.var, v, "for")
    if V.truthy(value(st, inner, node.list.test)) then out[#out + 1] = v end
  end
  return out
end

--- The `loop` object of round i of n.
local function loop_object(list, i, n)
  local o = V.object()
  o.plain = true
  V.set(o, "index", i)
  V.set(o, "index0", i - 1)
  V.set(o, "revindex", n - i + 1)
  V.set(o, "revindex0", n - i)
  V.set(o, "first", i == 1)
  V.set(o, "last", i == n)
  V.set(o, "length", n)
  V.set(o, "previtem", i > 1 and list[i - 1] or UNDEF)
  V.set(o, "nextitem", i < n and list[i + 1] or UNDEF)
  return o
end

STATEMENT["for"] = function(st, sc, node)
  local inner, select = scope(sc), node.list.t == "select"
  local source = value(st, inner, select and node.list.value or node.list)
  local list = kept(st, inner, node, elements(st, source, node.var))
  local ran, n = false, #list
  for i = 1, n do
    st:spend(25)
    inner.vars.loop = loop_object(list, i, n)
    assign(inner, node.var, list[i], "for")
    local signal = run(st, inner, node.body)
    if signal == "break" then break end
    ran = ran or signal ~= "continue"
  end
  if not ran then return run(st, sc, node.other) end
end

STATEMENT["set"] = function(st, sc, node)
  local v
  if node.value then v = value(st, sc, node.value) else v = collect(st, sc, node.body) end
  local target = node.target
  if target.t ~= "attr" then return assign(sc, target, v, "set") end
  local object = value(st, sc, target.object)
  if kind(object) ~= "obj" then bad("set: a " .. V.type_name(object) .. " has no fields") end
  V.set(object, target.name, v)
end

--- Binds parameters to arguments: by name, by place, by default.
local function bind(st, sc, name, params, args)
  for i, p in ipairs(params) do
    local v = args.named[p.name]
    if v == nil then v = args[i] end
    if v == nil then
      if p.t == "kwarg" then
        v = value(st, sc.parent, p.value)
      elseif i <= args.n + #args.order then
        v = UNDEF
      else
        bad(("%s: argument '%s' is missing"):format(name, p.name))
      end
    end
    sc.vars[p.name] = v
  end
end

--- A function that runs statements and gives what they write. Its scope hangs
--- on the caller's, or on `fixed`.
local function routine(name, params, nodes, fixed)
  return { k = "fn", name = name, call = function(st, args, caller)
    local inner = scope(fixed or caller)
    bind(st, inner, name, params, args)
    return collect(st, inner, nodes)
  end }
end

STATEMENT["macro"] = function(_, sc, node)
  sc.vars[node.name] = routine(node.name, node.params, node.body)
end

--- {% call f(x) %}body{% endcall %}: f may call caller() to get the body.
STATEMENT["caller"] = function(st, sc, node)
  local inner = scope(sc)
  inner.vars.caller = routine("caller", node.params, node.body, sc)
  show(st, value(st, inner, node.call), 0)
end

STATEMENT["filter_block"] = function(st, sc, node)
  local text = collect(st, sc, node.body)
  show(st, B.filter(st, node.name, call_args(st, sc, node.args, text)), 0)
end

-- ---- the whole -------------------------------------------------------------------------------

--- Runs a tree with variables (template values by name); a string value.
---@param tree table
---@param vars table<string, any>
---@param time? integer   what strftime_now sees
function M.run(tree, vars, time)
  local st = setmetatable({ fuel = M.MAX_STEPS, written = 0, depth = 0, out = {}, time = time or os.time() }, State)
  local base = scope(nil)
  base.vars["true"], base.vars["True"], base.vars["false"], base.vars["False"] = true, true, false, false
  base.vars.none, base.vars.None = NONE, NONE
  for name, v in pairs(vars) do base.vars[name] = v end
  local ok, why = pcall(run, st, base, tree)
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
