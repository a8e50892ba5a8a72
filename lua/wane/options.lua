--- Option tables and arguments, checked in one place with one message.
---
--- What it guarantees: an option that a function does not know, of a wrong
--- type or out of range raises
---
---     wane: model:context: option 'context': want an integer from 1 to 16777216, got "x"
---
--- at the caller's line, before anything is done; arguments raise the same with
--- their name. Of several mistakes the same one is always told: unknown names
--- before wrong values, and the first in the order of the alphabet. The caller
--- gets a copy with the defaults filled in.
---
--- How it works: a type is a table { want = "an integer", test = function(v) }.
--- The constructors below make them; a checker goes through its list once.
---
---     local options = require "wane.options"
---     local check = options.checker("my.shrink", {
---       threads = options.threads,
---       bits = options.integer(2, 8),
---       how = options.one_of { "round", "search" },
---       progress = "function",
---     }, { bits = 4 })
---
---     function M.shrink(model, opts)
---       options.argument("my.shrink", "model", model, "table")
---       opts = check(opts)                      -- opts.bits is 4 when absent
---     end
local keys = require "wane.keys"

local M = {}

---@class wane.options.Type
---@field want string             "an integer from 1 to 8"
---@field test fun(v: any): any   true when v is one
---@field required? boolean

-- What was found, short enough for a message and printable on a terminal.
local function shown(v)
  local kind = type(v)
  if kind == "string" then
    local s = #v > 40 and v:sub(1, 37) .. "..." or v
    return '"' .. s:gsub("[^\32-\126]", "?") .. '"'
  end
  if kind == "number" then
    if v ~= v then return "nan" end
    if v == math.huge or v == -math.huge then return v > 0 and "inf" or "-inf" end
    return v == math.floor(v) and math.abs(v) < 2 ^ 53 and ("%.0f"):format(v) or ("%.17g"):format(v)
  end
  if kind == "boolean" or kind == "nil" then return tostring(v) end
  return "a " .. kind
end
M.shown = shown

-- Where this library's files are: what is wrong is told at the line of whoever
-- called into it.
local home = debug and debug.getinfo and debug.getinfo(1, "S").source:match "^(.*)options%.lua$"

