--- Regular expressions of `pattern` as trees, and as grammar text for the inside
--- of a JSON string.
---
--- What is taken: characters, classes, . | ( ) (?: ), * + ? {m,n} (lazy or not:
--- the same strings), \d \w \s and their opposites, \t \n \r \f \xHH \uHHHH, and
--- anchors. Everything else - looking around, references, \b - is refused. Where engines differ the narrower reading is taken: \d is 0-9, and
--- what a negated \d, \w or \s stands for is ASCII.
local text = require "wane.schema.text"

local M = {}

local MAX_DEPTH, MAX_TIMES = 64, 100000
local TOP = 0x10FFFF
local DIGIT, SPACE = { { 48, 57 } }, { { 9, 10 }, { 12, 13 }, { 32, 32 } }
local WORD = { { 48, 57 }, { 65, 90 }, { 95, 95 }, { 97, 122 } }
local LINE_ENDS = { { 10, 10 }, { 13, 13 }, { 0x2028, 0x2029 } }
local SETS = { d = DIGIT, w = WORD, s = SPACE }
local CONTROLS = { t = 9, n = 10, r = 13, f = 12, v = 11, ["0"] = 0 }

local Parser = {}
Parser.__index = Parser

local function refuse(what) error({ regex = what }, 0) end

function Parser:peek(n) return self.points[self.at + (n or 0)] end
function Parser:char()
  local c = self.points[self.at]
  return c and c < 128 and string.char(c) or c and "" or nil
end
function Parser:next()
  self.at = self.at + 1
  return self.points[self.at - 1]
end

local function hex(p, digits)
  local v = 0
  for _ = 1, digits do
    local c = p:char()
    local d = c and c ~= "" and tonumber(c, 16)
    if not d then refuse "a hexadecimal digit is missing" end
    v = v * 16 + d
    p:next()
  end
  return v
end

-- After a backslash: ranges, and whether they are a set that engines read
-- differently.
local function escape(p)
  local c = p:char()
  if not c then refuse "it ends in a backslash" end
  local code = p:next()
  if SETS[c] then
    p.shorthand = true
    return SETS[c], true
  end
  if c ~= "" and SETS[c:lower()] then
    p.shorthand = true
    return text.complement(SETS[c:lower()], 127), true
  end
  if c == "0" and p:char() and p:char():match "^%d$" then refuse "octal escapes" end
  if CONTROLS[c] then return { { CONTROLS[c], CONTROLS[c] } } end
  if c == "x" or c == "u" then
    if p:char() == "{" then refuse "\\u{...}" end
    local v = hex(p, c == "x" and 2 or 4)
    return { { v, v } }
  end
  if c:match "^[%w]$" then refuse("\\" .. c) end
  return { { code, code } }
end

