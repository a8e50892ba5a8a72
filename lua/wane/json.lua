--- JSON: one reader and one writer, in Lua.
---
--- What it guarantees: the reader takes exactly RFC 8259 (no comments, no
--- trailing commas), within limits on bytes and nesting, and says where a text
--- is wrong; it returns nil, message, "EFORMAT" or "ELIMIT". The writer makes
--- valid UTF-8 from any strings (a byte that belongs to no character becomes
--- U+FFFD), equal text from equal tables, and no number that JSON lacks (nan and
--- inf are null). Whole numbers stay whole: all 64 bits in Lua 5.4, 53 in LuaJIT,
--- which has no others.
---
--- Null is `json.null` when read, so that it can be told from absence; lists and
--- objects that were read know which they are, so that empty ones survive.
---
---     local json = require "wane.json"
---     local v = assert(json.decode '{"ids": [1, 2], "name": null}')
---     print(v.ids[2], v.name == json.null, json.encode(v))
local M = {}

local keys = require "wane.keys"
local options = require "wane.options"

--- What stands for null. Prints as "null".
M.null = setmetatable({}, { __tostring = function() return "null" end, __metatable = "wane.json.null" })

-- Metatables that say what a table is, for the writer: empty tables could be
-- either, and objects in their order are lists of { key, value }.
local LIST, OBJECT, ORDERED = { __name = "wane.json.list" }, { __name = "wane.json.object" }, { __name = "wane.json.ordered" }
M.LIST, M.OBJECT, M.ORDERED = LIST, OBJECT, ORDERED

--- Marks a table as a list, so that an empty one is written as [].
---
---     print(wane.json.encode(wane.json.list {}))   --> []
---@generic T: table
---@param t T
---@return T t
---@error none
function M.list(t) return setmetatable(t, LIST) end

--- Marks a table as an object, so that an empty one is written as {}.
---
---     print(wane.json.encode(wane.json.object {}))   --> {}
---@generic T: table
---@param t T
---@return T t
---@error none
function M.object(t) return setmetatable(t, OBJECT) end

--- An object whose keys are written in this order.
---
---     json.encode(json.ordered { { "role", "user" }, { "content", "Hi" } })
---@param pairs_list { [1]: string, [2]: any }[]
---@return table
---@error none
function M.ordered(pairs_list) return setmetatable(pairs_list, ORDERED) end

-- ---- UTF-8 ---------------------------------------------------------------------

local FFFD = "\239\191\189"

-- How many bytes the character at i has, or nil and how many bytes of a broken
-- one belong together (at least one), as Unicode recommends.
local function char_at(s, i)
  local a, b, c, d = s:byte(i, i + 3)
  if a < 0x80 then return 1 end
  if a < 0xC2 or a > 0xF4 then return nil, 1 end
  local low = a == 0xE0 and 0xA0 or a == 0xF0 and 0x90 or 0x80
  local high = a == 0xED and 0x9F or a == 0xF4 and 0x8F or 0xBF
  if not b or b < low or b > high then return nil, 1 end
  if a < 0xE0 then return 2 end
  if not c or c < 0x80 or c > 0xBF then return nil, 2 end
  if a < 0xF0 then return 3 end
  if not d or d < 0x80 or d > 0xBF then return nil, 3 end
  return 4
end

