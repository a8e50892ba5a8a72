--- The demo model and its held-out text, for specs that judge.
local support = require "spec.support"

local M = { path = "examples/models/demo-f16.gguf", text_path = "examples/text/heldout.txt" }

local text
--- The held-out text.
function M.text()
  text = text or support.slurp(M.text_path)
  return text
end

return M
