--- Answers: calls written in other languages than JSON.
---   python  [get_weather(city='Paris', days=2), other()]
---   bare    call:get_weather{city:<|"|>Paris<|"|>,days:2}
--- Each gives a list of { name, arguments = JSON }, or nil.
local M = {}

local write = require "wane.answer.write"

local function skip(s, i) return s:find("%S", i) or #s + 1 end

local ESCAPES = { n = "\n", t = "\t", r = "\r", ["'"] = "'", ['"'] = '"', ["\\"] = "\\", ["\n"] = "" }

--- A quoted text of Python at i.
local function quoted(s, i)
  local q = s:sub(i, i + 2)
  if q ~= "'''" and q ~= '"""' then q = s:sub(i, i) end
  local out, at = {}, i + #q
  while true do
    local p = s:find("[\\" .. q:sub(1, 1) .. "]", at)
    if not p then return nil end
    out[#out + 1] = s:sub(at, p - 1)
    local c = s:sub(p, p)
    if c == "\\" then
      local e = s:sub(p + 1, p + 1)
      out[#out + 1] = ESCAPES[e] or "\\" .. e
      at = p + 2
    elseif s:sub(p, p + #q - 1) == q then
      return write.string(table.concat(out)), p + #q
    else
      out[#out + 1] = c
      at = p + 1
    end
  end
end

local WORDS = { True = "true", False = "false", None = "null", ["true"] = "true", ["false"] = "false", null = "null" }

local literal

--- Items up to a closing bracket, each read by `item`.
local function items(s, i, close, item)
  local out = {}
  i = skip(s, i)
  while s:sub(i, i) ~= close do
    local text
    text, i = item(s, i)
    if not text then return nil end
    out[#out + 1] = text
    i = skip(s, i)
    if s:sub(i, i) == "," then i = skip(s, i + 1) elseif s:sub(i, i) ~= close then return nil end
  end
  return out, i + 1
end

--- A value of Python at i as JSON, and the place behind it.
function literal(s, i, level)
  if level > 50 then return nil end
  local function inner(t, at) return literal(t, at, level + 1) end
  i = skip(s, i)
  local c = s:sub(i, i)
  if c == "'" or c == '"' then return quoted(s, i) end
  if c == "[" or c == "(" then
    local list, behind = items(s, i + 1, c == "[" and "]" or ")", inner)
    return list and "[" .. table.concat(list, ", ") .. "]", behind
  end
  if c == "{" then
    local list, behind = items(s, i + 1, "}", function(t, at)
      local key, next_at = inner(t, at)
      if not key then return nil end
      next_at = skip(t, next_at)
      if t:sub(next_at, next_at) ~= ":" then return nil end
      if key:sub(1, 1) ~= '"' then key = write.string(key) end
      local value, last = inner(t, next_at + 1)
      return value and key .. ": " .. value, last
    end)
    return list and "{" .. table.concat(list, ", ") .. "}", behind
  end
  local word = s:match("^[%w_.+-]+", i)
  if not word then return nil end
  if WORDS[word] then return WORDS[word], i + #word end
  local n = tonumber(word)
  if n and word:find "^-?%d+%.?%d*[eE]?[+-]?%d*$" and not word:find "^-?0%d" and not word:find "%.$" then return word, i + #word end
  return write.string(word), i + #word
end

--- A list or dictionary as Python prints it, as JSON; nil when a text is none.
function M.value(s)
  local at = skip(s, 1)
  if not s:find("^[%[{(]", at) then return nil end
  local value, behind = literal(s, at, 0)
  return value and skip(s, behind) > #s and value or nil
end

--- name(key=value, ...) at i.
local function python_call(s, i)
  local name, at = s:match("^%s*([%w_.-]+)%s*%(()", i)
  if not name then return nil end
  local list, behind = items(s, at, ")", function(t, p)
    local key, value_at = t:match("^([%w_]+)%s*=%s*()", p)
    if not key then return nil end
    local value, last = literal(t, value_at, 0)
    return value and write.string(key) .. ": " .. value, last
  end)
  if not list then return nil end
  return { name = name, arguments = "{" .. table.concat(list, ", ") .. "}" }, behind
end

--- Calls in Python's words, in a list or not.
function M.python(s)
  local out, i = {}, skip(s, 1)
  if s:sub(i, i) == "[" then i = i + 1 end
  while true do
    local call, behind = python_call(s, i)
    if not call then return #out > 0 and out or nil end
    out[#out + 1] = call
    i = s:match("^%s*[,;]%s*()", behind) or behind
  end
end

local bare_value

local function bare_object(s, i, quote, level)
  local list, behind = items(s, i + 1, "}", function(t, p)
    local key, at
    if t:sub(p, p + #quote - 1) == quote then
      local stop = t:find(quote, p + #quote, true)
      if not stop then return nil end
      key, at = t:sub(p + #quote, stop - 1), stop + #quote
    else
      key, at = t:match("^([^:{}%[%],]+)()", p)
    end
    if not key or t:sub(skip(t, at), skip(t, at)) ~= ":" then return nil end
    local value, last = bare_value(t, skip(t, at) + 1, quote, level + 1)
    return value and write.string((key:gsub("^%s+", ""):gsub("%s+$", ""))) .. ": " .. value, last
  end)
  return list and "{" .. table.concat(list, ", ") .. "}", behind
end

--- A value whose texts stand between `quote`.
function bare_value(s, i, quote, level)
  if level > 50 then return nil end
  i = skip(s, i)
  if s:sub(i, i + #quote - 1) == quote then
    local stop = s:find(quote, i + #quote, true)
    if not stop then return nil end
    return write.string(s:sub(i + #quote, stop - 1)), stop + #quote
  end
  local c = s:sub(i, i)
  if c == "{" then return bare_object(s, i, quote, level) end
  if c == "[" then
    local list, behind = items(s, i + 1, "]", function(t, p) return bare_value(t, p, quote, level + 1) end)
    return list and "[" .. table.concat(list, ", ") .. "]", behind
  end
  local word = s:match("^[^,{}%[%]]+", i)
  if not word then return nil end
  local text = word:gsub("%s+$", "")
  if WORDS[text] then return WORDS[text], i + #word end
  if tonumber(text) and text:find "^-?%d" then return text, i + #word end
  return write.string(text), i + #word
end

--- prefix name { ... }
function M.bare(s, prefix, quote)
  local at = skip(s, 1)
  if prefix ~= "" and s:sub(at, at + #prefix - 1) == prefix then at = at + #prefix end
  local name, brace = s:match("^%s*([%w_.-]+)%s*()", at)
  if not name or s:sub(brace, brace) ~= "{" then return nil end
  local text = bare_object(s, brace, quote, 0)
  if not text then return nil end
  return { { name = name, arguments = text } }
end

return M
