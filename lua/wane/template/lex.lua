--- Chat templates, first step: source text to tokens, as jinja2's lexer does.
---
--- Text outside of blocks keeps its white space, with the settings that chat
--- templates assume: a line end after a block goes away (trim_blocks), blanks
--- before a block that begins a line too (lstrip_blocks), `-` next to a brace
--- takes all white space on its side, `+` keeps it, one line end at the very
--- end is dropped.
---
--- A token is { kind, value, pos }. Kinds: "text", "{%", "%}", "{{", "}}",
--- "name", "int", "float", "str", and every operator under its own spelling.
--- Errors are raised as tables { pos, message, code }.
local M = {}

local V = require "wane.template.value"
local big = require "wane.template.big"
local number = require "wane.template.number"
local unicode = require "wane.template.unicode"
local fail = V.fail

--- What ends or joins expressions; the longest that fits counts. (Classes
--- are spelled out in all patterns here: what %a means depends on the locale.)
local OPERATORS = {}
for _, op in ipairs {
  "<=", ">=", "==", "!=", "**", "//",
  "(", ")", "{", "}", "[", "]", ",", ".", ":", "|", "<", ">", "+", "-", "~", "*", "/", "%", "=", ";",
} do OPERATORS[op] = true end

local SIMPLE = {
  n = "\n", t = "\t", r = "\r", a = "\a", b = "\b", f = "\f", v = "\v", ["\\"] = "\\", ["'"] = "'", ['"'] = '"', ["\n"] = "",
}
local HEX = { x = 2, u = 4, U = 8 }

--- The escape at byte i of a string's inside: its text and the byte behind. An
--- unknown one stays as it is.
local function escape(s, i, pos)
  local c = s:sub(i + 1, i + 1)
  if SIMPLE[c] then return SIMPLE[c], i + 2 end
  local octal = s:match("^[0-7][0-7]?[0-7]?", i + 1)
  if octal then return unicode.char(tonumber(octal, 8)), i + 1 + #octal end
  local n = HEX[c]
  if n then
    local hex = s:sub(i + 2, i + 1 + n)
    if #hex < n or hex:find "[^0-9A-Fa-f]" then fail(pos, "an escape that is cut short in a string") end
    local code = tonumber(hex, 16)
    if code > 0x10FFFF then fail(pos, "an escape beyond U+10FFFF in a string") end
    return unicode.char(code), i + 2 + n
  end
  if c == "N" then fail(pos, "named characters are not supported in strings", "EUNSUP") end
  return "\\", i + 1
end

