--- Chat templates: which filters, methods, tests and functions there are.
---
--- As in llama.cpp, a filter `x | f(a)` and a method `x.f(a)` are the same
--- thing, chosen by the kind of x; which exist for which kind, and what they
--- do with odd arguments, follows llama.cpp v0.5.0.
local M = {}

local A = require "wane.template.args"
local V = require "wane.template.value"
local lists = require "wane.template.lists"
local strings = require "wane.template.strings"
local arg, want, want_str = A.arg, A.want, A.want_str
local bad, bytes, kind = V.bad, V.bytes, V.kind
local UNDEF = V.UNDEF
local less, tojson = lists.less, strings.tojson

M.slice = strings.slice

-- ---- numbers, booleans, none ------------------------------------------------------

--- default for what is neither a string nor an object.
local function default(_, args)
  local v, k = args[1], kind(args[1])
  local missing = k == "undef" or k == "none"
  if V.truthy(arg(args, "boolean", 2)) then missing = not V.truthy(v) end
  if not missing then return v end
  return args[2] == nil and "" or args[2]
end

local function text(state, args) return V.text(args[1], state) end

local INT = { default = default, tojson = tojson, string = text, safe = text }
INT.abs = function(_, args) return math.abs(args[1]) end
INT["int"] = function(_, args) return args[1] end
INT["float"] = function(_, args) return { k = "float", n = args[1] } end

local FLOAT = { default = default, tojson = tojson, string = tojson, safe = tojson }
FLOAT.abs = function(_, args) return { k = "float", n = math.abs(args[1].n) } end
FLOAT["int"] = function(_, args)
  local n = args[1].n
  if n ~= n or math.abs(n) >= 2 ^ 63 then return 0 end
  return n < 0 and math.ceil(n) or math.floor(n)
end
FLOAT["float"] = function(_, args) return args[1] end

local BOOL = { default = default, tojson = tojson, string = text, safe = text }
BOOL["int"] = function(_, args) return args[1] and 1 or 0 end
BOOL["float"] = function(_, args) return { k = "float", n = args[1] and 1 or 0 } end

local function empty_list() return V.array({}, 0) end
local function empty_text() return "" end
local function zero() return 0 end
local function nothing() return UNDEF end

local NONES = { default = default, tojson = tojson, string = text, safe = text }
for _, name in ipairs { "items", "map", "reject", "rejectattr", "select", "selectattr", "unique" } do
  NONES[name] = empty_list
end

local UNDEFS = { default = default }
for _, name in ipairs { "items", "list", "map", "reject", "rejectattr", "reverse", "select", "selectattr", "sort", "unique" } do
  UNDEFS[name] = empty_list
end
for _, name in ipairs { "capitalize", "join", "lower", "replace", "safe", "string", "strip", "title", "truncate", "upper" } do
  UNDEFS[name] = empty_text
end
for _, name in ipairs { "length", "sum", "wordcount" } do UNDEFS[name] = zero end
for _, name in ipairs { "first", "last", "max", "min" } do UNDEFS[name] = nothing end

-- ---- choosing by kind ------------------------------------------------------------------

local LISTS, OBJECTS = lists.methods, lists.object_methods
LISTS.default, LISTS.tojson, LISTS.string = default, tojson, text
OBJECTS.tojson, OBJECTS.string = tojson, text

local BY_KIND = {
  str = strings.methods, int = INT, float = FLOAT, bool = BOOL, arr = LISTS, obj = OBJECTS, none = NONES, undef = UNDEFS, fn = {}, kw = {},
}

--- The filter or method of a value, or nil. `loop` and the like have none.
function M.method(v, name)
  local k = kind(v)
  if k == "obj" and v.plain then return nil end
  return BY_KIND[k][name]
end

local ALIASES = { count = "length", d = "default", e = "escape", trim = "strip" }
--- Filters that take the text of whatever they get.
local OF_TEXT = { capitalize = true, lower = true, replace = true, strip = true, title = true, upper = true, wordcount = true }

--- Applies filter `name` to args[1].
function M.filter(state, name, args)
  name = ALIASES[name] or name
  local v = args[1]
  if OF_TEXT[name] and v ~= UNDEF and kind(v) ~= "str" then
    v = V.text(v, state)
    args[1] = v
  end
  local fn = M.method(v, name)
  if not fn then bad(("unknown filter '%s' for %s"):format(name, V.type_name(v))) end
  return fn(state, args)
end

-- ---- tests ---------------------------------------------------------------------------------

local TESTS = {}

local function is_kind(...)
  local set = {}
  for _, k in ipairs { ... } do set[k] = true end
  return function(_, args) return set[kind(args[1])] == true end
