--- Recipes from files.
--
-- A recipe file is a Lua chunk (text only) that returns a recipe. It runs in
-- an empty world: it sees `recipe`, `math`, `ipairs`, `tonumber`, `tostring`
-- and a few string functions, no files, no modules, no metatables. It may
-- take a bounded number of instructions; so may each of its functions when
-- they are called for a tensor later.
--
--     local r = recipe "Q4_K_M"
--     return r:when("ffn_down", "q6_K")
local M = {}

local MAX_BYTES = 1024 * 1024
local MAX_INSTRUCTIONS = 10 * 1000 * 1000
local MAX_STRING = 1024 * 1024

-- LuaJIT's compiled code does not count instructions.
local jit_off = type(jit) == "table" and jit.off or function() end

-- String methods are reachable through any string. While foreign code runs,
-- those that can be made to take for ever are replaced.
local safe_string = {}
for _, name in ipairs { "byte", "find", "format", "gmatch", "gsub", "len", "lower", "match", "sub",
  "upper", "reverse" } do
  safe_string[name] = string[name]
end
function safe_string.rep(s, n, sep)
  if (#s + #(sep or "")) * n > MAX_STRING then error("string.rep makes more than 1 MiB", 2) end
  return string.rep(s, n, sep)
end

local function copy(t)
  local c = {}
  for k, v in pairs(t) do c[k] = v end -- order does not show
  return c
end

-- Runs f(...) with the instruction limit and the safe string methods.
local function guarded(f, ...)
  local meta = getmetatable ""
  local saved_index = meta.__index
  local hook, mask, count = debug.gethook()
  local function restore(...)
    debug.sethook(hook, mask, count)
    meta.__index = saved_index
    return ...
  end
  local spent = 0
  meta.__index = safe_string
  debug.sethook(function()
    spent = spent + 10000
    if spent > MAX_INSTRUCTIONS then error("the recipe takes more than 10 million instructions", 2) end
  end, "", 10000)
  return restore(pcall(f, ...))
end

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
  function methods.when(p, pattern, to) return proxy(inner(p):when(wrapped(pattern), wrapped(to))) end
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
  local ok, result = guarded(f)
  if not ok then return nil, tostring(result), "EFORMAT" end
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
  local file, msg = io.open(path, "rb")
  if not file then return nil, tostring(msg), "ENOENT" end
  local source = file:read(MAX_BYTES + 1)
  file:close()
  return M.run(source or "", path, recipe)
end

return M
