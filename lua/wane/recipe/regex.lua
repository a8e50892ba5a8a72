--- Regular expressions for tensor names, as llama.cpp's options use them
-- (ECMAScript syntax, searched anywhere in the name).
--
-- Supported: literals, . [set] [^set] \d \D \w \W \s \S \b \B ^ $ (group)
-- (?:group) a|b * + ? {m} {m,} {m,n} and their lazy forms. Not supported, and
-- refused with a message: look-ahead, back references. A pattern compiles to
-- a chain of closures in continuation style; a match has a budget of steps,
-- so that no pattern can hang.
local M = {}

local MAX_STEPS = 200000
local MAX_DEPTH = 32
local MAX_REPEAT = 255

local function fail(p, what) error({ regex = ("%s at %d in '%s'"):format(what, p.pos, p.text) }, 0) end

-- Sets are functions of a byte -> boolean.
local function in_ranges(...)
  local ranges = { ... }
  return function(c)
    for i = 1, #ranges, 2 do
      if c >= ranges[i] and c <= ranges[i + 1] then return true end
    end
    return false
  end
end
local function negated(set) return function(c) return not set(c) end end

local digit = in_ranges(48, 57)
local word = in_ranges(48, 57, 65, 90, 95, 95, 97, 122)
local space = in_ranges(9, 13, 32, 32)
local classes = {
  d = digit, w = word, s = space,
  D = negated(digit), W = negated(word), S = negated(space),
}
local escapes = { n = 10, r = 13, t = 9, f = 12, v = 11, ["0"] = 0 }

local function peek(p) return p.text:sub(p.pos, p.pos) end
local function take(p)
  local c = peek(p)
  p.pos = p.pos + 1
  return c
end

-- After a backslash: a class, or the byte it stands for.
local function escape(p)
  local c = take(p)
  if c == "" then fail(p, "a backslash ends the pattern") end
  if classes[c] then return classes[c] end
  if c:find "[1-9]" then fail(p, "back references are not supported") end
  if c:find "%a" and not escapes[c] then fail(p, "unknown escape \\" .. c) end
  local byte = escapes[c] or c:byte()
  return in_ranges(byte, byte), byte
end

local function bracket_item(p)
  local c = take(p)
  if c == "" then fail(p, "'[' is never closed") end
  if c ~= "\\" then return nil, c:byte() end
  if peek(p) == "b" then
    p.pos = p.pos + 1
    return nil, 8
  end
  return escape(p)
end

