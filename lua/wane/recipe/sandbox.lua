--- Recipes from files.
--
-- A recipe file is a Lua chunk (text only) that returns a recipe. It runs in
-- an empty world: it sees `recipe`, `math`, `ipairs`, `tonumber`, `tostring`
-- and the string functions of this page, no files, no modules, no metatables.
-- It is data, so it may take a bounded number of steps, bytes and seconds, and
-- so may each of its functions when they are called for a tensor later: find,
-- match, gmatch and gsub are our own and burn fuel with every step of a pattern
-- (wane.recipe.pattern); memory is behind a fence (core.fence), whatever takes
-- it. What was exceeded is said.
--
--     local r = recipe "Q4_K_M"
--     return r:when("ffn_down", "q6_K")
local core = require "wane.core"
local file = require "wane.file"
local pattern = require "wane.recipe.pattern"

local M = {}

local MAX_BYTES = 1024 * 1024
local MAX_STEPS = 10 * 1000 * 1000
local MAX_STRING = 1024 * 1024
local MAX_MEMORY = 128 * 1024 * 1024
local MAX_COPIED = 16 * MAX_MEMORY -- all strings together, dead ones too
local MAX_SECONDS = 20

-- Steps between two looks at the limits.
local INTERVAL = 1000

-- LuaJIT's compiled code does not count instructions.
local jit_off = type(jit) == "table" and jit.off or function() end

-- What the code that runs now has used: steps, and when it began.
local spent, started

-- Limits that were exceeded, as errors of our own.
local function exceeded(what) error({ recipe = "the recipe takes more than " .. what }, 0) end

local function burn(n)
  spent = spent + n
  if spent > MAX_STEPS then exceeded "10 million steps" end
  if n >= INTERVAL and core.now() - started > MAX_SECONDS then exceeded "20 seconds" end
end

-- String methods are reachable through any string. While foreign code runs
-- they are these.
local safe_string = pattern.functions(burn)
for _, name in ipairs { "byte", "format", "len", "lower", "sub", "upper", "reverse" } do
  safe_string[name] = string[name]
end
function safe_string.rep(s, n, sep)
  s, sep, n = tostring(s), tostring(sep or ""), tonumber(n) or 0
  if (#s + #sep) * n > MAX_STRING then exceeded "1 MiB in one string (rep)" end
  burn(math.max(0, (#s + #sep) * n / 64))
  return string.rep(s, n, sep)
end

local function copy(t)
  local c = {}
  for k, v in pairs(t) do c[k] = v end -- order does not show
  return c
end

-- The message of a failure; of memory that ran out, too. (The fence was hit as
-- well when the collector then found enough: the reason is another then.)
local function message_of(why, hit)
  if type(why) == "table" and why.recipe then return why.recipe end
  if hit and why == "not enough memory" then return "the recipe takes more than 128 MiB of memory (or 2 GiB in all)" end
  return why
end

local running = false

-- Runs f(...) with the limits and the safe string methods. A function of a
-- recipe that is called by another is under the limits of that one already.
local function guarded(f, ...)
  if running then return pcall(f, ...) end
  local meta = getmetatable ""
  local saved_index = meta.__index
  local hook, mask, count = debug.gethook()
  local function hooked(...)
    debug.sethook(function() burn(INTERVAL) end, "", INTERVAL)
    return f(...)
  end
  spent, started, running = 0, core.now(), true
  meta.__index = safe_string
  core.fence(MAX_MEMORY, MAX_COPIED)
  local ok, result = pcall(hooked, ...)
  local hit = core.fence() -- before anything that may want memory
  debug.sethook(hook, mask, count)
  meta.__index, running = saved_index, false
  if ok then return true, result end
  return false, message_of(result, hit)
end
-- Recording a trace takes memory too, and what cannot get any behind the fence
-- outside of a protected call leaves it standing.
jit_off(guarded)

-- A function of the recipe, safe to call later.
local function wrap(f)
  jit_off(f, true)
  return function(...)
    local ok, result = guarded(f, ...)
    if not ok then error(result, 0) end
    return result
  end
end

local function world(recipe)
  local function wrapped(value) return type(value) == "function" and wrap(value) or value end
  local methods = {}
  -- a proxy, so that functions given to rules are wrapped as well
  local function proxy(r)
    return setmetatable({}, {
      __index = function(_, key)
        if methods[key] then return methods[key] end
        error(("a recipe has no method '%s'"):format(tostring(key)), 2)
      end,
      __metatable = "wane.recipe.proxy",
      __call = function() return r end,
    })
  end
  local function inner(p)
    if getmetatable(p) ~= "wane.recipe.proxy" then error("want a recipe", 3) end
    return p()
  end
  function methods.when(p, which, to) return proxy(inner(p):when(wrapped(which), wrapped(to))) end
  function methods.layers(p, a, b, to) return proxy(inner(p):layers(a, b, wrapped(to))) end
  function methods.role(p, role, to) return proxy(inner(p):role(role, wrapped(to))) end
  return {
    recipe = function(base) return proxy(recipe.new(wrapped(base))) end,
    math = copy(math), string = copy(safe_string), ipairs = ipairs, tonumber = tonumber,
    tostring = tostring, type = type, error = error, next = next, select = select,
  }, inner
end

-- `load` of text only, in both Luas.
local function compile(source, name, env)
  if source:sub(1, 1) == "\27" then return nil, name .. ": text chunks only" end
  local setfenv = rawget(_G, "setfenv")
  if setfenv then
    local f, msg = rawget(_G, "loadstring")(source, "=" .. name)
    if f then setfenv(f, env) end
    return f, msg
  end
  return load(source, "=" .. name, "t", env)
end

--- Runs the text of a recipe.
---@return wane.Recipe?
---@return string? message
---@return string? code
function M.run(source, name, recipe)
  if #source > MAX_BYTES then return nil, name .. ": a recipe has at most 1 MiB", "ELIMIT" end
  local env, inner = world(recipe)
  local f, msg = compile(source, name, env)
  if not f then return nil, tostring(msg), "EFORMAT" end
  jit_off(f, true)
  collectgarbage() -- or the host's garbage, freed behind the fence, is room for the recipe
  local ok, result = guarded(f)
  if not ok then
    local text = tostring(result)
    return nil, text:find("the recipe takes more", 1, true) == 1 and name .. ": " .. text or text, "EFORMAT"
  end
  if type(result) == "function" then return recipe.new(wrap(result)) end
  local found, r = pcall(inner, result)
  if not found then
    return nil, name .. ": the file returns no recipe (want: return recipe \"Q4_K_M\", or a function of the tensor)",
      "EFORMAT"
  end
  return r
end

--- Reads a recipe file.
function M.load(path, recipe)
  local source, msg, code = file.read(path, { max_bytes = MAX_BYTES })
  if not source then return nil, msg, code end
  return M.run(source, path, recipe)
end

return M
