--- A real editor for specs: a headless Neovim drives a second one over its RPC,
--- as a user interface would: keys go in, the screen and the buffers are looked
--- at. It is the first nvim on PATH; the model is the demo model.
local support = require "spec.support"

local M = {}

-- What each driver script begins with: the editor under test (its runtimepath has
-- this checkout, nothing is set up), and words to talk to it.
local DRIVER = [[
local root, out_path = %q, %q
local function child_start(...)
  local args = { "nvim", "--clean", "--headless", "--embed", "-n", "--cmd", "set rtp^=" .. root, ... }
  return vim.fn.jobstart(args, { rpc = true })
end
local chan = child_start()
local function call(name, ...) return vim.rpcrequest(chan, name, ...) end
local function lua(code, ...) return call("nvim_exec_lua", code, { ... }) end
local function keys(k) call("nvim_input", k) end
local function cmd(c) return call("nvim_exec", c, true) end
local function lines() return call("nvim_buf_get_lines", 0, 0, -1, false) end
local function until_true(what, f)
  for _ = 1, 3000 do
    local v = f()
    if v and v ~= vim.NIL then return v end
    vim.wait(10)
  end
  error("timeout: " .. what .. "\n" .. cmd "messages")
end
local function eq(want, got, what)
  if not vim.deep_equal(want, got) then
    error((what or "") .. " want " .. vim.inspect(want) .. " got " .. vim.inspect(got), 2)
  end
end
local function ghost() return lua "return package.loaded['wane.nvim.complete'] and require('wane.nvim.complete').text()" end
local function running() return lua "return require('wane.nvim.engine').facts().n_running" end
local function ghosted()
  return until_true("a finished suggestion", function() return running() == 0 and ghost() end)
end
-- What the suggestion shown took: how much of its prompt was there already.
local function stats()
  return lua [=[
    for i = 1, 20 do
      local name, v = debug.getupvalue(require('wane.nvim.complete').text, i)
      if name == 'shown' then return v.stats end
    end]=]
end
local function with_model(more)
  lua("vim.g.wane = vim.tbl_extend('force', { model = ... }, " .. (more or "{}") .. ")", root .. "/examples/models/demo-f16.gguf")
end
local ok, message = xpcall(function()
%s
end, debug.traceback)
pcall(vim.rpcnotify, chan, "nvim_command", "qa!")
vim.fn.jobwait({ chan }, 5000)
local f = io.open(out_path, "w")
f:write(ok and "ok" or "error: " .. tostring(message))
f:close()
vim.cmd "qa!"
]]

--- Whether a shell command ends well.
---@param command string
function M.executed(command)
  local status = os.execute(command)
  return status == true or status == 0
end

local here

--- The checkout's folder.
function M.cwd()
  if not here then
    local p = io.popen "pwd"
    here = p:read "*l"
    p:close()
  end
  return here
end

--- Skips the running spec where there is nothing to drive.
---@param build? string   the folder of the library: "build", where the plugin finds it
function M.needs_editor(build)
  if not M.executed "command -v nvim > /dev/null 2>&1" then support.skip "Neovim is not installed" end
  if os.getenv "WANE_LANE" then support.skip "not under a sanitizer" end
  build = build or "build"
  if not support.exists(build .. "/luajit/wane/core.so") then support.skip("no LuaJIT build in " .. build .. " (make nvim)") end
end

--- Runs a script in a driver; fails with what it says.
---@param script string   Lua of the driving editor, with DRIVER's words
function M.drive(script)
  M.needs_editor()
  local file, out = support.tmp "driver.lua", support.tmp "driver.out"
  support.spit(file, DRIVER:format(M.cwd(), out, script))
  M.executed(("timeout 100 nvim --headless -u NONE -i NONE -n -c 'luafile %s' > /dev/null 2>&1"):format(file))
  local said = support.exists(out) and support.slurp(out) or "the driver ended without a word"
  os.remove(file)
  os.remove(out)
  assert(said == "ok", said)
end

return M
