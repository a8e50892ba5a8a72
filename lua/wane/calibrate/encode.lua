--- Encoding tensors against what their layers really see, layer by layer.
---
--- The inputs of a layer are collected from the model as quantized so far
--- (sequential), so that later layers make up for errors of earlier ones;
--- `aim` also moves the target towards the outputs that the unquantized model
--- had. What meets a layer is kept for every token of the text, so that the
--- next layer starts there instead of at the embedding: a text passes through
--- each layer twice as quantized and once as it was, however many layers there
--- are.
---
--- Memory, beside the model's file: one layer's correlations (20 bytes for each
--- pair of channels of an input while they are factored: 12 held, 8 more at
--- the peak of the widest), 8 bytes for each token and channel of the text, and
--- one layer's finished tensors. Each tensor ends as the finished bytes of an ordinary block format.
local core = require "wane.core"
local pass = require "wane.calibrate.pass"
local trust = require "wane.calibrate.trust"

local M = {}

---@class wane.EncodeOptions
---@field types table<string, string>       type of each tensor, by name
---@field importance (fun(name: string): userdata?)?   for tensors without correlations
---@field chunks integer[][]
---@field damp number       share of the mean diagonal added to it
---@field sweeps integer    most rounds of coordinate descent
---@field feedback boolean  error feedback first
---@field aim number        0: the weights are the target; 1: the full outputs
---@field shrink number|"validate"   what correlations off the diagonal lose (wane.calibrate.trust)
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

-- o.guide: rows count by what the end of the model says of them (calibrate/guide.lua).
local function add_rows(item, i, taps, half, o, c, first)
  for x = 1, item.experts do
    local rows = taps[1]:rows(i, x)
    if rows then
      item.seen[x] = item.seen[x] + #rows / item.width
      local tamed = o.guide and item.experts == 1 and o.guide:weigh(item, rows, c, first) or trust.tame(item, rows)
      if item.halves then
        item.halves[half]:add(tamed)
      else
        item.h[x]:add(tamed)
      end
      if tamed ~= rows then tamed:close() end
      if item.cross[x] then
        local meant = taps[2]:rows(i, x)
        core.calib.cross(item.cross[x], rows, meant)
        meant:close()
      end
      rows:close() -- not left to the collector, which cannot see its size
    end
  end
end

-- Empty sums for an input; true, or nil, message, code.
local function prepare(item, o, has_reference)
  item.h, item.cross, item.seen = {}, {}, {}
  local function hessian()
    return core.calib.hessian(item.width)
  end
  local message, code
  for x = 1, item.experts do
    item.seen[x] = 0
    item.h[x], message, code = hessian()
    if not item.h[x] then return nil, message, code end
    -- experts may see different rows in the two models: no aim there
    if has_reference and item.experts == 1 then item.cross[x] = core.calib.zeros(item.width, item.width) end
  end
  if o.shrink == "validate" and item.experts == 1 and #o.chunks > 1 then
    item.halves = {}
    for k = 1, 2 do
      item.halves[k], message, code = hessian()
      if not item.halves[k] then return nil, message, code end
    end
  end
  return true
end

