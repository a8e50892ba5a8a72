--- Qwen 3.
local M = { arch = "qwen3" }

function M.rename(name, class) return class == "Qwen3Model" and "model." .. name or name end

function M.params(p, c) c:pooling(p) end

return M
