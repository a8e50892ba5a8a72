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
---@field weights table<string, userdata>?   values to encode instead of the file's
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
      key = key:gsub("attn_[qkv]%.", "attn_qkv."):gsub("ffn_gate%.", "ffn_up.")
      key = key:gsub("ffn_gate_exps", "ffn_up_exps")
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
      if item.cross[x] then
        local meant = taps[2]:rows(i, x)
        core.calib.cross(item.cross[x], rows, meant)
        meant:close()
      end
      rows:close() -- not left to the collector, which cannot see its size
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
    if rows ~= w then rows:close() end
  end
  return table.concat(parts)
end

-- Frees the correlations of a group at once.
local function release(items)
  for _, item in pairs(items) do -- order does not matter; shared ones come twice
    for x = 1, item.experts do
      if item.h[x] then item.h[x]:close() end
      if item.cross[x] then item.cross[x]:close() end
    end
  end
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
    if o.weights and o.weights[name] then return o.weights[name] end
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
    q:close()
    if not (o.weights and o.weights[name]) then w:close() end
    if imp then imp:close() end
  end
  local groups = groups_of(model, o.types, o.steps)
  local reference, message, code = model
  if o.stand_ins and #o.stand_ins > 0 then
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
        if not (o.weights and o.weights[name]) then w:close() end
      end
      release(items)
    end
  end
  if reference ~= model then reference:close() end
  return finished, stats
end

return M
