--- Encoding tensors against what their layers really see, layer by layer.
---
--- The inputs of a layer are collected from the model as quantized so far
--- (sequential), so that later layers make up for errors of earlier ones;
--- `aim` also moves the target towards the outputs that the unquantized model
--- had. Each tensor ends as the finished bytes of an ordinary block format.
local core = require "wane.core"
local pass = require "wane.calibrate.pass"

local M = {}

---@class wane.EncodeOptions
---@field types table<string, string>       type of each tensor, by name
---@field importance (fun(name: string): userdata?)?   for tensors without correlations
---@field chunks integer[][]
---@field damp number       share of the mean diagonal added to it
---@field sweeps integer    most rounds of coordinate descent
---@field feedback boolean  error feedback first
---@field aim number        0: the weights are the target; 1: the full outputs
---@field sequential boolean
---@field steps "layer"|"matrix"   how often inputs are collected again
---@field threads integer?
---@field source (fun(name: string): userdata)?   weights to encode instead of the file's
---@field stand_ins table[]?   of the unquantized model (scaled weights)
---@field progress (fun(p: table): boolean?)?
---@field load (fun(name: string): table?)?   a finished tensor of an earlier run
---@field save (fun(name: string, t: table))?

-- Groups of weights whose inputs are collected together.
local function groups_of(model, types, steps)
  local names = {}
  for _, name in ipairs(pass.matrices(model)) do
    if types[name] and core.calib.supported(types[name]) then names[#names + 1] = name end
  end
  local groups, last = {}, nil
  for _, name in ipairs(names) do
    local key = steps == "matrix" and name or name:match "^(blk%.%d+%.)" or name
    -- matrices that share an input share a pass
    if steps == "matrix" then
      key = key:gsub("attn_[qkv]%.", "attn_qkv."):gsub("ffn_gate%.", "ffn_up."):gsub("ffn_gate_exps", "ffn_up_exps")
    end
    if key ~= last then groups[#groups + 1] = { key = key } end
    last = key
    table.insert(groups[#groups], name)
  end
  return groups
end

local function add_rows(item, i, taps)
  for x = 1, item.experts do
    local rows = taps[1]:rows(i, x)
    if rows then
      item.h[x]:add(rows)
      if item.cross[x] then core.calib.cross(item.cross[x], rows, taps[2]:rows(i, x)) end
    end
  end
end

-- Correlations of the inputs of a group of weights: name -> { h = {}, cross = {} }.
local function collect(models, group, o, tell)
  local items, by_name = nil, {}
  local names = {}
  for i, name in ipairs(group) do names[i] = name end
  local ok, message, code = pass.run(models, names, o.chunks, { rows = true, threads = o.threads },
    function(taps, c, is_end)
      if not items then
        items = taps[1]:items()
        for _, item in ipairs(items) do
          item.h, item.cross = {}, {}
          for x = 1, item.experts do
            local h, why, kind = core.calib.hessian(item.width)
            if not h then return false, why, kind end
            item.h[x] = h
            -- experts may see different rows in the two models: no aim there
            if models[2] and item.experts == 1 then
              item.cross[x] = core.calib.zeros(item.width, item.width)
            end
          end
          for _, name in ipairs(item.weights) do by_name[name] = item end
        end
      end
      for i, item in ipairs(items) do add_rows(item, i, taps) end
      if is_end then return tell(c / #o.chunks) end
    end)
  if not ok then return nil, message, code end
  for _, item in ipairs(items) do
    for x = 1, item.experts do
      ok, message, code = item.h[x]:factor(o.damp)
      if not ok then return nil, message, code end
    end
  end
  return by_name
end

-- Encodes one tensor; rows of expert x stand together.
local function encode_one(w, type_name, item, o, stats)
  local parts = {}
  local per = #w / item.width / item.experts
  for x = 1, item.experts do
    local rows = item.experts == 1 and w or w:rows((x - 1) * per + 1, x * per)
    if item.cross[x] and o.aim > 0 then
      local message, code
      rows, message, code = item.h[x]:aim(item.cross[x], rows, o.aim)
      if not rows then return nil, message, code end
    end
    local bytes, before, after = core.calib.rebuild(type_name, rows, item.h[x],
      { feedback = o.feedback, sweeps = o.sweeps, threads = o.threads })
    if not bytes then return nil, before, after end
    stats.before, stats.after = (stats.before or 0) + before, (stats.after or 0) + after
    parts[x] = bytes
  end
  return table.concat(parts)
end

--- Encodes the tensors of `o.types` that have inputs (others are the plain
--- encoder's business, with o.importance, when o.plain names them).
---@param model wane.Model  the source
---@param o wane.EncodeOptions
---@return table[]|nil finished  list of { name, type, bytes }, in program order
---@return table|string stats by name { before, after }, or a message
---@return string? code
function M.run(model, o)
  local finished, stats = {}, {}
  local index, g = {}, model.gguf
  for i = 1, g:info().n_tensors do index[g:tensor(i).name] = i end
  local function read(name)
    if o.source then
      local w = o.source(name)
      if w then return w end
    end
    return core.quant.read(g, index[name])
  end
  local function keep(name, type_name, bytes)
    finished[#finished + 1] = { name, type_name, bytes }
    if o.save then o.save(name, type_name, bytes) end
  end
  for _, name in ipairs(o.plain or {}) do
    local imp = o.importance and o.importance(name)
    local w, message, code = read(name)
    if not w then return nil, message, code end
    local q
    q, message, code = core.quant.encode(o.types[name], w, imp)
    if not q then return nil, message, code end
    keep(name, o.types[name], q:bytes())
  end
  local groups = groups_of(model, o.types, o.steps)
  local reference, message, code = model, nil, nil
  if o.stand_ins then
    reference, message, code = model:variant(o.stand_ins)
    if not reference then return nil, message, code end
  end
  for k, group in ipairs(groups) do
    local function tell(share)
      if not o.progress then return end
      return o.progress { done = k - 1 + share * 0.9, total = #groups, tensor = group[1] }
    end
    local restored = 0
    for _, name in ipairs(group) do
      local bytes = o.load and o.load(name, o.types[name])
      if bytes then
        finished[#finished + 1] = { name, o.types[name], bytes }
        restored = restored + 1
      end
    end
    if restored < #group then
      for _ = 1, restored do finished[#finished] = nil end
      local now = reference
      if o.sequential and (#finished > 0) then
        local list = {}
        for _, t in ipairs(o.stand_ins or {}) do list[#list + 1] = t end
        for _, t in ipairs(finished) do list[#list + 1] = t end
        now, message, code = model:variant(list)
        if not now then return nil, message, code end
      end
      local models = { now }
      if o.aim > 0 and now ~= reference then models[2] = reference end
      local items
      items, message, code = collect(models, group, o, tell)
      if now ~= reference then now:close() end
      if not items then return nil, message, code end
      for _, name in ipairs(group) do
        local w, bytes
        stats[name] = {}
        w, message, code = read(name)
        if not w then return nil, message, code end
        bytes, message, code = encode_one(w, o.types[name], items[name], o, stats[name])
        if not bytes then return nil, message, code end
        keep(name, o.types[name], bytes)
      end
    end
  end
  return finished, stats
end

return M
