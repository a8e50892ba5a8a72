--- `wane explain NAME [MODEL]`: what a type is, what a label means.
local M = { summary = "explain a type (q4_K) or a label (Q4_K_M)", tables = true }

function M.describe(p)
  p:argument("name", "type or label"):as "mix"
  p:argument("model", "GGUF file: which of its tensors get what"):args "?":as "model"
  p:option("-i --imatrix", "importance matrix (some mixes choose otherwise with one)"):as "file"
end

--- Runs the command.
---@param args table of argparse
---@param out wane.Out
---@return true?
---@return string? message
function M.run(args, out)
  local e, message = require "wane.explain"(args.name, { model = args.model, imatrix = args.imatrix })
  if not e then return nil, message end
  if args.json then out.print(e:json()) else out.table(e, args) end
  return true
end

return M
