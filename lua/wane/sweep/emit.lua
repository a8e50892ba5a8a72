--- Sweeps as files for make, GNU parallel and Slurm.
---
--- Each runs from the directory where the plan was made. The program is
--- `wane`, or what the variable WANE says.
local M = {}

local file = require "wane.file"

-- A word of a shell.
local function quoted(s)
  if s:find "^[%w_./%-]+$" then return s end
  return "'" .. s:gsub("'", "'\\''") .. "'"
end

local function command_of(plan, job, program) return ("%s sweep job %s %s"):format(program, quoted(plan.folder), quoted(job.name)) end

-- Jobs of each stage.
local function stages(plan)
  local out = {}
  for _, job in ipairs(plan.jobs) do
    out[job.stage] = out[job.stage] or {}
    table.insert(out[job.stage], job)
  end
  return out
end

local function put(path, lines) return file.write(path, table.concat(lines, "\n") .. "\n", { overwrite = true }) end

-- A name in a makefile: what make reads otherwise cannot be written there.
local function target(path)
  if path:find "[%s:#$%%;=\\|*?~]" then
    return nil, ("sweep: '%s': make cannot have such a path: want letters, digits, _ . - /"):format(path), "EARG"
  end
  return path
end

--- FOLDER/Makefile; every output is a target, so that make does what is
--- missing, as many at a time as -j says.
function M.make(plan, command)
  local path = plan.folder .. "/Makefile"
  local folder, message, code = target(plan.folder)
  if not folder then return nil, message, code end
  local out = { "# make -j8 -f " .. path .. ", from the directory where the plan was made",
    "WANE ?= " .. command:gsub("%$", "$$"), "all: " .. folder .. "/report.json", ".PHONY: all", ".DELETE_ON_ERROR:" }
  for _, job in ipairs(plan.jobs) do
    local needs = {}
    for i, name in ipairs(job.needs) do needs[i] = plan.by_name[name].output end
    out[#out + 1] = ("\n%s: %s\n\t%s"):format(job.output, table.concat(needs, " "), command_of(plan, job, "$(WANE)"))
  end
  local ok
  ok, message, code = put(path, out)
  if not ok then return nil, message, code end
  return path
end

-- One list of commands for each stage: their paths.
local function lists(plan)
  local out = {}
  for s, jobs in ipairs(stages(plan)) do
    local lines = {}
    for i, job in ipairs(jobs) do lines[i] = command_of(plan, job, '"${WANE:-wane}"') end
    out[s] = { path = ("%s/stage-%d.txt"):format(plan.folder, s), n = #jobs, kind = jobs[1].kind }
    local ok, message, code = put(out[s].path, lines)
    if not ok then return nil, message, code end
  end
  return out
end

--- FOLDER/run.sh; options of parallel (--jobs, --sshlogin) are its arguments.
function M.parallel(plan, command)
  local all, message, code = lists(plan)
  if not all then return nil, message, code end
  local path = plan.folder .. "/run.sh"
  local out = { "#!/bin/sh", "# sh " .. path .. " [options of parallel, as --jobs 8 --sshlogin a,b --workdir .]",
    ": \"${WANE:=" .. command .. "}\"", "export WANE" }
  for s, list in ipairs(all) do
    out[#out + 1] = ("parallel --halt soon,fail=1 --joblog %s --env WANE --env WANE_ISA \"$@\" < %s || exit 1"):format(
      quoted(("%s/stage-%d.log"):format(plan.folder, s)), quoted(list.path))
  end
  local ok
  ok, message, code = put(path, out)
  if not ok then return nil, message, code end
  return path
end

--- FOLDER/submit.sh: an array of jobs for each stage, each after the one before;
--- options of sbatch (--cpus-per-task, --mem, --time) are its arguments.
function M.slurm(plan, command)
  local all, message, code = lists(plan)
  if not all then return nil, message, code end
  local path = plan.folder .. "/submit.sh"
  local out = { "#!/bin/sh", "# sh " .. path .. " [options of sbatch, as --cpus-per-task=16 --mem=64G --time=4:00:00]",
    ": \"${WANE:=" .. command .. "}\"", "export WANE", "after=" }
  for s, list in ipairs(all) do
    local script = ("%s/stage-%d.sbatch"):format(plan.folder, s)
    local ok
    ok, message, code = put(script, { "#!/bin/sh", ("#SBATCH --job-name=wane-%s"):format(list.kind),
      ("#SBATCH --array=1-%d"):format(list.n), ("#SBATCH --output=%s/stage-%d-%%a.log"):format(plan.folder, s),
      ("eval \"$(sed -n \"${SLURM_ARRAY_TASK_ID}p\" %s)\""):format(quoted(list.path)) })
    if not ok then return nil, message, code end
    out[#out + 1] = ("id=$(sbatch --parsable $after --kill-on-invalid-dep=yes \"$@\" %s) || exit 1"):format(quoted(script))
    out[#out + 1] = "id=${id%%;*}\nafter=--dependency=afterok:$id"
  end
  out[#out + 1] = "echo \"the report comes with job $id\""
  local ok
  ok, message, code = put(path, out)
  if not ok then return nil, message, code end
  return path
end

return M
