--- `wane tasks MODEL [TASK...]`: what a model can do.
local M = { summary = "run tasks on a model", tables = true }

function M.describe(p)
  p:argument("model", "GGUF file"):as "model"
  p:argument("tasks", "passkey, arithmetic, rare, copy, induction, or files of JSON lines (default: all that need no file)")
    :args "*":offer { "passkey", "arithmetic", "rare", "copy", "induction" }
  p:option("--text", "text file for the task 'rare'"):as "file"
  p:option("-c --context", "longest question in tokens (default: the model's)"):convert(tonumber)
  p:option("-t --threads", "threads (default: all cores)"):convert(tonumber)
end

-- The tasks asked for; all that can run when none is named.
local function wanted(args, tasks)
  if #args.tasks > 0 then return args.tasks end
  local list = {}
  for _, name in ipairs(tasks.names) do
    if name ~= "rare" or args.text then list[#list + 1] = name end
  end
  return list
end

--- Runs the command.
---@param args table of argparse
---@param out wane.Out
---@return true?
---@return string? message
function M.run(args, out)
  local read, tasks, report = require "wane.cli.read", require "wane.eval.tasks", require "wane.report"
  local text, message
  if args.text then
    text, message = read.text(args.text)
    if not text then return nil, message end
  end
  local model
  model, message = require("wane.model").load(args.model, { threads = args.threads })
  if not model then return nil, message end
  local fine, results, why = pcall(tasks.run, model, wanted(args, tasks), { text = text, context = args.context,
    threads = args.threads, progress = read.progress(out) })
  model:close()
  if not fine then return nil, results end
  if not results then return nil, why end
  out.progress(nil)
  if args.json then out.print(report.json(results)) else out.table(tasks.table(results), args) end
  return true
end

return M
