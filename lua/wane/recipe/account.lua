--- Who decided what: so that a rule, a pattern or an option that did nothing is
-- told so, with the reason.
--
-- An account belongs to one plan. Askers are the rules of the recipe and the
-- patterns of the options: tables with `text`, rules also with `where`. Of each
-- it knows how many tensors it decided, how many it matched, who decided those
-- instead, and which of its tensors are never quantized.
local M = {}
M.__index = M

local NAMES_SHOWN = 24

-- 0 1 2 5 -> "0-2, 5"
local function ranges(list)
  table.sort(list)
  local parts, i = {}, 1
  while i <= #list do
    local j = i
    while list[j + 1] == list[j] + 1 do j = j + 1 end
    parts[#parts + 1] = i == j and tostring(list[i]) or ("%d-%d"):format(list[i], list[j])
    i = j + 1
  end
  return table.concat(parts, ", ")
end
M.ranges = ranges

--- All of a list of tensor names in one line; long lists by layers:
-- "blk.N.ffn_up.weight (N = 0-3, 7)".
---@param names string[]
---@return string
function M.names(names)
  if #names <= NAMES_SHOWN then return table.concat(names, ", ") end
  local order, layers = {}, {}
  for _, name in ipairs(names) do
    local layer = name:match "^blk%.(%d+)%."
    local key = layer and name:gsub("^blk%.%d+", "blk.N") or name
    if not layers[key] then
      layers[key] = {}
      order[#order + 1] = key
    end
    if layer then table.insert(layers[key], tonumber(layer)) end
  end
  for i, key in ipairs(order) do
    if #layers[key] > 0 then order[i] = ("%s (N = %s)"):format(key, ranges(layers[key])) end
  end
  return table.concat(order, ", ")
end

--- An empty account for these askers.
---@param rules table[]
---@param patterns table[]
function M.new(rules, patterns)
  local self = setmetatable({ rules = rules, patterns = patterns, of = {} }, M)
  for _, list in ipairs { rules, patterns } do
    for _, x in ipairs(list) do self.of[x] = { decided = 0, matched = 0, lost = {}, fixed = {} } end
  end
  return self
end

--- The asker matched a tensor; `by` says who decided it: itself when nil.
function M:matched(x, by)
  local own = self.of[x]
  own.matched = own.matched + 1
  if by then own.lost[by] = (own.lost[by] or 0) + 1 else own.decided = own.decided + 1 end
end

--- Books a tensor that was decided before the rules were asked: by `reason`
-- (and by the pattern `winner`), or, without a reason, because it is never
-- quantized. Tests that are functions of the user's are not asked.
---@param t wane.TensorDesc
---@param reason string?
---@param winner table?
function M:settled(t, reason, winner)
  local function note(x)
    if reason then
      self:matched(x, x ~= winner and reason or nil)
    else
      table.insert(self.of[x].fixed, t.name)
    end
  end
  for _, p in ipairs(self.patterns) do
    if p == winner or p.search(t.name) then note(p) end
  end
  for _, rule in ipairs(self.rules) do
    if rule.selector and rule.test(t) then note(rule) end
  end
end

-- "'ffn' decides for 2, ..." for everything that decided instead.
local function winners(lost)
  local list = {}
  for reason, n in pairs(lost) do list[#list + 1] = { reason, n } end
  table.sort(list, function(a, b)
    if a[2] ~= b[2] then return a[2] > b[2] end
    return a[1] < b[1]
  end)
  local parts = {}
  for i, e in ipairs(list) do parts[i] = ("%s decides for %d"):format(e[1], e[2]) end
  return table.concat(parts, ", ")
end

-- Why something that matched nothing did not.
local function no_match(own)
  if #own.fixed == 0 then return "matches no tensor" end
  return "matches only what is never quantized: " .. M.names(own.fixed)
end

--- What is wrong with the first asker that did nothing, or nil.
---@return string?
function M:idle()
  for _, p in ipairs(self.patterns) do
    local own = self.of[p]
    if own.matched == 0 then return ("tensor_types: '%s' %s"):format(p.text, no_match(own)) end
    if own.decided == 0 then
      return ("tensor_types: '%s' never decides: of its %d tensors %s (the first pattern that matches wins)"):format(
        p.text, own.matched, winners(own.lost))
    end
  end
  for _, rule in ipairs(self.rules) do
    local own, what = self.of[rule], ("recipe: %s (%s)"):format(rule.text, rule.where)
    if own.matched == 0 then
      return ("%s %s"):format(what, rule.selector and no_match(own) or "is true for no tensor that is left to it")
    end
    if own.decided == 0 and type(rule.to) == "string" then
      return ("%s never decides: of its %d tensors %s"):format(what, own.matched, winners(own.lost))
    end
  end
end

return M
