--- Chat templates: "%05.2f" % x and "{:>10,}".format(x), as Python has them.
local M = {}

local V = require "wane.template.value"
local big = require "wane.template.big"
local number = require "wane.template.number"
local repr = require "wane.template.repr"
local unicode = require "wane.template.unicode"
local bad, bytes, kind = V.bad, V.bytes, V.kind

--- Widest field, and most digits behind a point.
local MAX_WIDTH = 100000

local function limited(n, what)
  if n > MAX_WIDTH then V.fail(nil, ("a %s of %.0f, want at most %d"):format(what, n, MAX_WIDTH), "ELIMIT") end
  return n
end

--- Digits of a whole number in a base, without a sign.
local function in_base(v, base)
  if base == 10 then return (big.text(v):gsub("^-", "")) end
  local digits, out = "0123456789abcdef", {}
  if type(v) == "number" then v = math.abs(v) elseif v.neg then v = number.neg(v) end
  repeat
    local rest
    v, rest = number.divmod(v, base)
    table.insert(out, 1, digits:sub(rest + 1, rest + 1))
  until v == 0
  return table.concat(out)
end

--- A float by a C conversion: e f g, with a precision; '#' keeps the point.
local function float_text(x, conversion, precision, alternate)
  local lower = conversion:lower()
  if x ~= x or x == math.huge or x == -math.huge then
    local s = x ~= x and "nan" or "inf"
    return conversion ~= lower and s:upper() or s
  end
  x = math.abs(x)
  if precision > 99 then -- beyond what string.format takes: a double has no more digits of weight
    local s = number.print_number("%.99" .. conversion, x)
    if lower == "f" then return s .. ("0"):rep(precision - 99) end
    return s
  end
  if lower == "f" and not alternate then return number.fixed(x, precision) end
  return number.print_number(("%%%s.%d%s"):format(alternate and "#" or "", precision, conversion), x)
end

--- Digits with a separator between groups, from the right.
local function grouped(digits, sep, size)
  local out = {}
  while #digits > size do
    table.insert(out, 1, digits:sub(-size))
    digits = digits:sub(1, -size - 1)
  end
  table.insert(out, 1, digits)
  return table.concat(out, sep)
end

-- ---- % ---------------------------------------------------------------------------

local function int_of(v, conversion)
  if kind(v) == "float" then
    if conversion == "x" or conversion == "X" or conversion == "o" or conversion == "c" then
      bad(("%%%s format: an integer is required, not float"):format(conversion))
    end
    if v.n ~= v.n or math.abs(v.n) == math.huge then bad "cannot convert float to integer" end
    return big.from_float(v.n < 0 and math.ceil(v.n) or math.floor(v.n))
  end
  local n = V.int(v)
  if not n then bad(("%%%s format: a real number is required, not %s"):format(conversion, V.type_name(v))) end
  return n
end

local function negative(n) return type(n) == "table" and n.neg or type(n) == "number" and n < 0 end

--- Sign and digits padded to a width.
local function number_field(sign, prefix, digits, f)
  local gap = f.width - #sign - #prefix - #digits
  if gap <= 0 then return sign .. prefix .. digits end
  if f.flags:find("-", 1, true) then return sign .. prefix .. digits .. (" "):rep(gap) end
  if f.flags:find("0", 1, true) then return sign .. prefix .. ("0"):rep(gap) .. digits end
  return (" "):rep(gap) .. sign .. prefix .. digits
end

local function sign_of(is_negative, flags)
  return is_negative and "-" or flags:find("+", 1, true) and "+" or flags:find(" ", 1, true) and " " or ""
end

local function int_field(v, f)
  local n, c = int_of(v, f.conversion), f.conversion
  local base = (c == "x" or c == "X") and 16 or c == "o" and 8 or 10
  local digits = in_base(n, base)
  if f.precision and #digits < f.precision then digits = ("0"):rep(f.precision - #digits) .. digits end
  local prefix = f.flags:find("#", 1, true) and (base == 16 and "0" .. c or base == 8 and "0o") or ""
  if c == "X" then digits = digits:upper() end
  return number_field(sign_of(negative(n), f.flags), prefix, digits, f)
end

local function is_negative_float(x) return x < 0 or (x == 0 and 1 / x < 0) end

local function float_field(v, f)
  local x = V.number(v)
  if not x then bad(("must be real number, not %s"):format(V.type_name(v))) end
  local digits = float_text(x, f.conversion, f.precision or 6, f.flags:find("#", 1, true))
  local g = f
  if x ~= x or math.abs(x) == math.huge then g = { width = f.width, flags = f.flags:gsub("0", "") } end
  return number_field(sign_of(is_negative_float(x), f.flags), "", digits, g)
