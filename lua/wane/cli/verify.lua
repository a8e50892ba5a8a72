--- `wane verify FILE SOURCE`: makes a file again from its source and compares.
local M = { summary = "check that a file made with --provenance is what its source gives" }

function M.describe(p)
  p:argument("file", "GGUF file made with --provenance"):as "model"
  p:argument("source", "the file it was made from"):as "model"
  p:option("-i --imatrix", "the importance matrix that was used"):as "file"
  p:option("-t --threads", "threads (default: all cores)"):convert(tonumber)
end

--- Runs the command.
---@param args table of argparse
---@param out wane.Out
---@return true?
---@return string? message
function M.run(args, out)
  local r, msg = require("wane.provenance").verify(args.file, {
    from = args.source, imatrix = args.imatrix, threads = args.threads,
    progress = function(p) out.progress { done = p.fraction, text = p.tensor } end,
  })
  out.progress(nil)
  if not r then return nil, msg end
  if args.json then
    out.print(require("wane.report").json { tensors = r.tensors, recipe = r.recipe })
  else
    out.print(("%s: all %d tensors are what %s gives by recipe %s"):format(args.file, r.tensors, args.source,
      require("wane.report").printable(r.recipe)))
  end
  return true
end

return M
