--- Qwen 3.5, 3.6: qwen3next's layers, value heads in turns, dense.
local next_ = require "wane.convert.families.qwen3next"

local M = { arch = "qwen35", tiled = true, names = next_.names, rename = next_.rename, layers = next_.layers, make = next_.make }

function M.params(p, c)
  next_.params(p, c)
  if not p:rope().mrope_section then p:set(".rope.dimension_sections", "array", { 11, 11, 10, 0 }, "i32") end
end

return M
