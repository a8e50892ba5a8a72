--- Chat templates: the filters of jinja2 on lists and objects. Those that are
--- generators in Python are generators here.
local M = {}

local A = require "wane.template.args"
local V = require "wane.template.value"
local attrs = require "wane.template.attrs"
local filters = require "wane.template.filters"
local operators = require "wane.template.operators"
local repr = require "wane.template.repr"
local strings = require "wane.template.strings"
local tests = require "wane.template.tests"
local U = require "wane.template.unicode"
local bad, bytes, kind = V.bad, V.bytes, V.kind
local NONE = V.NONE

local F, def = filters.FILTERS, filters.def

-- ---- what to compare ---------------------------------------------------------------

--- The parts of an attribute's name: "a.b.0" is a, b, 0.
local function parts_of(attribute)
  if attribute == NONE then return {} end
  if kind(attribute) ~= "str" then return { attribute } end
  local out = {}
  for part in (bytes(attribute) .. "."):gmatch "([^.]*)%." do
    out[#out + 1] = part:find "^%d+$" and tonumber(part) or part
  end
  return out
end

local function folded(v, case_sensitive)
  if case_sensitive or kind(v) ~= "str" then return v end
  return U.lower(bytes(v))
end

--- A function that gives an element's attribute; `default` (or nil) for what
--- is undefined on the way.
local function getter(st, attribute, default)
  local parts = parts_of(attribute)
  if default == NONE then default = nil end
  return function(v)
    for _, part in ipairs(parts) do
      v = attrs.item(st, v, part)
      if default ~= nil and kind(v) == "undef" then v = default end
    end
    return v
  end
end

--- Merge sort: stable, and no comparison can lead it astray.
function M.sorted(st, list, n, before)
  local from, to, width = list, {}, 1
  while width < n do
    for low = 1, n, 2 * width do
      local i, j, mid, high = low, low + width, math.min(low + width, n + 1), math.min(low + 2 * width, n + 1)
      for k = low, high - 1 do
        st:spend(1)
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

--- { value, key } pairs by key; equal ones keep their order.
local function by_key(st, list, n, key_of, reverse)
  local pairs_of = {}
  for i = 1, n do pairs_of[i] = { list[i], key_of(list[i]) } end
  return M.sorted(st, pairs_of, n, function(a, b)
    if reverse then a, b = b, a end
    return operators.order(st, a[2], b[2]) == -1
  end)
end

local function values_of(pairs_of, n)
  local out = {}
  for i = 1, n do out[i] = pairs_of[i][1] end
  return V.array(out, n)
end

-- ---- one of many -------------------------------------------------------------------

local function no_length(v) bad(("object of type '%s' has no len()"):format(V.type_name(v))) end

def("length", {}, function(st, v)
  local n = V.length(v, st)
  if not n then no_length(v) end
  return n
end)
F.count = F.length

def("first", {}, function(st, v)
  local x = V.cursor(v, st)()
  if x == nil then return V.undefined "the first element of an empty sequence" end
  return x
end)

local function not_reversible(v) bad(("'%s' object is not reversible"):format(V.type_name(v))) end

def("last", {}, function(st, v)
  if kind(v) == "iter" then not_reversible(v) end
  local list, n = V.elements(v, st)
  if not list then not_reversible(v) end
  if n == 0 then return V.undefined "the last element of an empty sequence" end
  return list[n]
end)

def("random", {}, function(st, v)
  local list, n = V.elements(v, st)
  if not list or kind(v) == "obj" or kind(v) == "iter" or kind(v) == "view" then no_length(v) end
  if n == 0 then return V.undefined "a random element of an empty sequence" end
  return list[st.time % n + 1]
end)

local function extreme(name, sign)
  def(name, { { "case_sensitive", false }, { "attribute", NONE } }, function(st, v, case, attribute)
    local get, list, n = getter(st, attribute), V.each(v, st)
    case = V.truthy(case)
    if n == 0 then return V.undefined "an element of an empty sequence" end
    local best, best_key = list[1], folded(get(list[1]), case)
    for i = 2, n do
      local key = folded(get(list[i]), case)
      if operators.order(st, key, best_key, sign < 0 and "<" or ">") == sign then best, best_key = list[i], key end
    end
    return best
  end)
end
extreme("min", -1)
extreme("max", 1)

def("sum", { { "attribute", NONE }, { "start", 0 } }, function(st, v, attribute, start)
  local get, list, n = getter(st, attribute), V.each(v, st)
  if kind(start) == "str" then bad "sum() can't sum strings [use ''.join(seq) instead]" end
  local total = start
  for i = 1, n do total = operators.apply(st, "+", total, get(list[i])) end
  return total
end)

def("join", { { "d", "" }, { "attribute", NONE } }, function(st, v, sep, attribute)
  local get, list, n = getter(st, attribute), V.each(v, st)
  local out = {}
  sep = repr.str(sep, st)
  for i = 1, n do
    if i > 1 then out[#out + 1] = sep end
    out[#out + 1] = repr.str(get(list[i]), st)
    st:spend(1)
  end
  return st:joined(out)
end)

-- ---- all, in another order or shape --------------------------------------------------

local function listed(st, v)
  local list, n = V.each(v, st)
  local out = {}
  for i = 1, n do out[i] = list[i] end
  return out, n
end

def("list", {}, function(st, v)
  local out, n = listed(st, v)
  return V.array(out, n)
end)

local REVERSED = { arr = "list_reverseiterator", obj = "dict_reversekeyiterator", range = "range_iterator" }

def("reverse", {}, function(st, v)
  if kind(v) == "str" then return strings.slice(st, v, NONE, NONE, -1) end
  local list, n = V.elements(v, st)
  if not list then bad "argument must be iterable" end
  local i = n + 1
  if kind(v) == "iter" then
    local out = {}
    for k = 1, n do out[k] = list[n + 1 - k] end
    return V.array(out, n)
  end
  return V.iter(function()
    i = i - 1
    if i >= 1 then return list[i] end
  end, v.tuple and "reversed" or REVERSED[kind(v)] or "reversed")
end)

def("sort", { { "reverse", false }, { "case_sensitive", false }, { "attribute", NONE } },
  function(st, v, reverse, case, attribute)
    local list, n = V.each(v, st)
    case = V.truthy(case)
    local getters = {}
    if kind(attribute) == "str" then
      for name in (bytes(attribute) .. ","):gmatch "([^,]*)," do getters[#getters + 1] = getter(st, name) end
    else
      getters[1] = getter(st, attribute)
    end
    return values_of(by_key(st, list, n, function(x)
      local key = {}
      for i, get in ipairs(getters) do key[i] = folded(get(x), case) end
      return V.array(key, #key)
    end, V.truthy(reverse)), n)
  end)

def("dictsort", { { "case_sensitive", false }, { "by", "key" }, { "reverse", false } }, function(st, v, case, by, reverse)
  by = kind(by) == "str" and bytes(by) or ""
  if by ~= "key" and by ~= "value" then bad 'dictsort: you can only sort by either "key" or "value"' end
  if kind(v) ~= "obj" then bad(("'%s' object has no attribute 'items'"):format(V.type_name(v))) end
  local list, at = {}, by == "key" and 1 or 2
  for i = 1, v.n do list[i] = V.tuple(v.keys[i], v.vals[i]) end
  case = V.truthy(case)
  return values_of(by_key(st, list, v.n, function(x) return folded(x[at], case) end, V.truthy(reverse)), v.n)
end)

def("unique", { { "case_sensitive", false }, { "attribute", NONE } }, function(st, v, case, attribute)
  local get, next_value, seen = getter(st, attribute), nil, {}
  case = V.truthy(case)
  return V.iter(function()
    next_value = next_value or V.cursor(v, st)
    while true do
      local x = next_value()
      if x == nil then return nil end
      st:spend(1)
      local name = V.name_of(folded(get(x), case))
      if not seen[name] then
        seen[name] = true
        return x
      end
    end
  end, "generator", "sync_do_unique")
end)

def("groupby", { "attribute", { "default", NONE }, { "case_sensitive", false } }, function(st, v, attribute, default, case)
  local get, list, n = getter(st, attribute, default), V.each(v, st)
  case = V.truthy(case)
  local out, last = {}, nil
  for _, p in ipairs(by_key(st, list, n, function(x) return folded(get(x), case) end)) do
    if last == nil or not V.equal(last, p[2], st) then
      local group = V.tuple(get(p[1]), V.array({}, 0))
      group.fields = { grouper = 1, list = 2 }
      out[#out + 1], last = group, p[2]
    end
    local members = out[#out][2]
    members.n = members.n + 1
    members[members.n] = p[1]
  end
  return V.array(out, #out)
end)

def("batch", { "linecount", { "fill_with", NONE } }, function(st, v, count, fill)
  local next_value, done, held = nil, false, nil
  local size = V.number(count)
  return V.iter(function()
    if done then return nil end
    next_value = next_value or V.cursor(v, st)
    local row, n = {}, 0
    if held ~= nil then row[1], n, held = held, 1, nil end
    while true do
      local x = next_value()
      if x == nil then break end
      if n == size then
        held = x
        return V.array(row, n)
      end
      n = n + 1
      row[n] = x
      st:spend(1)
    end
    done = true
    if n == 0 then return nil end
    if fill ~= NONE and n < V.index(count) then
      st:spend(V.index(count))
      for i = n + 1, V.index(count) do row[i], n = fill, i end
    end
    return V.array(row, n)
  end, "generator", "do_batch")
end)

def("slice", { "slices", { "fill_with", NONE } }, function(st, v, slices, fill)
  local list, n, number_of, offset
  return V.iter(function()
    if not list then
      list, n = listed(st, v)
      slices, number_of, offset = V.index(slices), 0, 0
      if slices == 0 then bad "integer division or modulo by zero" end
    end
    if number_of >= slices then return nil end
    local per, extra = math.floor(n / slices), n % slices
    local first = offset + number_of * per
    if number_of < extra then offset = offset + 1 end
    local last, row = offset + (number_of + 1) * per, {}
    for i = first + 1, last do row[#row + 1] = list[i] end
    if fill ~= NONE and number_of >= extra then row[#row + 1] = fill end
    number_of = number_of + 1
    st:spend(1 + #row)
    return V.array(row, #row)
  end, "generator", "sync_do_slice")
end)

def("items", {}, function(_, v)
  local i, k = 0, kind(v)
  return V.iter(function()
    if k == "undef" then return nil end
    if k ~= "obj" then bad "Can only get item pairs from a mapping." end
    i = i + 1
    if i <= v.n then return V.tuple(v.keys[i], v.vals[i]) end
  end, "generator", "do_items")
end)

-- ---- some, or each through a filter ----------------------------------------------------

--- The arguments behind the first k.
local function rest_of(args, k)
  local out = { n = math.max(args.n - k, 0), named = args.named, order = args.order }
  for i = k + 1, args.n do out[i - k] = args[i] end
  return out
end

local function name_of_filter(v, what)
  if kind(v) ~= "str" then bad(("no %s named %s"):format(what, bytes(repr.str(v, { room = function() end })))) end
  return bytes(v)
end

function F.map(st, args)
  local v = args[1]
  local fn, next_value
  local function prepare()
    if args.n == 1 and args.named.attribute ~= nil then
      for _, key in ipairs(args.order) do
        if key ~= "attribute" and key ~= "default" then bad(("unexpected keyword argument '%s'"):format(key)) end
      end
      return getter(st, args.named.attribute, args.named.default)
    end
    if args.n < 2 then bad "map requires a filter argument" end
    local name, rest = name_of_filter(args[2], "filter"), rest_of(args, 2)
    return function(x) return filters.apply(st, name, A.with_first(x, rest)) end
  end
  return V.iter(function()
    if not next_value then
      if not V.truthy(v) then return nil end
      fn, next_value = prepare(), V.cursor(v, st)
    end
    local x = next_value()
    if x == nil then return nil end
    st:spend(8)
    return fn(x)
  end, "generator", "sync_do_map")
end

local function chooser(by_attribute, want)
  return function(st, args)
    local v, off = args[1], by_attribute and 2 or 1
    local get, test, next_value
    local function prepare()
      if by_attribute and args.n < 2 then bad "Missing parameter for attribute name" end
      get = by_attribute and getter(st, args[2]) or function(x) return x end
      if args.n <= off then return V.truthy end
      local name, rest = name_of_filter(args[off + 1], "test"), rest_of(args, off + 1)
      return function(x) return tests.apply(st, name, A.with_first(x, rest)) end
    end
    return V.iter(function()
      if not next_value then
        if not V.truthy(v) then return nil end
        test, next_value = prepare(), V.cursor(v, st)
      end
      while true do
        local x = next_value()
        if x == nil then return nil end
        st:spend(8)
        if test(get(x)) == want then return x end
      end
    end, "generator", "select_or_reject")
  end
end
F.select, F.selectattr = chooser(false, true), chooser(true, true)
F.reject, F.rejectattr = chooser(false, false), chooser(true, false)

return M
