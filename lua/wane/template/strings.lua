--- Chat templates: filters and methods of strings, slices, JSON.
local M = {}

local A = require "wane.template.args"
local V = require "wane.template.value"
local arg, int_or, want, want_str = A.arg, A.int_or, A.want, A.want_str
local bad, bytes, kind, UNDEF = V.bad, V.bytes, V.kind, V.UNDEF

--- By name.
local S = {}
M.methods = S

local function recase(fn)
  return function(state, args)
    local v = want(args[1], "str", "case")
    state:spend(#bytes(v) / 4)
    return V.recased(v, fn(bytes(v)))
  end
end

--- ASCII only: the same in every locale.
local function upper(s) return (s:gsub("[a-z]+", string.upper)) end
local function lower(s) return (s:gsub("[A-Z]+", string.lower)) end

S.upper, S.lower = recase(upper), recase(lower)
S.capitalize = recase(function(s) return upper(s:sub(1, 1)) .. lower(s:sub(2)) end)
S.title = recase(function(s)
  return (lower(s):gsub("[^ \t\n\v\f\r]+", function(w) return upper(w:sub(1, 1)) .. w:sub(2) end))
end)

--- Strips the characters of a set (white space without one) at the ends.
local function strip(left, right)
  return function(state, args)
    local v, chars = want(args[1], "str", "strip"), arg(args, "chars", 1)
    local s, set = bytes(v), kind(chars) == "str" and bytes(chars) or " \t\n\v\f\r"
    local i, j = 1, #s
    while left and i <= j and set:find(s:sub(i, i), 1, true) do i = i + 1 end
    while right and j >= i and set:find(s:sub(j, j), 1, true) do j = j - 1 end
    state:spend(#s - (j - i + 1))
    return V.sub(v, i, j)
  end
end
S.strip, S.lstrip, S.rstrip = strip(true, true), strip(true, false), strip(false, true)

function S.length(_, args) return #want_str(args[1], "length") end

function S.startswith(_, args)
  local s, p = want_str(args[1], "startswith"), want_str(args[2] or UNDEF, "startswith")
  return s:sub(1, #p) == p
end

function S.endswith(_, args)
  local s, p = want_str(args[1], "endswith"), want_str(args[2] or UNDEF, "endswith")
  return p == "" or s:sub(-#p) == p
end

--- Pieces of a string value between separators; at most `most` cuts.
local function cut(state, v, sep, most)
  local s, out, n, at = bytes(v), {}, 0, 1
  while most ~= 0 do
    local i, j = s:find(sep, at, true)
    if not i then break end
    n = n + 1
    out[n] = V.sub(v, at, i - 1)
    state:spend(1)
    at, most = j + 1, most - 1
  end
  out[n + 1] = V.sub(v, at, #s)
  return V.array(out, n + 1)
end

local function separator(args, name)
  local sep = args[2] == nil and " " or bytes(V.text(args[2]))
  if sep == "" then bad(name .. ": empty separator") end
  return sep
end

function S.split(state, args)
  return cut(state, want(args[1], "str", "split"), separator(args, "split"), int_or(args[3] or UNDEF, -1))
end

--- Cuts from the right: all pieces, then the leftmost joined again.
function S.rsplit(state, args)
  local sep, most = separator(args, "rsplit"), int_or(args[3] or UNDEF, -1)
  local all = cut(state, want(args[1], "str", "rsplit"), sep, -1)
  if most < 0 or all.n - 1 <= most then return all end
  local head, out = {}, {}
  for i = 1, all.n - most do
    if i > 1 then head[#head + 1] = sep end
    head[#head + 1] = all[i]
  end
  out[1] = V.concat(head)
  for i = 1, most do out[i + 1] = all[all.n - most + i] end
  return V.array(out, most + 1)
end

--- Plain search, each byte looked at once.
function S.replace(state, args)
  local v = want(args[1], "str", "replace")
  local old, new = want_str(args[2] or UNDEF, "replace"), args[3] or UNDEF
  want(new, "str", "replace")
  local most = int_or(args[4] or UNDEF, -1)
  local s, out, at = bytes(v), {}, 1
  if old == "" then
    for i = 1, #s do
      state:spend(1)
      out[#out + 1] = new
      out[#out + 1] = V.sub(v, i, i)
    end
    out[#out + 1] = new
    return state:joined(out)
  end
  while most ~= 0 do
    local i, j = s:find(old, at, true)
    if not i then break end
    state:spend(1 + #bytes(new) / 64)
    out[#out + 1] = V.sub(v, at, i - 1)
    out[#out + 1] = new
    at, most = j + 1, most - 1
  end
  out[#out + 1] = V.sub(v, at, #s)
  return state:joined(out)
end

--- "{}" placeholders only, as llama.cpp has it.
function S.format(state, args)
  local v, out, at, n = want(args[1], "str", "format"), {}, 1, 1
  local s = bytes(v)
  while true do
    local i = s:find("{", at, true)
    if not i then break end
    if s:sub(i + 1, i + 1) ~= "}" then bad "format: only simple {} placeholders are supported" end
    n = n + 1
    if args[n] == nil then bad "format: fewer arguments than placeholders" end
    out[#out + 1] = V.sub(v, at, i - 1)
    out[#out + 1] = V.text(args[n], state)
    at = i + 2
  end
  out[#out + 1] = V.sub(v, at, #s)
  return state:joined(out)
end

--- Digits of a base at the start of a string, as C's strtol reads them.
local function leading_int(s, base)
  local sign, rest = s:match "^[ \t\n\v\f\r]*([+-]?)(.*)$"
  if base == 16 and rest:find "^0[xX][0-9A-Fa-f]" then rest = rest:sub(3) end
  local value, any = 0, false
  for c in rest:gmatch "[0-9A-Za-z]" do
    local digit = tonumber(c, 36)
    if not digit or digit >= base or rest:sub(1, 1) == "" then break end
    value, any = value * base + digit, true
    rest = rest:sub(2)
    if not rest:find "^[0-9A-Za-z]" then break end
  end
  if not any or value > 2 ^ 31 then return nil end
  return sign == "-" and -value or value
end

S["int"] = function(_, args)
  local s, base = want_str(args[1], "int"), int_or(arg(args, "base", 2), 10)
  if base < 2 or base > 36 then bad "int: want a base from 2 to 36" end
  return leading_int(s, base) or int_or(arg(args, "default", 1), 0)
end

S["float"] = function(_, args)
  local s = want_str(args[1], "float"):match "^[ \t\n\v\f\r]*([+-]?[0-9]*%.?[0-9]*[eE]?[+-]?[0-9]*)"
  local n = tonumber(s) or tonumber((s:match "^[+-]?[0-9]*%.?[0-9]*"))
  return { k = "float", n = n or V.number(arg(args, "default", 1)) or 0 }
end

function S.string(_, args) return args[1] end
S.safe = S.string

function S.default(_, args)
  local v, default = args[1], args[2] or ""
  if V.truthy(arg(args, "boolean", 2)) and not V.truthy(v) then return default end
  return v
end

function S.indent(state, args)
  local v, width = want(args[1], "str", "indent"), arg(args, "width", 1)
  local first, blank = V.truthy(arg(args, "first", 2)), V.truthy(arg(args, "blank", 3))
  local by = kind(width) == "str" and bytes(width) or (" "):rep(math.min(math.max(int_or(width, 4), 0), 10000))
  local s, out, at, n = bytes(v), {}, 1, 0
  while at <= #s do
    local stop = s:find("\n", at, true) or #s + 1
    if n > 0 then out[#out + 1] = "\n" end
    if n == 0 and first or n > 0 and (stop > at or blank) then out[#out + 1] = by end
    out[#out + 1] = V.sub(v, at, stop - 1)
    state:spend(1 + #by / 64)
    n, at = n + 1, stop + 1
  end
  if s:sub(-1) == "\n" then out[#out + 1] = blank and "\n" .. by or "\n" end
  return state:joined(out)
end

function S.wordcount(state, args)
  state:spend(#bytes(args[1]) / 4)
  local _, n = bytes(args[1]):gsub("[^ \t\n\v\f\r]+", "")
  return n
end

-- ---- JSON -----------------------------------------------------------------------

--- Characters beyond ASCII as \uXXXX.
local function escape_unicode(s)
  return (s:gsub("[\194-\244][\128-\191]+", function(c)
    local b = c:byte()
    local cp = b < 0xE0 and b % 32 or b < 0xF0 and b % 16 or b % 8
    for i = 2, #c do cp = cp * 64 + c:byte(i) % 64 end
    if cp < 0x10000 then return ("\\u%04x"):format(cp) end
    cp = cp - 0x10000
    return ("\\u%04x\\u%04x"):format(0xD800 + math.floor(cp / 1024), 0xDC00 + cp % 1024)
  end))
end

--- The filter tojson, for every kind of value.
function M.tojson(state, args)
  local indent, separators = arg(args, "indent", 2), arg(args, "separators", 3)
  if V.truthy(arg(args, "sort_keys", 4)) then bad "tojson: sort_keys is not supported" end
  local opts = { indent = kind(indent) == "int" and indent >= 0 and math.min(indent, 100) or nil }
  if kind(separators) == "arr" then
    opts.item = separators[1] and want_str(separators[1], "tojson")
    opts.key = separators[2] and want_str(separators[2], "tojson")
  end
  local out = V.to_json(args[1], opts, state)
  if V.truthy(arg(args, "ensure_ascii", 1)) then out = V.like(escape_unicode(bytes(out)), out) end
  return out
end
S.tojson = M.tojson

-- ---- slices ---------------------------------------------------------------------

--- Places of [start:stop:step] in n elements, as Python counts them.
local function slice_places(n, start, stop, step)
  if step > 0 then
    start = start < 0 and math.max(n + start, 0) or math.min(start, n)
    stop = stop < 0 and math.max(n + stop, 0) or math.min(stop, n)
  else
    start = start < 0 and math.max(n + start, 0) or math.min(start, n - 1)
    stop = stop < -1 and math.max(n + stop, -1) or math.min(stop, n - 1)
  end
  local out = {}
  for i = start, stop + (step > 0 and -1 or 1), step do
    if i >= 0 and i < n then out[#out + 1] = i + 1 end
  end
  return out
end

--- object[start:stop:step]; parts that are not given are nil.
function M.slice(state, object, start, stop, step)
  local k = kind(object)
  if k ~= "str" and k ~= "arr" then bad("a " .. V.type_name(object) .. " cannot be sliced") end
  local n = k == "str" and #bytes(object) or object.n
  step = step == nil and 1 or want(step, "int", "slice")
  if step == 0 then bad "slice: the step is zero" end
  start = start == nil and (step < 0 and n - 1 or 0) or want(start, "int", "slice")
  stop = stop == nil and (step < 0 and -1 or n) or want(stop, "int", "slice")
  local places = slice_places(n, start, stop, step)
  state:spend(#places / 16)
  if k == "str" and step == 1 then
    return #places == 0 and "" or V.sub(object, places[1], places[#places])
  end
  local out = {}
  for i, at in ipairs(places) do out[i] = k == "str" and V.sub(object, at, at) or object[at] end
  if k == "str" then return state:joined(out) end
  return V.array(out, #out, object.tuple)
end

return M
