--- Quantizing against measured inputs: error feedback (GPTQ) and coordinate
--- descent into any ggml block format, layer by layer.
---
---     assert(wane.calibrate.gptq { from = "model-f16.gguf", to = "model.gguf",
---                                  recipe = "Q4_K_M", text = text })
---
--- Types, metadata and layout are those of wane.quantize; only the numbers in
--- the blocks are chosen better. Tensors without an input (embeddings) go
--- through the plain encoder.
local core = require "wane.core"
local encode = require "wane.calibrate.encode"
local pass = require "wane.calibrate.pass"
local quantize = require "wane.quantize"
local store = require "wane.calibrate.store"

---@class wane.GptqOptions
---@field from string       source file, unquantized
---@field to string         output
---@field recipe string|function|wane.Recipe
---@field text string|integer[]   calibration text, or token ids
---@field model wane.Model? `from`, when it is loaded already
---@field context integer?  tokens per chunk (512)
---@field chunks integer?   most chunks, spread over the text (default: all)
---@field imatrix string|wane.Imatrix|nil   for plain tensors and the mix; default: measured from the text
---@field damp number?      share of the mean diagonal added to it (0.01)
---@field sweeps integer?   most rounds of coordinate descent (8)
---@field feedback boolean? error feedback before them (true)
---@field aim number?       0 to 1: how far targets move towards the unquantized model's outputs (0.5)
---@field sequential boolean?   inputs come from the layers quantized so far (true)
---@field steps string?     "layer" (default) or "matrix": how often inputs are collected
---@field awq boolean|table|nil  scale channels first (wane.calibrate.awq)
---@field threads integer?
---@field overwrite boolean?
---@field resume boolean?   go on after an interrupted run (true)
---@field quantize table?   more options for wane.quantize
---@field progress (fun(p: table): boolean?)?  return false to cancel

local known = {
  from = true, to = true, recipe = true, text = true, model = true, context = true, chunks = true,
  imatrix = true, damp = true, sweeps = true, feedback = true, aim = true, sequential = true, steps = true,
  awq = true, threads = true, overwrite = true, resume = true, quantize = true, progress = true,
}

