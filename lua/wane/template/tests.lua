--- Chat templates: the tests of jinja2 (x is name).
local M = {}

local A = require "wane.template.args"
local V = require "wane.template.value"
local check = require "wane.template.check"
local operators = require "wane.template.operators"
local repr = require "wane.template.repr"
local strings = require "wane.template.strings"
local bad, bytes, kind = V.bad, V.bytes, V.kind

--- By name: fn(state, args), args[1] the value.
local T = {}
M.TESTS = T

local function def(names, params, fn)
  table.insert(params, 1, "/value")
  for name in names:gmatch "%S+" do T[name] = A.signature(name, params, fn) end
end

local function is_kind(...)
  local set = {}
  for _, k in ipairs { ... } do set[k] = true end
  return function(_, v) return set[kind(v)] == true end
end

def("defined", {}, function(_, v) return kind(v) ~= "undef" end)
def("undefined", {}, is_kind "undef")
def("none", {}, is_kind "none")
def("boolean", {}, is_kind "bool")
def("true", {}, function(_, v) return v == true end)
def("false", {}, function(_, v) return v == false end)
def("integer", {}, is_kind("int", "big"))
def("float", {}, is_kind "float")
def("number", {}, is_kind("int", "big", "float", "bool"))
def("string", {}, is_kind "str")
def("mapping", {}, is_kind "obj")
def("sequence", {}, is_kind("arr", "str", "obj", "range", "undef", "bytes"))
def("iterable", {}, is_kind("arr", "str", "obj", "range", "undef", "bytes", "iter", "view"))
def("callable", {}, function(_, v)
  local k = kind(v)
  return k == "fn" or k == "undef" or (k == "thing" and v.call ~= nil)
end)
def("escaped", {}, function(_, v) return kind(v) == "str" and type(v) == "table" and v.safe == true end)
def("lower", {}, function(st, v) return strings.methods.islower(st, A.of(repr.str(v, st))) end)
def("upper", {}, function(st, v) return strings.methods.isupper(st, A.of(repr.str(v, st))) end)

local function modulo(st, v, n) return operators.apply(st, "%", v, n) end
def("odd", {}, function(st, v) return V.equal(modulo(st, v, 2), 1, st) end)
def("even", {}, function(st, v) return V.equal(modulo(st, v, 2), 0, st) end)
def("divisibleby", { "num" }, function(st, v, n) return V.equal(modulo(st, v, n), 0, st) end)

def("sameas", { "other" }, function(_, v, other)
  local a, b = kind(v), kind(other)
  if a ~= b then return false end
  if a == "str" then return bytes(v) == bytes(other) end
  if a == "undef" or (a == "arr" and v.tuple and v.n == 0) then return v == other or a == "arr" and other.tuple and other.n == 0 end
  return v == other
end)
def("in", { "seq" }, function(st, v, seq) return operators.contains(st, v, seq) end)

for op, names in pairs {
  ["=="] = "== eq equalto", ["!="] = "!= ne", [">"] = "> gt greaterthan", [">="] = ">= ge", ["<"] = "< lt lessthan",
  ["<="] = "<= le",
} do
  def(names, { "other" }, function(st, a, b) return operators.compare(st, op, a, b) end)
end

local function name_in(has)
  return function(_, v)
    V.name_of(v) -- what cannot be a key raises
    return kind(v) == "str" and has(bytes(v))
  end
end
def("filter", {}, name_in(function(name) return check.has_filter(name) end))
def("test", {}, name_in(function(name) return T[name] ~= nil end))

--- Whether args[1] passes test `name`.
function M.apply(st, name, args)
  local fn = T[name]
  if not fn then bad(("unknown test '%s'"):format(name:sub(1, 64))) end
  return fn(st, args)
end

check.has_test = function(name) return T[name] ~= nil end

return M
