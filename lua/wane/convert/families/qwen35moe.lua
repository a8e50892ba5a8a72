--- Qwen 3.5 with experts.
local qwen35 = require "wane.convert.families.qwen35"

local M = {}
for k, v in pairs(qwen35) do M[k] = v end
M.arch = "qwen35moe"

return M
