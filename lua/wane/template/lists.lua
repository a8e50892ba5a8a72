--- Chat templates: filters and methods of lists and objects.
local M = {}

local A = require "wane.template.args"
local V = require "wane.template.value"
local arg, int_or, want = A.arg, A.int_or, A.want
local bad, bytes, kind = V.bad, V.bytes, V.kind
local UNDEF, NONE = V.UNDEF, V.NONE

--- By name; value-independent ones are added by builtins.lua.
local L = {}
M.methods = L

function L.list(state, args)
  local v, out = args[1], {}
  state:spend(v.n / 4)
  for i = 1, v.n do out[i] = v[i] end
  return V.array(out, v.n)
end

function L.last(_, args)
  local v = args[1]
  if v.n == 0 then return UNDEF end
  return v[v.n]
end
function L.first(_, args)
  local v = args[1]
  if v.n == 0 then return UNDEF end
  return v[1]
end
function L.length(_, args) return args[1].n end

--- An element's attribute: key of an object, place in a list.
local function attribute(item, name, default_value)
  local k = kind(item)
  if kind(name) == "int" then
    local at = k == "arr" and (name < 0 and item.n + name or name) + 1
    if at and at >= 1 and at <= item.n then return item[at] end
    return default_value
  end
  if k ~= "obj" then return default_value end
  local v = V.get(item, name)
  if v == nil then return default_value end
  return v
end

local function choose(state, args, reject)
  local v, out, n = args[1], {}, 0
  local name, test, extra = args[2], nil, nil
  local by_attribute = true
  if args[4] ~= nil then
    test, extra = args[3], args[4]
  elseif args[3] ~= nil then
    name, test, extra, by_attribute = nil, args[2], args[3], false
  end
  local run = test and M.test(bytes(test)) -- set by builtins.lua
  for i = 1, v.n do
    state:spend(1)
    local subject = v[i]
    if by_attribute then
      if kind(subject) ~= "obj" then bad "selectattr: an element is no object" end
      subject = attribute(subject, name, UNDEF)
    end
    local yes
    if run then yes = run(state, { subject, extra, named = {} }) else yes = V.truthy(subject) end
    if (not yes) == reject then
      n = n + 1
      out[n] = v[i]
    end
  end
  return V.array(out, n)
end

local function chooser(reject)
  return function(state, args)
    if args[2] == nil then bad "select: want an attribute or a test" end
    for i = 2, 3 do
      if args[i] ~= nil and (i == 2 or args[4] ~= nil) then want(args[i], "str", "select") end
    end
    return choose(state, args, reject)
  end
end
L.select, L.selectattr = chooser(false), chooser(false)
L.reject, L.rejectattr = chooser(true), chooser(true)

