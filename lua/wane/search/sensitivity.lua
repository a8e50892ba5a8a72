--- What quantizing one tensor alone costs, for every tensor and type.
---
--- Two measures. The output error of a tensor in a type is sum (w - q)^T H
--- (w - q) over sum w^T H w, with H the correlations of its inputs: cheap, for
--- all types, on a sample of rows. The loss is the KL divergence of the model
--- with only that tensor changed. Small losses are proportional to the output
--- error, so one type a tensor (the anchor) is measured and the others follow;
--- `measure = "all"` measures every pair instead.
local core = require "wane.core"
local pass = require "wane.calibrate.pass"
local report = require "wane.report"
local stats = require "wane.stats"
local types = require "wane.recipe.types"

local M = {}

---@class wane.SensitivityRow
---@field tensor string
---@field type string
---@field bytes integer       of the whole tensor
---@field error number        relative output error (squared)
---@field proxy number        error weighted by importance alone, relative
---@field kld number          loss, nats per token
---@field kld_err number      its standard error; of estimates: scaled likewise
---@field measured boolean    or estimated from the anchor

---@class wane.Sensitivity
---@field rows wane.SensitivityRow[]
---@field fixed_bytes integer  of tensors that keep their type
---@field n_values integer     of all tensors
---@field file string
---@field correlation number   rank correlation of proxy * anchor-free weight and measured loss
local Sensitivity = {}
Sensitivity.__index = Sensitivity

M.default_types = { "iq2_xs", "q2_K", "iq3_xxs", "q3_K", "iq4_xs", "q4_K", "q5_K", "q6_K", "q8_0" }

local known = {
  types = true, tensors = true, context = true, chunks = true, error_chunks = true, rows = true, anchor = true,
  measure = true, rebuild = true, threads = true, progress = true, save = true,
}

