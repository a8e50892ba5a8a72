--- Finds and loads the C half of wane for this editor.
---
--- It is the one beside these files (`make nvim` puts it into build/luajit), else
--- the first on package.cpath under an absolute path: "./?.so" is on that path
--- too, and would run code out of whatever project is open.
local uv = require("wane.nvim.compat").uv

local M = {}

local here = debug.getinfo(1, "S").source:match "^@(.*)$" or ""

--- The folder of the plugin.
---@return string
function M.root() return (vim.fn.fnamemodify(here, ":p"):gsub("/lua/wane/nvim/native%.lua$", "")) end

local function readable(file) return uv.fs_stat(file) and file or nil end

--- The library's file, or nil.
---@return string?
function M.file()
  local own = readable(M.root() .. "/build/luajit/wane/core.so")
  if own then return own end
  local prefix = M.root():match "^(.*)/share/lua/5%.1$"
  if prefix and readable(prefix .. "/lib/lua/5.1/wane/core.so") then return prefix .. "/lib/lua/5.1/wane/core.so" end
  for entry in package.cpath:gmatch "[^;]+" do
    local file = entry:gsub("%?", "wane/core")
    if file:match "^/" and readable(file) then return file end
  end
  return nil
end

--- Loads it, once. Says what to do where there is none, or one for another Lua.
---@return boolean|nil ok
---@return string? message
function M.load()
  if package.loaded["wane.core"] then return true end
  if not jit then return nil, "wane: this Neovim is built without LuaJIT" end
  local file = M.file()
  if not file then return nil, ("wane: the native part is missing: run 'make nvim' in %s"):format(M.root()) end
  local open, message = package.loadlib(file, "luaopen_wane_core")
  if not open then return nil, ("wane: %s: %s: run 'make nvim' in %s"):format(file, message, M.root()) end
  package.loaded["wane.core"] = open "wane.core"
  return true
end

return M
