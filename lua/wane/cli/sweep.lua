--- `wane sweep RECIPE... --model MODEL --text TEXT --emit KIND -o FOLDER`: many
--- recipes as jobs for many processes; `wane sweep job FOLDER JOB` does one of
--- them, `wane sweep all FOLDER` all that are left.
local M = { summary = "try many recipes, on many machines" }

function M.describe(p)
  p:argument("what", "RECIPE... (mixes, recipe files), or job FOLDER JOB, or all FOLDER"):args "+"
  p:option("--model", "GGUF file to shrink"):as "model"
  p:option("--text", "text file, UTF-8: what is measured on"):as "file"
  p:option("--calibrate", "text file: measure an importance matrix on it first"):as "file"
  p:option("-c --context", "tokens per chunk"):convert(tonumber):default "512"
  p:option("--chunks", "most chunks of the text (default: all)"):convert(tonumber)
  p:option("--calibrate-chunks", "most chunks of --calibrate (default: all)"):convert(tonumber)
  p:option("--per-job", "chunks of a job"):convert(tonumber):default "50"
  p:option("--shards", "files of each shrunk model, a job each"):convert(tonumber):default "1"
  p:option("--emit", "make, parallel or slurm"):offer { "make", "parallel", "slurm" }
  p:option("--program", "how the jobs call wane"):default "wane"
  p:option("-o --output", "folder of the plan and of all results; it must be there"):as "dir"
  p:option("-t --threads", "threads of a job (default: all cores)"):convert(tonumber)
end

local function job(args, out)
  local plan, message = require("wane.sweep").open(args.what[2])
  if not plan then return nil, message end
  local what, why = plan:run(args.what[3], { threads = args.threads })
  if not what then return nil, why end
  out.note(("%s: %s"):format(args.what[3], what))
  return true
end

local function all(args, out)
  local plan, message = require("wane.sweep").open(args.what[2])
  if not plan then return nil, message end
  for i, j in ipairs(plan.jobs) do
    out.progress { done = (i - 1) / #plan.jobs, text = j.name }
    local what, why = plan:run(j.name, { threads = args.threads })
    if not what then return nil, ("%s: %s"):format(j.name, why) end
  end
  out.progress(nil)
  local text = require("wane.file").read(plan.folder .. (args.json and "/report.json" or "/report.txt"))
  out.print(text)
  return true
end

local function count(plan, kind)
  local n = 0
  for _, j in ipairs(plan.jobs) do n = n + (j.kind == kind and 1 or 0) end
  return n
end

local function plan(args, out)
  for _, name in ipairs { "model", "text", "output", "emit" } do
    if not args[name] then return nil, ("sweep wants --%s"):format(name) end
  end
  local kinds = { make = true, parallel = true, slurm = true }
  if not kinds[args.emit] then return nil, ("--emit: want make, parallel or slurm, found '%s'"):format(args.emit) end
  local p, message = require("wane.sweep").plan { folder = args.output, model = args.model, text = args.text, recipes = args.what,
    calibrate = args.calibrate, context = args.context, chunks = args.chunks, calibrate_chunks = args.calibrate_chunks,
    per_job = args.per_job, shards = args.shards }
  if not p then return nil, message end
  local path, why = p:emit(args.emit, args.program)
  if not path then return nil, why end
  if args.json then
    out.print(require("wane.report").json { start = path, jobs = p.jobs })
  else
    out.print(("%s: %d jobs: %d of importance, %d of shrinking, %d of measuring, 1 report"):format(path, #p.jobs,
      count(p, "part") + count(p, "matrix"), count(p, "model"), count(p, "measure")))
  end
  return true
end

--- Runs the command.
---@param args table of argparse
---@param out wane.Out
---@return true?
---@return string? message
function M.run(args, out)
  local n = #args.what
  if args.what[1] == "job" then
    if n ~= 3 then return nil, "sweep job wants a folder and the name of a job" end
    return job(args, out)
  end
  if args.what[1] == "all" then
    if n ~= 2 then return nil, "sweep all wants a folder" end
    return all(args, out)
  end
  return plan(args, out)
end

return M
