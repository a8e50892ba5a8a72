--- Chat templates: the filters of jinja2 on texts and numbers; those on lists
--- are in sequences.lua.
local M = {}

local A = require "wane.template.args"
local V = require "wane.template.value"
local U = require "wane.template.unicode"
local attrs = require "wane.template.attrs"
local big = require "wane.template.big"
local check = require "wane.template.check"
local format = require "wane.template.format"
local number = require "wane.template.number"
local operators = require "wane.template.operators"
local repr = require "wane.template.repr"
local strings = require "wane.template.strings"
local bad, bytes, kind = V.bad, V.bytes, V.kind
local NONE = V.NONE

--- By name: fn(state, args), args[1] the value.
local F = {}
M.FILTERS = F

local function def(name, params, fn)
  table.insert(params, 1, "/value")
  F[name] = A.signature(name, params, fn)
end
M.def = def

local function str(st, v) return repr.str(v, st) end

-- ---- texts -----------------------------------------------------------------------

for _, name in ipairs { "upper", "lower", "capitalize" } do
  local method = strings.methods[name]
  def(name, {}, function(st, v) return method(st, A.of(str(st, v))) end)
end

--- Words begin behind white space and opening brackets, and the separators
--- go with the word before.
def("title", {}, function(st, v)
  v = str(st, v)
  local s, out, start = bytes(v), {}, true
  st:room(#s)
  local i = 1
  while i <= #s do
    local n = U.width(s, i)
    local c = s:sub(i, i + n - 1)
    local separator = c:find "^[-({%[<]$" or U.space(s, i)
    if separator then
      out[#out + 1], start = c, true
    else
      local code = U.code(s, i)
      out[#out + 1] = (n == 1 and code >= 0xDC80) and c or start and U.map(code, "upper") or U.lower_at(s, i, code)
      start = false
    end
    i = i + n
  end
  return V.recased(v, table.concat(out))
end)

def("trim", { { "chars", NONE } }, function(st, v, chars) return strings.strip(st, str(st, v), chars, true, true) end)
def("string", {}, function(st, v) return str(st, v) end)
def("safe", {}, function(st, v) return V.markup(str(st, v)) end)
local function escape(st, v)
  if type(v) == "table" and v.safe then return v end
  return V.markup(operators.escaped(str(st, v), st))
end
M.escape = escape
def("escape", {}, escape)
F.e = F.escape
def("forceescape", {}, function(st, v) return V.markup(operators.escaped(str(st, v), st)) end)

def("replace", { "old", "new", { "count", NONE } }, function(st, v, old, new, count)
  return strings.replace(st, str(st, v), str(st, old), str(st, new), count == NONE and -1 or V.index(count))
end)

def("center", { { "width", 80 } }, function(st, v, width) return strings.center(st, str(st, v), width, " ") end)

def("indent", { { "width", 4 }, { "first", false }, { "blank", false } }, function(st, v, width, first, blank)
  if kind(v) == "undef" then V.not_defined(v) end
  strings.want_str(v, "indent")
  local by = width
  if kind(width) ~= "str" then
    local n = math.max(V.index(width), 0)
    st:room(n)
    by = (" "):rep(n)
  end
  local out = {}
  -- a line end at the end counts as an empty last line
  local list = strings.lines(st, bytes(v))
  local last = list[#list]
  if not last or last[3] > 0 then list[#list + 1] = { #bytes(v) + 1, #bytes(v), 0 } end
  for i, p in ipairs(list) do
    if i > 1 then out[#out + 1] = "\n" end
    local line = V.sub(v, p[1], p[2])
    if i == 1 and V.truthy(first) or i > 1 and (line ~= "" or V.truthy(blank)) then out[#out + 1] = by end
    out[#out + 1] = line
    st:spend(1 + #bytes(by) / 64)
  end
  return strings.like_kind(v, st:joined(out))
end)

def("truncate", { { "length", 255 }, { "killwords", false }, { "end", "..." }, { "leeway", NONE } },
  function(st, v, length, killwords, tail, leeway)
    length = V.index(length)
    leeway = leeway == NONE and 5 or V.index(leeway)
    strings.want_str(tail, "truncate")
    local n_tail = U.len(bytes(tail))
    if length < n_tail then bad(("truncate: expected length >= %d, got %d"):format(n_tail, length)) end
    if leeway < 0 then bad "truncate: expected leeway >= 0" end
    local n = V.length(v, st)
    if not n then bad(("object of type '%s' has no len()"):format(V.type_name(v))) end
    if n <= length + leeway then return v end
    strings.want_str(v, "truncate")
    local cut = V.sub(v, 1, U.offset(bytes(v), length - n_tail) - 1)
    if not V.truthy(killwords) then
      local last = bytes(cut):match "^.*() "
      if last then cut = V.sub(cut, 1, last - 1) end
    end
    return st:joined { cut, tail }
  end)

local function is_word(c) return c == 95 or strings.is_alnum(c) end

def("wordcount", {}, function(st, v)
  local s = bytes(str(st, v))
  local n, inside, i = 0, false, 1
  st:spend(#s / 2)
  while i <= #s do
    local c, w = U.code(s, i)
    local word = is_word(c)
    if word and not inside then n = n + 1 end
    inside, i = word, i + w
  end
  return n
end)

--- Words (and the blanks between them) of a line, cut at hyphens when wanted.
local function chunks_of(line, hyphens)
  local out = {}
  for blank, word in line:gmatch "(%s*)(%S*)" do
    if blank ~= "" then out[#out + 1] = blank end
    while hyphens do
      local head, rest = word:match "^(%w*%a%-+)(%a.*)$"
      if not head or not head:find "%a%a?%-" then break end
      out[#out + 1], word = head, rest
    end
    if word ~= "" then out[#out + 1] = word end
  end
  return out
end

--- One line as lines of at most `width` characters, as textwrap makes them.
local function wrapped(st, line, width, long, hyphens)
  local chunks, out, at = chunks_of(line, hyphens), {}, 1
  while at <= #chunks do
    local cur, n = {}, 0
    if #out > 0 and chunks[at]:find "^%s" then at = at + 1 end
    while at <= #chunks and n + U.len(chunks[at]) <= width do
      n = n + U.len(chunks[at])
      cur[#cur + 1], at = chunks[at], at + 1
      st:spend(2)
    end
    local chunk = chunks[at]
    if chunk and U.len(chunk) > width then
      local space = width - n
      if long and space > 0 then
        local cut = U.offset(chunk, space)
        cur[#cur + 1], chunks[at] = chunk:sub(1, cut - 1), chunk:sub(cut)
      elseif not long and n == 0 then
        cur[#cur + 1], at = chunk, at + 1
      end
    end
    if #cur > 0 and cur[#cur]:find "^%s" then cur[#cur] = nil end
    if #cur > 0 then out[#out + 1] = table.concat(cur) end
    st:spend(2)
  end
  return out
end

def("wordwrap", {
  { "width", 79 }, { "break_long_words", true }, { "wrapstring", NONE }, { "break_on_hyphens", true },
}, function(st, v, width, long, wrap, hyphens)
  strings.want_str(v, "wordwrap")
  width, wrap = V.index(width), wrap == NONE and "\n" or bytes(strings.want_str(wrap, "wordwrap"))
  if width <= 0 then bad "wordwrap: invalid width" end
  local s, out = bytes(v), {}
  for _, p in ipairs(strings.lines(st, s)) do
    out[#out + 1] = table.concat(wrapped(st, s:sub(p[1], p[2]), width, V.truthy(long), V.truthy(hyphens)), wrap)
  end
  return V.like(table.concat(out, wrap), v)
end)

local NAMED = { amp = "&", lt = "<", gt = ">", quot = '"', apos = "'", nbsp = "\194\160", copy = "\194\169", reg = "\194\174" }

--- Characters for their names in markup.
local function unescaped(s)
  return (s:gsub("&(#?%w+);", function(name)
    if NAMED[name] then return NAMED[name] end
    local c = tonumber(name:match "^#(%d+)$") or tonumber(name:match "^#[xX](%x+)$" or "", 16)
    return c and c > 0 and c <= 0x10FFFF and U.char(c) or nil
  end))
end

def("striptags", {}, function(st, v)
  v = str(st, v)
  local s, out, at = bytes(v), {}, 1
  for _, mark in ipairs { { "<!--", "-->" }, { "<", ">" } } do
    while true do
      local i = s:find(mark[1], at, true)
      local _, j = s:find(mark[2], i or #s + 1, true)
      if not i or not j then break end
      out[#out + 1] = s:sub(at, i - 1)
      at = j + 1
      st:spend(4)
    end
    s, out, at = table.concat(out) .. s:sub(at), {}, 1
  end
  local words = strings.methods.split(st, A.of(s))
  for i = 1, words.n do out[i] = words[i] end
  return V.like(unescaped(table.concat(out, " ")), v)
end)

local function quoted(s, query)
  s = s:gsub("[^A-Za-z0-9_.~" .. (query and "" or "/") .. "-]", function(c) return ("%%%02X"):format(c:byte()) end)
  return query and s:gsub("%%20", "+") or s
end

def("urlencode", {}, function(st, v)
  if kind(v) == "str" then return V.like((quoted(bytes(v))), v) end
  local list, n
  if kind(v) == "obj" then
    list, n = {}, v.n
    for i = 1, v.n do list[i] = V.tuple(v.keys[i], v.vals[i]) end
  else
    list, n = V.elements(v, st)
  end
  if not list then return (quoted(bytes(str(st, v)))) end
  local out = {}
  for i = 1, n do
    local p, np = V.each(list[i], st)
    if np ~= 2 then bad "urlencode: want pairs" end
    out[i] = (quoted(bytes(str(st, p[1])), true)) .. "=" .. (quoted(bytes(str(st, p[2])), true))
    st:spend(#out[i] / 8)
  end
  return V.outside(table.concat(out, "&"))
end)

def("urlize", {
  { "trim_url_limit", NONE }, { "nofollow", false }, { "target", NONE }, { "rel", NONE }, { "extra_schemes", NONE },
}, function(st, v)
  v = str(st, v)
  local s = operators.escaped(v, st)
  return V.like((bytes(s):gsub("%S+", function(word)
    local url = word:match "^https?://[%w%-.]+%.%a%a+[^%s]*$"
    if url then return ('<a href="%s" rel="noopener">%s</a>'):format(url, url) end
  end)), v)
end)

def("xmlattr", { { "autospace", true } }, function(st, v, space)
  if kind(v) ~= "obj" then bad(("'%s' object has no attribute 'items'"):format(V.type_name(v))) end
  local out = {}
  for i = 1, v.n do
    local val = v.vals[i]
    if val ~= NONE and kind(val) ~= "undef" then
      local key = strings.want_str(v.keys[i], "xmlattr")
      if bytes(key):find "[%s/>=]" then bad "xmlattr: an invalid character in the name of an attribute" end
      if #out > 0 or V.truthy(space) then out[#out + 1] = " " end
      for _, part in ipairs { escape(st, key), '="', escape(st, val), '"' } do out[#out + 1] = part end
    end
  end
  return st:joined(out)
end)

function F.format(st, args)
  if #args.order > 0 and args.n > 1 then bad "can't handle positional and keyword arguments at the same time" end
  local values
  if #args.order > 0 then
    values = V.object()
    for _, key in ipairs(args.order) do V.set(values, key, args.named[key]) end
  else
    values = {}
    for i = 2, args.n do values[i - 1] = args[i] end
    values = V.array(values, args.n - 1, true)
  end
  return format.percent(str(st, args[1]), values, st)
end

def("pprint", {}, function(st, v) return require "wane.template.pprint".format(st, v) end)

-- ---- numbers -----------------------------------------------------------------------

def("abs", {}, function(_, v)
  if kind(v) == "undef" then V.not_defined(v) end
  if kind(v) == "float" then return number.float(math.abs(v.n)) end
  local n = V.int(v)
  if not n then bad(("bad operand type for abs(): '%s'"):format(V.type_name(v))) end
  return V.order(n, 0) < 0 and number.neg(n) or n
end)

--- int(float), towards zero; raises for what has no integer.
local function whole(x, default)
  if x ~= x then return default end
  if x == math.huge or x == -math.huge then
    if default then return default end
    bad "cannot convert float infinity to integer"
  end
  return big.from_float(x < 0 and math.ceil(x) or math.floor(x))
end

def("int", { { "default", 0 }, { "base", 10 } }, function(st, v, default, base)
  if kind(v) == "undef" then V.not_defined(v) end
  if kind(v) == "str" then
    base = V.index(base)
    local n = (base == 0 or (base >= 2 and base <= 36)) and number.read_int(bytes(v), base)
    if n then return n end
    local x = number.read_float(bytes(v))
    st:spend(1 + #bytes(v) / 16)
    if not x then return default end
    return whole(x, default)
  end
  local n = V.int(v)
  if n then return n end
  if kind(v) == "float" then
    if v.n ~= v.n then return default end
    return whole(v.n)
  end
  return default
end)

def("float", { { "default", number.float(0.0) } }, function(_, v, default)
  if kind(v) == "undef" then V.not_defined(v) end
  local n = V.number(v)
  if n == nil and kind(v) == "str" then n = number.read_float(bytes(v)) end
  if n == nil then return default end
  if kind(v) == "big" and math.abs(n) == math.huge then bad "int too large to convert to float" end
  return number.float(n)
end)

--- x with so many digits behind the point, halves to even.
local function rounded(x, digits)
  if x ~= x or math.abs(x) == math.huge or digits > 30 then return x end
  if digits >= 0 then return tonumber((number.fixed(x, digits))) + 0.0 end
  local unit = 10 ^ -digits
  local scaled = x / unit
  local low = math.floor(scaled)
  local rest = scaled - low
  if rest > 0.5 or (rest == 0.5 and low % 2 == 1) then low = low + 1 end
  return low * unit + 0.0
end

local function round_int(n, digits)
  if digits >= 0 then return n end
  local unit = number.apply("**", 10, -digits)
  local q, r = number.divmod(n, unit)
  local twice = V.order(number.mul(r, 2), unit)
  if twice > 0 or (twice == 0 and select(2, number.divmod(q, 2)) == 1) then q = number.add(q, 1) end
  return number.mul(q, unit)
end

def("round", { { "precision", 0 }, { "method", "common" } }, function(_, v, precision, method)
  if kind(v) == "undef" then V.not_defined(v) end
  method = kind(method) == "str" and bytes(method) or ""
  if method ~= "common" and method ~= "ceil" and method ~= "floor" then bad "round: method must be common, ceil or floor" end
  local x = V.number(v)
  if not x then bad(("type %s doesn't define __round__ method"):format(V.type_name(v))) end
  local digits = math.max(math.min(V.index(precision), 400), -400)
  if method == "common" then
    if V.is_int(v) then return round_int(V.int(v), digits) end
    return number.float(rounded(x, digits))
  end
  local scale = number.apply("**", 10, digits)
  local product = number.apply("*", v, scale)
  if kind(product) == "float" then
    product = big.from_float(method == "ceil" and math.ceil(product.n) or math.floor(product.n))
  end
  return number.apply("/", product, scale)
end)

def("filesizeformat", { { "binary", false } }, function(_, v, binary)
  local n = V.number(v) or kind(v) == "str" and number.read_float(bytes(v))
  if not n then bad "filesizeformat: want a number" end
  binary = V.truthy(binary)
  local base = binary and 1024 or 1000
  if n == 1 then return "1 Byte" end
  if n < base then return ("%.0f Bytes"):format(n < 0 and math.ceil(n) or math.floor(n)) end
  local letters = { "k", "M", "G", "T", "P", "E", "Z", "Y" }
  for i, letter in ipairs(letters) do
    local unit = base ^ (i + 1)
    if n < unit or i == #letters then
      letter = binary and (letter == "k" and "K" or letter) .. "iB" or letter .. "B"
      return number.fixed(base * n / unit, 1) .. " " .. letter
    end
  end
end)

-- ---- others ------------------------------------------------------------------------

def("default", { { "default_value", "" }, { "boolean", false } }, function(_, v, default, boolean)
  if kind(v) == "undef" or (V.truthy(boolean) and not V.truthy(v)) then return default end
  return v
end)
F.d = F.default

def("attr", { "name" }, function(st, v, name)
  if kind(v) == "undef" then V.not_defined(v) end
  return attrs.only_attr(st, v, bytes(str(st, name)))
end)

--- Keys of an object in order, for sort_keys.
local function sorted_keys(v, st)
  local order = {}
  for i = 1, v.n do order[i] = i end
  return require "wane.template.sequences".sorted(st, order, v.n, function(a, b)
    return operators.order(st, v.keys[a], v.keys[b]) == -1
  end)
end

def("tojson", { { "ensure_ascii", false }, { "indent", NONE }, { "separators", NONE }, { "sort_keys", false } },
  function(st, v, ascii, indent, separators, sort_keys)
    local opts = { ascii = V.truthy(ascii), order = V.truthy(sort_keys) and sorted_keys or nil }
    if kind(indent) == "str" then
      opts.indent = bytes(indent)
    elseif indent ~= NONE then
      local n = math.max(V.index(indent), 0)
      st:room(n)
      opts.indent = (" "):rep(n)
    end
    if separators ~= NONE then
      local list, n = V.each(separators, st)
      if n ~= 2 then bad "tojson: want two separators" end
      opts.item = bytes(strings.want_str(list[1], "tojson"))
      opts.key = bytes(strings.want_str(list[2], "tojson"))
    end
    return repr.json(v, opts, st)
  end)

--- Applies filter `name` to args[1].
function M.apply(st, name, args)
  local fn = F[name]
  if not fn then bad(("unknown filter '%s'"):format(name:sub(1, 64))) end
  return (fn(st, args))
end

check.has_filter = function(name) return F[name] ~= nil end

return M
