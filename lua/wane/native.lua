--- wane.native: loads the C half of wane, `wane.core`, for everybody after it.
---
--- An installed wane has its two halves under one prefix,
---     PREFIX/share/lua/5.4/wane/*.lua   and   PREFIX/lib/lua/5.4/wane/core.so
--- and the library beside these files is the one that is loaded, whatever
--- package.cpath finds first: a forgotten ./wane/core.so is not. Anywhere else
--- (a checkout, a vendored copy) package.cpath decides.
---
--- A library that this Lua cannot load is looked at: it says which Lua it was
--- built for, and so does the error.

--- What this interpreter is, in the words of the library's mark.
---@return string
local function this_lua()
  return rawget(_G, "jit") and "LuaJIT" or _VERSION
end

--- The file of module `name` on a search path, or nil. (Lua 5.1 has no
--- package.searchpath.)
---@param name string
---@param path string
---@return string?
local function find(name, path)
  for template in path:gmatch "[^;]+" do
    local file = template:gsub("%?", (name:gsub("%.", "/")))
    local f = io.open(file, "rb")
    if f then
      f:close()
      return file
    end
  end
  return nil
end

--- Which Lua a library was built for, by the mark in it (csrc/lua/core.c).
---@param file string
---@return string?
local function built_for(file)
  local f = io.open(file, "rb")
  if not f then return nil end
  local bytes = f:read "*a" or ""
  f:close()
  return bytes:match "wane%.core for (Lua[ JIT%d.]+)"
end

--- Raises why the library did not load.
---@param file string?    the library, when one was found
---@param message string  what the loader says
local function refuse(file, message)
  local kind, this = file and built_for(file), this_lua()
  if kind and kind ~= this then
    local with = kind == "LuaJIT" and "luajit" or "lua5.4"
    message = ("%s was built for %s, this is %s: run it with %s"):format(file, kind, this, with)
    if this == "LuaJIT" or this == "Lua 5.4" then
      message = ("%s, or build it for this one (make install LUA=%s)"):format(message,
        this == "LuaJIT" and "luajit" or "lua5.4")
    end
  end
  error("wane: " .. message, 0)
end

--- The library that belongs to these Lua files, where both are installed.
---@return string?
local function beside()
  local here = debug.getinfo(1, "S").source:match "^@(.*)$"
  local prefix, version = (here or ""):match "^(.*)/share/lua/(%d%.%d)/wane/native%.lua$"
  if not prefix then return nil end
  return find("wane.core", ("%s/lib/lua/%s/?.so"):format(prefix, version))
end

local function load_core()
  local file = beside()
  if file then
    local open, message = package.loadlib(file, "luaopen_wane_core")
    if not open then refuse(file, message) end
    return open "wane.core"
  end
  local ok, core = pcall(require, "wane.core")
  if not ok then refuse(find("wane.core", package.cpath), tostring(core)) end
  return core
end

if not package.loaded["wane.core"] then package.loaded["wane.core"] = load_core() end

return package.loaded["wane.core"]