--- A quoted string from its opening quote: value and the position behind it.
local function quoted(src, pos)
  local quote, parts, at = src:sub(pos, pos), {}, pos + 1
  while true do
    local stop = src:find("[\\" .. quote .. "]", at)
    if not stop then fail(pos, "this string has no end") end
    parts[#parts + 1] = src:sub(at, stop - 1)
    if src:sub(stop, stop) == quote then return table.concat(parts), stop + 1 end
    if stop == #src then fail(pos, "this string has no end") end
    parts[#parts + 1], at = escape(src, stop, pos)
  end
end

local function digits(src, pos)
  return src:match("^[0-9_]*[0-9]", pos)
end

--- A float at pos: its text, or nil.
local function float_at(src, pos)
  if src:sub(pos - 1, pos - 1) == "." or not src:find("^[0-9]", pos) then return nil end
  local whole = digits(src, pos)
  if whole:find "__" or whole:find "^_" then return nil end
  local at = pos + #whole
  local fraction = src:match("^%.[0-9]", at) and "." .. digits(src, at + 1) or ""
  if fraction:find "__" then fraction = fraction:match "^(.-)__" end
  local exponent = src:match("^[eE][+-]?[0-9]", at + #fraction)
  if exponent then exponent = exponent:sub(1, -2) .. digits(src, at + #fraction + #exponent - 1) end
  if fraction == "" and not exponent then return nil end
  return whole .. fraction .. (exponent or "")
end

--- An integer at pos: its text and base, or nil.
local function int_at(src, pos)
  local prefix = src:match("^0[bBoOxX]", pos)
  if prefix then
    local base = ({ b = 2, o = 8, x = 16 })[prefix:sub(2):lower()]
    local set = base == 2 and "01" or base == 8 and "0-7" or "0-9A-Fa-f"
    local rest = src:match("^[_" .. set .. "]*[" .. set .. "]", pos + 2)
    if rest and not rest:find "__" then return prefix .. rest, base end
  end
  local text = src:match("^[1-9][0-9_]*", pos)
  if text then
    text = text:match "^(.-)__" or text
    return text:gsub("_+$", ""), 10
  end
  text = src:match("^0[0_]*", pos)
  if text then return (text:match "^(.-)__" or text):gsub("_+$", ""), 10 end
end

local function number_at(src, pos)
  local text = float_at(src, pos)
  if text then
    return "float", { k = "float", n = number.read_float(text) or tonumber((text:gsub("_", ""))) + 0.0 }, pos + #text
  end
  local base
  text, base = int_at(src, pos)
  if not text then return nil end
  local plain = text:gsub("_", "")
  if base == 10 then return "int", big.parse(plain), pos + #text end
  return "int", number.read_int(plain, base), pos + #text
end

local CLOSES = { ["("] = ")", ["["] = "]", ["{"] = "}" }

--- The token at pos inside a block (no white space there): kind, value, and
--- the position behind it. `open`: brackets that wait for their end.
local function inside(src, pos, open)
  if src:find("^[A-Za-z_\128-\255]", pos) then
    local word = src:match("^[A-Za-z0-9_\128-\255]+", pos)
    return "name", word, pos + #word
  end
  local kind, value, behind = number_at(src, pos)
  if kind then return kind, value, behind end
  local c = src:sub(pos, pos)
  if c == "'" or c == '"' then
    value, behind = quoted(src, pos)
    return "str", value, behind
  end
  local op = src:sub(pos, pos + 1)
  if not OPERATORS[op] then op = c end
  if not OPERATORS[op] then fail(pos, "unexpected character") end
  if CLOSES[op] then
    open[#open + 1] = CLOSES[op]
  elseif op == ")" or op == "]" or op == "}" then
    if #open == 0 then fail(pos, ("unexpected '%s'"):format(op)) end
    if open[#open] ~= op then fail(pos, ("unexpected '%s', want '%s'"):format(op, open[#open])) end
    open[#open] = nil
  end
  return op, op, pos + #op
end

local function behind_space(src, pos)
  while true do
    local n = unicode.space(src, pos)
    if not n then return pos end
    pos = pos + n
  end
end

--- The text before a block, as the block's sign (or none) leaves it.
local function trimmed(text, sign, may_strip, line_start)
  if sign == "-" then
    local _, last = unicode.strip_range("x" .. text)
    return text:sub(1, last - 1)
  end
  if sign == "+" or not may_strip then return text end
  local head = text:match "^.*()\n" or 0
  if head == 0 and not line_start then return text end
  local tail = text:sub(head + 1)
  if tail ~= "" and behind_space(tail, 1) > #tail then return text:sub(1, head) end
  return text
end

--- Where the end of a block is at pos ("%}" or "}}"), with its sign: the
--- position behind it and the white space it takes; nil when none is there.
local function block_end(src, pos, close)
  local sign = src:match("^[-+]", pos)
  if sign == "+" and close == "}}" then return nil end
  local at = sign and pos + 1 or pos
  if src:sub(at, at + 1) ~= close then return nil end
  at = at + 2
  if sign == "-" then return behind_space(src, at) end
  if sign ~= "+" and close ~= "}}" and src:sub(at, at) == "\n" then return at + 1 end
  return at
end

--- {% raw %} at pos: the sign, and where its text begins; nil when it is none.
local function raw_begin(src, pos)
  local sign, at = src:match("^{%%([-+]?)()", pos)
  if not sign then return nil end
  at = behind_space(src, at)
  if src:sub(at, at + 2) ~= "raw" then return nil end
  at = behind_space(src, at + 3)
  if src:find("^%-%%}", at) then return sign, behind_space(src, at + 3) end
  if src:find("^%%}", at) then return sign, at + 2 end
end

--- The text of a raw block from `start`: trimmed text, position behind.
local function raw_text(src, start, opened)
  local at = start
  while true do
    local stop = src:find("{%", at, true)
    if not stop then fail(opened, "this raw block has no end") end
    local sign, name = src:match("^([-+]?)()", stop + 2)
    name = behind_space(src, name)
    if src:sub(name, name + 5) == "endraw" then
      local behind = block_end(src, behind_space(src, name + 6), "%}")
      if behind then return trimmed(src:sub(start, stop - 1), sign, true, false), behind end
    end
    at = stop + 1
  end
end

--- Where the comment that begins at pos ends.
local function comment_end(src, pos, behind)
  local stop = src:find("#}", behind, true)
  if not stop then fail(pos, "this comment has no end") end
  local sign = stop > behind and src:match("^[-+]", stop - 1)
  if sign == "-" then return behind_space(src, stop + 2) end
  if not sign and src:sub(stop + 2, stop + 2) == "\n" then return stop + 3 end
  return stop + 2
end

--- Tokens of one block from its first brace; the position behind it.
local function block(src, pos, tokens)
  local opener, opened, open = src:sub(pos, pos + 1), pos, {}
  local close = opener == "{{" and "}}" or "%}"
  tokens[#tokens + 1] = { opener, opener, pos }
  pos = pos + 2
  if src:find("^[-+]", pos) then pos = pos + 1 end
  while true do
    pos = behind_space(src, pos)
    if pos > #src then fail(opened, "this block has no end") end
    local behind = #open == 0 and block_end(src, pos, close)
    if behind then
      tokens[#tokens + 1] = { close, close, pos }
      return behind
    end
    local kind, value, at = inside(src, pos, open)
    tokens[#tokens + 1] = { kind, value, pos }
    pos = at
  end
end

--- All tokens of a template; the source as positions count in it.
---@param source string
---@return table tokens
---@return string source
function M.tokens(source)
  local src = source:gsub("\r\n", "\n"):gsub("\r", "\n")
  if src:sub(-1) == "\n" then src = src:sub(1, -2) end
  local tokens, pos, line_start = {}, 1, true
  local function text(s, at)
    if s ~= "" then tokens[#tokens + 1] = { "text", s, at } end
  end
  while pos <= #src do
    local stop = src:find("{[%%{#]", pos)
    if not stop then
      text(src:sub(pos), pos)
      break
    end
    local before, start = src:sub(pos, stop - 1), pos
    local raw_sign, raw_at = raw_begin(src, stop)
    local sign = src:match("^[-+]", stop + 2) or ""
    if raw_sign then
      text(trimmed(before, raw_sign, true, line_start), start)
      local inner
      inner, pos = raw_text(src, raw_at, stop)
      text(inner, raw_at)
    elseif src:sub(stop, stop + 1) == "{#" then
      text(trimmed(before, sign, true, line_start), start)
      pos = comment_end(src, stop, stop + 2 + #sign)
    else
      text(trimmed(before, sign, src:sub(stop, stop + 1) == "{%", line_start), start)
      pos = block(src, stop, tokens)
    end
    line_start = src:sub(pos - 1, pos - 1) == "\n"
  end
  return tokens, src
end

return M