end
TESTS.boolean, TESTS.callable, TESTS.string = is_kind "bool", is_kind "fn", is_kind "str"
TESTS.integer, TESTS["float"], TESTS.number = is_kind "int", is_kind "float", is_kind("int", "float")
TESTS.iterable, TESTS.sequence = is_kind("arr", "str", "undef"), is_kind("arr", "str", "undef")
TESTS.mapping, TESTS.none, TESTS.undefined = is_kind "obj", is_kind "none", is_kind "undef"
function TESTS.defined(_, args) return args[1] ~= UNDEF end
TESTS["true"] = function(_, args) return args[1] == true end
TESTS["false"] = function(_, args) return args[1] == false end
function TESTS.odd(_, args) return want(args[1], "int", "odd") % 2 ~= 0 end
function TESTS.even(_, args) return want(args[1], "int", "even") % 2 == 0 end
function TESTS.divisibleby(_, args)
  local by = want(args[2] or UNDEF, "int", "divisibleby")
  if by == 0 then bad "divisibleby: zero" end
  return want(args[1], "int", "divisibleby") % by == 0
end
function TESTS.lower(_, args) return not want_str(args[1], "lower"):find "[A-Z]" end
function TESTS.upper(_, args) return not want_str(args[1], "upper"):find "[a-z]" end

--- needle in haystack
function M.contains(state, needle, haystack)
  local k = kind(haystack)
  if k == "undef" then return false end
  if k == "arr" then
    for i = 1, haystack.n do
      state:spend(1)
      if V.equal(needle, haystack[i], state) then return true end
    end
    return false
  end
  if k == "str" then
    local part = want_str(needle, "in")
    state:spend(#bytes(haystack) / 64)
    return bytes(haystack):find(part, 1, true) ~= nil
  end
  if k == "obj" then return V.get(haystack, needle) ~= nil end
  bad("in: a " .. V.type_name(haystack) .. " holds nothing")
end
TESTS["in"] = function(state, args) return M.contains(state, args[1], args[2] or UNDEF) end

--- Comparisons as tests: numbers, strings, booleans; others are never so.
local function ordered(fn)
  return function(_, args)
    if args[2] == nil then bad "a comparison wants a second value" end
    return fn(args[1], args[2])
  end
end
local function same(a, b)
  local x, y = V.number(a), V.number(b)
  if x and y then return x == y end
  local ka, kb = kind(a), kind(b)
  if (x or ka == "str") and (y or kb == "str") then return bytes(V.text(a)) == bytes(V.text(b)) end
  return ka == "bool" and kb == "bool" and a == b
end
local function comparable(a, b)
  local ka, kb = kind(a), kind(b)
  return (V.number(a) or ka == "str" or ka == "bool") and (V.number(b) or kb == "str" or kb == "bool")
end
TESTS.eq, TESTS.equalto = ordered(same), ordered(same)
TESTS.ne = ordered(function(a, b) return comparable(a, b) and not same(a, b) end)
TESTS.lt, TESTS.lessthan = ordered(less), ordered(less)
TESTS.gt = ordered(function(a, b) return less(b, a) end)
TESTS.greaterthan = TESTS.gt
TESTS.ge = ordered(function(a, b) return comparable(a, b) and not less(a, b) end)
TESTS.test = function(_, args) return TESTS[want_str(args[1], "test")] ~= nil end

--- The test of this name; raises for an unknown one.
function M.test(name)
  local fn = TESTS[name]
  if not fn then bad(("unknown test '%s'"):format(name)) end
  return fn
end

lists.test = M.test

-- ---- functions --------------------------------------------------------------------------------

M.FUNCTIONS = { tojson = tojson }

function M.FUNCTIONS.raise_exception(_, args)
  V.fail(nil, want_str(args[1] or UNDEF, "raise_exception"), "EDATA")
end

function M.FUNCTIONS.namespace(_, args)
  if args[1] ~= nil then bad "namespace: want named values" end
  local out = V.object()
  for _, name in ipairs(args.order) do V.set(out, name, args.named[name]) end
  return out
end

function M.FUNCTIONS.range(state, args)
  local start, stop, step = 0, args[1], args[3] or 1
  if args[2] ~= nil then start, stop = args[1], args[2] end
  want(start, "int", "range")
  want(stop or UNDEF, "int", "range")
  want(step, "int", "range")
  if step == 0 then bad "range: the step is zero" end
  local n = math.max(0, math.ceil((stop - start) / step))
  if n > V.MAX_LIST then V.fail(nil, ("range: %.0f elements, want at most %d"):format(n, V.MAX_LIST), "ELIMIT") end
  state:spend(n)
  local out = {}
  for i = 1, n do out[i] = start + (i - 1) * step end
  return V.array(out, n)
end

--- Local time; "%-d" and the like leave out leading zeros.
function M.FUNCTIONS.strftime_now(state, args)
  local format = want_str(args[1] or UNDEF, "strftime_now")
  if #format > 1000 then bad "strftime_now: the format is too long" end
  return (format:gsub("%%(%-?)(.?)", function(minus, c)
    if c == "%" then return "%" end
    if not c:find "^[aAbBcdDFHIjmMpSTUwWxXyYZ]$" then bad("strftime_now: unknown directive %" .. c) end
    local digits = os.date("%" .. c, state.time)
    return minus == "-" and digits:gsub("^0+([0-9])", "%1") or digits
  end))
end

return M
