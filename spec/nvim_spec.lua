--- Neovim's LuaJIT drives the same library: a headless editor loads the demo
--- model and generates text with a background job on its event loop.
local support = require "spec.support"

local build = os.getenv "WANE_BUILD" or "build"

local script = [[
package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = "./%s/luajit/?.so;" .. package.cpath
local out = assert(io.open("%s", "w"))
local ok, message = pcall(function()
  local wane = require "wane"
  local model = assert(wane.load("examples/models/demo-f16.gguf", { context = 128 }))
  local direct = {}
  for text in model:generate("Once upon a time", { max_tokens = 16, temperature = 0 }) do
    direct[#direct + 1] = text
  end
  -- the same in the background, polled by the editor's event loop
  local job = assert(model:start("Once upon a time", { max_tokens = 16, temperature = 0 }))
  local parts, done = {}, false
  local poll = vim.loop.new_poll(job:fd())
  poll:start("r", function()
    local text, running = job:poll()
    parts[#parts + 1] = text or ""
    if not running and (text or "") == "" then
      done = true
      poll:stop()
    end
  end)
  vim.wait(20000, function() return done end, 5)
  poll:close()
  job:close()
  model:close()
  out:write(vim.version().major, "|", table.concat(direct), "|", table.concat(parts))
end)
if not ok then out:write("error: ", tostring(message)) end
out:close()
vim.cmd "qa!"
]]

describe("Neovim", function()
  it("generates text, also in the background", function()
    if os.execute "command -v nvim > /dev/null 2>&1" ~= 0 and os.execute "command -v nvim > /dev/null 2>&1" ~= true then
      support.skip "Neovim is not installed"
    end
    if os.getenv "WANE_LANE" then support.skip "not under a sanitizer" end
    if not support.exists(build .. "/luajit/wane/core.so") then support.skip "no LuaJIT build" end
    local lua, out = support.tmp "nvim.lua", support.tmp "nvim.out"
    support.spit(lua, script:format(build, out))
    os.execute(("timeout 60 nvim --headless -u NONE -c 'luafile %s' > /dev/null 2>&1"):format(lua))
    local said = support.slurp(out)
    os.remove(lua)
    os.remove(out)
    local major, direct, background = said:match "^(%d+)|(.*)|(.*)$"
    assert(major, said)
    assert.is_true(#direct > 20)
    assert.equals(direct, background)
  end)
end)
