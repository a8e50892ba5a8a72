--- Chat templates: the methods of strings, as Python's str has them.
local M = {}

local A = require "wane.template.args"
local V = require "wane.template.value"
local format = require "wane.template.format"
local operators = require "wane.template.operators"
local number = require "wane.template.number"
local U = require "wane.template.unicode"
local bad, bytes, kind = V.bad, V.bytes, V.kind
local NONE = V.NONE

--- By name: fn(state, args), args[1] the string.
local methods = {}
M.methods = methods

local function def(name, params, fn)
  table.insert(params, 1, "/self")
  methods[name] = A.signature(name, params, fn)
end

--- A result that is markup when the string was.
local function like_kind(v, out)
  if type(v) == "table" and v.safe and kind(out) == "str" then return V.markup(out) end
  return out
end
M.like_kind = like_kind

local function want_str(v, what)
  if kind(v) ~= "str" then bad(("%s: want a string, found %s"):format(what, V.type_name(v))) end
  return v
end
M.want_str = want_str

-- ---- case -------------------------------------------------------------------------

for name, fn in pairs {
  upper = U.upper, lower = U.lower, casefold = U.fold, swapcase = U.swapcase, capitalize = U.capitalize, title = U.title,
} do
  def(name, {}, function(st, v)
    st:room(#bytes(v))
    st:spend(#bytes(v) / 4)
    return like_kind(v, V.recased(v, fn(bytes(v))))
  end)
end

-- ---- what characters are there -------------------------------------------------------

--- Whether all characters (at least one) satisfy test(code).
local function all(s, test)
  local i = 1
  while i <= #s do
    local c, n = U.code(s, i)
    if not test(c) then return false end
    i = i + n
  end
  return s ~= ""
end

local function is(class) return function(c) return U.is(c, class) end end

local function is_alnum(c) return U.is(c, "alpha") or U.is(c, "numeric") end
M.is_alnum = is_alnum

local CLASS = {
  isalpha = is "alpha", isdecimal = is "decimal", isdigit = is "digit", isnumeric = is "numeric", isalnum = is_alnum,
  isspace = function(c) return U.space(U.char(c), 1) ~= nil end,
}
for name, test in pairs(CLASS) do
  def(name, {}, function(st, v)
    st:spend(#bytes(v) / 4)
    return all(bytes(v), test)
  end)
end
def("isascii", {}, function(_, v) return U.ascii(bytes(v)) end)
def("isprintable", {}, function(_, v) return bytes(v) == "" or all(bytes(v), function(c) return not U.is(c, "hidden") end) end)
def("isidentifier", {}, function(_, v)
  local s = bytes(v)
  if s:find "^[0-9]" then return false end
  return all(s, function(c) return c == 95 or is_alnum(c) end)
end)

--- islower, isupper: some letter has case, and none the other one.
local function one_case(want, other)
  return function(_, v)
    local s, some, i = bytes(v), false, 1
    while i <= #s do
      local c, n = U.code(s, i)
      if U.is(c, other) or U.is(c, "title") then return false end
      some = some or U.is(c, want)
      i = i + n
    end
    return some
  end
end
def("islower", {}, one_case("lower", "upper"))
def("isupper", {}, one_case("upper", "lower"))
def("istitle", {}, function(_, v)
  local s, some, cased, i = bytes(v), false, false, 1
  while i <= #s do
    local c, n = U.code(s, i)
    if U.is(c, "upper") or U.is(c, "title") then
      if cased then return false end
      some, cased = true, true
    elseif U.is(c, "lower") then
      if not cased then return false end
      some = true
    else
      cased = false
    end
    i = i + n
  end
  return some
end)

-- ---- stripping -----------------------------------------------------------------------

--- The range of bytes left without the given characters (nil: white space).
local function strip_range(s, chars, left, right)
  if chars == nil then
    local first, last = U.strip_range(s)
    return left and first or 1, right and last or #s
  end
  local set, i = {}, 1
  while i <= #chars do
    local n = U.width(chars, i)
    set[chars:sub(i, i + n - 1)] = true
    i = i + n
  end
  local first, last = 1, #s
  while left and first <= #s do
    local n = U.width(s, first)
    if not set[s:sub(first, first + n - 1)] then break end
    first = first + n
  end
  while right and last >= first do
    local at = last
    while at > first and last - at < 3 and s:byte(at) >= 0x80 and s:byte(at) < 0xC0 do at = at - 1 end
    if at + U.width(s, at) - 1 ~= last then at = last end
    if not set[s:sub(at, last)] then break end
    last = at - 1
  end
  return first, last
end

--- v without white space, or without `chars`, at its ends.
function M.strip(st, v, chars, left, right)
  if chars == NONE then chars = nil end
  if chars ~= nil then chars = bytes(want_str(chars, "strip")) end
  st:spend(1 + #bytes(v) / 16)
  local first, last = strip_range(bytes(v), chars, left, right)
  if left and not right then last = #bytes(v) end
  return like_kind(v, V.sub(v, first, last))
end
def("strip", { { "/chars", NONE } }, function(st, v, chars) return M.strip(st, v, chars, true, true) end)
def("lstrip", { { "/chars", NONE } }, function(st, v, chars) return M.strip(st, v, chars, true, false) end)
def("rstrip", { { "/chars", NONE } }, function(st, v, chars) return M.strip(st, v, chars, false, true) end)

def("removeprefix", { "/prefix" }, function(_, v, prefix)
  local s, p = bytes(v), bytes(want_str(prefix, "removeprefix"))
  return s:sub(1, #p) == p and V.sub(v, #p + 1, #s) or v
end)
def("removesuffix", { "/suffix" }, function(_, v, suffix)
  local s, p = bytes(v), bytes(want_str(suffix, "removesuffix"))
  return p ~= "" and s:sub(-#p) == p and V.sub(v, 1, #s - #p) or v
end)

-- ---- cutting -------------------------------------------------------------------------

--- { from, to } of the pieces between white space.
local function words(st, s, most)
  local out, at = {}, 1
  while true do
    while U.space(s, at) do at = at + U.space(s, at) end
    if at > #s then return out end
    if most >= 0 and #out >= most then
      local _, last = U.strip_range(s)
      out[#out + 1] = { at, last }
      return out
    end
    local from = at
    while at <= #s and not U.space(s, at) do at = at + 1 end
    out[#out + 1] = { from, at - 1 }
    st:spend(2)
  end
end

local function words_from_right(st, s, most)
  if most < 0 then return words(st, s, -1) end
  local all_words = words(st, s, -1)
  if #all_words <= most then return all_words end
  local out, keep = {}, #all_words - most
  for i = keep + 1, #all_words do out[#out + 1] = all_words[i] end
  table.insert(out, 1, { (U.strip_range(s)), all_words[keep][2] })
  if most == 0 then
    local first = U.strip_range(s)
    local _, last = U.strip_range(s)
    return { { first, last } }
  end
  return out
end

local function between(st, s, sep, most)
  local out, at = {}, 1
  while most ~= 0 do
    local i, j = s:find(sep, at, true)
    if not i then break end
    out[#out + 1] = { at, i - 1 }
    at, most = j + 1, most - 1
    st:spend(2)
    if #out > V.MAX_LIST then break end
  end
  out[#out + 1] = { at, #s }
  return out
end

local function between_from_right(st, s, sep, most)
  local all_parts = between(st, s, sep, -1)
  if most < 0 or #all_parts <= most + 1 then return all_parts end
  local out = {}
  for i = #all_parts - most + 1, #all_parts do out[#out + 1] = all_parts[i] end
  table.insert(out, 1, { 1, all_parts[#all_parts - most][2] })
  return out
end

local function pieces(v, list)
  local out = {}
  for i, p in ipairs(list) do out[i] = like_kind(v, V.sub(v, p[1], p[2])) end
  return V.array(out, #out)
end

local function splitter(by_space, by_text)
  return function(st, v, sep, most)
    most = V.index(most)
    st:spend(1 + #bytes(v) / 32)
    if sep == NONE then return pieces(v, by_space(st, bytes(v), most)) end
    sep = bytes(want_str(sep, "split"))
    if sep == "" then bad "empty separator" end
    return pieces(v, by_text(st, bytes(v), sep, most))
  end
end
def("split", { { "sep", NONE }, { "maxsplit", -1 } }, splitter(words, between))
def("rsplit", { { "sep", NONE }, { "maxsplit", -1 } }, splitter(words_from_right, between_from_right))

--- Bytes of the line end at byte i, or nil.
local function line_end(s, i)
  local c = s:byte(i)
  if not c then return nil end
  if c == 13 then return s:byte(i + 1) == 10 and 2 or 1 end
  if (c >= 10 and c <= 12) or (c >= 28 and c <= 30) then return 1 end
  if c == 0xC2 and s:byte(i + 1) == 0x85 then return 2 end
  if c == 0xE2 and s:sub(i, i + 2):find "^\226\128[\168\169]" then return 3 end
end

--- { from, to } of lines, and the bytes of the end of each.
function M.lines(st, s)
  local out, at, from = {}, 1, 1
  st:spend(1 + #s / 8)
  while true do
    local i = s:find("[\10-\13\28-\30\194\226]", at)
    if not i then break end
    local n = line_end(s, i)
    if n then
      out[#out + 1] = { from, i - 1, n }
      from, at = i + n, i + n
    else
      at = i + 1
    end
  end
  if from <= #s then out[#out + 1] = { from, #s, 0 } end
  return out
end
def("splitlines", { { "keepends", false } }, function(st, v, keep)
  local list = M.lines(st, bytes(v))
  if V.index(keep) ~= 0 then
    for _, p in ipairs(list) do p[2] = p[2] + p[3] end
  end
  return pieces(v, list)
end)

local function last_find(s, sub)
  local at, found = 1, nil
  while true do
    local i = s:find(sub, at, true)
    if not i then return found end
    found, at = i, i + 1
  end
end

local function partition(find, missing)
  return function(_, v, sep)
    local s, p = bytes(v), bytes(want_str(sep, "partition"))
    if p == "" then bad "empty separator" end
    local i = find(s, p)
    if not i then return missing(v) end
    return V.tuple(V.sub(v, 1, i - 1), sep, V.sub(v, i + #p, #s))
  end
end
def("partition", { "/sep" }, partition(function(s, p) return (s:find(p, 1, true)) end, function(v) return V.tuple(v, "", "") end))
def("rpartition", { "/sep" }, partition(last_find, function(v) return V.tuple("", "", v) end))

-- ---- finding -------------------------------------------------------------------------

--- The bytes of characters start to stop, as s[start:stop] counts: the text
--- and the byte before it; nil when start is behind the end.
local function window(s, start, stop)
  local n = U.len(s)
  start = start == NONE and 0 or V.index(start)
  stop = stop == NONE and n or V.index(stop)
  if start < 0 then start = math.max(start + n, 0) end
  if stop < 0 then stop = math.max(stop + n, 0) end
  if start > n then return nil end
  stop = math.min(stop, n)
  if stop < start then return nil end
  local from = U.offset(s, start)
  return s:sub(from, U.offset(s, stop) - 1), from - 1
end

local RANGE = { { "/start", NONE }, { "/end", NONE } }

local function finder(find, missing)
  return function(st, v, sub, start, stop)
    local s, p = bytes(v), bytes(want_str(sub, "find"))
    st:spend(1 + #s / 64)
    local part, before = window(s, start, stop)
    local i = part and find(part, p)
    if not i then return missing() end
    return U.index_of(s, before + i)
  end
end
local function first_find(s, p) return (s:find(p, 1, true)) end
local function last_or_end(s, p) return p == "" and #s + 1 or last_find(s, p) end
local function none_found() return -1 end
local function not_found() bad "substring not found" end
def("find", { "/sub", RANGE[1], RANGE[2] }, finder(first_find, none_found))
def("rfind", { "/sub", RANGE[1], RANGE[2] }, finder(last_or_end, none_found))
def("index", { "/sub", RANGE[1], RANGE[2] }, finder(first_find, not_found))
def("rindex", { "/sub", RANGE[1], RANGE[2] }, finder(last_or_end, not_found))

def("count", { "/sub", RANGE[1], RANGE[2] }, function(st, v, sub, start, stop)
  local part = window(bytes(v), start, stop)
  local p, n, at = bytes(want_str(sub, "count")), 0, 1
  if not part then return 0 end
  if p == "" then return U.len(part) + 1 end
  while true do
    local i, j = part:find(p, at, true)
    if not i then return n end
    n, at = n + 1, j + 1
    st:spend(1)
  end
end)

local function edge(matches)
  return function(_, v, what, start, stop)
    local part = window(bytes(v), start, stop)
    if kind(what) ~= "arr" or not what.tuple then what = V.tuple(what) end
    for i = 1, what.n do
      local p = bytes(want_str(what[i], "startswith"))
      if part and matches(part, p) then return true end
    end
    return false
  end
end
def("startswith", { "/prefix", RANGE[1], RANGE[2] }, edge(function(s, p) return s:sub(1, #p) == p end))
def("endswith", { "/suffix", RANGE[1], RANGE[2] }, edge(function(s, p) return p == "" or s:sub(-#p) == p end))

-- ---- making --------------------------------------------------------------------------

--- Plain search, each byte looked at once. `most` -1: all.
function M.replace(st, v, old, new, most)
  local s, o, out, at = bytes(v), bytes(old), {}, 1
  st:spend(1 + #s / 64)
  if o == "" then
    local starts, n = U.starts(s)
    for i = 1, n + 1 do
      if most >= 0 and i > most then
        out[#out + 1] = V.sub(v, starts[i], #s)
        break
      end
      st:spend(1 + #bytes(new) / 64)
      out[#out + 1] = new
      if i <= n then out[#out + 1] = V.sub(v, starts[i], starts[i + 1] - 1) end
    end
    return st:joined(out)
  end
  while most ~= 0 do
    local i, j = s:find(o, at, true)
    if not i then break end
    st:spend(1 + #bytes(new) / 64)
    out[#out + 1] = V.sub(v, at, i - 1)
    out[#out + 1] = new
    at, most = j + 1, most - 1
  end
  out[#out + 1] = V.sub(v, at, #s)
  return st:joined(out)
end
def("replace", { "/old", "/new", { "/count", -1 } }, function(st, v, old, new, most)
  want_str(old, "replace")
  want_str(new, "replace")
  if type(v) == "table" and v.safe and not (type(new) == "table" and new.safe) then new = operators.escaped(new, st) end
  return like_kind(v, M.replace(st, v, old, new, V.index(most)))
end)

def("join", { "/iterable" }, function(st, v, list)
  local values, n = V.each(list, st)
  local out = {}
  for i = 1, n do
    if kind(values[i]) ~= "str" then
      bad(("sequence item %d: expected str instance, %s found"):format(i - 1, V.type_name(values[i])))
    end
    if i > 1 then out[#out + 1] = v end
    out[#out + 1] = values[i]
  end
  if type(v) == "table" and v.safe then return V.markup(operators.join_markup(st, n == 0 and { v and V.markup "" } or out)) end
  return st:joined(out)
end)

--- Blanks (or another character) on the sides of v up to a width.
local function padder(sides)
  return function(st, v, width, fill)
    width = V.index(width)
    if kind(fill) ~= "str" or U.len(bytes(fill)) ~= 1 then bad "The fill character must be exactly one character long" end
    local gap = width - U.len(bytes(v))
    if gap <= 0 then return v end
    st:room(gap * #bytes(fill))
    local left, right = sides(gap, width)
    return like_kind(v, st:joined { bytes(fill):rep(left), v, bytes(fill):rep(right) })
  end
end
M.center = padder(function(gap, width)
  local left = math.floor(gap / 2) + ((gap % 2 == 1 and width % 2 == 1) and 1 or 0)
  return left, gap - left
end)
def("center", { "/width", { "/fillchar", " " } }, M.center)
def("ljust", { "/width", { "/fillchar", " " } }, padder(function(gap) return 0, gap end))
def("rjust", { "/width", { "/fillchar", " " } }, padder(function(gap) return gap, 0 end))
def("zfill", { "/width" }, function(st, v, width)
  local gap = V.index(width) - U.len(bytes(v))
  if gap <= 0 then return v end
  st:room(gap)
  local sign = bytes(v):match "^[+-]?"
  return st:joined { V.sub(v, 1, #sign), ("0"):rep(gap), V.sub(v, #sign + 1, #bytes(v)) }
end)

def("expandtabs", { { "tabsize", 8 } }, function(st, v, size)
  local s, out, column, i = bytes(v), {}, 0, 1
  size = V.index(size)
  while i <= #s do
    local n = U.width(s, i)
    local c = s:sub(i, i + n - 1)
    if c == "\t" then
      local gap = size > 0 and size - column % size or 0
      st:room(gap)
      c, column = (" "):rep(gap), column + gap
    else
      column = (c == "\n" or c == "\r") and 0 or column + 1
      c = V.sub(v, i, i + n - 1)
    end
    out[#out + 1] = c
    i = i + n
  end
  return st:joined(out)
end)

def("encode", { { "encoding", "utf-8" }, { "errors", "strict" } }, function(_, v, encoding)
  local name = bytes(want_str(encoding, "encode")):lower():gsub("[_-]", "")
  if name ~= "utf8" and not (name == "ascii" and U.ascii(bytes(v))) then bad "encode: only UTF-8 is supported" end
  return { k = "bytes", s = bytes(v) }
end)

def("translate", { "/table" }, function(st, v, map)
  if kind(map) ~= "obj" then bad "translate: want an object of code points" end
  local out, i, s = {}, 1, bytes(v)
  while i <= #s do
    local c, n = U.code(s, i)
    local to = V.get(map, c)
    if to == nil then to = V.sub(v, i, i + n - 1)
    elseif to == NONE then to = ""
    elseif type(to) == "number" then to = U.char(to) end
    out[#out + 1] = want_str(to, "translate")
    i = i + n
  end
  return st:joined(out)
end)

--- Set by attrs.lua: how a format string looks into values.
M.look = {}
local function expand(st, v, args, named)
  return format.expand(v, {
    args = args, named = named, state = st,
    attr = function(x, name) return M.look.attr(st, x, name) end,
    item = function(x, key) return M.look.item(st, x, key) end,
  })
end
function methods.format(st, args)
  local values = {}
  for i = 2, args.n do values[i - 1] = args[i] end
  return expand(st, args[1], values, args.named)
end
def("format_map", { "/mapping" }, function(st, v, map)
  if kind(map) ~= "obj" then bad "format_map: want a mapping" end
  local named = {}
  for i = 1, map.n do
    if kind(map.keys[i]) == "str" then named[bytes(map.keys[i])] = map.vals[i] end
  end
  return expand(st, v, {}, named)
end)

-- ---- slices --------------------------------------------------------------------------

--- First place, last place and step of [start:stop:step] in n elements (from
--- 0), as Python counts them, and how many.
function M.slice_range(n, start, stop, step)
  step = step == NONE and 1 or V.index(step)
  if step == 0 then bad "slice step cannot be zero" end
  local low, high = step > 0 and 0 or -1, step > 0 and n or n - 1
  local function place(v, default)
    if v == NONE then return default end
    v = V.index(v)
    if v < 0 then v = v + n end
    return math.min(math.max(v, low), high)
  end
  start, stop = place(start, step > 0 and 0 or n - 1), place(stop, step > 0 and n or -1)
  local count = math.max(math.floor((stop - start + step + (step > 0 and -1 or 1)) / step), 0)
  return start, step, count
end

--- v[start:stop:step] of a string.
function M.slice(st, v, start, stop, step)
  local s = bytes(v)
  local ascii = U.ascii(s)
  local starts, n
  if not ascii then starts, n = U.starts(s) else n = #s end
  st:spend(1 + n / 16)
  local from, by, count = M.slice_range(n, start, stop, step)
  local function bounds(i)
    if ascii then return i + 1, i + 1 end
    return starts[i + 1], starts[i + 2] - 1
  end
  if count == 0 then return "" end
  if by == 1 then
    local first = bounds(from)
    local _, last = bounds(from + count - 1)
    return like_kind(v, V.sub(v, first, last))
  end
  local out = {}
  for i = 1, count do out[i] = V.sub(v, bounds(from + (i - 1) * by)) end
  st:spend(count)
  return like_kind(v, st:joined(out))
end

-- number methods live here too: they are few
M.number_methods = {
  bit_length = function(v)
    local n, bits = V.int(v), 0
    if type(n) == "table" then n = n.neg and number.neg(n) or n else n = math.abs(n) end
    while n ~= 0 do
      n, bits = (number.divmod(n, 2)), bits + 1
    end
    return bits
  end,
}

return M
