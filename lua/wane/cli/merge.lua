--- `wane merge MODEL OUT`: one file of a split one, with adapters merged in.
local read = require "wane.cli.read"

local M = { summary = "join the files of a split model, merge adapters into one",
  notes = "Quantized weights lose a little when an adapter is merged into them: merge into f16 and quantize then." }

function M.describe(p)
  p:argument("from", "GGUF file, or any file of a split one"):as "model"
  p:argument("to", "file to write"):as "file"
  p:option("--lora", "adapter, FILE or FILE:SCALE (may be given several times)"):count "*":as "file"
  p:flag("--overwrite", "replace an existing output")
end

--- Runs the command.
---@param args table of argparse
---@param out wane.Out
---@return true?
---@return string? message
function M.run(args, out)
  local report = require "wane.report"
  local ok, why = read.can_write(args.to, args.overwrite)
  if not ok then return nil, why end
  if #args.lora > 0 then
    local list = {}
    for i, text in ipairs(args.lora) do list[i] = require("wane.cli.generate").adapter(text) end
    ok, why = require("wane.lora").merge { from = args.from, to = args.to, lora = list, overwrite = args.overwrite or false }
    if not ok then return nil, why end
  else
    local f
    f, why = require("wane.gguf").open(args.from)
    if not f then return nil, why end
    ok, why = f:write(args.to, { overwrite = args.overwrite or false, progress = read.copying(out) })
    f:close()
    if not ok then return nil, why end
  end
  out.progress(nil)
  if args.json then
    out.print(report.json { to = args.to, adapters = #args.lora })
  else
    out.print(("%s: written%s"):format(args.to, #args.lora > 0 and (", %d merged"):format(#args.lora) or ""))
  end
  return true
end

return M
