--- Sets of strings as automata, and what satisfies several of them at once.
---
--- A tree of wane.schema.regex becomes states with silent and reading edges; sets
--- of those are worked out as they are reached. `intersect` walks several
--- automata side by side - each to be matched, or not to be - and counts
--- characters; what can still end in a match becomes rules of a grammar, one for
--- each state. Characters are taken in atoms: ranges that no set tells apart.
local text = require "wane.schema.text"

local M = {}

local MAX_STATES, MAX_PRODUCT = 20000, 12000
local TOP = 0x10FFFF

-- ---- a tree as states ------------------------------------------------------------

local function new_state(a)
  a.n = a.n + 1
  if a.n > MAX_STATES then error({ regex = "over 20000 states", code = "ELIMIT" }, 0) end
  a.silent[a.n], a.reads[a.n] = {}, {}
  return a.n
end

local function link(a, from, to, anchor) table.insert(a.silent[from], { to, anchor }) end

local add

-- Adds what a node stands for behind `from`; returns where it ends.
local function add_repeat(a, x, from)
  for _ = 1, x.from do from = add(a, x.body, from) end
  if x.to == math.huge then
    local loop = new_state(a)
    link(a, from, loop)
    link(a, add(a, x.body, loop), loop)
    return loop
  end
  local out = new_state(a)
  for _ = x.from + 1, x.to do
    link(a, from, out)
    from = add(a, x.body, from)
  end
  link(a, from, out)
  return out
end

function add(a, x, from)
  if x.anchor then
    local to = new_state(a)
    link(a, from, to, x.anchor)
    return to
  elseif x.set then
    local to = new_state(a)
    table.insert(a.reads[from], { x.set, to })
    return to
  elseif x.body then
    return add_repeat(a, x, from)
  end
  local out = new_state(a)
  for _, way in ipairs(x.ways) do
    local at = new_state(a)
    link(a, from, at)
    local function anything()
      local loop = new_state(a)
      link(a, at, loop)
      table.insert(a.reads[loop], { { { 0, TOP } }, loop })
      at = loop
    end
    if x.top and not way.starts then anything() end
    for _, part in ipairs(way) do at = add(a, part, at) end
    if x.top and not way.ends then anything() end
    link(a, at, out)
  end
  return out
end

