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
local describe = require "wane.recipe.describe"
local imatrix = require "wane.imatrix"
local planner = require "wane.recipe.plan"
local provenance = require "wane.provenance"
local recipes = require "wane.recipe"
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
---@field metadata table[]?            { key=, type=, value= } to set, in order
---@field keep_split boolean?          as many files as the source has
---@field split integer?               write so many files
---@field shard table?                 { i, n }: write only file i of n
---@field reuse string?                an earlier output made with provenance
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

local known = {
  from = "string", to = "string", recipe = "any", imatrix = "any", include = "table", exclude = "table",
  threads = "number", progress = "function", fallback = "string", nonfinite = "string",
  dry_run = "boolean", overwrite = "boolean", resume = "boolean", pure = "boolean",
  output_tensor_type = "string", token_embedding_type = "string", leave_output_tensor = "boolean",
  tensor_types = "table", only_copy = "boolean", prune_layers = "table", allow_requantize = "boolean",
  metadata = "table", keep_split = "boolean", split = "number", shard = "table", reuse = "string",
  provenance = "boolean",
}

local function check_options(o)
  if type(o) ~= "table" then error("wane: quantize wants a table of options", 3) end
  for key, value in pairs(o) do
    local want = known[key]
    if not want then error(("wane: quantize: unknown option '%s'"):format(tostring(key)), 3) end
    if want ~= "any" and type(value) ~= want then
      error(("wane: quantize: option '%s' is a %s, want a %s"):format(key, type(value), want), 3)
    end
  end
  if not o.from then error("wane: quantize: option 'from' is missing", 3) end
  if o.recipe == nil and not o.only_copy then error("wane: quantize: option 'recipe' is missing", 3) end
  local one_of = (o.keep_split and 1 or 0) + (o.split and 1 or 0) + (o.shard and 1 or 0)
  if one_of > 1 then error("wane: quantize: keep_split, split and shard exclude each other", 3) end
  if o.include and o.exclude then error("wane: quantize: include and exclude exclude each other", 3) end
  if o.nonfinite and o.nonfinite ~= "error" and o.nonfinite ~= "zero" then
    error("wane: quantize: option 'nonfinite' wants 'error' or 'zero'", 3)
  end
end

local function is_count(v) return type(v) == "number" and v >= 1 and v == math.floor(v) end

