--- `wane split MODEL OUT`: a model as several files.
local read = require "wane.cli.read"

local M = { summary = "write a model as several files",
  notes = "OUT is what the names begin with: OUT-00001-of-00003.gguf and so on. `wane merge` makes one file of them again." }

function M.describe(p)
  p:argument("from", "GGUF file, or any file of a split one"):as "model"
  p:argument("to", "beginning of the names"):as "file"
  p:option("--size", "most bytes of tensors in a file: 2G, 500M")
  p:option("--tensors", "most tensors in a file"):convert(tonumber)
  p:flag("--overwrite", "replace existing outputs")
end

-- "2G" -> bytes; nil when it is no size.
local function bytes_of(text)
  local n, unit = text:match "^([%d.]+)%s*([kKmMgGtT]?)i?B?$"
  local power = { [""] = 0, k = 1, m = 2, g = 3, t = 4 }
  return tonumber(n) and math.floor(tonumber(n) * 1024 ^ power[unit:lower()])
end

--- Runs the command.
---@param args table of argparse
---@param out wane.Out
---@return true?
---@return string? message
function M.run(args, out)
  if (args.size == nil) == (args.tensors == nil) then return nil, "split: want one of --size and --tensors" end
  local bytes = args.size and bytes_of(args.size)
  if args.size and (not bytes or bytes < 1) then return nil, ("--size: want a size such as 2G, found '%s'"):format(args.size) end
  local f, why = require("wane.gguf").open(args.from)
  if not f then return nil, why end
  local fine, paths
  fine, paths, why = pcall(f.write, f, args.to, { split = { bytes = bytes, tensors = args.tensors }, overwrite = args.overwrite or false,
    progress = read.copying(out) })
  f:close()
  out.progress(nil)
  if not fine then return nil, paths end
  if not paths then return nil, why end
  if args.json then out.print(require("wane.report").json { files = paths }) else out.print(table.concat(paths, "\n")) end
  return true
end

return M