-- Matrices that a quantizer would change.
local function candidates(model, list)
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
      found[#found + 1] = { name = t.name, index = i, cols = t.shape[1], n = n, rows = n / t.shape[1] }
    else
      fixed = fixed + t.bytes
    end
  end
  return found, fixed, all
end

-- Rows spread over a tensor, as one buffer.
local function sample_rows(g, t, n)
  if t.rows <= n then return core.quant.read(g, t.index) end
  local parts = {}
  for k = 1, n do
    local at = math.floor((k - 1) * t.rows / n) + 1
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
  local e = core.calib.error(w, q:decode(), h)
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

local function key_of(tensor, type_name) return tensor .. "\t" .. type_name end

-- Lines of an earlier run: tensor, type, loss, error.
local function read_saved(path)
  local done = {}
  local f = path and io.open(path, "rb")
  if not f then return done end
  for line in f:lines() do
    local a, b, kld, err = line:match "^([^\t]+)\t([^\t]+)\t(%S+)\t(%S+)\tend$"
    if a then done[key_of(a, b)] = { tonumber(kld), tonumber(err) } end
  end
  f:close()
  return done
end

--- Measures; see the top of this page.
---@param model wane.Model  unquantized
---@param text string|integer[]
---@param opts? { types: string[]?, tensors: string[]?, context: integer?, chunks: integer?, error_chunks: integer?, rows: integer?, anchor: string?, measure: "anchor"|"all"|nil, rebuild: boolean?, threads: integer?, save: string?, progress: (fun(p: table): boolean?)? }
---  chunks: measured for each loss (2); error_chunks: for correlations (8);
---  rows: sampled rows (64); anchor: type whose loss is measured (q3_K);
---  rebuild: errors of calibrate.gptq's encoder (true) or the plain one;
---  save: file of measured losses, read when it exists so that a run goes on
---@return wane.Sensitivity|nil
---@return string? message
---@return string? code
function M.measure(model, text, opts)
  opts = pass.check_options(opts, known, "eval.sensitivity")
  local list = opts.types or M.default_types
  for _, name in ipairs(list) do
    local f, why = types.writable(name)
    if not f then error("wane: eval.sensitivity: " .. why, 2) end
  end
  local n_ctx = opts.context or 512
  local all, message, code = pass.chunks(model, text, n_ctx)
  if not all then return nil, message, code end
  local function spread(n)
    local out = {}
    n = math.min(n, #all)
    for i = 1, n do out[i] = all[math.floor((i - 1) * #all / n) + 1] end
    return out
  end
  local ids = {}
  for _, c in ipairs(spread(opts.chunks or 2)) do
    for _, id in ipairs(c) do ids[#ids + 1] = id end
  end
  local tensors, fixed, n_values = candidates(model, opts.tensors)
  if #tensors == 0 then return nil, "no tensor to measure", "EDATA" end
  local flat = {}
  for _, c in ipairs(spread(opts.error_chunks or 8)) do
    for _, id in ipairs(c) do flat[#flat + 1] = id end
  end
  local h, saved = nil, read_saved(opts.save)
  local result = setmetatable({ rows = {}, fixed_bytes = fixed, n_values = n_values,
    file = model:info().path }, Sensitivity)
  h, message, code = require("wane.calibrate").hessians(model, flat, { context = n_ctx, threads = opts.threads })
  if not h then return nil, message, code end
  for _, x in pairs(h) do
    if type(x) == "userdata" then x:factor(0.01) end -- order does not matter
  end
  local log = opts.save and io.open(opts.save, "ab")
  local proxies, losses = {}, {}
  for k, t in ipairs(tensors) do
    local hs = h[t.name]
    if type(hs) ~= "userdata" then hs = nil end
    local w
    w, message, code = sample_rows(model.gguf, t, opts.rows or 64)
    if not w then return nil, message, code end
    local power = core.calib.error(w, nil, hs)
    local usable, anchor = types_of(t, hs, list), nil
    for _, f in ipairs(usable) do
      local e, bytes, kind = error_of(f.name, w, hs, opts.rebuild ~= false)
      if not e then return nil, bytes, kind end
      local plain = core.quant.blocks(f.name, bytes, #w / t.cols, t.cols):decode()
      result.rows[#result.rows + 1] = {
        tensor = t.name, type = f.name, bytes = types.bytes_of(f.name, t.cols, t.rows),
        error = power > 0 and e / power or 0,
        proxy = core.calib.error(w, plain, hs and hs:diagonal()) * t.rows / (#w / t.cols),
      }
      if f.name == (opts.anchor or "q3_K") then anchor = f.name end
    end
    anchor = anchor or (usable[1] and usable[1].name)
    local mine = {}
    for _, r in ipairs(result.rows) do
      if r.tensor == t.name then mine[#mine + 1] = r end
    end
    for _, r in ipairs(mine) do
      if opts.measure == "all" or r.type == anchor then
        local have = saved[key_of(r.tensor, r.type)]
        local one, decoded, whole = stand_in(model, t, r.type, hs)
        if not one then return nil, decoded, whole end
        if not have then
          local variant, d
          variant, message, code = model:variant { one }
          if not variant then return nil, message, code end
          d, message, code = require("wane.eval").divergence(model, { variant }, ids, { context = n_ctx, threads = opts.threads })
          variant:close()
          if not d then return nil, message, code end
          have = { d[1].kld.mean, d[1].kld.err }
          if log then
            log:write(("%s\t%s\t%.17g\t%.17g\tend\n"):format(r.tensor, r.type, have[1], have[2]))
            log:flush()
          end
        end
        -- the plain encoder was measured: its own error is the yardstick
        local whole_power = core.calib.error(whole, nil, hs)
        r.plain_error = whole_power > 0 and core.calib.error(whole, decoded, hs) / whole_power or 0
        r.plain_kld, r.plain_err, r.measured = have[1], have[2], true
        proxies[#proxies + 1], losses[#losses + 1] = r.proxy, have[1]
      end
    end
    local base
    for _, r in ipairs(mine) do
      if r.type == anchor then base = r end
    end
    for _, r in ipairs(mine) do
      local from = r.measured and r or base
      local scale = from.plain_error > 0 and r.error / from.plain_error or 0
      r.kld, r.kld_err, r.measured = from.plain_kld * scale, from.plain_err * scale, r.measured or false
    end
    if opts.progress and opts.progress { done = k, total = #tensors, tensor = t.name } == false then
      if log then log:close() end
      return nil, "cancelled", "ECANCEL"
    end
  end
  if log then log:close() end
  result.correlation = #losses > 2 and stats.spearman(proxies, losses) or 0 / 0
  return result
end

--- The table as text, Markdown, CSV or JSON: a wane.Table.
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
  return self:table():text() .. ("\nrank correlation of the cheap proxy with the measured loss: %.3f"):format(self.correlation)
end

return M