--- The automaton of a pattern's tree.
---@param tree table   of regex.parse: { ways }
function M.of_tree(tree)
  local a = { n = 0, silent = {}, reads = {}, sets = {}, shorthand = tree.shorthand }
  local start = new_state(a)
  a.final = add(a, tree, start)
  a.start = start
  for i = 1, a.n do
    for _, r in ipairs(a.reads[i]) do a.sets[#a.sets + 1] = r[1] end
  end
  return a
end

--- The automaton of a list of strings.
function M.of_names(names)
  local ways = {}
  for i, name in ipairs(names) do
    local way = { starts = true, ends = true }
    for k, c in ipairs(text.points(name)) do way[k] = { set = { { c, c } } } end
    ways[i] = way
  end
  return M.of_tree { ways = ways, top = true }
end

-- All states that silent edges lead to; sorted. `^` is passed where the text
-- begins, `$` where it ends.
local function closure(a, list, begins, ends)
  local seen, todo, out = {}, {}, {}
  for _, s in ipairs(list) do
    if not seen[s] then
      seen[s] = true
      todo[#todo + 1] = s
    end
  end
  while #todo > 0 do
    local s = table.remove(todo)
    out[#out + 1] = s
    for _, e in ipairs(a.silent[s]) do
      local open = not e[2] or (e[2] == "^" and begins) or (e[2] == "$" and ends)
      if open and not seen[e[1]] then
        seen[e[1]] = true
        todo[#todo + 1] = e[1]
      end
    end
  end
  table.sort(out)
  return out
end

local function holds(set, c)
  for _, r in ipairs(set) do
    if c >= r[1] and c <= r[2] then return true end
  end
  return false
end

-- The number of a set of states, 0 for none.
local function intern(a, list, begins)
  if #list == 0 then return 0 end
  local key = (begins and "^" or "") .. table.concat(list, ",")
  local id = a.ids[key]
  if id then return id end
  id = #a.lists + 1
  if id > MAX_STATES then error({ regex = "over 20000 states", code = "ELIMIT" }, 0) end
  a.ids[key], a.lists[id], a.next[id] = id, list, {}
  local ends = false
  for _, s in ipairs(closure(a, list, begins, true)) do ends = ends or s == a.final end
  a.accepts[id] = ends
  return id
end

local function begin(a)
  if not a.ids then
    a.ids, a.lists, a.next, a.accepts = {}, {}, {}, { [0] = false }
    a.first = intern(a, closure(a, { a.start }, true, false), true)
  end
  return a.first
end

-- After character c, which stands for the atom `key`.
local function step(a, from, c, key)
  if from == 0 then return 0 end
  local to = a.next[from][key]
  if to then return to end
  local list = {}
  for _, s in ipairs(a.lists[from]) do
    for _, r in ipairs(a.reads[s]) do
      if holds(r[1], c) then list[#list + 1] = r[2] end
    end
  end
  to = intern(a, closure(a, list, false, false), false)
  a.next[from][key] = to
  return to
end

--- Does the automaton match the string?
function M.matches(a, s)
  local at = begin(a)
  for _, c in ipairs(text.points(s)) do at = step(a, at, c, "c" .. c) end
  return a.accepts[at]
end

-- ---- several at once -----------------------------------------------------------------

-- Ranges of the alphabet that no set divides.
local function atoms_of(parts, alphabet)
  local cuts, seen, out = {}, {}, {}
  local function cut(c)
    if not seen[c] and c <= TOP then
      seen[c] = true
      cuts[#cuts + 1] = c
    end
  end
  for _, p in ipairs(parts) do
    for _, set in ipairs(p[1].sets) do
      for _, r in ipairs(set) do
        cut(r[1])
        cut(r[2] + 1)
      end
    end
  end
  for _, r in ipairs(alphabet) do
    cut(r[1])
    cut(r[2] + 1)
  end
  table.sort(cuts)
  for i, low in ipairs(cuts) do
    if holds(alphabet, low) then out[#out + 1] = { low, (cuts[i + 1] or TOP + 1) - 1 } end
  end
  return out
end

local function explore(parts, min, max, atoms, spend)
  local states, ids = {}, {}
  local cap = max < math.huge and max or min
  local function state(at, n)
    local key = table.concat(at, ",") .. ";" .. n
    if ids[key] then return ids[key] end
    if #states >= MAX_PRODUCT then error({ regex = "over 12000 states together", code = "ELIMIT" }, 0) end
    local accepts = n >= min
    for i, p in ipairs(parts) do accepts = accepts and p[1].accepts[at[i]] ~= (p.negate or false) end
    states[#states + 1] = { at = at, n = n, accepts = accepts, edges = {}, order = {}, from = {} }
    ids[key] = #states
    return #states
  end
  local first = {}
  for i, p in ipairs(parts) do first[i] = begin(p[1]) end
  state(first, 0)
  local i = 1
  while states[i] do
    local s = states[i]
    for _, atom in ipairs(s.n < max and atoms or {}) do
      local at, dead = {}, false
      for k, p in ipairs(parts) do
        spend()
        at[k] = step(p[1], s.at[k], atom[1], atom[1])
        dead = dead or (at[k] == 0 and not p.negate)
      end
      if not dead then
        local to = state(at, math.min(s.n + 1, cap))
        if not s.edges[to] then
          s.edges[to] = {}
          s.order[#s.order + 1] = to
          table.insert(states[to].from, i)
        end
        table.insert(s.edges[to], atom)
      end
    end
    i = i + 1
  end
  return states
end

-- Marks the states from which a match can be reached.
local function mark_alive(states)
  local todo = {}
  for i, s in ipairs(states) do
    if s.accepts then
      s.alive = true
      todo[#todo + 1] = i
    end
  end
  while #todo > 0 do
    for _, from in ipairs(states[table.remove(todo)].from) do
      if not states[from].alive then
        states[from].alive = true
        todo[#todo + 1] = from
      end
    end
  end
end

-- What strings may hold here: no control characters, and none that engines
-- read differently; ASCII alone where a set that they read differently is to be
-- avoided. `bare`: without those that JSON escapes, too.
local function alphabet_of(parts, bare)
  local out, ascii = { { 0, 31 }, { 127, 159 }, { 0x2028, 0x2029 } }, false
  for _, p in ipairs(parts) do ascii = ascii or (p.negate and p[1].shorthand) end
  if bare then
    out[#out + 1] = { 34, 34 }
    out[#out + 1] = { 92, 92 }
  end
  return text.complement(out, ascii and 126 or TOP)
end

local function rules_of(states, rule)
  local names = {}
  for i, s in ipairs(states) do
    if s.alive then names[i] = rule "" end
  end
  for i, s in ipairs(states) do
    if s.alive then
      local ways, own = {}, nil
      for _, to in ipairs(s.order) do
        local class = states[to].alive and text.json_class(text.normal(s.edges[to]))
        if class and to == i then
          own = class .. "* "
        elseif class then
          ways[#ways + 1] = class .. " " .. names[to]
        end
      end
      if s.accepts then ways[#ways + 1] = '""' end
      local body = table.concat(ways, " | ")
      rule(own and ("%s(%s)"):format(own, body) or body, names[i])
    end
  end
  return names[1]
end

--- A rule for the inside of strings that satisfy all of the parts.
---@param parts table       { automaton, negate = true or nil }, ...
---@param min integer       characters, at least
---@param max number        at most; math.huge
---@param bare boolean      nothing that JSON escapes
---@param rule function     rule(expression [, name]) makes a rule, or gives one its body
---@param spend function    called for every step
---@return string|nil name  nil: there is no such string
function M.intersect(parts, min, max, bare, rule, spend)
  for _, p in ipairs(parts) do -- steps are kept by this alphabet's atoms
    p[1].ids = nil
  end
  local states = explore(parts, min, max, atoms_of(parts, alphabet_of(parts, bare)), spend)
  mark_alive(states)
  if not states[1].alive then return nil end
  return rules_of(states, rule)
end

return M
