--- Chat templates: what x.name and x[key] find, as jinja2's sandbox has it.
---
--- A dot looks for an attribute of the value first, then for a key; brackets
--- look for a key first. Attributes are Python's public methods; those that
--- would change a list or an object, and names with underscores, are not to be
--- had: they give undefined.
local M = {}

local A = require "wane.template.args"
local V = require "wane.template.value"
local number = require "wane.template.number"
local strings = require "wane.template.strings"
local U = require "wane.template.unicode"
local bad, bytes, kind = V.bad, V.bytes, V.kind
local NONE = V.NONE

local function def(set, name, params, fn)
  table.insert(params, 1, "/self")
  set[name] = A.signature(name, params, fn)
end

-- ---- lists, tuples, ranges -------------------------------------------------------

local LISTS = {}
def(LISTS, "count", { "/value" }, function(st, v, x)
  local list, n = V.each(v, st)
  local c = 0
  for i = 1, n do
    if V.equal(list[i], x, st) then c = c + 1 end
  end
  return c
end)
def(LISTS, "index", { "/value", { "/start", 0 }, { "/stop", NONE } }, function(st, v, x, start, stop)
  local list, n = V.each(v, st)
  local function place(p, default)
    if p == NONE then return default end
    p = V.index(p)
    return p < 0 and math.max(p + n, 0) or p
  end
  for i = place(start, 0) + 1, math.min(place(stop, n), n) do
    if V.equal(list[i], x, st) then return i - 1 end
  end
  bad "the value is not in the list"
end)
local TUPLES = { count = LISTS.count, index = LISTS.index }
LISTS.copy = A.signature("copy", { "/self" }, function(st, v)
  local out = {}
  st:spend(v.n / 4)
  for i = 1, v.n do out[i] = v[i] end
  return V.array(out, v.n)
end)

-- ---- objects ---------------------------------------------------------------------

local OBJECTS = {}

--- A view of an object: alive, as in Python.
local function view(name, pick)
  return A.signature(name, { "/self" }, function(_, v)
    return { k = "view", name = "dict_" .. name, of = v, list = function(st)
      st:spend(1 + v.n / 4)
      local out = {}
      for i = 1, v.n do out[i] = pick(v.keys[i], v.vals[i]) end
      return out, v.n
    end }
  end)
end
OBJECTS.keys = view("keys", function(key) return key end)
OBJECTS.values = view("values", function(_, val) return val end)
OBJECTS.items = view("items", function(key, val) return V.tuple(key, val) end)
def(OBJECTS, "get", { "/key", { "/default", NONE } }, function(_, v, key, default)
  local found = V.get(v, key)
  if found ~= nil then return found end
  return default
end)
def(OBJECTS, "copy", {}, function(st, v)
  st:spend(v.n)
  return V.copy(v)
end)
def(OBJECTS, "fromkeys", { "/keys", { "/value", NONE } }, function(st, _, keys, value)
  local list, n = V.each(keys, st)
  local out = V.object()
  for i = 1, n do V.set(out, list[i], value) end
  return out
end)

-- ---- numbers, bytes, markup ----------------------------------------------------------