end

local function text_field(s, f, state)
  if f.precision and f.conversion ~= "c" then
    local b = bytes(s)
    s = V.sub(s, 1, unicode.offset(b, f.precision) - 1)
  end
  local gap = f.width - unicode.len(bytes(s))
  if gap <= 0 then return s end
  local blank = (" "):rep(gap)
  return state:joined(f.flags:find("-", 1, true) and { s, blank } or { blank, s })
end

local function char_of(v)
  if kind(v) == "str" then
    if unicode.len(bytes(v)) ~= 1 then bad "%c requires int or char" end
    return v
  end
  local n = int_of(v, "c")
  if type(n) == "table" or n < 0 or n > 0x10FFFF then bad "%c arg not in range(0x110000)" end
  return unicode.char(n)
end

local function one_field(v, f, state)
  local c = f.conversion
  if c == "s" then return text_field(repr.str(v, state), f, state) end
  if c == "r" or c == "a" then return text_field(repr.repr(v, state), f, state) end
  if c == "c" then return text_field(char_of(v), f, state) end
  if c:find "[diouxX]" then return int_field(v, f) end
  if c:find "[eEfFgG]" then return float_field(v, f) end
  bad(("unsupported format character '%s'"):format(c))
end

--- Values for the fields: a tuple's one by one, anything else once.
local function supply(args)
  local tuple = kind(args) == "arr" and args.tuple
  local used, n = 0, tuple and args.n or 1
  local function take()
    used = used + 1
    if used > n then bad "not enough arguments for format string" end
    if tuple then return args[used] end
    return args
  end
  local k = kind(args)
  local mapping = k == "obj" or (k == "arr" and not tuple) or k == "undef" or k == "range"
  return take, function()
    if used < n and not mapping then bad "not all arguments converted during string formatting" end
  end
end

local function count(s, at, take)
  if s:sub(at, at) == "*" then
    local v = take()
    local n = V.int(v)
    if type(n) ~= "number" or kind(v) == "bool" then bad "* wants int" end
    return n, at + 1
  end
  local digits = s:match("^[0-9]+", at)
  if not digits then return nil, at end
  return tonumber(digits), at + #digits
end

