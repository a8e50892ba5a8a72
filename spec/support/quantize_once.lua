--- Child process of the kill specs: quantizes one file, and may die on the way.
-- usage: quantize_once.lua FROM TO RECIPE [CALL N before|after]
local from, to, recipe, call, n, when = ...
local core = require "wane.core"
if call then core.gguf.fail_os(call, tonumber(n), when == "after" and "kill_after" or "kill") end
local report, msg = require "wane.quantize" { from = from, to = to, recipe = recipe, overwrite = true }
if not report then
  io.stderr:write(msg, "\n")
  os.exit(1)
end
print(report.resumed)