--- The same text as valid UTF-8: what is no character becomes U+FFFD.
---
---     print(json.utf8 "caf\233")   -- caf and U+FFFD
---@param s string
---@return string
---@error none
function M.utf8(s)
  options.argument("json.utf8", "s", s, "string")
  local i = s:find("[\128-\255]")
  if not i then return s end
  local out, from = {}, 1
  while i do
    local n, broken = char_at(s, i)
    if not n then
      out[#out + 1] = s:sub(from, i - 1)
      out[#out + 1] = FFFD
      from = i + broken
    end
    i = s:find("[\128-\255]", i + (n or broken))
  end
  if from == 1 then return s end
  out[#out + 1] = s:sub(from)
  return table.concat(out)
end

-- The bytes of a code point.
local function encode_point(c)
  local f, char = math.floor, string.char
  if c < 0x80 then return char(c) end
  if c < 0x800 then return char(0xC0 + f(c / 64), 0x80 + c % 64) end
  if c < 0x10000 then return char(0xE0 + f(c / 4096), 0x80 + f(c / 64) % 64, 0x80 + c % 64) end
  return char(0xF0 + f(c / 262144), 0x80 + f(c / 4096) % 64, 0x80 + f(c / 64) % 64, 0x80 + c % 64)
end

-- ---- reading -------------------------------------------------------------------

local UNESCAPE = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }
local WORDS = { ["true"] = true, ["false"] = false, null = M.null }

-- All failures of reading, caught in M.decode.
local function fail(at, message, code) error({ at = at, message = message, code = code or "EFORMAT" }, 0) end

local function skip(s, at) return s:find("[^ \t\r\n]", at) or #s + 1 end

-- \uXXXX at `at` (behind the u); two of them may be one character.
local function unicode(s, at)
  local hex = s:match("^%x%x%x%x", at)
  if not hex then fail(at, "want four hexadecimal digits") end
  local c = tonumber(hex, 16)
  local low = c >= 0xD800 and c < 0xDC00 and s:match("^\\u([dD][c-fC-F]%x%x)", at + 4)
  if low then return encode_point(0x10000 + (c - 0xD800) * 1024 + tonumber(low, 16) - 0xDC00), at + 10 end
  if c >= 0xD800 and c < 0xE000 then return FFFD, at + 4 end
  return encode_point(c), at + 4
end

local function string_at(s, start)
  local stop = s:find('["\\%c]', start + 1)
  if stop and s:sub(stop, stop) == '"' then return M.utf8(s:sub(start + 1, stop - 1)), stop + 1 end
  local out, at = {}, start + 1
  while true do
    stop = s:find('["\\%c]', at)
    if not stop then fail(start, "this string has no end") end
    out[#out + 1] = s:sub(at, stop - 1)
    local c = s:sub(stop, stop)
    if c == '"' then return M.utf8(table.concat(out)), stop + 1 end
    if c == "\127" then
      out[#out + 1], at = c, stop + 1
    elseif c ~= "\\" then
      fail(stop, "a control character in a string: write it as an escape")
    elseif s:sub(stop + 1, stop + 1) == "u" then
      out[#out + 1], at = unicode(s, stop + 2)
    else
      out[#out + 1] = UNESCAPE[s:sub(stop + 1, stop + 1)] or fail(stop, "unknown escape")
      at = stop + 2
    end
  end
end

-- A number, and what stands behind it. Whole ones that Lua can hold exactly
-- are integers; `float` (when given) makes the value of those with a point.
local function number_at(s, at, float)
  local whole, stop = s:match("^(-?%d+)()", at)
  if not whole or whole:find "^-?0%d" then fail(at, "want a value") end
  local text = whole
  local fraction, behind = s:match("^(%.%d+)()", stop)
  if fraction then text, stop = text .. fraction, behind end
  local exponent
  exponent, behind = s:match("^([eE][+-]?%d+)()", stop)
  if exponent then text, stop = text .. exponent, behind end
  local n = tonumber(text)
  if (fraction or exponent) and float then return float(n), stop end
  return n, stop
end

local value_at

-- Elements up to the closing bracket; `item` reads one.
local function series(s, at, close, item)
  at = skip(s, at + 1)
  if s:sub(at, at) == close then return at + 1 end
  while true do
    at = skip(s, item(at))
    local c = s:sub(at, at)
    if c == close then return at + 1 end
    if c ~= "," then fail(at, "want , or " .. close) end
    at = skip(s, at + 1)
  end
end

local function list_at(s, at, how, depth)
  local out, n = {}, 0
  local behind = series(s, at, "]", function(from)
    n = n + 1
    out[n], from = value_at(s, from, how, depth)
    return from
  end)
  return setmetatable(out, LIST), behind
end

local function object_at(s, at, how, depth)
  local out, n = {}, 0
  local behind = series(s, at, "}", function(from)
    if s:sub(from, from) ~= '"' then fail(from, "want a key in quotes") end
    local key, value
    key, from = string_at(s, from)
    from = skip(s, from)
    if s:sub(from, from) ~= ":" then fail(from, "want a colon") end
    value, from = value_at(s, skip(s, from + 1), how, depth)
    if how.ordered then
      n = n + 1
      out[n] = { key, value }
    else
      out[key] = value
    end
    return from
  end)
  return setmetatable(out, how.ordered and ORDERED or OBJECT), behind
end

function value_at(s, at, how, depth)
  local c = s:sub(at, at)
  if c == '"' then return string_at(s, at) end
  if c == "[" or c == "{" then
    if depth >= how.max_depth then fail(at, ("nests deeper than %d"):format(how.max_depth), "ELIMIT") end
    return (c == "[" and list_at or object_at)(s, at, how, depth + 1)
  end
  local word = s:match("^%a+", at)
  if word and WORDS[word] ~= nil then
    local v = WORDS[word]
    if v == M.null then v = how.null end
    return v, at + #word
  end
  return number_at(s, at, how.float)
end

-- "line 3, column 7" of a place in the text.
local function place(s, at)
  local line, start = 1, 0
  for stop in s:sub(1, at - 1):gmatch "()\n" do line, start = line + 1, stop end
  return ("line %d, column %d"):format(line, at - start)
end

local check_decode = options.checker("json.decode", {
  max_bytes = options.bytes, max_depth = options.integer(1, 1000), ordered = "boolean", null = "any", float = "function",
}, { max_bytes = 256 * 1024 * 1024, max_depth = 100, null = M.null })

--- Reads one JSON text.
---
---     local v, message, code = json.decode(text, { ordered = true })
---@param text string
---@param opts? { max_bytes?: integer, max_depth?: integer, ordered?: boolean, null?: any, float?: fun(n: number): any }
---  ordered: objects become lists of { key, value } with metatable json.ORDERED; null: what null becomes; float: makes
---  the values of numbers with a point or an exponent. 256 MiB and a depth of 100 when not said
---@return any|nil value   nil only on failure
---@return string? message
---@return string? code
function M.decode(text, opts)
  options.argument("json.decode", "text", text, "string")
  local how = check_decode(opts)
  if #text > how.max_bytes then
    return nil, ("JSON: %d bytes, want at most %d"):format(#text, how.max_bytes), "ELIMIT"
  end
  local first = skip(text, text:sub(1, 3) == "\239\187\191" and 4 or 1) -- a byte order mark is skipped
  local ok, v, at = pcall(value_at, text, first, how, 0)
  if ok then
    at = skip(text, at)
    if at <= #text then ok, v = false, { at = at, message = "text behind the value", code = "EFORMAT" } end
  end
  if ok then return v end
  if type(v) ~= "table" or not v.message then error(v, 0) end
  return nil, ("JSON: %s: %s"):format(place(text, v.at), v.message), v.code
end

-- ---- writing -------------------------------------------------------------------

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function escaped(c) return ESCAPES[c] or ("\\u%04x"):format(c:byte()) end

local function quoted(s) return '"' .. M.utf8(s):gsub('[%c"\\]', escaped) .. '"' end

local kind_of = rawget(math, "type") -- not in LuaJIT

-- The shortest of the usual forms that reads back as the same number. The
-- host's locale may have a comma.
local function number_text(v)
  if v ~= v or v == math.huge or v == -math.huge then return "null" end
  if kind_of and kind_of(v) == "integer" then return ("%d"):format(v) end
  if v == math.floor(v) and math.abs(v) < 2 ^ 53 then return (("%.0f"):format(v):gsub("^%-0$", "0")) end
  for digits = 15, 17 do
    local s = ("%%.%dg"):format(digits):format(v)
    if digits == 17 or tonumber(s) == v then return (s:gsub(",", ".")) end
  end
end

local function is_list(t)
  local meta = getmetatable(t)
  if meta == LIST then return true end
  if meta == OBJECT then return false end
  return t[1] ~= nil or next(t) == nil
end

local write

local function write_list(out, t, how, depth)
  local n = #t
  if n == 0 then
    out[#out + 1] = "[]"
    return
  end
  for i = 1, n do
    out[#out + 1] = (i == 1 and "[" or ",") .. how.line(depth + 1)
    write(out, t[i], how, depth + 1)
  end
  out[#out + 1] = how.line(depth) .. "]"
end

-- Keys and values in the order in which they are written: sorted, so that
-- equal tables give equal text.
local function members(t)
  if getmetatable(t) == ORDERED then return t end
  local list = {}
  for _, key in ipairs(keys.of(t)) do
    if type(key) ~= "string" and type(key) ~= "number" then
      error("wane: json.encode: keys: want strings, got " .. options.shown(key), 0)
    end
    list[#list + 1] = { type(key) == "number" and number_text(key) or key, t[key] }
  end
  table.sort(list, function(a, b) return a[1] < b[1] end)
  return list
end

local function write_object(out, t, how, depth)
  local list = members(t)
  if #list == 0 then
    out[#out + 1] = "{}"
    return
  end
  for i, member in ipairs(list) do
    out[#out + 1] = (i == 1 and "{" or ",") .. how.line(depth + 1) .. quoted(member[1]) .. how.colon
    write(out, member[2], how, depth + 1)
  end
  out[#out + 1] = how.line(depth) .. "}"
end

function write(out, v, how, depth)
  local kind = type(v)
  if kind == "string" then
    out[#out + 1] = quoted(v)
  elseif kind == "number" then
    out[#out + 1] = number_text(v)
  elseif kind == "boolean" then
    out[#out + 1] = tostring(v)
  elseif kind == "nil" or v == M.null then
    out[#out + 1] = "null"
  elseif kind ~= "table" then
    error("wane: json.encode: want values that JSON has, got a " .. kind, 0)
  elseif depth >= 200 then
    error("wane: json.encode: want at most 200 levels, got more (a table that contains itself?)", 0)
  else
    (getmetatable(v) ~= ORDERED and is_list(v) and write_list or write_object)(out, v, how, depth)
  end
end

local check_encode = options.checker("json.encode", { indent = options.integer(0, 8) })

--- Writes one JSON text. Tables with [1], with nothing at all, or marked by
--- json.list are lists; the others are objects with sorted keys.
---
---     print(json.encode({ b = { 1, 2.5 }, a = json.null }, { indent = 2 }))
---@param v any
---@param opts? { indent?: integer }  spaces a level; absent: one line
---@return string
---@error what JSON has not: functions, userdata; more than 200 levels, a table that contains itself
function M.encode(v, opts)
  local indent = check_encode(opts).indent
  local how = { line = function() return "" end, colon = ":" }
  if indent then
    how = { line = function(depth) return "\n" .. (" "):rep(indent * depth) end, colon = ": " }
  end
  local out = {}
  local ok, why = pcall(write, out, v, how, 0)
  if not ok then error(why, type(why) == "string" and why:find "^wane: " and 2 or 0) end
  return table.concat(out)
end

return M
