--- Recipes: programs that choose the type of every tensor.
--
--     local r = wane.recipe "Q4_K_M"                    -- llama.cpp's mix
--     r = r:when("%.ffn_down%.", "q6_K"):layers(0, 1, "q8_0"):role("output", "q8_0")
--     r = wane.recipe(function(t) return t.layer == 0 and "q8_0" or t:cheapest_with(0.05) end)
--     print(r)
--
-- A recipe is a base (a mix of llama.cpp, or a function of the tensor) and
-- rules; the last rule that matches a tensor decides. Recipes never change:
-- each call gives a new one. Rules look only at tensors that may be quantized
-- (matrices, no norms). A type is a name ("q4_K"), "keep" (the source's), or
-- a function of the tensor that returns one, or nil to leave the choice as
-- it is. Formats defined in Lua (wane.quant.define) may be named too: such a
-- recipe can be judged (wane.eval), but not written to a file. Mistakes are errors: unknown types and roles at once; a pattern that
-- matches nothing, a rule that never decides, two rules that contradict each
-- other when the recipe meets a model.
local choose = require "wane.recipe.choose"
local mixes = require "wane.recipe.mixes"
local roles = require "wane.recipe.roles"
local types = require "wane.recipe.types"

local M = {}

---@class wane.Recipe
---@field _base { mix: wane.Mix? , fn: function?, where: string }
---@field _rules table[]
local Recipe = {}
Recipe.__index = function(_, key)
  local method = rawget(Recipe, key)
  if method == nil then error(("wane: a recipe has no method '%s'"):format(tostring(key)), 2) end
  return method
end
Recipe.__metatable = "wane.recipe"

-- The recipe file that is being read, if any.
local reading

-- Where in the user's program a rule was written: the nearest Lua line above.
-- A tail call leaves no line of its own: in a recipe file the file's name must
-- do then.
local function caller(level)
  for l = level + 1, level + 12 do
    local info = debug and debug.getinfo(l, "Sl")
    if not info then break end
    if info.currentline > 0 and (not reading or info.source == "=" .. reading) then
      return ("%s:%d"):format(info.short_src, info.currentline)
    end
  end
  return reading or "?"
end

local function check_type(to)
  if type(to) == "function" or to == "keep" then return to end
  local t, msg = types.usable(to)
  if not t then error("wane: " .. msg, 3) end
  return t.name
end

local function make(base, rules)
  return setmetatable({ _base = base, _rules = rules }, Recipe)
end

-- A new recipe with one more rule.
local function with_rule(self, rule)
  local rules = {}
  for i, r in ipairs(self._rules) do
    if r.selector == rule.selector and r.to ~= rule.to and rule.selector then
      error(("wane: %s (%s) contradicts %s (%s)"):format(rule.text, rule.where, r.text, r.where), 3)
    end
    rules[i] = r
  end
  rules[#rules + 1] = rule
  return make(self._base, rules)
end

local function shown(to) return type(to) == "string" and to or "function" end

--- Chooses a type for tensors by name.
---
---     print(wane.recipe("Q4_K_M"):when("ffn_down", "q6_K"))
---@param pattern string|fun(t: wane.RecipeTensor): boolean  a Lua pattern searched in the name, or a test
---@param to string|fun(t: wane.RecipeTensor): string?
---@return wane.Recipe
---@error a pattern that Lua does not take, an unknown type
function Recipe:when(pattern, to)
  to = check_type(to)
  local rule = { to = to, where = caller(2) }
  if type(pattern) == "function" then
    rule.test, rule.text = pattern, ("when(function, %s)"):format(shown(to))
  elseif type(pattern) == "string" then
    local ok, msg = pcall(string.find, "", pattern)
    if not ok then error(("wane: bad pattern '%s': %s"):format(pattern, msg), 2) end
    rule.test = function(t) return t.name:find(pattern) ~= nil end
    rule.text = ("when(%q, %s)"):format(pattern, shown(to))
    rule.selector = "when " .. pattern
  else
    error("wane: when wants a pattern or a function", 2)
  end
  return with_rule(self, rule)
end

--- Chooses a type for all quantizable tensors of layers first..last (from 0).
---
---     print(wane.recipe("Q4_K_M"):layers(0, 1, "q8_0"))
---@param first integer
---@param last integer
---@param to string|fun(t: wane.RecipeTensor): string?
---@return wane.Recipe
---@error numbers that are no layers, the first above the last; an unknown type
function Recipe:layers(first, last, to)
  local function is_layer(n) return type(n) == "number" and n >= 0 and n == math.floor(n) end
  if not is_layer(first) or not is_layer(last) or first > last then
    error("wane: layers wants two layer numbers from 0, the first not above the last", 2)
  end
  to = check_type(to)
  return with_rule(self, {
    to = to, where = caller(2), selector = ("layers %d %d"):format(first, last),
    text = ("layers(%d, %d, %s)"):format(first, last, shown(to)),
    test = function(t) return t.layer ~= nil and t.layer >= first and t.layer <= last end,
  })
end

local known_role = {}
for _, list in ipairs { roles.all, roles.within } do
  for _, r in ipairs(list) do known_role[r] = true end
end

--- Chooses a type for all tensors of a role: "ffn_down" is what is called so,
--- experts included, "ffn_down_exps" the experts alone, "ffn_down_shexp" the
--- shared one.
---
---     print(wane.recipe("Q4_K_M"):role("attn_v", "q8_0"))
---@param role string one of wane.recipe.roles
---@param to string|fun(t: wane.RecipeTensor): string?
---@return wane.Recipe
---@error an unknown role (the message lists all), an unknown type
function Recipe:role(role, to)
  if not known_role[role] then
    error(("wane: unknown role '%s': want one of %s %s"):format(tostring(role), table.concat(roles.all, " "),
      table.concat(roles.within, " ")), 2)
  end
  to = check_type(to)
  return with_rule(self, {
    to = to, where = caller(2), selector = "role " .. role,
    text = ("role(%q, %s)"):format(role, shown(to)),
    test = function(t) return t.role == role or t.exact_role == role end,
  })
end

--- One line that says what the recipe is.
---
---     print(recipe:describe())
---@error none
function Recipe:describe()
  local parts = { self._base.mix and self._base.mix.name or ("function (%s)"):format(self._base.where) }
  for _, r in ipairs(self._rules) do parts[#parts + 1] = r.text end
  return table.concat(parts, ":")
end

--- The name of the mix it starts from, or nil for a function.
---
---     print(recipe:mix_name())   --> Q4_K_M
---@error none
function Recipe:mix_name() return self._base.mix and self._base.mix.name end

-- The base mix as lines of a table: role and type.
local function mix_lines(mix, lines)
  lines[#lines + 1] = ("  %-14s %s"):format("(base)", mix.base or "refused")
  for _, role in ipairs(roles.all) do
    local rule = mix[role]
    if rule then
      lines[#lines + 1] = ("  %-14s %s"):format(role, type(rule) == "string" and rule
        or "depends on layer and model")
    end
  end
end

--- The recipe as a small table.
function Recipe.__tostring(self)
  local lines = {}
  if self._base.mix then
    lines[1] = ("recipe %s: %s"):format(self._base.mix.name, self._base.mix.note)
    mix_lines(self._base.mix, lines)
  else
    lines[1] = ("recipe by function (%s)"):format(self._base.where)
  end
  for i, r in ipairs(self._rules) do lines[#lines + 1] = ("  %d. %s"):format(i, r.text) end
  return table.concat(lines, "\n")
end

--- Makes a recipe.
---
---     local recipe = wane.recipe(function(t) return t.layer == 0 and "q8_0" or "q4_K" end)
---@param base string|fun(t: wane.RecipeTensor): string  the name or number of a mix, or a function
---@return wane.Recipe
---@error an unknown mix (the message lists all)
function M.new(base)
  if type(base) == "function" then return make({ fn = base, where = caller(2) }, {}) end
  if getmetatable(base) == "wane.recipe" then return base end
  if type(base) ~= "string" and type(base) ~= "number" then
    error("wane: recipe wants the name of a mix or a function", 2)
  end
  local mix, msg = choose.mix(base)
  if not mix then error("wane: " .. msg, 2) end
  return make({ mix = mix, where = caller(2) }, {})
end

--- Whether a value is a recipe.
---
---     print(wane.recipe.is(recipe), wane.recipe.is "Q4_K_M")   --> true  false
---@param value any
---@error none
function M.is(value) return getmetatable(value) == "wane.recipe" end

--- Names of all mixes, in the order of their numbers.
---
---     print(table.concat(wane.recipe.names(), " "))
---@error none
function M.names()
  local list = {}
  for i, name in ipairs(mixes.names) do list[i] = name end
  return list
end

--- Reads a recipe from a text file (see wane.recipe.sandbox).
---
---     local recipe = assert(wane.recipe.load "mine.lua")
---@param path string
---@return wane.Recipe?
---@return string? message
---@return string? code
function M.load(path)
  reading = path
  local r, msg, code = require("wane.recipe.sandbox").load(path, M)
  reading = nil
  return r, msg, code
end

return setmetatable(M, {
  __call = function(_, base)
    if type(base) == "function" then
      return make({ fn = base, where = caller(2) }, {})
    end
    return M.new(base)
  end,
})