local function class(p)
  local ranges, shorthand = {}, false
  local negate = p:char() == "^"
  if negate then p:next() end
  local first = true
  while p:char() ~= "]" or first do
    if not p:peek() then refuse "a class without ]" end
    local set, short
    if p:char() == "[" and p:peek(1) == 58 then refuse "[: in a class" end
    if p:char() == "\\" then
      p:next()
      if p:char() == "b" then
        p:next()
        set = { { 8, 8 } }
      else
        set, short = escape(p)
      end
    else
      local c = p:next()
      set = { { c, c } }
    end
    shorthand = shorthand or short
    if p:char() == "-" and p:peek(1) and p:peek(1) ~= 93 and not short and #set == 1 then
      p:next()
      local high
      if p:char() == "\\" then
        p:next()
        local s, wide = escape(p)
        if wide then refuse "a range that ends in a set" end
        high = s[1][1]
      else
        high = p:next()
      end
      if high < set[1][1] then refuse "a range that goes backwards" end
      set = { { set[1][1], high } }
    end
    for _, r in ipairs(set) do ranges[#ranges + 1] = { r[1], r[2] } end
    first = false
  end
  p:next()
  if negate then ranges = text.complement(ranges, shorthand and 127 or TOP) end
  return { set = text.normal(ranges), min = 1, max = 1 }
end

local alternatives

local function group(p)
  if p:char() == "?" then
    p:next()
    if p:char() ~= ":" then refuse "(? groups" end
    p:next()
  end
  p.depth = p.depth + 1
  if p.depth > MAX_DEPTH then error({ regex = "over 64 nested groups", code = "ELIMIT" }, 0) end
  local node = alternatives(p)
  p.depth = p.depth - 1
  if p:char() ~= ")" then refuse "a group without )" end
  p:next()
  return node
end

local function atom(p)
  local c = p:char()
  if c == "(" then
    p:next()
    return group(p)
  elseif c == "[" then
    p:next()
    return class(p)
  elseif c == "." then
    p:next()
    return { set = text.complement(LINE_ENDS, TOP), min = 1, max = 1 }
  elseif c == "\\" then
    p:next()
    return { set = escape(p), min = 1, max = 1 }
  elseif c == "*" or c == "+" or c == "?" then
    refuse "nothing to repeat"
  end
  local code = p:next()
  return { set = { { code, code } }, min = 1, max = 1 }
end

-- A number at hand, or nil.
local function number(p)
  local v
  while p:char() and p:char():match "^%d$" do
    v = (v or 0) * 10 + p:next() - 48
    if v > MAX_TIMES then error({ regex = "over 100000 repetitions", code = "ELIMIT" }, 0) end
  end
  return v
end

-- {m,n}; a brace that is no repetition is itself a character.
local function braces(p)
  local from = p.at
  p:next()
  local min = number(p)
  if min then
    local max = min
    if p:char() == "," then
      p:next()
      max = number(p) or math.huge
    end
    if p:char() == "}" then
      p:next()
      if max < min then refuse "a repetition whose least is above its most" end
      return min, max
    end
  end
  p.at = from
  return nil
end

local function repeated(p)
  local node = atom(p)
  while true do
    local c, min, max = p:char(), nil, nil
    if c == "*" then
      min, max = 0, math.huge
    elseif c == "+" then
      min, max = 1, math.huge
    elseif c == "?" then
      min, max = 0, 1
    elseif c == "{" then
      min, max = braces(p)
    end
    if not min then return node end
    if c ~= "{" then p:next() end
    if p:char() == "?" then p:next() end -- lazy: the same strings
    if p:char() == "+" and c ~= "+" then refuse "possessive repetitions" end
    node = { body = node, from = min, to = max, min = node.min * min, max = (max == 0 or node.max == 0) and 0 or node.max * max }
  end
end

-- A sequence; anchors at its ends are noted, where it is not within a group,
-- others are parts of it.
local function sequence(p)
  local list = { min = 0, max = 0 }
  while p:peek() and p:char() ~= "|" and p:char() ~= ")" do
    local c = p:char()
    if c == "^" and p.depth == 0 and #list == 0 and not list.ends then
      p:next()
      list.starts = true
    elseif c == "$" and p.depth == 0 and (not p:peek(1) or p:peek(1) == 124) then
      p:next()
      list.ends = true
    elseif c == "^" or c == "$" then
      p:next()
      p.inner = true
      list[#list + 1] = { anchor = c, min = 0, max = 0 }
    else
      local node = repeated(p)
      list[#list + 1] = node
      list.min, list.max = list.min + node.min, list.max + node.max
    end
  end
  return list
end

function alternatives(p)
  local node = { ways = {}, min = math.huge, max = 0 }
  while true do
    local s = sequence(p)
    node.ways[#node.ways + 1] = s
    node.min, node.max = math.min(node.min, s.min), math.max(node.max, s.max)
    if p:char() ~= "|" then return node end
    p:next()
  end
end

local write

local function write_sequence(list)
  local out = {}
  for _, node in ipairs(list) do out[#out + 1] = write(node) end
  return #out > 0 and table.concat(out, " ") or '""'
end

function write(node)
  if node.set then
    local s = text.json_class(node.set)
    if not s then refuse "a class of no character" end
    return s
  end
  if node.body then
    if node.to == 0 then return '""' end
    if node.from == 1 and node.to == 1 then return write(node.body) end
    local body = write(node.body)
    if not node.body.set then body = "(" .. body .. ")" end
    return body .. text.times(node.from, node.to < math.huge and node.to or nil)
  end
  local out = {}
  for _, s in ipairs(node.ways) do out[#out + 1] = write_sequence(s) end
  return "(" .. table.concat(out, " | ") .. ")"
end

-- A pattern that is one class repeated can have other bounds too.
local function rebound(node, min, max)
  local s = #node.ways == 1 and node.ways[1]
  local one = s and s.starts and s.ends and #s == 1 and s[1]
  local set = one and (one.set or (one.body and one.body.set))
  if not set then return node end
  local from, to = one.set and 1 or one.from, one.set and 1 or one.to
  from, to = math.max(from, min), math.min(to, max)
  if from > to then return node end
  local part = { body = { set = set, min = 1, max = 1 }, from = from, to = to, min = from, max = to }
  return { ways = { { part, starts = true, ends = true, min = from, max = to } }, min = from, max = to }
end

--- The tree of a pattern: { ways = { parts, starts =, ends = }, min, max, inner =
--- anchors elsewhere than at the ends }.
---@param pattern string
---@return table|nil tree
---@return string? what   is not supported
---@return string? code
function M.parse(pattern)
  local p = setmetatable({ points = text.points(pattern), at = 1, depth = 0 }, Parser)
  local ok, out = pcall(function()
    local node = alternatives(p)
    if p:peek() then refuse "a ) without (" end
    node.top, node.inner, node.shorthand = true, p.inner, p.shorthand
    return node
  end)
  if ok then return out end
  if type(out) ~= "table" or not out.regex then error(out, 0) end
  return nil, out.regex, out.code or "EUNSUP"
end

--- The grammar of the inside of strings that the pattern is found in, where it
--- can be written down part by part.
---@param tree table
---@param min integer         characters, at least
---@param max number          at most; math.huge
---@param any string          a rule for any character
---@return string|nil expression   nil: it takes an automaton
function M.direct(tree, min, max, any)
  if tree.inner then return nil end
  tree = rebound(tree, min, max)
  local ways = {}
  for _, s in ipairs(tree.ways) do
    local least, most = s.min, (s.starts and s.ends) and s.max or math.huge
    if least < min or most > max then return nil end
    ways[#ways + 1] = (s.starts and "" or any .. "* ") .. write_sequence(s) .. (s.ends and "" or " " .. any .. "*")
  end
  return "(" .. table.concat(ways, " | ") .. ")"
end

return M