function L.join(state, args)
  local v, sep, name, out = args[1], arg(args, "d", 1), arg(args, "attribute", 2), {}
  sep = sep == UNDEF and "" or V.text(sep)
  for i = 1, v.n do
    local item = v[i]
    if name ~= UNDEF then item = attribute(item, name, item) end
    local k = kind(item)
    if k ~= "str" and k ~= "int" and k ~= "float" then bad "join: want strings or numbers" end
    if i > 1 then out[#out + 1] = sep end
    out[#out + 1] = V.text(item, state)
    state:spend(1)
  end
  return state:joined(out)
end

function L.map(state, args)
  local v, name, out = args[1], args.named.attribute, {}
  if name == nil then bad "map: only map(attribute=...) is supported" end
  local default_value = args.named.default
  if default_value == nil then default_value = UNDEF end
  for i = 1, v.n do
    state:spend(1)
    out[i] = attribute(v[i], name, default_value)
  end
  return V.array(out, v.n, v.tuple)
end

function L.append(_, args)
  if args[2] == nil then bad "append: want a value" end
  V.push(args[1], args[2])
  return args[1]
end

function L.pop(_, args)
  local v, at = args[1], int_or(args[2] or UNDEF, -1)
  if v.tuple then bad "a tuple cannot change" end
  at = (at < 0 and v.n + at or at) + 1
  if at < 1 or at > v.n then bad "pop: no such element" end
  v.n = v.n - 1
  return table.remove(v, at)
end

--- Whether a comes before b; numbers by value, strings by bytes.
local function less(a, b)
  local x, y = V.number(a), V.number(b)
  if x and y then return x < y end
  local ka, kb = kind(a), kind(b)
  if (x or ka == "str") and (y or kb == "str") then return V.before(bytes(V.text(a)), bytes(V.text(b))) end
  if ka == "bool" and kb == "bool" then bad "booleans have no order" end
  return false
end
M.less = less

--- Merge sort: stable, and no comparison can lead it astray.
local function sort(state, list, n, before)
  local from, to, width = list, {}, 1
  while width < n do
    for low = 1, n, 2 * width do
      local i, j, mid, high = low, low + width, math.min(low + width, n + 1), math.min(low + 2 * width, n + 1)
      for k = low, high - 1 do
        state:spend(1)
        if i < mid and (j >= high or not before(from[j], from[i])) then
          to[k], i = from[i], i + 1
        else
          to[k], j = from[j], j + 1
        end
      end
    end
    from, to, width = to, from, 2 * width
  end
  return from
end

function L.sort(state, args)
  local v, name = args[1], arg(args, "attribute", 3)
  local reverse, list = V.truthy(arg(args, "reverse", 1)), {}
  for i = 1, v.n do
    list[i] = { v[i], name == UNDEF and v[i] or attribute(v[i], name, UNDEF) }
    if list[i][2] == UNDEF then bad "sort: an element lacks the attribute" end
  end
  list = sort(state, list, v.n, function(a, b)
    if reverse then a, b = b, a end
    return less(a[2], b[2])
  end)
  local out = {}
  for i = 1, v.n do out[i] = list[i][1] end
  return V.array(out, v.n, v.tuple)
end

function L.reverse(state, args)
  local v, out = args[1], {}
  state:spend(v.n / 4)
  for i = 1, v.n do out[i] = v[v.n + 1 - i] end
  return V.array(out, v.n, v.tuple)
end

local function extreme(better)
  return function(state, args)
    local v, best = args[1], nil
    state:spend(v.n)
    for i = 1, v.n do
      if i == 1 or better(v[i], best) then best = v[i] end
    end
    if v.n == 0 then return UNDEF end
    return best
  end
end
L.min = extreme(less)
L.max = extreme(function(a, b) return less(b, a) end)

--- Each element once, at its first place.
function L.unique(state, args)
  local v, out, n, seen = args[1], {}, 0, {}
  for i = 1, v.n do
    state:spend(1)
    local name = V.name_of(v[i])
    if not seen[name] then
      seen[name], n = true, n + 1
      out[n] = v[i]
    end
  end
  return V.array(out, n)
end

-- ---- objects ------------------------------------------------------------------------

--- By name.
local O = {}
M.object_methods = O

function O.get(_, args)
  local v = V.get(want(args[1], "obj", "get"), want(args[2] or UNDEF, "str", "get"))
  if v ~= nil then return v end
  return args[3] == nil and NONE or args[3]
end

local function listed(pick)
  return function(state, args)
    local v, out = want(args[1], "obj", "items"), {}
    for i = 1, v.n do
      state:spend(1)
      out[i] = pick(v.keys[i], v.vals[i])
    end
    return V.array(out, v.n)
  end
end
O.keys = listed(function(key) return key end)
O.values = listed(function(_, val) return val end)
O.items = listed(function(key, val) return V.array({ key, val }, 2, true) end)
function O.length(_, args) return args[1].n end

function O.dictsort(state, args)
  local v, by = args[1], arg(args, "by", 2)
  local reverse, which = V.truthy(arg(args, "reverse", 3)), kind(by) == "str" and bytes(by) == "value" and 2 or 1
  local list, out = {}, V.object()
  for i = 1, v.n do list[i] = { v.keys[i], v.vals[i] } end
  list = sort(state, list, v.n, function(a, b)
    if reverse then a, b = b, a end
    return less(a[which], b[which])
  end)
  for i = 1, v.n do V.set(out, list[i][1], list[i][2]) end
  return out
end

return M
