--- What quantizing one tensor alone costs, for every tensor and type.
---
--- Two measures. The output error of a tensor in a type is sum (w - q)^T H
--- (w - q) over sum w^T H w, with H the correlations of its inputs: cheap, for
--- all types, on a sample of rows. The loss is the KL divergence of the model
--- with only that tensor changed. Small losses are proportional to the output
--- error, so one type a tensor (the anchor) is measured and the others follow;
--- `measure = "all"` measures every pair instead.
---
--- The proxy costs no run of the model: the relative output error times the
--- power of what its block of the layer adds to the residual stream (that of
--- attn_output for the matrices of attention, of ffn_down for the others). On
--- the demo model its rank correlation with measured losses is 0.83; that of the
--- error weighted by importance alone is 0.54.
---
--- One layer's correlations are held at a time (12 bytes for each pair of
--- channels of its inputs, 8 more while one is factored), 4 bytes for each token
--- and channel of their text, and one tensor as float32.
local core = require "wane.core"
local losses = require "wane.search.losses"
local options = require "wane.options"
local pass = require "wane.calibrate.pass"
local report = require "wane.report"
local run = require "wane.eval.run"
local stats = require "wane.stats"
local types = require "wane.recipe.types"

local M = {}

---@class wane.SensitivityRow
---@field tensor string
---@field type string
---@field bytes integer       of the whole tensor
---@field error number        relative output error (squared)
---@field proxy number        what the loss may be like, without running the model
---@field kld number          loss, nats per token
---@field kld_err number      its standard error; of estimates: scaled likewise
---@field measured boolean    or estimated from the anchor

---@class wane.Sensitivity
---@field rows wane.SensitivityRow[]
---@field fixed_bytes integer  of tensors that keep their type
---@field n_values integer     of all tensors
---@field file string
---@field correlation number   rank correlation of the proxy with the measured loss
local Sensitivity = {}
Sensitivity.__index = Sensitivity

-- Candidates for rows of whole super-blocks, and for other rows: those are
-- common in small models (576, 896, 1152 wide), where llama.cpp's mixes fall
-- back to types of 32-wide blocks.
M.default_types = { "iq2_xs", "q2_K", "iq3_xxs", "q3_K", "iq4_xs", "q4_K", "q5_K", "q6_K", "q8_0" }
M.narrow_types = { "mxfp4", "iq4_nl", "q4_1", "q5_0", "q5_1", "q8_0" }

-- The candidates of a tensor: the caller's list, or by the width of its rows.
local function list_for(t, list) return list or t.cols % 256 == 0 and M.default_types or M.narrow_types end

local check_options = options.checker("eval.sensitivity", {
  types = options.list("string", 1), tensors = options.list("string", 1), context = options.integer(4, 16777216),
  chunks = options.integer(1), error_chunks = options.integer(1), rows = options.integer(1), anchor = "string",
  measure = options.one_of { "anchor", "all" }, rebuild = "boolean", threads = options.threads, progress = "function",
  save = "path",
}, { context = 512, chunks = 2, error_chunks = 8 })

-- Matrices that a quantizer would change; bytes of the others, values of all.
function M.candidates(model, list)
  local g, found, fixed, all = model.gguf, {}, 0, 0
  local wanted
  if list then
    wanted = {}
    for _, name in ipairs(list) do wanted[name] = true end
  end
  local roles = require "wane.recipe.describe"
  local tensors = {}
  for i = 1, g:info().n_tensors do tensors[i] = g:tensor(i) end
  local desc = roles.model({ get = function(key) return model:meta(key) end, tensors = tensors }, {})
  local quantizable = {}
  for _, d in ipairs(desc and desc.tensors or {}) do quantizable[d.name] = d.quantizable end
  for i, t in ipairs(tensors) do
    local n = 1
    for _, s in ipairs(t.shape) do n = n * s end
    all = all + n
    if quantizable[t.name] and (not wanted or wanted[t.name]) then
      found[#found + 1] = { name = t.name, index = i, cols = t.shape[1], n = n, rows = n / t.shape[1],
        type = t.type, bytes = t.bytes, experts = t.shape[3] or 1 }
    else
      fixed = fixed + t.bytes
    end
  end
  return found, fixed, all
end

