--- JSON to Lua values that keep what templates need: the order of keys, null,
--- lists that are empty.
local M = {}

local V = require "wane.template.convert"

local UNESCAPE = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }

local function fail(pos, message)
  error({ pos = pos, message = message }, 0)
end

local function utf8(c)
  local f, char = math.floor, string.char
  if c < 0x80 then return char(c) end
  if c < 0x800 then return char(0xC0 + f(c / 64), 0x80 + c % 64) end
  if c < 0x10000 then return char(0xE0 + f(c / 4096), 0x80 + f(c / 64) % 64, 0x80 + c % 64) end
  return char(0xF0 + f(c / 262144), 0x80 + f(c / 4096) % 64, 0x80 + f(c / 64) % 64, 0x80 + c % 64)
end

--- \uXXXX at pos (behind the u), pairs joined: text and the position behind.
local function unicode(s, pos)
  local hex = s:match("^[0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f]", pos)
  if not hex then fail(pos, "want four hexadecimal digits") end
  local c = tonumber(hex, 16)
  local low = c >= 0xD800 and c < 0xDC00 and s:match("^\\u([dD][c-fC-F][0-9A-Fa-f][0-9A-Fa-f])", pos + 4)
  if low then return utf8(0x10000 + (c - 0xD800) * 1024 + tonumber(low, 16) - 0xDC00), pos + 10 end
  if c >= 0xD800 and c < 0xE000 then c = 0xFFFD end
  return utf8(c), pos + 4
end

local function string_at(s, pos)
  local out, at = {}, pos + 1
  while true do
    local stop = s:find('["\\]', at)
    if not stop then fail(pos, "this string has no end") end
    out[#out + 1] = s:sub(at, stop - 1)
    if s:sub(stop, stop) == '"' then return table.concat(out), stop + 1 end
    local c = s:sub(stop + 1, stop + 1)
    if c == "u" then
      out[#out + 1], at = unicode(s, stop + 2)
    else
      out[#out + 1] = UNESCAPE[c] or fail(stop, "unknown escape")
      at = stop + 2
    end
  end
end

local value_at

local function skip(s, pos) return s:find("[^ \t\r\n]", pos) or #s + 1 end

--- Elements up to the closing bracket; `item` reads one.
local function series(s, pos, close, item)
  local out = {}
  pos = skip(s, pos + 1)
  if s:sub(pos, pos) == close then return out, pos + 1 end
  while true do
    out[#out + 1], pos = item(s, pos)
    pos = skip(s, pos)
    local c = s:sub(pos, pos)
    if c == close then return out, pos + 1 end
    if c ~= "," then fail(pos, "want , or " .. close) end
    pos = skip(s, pos + 1)
  end
end

local WORDS = { ["true"] = true, ["false"] = false, null = V.NULL }

function value_at(s, pos, level)
  if level > 100 then fail(pos, "nests deeper than 100") end
  local c = s:sub(pos, pos)
  if c == '"' then return string_at(s, pos) end
  if c == "[" then
    local list, behind = series(s, pos, "]", function(_, at) return value_at(s, at, level + 1) end)
    return setmetatable(list, V.LIST), behind
  end
  if c == "{" then
    local list, behind = series(s, pos, "}", function(_, at)
      if s:sub(at, at) ~= '"' then fail(at, "want a key in quotes") end
      local key, next_at = string_at(s, at)
      next_at = skip(s, next_at)
      if s:sub(next_at, next_at) ~= ":" then fail(next_at, "want a colon") end
      local v, last = value_at(s, skip(s, next_at + 1), level + 1)
      return { key, v }, last
    end)
    return setmetatable(list, V.ORDERED), behind
  end
  local word = s:match("^[a-z]+", pos)
  if word and WORDS[word] ~= nil then return WORDS[word], pos + #word end
  local number = s:match("^-?[0-9]+%.?[0-9]*[eE]?[+-]?[0-9]*", pos)
  local n = number and tonumber(number)
  if not n then fail(pos, "want a value") end
  if number:find "[%.eE]" then
    n = V.float(n + 0.0)
  elseif #number > 15 then
    n = V.integer(number) -- a double would not hold it
  end
  return n, pos + #number
end

--- Reads a JSON text; raises { pos, message } when it is none.
function M.decode(s)
  local v, pos = value_at(s, skip(s, 1), 0)
  pos = skip(s, pos)
  if pos <= #s then fail(pos, "text behind the value") end
  return v
end

return M