--- s % args
function M.percent(v, args, state)
  local s, out, at = bytes(v), {}, 1
  local take, done = supply(args)
  while true do
    local i = s:find("%", at, true)
    if not i then break end
    out[#out + 1] = V.sub(v, at, i - 1)
    at = i + 1
    local from, fetch = args, take
    if s:sub(at, at) == "(" then
      local close = s:find(")", at, true)
      if not close then bad "incomplete format key" end
      if kind(args) ~= "obj" then bad "format requires a mapping" end
      local item = V.get(args, s:sub(at + 1, close - 1))
      if item == nil then bad(("no key '%s' for the format"):format(s:sub(at + 1, close - 1))) end
      from, at = item, close + 1
      fetch = function() return from end
    end
    local f = { flags = s:match("^[-+ #0]*", at) }
    at = at + #f.flags
    f.width, at = count(s, at, take)
    f.width = f.width or 0
    if f.width < 0 then f.flags, f.width = f.flags .. "-", -f.width end
    limited(f.width, "field")
    if s:sub(at, at) == "." then
      f.precision, at = count(s, at + 1, take)
      f.precision = limited(math.max(f.precision or 0, 0), "precision")
    end
    at = at + #s:match("^[hlL]?", at)
    f.conversion = s:match("^[%z\1-\127]", at)
    if not f.conversion then bad "incomplete format" end
    at = at + 1
    state:room(f.width + (f.precision or 0))
    out[#out + 1] = f.conversion == "%" and "%" or one_field(fetch(), f, state)
  end
  out[#out + 1] = V.sub(v, at, #s)
  done()
  return state:joined(out)
end

-- ---- format() ----------------------------------------------------------------------

--- The parts of a format specification.
local function specification(spec)
  local f, at = { fill = " " }, 1
  local starts = unicode.starts(spec)
  local second = starts[2] or #spec + 1
  if spec:find("^[<>=^]", second) and second > 1 then
    f.fill, f.align, at = spec:sub(1, second - 1), spec:sub(second, second), second + 1
  elseif spec:find "^[<>=^]" then
    f.align, at = spec:sub(1, 1), 2
  end
  local function take(pattern)
    local t = spec:match("^" .. pattern, at)
    if t then at = at + #t end
    return t
  end
  f.sign, f.alternate = take "[-+ ]", take "#"
  if take "0" then
    f.zero = true
    if not f.align then f.fill, f.align = "0", "=" end
  end
  local width = take "[0-9]+"
  f.width = limited(tonumber(width or 0), "field")
  f.group = take "[,_]"
  if take "%." then
    local digits = take "[0-9]+"
    if not digits then bad "Format specifier missing precision" end
    f.precision = limited(tonumber(digits), "precision")
  end
  f.type = take "[A-Za-z%%]"
  if at <= #spec then bad "Invalid format specifier" end
  return f
end

local function padded(sign, digits, f, default, state)
  local n = unicode.len(sign) + unicode.len(bytes(digits))
  local gap = f.width - n
  if gap <= 0 then return state:joined { sign, digits } end
  state:room(gap * #f.fill)
  local align = f.align or default
  if align == "=" then return state:joined { sign, f.fill:rep(gap), digits } end
  if align == "<" then return state:joined { sign, digits, f.fill:rep(gap) } end
  if align == ">" then return state:joined { f.fill:rep(gap), sign, digits } end
  local left = math.floor(gap / 2)
  return state:joined { f.fill:rep(left), sign, digits, f.fill:rep(gap - left) }
end

local function spec_sign(is_negative, f)
  return is_negative and "-" or (f.sign == "+" or f.sign == " ") and f.sign or ""
end

--- Groups whole digits, and fills with zeros between the groups when the
--- width asks for it.
local function group_digits(whole, rest, f, sign, size)
  if not f.group then return whole .. rest end
  local text = grouped(whole, f.group, size)
  if f.fill == "0" and f.align == "=" then
    while #sign + #text + #rest < f.width do
      whole = "0" .. whole
      text = grouped(whole, f.group, size)
    end
  end
  return text .. rest
end

local function format_float(x, f, state)
  local t, precision = f.type, f.precision
  local digits
  if x ~= x or math.abs(x) == math.huge then
    digits = float_text(x, (t and t:find "%u") and "G" or "g", 6)
    if t == "%" then digits = digits .. "%" end
  elseif t == "%" then
    digits = float_text(x * 100, "f", precision or 6) .. "%"
  elseif not t then
    if precision then
      digits = float_text(x, "g", math.max(precision, 1), f.alternate)
      local e = digits:match "e([+-]%d+)$"
      if not e and #digits:gsub("%D", ""):gsub("^0+", "") >= precision and not digits:find("%.") and math.abs(x) >= 10 ^ precision then
        digits = digits -- cannot be: %g would have used an exponent
      end
      if not e and not digits:find(".", 1, true) then
        if #digits >= precision and math.abs(x) >= 1 and #digits == precision then
          -- Python counts the digit behind the point that it adds
          local exponent = #digits - 1
          digits = ("%s%s"):format(digits:sub(1, 1), (digits:sub(2):gsub("0+$", "")) ~= "" and "." .. digits:sub(2):gsub("0+$", "") or "")
            .. ("e+%02d"):format(exponent)
        else
          digits = digits .. ".0"
        end
      end
    else
      digits = number.repr(math.abs(x))
    end
  else
    if not t:find "[eEfFgGn]" then bad(("Unknown format code '%s' for object of type 'float'"):format(t)) end
    digits = float_text(x, t == "n" and "g" or t == "F" and "f" or t, precision or 6, f.alternate)
  end
  local sign = spec_sign(is_negative_float(x), f)
  local whole, rest = digits:match "^(%d+)(.*)$"
  if whole then digits = group_digits(whole, rest, f, sign, 3) end
  return padded(sign, digits, f, ">", state)
end

local BASES = { b = 2, o = 8, x = 16, X = 16, d = 10, n = 10 }

local function format_int(n, f, state)
  local t = f.type or "d"
  if t:find "[eEfFgG%%]" then return format_float(big.float(n), f, state) end
  if f.precision then bad "Precision not allowed in integer format specifier" end
  if t == "c" then
    if type(n) == "table" or n < 0 or n > 0x10FFFF then bad "%c arg not in range(0x110000)" end
    return padded("", unicode.char(n), f, "<", state)
  end
  local base = BASES[t]
  if not base then bad(("Unknown format code '%s' for object of type 'int'"):format(t)) end
  local digits = in_base(n, base)
  if t == "X" then digits = digits:upper() end
  local sign = spec_sign(negative(n), f)
  if f.alternate and base ~= 10 then sign = sign .. "0" .. t end
  if f.group == "," and base ~= 10 then bad(("Cannot specify ',' with '%s'."):format(t)) end
  return padded(sign, group_digits(digits, "", f, sign, base == 10 and 3 or 4), f, ">", state)
end

--- format(v, spec) as a string value.
function M.format(v, spec, state)
  local k = kind(v)
  if spec == "" then return repr.str(v, state) end
  local f = (V.number(v) or k == "str") and specification(spec)
  if k == "float" then return format_float(v.n, f, state) end
  if V.is_int(v) then return format_int(V.int(v), f, state) end
  if k ~= "str" then bad(("unsupported format string passed to %s.__format__"):format(V.type_name(v))) end
  if f.type and f.type ~= "s" then bad(("Unknown format code '%s' for object of type 'str'"):format(f.type)) end
  if f.sign or f.alternate or f.group then bad "flag not allowed in string format specifier" end
  if f.align == "=" then
    if not f.zero then bad "'=' alignment not allowed in string format specifier" end
    f.align = "<"
  end
  if f.precision then v = V.sub(v, 1, unicode.offset(bytes(v), f.precision) - 1) end
  return padded("", v, f, "<", state)
end

-- ---- "{}".format --------------------------------------------------------------------

local expand

--- The value that a field names: first an argument, then .name and [key].
local function field_value(name, call)
  local first, rest = name:match "^([^.%[]*)(.*)$"
  local v
  if first == "" or first:find "^%d+$" then
    if first == "" then
      if call.manual then bad "cannot switch from manual field specification to automatic field numbering" end
      call.auto = (call.auto or 0) + 1
      v = call.args[call.auto]
    else
      if call.auto then bad "cannot switch from automatic field numbering to manual field specification" end
      call.manual = true
      v = call.args[tonumber(first) + 1]
    end
    if v == nil then bad "Replacement index out of range for positional args tuple" end
  else
    v = call.named[first]
    if v == nil then bad(("no argument '%s' for the format"):format(first)) end
  end
  while rest ~= "" do
    local attr, behind = rest:match "^%.([^.%[]+)()"
    if attr then
      v = call.attr(v, attr)
    else
      attr, behind = rest:match "^%[([^%]]+)%]()"
      if not attr then bad "an empty attribute in a format string" end
      v = call.item(v, attr:find "^%d+$" and tonumber(attr) or attr)
    end
    rest = rest:sub(behind)
  end
  return v
end

--- One field { name, !conversion, :spec }.
local function field(text, call, level)
  local name, spec = text:match "^([^:!]*)(.*)$"
  local conversion
  if spec:sub(1, 1) == "!" then
    conversion = spec:sub(2, 2)
    spec = spec:sub(3)
    if spec ~= "" and spec:sub(1, 1) ~= ":" then bad "expected ':' after conversion specifier" end
  end
  local v = field_value(name, call)
  if conversion == "r" or conversion == "a" then v = repr.repr(v, call.state)
  elseif conversion == "s" then v = repr.str(v, call.state)
  elseif conversion then bad "Unknown conversion specifier" end
  spec = spec:sub(2)
  if spec:find("[{}]") then spec = bytes(expand(spec, call, level + 1)) end
  return M.format(v, spec, call.state)
end

--- The place of the brace that ends a field whose inside begins at `at`.
local function field_end(s, at)
  local depth = 1
  while true do
    local i = s:find("[{}]", at)
    if not i then bad "expected '}' before end of string" end
    depth = depth + (s:sub(i, i) == "{" and 1 or -1)
    if depth == 0 then return i end
    at = i + 1
  end
end

function expand(v, call, level)
  if level > 2 then bad "Max string recursion exceeded" end
  local s, out, at = bytes(v), {}, 1
  while true do
    local i = s:find("[{}]", at)
    if not i then break end
    out[#out + 1] = V.sub(v, at, i - 1)
    local c = s:sub(i, i)
    if s:sub(i + 1, i + 1) == c then
      out[#out + 1] = c
      at = i + 2
    elseif c == "}" then
      bad "Single '}' encountered in format string"
    else
      local stop = field_end(s, i + 1)
      out[#out + 1] = field(s:sub(i + 1, stop - 1), call, level)
      at = stop + 1
    end
  end
  out[#out + 1] = V.sub(v, at, #s)
  return call.state:joined(out)
end

--- v.format(...): call has args, named, state, and attr and item to look
--- into values.
function M.expand(v, call) return expand(v, call, 1) end

return M
