--- Activation-aware scaling (AWQ): channels that carry much get larger weights
--- and so smaller relative errors.
---
--- Where a norm feeds linears, its channel c is divided by s[c] and column c of
--- each of those matrices multiplied by it; where a gated product feeds one
--- linear, the rows of its `up` matrix are divided instead. The model computes
--- the same, in stock tensors. s = (mean |x|)^alpha; alpha is searched for each
--- group against the output error of the tensors' real block formats, then
--- clip ratios of each matrix.
---
--- One layer's correlations are held at a time (4 bytes for each pair of
--- channels of its inputs), 4 bytes for each token and channel of the text, and
--- the scaled weights as float32 until they are encoded.
---
---     assert(wane.calibrate.awq { from = "model-f16.gguf", to = "model.gguf",
---                                 recipe = "Q4_K_M", text = text })
local core = require "wane.core"
local options = require "wane.options"
local pass = require "wane.calibrate.pass"

local M = {}

local check_options = options.checker("calibrate.awq", { steps = options.integer(1, 1000), rows = options.integer(1), clip = "boolean" },
  { steps = 10, rows = 64 })

-- The program as a list of { op, kind, inputs = { ids }, weights = { names } };
-- ids count from 0.
local function operations(model)
  local list = {}
  for _, line in ipairs(model.prog:lines()) do
    local id, code, rest = line:match "^%%(%d+)%[%d+%] = (%S+)%s*(.*)$"
    if id then
      local op = { id = tonumber(id), inputs = {}, weights = {} }
      op.code, op.kind = code:match "^[^.]+", code:match "%.(.+)$"
      local args = rest:match "^(.-)%s*%(" or rest
      for word in args:gmatch "%S+" do
        local input = word:match "^%%(%d+)$"
        if input then op.inputs[#op.inputs + 1] = tonumber(input) else op.weights[#op.weights + 1] = word end
      end
      list[op.id] = op
    end
  end
  return list
end

local function consumers(ops)
  local by = {}
  for id = 0, #ops do
    for _, input in ipairs(ops[id] and ops[id].inputs or {}) do
      by[input] = by[input] or {}
      table.insert(by[input], ops[id])
    end
  end
  return by
end

-- Matrices that multiply a value and nothing else (a tied embedding does more),
-- when only they read it and all may be scaled.
local function linears_of(ops, uses, types)
  local names, seen = {}, {}
  for _, op in ipairs(uses or {}) do
    local name = op.weights[1]
    if op.code ~= "linear" or not types[name] then return nil end
    for id = 0, #ops do
      for _, w in ipairs(ops[id] and ops[id].weights or {}) do
        if w == name and ops[id].inputs[1] ~= op.inputs[1] then return nil end
      end
    end
    if not seen[name] then names[#names + 1], seen[name] = name, true end
  end
  return #names > 0 and names or nil
end

-- Groups { down = { matrices whose columns are multiplied }, norm = { vectors
-- to divide } or up = matrix whose rows are divided }.
local function groups_of(model, types)
  local ops, groups = operations(model), {}
  local uses = consumers(ops)
  local n_uses = {}
  for id = 0, #ops do
    for _, w in ipairs(ops[id] and ops[id].weights or {}) do n_uses[w] = (n_uses[w] or 0) + 1 end
  end
  for id = 0, #ops do
    local op = ops[id]
    local down = op and linears_of(ops, uses[id], types)
    if down and op.code == "norm" and op.weights[1] and n_uses[op.weights[1]] == 1 then
      groups[#groups + 1] = { down = down, norm = op.weights }
    elseif down and #down == 1 and op.code == "glu" and op.kind ~= "swiglu_oai" then
      local up = ops[op.inputs[2]]
      if up and up.code == "linear" and types[up.weights[1]] and #uses[up.id] == 1 and #up.weights == 1
        and n_uses[up.weights[1]] == 1 then
        groups[#groups + 1] = { down = down, up = up.weights[1] }
      end
    end
  end
  return groups
end

-- s = (mean |x|)^alpha with geometric mean 1; dead channels keep 1.
local function scales(sizes, count, alpha)
  local s, logs, n = {}, 0, 0
  for i, v in ipairs(sizes) do
    local m = v / count
    s[i] = m > 0 and alpha * math.log(m) or 0
    if m > 0 then logs, n = logs + s[i], n + 1 end
  end
  local mean = n > 0 and logs / n or 0
  for i, v in ipairs(sizes) do
    -- far outliers would push the others into the block's smallest steps
    s[i] = v > 0 and math.exp(math.max(-6, math.min(6, s[i] - mean))) or 1
  end
  return core.quant.buffer(1, #s, s)
end

local function error_with(type_name, w, s, h)
  local scaled = core.calib.scaled(w, s)
  local importance = core.calib.scaled(core.calib.scaled(h:diagonal(), s, true), s, true)
  local q, msg, code = core.quant.encode(type_name, scaled, importance)
  if not q then return nil, msg, code end
  local decoded = q:decode()
  local back = core.calib.scaled(decoded, s, true)
  local e, why, kind = core.calib.error(w, back, h)
  for _, b in ipairs { scaled, importance, q, decoded, back } do b:close() end
  return e, why, kind
end

-- A world failure on its way out of M.scale.
local function check(value, message, code)
  if value == nil or value == false then error({ msg = message, code = code }, 0) end
  return value
end

-- The current values of a tensor.
local function weights(st, name)
  if not st.changed[name] then
    local g = st.model.gguf
    st.changed[name] = check(core.quant.read(g, g:find_tensor(name)))
  end
  return st.changed[name]
end

local function sample_of(st, name, item)
  local w = weights(st, name)
  return w:rows(1, math.min(#w / item.width, st.sample))
end

-- Sums of |x| and correlations of the inputs of a layer's groups.
local function add_chunk(st, tap, is_last)
  if not st.items then
    st.items = tap:items()
    for _, item in ipairs(st.items) do
      item.h = check(core.calib.hessian(item.width))
      for _, name in ipairs(item.weights) do st.seen[name] = item end
    end
  end
  for i, item in ipairs(st.items) do
    local rows = tap:rows(i)
    item.h:add(rows)
    rows:close()
    if is_last then item.sizes, item.count = core.imatrix.floats(tap:sizes(i)), tap:counts(i)[1] end
  end
end

local function search(st, group, item)
  local best
  for k = 0, st.steps do
    local s, sum = scales(item.sizes, item.count, k / st.steps), 0
    for _, name in ipairs(group.down) do
      sum = sum + check(error_with(st.types[name], sample_of(st, name, item), s, item.h))
    end
    best = best or { first = sum, error = sum, alpha = 0, s = s }
    if sum < best.error then best.error, best.alpha, best.s = sum, k / st.steps, s end
  end
  return best
end

-- The clip ratio of least output error.
local function clip(st, name, item, s)
  local part, best, at = sample_of(st, name, item), math.huge, 1
  local importance = core.calib.scaled(core.calib.scaled(item.h:diagonal(), s, true), s, true)
  for _, ratio in ipairs { 1, 0.95, 0.9, 0.85, 0.8 } do
    local cut = core.calib.scaled(core.calib.clipped(part, ratio), s)
    local q = check(core.quant.encode(st.types[name], cut, importance))
    local e = check(core.calib.error(part, core.calib.scaled(q:decode(), s, true), item.h))
    if e < best then best, at = e, ratio end
  end
  return at
end

local function apply(st, group)
  local item = st.seen[group.down[1]]
  local best = search(st, group, item)
  local entry = { tensors = group.down, alpha = best.alpha, clip = {} }
  entry.before, entry.after = best.first, best.error
  st.report[#st.report + 1] = entry
  for _, name in ipairs(group.down) do
    local ratio = st.clip and clip(st, name, item, best.s) or 1
    entry.clip[name] = ratio
    local w = weights(st, name)
    if ratio < 1 then w = core.calib.clipped(w, ratio) end
    st.changed[name] = core.calib.scaled(w, best.s)
  end
  for _, name in ipairs(group.norm or {}) do
    st.changed[name] = core.calib.scaled(weights(st, name), best.s, true)
  end
  if group.up then st.changed[group.up] = core.calib.scaled_rows(weights(st, group.up), best.s, true) end
end

local function tell(st, share, name)
  if st.progress and st.progress { done = share, total = 1, tensor = name, step = "awq" } == false then
    return false, "cancelled", "ECANCEL"
  end
end

local function layer_of(name) return name:match "^blk%.%d+%." or name end

-- Groups of the same layer together, in the order of the program.
local function by_layer(groups)
  local layers = {}
  for _, group in ipairs(groups) do
    local key = layer_of(group.down[1])
    if not layers[#layers] or layers[#layers].key ~= key then layers[#layers + 1] = { key = key } end
    table.insert(layers[#layers], group)
  end
  return layers
end

local function close_list(list)
  for _, x in ipairs(list or {}) do x:close() end
end

local function release(st)
  for _, item in ipairs(st.items or {}) do item.h:close() end
  st.items, st.seen = nil, {}
end

-- What meets the matrices of one layer; the text goes on from where the layer
-- before left it. share(part): the progress when part of the text is done.
local function watch_layer(st, layer, next_layer, share)
  local names, edges = {}, { enter = st.edge, from = st.at }
  for i, group in ipairs(layer) do names[i] = group.down[1] end
  if next_layer then edges.leave, edges.to = next_layer.key, {} end
  check(pass.run({ st.model }, names, st.chunks, { sizes = true, rows = true, threads = st.threads, edges = { edges } },
    function(taps, c, is_end)
      add_chunk(st, taps[1], c == #st.chunks and is_end)
      if is_end then return tell(st, share(c / #st.chunks), names[1]) end
    end))
  close_list(st.at)
  st.edge, st.at = edges.leave, edges.to
end

local function scale_all(st, groups)
  local layers = by_layer(groups)
  for k, layer in ipairs(layers) do
    watch_layer(st, layer, layers[k + 1], function(part) return (k - 1 + part / 2) / #layers end)
    for _, group in ipairs(layer) do apply(st, group) end
    release(st)
  end
end

-- Names and bytes of everything that changed, in sorted order.
local function stand_ins_of(st)
  local list, order = {}, {}
  for name in pairs(st.changed) do order[#order + 1] = name end
  table.sort(order)
  for i, name in ipairs(order) do
    list[i] = { name, "f32", st.changed[name]:bytes(), kept = st.types[name] == nil }
  end
  return list
end

-- Finds and applies scales. Nothing is written; the result has
--   weights    buffers to encode instead of the file's, by name
--   stand_ins  the same changes for running the model unquantized
--   report     per group: alpha, error before and after, clip ratios
-- @param model wane.Model
-- @param o { types: table<string, string>, chunks: integer[][], threads: integer?, options: table,
--  progress: (fun(p: table): boolean?)? }
-- @return table|nil
-- @return string? message
-- @return string? code
function M.scale(model, o)
  local opts = check_options(o.options)
  local st = {
    model = model, types = o.types, changed = {}, report = {}, steps = opts.steps, seen = {},
    sample = opts.rows, clip = opts.clip, progress = o.progress, chunks = o.chunks, threads = o.threads,
  }
  local groups = groups_of(model, o.types)
  if #groups == 0 then return { stand_ins = {}, report = {}, weights = {} } end
  local fine, problem = pcall(scale_all, st, groups)
  release(st)
  close_list(st.at)
  if not fine then
    if type(problem) == "table" then return nil, problem.msg, problem.code end
    error(problem, 0)
  end
  return { stand_ins = stand_ins_of(st), report = st.report, weights = st.changed }
end

--- Scaling with the plain encoders; takes the options of wane.calibrate.gptq.
---
---     assert(wane.calibrate.awq { from = path, to = "small.gguf", recipe = "Q4_K_M", text = text, context = 64, chunks = 1,
---       overwrite = true })
---@param o wane.GptqOptions
---@error none; what the world does wrong is nil, message, code
return setmetatable(M, {
  __call = function(_, o)
    options.argument("calibrate.awq", "options", o, "table")
    local p = {}
    for k, v in pairs(o) do p[k] = v end
    p.awq = p.awq or true
    p.feedback, p.sweeps, p.aim, p.sequential = false, 0, 0, false
    return require "wane.calibrate.gptq"(p)
  end,
})
