--- Shared by all specs: where data lies, skipping loudly, and the leak check.
local M = {}

local busted = require "busted"
local core = require "wane.core"

--- The folder of conformance data beside the checkout, with a final slash.
M.shared = (os.getenv "WANE_SHARED" or "../shared") .. "/"

--- True when `path` can be opened for reading.
function M.exists(path)
  local f = io.open(path, "rb")
  if f then f:close() end
  return f ~= nil
end

--- The whole content of a file.
function M.slurp(path)
  local f = assert(io.open(path, "rb"))
  local s = f:read "*a"
  f:close()
  return s
end

--- Writes a file for a test.
function M.spit(path, bytes)
  local f = assert(io.open(path, "wb"))
  f:write(bytes)
  f:close()
end

--- A fresh path under build/tmp for files a test writes.
local n_tmp = 0
function M.tmp(suffix)
  n_tmp = n_tmp + 1
  local dir = os.getenv "WANE_TMP" or "build/tmp"
  os.execute("mkdir -p " .. dir)
  return ("%s/%d-%s-%s"):format(dir, n_tmp, tostring({}):match "0x(%x+)", suffix or "t")
end

--- Programs that bring a LuaJIT of their own (editors, games) do the same
--- whoever drives them: where both Luas run, only LuaJIT's does, since two at once
--- would share a screen. Is it the other one's turn?
function M.elsewhere()
  return not jit and (os.getenv "WANE_LUAS" or ""):find("luajit", 1, true) ~= nil
end

--- Ends the running spec as skipped, with a reason that the report prints.
--- (The pending that throws lives in the environment of the running test.)
local running
busted.subscribe({ "test", "start" }, function(element)
  running = element
  return nil, true
end)
function M.skip(reason)
  running.env.pending("SKIPPED: " .. reason)
end

--- Path of a conformance file; skips the running spec when it is absent.
function M.conformance(name)
  local path = M.shared .. "conformance/" .. name
  if not M.exists(path) then M.skip(path .. " is absent") end
  return path
end

--- Overwrites stack slots that dead values may still sit in: LuaJIT's collector
--- keeps whatever a slot above the top happens to hold.
local function scrub(depth)
  local a, b, c, d, e, f, g, h = nil, nil, nil, nil, nil, nil, nil, nil
  if depth > 0 then scrub(depth - 1) end
  return a, b, c, d, e, f, g, h
end

--- Collects all garbage; finalizers may free more, so more than once.
function M.collect()
  scrub(40)
  if jit then jit.flush() end -- traces hold on to values too
  for _ = 1, 4 do collectgarbage() end
  core.job.settle(10) -- threads of dropped jobs end by themselves
end

--- Number of open file descriptors that are files or sockets (the pipes of
--- io.popen come and go), or 0 where /proc is absent.
function M.fds()
  M.collect()
  local p = io.popen "ls -l /proc/$PPID/fd 2>/dev/null | grep -c -v -e pipe: -e total"
  local n = tonumber(p:read "*a") or 0
  p:close()
  return n
end

--- Call at the top of a describe: after each test nothing of ours may live.
--- `setup` and `teardown` (optional) run inside of the check.
function M.check_leaks(setup, teardown)
  local before
  busted.before_each(function()
    M.collect()
    before = core.memory().blocks
    if setup then setup() end
  end)
  busted.after_each(function()
    if teardown then teardown() end
    M.collect()
    local m = core.memory()
    assert(m.blocks <= before, ("%d blocks leaked (%d bytes)"):format(m.blocks - before, m.bytes))
  end)
end

return M
