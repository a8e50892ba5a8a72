--- What comes before quantizing: checking options, opening the inputs,
-- planning types, laying out the output. See wane.quantize for the options.
local core = require "wane.core"
local check = require "wane.quantize.check"
local describe = require "wane.recipe.describe"
local importance = require "wane.quantize.importance"
local metadata = require "wane.quantize.metadata"
local options = require "wane.options"
local planner = require "wane.recipe.plan"
local provenance = require "wane.provenance"
local recipes = require "wane.recipe"

local M = {}

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
  state.overrides, msg, code = metadata.edits(o.metadata, g)
  if not state.overrides then return nil, o.from .. ": " .. msg, code end
  state.get = getter(g, state.overrides)
  state.model, msg, code = describe.model({ get = state.get, tensors = list },
    { prune_layers = state.prune, keep_split = o.keep_split })
  if not state.model then return nil, msg, code end
  return true
end

-- Planning -----------------------------------------------------------------------

local function measure(state)
  return function(desc, type_name)
    local values
    if state.imatrix and state.imatrix:width(desc.source_name) then
      values = importance.values(state, desc)
    end
    return core.stream.measure(state.g, desc.index, type_name, values)
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
    dry_run = o.dry_run, in_memory = state.in_memory,
  })
  if not plan then
    if code == "EARG" then options.misuse("quantize: " .. msg) end
    return nil, o.from .. ": " .. msg, code
  end
  if state.imatrix then importance.warn(state, plan) end
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

-- The files of the source, also those without tensors.
local function kept_shards(plan)
  local shards = {}
  for i, d in ipairs(plan.tensors) do shards[i] = d.shard end
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
  for _, e in ipairs(state.by_layer or {}) do add(e) end
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
  layout, msg, code = core.gguf.layout(meta, list,
    { by_shard = shards ~= nil, n_files = o.keep_split and #state.g:info().shards or nil })
  meta:close() -- it holds the source; do not wait for the collector
  return layout, msg, code
end

-- Which files of the layout this run writes.
function M.chosen_files(o, layout)
  if o.shard then return o.shard[1], 1 end
  return 1, layout:files()
end

local function add_sizes(o, state, plan)
  plan.files, plan.file_bytes = {}, 0
  local first, n = M.chosen_files(o, state.layout)
  for k = first, first + n - 1 do
    local f = state.layout:file(k)
    local path, msg, code
    if o.to then
      path, msg, code = state.layout:path(o.to, k)
      if not path then return nil, msg, code end
    end
    plan.files[#plan.files + 1] = { path = path, bytes = f.bytes, n_tensors = f.n_tensors }
    plan.file_bytes = plan.file_bytes + f.bytes
  end
  return true
end

--- Closes whatever is still open.
function M.close_all(state)
  for _, key in ipairs { "stream", "layout", "g", "reuse", "owned_imatrix" } do
    local handle = state[key]
    if handle then handle:close() end
    state[key] = nil
  end
end

-- Opens the inputs and plans.
local function decide(o, state)
  local ok, msg, code = open_source(o, state)
  if not ok then return nil, msg, code end
  if #state.prune > 0 then state.by_layer = metadata.by_layer(state.model, state.prune, state.g, state.get) end
  ok, msg, code = importance.open(o, state)
  if not ok then return nil, msg, code end
  state.plan, msg, code = make_plan(o, state)
  return state.plan, msg, code
end

-- Calls steps(); on failure nothing stays open.
local function guarded(state, steps)
  local fine, ok, msg, code = pcall(steps)
  if fine and ok then return state end
  M.close_all(state)
  if not fine then error(ok, 0) end
  return nil, msg, code
end

--- Opens and plans for a model that stays in memory, where formats defined in
--- Lua are fine. The caller closes the state.
---@param o wane.QuantizeOptions
---@return table? state  g, model, imatrix, plan
---@return string? message
---@return string? code
function M.decide(o)
  o = check.options(o)
  local state = { prune = {}, in_memory = true, options = o }
  return guarded(state, function() return decide(o, state) end)
end

-- Tensors that come finished from another file: same name and shape, and the
-- planned type.
local function take_tensors(o, state)
  if not o.tensors then return true end
  local g, msg, code = core.gguf.open(o.tensors)
  if not g then return nil, msg, code end
  state.reuse, state.reused = g, {}
  for i, d in ipairs(state.plan.tensors) do
    local at = g:find_tensor(d.source_name)
    local t = at and g:tensor(at)
    state.reused[i] = false
    if t and t.type == d.to and table.concat(t.shape, " ") == table.concat(d.shape, " ") then
      state.reused[i] = at
    end
  end
  return true
end

-- A directory that is not there, a file that is in the way: told before the
-- plan, whose functions may take long. (Where several files are written their
-- names are known later.)
local function try_output(o)
  if o.dry_run or not o.to or o.split or o.shard or o.keep_split then return true end
  if core.file.kind(o.from) == nil then return true end -- then that is told
  return core.file.probe(o.to, 0, o.overwrite or false)
end

-- Everything up to writing. On failure nothing stays open.
---@param o wane.QuantizeOptions
---@return table? state  options (checked), g, model, imatrix, plan, layout, reuse, reused
---@return string? message
---@return string? code
function M.prepare(o)
  local prune
  o, prune = check.options(o)
  local state = { prune = prune, options = o }
  local function steps()
    local ok, msg, code = try_output(o)
    if not ok then return nil, msg, code end
    ok, msg, code = decide(o, state)
    if not ok then return nil, msg, code end
    if o.provenance or o.reuse then
      ok, msg, code = provenance.collect(o, state)
      if not ok then return nil, msg, code end
    end
    ok, msg, code = take_tensors(o, state)
    if not ok then return nil, msg, code end
    state.layout, msg, code = make_layout(o, state, state.plan)
    if not state.layout then return nil, msg, code end
    return add_sizes(o, state, state.plan)
  end
  return guarded(state, steps)
end

return M
