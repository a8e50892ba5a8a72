--- Qwen 2, 2.5.
local M = { arch = "qwen2" }

function M.rename(name, class) return class == "Qwen2Model" and "model." .. name or name end

function M.params(p, c) c:pooling(p) end

return M