-- The level, for `error` in the function that asks, of the nearest line outside
-- of the library.
local function outside()
  if not home then return 2 end
  for level = 3, 40 do
    local info = debug.getinfo(level, "S")
    if not info then break end
    if info.what ~= "C" and info.source:sub(1, #home) ~= home then return level - 1 end
  end
  return 2
end

local function is_finite(v) return type(v) == "number" and v == v and v < math.huge and v > -math.huge end

-- " from 1 to 8", " of at least 1", ...
local function range(min, max)
  local function text(v) return v == math.floor(v) and ("%.0f"):format(v) or ("%.14g"):format(v) end
  if min and max then return (" from %s to %s"):format(text(min), text(max)) end
  if min then return " of at least " .. text(min) end
  if max then return " of at most " .. text(max) end
  return ""
end

local function within(v, min, max) return (not min or v >= min) and (not max or v <= max) end

--- A type of one's own.
---
---     local even = options.type("an even number", function(v) return type(v) == "number" and v % 2 == 0 end)
---@param want string
---@param test fun(v: any): any
---@return wane.options.Type
function M.type(want, test) return { want = want, test = test } end

--- Whole numbers in a range; without one, those that a double holds exactly.
---@param min? number
---@param max? number
function M.integer(min, max)
  return M.type("an integer" .. range(min, max), function(v)
    return is_finite(v) and v == math.floor(v) and v >= -2 ^ 53 and v <= 2 ^ 53 and within(v, min, max)
  end)
end

--- Finite numbers in a range.
---@param min? number
---@param max? number
function M.number(min, max)
  return M.type("a number" .. range(min, max), function(v) return is_finite(v) and within(v, min, max) end)
end

--- One of a few values; strings are shown in quotes.
---
---     options.one_of { "error", "zero" }
---@param list any[]
function M.one_of(list)
  local names = {}
  for i, v in ipairs(list) do names[i] = shown(v) end
  local last = table.remove(names)
  local want = #names > 0 and table.concat(names, ", ") .. " or " .. last or last
  return M.type(want, function(v)
    for _, known in ipairs(list) do
      if v == known then return true end
    end
  end)
end

local plain = {
  any = M.type("a value", function(v) return v ~= nil end),
  boolean = M.type("true or false", function(v) return type(v) == "boolean" end),
  string = M.type("a string", function(v) return type(v) == "string" end),
  table = M.type("a table", function(v) return type(v) == "table" end),
  ["function"] = M.type("a function", function(v)
    if type(v) == "function" then return true end
    local meta = type(v) ~= "function" and getmetatable(v)
    return type(meta) == "table" and meta.__call ~= nil -- callable objects serve as well
  end),
  integer = M.integer(),
  number = M.number(),
  path = M.type("a path (a string, not empty, without NUL)", function(v)
    return type(v) == "string" and v ~= "" and not v:find("\0", 1, true)
  end),
}

-- A type by its name, or itself.
local function resolve(t)
  local known = type(t) == "string" and plain[t] or t
  if type(known) ~= "table" or not known.test then error("wane: options: no type " .. shown(t), 3) end
  return known
end

--- What either of some types takes.
---
---     options.either("string", options.list "integer")
function M.either(...)
  local types, wants = { ... }, {}
  for i, t in ipairs(types) do
    types[i] = resolve(t)
    wants[i] = types[i].want
  end
  return M.type(table.concat(wants, ", or "), function(v)
    for _, t in ipairs(types) do
      if t.test(v) then return true end
    end
  end)
end

--- A list whose elements are all of a type: 1 to #list, and nothing else.
---@param of string|wane.options.Type
---@param least? integer  elements
function M.list(of, least)
  local element = resolve(of)
  local plural = { string = "strings", integer = "integers", number = "numbers", path = "paths", table = "tables" }
  local want = of == "any" and "a list"
    or "a list of " .. (type(of) == "string" and plural[of] or ("values, each " .. element.want))
  if (least or 0) > 0 then want = want .. (", at least %d"):format(least) end
  return M.type(want, function(v)
    if type(v) ~= "table" or #v < (least or 0) then return false end
    for i = 1, #v do
      if not element.test(v[i]) then return false end
    end
    for key in next, v do
      if type(key) ~= "number" or key < 1 or key > #v or key ~= math.floor(key) then return false end
    end
    return true
  end)
end

--- The same type, but the option may not be left out.
function M.required(t)
  t = resolve(t)
  return { want = t.want, test = t.test, required = true }
end

-- What many functions take, with the limits of limits.h.
M.model = M.type("a model (wane.load)", function(m) return type(m) == "table" and m.handle and m.gguf end)
M.threads = M.integer(1, 4096)
M.context = M.integer(1, 16777216)
M.batch = M.integer(1, 16777216)
M.bytes = M.integer(0)
M.token_ids = M.list "integer"

--- Raises the message of an option that is not among `known`, where there is
--- one: for those who check the values themselves.
---
---     options.known("answer.parser", opts, { prompt = true, tools = true })
---@param where string
---@param opts table
---@param known table<string, any>
function M.known(where, opts, known)
  local first
  for name in next, opts do
    if not known[name] then
      local said = type(name) == "string" and name or shown(name)
      first = (not first or said < first) and said or first
    end
  end
  if not first then return end
  error(("wane: %s: unknown option '%s': want one of %s"):format(where, first, table.concat(keys.sorted(known), ", ")), outside())
end

--- Raises the message of a wrong option: for rules between options, which a
--- list of types cannot say.
---
---     if opts.split and opts.shard then options.fail("quantize", "split", "no shard beside it", opts.split) end
---@param where string   function as its user writes it, without "wane."
---@param name string
---@param want string
---@param got any
function M.fail(where, name, want, got)
  error(("wane: %s: option '%s': want %s, got %s"):format(where, name, want, shown(got)), outside())
end

--- Raises any other misuse, at the line of the nearest caller outside of the
--- library.
---
---     options.misuse("quantize: keep_split, split and shard exclude each other")
---@param message string  without "wane: "
function M.misuse(message) error("wane: " .. message, outside()) end

--- Checks one argument and returns it.
---
---     options.argument("model:generate", "prompt", prompt, options.either("string", options.token_ids))
---@param where string
---@param name string
---@param value any
---@param t string|wane.options.Type
---@return any value
function M.argument(where, name, value, t)
  local known = resolve(t)
  if not known.test(value) then
    error(("wane: %s: %s: want %s, got %s"):format(where, name, known.want, shown(value)), outside())
  end
  return value
end

--- A checker for one function's options: check(opts) returns a copy with
--- defaults; opts may be nil when nothing is required. `__index` of the table
--- is honoured, so that options may inherit.
---@param where string   "model:context"
---@param types table<string, string|wane.options.Type>
---@param defaults? table<string, any>
---@return fun(opts: table?): table check
function M.checker(where, types, defaults)
  local known = {}
  for name, t in pairs(types) do known[name] = resolve(t) end
  local names = keys.sorted(known)
  return function(opts)
    if opts == nil then opts = {} end
    if type(opts) ~= "table" then
      error(("wane: %s: options: want a table, got %s"):format(where, shown(opts)), outside())
    end
    M.known(where, opts, known)
    local out = {}
    for _, name in ipairs(names) do
      local t, v = known[name], opts[name]
      if v == nil and defaults then v = defaults[name] end
      if v == nil then
        if t.required then error(("wane: %s: option '%s' is missing: want %s"):format(where, name, t.want), outside()) end
      elseif not t.test(v) then
        error(("wane: %s: option '%s': want %s, got %s"):format(where, name, t.want, shown(v)), outside())
      end
      out[name] = v
    end
    return out
  end
end

return M
