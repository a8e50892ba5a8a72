--- Quantizing whole files.
--
--     local quantize = require "wane.quantize"
--     local report = assert(quantize { from = "model-f16.gguf", to = "model.gguf",
--                                      recipe = "Q4_K_M", imatrix = "imatrix.gguf",
--                                      progress = function(p) print(p.fraction) end })
--     print(report.bpw, report.fallback_share, #report.warnings)
--
-- `quantize(opts)` runs to the end; `quantize.plan(opts)` only decides
-- (dry run); `quantize.start(opts)` gives a job to be stepped from an event
-- loop. Same types and bytes as llama.cpp for its mixes. Files of any size
-- take the same little memory. A killed or cancelled run goes on where it
-- stopped when it is repeated.
local core = require "wane.core"
local importance = require "wane.quantize.importance"
local options = require "wane.options"
local prepare = require "wane.quantize.prepare"
local types = require "wane.recipe.types"

local M = {}

---@class wane.QuantizeOptions
---@field from string                  source file (any file of a split)
---@field to string?                   output file; not needed for a plan
---@field recipe string|function|wane.Recipe   mix, function of the tensor, or recipe
---@field imatrix string|wane.Imatrix|table|nil  file, matrix, or values by tensor name
---@field include string[]?            use importance only for tensors whose name contains one of these
---@field exclude string[]?            do not use it for these
---@field threads integer?             default: all CPUs
---@field progress (fun(p: wane.QuantizeProgress): boolean?)?  return false to cancel
---@field fallback string?             rows that do not fit: "llama.cpp" (default), "error", or a type
---@field nonfinite string?            "error" (default) or "zero"
---@field dry_run boolean?             decide and measure sizes, write nothing
---@field overwrite boolean?           replace an existing output
---@field resume boolean?              go on after an interrupted run (default true)
---@field pure boolean?                one type for everything, no mix
---@field output_tensor_type string?
---@field token_embedding_type string?
---@field leave_output_tensor boolean?
---@field tensor_types table[]?        { pattern, type }: regular expressions, as llama-quantize --tensor-type
---@field only_copy boolean?           change no type
---@field prune_layers integer[]?      layers to leave out; the others are renumbered
---@field allow_requantize boolean?    quantized sources may change their type
---@field metadata table[]?            { key=, value= [, type=] } to set, in order; without a type (or with int, float,
---  bool, str) a key that is present keeps its own type, and a value that does not fit it is refused
---@field keep_split boolean?          as many files as the source has
---@field split integer?               write so many files
---@field shard table?                 { i, n }: write only file i of n
---@field reuse string?                an earlier output made with provenance
---@field tensors string?              GGUF file of finished tensors: those of the planned type are copied from it
---@field provenance boolean?          record recipe, hashes and version in the metadata

---@class wane.QuantizeProgress
---@field tensor string        being converted
---@field tensors_done integer
---@field n_tensors integer
---@field bytes_in integer     of the source, done in this run
---@field total_in integer
---@field bytes_out integer
---@field total_out integer
---@field resumed integer      tensors taken over from an interrupted run
---@field verifying boolean    an interrupted run's tensors are being checked
---@field fraction number      0 to 1
---@field seconds number       since the start
---@field rate number          bytes of source a second
---@field seconds_left number? nil: not known yet

--- Decides everything and writes nothing: types, reasons, sizes, warnings.
---
---     print(assert(wane.quantize.plan { from = path, to = "-", recipe = "Q4_K_M" }))
---@param o wane.QuantizeOptions
---@return wane.Plan?
---@return string? message
---@return string? code
function M.plan(o)
  options.argument("quantize.plan", "options", o, "table")
  local dry = {}
  for k, v in pairs(o) do dry[k] = v end
  dry.dry_run = true
  local state, msg, code = prepare.prepare(dry)
  if not state then return nil, msg, code end
  prepare.close_all(state)
  return state.plan
end

-- Running ---------------------------------------------------------------------------

---@class wane.QuantizeJob
local Job = {}
Job.__index = Job

local function identity(o, state)
  local parts = {
    "wane quantize 1", "imatrix " .. (state.imatrix_digest or "none"),
    "nonfinite " .. (o.nonfinite or "error"),
  }
  for i, d in ipairs(state.plan.tensors) do
    parts[#parts + 1] = ("%d %s %s %s"):format(d.index, d.from, tostring(d.importance),
      tostring(state.reused and state.reused[i] or false))
  end
  return table.concat(parts, "\n")
end

local function open_stream(o, state)
  local sources, wants = {}, {}
  for i, d in ipairs(state.plan.tensors) do
    local facts = types.find(d.to)
    sources[i] = d.index
    wants[i] = d.importance and d.from ~= d.to and facts.uses_importance
  end
  local first, n = prepare.chosen_files(o, state.layout)
  local inputs = {}
  if type(o.imatrix) == "string" then inputs[1] = o.imatrix end
  return core.stream.open(state.layout, {
    path = o.to, from = state.g, sources = sources, wants = wants, reuse = state.reuse,
    reused = state.reused, inputs = inputs, first_file = first, n_files = n, threads = o.threads,
    overwrite = o.overwrite or false, resume = o.resume ~= false,
    zero_nonfinite = o.nonfinite == "zero", identity = identity(o, state),
  })
end

--- Starts a job. Repeat `job:step()` until it says "done", then `job:report()`.
---
---     local job = assert(wane.quantize.start { from = path, to = "small.gguf", recipe = "Q8_0", overwrite = true })
---     repeat
---       local state = assert(job:step())
---     until state == "done"
---     print(job:report().bpw)
---@param o wane.QuantizeOptions
---@return wane.QuantizeJob?
---@return string? message
---@return string? code
function M.start(o)
  options.argument("quantize", "options", o, "table")
  if not o.to then options.misuse "quantize: option 'to' is missing: want the path of the output" end
  local state, msg, code = prepare.prepare(o)
  if not state then return nil, msg, code end
  o = state.options
  state.stream, msg, code = open_stream(o, state)
  if not state.stream then
    prepare.close_all(state)
    return nil, msg, code
  end
  return setmetatable({ _state = state, _options = o, _started = core.stream.now(), _left_out = {} }, Job)
end

-- Gives the stream the importance of the tensor it is about to convert.
local function give_importance(job)
  local state = job._state
  local d = state.plan.tensors[state.stream:progress().tensor]
  local values, msg, code
  if d.importance then
    values, msg, code = importance.values(state, d)
    if not values then return nil, msg, code end
  end
  local left_out
  left_out, msg, code = state.stream:importance(values)
  if not left_out then return nil, msg, code end
  if left_out > 0 then
    local n = d.shape[3] or 1
    job._left_out[#job._left_out + 1] = n > 1 and ("%s (%d of %d experts)"):format(d.name, left_out, n) or d.name
  end
  return true
end

-- Failures after which a later run may do better; then the .part stays.
local may_pass = { ENOSPC = true, EIO = true, ENOMEM = true, ECANCEL = true }

-- Ends the stream for good.
local function stop(job, code)
  local stream = job._state.stream
  job._last = stream:progress()
  job._state.stream = nil
  stream:abort(may_pass[code] and job._options.resume ~= false)
end

local function remember_end(job)
  job._seconds = core.stream.now() - job._started
  prepare.close_all(job._state)
end

--- Does a short piece of the work.
---
---     local state, message = job:step()   -- "more", "done", or nil and what is wrong
---@return "more"|"done"|nil
---@return string? message
---@return string? code
function Job:step()
  if self._done then return "done" end
  if self._failed then return nil, self._failed[1], self._failed[2] end
  local state = self._state
  local what, msg, code = state.stream:step()
  if what == "importance" then
    what, msg, code = give_importance(self)
    if what then what = "more" end
  end
  if not what then
    self._failed = { msg, code }
    stop(self, code)
    remember_end(self)
    return nil, msg, code
  end
  if what == "done" then
    self._done = true
    self._last = state.stream:progress()
    remember_end(self)
  end
  return what
end

--- Where the work is.
---
---     print(job:progress().fraction)
---@return wane.QuantizeProgress
---@error none
function Job:progress()
  local p = self._last or self._state.stream:progress()
  local plan = self._state.plan
  local d = plan.tensors[p.tensor] or plan.tensors[#plan.tensors]
  p.tensor = d and d.name or p.tensor
  p.seconds = self._seconds or core.stream.now() - self._started
  p.fraction = p.total_in > 0 and p.bytes_in / p.total_in or (self._done and 1 or 0)
  p.rate = p.seconds > 0 and p.bytes_in / p.seconds or 0
  if p.rate > 0 then p.seconds_left = (p.total_in - p.bytes_in) / p.rate end
  return p
end

--- "wane.QuantizeJob (model.gguf, 42 %)", or "done", "failed: ..."
function Job:__tostring()
  local state = self._done and "done" or self._failed and "failed: " .. tostring(self._failed[1])
    or ("%.0f %%"):format(100 * self:progress().fraction)
  return ("wane.QuantizeJob (%s, %s)"):format(self._options.to, state)
end

--- Stops. What is finished stays in the .part for a later run.
---
---     job:cancel()
---@return true
---@error none; cancelling what has ended is fine
function Job:cancel()
  if not self._done and not self._failed then
    self._failed = { "cancelled", "ECANCEL" }
    stop(self, "ECANCEL")
    remember_end(self)
  end
  return true
end

---@class wane.QuantizeReport
---@field tensors wane.Decision[]
---@field files { path: string, bytes: integer, n_tensors: integer }[]
---@field file_bytes integer
---@field bytes_from integer
---@field bytes integer
---@field bpw number             bits per weight
---@field n_fallback integer     tensors
---@field fallback_share number  of all weights, 0 to 1
---@field warnings string[]
---@field resumed integer        tensors taken over from an interrupted run
---@field reused integer         tensors copied from the file given as `reuse`
---@field seconds number

--- What was done. Only after "done".
---
---     repeat until assert(job:step()) == "done"
---     print(job:report().bytes)
---@return wane.QuantizeReport
---@error before the job is done
function Job:report()
  if not self._done then options.misuse "quantize: job:report: the job is not done" end
  local plan = self._state.plan
  local r = {}
  for k, v in pairs(plan) do r[k] = v end
  r.warnings = {}
  for i, w in ipairs(plan.warnings) do r.warnings[i] = w end
  if #self._left_out > 0 then
    r.warnings[#r.warnings + 1] = ("importance that is all zero was not used: %s"):format(
      table.concat(self._left_out, ", "))
  end
  r.resumed, r.seconds = self._last.resumed, self._seconds
  r.reused = 0
  for i in ipairs(plan.tensors) do
    if self._state.reused and self._state.reused[i] then r.reused = r.reused + 1 end
  end
  return setmetatable(r, getmetatable(plan))
end

-- Steps until done, telling the caller's function after each step.
local function run(o)
  options.argument("quantize", "options", o, "table")
  if o.dry_run then return M.plan(o) end
  local job, msg, code = M.start(o)
  if not job then return nil, msg, code end
  while true do
    local what
    what, msg, code = job:step()
    if not what then return nil, msg, code end
    if o.progress then
      local ok, wish = pcall(o.progress, job:progress())
      if not ok then
        job:cancel()
        error(wish, 0)
      end
      if wish == false and what ~= "done" then
        job:cancel()
        return nil, o.to .. ": cancelled", "ECANCEL"
      end
    end
    if what == "done" then return job:report() end
  end
end

-- A checkpoint's directory is a file for as long as it takes.
return setmetatable(M, { __call = function(_, o) return require("wane.convert.view").around(o, "from", run) end })
