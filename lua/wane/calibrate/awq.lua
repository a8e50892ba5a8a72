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
---     assert(wane.calibrate.awq { from = "model-f16.gguf", to = "model.gguf",
---                                 recipe = "Q4_K_M", text = text })
local core = require "wane.core"
local pass = require "wane.calibrate.pass"

local M = {}

local options = { steps = true, rows = true, clip = true }

-- The program as a list of { op, kind, inputs = { ids }, weights = { names } };
-- ids count from 0.
local function operations(model)
  local list = {}
  for _, line in ipairs(model.prog:lines()) do
    local id, code, rest = line:match "^%%(%d+)%[%d+%] = (%S+)%s*(.*)$"
    if id then
      local op = { id = tonumber(id), code = code:match "^[^.]+", kind = code:match "%.(.+)$", inputs = {}, weights = {} }
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

-- Linears that read a value, when nothing else does and all may be scaled.
local function linears_of(uses, types)
  local names = {}
  for _, op in ipairs(uses or {}) do
    if op.code ~= "linear" or not types[op.weights[1]] then return nil end
    names[#names + 1] = op.weights[1]
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
    local down = op and linears_of(uses[id], types)
    if down and op.code == "norm" and op.weights[1] and n_uses[op.weights[1]] == 1 then
      groups[#groups + 1] = { down = down, norm = op.weights }
    elseif down and #down == 1 and op.code == "glu" and op.kind ~= "swiglu_oai" then
      local up = ops[op.inputs[2]]
      if up and up.code == "linear" and types[up.weights[1]] and #uses[up.id] == 1 and #up.weights == 1 then
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
  local q, msg, code = core.quant.encode(type_name, scaled, core.calib.scaled(core.calib.scaled(h:diagonal(), s, true), s, true))
  if not q then return nil, msg, code end
  return core.calib.error(w, core.calib.scaled(q:decode(), s, true), h)
end

--- Finds and applies scales. Nothing is written; the result has
---   source(name)  weights to encode instead of the file's, or nil
---   stand_ins     the same changes for running the model unquantized
---   report        per group: alpha, error before and after
---@param model wane.Model
---@param o { types: table<string, string>, chunks: integer[][], threads: integer?, options: table }
---@return table|nil
---@return string? message
---@return string? code
function M.scale(model, o)
  local opts = pass.check_options(o.options, options, "calibrate.awq")
  local g, steps, sample = model.gguf, opts.steps or 10, opts.rows or 64
  local changed, report = {}, {}
  local function weights(name)
    if not changed[name] then
      local w, msg, code = core.quant.read(g, g:find_tensor(name))
      if not w then error({ msg = msg, code = code }, 0) end
      changed[name] = w
    end
    return changed[name]
  end
  local groups, names = groups_of(model, o.types), {}
  for _, group in ipairs(groups) do names[#names + 1] = group.down[1] end
  if #groups == 0 then return { stand_ins = {}, report = report, source = function() end } end
  -- sums of |x| and correlations of all groups in one pass
  local seen, index = {}, nil
  local ok, message, code = pass.run({ model }, names, o.chunks, { sizes = true, rows = true, threads = o.threads },
    function(taps, c, is_end)
      if not index then
        index = {}
        for i, item in ipairs(taps[1]:items()) do
          item.h = assert(core.calib.hessian(item.width))
          index[i] = item
          for _, name in ipairs(item.weights) do seen[name] = item end
        end
      end
      for i, item in ipairs(index) do
        item.h:add(taps[1]:rows(i))
        if c == #o.chunks and is_end then
          item.sizes, item.count = core.imatrix.floats(taps[1]:sizes(i)), taps[1]:counts(i)[1]
        end
      end
    end)
  if not ok then return nil, message, code end
  local function search(group)
    local item = seen[group.down[1]]
    local best
    for k = 0, steps do
      local s, sum = scales(item.sizes, item.count, k / steps), 0
      for _, name in ipairs(group.down) do
        local w = weights(name)
        local rows = #w / item.width
        local part = w:rows(1, math.min(rows, sample))
        local e, why, kind = error_with(o.types[name], part, s, item.h)
        if not e then error({ msg = why, code = kind }, 0) end
        sum = sum + e
      end
      if not best then best = { first = sum, error = sum, alpha = 0, s = s } end
      if sum < best.error then best.error, best.alpha, best.s = sum, k / steps, s end
    end
    return best
  end
  local function clip(name, item, s)
    local w, best, at = weights(name), nil, 1
    local part = w:rows(1, math.min(#w / item.width, sample))
    for _, ratio in ipairs { 1, 0.95, 0.9, 0.85, 0.8 } do
      local cut = core.calib.clipped(part, ratio)
      local q = assert(core.quant.encode(o.types[name], core.calib.scaled(cut, s),
        core.calib.scaled(core.calib.scaled(item.h:diagonal(), s, true), s, true)))
      local e = core.calib.error(part, core.calib.scaled(q:decode(), s, true), item.h)
      if not best or e < best then best, at = e, ratio end
    end
    return at
  end
  local fine, problem = pcall(function()
    for _, group in ipairs(groups) do
      local item, best = seen[group.down[1]], search(group)
      local entry = { tensors = group.down, alpha = best.alpha, before = best.first, after = best.error, clip = {} }
      report[#report + 1] = entry
      for _, name in ipairs(group.down) do
        local ratio = opts.clip and clip(name, item, best.s) or 1
        entry.clip[name] = ratio
        local w = ratio < 1 and core.calib.clipped(weights(name), ratio) or weights(name)
        changed[name] = core.calib.scaled(w, best.s)
      end
      for _, name in ipairs(group.norm or {}) do
        changed[name] = core.calib.scaled(weights(name), best.s, true)
        group.is_norm = true
      end
      if group.up then changed[group.up] = core.calib.scaled_rows(weights(group.up), best.s, true) end
    end
  end)
  if not fine then
    if type(problem) == "table" then return nil, problem.msg, problem.code end
    error(problem, 0)
  end
  local stand_ins, order = {}, {}
  for name in pairs(changed) do order[#order + 1] = name end
  table.sort(order)
  for _, name in ipairs(order) do
    stand_ins[#stand_ins + 1] = { name, "f32", changed[name]:bytes(), kept = o.types[name] == nil }
  end
  return { stand_ins = stand_ins, report = report, source = function(name) return changed[name] end }
end

--- Scaling with the plain encoders; takes the options of wane.calibrate.gptq.
return setmetatable(M, {
  __call = function(_, o)
    local p = {}
    for k, v in pairs(o) do p[k] = v end
    p.awq = p.awq or true
    p.feedback, p.sweeps, p.aim, p.sequential = false, 0, 0, false
    return require "wane.calibrate.gptq"(p)
  end,
})
