--- Sweeps over many recipes as jobs for many processes or machines.
---
---     local sweep = require "wane.sweep"
---     local plan = assert(sweep.plan { folder = "sweep", model = "model-f16.gguf", text = "heldout.txt",
---                                      recipes = { "Q4_K_M", "Q3_K_M" }, calibrate = "calib.txt", shards = 4 })
---     assert(plan:emit "make")                    -- then: make -j8 -f sweep/Makefile
---     assert(plan:run "imatrix-1")                -- what one of its lines does
---
--- What it guarantees: the files and numbers of the jobs are, byte for byte, those
--- of one process that does all of them, whatever machine does which and when:
--- a model's shards are the files of `wane quantize --split`, the matrix is that of
--- `wane imatrix --save-every PER_JOB`, the report has the numbers of `wane compare`.
--- A job whose output is there does nothing, one that is interrupted leaves none;
--- a job refuses to run on another text, another model, or other kernels.
---
--- How it works: a plan is a list of jobs with an output each; the outputs of some
--- are the inputs of others. It lies in the folder as plan.json, all jobs read it.
--- Sums are added in the order of the text, never in that of arrival. Paths are
--- taken from where the plan was made: every machine sees the same files there.
local M = {}

local core = require "wane.core"
local file = require "wane.file"
local json = require "wane.json"
local options = require "wane.options"

---@class wane.SweepJob
---@field name string
---@field kind string      "part", "matrix", "model", "measure", "report"
---@field stage integer    jobs of a stage want only outputs of earlier ones
---@field output string    its file
---@field needs string[]   names of jobs

---@class wane.Sweep
---@field folder string
---@field jobs wane.SweepJob[]   in an order in which one process can do them
local Sweep = {}
Sweep.__index = Sweep

local check = options.checker("sweep.plan", {
  folder = options.required "path", model = options.required "path", text = options.required "path",
  recipes = options.required(options.list("string", 1)), calibrate = "path", context = options.integer(4, 16777216),
  chunks = options.integer(1), calibrate_chunks = options.integer(1), per_job = options.integer(1), shards = options.integer(1, 999),
}, { context = 512, per_job = 50, shards = 1 })

local function fail(code, ...) return nil, string.format(...), code end

-- A recipe's name in names of files: "recipes/careful.lua" -> "careful".
local function short(recipe) return (recipe:match "[^/\\]*$":gsub("%.lua$", "")) end

-- Names of recipes, each once.
local function names_of(recipes)
  local seen, out = {}, {}
  for i, recipe in ipairs(recipes) do
    local name = short(recipe)
    if not name:find "^[%w][%w_.%-]*$" then
      return fail("EARG", "sweep: recipe '%s': want a name of letters, digits, _ . -", recipe)
    end
    if seen[name] then return fail("EARG", "sweep: two recipes have the name '%s'", name) end
    seen[name], out[i] = true, name
  end
  return out
end

local function digest(text) return core.stream.digest_hex(core.stream.digest(nil, text)) end