local INTS, FLOATS, BYTES, MARKUP = {}, {}, {}, {}
def(INTS, "bit_length", {}, function(_, v) return strings.number_methods.bit_length(v) end)
def(INTS, "conjugate", {}, function(_, v) return V.int(v) end)
def(INTS, "as_integer_ratio", {}, function(_, v) return V.tuple(V.int(v), 1) end)
def(FLOATS, "is_integer", {}, function(_, v) return v.n == math.floor(v.n) and v.n - v.n == 0 end)
def(FLOATS, "conjugate", {}, function(_, v) return v end)
def(BYTES, "decode", { { "encoding", "utf-8" }, { "errors", "strict" } }, function(_, v) return v.s end)
def(BYTES, "hex", {}, function(_, v)
  return (v.s:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end)
def(MARKUP, "unescape", {}, function(_, v)
  local plain = { amp = "&", lt = "<", gt = ">", quot = '"', nbsp = "\194\160" }
  return (bytes(v):gsub("&([a-z]+);", function(name) return plain[name] end)
    :gsub("&#(%d+);", function(c) return U.char(math.min(tonumber(c), 0x10FFFF)) end))
end)
MARKUP.striptags = function(st, args)
  return require "wane.template.filters".FILTERS.striptags(st, args)
end

local METHODS = {
  str = strings.methods, arr = LISTS, range = TUPLES, obj = OBJECTS, int = INTS, big = INTS, bool = INTS, float = FLOATS,
  bytes = BYTES,
}

--- Methods that would change a value.
local CHANGES = { arr = {}, obj = {} }
for name in ("append clear extend insert pop remove reverse sort"):gmatch "%a+" do CHANGES.arr[name] = true end
for name in ("clear pop popitem setdefault update"):gmatch "%a+" do CHANGES.obj[name] = true end

--- Plain attributes, not methods.
local function plain(v, name, k)
  if V.is_int(v) then
    if name == "real" or name == "numerator" then return V.int(v) end
    if name == "imag" then return 0 end
    if name == "denominator" then return 1 end
  elseif k == "float" then
    if name == "real" then return v end
    if name == "imag" then return number.float(0.0) end
  elseif k == "range" then
    if name == "start" or name == "stop" or name == "step" then return v[name] end
  elseif k == "arr" and v.fields and v.fields[name] then
    return v[v.fields[name]]
  end
end

local function forbidden(name)
  return V.undefined(("access to attribute '%s' is unsafe: it"):format(name))
end

--- Python's attribute `name` of v; nil when there is none; undefined when it is
--- not to be had.
local function attribute(st, v, name)
  local k = kind(v)
  if name:sub(1, 1) == "_" then
    if name:find "^__%a+__$" and name ~= "__call__" and (name == "__class__" or name == "__doc__" or name == "__init__"
        or name == "__len__" or name == "__dict__" or name == "__eq__" or name == "__str__" or name == "__repr__") then
      return forbidden(name)
    end
    return nil
  end
  if k == "ns" then return V.get(v, name) end
  if k == "thing" then return v.attr(st, name) end
  if k == "fn" then return v.attrs and v.attrs[name] end
  if CHANGES[k] and CHANGES[k][name] and not v.tuple then return forbidden(name) end
  local value = plain(v, name, k)
  if value ~= nil then return value end
  local set = METHODS[k]
  if k == "arr" and v.tuple then set = TUPLES end
  local method = set and set[name] or (k == "str" and type(v) == "table" and v.safe and MARKUP[name]) or nil
  if not method then return nil end
  return A.fn(name, function(state, args) return method(state, A.with_first(v, args)) end,
    ("<built-in method %s of %s object at 0x7f0000000000>"):format(name, V.type_name(v)))
end

local function missing(v, name)
  return V.undefined(("'%s' of a %s"):format(name:sub(1, 64), V.type_name(v)))
end

--- The element of a sequence at an index (from 0); nil when there is none.
local function element(v, i, k)
  if k == "str" then
    local s = bytes(v)
    local n = U.len(s)
    if i < 0 then i = i + n end
    if i < 0 or i >= n then return nil end
    local from = U.offset(s, i)
    return strings.like_kind(v, V.sub(v, from, from + U.width(s, from) - 1))
  end
  local n = k == "bytes" and #v.s or v.n
  if i < 0 then i = i + n end
  if i < 0 or i >= n then return nil end
  if k == "range" then return v.start + i * v.step end
  if k == "bytes" then return v.s:byte(i + 1) end
  return v[i + 1]
end

local INDEXED = { arr = true, str = true, range = true, bytes = true }

--- v[key] without attributes; nil when there is none.
local function subscript(st, v, key)
  local k = kind(v)
  if k == "obj" then
    if not V.hashable(key) then return nil end
    return V.get(v, key)
  end
  if INDEXED[k] and V.is_int(key) and kind(key) ~= "big" then
    if k == "str" then st:spend(1 + #bytes(v) / 64) end
    return element(v, V.int(key), k)
  end
end

--- v.name
function M.attr(st, v, name)
  if kind(v) == "undef" then
    local hidden = attribute(st, v, name)
    if hidden == nil then V.not_defined(v) end
    return hidden
  end
  local found = attribute(st, v, name)
  if found == nil then found = subscript(st, v, name) end
  if found == nil then return missing(v, name) end
  return found
end

--- v.name without a look at keys (the filter attr).
function M.only_attr(st, v, name)
  if kind(v) == "undef" then V.not_defined(v) end
  local found = attribute(st, v, name)
  if found == nil then return missing(v, name) end
  return found
end

--- v[key]
function M.item(st, v, key)
  if kind(v) == "undef" then V.not_defined(v) end
  local found = subscript(st, v, key)
  if found == nil and kind(key) == "str" then found = attribute(st, v, bytes(key)) end
  if found == nil then return missing(v, kind(key) == "str" and bytes(key) or "an element") end
  return found
end

--- v[start:stop:step]
function M.slice(st, v, start, stop, step)
  local k = kind(v)
  if k == "undef" then V.not_defined(v) end
  if k == "str" then return strings.slice(st, v, start, stop, step) end
  if k ~= "arr" and k ~= "range" and k ~= "bytes" then bad(("'%s' object cannot be sliced"):format(V.type_name(v))) end
  local n = k == "bytes" and #v.s or v.n
  local from, by, count = strings.slice_range(n, start, stop, step)
  if k == "range" then return M.range(v.start + from * v.step, v.start + (from + count * by) * v.step, v.step * by, count) end
  local out = {}
  st:spend(1 + count / 4)
  for i = 1, count do
    local at = from + (i - 1) * by + 1
    out[i] = k == "bytes" and v.s:sub(at, at) or v[at]
  end
  if k == "bytes" then return { k = "bytes", s = table.concat(out) } end
  return V.array(out, count, v.tuple)
end

--- A range value.
function M.range(start, stop, step, n)
  return { k = "range", start = start, stop = stop, step = step, n = n }
end

strings.look.attr, strings.look.item = M.attr, M.item

return M