-- Rows of a tensor, as one buffer: spread over it; of the output those of tokens
-- spread over `ids`, since errors of rows whose tokens are likely count more.
local function sample_rows(g, t, n, ids)
  if t.rows <= n then return core.quant.read(g, t.index) end
  local parts = {}
  for k = 1, n do
    local at = math.floor((k - 1) * t.rows / n) + 1
    if ids and t.name == "output.weight" then at = ids[math.floor((k - 1) * #ids / n) + 1] + 1 end
    local b, msg, code = core.quant.read(g, t.index, at, at)
    if not b then return nil, msg, code end
    parts[k] = b:bytes()
  end
  return core.quant.buffer(n, t.cols, table.concat(parts))
end

-- Error of one type on sampled rows, with the correlations h or without.
local function error_of(type_name, w, h, rebuild)
  if h and core.calib.supported(type_name) then
    local bytes, before, after = core.calib.rebuild(type_name, w, h,
      { feedback = rebuild, sweeps = rebuild and 2 or 0 })
    if not bytes then return nil, before, after end
    return after, bytes
  end
  local q, msg, code = core.quant.encode(type_name, w, h and h:diagonal() or nil)
  if not q then return nil, msg, code end
  local e, why, kind = core.calib.error(w, q:decode(), h)
  if not e then return nil, why, kind end
  return e, q:bytes()
end

-- Usable types of a tensor: its rows fill the blocks; importance where needed.
local function types_of(t, h, list)
  local out = {}
  for _, name in ipairs(list) do
    local f = types.find(name)
    if f and t.cols % f.block == 0 and (h or not f.needs_importance) then out[#out + 1] = f end
  end
  return out
end

-- The whole tensor in a type, for measuring.
local function stand_in(model, t, type_name, h)
  local w, msg, code = core.quant.read(model.gguf, t.index)
  if not w then return nil, msg, code end
  local q
  q, msg, code = core.quant.encode(type_name, w, h and h:diagonal() or nil)
  if not q then return nil, msg, code end
  return { t.name, type_name, q:bytes() }, q:decode(), w
end

-- n chunks spread over the text, as one list of ids.
local function spread(all, n)
  local ids = {}
  n = math.min(n, #all)
  for i = 1, n do
    for _, id in ipairs(all[math.floor((i - 1) * #all / n) + 1]) do ids[#ids + 1] = id end
  end
  return ids
end

-- A world failure on its way out of M.measure.
local function check(value, message, code)
  if value == nil then error({ msg = message, code = code }, 0) end
  return value
end

local function close(...)
  for i = 1, select("#", ...) do select(i, ...):close() end
end

-- Power of the outputs of a tensor, estimated from sampled rows.
local function power_of(st, t)
  local hs = st.h[t.name]
  local w = check(sample_rows(st.model.gguf, t, st.opts.rows or 64))
  local power = check(core.calib.error(w, nil, type(hs) == "userdata" and hs or nil)) * t.rows / (#w / t.cols)
  close(w)
  return power
end

-- Power of what the block of tensor t adds to the residual stream, by the name
-- of the matrix that writes there; outside of layers, of t's own outputs.
local function written_by(st, t)
  local layer, role = t.name:match "^(blk%.%d+%.)(%a+)"
  local name = layer and layer .. (role == "ffn" and "ffn_down" or "attn_output") .. ".weight"
  local writer = name and st.by_name[name] or t
  if not st.powers[writer.name] then st.powers[writer.name] = power_of(st, writer) end
  return st.powers[writer.name]
end

-- Rows of one tensor with bytes, error and proxy of every type.
local function errors_of(st, t, hs)
  local rows = {}
  local w = check(sample_rows(st.model.gguf, t, st.opts.rows or 64, st.corr_ids))
  local power, n_rows = check(core.calib.error(w, nil, hs)), #w / t.cols
  for i, f in ipairs(types_of(t, hs, list_for(t, st.types))) do
    local e, bytes, code = error_of(f.name, w, hs, st.opts.rebuild ~= false)
    check(e, bytes, code)
    local blocks = core.quant.blocks(f.name, bytes, n_rows, t.cols)
    local plain = blocks:decode()
    rows[i] = {
      tensor = t.name, type = f.name, bytes = types.bytes_of(f.name, t.cols, t.rows),
      error = power > 0 and e / power or 0,
      proxy = power > 0 and check(core.calib.error(w, plain, hs)) / power * written_by(st, t) or 0,
    }
    close(blocks, plain)
  end
  close(w)
  return rows
end

-- The loss of the model with one tensor changed, or what an earlier run found.
local function loss_of(st, r, stand)
  local have = st.saved[losses.key(r.tensor, r.type)]
  if have then return have end
  local variant = check(st.model:variant { stand })
  local d, message, code = require("wane.eval").divergence(st.model, { variant }, st.ids,
    { context = st.n_ctx, threads = st.opts.threads })
  close(variant)
  check(d, message, code)
  have = { d[1].kld.mean, d[1].kld.err }
  if st.log then
    st.log:write(("%s\t%s\t%.17g\t%.17g\tend\n"):format(r.tensor, r.type, have[1], have[2]))
    st.log:flush()
  end
  return have
end

-- Measures one choice. The plain encoder is what is measured: its own error is
-- the yardstick for the others.
local function measure_row(st, t, r, hs)
  local stand, decoded, whole = stand_in(st.model, t, r.type, hs)
  check(stand, decoded, whole)
  local have = loss_of(st, r, stand)
  local power = check(core.calib.error(whole, nil, hs))
  r.plain_error = power > 0 and check(core.calib.error(whole, decoded, hs)) / power or 0
  r.plain_kld, r.plain_err, r.measured = have[1], have[2], true
  close(decoded, whole)
  st.proxies[#st.proxies + 1], st.losses[#st.losses + 1] = r.proxy, have[1]
end

-- All choices of one tensor.
local function measure_tensor(st, t)
  local hs = st.h[t.name]
  if type(hs) ~= "userdata" then hs = nil end
  local rows, anchor = errors_of(st, t, hs), nil
  for _, r in ipairs(rows) do
    if r.type == st.anchor then anchor = r end
  end
  anchor = anchor or rows[1]
  for _, r in ipairs(rows) do
    if st.opts.measure == "all" or r == anchor then measure_row(st, t, r, hs) end
  end
  for _, r in ipairs(rows) do
    local from = r.measured and r or anchor
    local scale = from.plain_error > 0 and r.error / from.plain_error or 0
    r.kld, r.kld_err, r.measured = from.plain_kld * scale, from.plain_err * scale, r.measured or false
    st.rows[#st.rows + 1] = r
  end
end

local function close_list(list)
  for _, x in ipairs(list or {}) do x:close() end
end

local function release(h)
  for _, x in pairs(h) do -- order does not matter; shared ones come twice
    for _, one in ipairs(type(x) == "userdata" and { x } or x) do one:close() end
  end
end

-- Tensors by layer, in the order of the program; first those without inputs.
local function layers_of(model, tensors)
  local by, groups, last = {}, { {} }, nil
  for _, t in ipairs(tensors) do by[t.name] = t end
  for _, name in ipairs(pass.matrices(model)) do
    local t = by[name]
    by[name] = nil
    local key = name:match "^blk%.%d+%." or name
    if t then
      if key ~= last then groups[#groups + 1] = { key = key } end
      last = key
      table.insert(groups[#groups], t)
    end
  end
  for _, t in ipairs(tensors) do
    if by[t.name] then table.insert(groups[1], t) end
  end
  return groups
end

-- A few thousand tokens say less about other texts than about their own
-- (calibrate/trust.lua, which chooses it more carefully).
local SHRINK = 0.3

-- Correlations of the inputs of a group, ready for error feedback, in st.h. The
-- text goes on from where the group before left it (st.edge, st.at).
local function correlate(st, group, next_group)
  local names, edges = {}, { enter = st.edge, from = st.at }
  for i, t in ipairs(group) do names[i] = t.name end
  if next_group then edges.leave, edges.to = next_group.key, {} end
  st.h = check(require "wane.calibrate".hessians(st.model, st.corr_ids,
    { context = st.n_ctx, threads = st.opts.threads, tensors = names, edges = edges, tame = true }))
  close_list(st.at)
  st.edge, st.at = edges.leave, edges.to
  local done = {}
  for _, x in pairs(st.h) do -- order does not matter
    if type(x) == "userdata" and not done[x] then
      done[x] = true
      x:shrink(SHRINK)
      check(x:factor(0.01))
    end
  end
end

local function measure_all(st, tensors)
  local done, tell, groups = 0, st.opts.progress, layers_of(st.model, tensors)
  for k, group in ipairs(groups) do
    if group.key then correlate(st, group, groups[k + 1]) end
    for _, t in ipairs(group) do
      measure_tensor(st, t)
      done = done + 1
      if tell and tell { done = done, total = #tensors, tensor = t.name } == false then
        error({ msg = "cancelled", code = "ECANCEL" }, 0)
      end
    end
    release(st.h)
    st.h = {}
  end
end

-- Names of the types that a tensor may have.
function M.types_for(t, list)
  local names = {}
  for i, f in ipairs(types_of(t, true, list_for(t, list))) do names[i] = f.name end
  return names
end

--- All choices of a model with their bytes, without measuring anything.
---
---     local rows, fixed, values = require("wane.search.sensitivity").choices(model, { types = { "q4_K", "q8_0" } })
---     print(#rows, rows[1].tensor, rows[1].type, rows[1].bytes)
---@param model wane.Model
---@param opts? { types: string[]?, tensors: string[]? }
---@return { tensor: string, type: string, bytes: integer, kld: number }[] rows  kld 0: not known yet
---@return integer fixed_bytes  of tensors that keep their type
---@return integer n_values
---@error an unknown type, a tensor that the model has not
function M.choices(model, opts)
  opts = opts or {}
  local tensors, fixed, n_values = M.candidates(model, opts.tensors)
  local rows = {}
  for _, t in ipairs(tensors) do
    for _, name in ipairs(M.types_for(t, opts.types)) do
      rows[#rows + 1] = { tensor = t.name, type = name, bytes = types.bytes_of(name, t.cols, t.rows), kld = 0 }
    end
  end
  return rows, fixed, n_values
end

---@class wane.SensitivityOptions
---@field types string[]?       candidates (M.default_types; M.narrow_types for rows that are no multiple of 256)
---@field tensors string[]?     which to measure (all that a quantizer would change)
---@field context integer?      tokens of a chunk (512)
---@field chunks integer?       measured for each loss (2)
---@field error_chunks integer? for correlations (8)
---@field rows integer?         sampled rows of each tensor (64)
---@field anchor string?        type whose loss is measured (q3_K)
---@field measure "anchor"|"all"|nil
---@field rebuild boolean?      errors of calibrate.gptq's encoder (true) or the plain one
---@field threads integer?
---@field save string?          file of measured losses; one that exists is gone on with
---@field progress (fun(p: table): boolean?)?  return false to cancel

--- Measures; see the top of this page.
---
---     local s = assert(wane.eval.sensitivity(model, text, { types = { "q4_K", "q8_0" }, context = 64, chunks = 1 }))
---@param model wane.Model  unquantized
---@param text string|integer[]
---@param opts? wane.SensitivityOptions
---@return wane.Sensitivity|nil
---@return string? message
---@return string? code
function M.measure(model, text, opts)
  run.check_inputs("eval.sensitivity", model, text)
  opts = check_options(opts)
  local list, n_ctx = opts.types, opts.context
  for _, name in ipairs(list or {}) do
    local f, why = types.writable(name)
    if not f then options.misuse("eval.sensitivity: " .. why) end
  end
  local all, message, code = pass.chunks(model, text, n_ctx)
  if not all then return nil, message, code end
  local tensors, fixed, n_values = M.candidates(model, opts.tensors)
  if #tensors == 0 then return nil, "no tensor to measure", "EDATA" end
  local ids, corr_ids = spread(all, opts.chunks), spread(all, opts.error_chunks)
  local saved, log
  saved, log, code = losses.open(opts.save, opts.save and losses.identity(model, ids, corr_ids, n_ctx))
  if not saved then return nil, log, code end
  local st = {
    model = model, opts = opts, types = list, n_ctx = n_ctx, ids = ids, h = {}, corr_ids = corr_ids,
    saved = saved, powers = {}, by_name = {}, rows = {}, proxies = {}, losses = {}, anchor = opts.anchor or "q3_K",
    log = log,
  }
  for _, t in ipairs(tensors) do st.by_name[t.name] = t end
  local fine, problem = pcall(measure_all, st, tensors)
  if st.log then st.log:close() end
  release(st.h)
  close_list(st.at)
  if not fine then
    if type(problem) == "table" then return nil, problem.msg, problem.code end
    error(problem, 0)
  end
  return setmetatable({
    rows = st.rows, fixed_bytes = fixed, n_values = n_values, file = model:info().path,
    correlation = #st.losses > 2 and stats.spearman(st.proxies, st.losses) or 0 / 0,
  }, Sensitivity)
end

--- The table as text, Markdown, CSV or JSON: a wane.Table.
---
---     print(s:table())
---@error none
function Sensitivity:table()
  local t = report.table {
    { key = "tensor", title = "tensor" }, { key = "type", title = "type" },
    { key = "bytes", title = "bytes", align = "right" },
    { key = "error", title = "output error", format = "%.3e" },
    { key = "kld", title = "KLD alone", format = "%.3e" },
    { key = "kld_err", title = "+-", format = "%.1e" },
  }
  for _, r in ipairs(self.rows) do t:add(r) end
  return t
end

Sensitivity.__tostring = function(self)
  local line = "\nrank correlation of the cheap proxy with the measured loss: %.3f"
  return self:table():text() .. line:format(self.correlation)
end

return M
