--- Chat templates: the text of values: str(), repr() and JSON, as Python has
--- them.
local M = {}

local V = require "wane.template.value"
local number = require "wane.template.number"
local unicode = require "wane.template.unicode"
local bad, kind, bytes = V.bad, V.kind, V.bytes

--- Nesting of values that can still be written.
local MAX_DEPTH = 100

--- Collects pieces of text; `state` counts their bytes (eval.lua).
local function writer(state)
  local out = { marked = false }
  return out, function(s)
    state:room(#s)
    out[#out + 1] = s
  end
end

local function finished(out)
  local s = table.concat(out)
  return out.marked and V.outside(s) or s
end

-- ---- repr ----------------------------------------------------------------------

local PLAIN = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\\"] = "\\\\" }

local function code_escape(c)
  if c < 0x100 then return ("\\x%02x"):format(c) end
  return (c < 0x10000 and "\\u%04x" or "\\U%08x"):format(c)
end

--- repr of a text.
function M.quoted(s)
  local quote = (s:find("'", 1, true) and not s:find('"', 1, true)) and '"' or "'"
  if unicode.ascii(s) then
    s = s:gsub("[%z\1-\31\127\\" .. quote .. "]", function(c)
      return PLAIN[c] or (c == quote and "\\" .. c) or code_escape(c:byte())
    end)
    return quote .. s .. quote
  end
  local out, i = {}, 1
  while i <= #s do
    local c, n = unicode.code(s, i)
    local t = s:sub(i, i + n - 1)
    if t == quote then t = "\\" .. t
    elseif PLAIN[t] then t = PLAIN[t]
    elseif unicode.is(c, "hidden") then t = code_escape(c) end
    out[#out + 1] = t
    i = i + n
  end
  return quote .. table.concat(out) .. quote
end

local function bytes_repr(s)
  local quote = (s:find("'", 1, true) and not s:find('"', 1, true)) and '"' or "'"
  return "b" .. quote .. s:gsub("[%z\1-\31\127-\255\\" .. quote .. "]", function(c)
    return PLAIN[c] or (c == quote and "\\" .. c) or ("\\x%02x"):format(c:byte())
  end) .. quote
end

local repr

local function row(list, n, put, level, out, state)
  for i = 1, n do
    if i > 1 then put ", " end
    repr(list[i], put, level + 1, out, state)
  end
end

local function entries(v, put, level, out, state)
  put "{"
  for i = 1, v.n do
    if i > 1 then put ", " end
    repr(v.keys[i], put, level + 1, out, state)
    put ": "
    repr(v.vals[i], put, level + 1, out, state)
  end
  put "}"
end

--- What a function, generator or other thing looks like. Python adds its
--- address; there is none to show here.
local NOWHERE = "0x7f0000000000"
local function shown(v)
  local k = kind(v)
  if k == "iter" then return ("<%s object%s at %s>"):format(v.name, v.of and " " .. v.of or "", NOWHERE) end
  if k == "fn" then return v.show or ("<function %s at %s>"):format(v.name or "?", NOWHERE) end
  return type(v.show) == "function" and v.show() or v.show or ("<%s>"):format(k)
end

local REPR = {}
REPR.str = function(v, put, _, out)
  out.marked = out.marked or V.marked(v)
  local s = M.quoted(bytes(v))
  put(type(v) == "table" and v.safe and "Markup(" .. s .. ")" or s)
end
REPR.arr = function(v, put, level, out, state)
  put(v.tuple and "(" or "[")
  row(v, v.n, put, level, out, state)
  put(v.tuple and (v.n == 1 and ",)" or ")") or "]")
end
REPR.obj = entries
REPR.ns = function(v, put, level, out, state)
  put "<Namespace "
  entries(v, put, level, out, state)
  put ">"
end
REPR.view = function(v, put, level, out, state)
  put(v.name .. "([")
  local list, n = v.list(state)
  row(list, n, put, level, out, state)
  put "])"
end
REPR.undef = function(_, put) put "Undefined" end
REPR.none = function(_, put) put "None" end
REPR.bool = function(v, put) put(v and "True" or "False") end
REPR.bytes = function(v, put) put(bytes_repr(v.s)) end
REPR.range = function(v, put)
  put(v.step == 1 and ("range(%d, %d)"):format(v.start, v.stop) or ("range(%d, %d, %d)"):format(v.start, v.stop, v.step))
end
local function put_number(v, put) put(number.text(v)) end
REPR.int, REPR.big, REPR.float = put_number, put_number, put_number

function repr(v, put, level, out, state)
  if level > MAX_DEPTH then V.fail(nil, ("a value nests deeper than %d"):format(MAX_DEPTH), "ELIMIT") end
  state:spend(6)
  local fn = REPR[kind(v)]
  if fn then return fn(v, put, level, out, state) end
  put(shown(v))
end

--- repr(v) as a string value.
function M.repr(v, state)
  local out, put = writer(state)
  repr(v, put, 0, out, state)
  return finished(out)
end

--- str(v) as a string value.
function M.str(v, state)
  local k = kind(v)
  if k == "str" then return v end
  if k == "int" or k == "float" or k == "big" then return number.text(v) end
  if k == "bool" then return v and "True" or "False" end
  if k == "none" then return "None" end
  if k == "undef" then return "" end
  return M.repr(v, state)
end

-- ---- JSON ------------------------------------------------------------------------

local SHORT = {
  ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t",
}

--- A text as a JSON string; ascii: all else as \uXXXX.
function M.json_string(s, ascii)
  s = s:gsub(ascii and '[%z\1-\31"\\\127]' or '[%z\1-\31"\\]', function(c)
    return SHORT[c] or ("\\u%04x"):format(c:byte())
  end)
  if ascii and not unicode.ascii(s) then
    s = unicode.each(s, function(c)
      if c < 0x80 then return string.char(c) end
      if c < 0x10000 then return ("\\u%04x"):format(c) end
      c = c - 0x10000
      return ("\\u%04x\\u%04x"):format(0xD800 + math.floor(c / 1024), 0xDC00 + c % 1024)
    end)
  end
  return '"' .. s .. '"'
end

local function json_number(v)
  local s = number.text(v)
  return s == "nan" and "NaN" or s == "inf" and "Infinity" or s == "-inf" and "-Infinity" or s
end

local function json_key(key, opts, out)
  local k = kind(key)
  if k == "str" then
    out.marked = out.marked or V.marked(key)
    return M.json_string(bytes(key), opts.ascii)
  end
  if k == "none" then return '"null"' end
  if k == "bool" then return key and '"true"' or '"false"' end
  if V.number(key) then return '"' .. json_number(key) .. '"' end
  bad(("keys must be str, int, float, bool or None, not %s"):format(V.type_name(key)))
end

local json

local function json_rows(v, put, opts, level, out, state)
  local object = v.k == "obj"
  if v.n == 0 then return put(object and "{}" or "[]") end
  local order = object and opts.order and opts.order(v, state)
  local inner = opts.indent and "\n" .. opts.indent:rep(level + 1) or ""
  put(object and "{" or "[")
  for i = 1, v.n do
    put((i > 1 and opts.item or "") .. inner)
    local at = order and order[i] or i
    if object then put(json_key(v.keys[at], opts, out) .. opts.key) end
    json(object and v.vals[at] or not object and v[at], put, opts, level + 1, out, state)
  end
  if opts.indent then put("\n" .. opts.indent:rep(level)) end
  put(object and "}" or "]")
end

function json(v, put, opts, level, out, state)
  if level > MAX_DEPTH then V.fail(nil, ("a value nests deeper than %d"):format(MAX_DEPTH), "ELIMIT") end
  local k = kind(v)
  state:spend(6)
  if k == "str" then
    out.marked = out.marked or V.marked(v)
    put(M.json_string(bytes(v), opts.ascii))
  elseif k == "int" or k == "big" or k == "float" then put(json_number(v))
  elseif k == "bool" then put(v and "true" or "false")
  elseif k == "none" then put "null"
  elseif k == "arr" or k == "obj" then json_rows(v, put, opts, level, out, state)
  else bad(("Object of type %s is not JSON serializable"):format(V.type_name(v))) end
end

--- JSON of a value, keys in order. Marked as outside text when any string in
--- it is.
---@param opts? { indent?: string, item?: string, key?: string, ascii?: boolean, order?: function }
function M.json(v, opts, state)
  opts = opts or {}
  opts.item = opts.item or (opts.indent and "," or ", ")
  opts.key = opts.key or ": "
  local out, put = writer(state)
  json(v, put, opts, 0, out, state)
  return finished(out)
end

return M