local function bracket(p)
  local sets, negate = {}, false
  if peek(p) == "^" then
    p.pos, negate = p.pos + 1, true
  end
  while peek(p) ~= "]" do
    local set, low = bracket_item(p)
    if low and peek(p) == "-" and p.text:sub(p.pos + 1, p.pos + 1) ~= "]" then
      p.pos = p.pos + 1
      local _, high = bracket_item(p)
      if not high or high < low then fail(p, "bad range in '[ ]'") end
      set = in_ranges(low, high)
    end
    sets[#sets + 1] = set or in_ranges(low, low)
  end
  p.pos = p.pos + 1
  return function(c)
    for _, set in ipairs(sets) do
      if set(c) then return not negate end
    end
    return negate
  end
end

-- Nodes are matchers: node(state, i, k) tries to match at byte i and then
-- calls k(i'); it returns what k returns, or false.
local function tick(s)
  s.steps = s.steps + 1
  if s.steps > MAX_STEPS then
    error({ regex = "the pattern takes too many steps on '" .. s.text .. "'" }, 0)
  end
end

local function set_node(set)
  return function(s, i, k)
    tick(s)
    local c = s.text:byte(i)
    return c ~= nil and set(c) and k(i + 1)
  end
end

local function word_edge(want)
  return function(s, i, k)
    local a, b = s.text:byte(i - 1), s.text:byte(i)
    if i == 1 then a = nil end
    local edge = (a ~= nil and word(a)) ~= (b ~= nil and word(b))
    return edge == want and k(i)
  end
end

local function sequence(nodes)
  return function(s, i, k)
    local function step(n, at)
      if n > #nodes then return k(at) end
      return nodes[n](s, at, function(next_at) return step(n + 1, next_at) end)
    end
    return step(1, i)
  end
end

local function alternatives(list)
  if #list == 1 then return list[1] end
  return function(s, i, k)
    for _, node in ipairs(list) do
      if node(s, i, k) then return true end
    end
    return false
  end
end

local function repeated(node, min, max, lazy)
  return function(s, i, k)
    local function try(n, at)
      tick(s)
      local function more()
        return n < max and node(s, at, function(next_at)
          -- an empty turn past the minimum would repeat for ever
          if next_at == at and n >= min then return false end
          return try(n + 1, next_at)
        end)
      end
      if n < min then return more() end
      if lazy then return k(at) or more() end
      return more() or k(at)
    end
    return try(0, i)
  end
end

local parse_alternatives

local function group(p)
  if p.text:sub(p.pos, p.pos + 1) == "?:" then
    p.pos = p.pos + 2
  elseif peek(p) == "?" then
    fail(p, "look-ahead is not supported")
  end
  p.depth = p.depth + 1
  if p.depth > MAX_DEPTH then fail(p, "too many nested groups") end
  local node = parse_alternatives(p)
  if take(p) ~= ")" then fail(p, "'(' is never closed") end
  p.depth = p.depth - 1
  return node
end

local function atom(p)
  local c = take(p)
  if c == "(" then return group(p) end
  if c == "[" then return set_node(bracket(p)) end
  if c == "." then return set_node(function(b) return b ~= 10 and b ~= 13 end) end
  if c == "^" then return function(_, i, k) return i == 1 and k(i) end, true end
  if c == "$" then return function(s, i, k) return i == #s.text + 1 and k(i) end, true end
  if c == "\\" then
    local e = peek(p)
    if e == "b" or e == "B" then
      p.pos = p.pos + 1
      return word_edge(e == "b"), true
    end
    return set_node((escape(p)))
  end
  if c:find "[*+?{]" then fail(p, "nothing to repeat") end
  if c == "}" or c == "]" then fail(p, "unexpected '" .. c .. "'") end
  return set_node(in_ranges(c:byte(), c:byte()))
end

local function quantifier(p)
  local c = peek(p)
  local min, max
  if c == "*" then min, max = 0, math.huge
  elseif c == "+" then min, max = 1, math.huge
  elseif c == "?" then min, max = 0, 1
  elseif c == "{" then
    local a, comma, b, stop = p.text:match("^{(%d+)(,?)(%d*)}()", p.pos)
    if not a then fail(p, "want {m}, {m,} or {m,n}") end
    min = tonumber(a)
    max = comma == "" and min or b == "" and math.huge or tonumber(b)
    if max < min or min > MAX_REPEAT then fail(p, "bad repeat count") end
    p.pos = stop - 1
  else
    return nil
  end
  p.pos = p.pos + 1
  local lazy = peek(p) == "?"
  if lazy then p.pos = p.pos + 1 end
  return min, max, lazy
end

local function parse_sequence(p)
  local nodes = {}
  while p.pos <= #p.text and not peek(p):find "[|)]" do
    local node, is_anchor = atom(p)
    local min, max, lazy = quantifier(p)
    if min and is_anchor then fail(p, "nothing to repeat") end
    nodes[#nodes + 1] = min and repeated(node, min, max, lazy) or node
  end
  return sequence(nodes)
end

function parse_alternatives(p)
  local list = { parse_sequence(p) }
  while peek(p) == "|" do
    p.pos = p.pos + 1
    list[#list + 1] = parse_sequence(p)
  end
  return alternatives(list)
end

--- Compiles a pattern to a function text -> boolean (found anywhere).
---@param pattern string
---@return (fun(text: string): boolean)? search
---@return string? message what is wrong with the pattern
function M.compile(pattern)
  local p = { text = pattern, pos = 1, depth = 0 }
  local ok, node = pcall(function()
    local n = parse_alternatives(p)
    if p.pos <= #pattern then fail(p, "unexpected ')'") end
    return n
  end)
  if not ok then return nil, type(node) == "table" and node.regex or tostring(node) end
  return function(text)
    local s = { text = text, steps = 0 }
    for i = 1, #text + 1 do
      if node(s, i, function() return true end) then return true end
    end
    return false
  end
end

return M
