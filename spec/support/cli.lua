--- Command lines for specs.
local M = {}

local cli = require "wane.cli"

--- Runs a command line; returns status, standard output, standard error.
function M.run(...)
  local printed, noted = {}, {}
  local out = {
    write = function(s) printed[#printed + 1] = s end,
    note = function(...) noted[#noted + 1] = table.concat({ ... }, " ") end,
    progress = function() end,
  }
  function out.print(...)
    local parts = {}
    for i = 1, select("#", ...) do parts[i] = tostring((select(i, ...))) end
    out.write(table.concat(parts, "\t") .. "\n")
  end
  local status = cli.main({ ... }, out)
  return status, table.concat(printed), table.concat(noted, "\n")
end

return M