-- How many chunks of a text there are, and what tells it from others.
local function measure_text(vocab, path, context, most)
  local text, message, code = file.read(path)
  if not text then return nil, message, code end
  local ids
  ids, message, code = vocab:encode(text, { special = true })
  if not ids then return nil, message, code end
  local n = math.min(math.floor(#ids / context), most or math.huge)
  if n < 1 then return fail("EDATA", "%s: %d tokens are fewer than one chunk of %d", path, #ids, context) end
  return { path = path, chunks = n, digest = digest(text) }
end

-- What tells a model file from others, without reading all of it.
local function measure_model(path)
  local g, message, code = core.gguf.open(path)
  if not g then return nil, message, code end
  local parts = {}
  for i = 1, g:info().n_tensors do
    local t = g:tensor(i)
    parts[i] = ("%s %s %d"):format(t.name, t.type, t.bytes)
  end
  g:close()
  return { path = path, digest = digest(table.concat(parts, "\n")) }
end

-- { first, n } of each job's chunks.
local function ranges(chunks, per_job)
  local out = {}
  for first = 1, chunks, per_job do out[#out + 1] = { first, math.min(per_job, chunks - first + 1) } end
  return out
end

-- The jobs of a plan.
local function jobs_of(p)
  local jobs, folder = {}, p.folder
  local function add(job)
    job.output = folder .. "/" .. job.output
    jobs[#jobs + 1] = job
    return job.name
  end
  local matrix, stage = {}, 1
  if p.calibrate then
    local parts = {}
    for k, r in ipairs(ranges(p.calibrate.chunks, p.per_job)) do
      parts[k] = add { name = "imatrix-" .. k, kind = "part", stage = 1, output = ("imatrix-%d.gguf"):format(k), needs = {},
        first = r[1], n = r[2] }
    end
    matrix[1] = add { name = "imatrix", kind = "matrix", stage = 2, output = "imatrix.gguf", needs = parts }
    stage = 3
  end
  local measured = {}
  for r, name in ipairs(p.names) do
    local shards = {}
    for i = 1, p.shards do
      local of = p.shards > 1 and ("-%05d-of-%05d"):format(i, p.shards) or ""
      shards[i] = add { name = ("%s-%d"):format(name, i), kind = "model", stage = stage, output = name .. of .. ".gguf",
        needs = matrix, recipe = p.recipes[r], shard = i, to = ("%s/%s.gguf"):format(folder, name) }
    end
    for k, range in ipairs(ranges(p.text.chunks, p.per_job)) do
      measured[#measured + 1] = add { name = ("measure-%s-%d"):format(name, k), kind = "measure", stage = stage + 1,
        output = ("measure-%s-%d.json"):format(name, k), needs = shards, first = range[1], n = range[2], of = r }
    end
  end
  add { name = "report", kind = "report", stage = stage + 2, output = "report.json", needs = measured }
  return jobs
end

local function new(p)
  local self = setmetatable({ folder = p.folder, p = p, jobs = jobs_of(p), by_name = {} }, Sweep)
  for _, job in ipairs(self.jobs) do self.by_name[job.name] = job end
  return self
end

--- Plans a sweep and writes FOLDER/plan.json.
---
---     local plan = assert(require("wane.sweep").plan { folder = "out", model = path, text = "text.txt", recipes = { "Q4_K_M", "Q8_0" } })
---@param o table   folder (must exist), model (unquantized GGUF file), text (path: what candidates are measured on), recipes (mixes
---  and recipe files), calibrate (path of a text: an importance matrix is measured on it first), context 512 (tokens
---  of a chunk), chunks and calibrate_chunks (most of each text; all), per_job 50 (chunks of a job), shards 1 (files of a model)
---@return wane.Sweep|nil
---@return string? message
---@return string? code
function M.plan(o)
  o = check(o)
  local names, vocab, model, text, calibrate, message, code
  names, message, code = names_of(o.recipes)
  if not names then return nil, message, code end
  for _, recipe in ipairs(o.recipes) do
    local ok, why, kind = M.recipe(recipe)
    if not ok then return nil, why, kind end
  end
  model, message, code = measure_model(o.model)
  if not model then return nil, message, code end
  vocab, message, code = require("wane.vocab").open(o.model)
  if not vocab then return nil, message, code end
  text, message, code = measure_text(vocab, o.text, o.context, o.chunks)
  if text and o.calibrate then
    calibrate, message, code = measure_text(vocab, o.calibrate, o.context, o.calibrate_chunks)
  end
  vocab:close()
  if not text or (o.calibrate and not calibrate) then return nil, message, code end
  local self = new { folder = o.folder, model = model, text = text, calibrate = calibrate, recipes = o.recipes, names = names,
    context = o.context, per_job = o.per_job, shards = o.shards, isa = core.cpu().isa, version = require("wane").version }
  local ok
  ok, message, code = file.write(o.folder .. "/plan.json", json.encode(self.p) .. "\n", { overwrite = true })
  if not ok then return nil, message, code end
  return self
end

-- What a plan.json must have: the jobs trust it from there on.
local function is_plan(p)
  local function text(t) return type(t) == "table" and type(t.path) == "string" and type(t.digest) == "string" end
  local function count(n) return type(n) == "number" and n >= 1 and n % 1 == 0 end
  if type(p) ~= "table" or not (text(p.model) and text(p.text) and count(p.text.chunks) and count(p.context) and count(p.per_job)
    and count(p.shards) and type(p.recipes) == "table" and type(p.names) == "table" and #p.recipes == #p.names and #p.names > 0
    and type(p.isa) == "string") then
    return false
  end
  if p.calibrate ~= nil and not (text(p.calibrate) and count(p.calibrate.chunks)) then return false end
  for i, name in ipairs(p.names) do
    if type(name) ~= "string" or type(p.recipes[i]) ~= "string" or short(p.recipes[i]) ~= name then return false end
  end
  return p.text.chunks <= 1e7 and p.shards <= 999
end

--- The plan of a folder.
---
---     local plan = assert(require("wane.sweep").open "out")
---@param folder string
---@return wane.Sweep|nil
---@return string? message
---@return string? code
function M.open(folder)
  options.argument("sweep.open", "folder", folder, "path")
  local path = folder .. "/plan.json"
  local text, message, code = file.read(path)
  if not text then return nil, message, code end
  local p = json.decode(text)
  if not is_plan(p) then return fail("EFORMAT", "%s: this is no plan of wane sweep", path) end
  p.folder = folder
  return new(p)
end

--- A recipe of a name or a file.
---
---     local recipe = assert(require("wane.sweep").recipe "Q4_K_M")
---@param recipe string   a name, or a file of one (NAME.lua)
---@return any|nil
---@return string? message
---@return string? code
function M.recipe(recipe)
  if recipe:find "%.lua$" then return require("wane.recipe").load(recipe) end
  local ok, r = pcall(require("wane.recipe"), recipe)
  if not ok then return fail("EARG", "%s", (tostring(r):gsub("^[^\n]-:%d+: ", ""))) end
  return r
end

--- Does one job, unless its output is there.
---
---     assert(plan:run(plan.jobs[1].name))
---@param name string
---@param opts? { threads?: integer }
---@return string|nil what   "done", or "there" when there was nothing to do
---@return string? message
---@return string? code
function Sweep:run(name, opts)
  local job = self.by_name[options.argument("sweep:run", "name", name, "string")]
  if not job then return fail("EARG", "%s: there is no job '%s'", self.folder, name) end
  if file.kind(job.output) then return "there" end
  if core.cpu().isa ~= self.p.isa then
    return fail("EUNSUP", "the plan is for the kernels %s, this machine runs %s: set WANE_ISA=%s where the jobs run, or make the "
      .. "plan with WANE_ISA set to what all machines have", self.p.isa, core.cpu().isa, self.p.isa)
  end
  for _, other in ipairs(job.needs) do
    if not file.kind(self.by_name[other].output) then
      return fail("ENOENT", "job %s wants %s, the output of %s", name, self.by_name[other].output, other)
    end
  end
  local ok, message, code = require("wane.sweep.work")[job.kind](self, job, opts and opts.threads)
  if not ok then return nil, message, code end
  return "done"
end

--- Writes what runs the jobs: "make" (FOLDER/Makefile), "parallel"
--- (FOLDER/run.sh and a list of commands for each stage) or "slurm" (FOLDER/submit.sh and a job array for each stage).
---
---     print(assert(plan:emit "make"))
---@param kind string
---@param command? string   how jobs call the program: "wane"
---@return string|nil path   what to start
---@return string? message
---@return string? code
function Sweep:emit(kind, command)
  options.argument("sweep:emit", "kind", kind, options.one_of { "make", "parallel", "slurm" })
  return require("wane.sweep.emit")[kind](self, command or "wane")
end

return M