-- At most n of the chunks, spread evenly.
local function spread(chunks, n)
  if not n or n >= #chunks then return chunks end
  local list = {}
  for i = 1, n do list[i] = chunks[math.floor((i - 1) * #chunks / n) + 1] end
  return list
end

local function check(o)
  pass.check_options(o, known, "calibrate.gptq")
  for _, key in ipairs { "from", "to", "recipe", "text" } do
    if o[key] == nil then error(("wane: calibrate.gptq: option '%s' is missing"):format(key), 3) end
  end
  local aim, damp = o.aim or 0.5, o.damp or 0.01
  if not (aim >= 0 and aim <= 1) then error("wane: calibrate.gptq: aim wants 0 to 1", 3) end
  if not (damp >= 0 and damp <= 100) then error("wane: calibrate.gptq: damp wants 0 to 100", 3) end
  if o.steps and o.steps ~= "layer" and o.steps ~= "matrix" then
    error("wane: calibrate.gptq: steps wants 'layer' or 'matrix'", 3)
  end
end

-- Options of wane.quantize.
local function quantize_options(o, im)
  local q = {}
  for k, v in pairs(o.quantize or {}) do q[k] = v end
  q.from, q.to, q.recipe, q.imatrix = o.from, o.to, o.recipe, im
  q.threads, q.overwrite = o.threads, o.overwrite
  return q
end

local floats = { f32 = true, f16 = true, bf16 = true }

-- Which tensors change type, and how each is encoded.
local function sort_tensors(model, plan)
  local has_input, types, plain = {}, {}, {}
  for _, name in ipairs(pass.matrices(model)) do has_input[name] = true end
  for _, d in ipairs(plan.tensors) do
    if d.from ~= d.to and floats[d.from] and not floats[d.to] and d.name == d.source_name then
      types[d.name] = d.to
      if not (has_input[d.name] and core.calib.supported(d.to)) then plain[#plain + 1] = d.name end
    end
  end
  return types, plain
end

local function identity(o, chunks, im, plan)
  local parts = {
    plan.recipe, tostring(o.damp or 0.01), tostring(o.sweeps or 8), tostring(o.feedback ~= false),
    tostring(o.aim or 0.5), tostring(o.sequential ~= false), o.steps or "layer", tostring(o.awq),
    (im:check()),
  }
  local info = plan.tensors
  for _, d in ipairs(info) do
    parts[#parts + 1] = ("%s %s %s %d"):format(d.name, d.from, d.to, d.bytes_from)
  end
  for _, c in ipairs(chunks) do parts[#parts + 1] = table.concat(c, " ") end
  return table.concat(parts, "\n")
end

-- Everything with the model open.
local function run(o, model)
  local all, message, code = pass.chunks(model, o.text, o.context or 512)
  if not all then return nil, message, code end
  local chunks = spread(all, o.chunks)
  local im, why, kind = o.imatrix, nil, nil
  if type(im) == "string" then im, why, kind = require("wane.imatrix").open(im) end
  if not im then
    if kind then return nil, why, kind end
    im, why, kind = require("wane.calibrate").imatrix(model, o.text,
      { context = o.context, threads = o.threads, chunks = o.chunks })
    if not im then return nil, why, kind end
  end
  local q = quantize_options(o, im)
  local plan
  plan, message, code = quantize.plan(q)
  if not plan then return nil, message, code end
  local types, plain = sort_tensors(model, plan)
  local log
  log, message, code = store.open(o.to, identity(o, chunks, im, plan), o.resume ~= false)
  if not log then return nil, message, code end
  local scaled = { weights = {}, stand_ins = {} }
  if o.awq then
    scaled, message, code = require("wane.calibrate.awq").scale(model, {
      types = types, chunks = chunks, threads = o.threads, options = type(o.awq) == "table" and o.awq or {},
    })
    if not scaled then
      log:close()
      return nil, message, code
    end
  end
  local function importance(name)
    local n = im:width(name)
    return n and core.quant.buffer(1, n, im:values(name)) or nil
  end
  local finished, stats
  finished, stats, code = encode.run(model, {
    types = types, plain = plain, chunks = chunks, importance = importance, damp = o.damp or 0.01,
    sweeps = o.sweeps or 8, feedback = o.feedback ~= false, aim = o.aim or 0.5, threads = o.threads,
    sequential = o.sequential ~= false, steps = o.steps or "layer", progress = o.progress,
    weights = scaled.weights, stand_ins = scaled.stand_ins,
    load = function(name, t) return log:load(name, t) end,
    save = function(name, t, bytes) log:save(name, t, bytes) end,
  })
  if not finished then
    log:close()
    return nil, stats, code
  end
  for _, t in ipairs(scaled.stand_ins) do
    if t.kept then finished[#finished + 1] = t end
  end
  for _, w in pairs(scaled.weights) do w:close() end -- order does not matter
  local parts = o.to .. ".tensors"
  local ok
  ok, message, code = store.write(parts, model.gguf, finished)
  local report
  if ok then
    q.tensors, q.resume = parts, false
    report, message, code = quantize(q)
  end
  os.remove(parts)
  log:close(report ~= nil)
  if not report then return nil, message, code end
  report.rebuilt, report.chunks, report.calibration_resumed = stats, #chunks, log.resumed
  report.scaled = scaled.report
  return report
end

--- Quantizes a file; see the top of this page.
---@param o wane.GptqOptions
---@return wane.QuantizeReport|nil report  with `rebuilt`: error before and after of each tensor
---@return string? message
---@return string? code
return function(o)
  check(o)
  local model, message, code = o.model
  if not model then
    model, message, code = require("wane.model").load(o.from,
      { context = o.context or 512, threads = o.threads })
    if not model then return nil, message, code end
  end
  local fine, report
  fine, report, message, code = pcall(run, o, model)
  if model ~= o.model then model:close() end
  if not fine then error(report, 0) end
  return report, message, code
end