-- Lists of layers and shard numbers, checked; copies, so that the caller's
-- tables may change.
local function check_numbers(o)
  local prune, seen = {}, {}
  for _, layer in ipairs(o.prune_layers or {}) do
    if layer ~= 0 and not is_count(layer) then error("wane: quantize: prune_layers wants layer numbers from 0", 3) end
    if not seen[layer] then prune[#prune + 1], seen[layer] = layer, true end
  end
  table.sort(prune)
  if o.split and not is_count(o.split) then error("wane: quantize: split wants a number of files", 3) end
  if o.shard then
    local i, n = o.shard[1], o.shard[2]
    if not is_count(i) or not is_count(n) or i > n then
      error("wane: quantize: shard wants { i, n } with i from 1 to n", 3)
    end
  end
  return prune
end

-- Sources ------------------------------------------------------------------------

local override_types = { integer = "u32", boolean = "bool", string = "string", number = "f32" }

-- { key=, type=, value= } entries with types filled in.
local function check_metadata(list)
  local out = {}
  for i, e in ipairs(list or {}) do
    if type(e) ~= "table" or type(e.key) ~= "string" or e.value == nil then
      error(("wane: quantize: metadata[%d] wants { key =, value = [, type =] }"):format(i), 3)
    end
    local kind = type(e.value)
    if kind == "number" and e.value == math.floor(e.value) and e.value >= 0 then kind = "integer" end
    out[i] = { key = e.key, value = e.value, type = e.type or override_types[kind], elem = e.elem }
    if not out[i].type then error(("wane: quantize: metadata[%d]: say the type"):format(i), 3) end
  end
  return out
end

-- The metadata as the recipe sees it: the source's, with overrides.
local function getter(g, overrides)
  local set = {}
  for _, e in ipairs(overrides) do set[e.key] = e.value end
  return function(key)
    if set[key] ~= nil then return set[key] end
    local i = g:find_kv(key)
    if not i then return nil end
    local _, _, value = g:kv(i)
    return value
  end
end

local function open_source(o, state)
  local g, msg, code = core.gguf.open(o.from)
  if not g then return nil, msg, code end
  local list = {}
  for i = 1, g:info().n_tensors do list[i] = g:tensor(i) end
  state.g = g
  state.get = getter(g, state.overrides)
  state.model, msg, code = describe.model({ get = state.get, tensors = list },
    { prune_layers = state.prune, keep_split = o.keep_split })
  if not state.model then return nil, msg, code end
  return true
end

local function open_imatrix(o, state)
  local im = o.imatrix
  if im == nil then return true end
  local msg, code
  if type(im) == "string" then
    im, msg, code = imatrix.open(im)
    if not im then return nil, msg, code end
    state.owned_imatrix = im
  elseif type(im) == "table" and not imatrix.is(im) then
    im = imatrix.new(im)
  elseif not imatrix.is(im) then
    error("wane: quantize: option 'imatrix' wants a file, a matrix or values by tensor name", 4)
  end
  if o.include or o.exclude then im = im:filter(o.include, o.exclude) end
  local digest, unused = im:check()
  if not digest then return nil, unused, "EFORMAT" end
  state.imatrix, state.imatrix_digest, state.unused_experts = im, digest, unused
  return true
end

-- Planning -----------------------------------------------------------------------

local function measure(state)
  return function(desc, type_name)
    local values
    if state.imatrix and state.imatrix:width(desc.source_name) then
      values = state.imatrix:values(desc.source_name)
    end
    return core.stream.measure(state.g, desc.index, type_name, values)
  end
end

local function warn_experts(state, plan)
  local n, first = 0, nil
  for _, d in ipairs(plan.tensors) do
    local count = d.importance and state.unused_experts[d.source_name]
    if count then
      n, first = n + 1, first or d.source_name
    end
  end
  if n > 0 then
    plan.warnings[#plan.warnings + 1] = ("%d tensors have experts that the imatrix never saw (%s%s): "
      .. "their importance is 1 everywhere"):format(n, first, n > 1 and ", ..." or "")
  end
end

local function make_plan(o, state)
  local recipe = o.recipe == nil and recipes.new "F16" or recipes.new(o.recipe)
  local plan, msg, code = planner.make(state.model, recipe, {
    imatrix = state.imatrix, measure = measure(state),
    stats = state.imatrix and function(t)
      return state.imatrix:width(t.source_name) and state.imatrix:stats(t.source_name) or nil
    end,
    pure = o.pure, only_copy = o.only_copy, leave_output_tensor = o.leave_output_tensor,
    output_tensor_type = o.output_tensor_type, token_embedding_type = o.token_embedding_type,
    tensor_types = o.tensor_types, fallback = o.fallback, allow_requantize = o.allow_requantize,
    dry_run = o.dry_run,
  })
  if not plan then
    if code == "EARG" then error("wane: quantize: " .. msg, 0) end
    return nil, o.from .. ": " .. msg, code
  end
  if state.imatrix then warn_experts(state, plan) end
  return plan
end

-- Shard numbers -------------------------------------------------------------------

-- Splits tensors into n runs of about equal bytes, each of at least one tensor.
local function spread(plan, n)
  local count = #plan.tensors
  if n > count then return nil, ("%d files for %d tensors"):format(n, count), "EFORMAT" end
  local before, shard, shards = 0, 1, {}
  for i, d in ipairs(plan.tensors) do
    local middle = before + d.bytes / 2
    local want = math.floor(middle * n / plan.bytes) + 1
    if want > shard and i > 1 then shard = shard + 1 end
    -- the rest must still give each file a tensor
    if count - i < n - shard then shard = n - (count - i) end
    shards[i] = math.min(shard, n)
    before = before + d.bytes
  end
  return shards
end

local function kept_shards(plan)
  local shards, last, number = {}, nil, 0
  for i, d in ipairs(plan.tensors) do
    if d.shard ~= last then last, number = d.shard, number + 1 end
    shards[i] = number
  end
  return shards
end

-- Metadata and layout ----------------------------------------------------------------

-- File type numbers that llama.cpp guesses for files that do not say theirs.
local guesses = {
  f32 = 0, f16 = 1, bf16 = 32, q4_0 = 2, q4_1 = 3, q5_0 = 8, q5_1 = 9, q8_0 = 7, q2_K = 10, q3_K = 12,
  q4_K = 15, q5_K = 17, q6_K = 18, tq1_0 = 36, tq2_0 = 37, iq2_xxs = 19, iq2_xs = 20, iq2_s = 28,
  iq3_xxs = 23, iq1_s = 24, iq1_m = 31, iq4_nl = 25, iq4_xs = 30, iq3_s = 26, q1_0 = 40, q2_0 = 41,
}

-- For a copy: what the source says, or the commonest type + 1024 ("guessed").
local function copied_file_type(state, plan)
  local own = tonumber(state.get "general.file_type")
  if own then return own end
  local n, best = {}, "f32"
  for _, d in ipairs(plan.tensors) do
    n[d.from] = (n[d.from] or 0) + 1
    if n[d.from] > (n[best] or 0) then best = d.from end
  end
  return (guesses[best] or 0) + 1024
end

-- The entries that change, in llama.cpp's order.
local function changes(o, state, plan)
  local list = { { key = "general.quantization_version", type = "u32", value = 2 } }
  local function add(e) list[#list + 1] = e end
  local file_type = plan.file_type
  if o.only_copy then file_type = copied_file_type(state, plan) end
  add { key = "general.file_type", type = file_type and "u32", value = file_type }
  for _, e in ipairs(state.overrides) do add(e) end
  if state.model.pruned then
    add { key = state.model.arch .. ".block_count", type = "u32", value = state.model.pruned }
  end
  for _, e in ipairs(o.provenance and state.provenance or {}) do add(e) end
  return list
end

-- Changed keys are removed and appended, so that they move to the end.
local function make_meta(o, state, plan)
  local meta, msg, code = core.gguf.meta()
  if not meta then return nil, msg, code end
  local ok
  ok, msg, code = meta:copy(state.g, 1)
  if not ok then return nil, msg, code end
  for _, e in ipairs(changes(o, state, plan)) do
    meta:remove(e.key)
    if e.type then
      ok, msg, code = meta:set(e.key, e.type, e.value, e.elem)
      if not ok then return nil, msg, code end
    end
  end
  return meta
end

local function make_layout(o, state, plan)
  local meta, msg, code = make_meta(o, state, plan)
  if not meta then return nil, msg, code end
  local shards
  if o.keep_split then
    shards = kept_shards(plan)
  elseif o.split or o.shard then
    shards, msg, code = spread(plan, o.split or o.shard[2])
    if not shards then return nil, msg, code end
  end
  local list = {}
  for i, d in ipairs(plan.tensors) do
    list[i] = { name = d.name, type = d.to, shape = d.shape, shard = shards and shards[i] or 1 }
  end
  local layout
  layout, msg, code = core.gguf.layout(meta, list, { by_shard = shards ~= nil })
  meta:close() -- it holds the source; do not wait for the collector
  return layout, msg, code
end

-- Which files of the layout this run writes.
local function chosen_files(o, layout)
  if o.shard then return o.shard[1], 1 end
  return 1, layout:files()
end

local function add_sizes(o, state, plan)
  plan.files, plan.file_bytes = {}, 0
  local first, n = chosen_files(o, state.layout)
  for k = first, first + n - 1 do
    local f = state.layout:file(k)
    local path, msg, code = o.to and state.layout:path(o.to, k)
    if o.to and not path then return nil, msg, code end
    plan.files[#plan.files + 1] = { path = path or nil, bytes = f.bytes, n_tensors = f.n_tensors }
    plan.file_bytes = plan.file_bytes + f.bytes
  end
  return true
end

local function close_all(state)
  for _, key in ipairs { "stream", "layout", "g", "reuse", "owned_imatrix" } do
    local handle = state[key]
    if handle then handle:close() end
    state[key] = nil
  end
end

-- Everything up to writing. On failure nothing stays open.
local function prepare(o)
  check_options(o)
  local state = { prune = check_numbers(o), overrides = check_metadata(o.metadata) }
  local function steps()
    local ok, msg, code = open_source(o, state)
    if not ok then return nil, msg, code end
    ok, msg, code = open_imatrix(o, state)
    if not ok then return nil, msg, code end
    state.plan, msg, code = make_plan(o, state)
    if not state.plan then return nil, msg, code end
    if (o.provenance or o.reuse) and not o.dry_run then
      ok, msg, code = provenance.collect(o, state)
      if not ok then return nil, msg, code end
    end
    state.layout, msg, code = make_layout(o, state, state.plan)
    if not state.layout then return nil, msg, code end
    return add_sizes(o, state, state.plan)
  end
  local fine, ok, msg, code = pcall(steps)
  if not fine then
    close_all(state)
    error(ok, 0)
  end
  if not ok then
    close_all(state)
    return nil, msg, code
  end
  return state
end

--- Decides everything and writes nothing: types, reasons, sizes, warnings.
---@param o wane.QuantizeOptions
---@return wane.Plan?
---@return string? message
---@return string? code
function M.plan(o)
  local dry = {}
  for k, v in pairs(type(o) == "table" and o or {}) do dry[k] = v end
  dry.dry_run = true
  local state, msg, code = prepare(dry)
  if not state then return nil, msg, code end
  close_all(state)
  return state.plan
end

-- Running ---------------------------------------------------------------------------

---@class wane.QuantizeJob
local Job = {}
Job.__index = Job

local function identity(o, state)
  local parts = {
    "wane quantize 1", "imatrix " .. (state.imatrix_digest or "none"), "nonfinite " .. (o.nonfinite or "error"),
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
  local first, n = chosen_files(o, state.layout)
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
---@param o wane.QuantizeOptions
---@return wane.QuantizeJob?
---@return string? message
---@return string? code
function M.start(o)
  local state, msg, code = prepare(o)
  if not state then return nil, msg, code end
  if not o.to then
    close_all(state)
    error("wane: quantize: option 'to' is missing", 2)
  end
  state.stream, msg, code = open_stream(o, state)
  if not state.stream then
    close_all(state)
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
    values, msg, code = state.imatrix:values(d.source_name)
    if not values then return nil, msg, code end
  end
  local left_out
  left_out, msg, code = state.stream:importance(values)
  if not left_out then return nil, msg, code end
  if left_out > 0 then job._left_out[#job._left_out + 1] = d.name end
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
  close_all(job._state)
end

--- Does a short piece of the work.
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
---@return wane.QuantizeProgress
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

--- Stops. What is finished stays in the .part for a later run.
---@return true
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
---@return wane.QuantizeReport
function Job:report()
  if not self._done then error("wane: quantize: the job is not done", 2) end
  local plan = self._state.plan
  local r = {}
  for k, v in pairs(plan) do r[k] = v end
  r.warnings = {}
  for i, w in ipairs(plan.warnings) do r.warnings[i] = w end
  if #self._left_out > 0 then
    r.warnings[#r.warnings + 1] = ("importance that is all zero was not used: %s%s"):format(
      self._left_out[1], #self._left_out > 1 and (" and %d more"):format(#self._left_out - 1) or "")
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

return setmetatable(M, { __call = function(_, o) return run(o) end })