-- Correlations of the inputs of a group of weights: name -> { h = {}, cross = {} }.
local function collect(models, group, o, edges, tell)
  local items, by_name, first = nil, {}, 0
  local names = {}
  for i, name in ipairs(group) do names[i] = name end
  local watch = { rows = true, threads = o.threads, edges = edges }
  local ok, message, code = pass.run(models, names, o.chunks, watch,
    function(taps, c, is_end)
      if not items then
        items = taps[1]:items()
        for _, item in ipairs(items) do
          local fine, why, kind = prepare(item, o, models[2] ~= nil)
          if not fine then return false, why, kind end
          for _, name in ipairs(item.weights) do by_name[name] = item end
        end
      end
      local half = c * 2 <= #o.chunks and 1 or 2
      for i, item in ipairs(items) do add_rows(item, i, taps, half, o, c, first) end
      first = is_end and 0 or first + 512 -- a step of calibrate/pass.lua
      if is_end then return tell(c / #o.chunks) end
    end)
  if not ok then return nil, message, code end
  return by_name, items
end

-- What a Hessian loses off its diagonal where nothing was validated: more, the
-- fewer tokens it has for each column.
local function shrink_of(item, x, o)
  if type(o.shrink) == "number" then return o.shrink end
  return math.max(0.1, item.width / (item.width + item.seen[x]))
end

-- Makes Hessians of sums: chooses how far they are trusted, shrinks, factors.
local function settle(st, items)
  for _, item in ipairs(items) do
    local s
    if item.halves then
      local weights, message, code = {}
      for _, name in ipairs(item.weights) do
        if st.o.types[name] and core.calib.supported(st.o.types[name]) then
          local w
          w, message, code = st.read(name)
          if not w then return nil, message, code end
          weights[#weights + 1] = { w = w, type = st.o.types[name], name = name }
        end
      end
      s, message, code = trust.choose(item.halves, item.width, weights)
      for _, t in ipairs(weights) do st.done(t.name, t.w) end
      if code then return nil, message, code end
      item.plain = s == nil
      item.trust = message
      for k = 1, 2 do
        item.h[1]:merge(item.halves[k])
        item.halves[k]:close()
      end
      item.halves, s = nil, s or 1
    end
    item.shrink = {}
    for x = 1, item.experts do
      item.shrink[x] = s or shrink_of(item, x, st.o)
      item.h[x]:shrink(item.shrink[x])
      local ok, message, code = item.h[x]:factor(st.o.damp)
      if not ok then return nil, message, code end
    end
  end
  return true
end

-- The correction of targets is fitted to the text, so it is held back where
-- there are few tokens for each column: half of it at this many.
local AIM_TOKENS = 8

-- Encodes one tensor; rows of expert x stand together.
local function encode_one(w, type_name, item, o, stats)
  local parts = {}
  local per = #w / item.width / item.experts
  local tokens = #o.chunks * #o.chunks[1]
  local aim = o.aim * tokens / (tokens + AIM_TOKENS * item.width)
  for x = 1, item.experts do
    local rows = item.experts == 1 and w or w:rows((x - 1) * per + 1, x * per)
    if item.cross[x] and o.aim > 0 then
      local message, code
      rows, message, code = item.h[x]:aim(item.cross[x], rows, aim)
      if not rows then return nil, message, code end
    end
    local bytes, before, after = core.calib.rebuild(type_name, rows, item.h[x], {
      feedback = o.feedback and not item.plain, sweeps = item.plain and 0 or o.sweeps, threads = o.threads,
    })
    if not bytes then return nil, before, after end
    stats.before, stats.after = (stats.before or 0) + before, (stats.after or 0) + after
    stats.shrink, stats.plain = item.shrink[x], item.plain
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
    for _, h in ipairs(item.halves or {}) do h:close() end
    item.halves = nil
  end
end

-- The values to encode for a tensor.
local function read(st, name)
  local o = st.o
  if o.weights and o.weights[name] then return o.weights[name] end
  local g = st.model.gguf
  return core.quant.read(g, g:find_tensor(name))
end

-- Buffers that were read here are freed here.
local function done_with(st, name, w)
  if not (st.o.weights and st.o.weights[name]) then w:close() end
end

-- Where finished tensors can be saved they are not held as well.
local function keep(st, name, bytes)
  local o = st.o
  if o.save then o.save(name, o.types[name], bytes) end
  st.finished[#st.finished + 1] = { name, o.types[name], not (o.save and o.load) and bytes or nil }
end

-- A finished tensor with its bytes.
local function with_bytes(st, t)
  if t[3] then return t end
  local bytes = st.o.load(t[1], t[2])
  if not bytes then error(("wane: calibrate: %s is gone from the log"):format(t[1]), 0) end
  return { t[1], t[2], bytes }
end

local function layer_of(name) return name:match "^blk%.%d+%." end

-- One tensor through the plain encoder.
local function encode_plain(st, name)
  local imp = st.o.importance and st.o.importance(name)
  local w, message, code = read(st, name)
  if not w then return nil, message, code end
  local q
  q, message, code = core.quant.encode(st.o.types[name], w, imp)
  if not q then return nil, message, code end
  keep(st, name, q:bytes())
  q:close()
  done_with(st, name, w)
  if imp then imp:close() end
  return true
end

-- The model as quantized so far, or the reference itself. Layers before the
-- edge that it will enter at are left as they are: nobody runs them.
local function model_so_far(st)
  if not st.o.sequential or #st.finished == 0 then return st.reference end
  local list, at = {}, st.edge
  for _, t in ipairs(st.finished) do -- the first of a name counts
    local layer = layer_of(t[1])
    if not (at and layer and layer ~= at) then list[#list + 1] = with_bytes(st, t) end
  end
  for _, t in ipairs(st.o.stand_ins or {}) do list[#list + 1] = t end
  return st.model:variant(list)
end

-- Encodes the tensors of a group whose correlations are known.
local function encode_group(st, group, items)
  for _, name in ipairs(group) do
    st.stats[name] = {}
    local w, message, code = read(st, name)
    if not w then return nil, message, code end
    local bytes
    bytes, message, code = encode_one(w, st.o.types[name], items[name], st.o, st.stats[name])
    if not bytes then return nil, message, code end
    keep(st, name, bytes)
    done_with(st, name, w)
  end
  return true
end

-- Takes a group over from an earlier run, when all of it is there.
local function restore(st, group)
  local found = {}
  for i, name in ipairs(group) do
    local bytes = st.o.load and st.o.load(name, st.o.types[name])
    if not bytes then return false end
    found[i] = { name, st.o.types[name] }
  end
  for _, t in ipairs(found) do st.finished[#st.finished + 1] = t end
  return true
end

local function close_rows(list)
  for _, rows in ipairs(list or {}) do rows:close() end
end

-- The edges of a pass that watches `group`, and what to do when it is over.
-- st.edge, st.rows: where the model as quantized so far can be entered.
-- A reference is at most one layer further: its weights will not change.
local function plan_edges(st, group, next_group, with_reference)
  local here = layer_of(group[1]) or group[1]
  local behind = next_group and (layer_of(next_group[1]) or next_group[1])
  local function edges(at, rows, leave)
    local e = { enter = at, from = rows }
    if leave and leave ~= at then e.leave, e.to = leave, {} end
    return e
  end
  local list = { edges(st.edge, st.rows, here) }
  if with_reference then list[2] = edges(st.reference_edge, st.reference_rows, behind) end
  return list, function()
    if list[1].leave then
      close_rows(st.rows)
      st.edge, st.rows = here, list[1].to
    end
    if list[2] and list[2].leave then
      close_rows(st.reference_rows)
      st.reference_edge, st.reference_rows = behind, list[2].to
    end
  end
end

local function do_group(st, group, next_group, tell)
  if restore(st, group) then return true end
  local now, message, code = model_so_far(st)
  if not now then return nil, message, code end
  local models = { now }
  if st.o.aim > 0 and now ~= st.reference then models[2] = st.reference end
  local edges, advance = plan_edges(st, group, next_group, models[2] ~= nil)
  local items, list
  items, list, code = collect(models, group, st.o, edges, tell)
  if now ~= st.reference then now:close() end
  if not items then
    for _, e in ipairs(edges) do close_rows(e.to) end
    return nil, list, code
  end
  advance()
  local ok
  ok, message, code = settle(st, list)
  if ok then ok, message, code = encode_group(st, group, items) end
  release(items)
  return ok, message, code
end

local function do_all(st)
  local groups = groups_of(st.model, st.o.types, st.o.steps)
  for _, name in ipairs(st.o.plain or {}) do
    local ok, message, code = encode_plain(st, name)
    if not ok then return nil, message, code end
  end
  for k, group in ipairs(groups) do
    local ok, message, code = do_group(st, group, groups[k + 1], function(share)
      if not st.o.progress then return end
      return st.o.progress { done = k - 1 + share * 0.9, total = #groups, tensor = group[1] }
    end)
    if not ok then return nil, message, code end
  end
  return st.finished, st.stats
end

--- Encodes the tensors of `o.types` that have inputs, and those that `o.plain`
--- names with the plain encoder and o.importance.
---@param model wane.Model  the source
---@param o wane.EncodeOptions
---@return table[]|nil finished  list of { name, type, bytes }, in program order; bytes nil: ask o.load
---@return table|string stats by name { before, after }, or a message
---@return string? code
function M.run(model, o)
  local reference, message, code = model
  if o.stand_ins and #o.stand_ins > 0 then
    reference, message, code = model:variant(o.stand_ins)
    if not reference then return nil, message, code end
  end
  local st = { model = model, reference = reference, o = o, finished = {}, stats = {} }
  st.read = function(name) return read(st, name) end
  st.done = function(name, w) done_with(st, name, w) end
  local finished, stats, kind = do_all(st)
  close_rows(st.rows)
  close_rows(st.reference_rows)
  if reference ~= model then reference:close() end
  return finished, stats, kind
end

return M
