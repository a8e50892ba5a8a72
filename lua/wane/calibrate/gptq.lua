--- Quantizing against measured inputs: error feedback (GPTQ) and coordinate
--- descent into any ggml block format, layer by layer.
---
---     assert(wane.calibrate.gptq { from = "model-f16.gguf", to = "model.gguf",
---                                  recipe = "Q4_K_M", text = text })
---
--- Types, metadata and layout are those of wane.quantize; only the numbers in
--- the blocks are chosen better. Tensors without an input (embeddings) go
--- through the plain encoder, as do iq1_s and iq1_m, whose points and shifts
--- only it chooses; the report lists them.
local core = require "wane.core"
local encode = require "wane.calibrate.encode"
local file = require "wane.file"
local options = require "wane.options"
local pass = require "wane.calibrate.pass"
local quantize = require "wane.quantize"
local store = require "wane.calibrate.store"

---@class wane.GptqOptions
---@field from string       source file, unquantized
---@field to string         output
---@field recipe string|function|wane.Recipe
---@field text string|integer[]|nil   calibration text, or token ids; default: a mixed one (wane.calibrate.mixed)
---@field model wane.Model? `from`, when it is loaded already
---@field context integer?  tokens per chunk (512)
---@field chunks integer?   most chunks, spread over the text (default: all)
---@field imatrix string|wane.Imatrix|nil   for plain tensors and the mix; default: measured from the text
---@field damp number?      share of the mean diagonal added to it (0.01)
---@field sweeps integer?   most rounds of coordinate descent (8)
---@field feedback boolean? error feedback before them (true)
---@field aim number?       0 to 1: how far targets move towards the unquantized model's outputs (0)
---@field shrink number|string|nil  0 to 1: what correlations lose off the diagonal; "validate" (default): chosen
---  for each input on the half of the text that it was not fitted on (wane.calibrate.trust)
---@field sequential boolean?   inputs come from the layers quantized so far (true)
---@field steps string?     "layer" (default) or "matrix": how often inputs are collected
---@field guide boolean?     inputs count by the loss's gradient at the matrix's outputs (wane.calibrate.guide; false)
---@field awq boolean|table|nil  scale channels first (wane.calibrate.awq)
---@field threads integer?
---@field overwrite boolean?
---@field resume boolean?   go on after an interrupted run (true)
---@field quantize table?   more options for wane.quantize
---@field progress (fun(p: table): boolean?)?  return false to cancel

-- Moving targets (aim) helps on the demo model, whose text is of one kind, and
-- harms others: errors of the layers above drag weights far from where they were.
local AIM, DAMP, SWEEPS, SHRINK = 0, 0.01, 8, "validate"

local check = options.checker("calibrate.gptq", {
  from = options.required "path", to = options.required "path", recipe = options.required "any",
  text = options.either("string", options.token_ids), model = "table",
  context = options.integer(2, 16777216), chunks = options.integer(1), imatrix = "any", damp = options.number(0, 100),
  sweeps = options.integer(0, 1000), feedback = "boolean", aim = options.number(0, 1), sequential = "boolean",
  shrink = options.either(options.number(0, 1), options.one_of { "validate" }),
  steps = options.one_of { "layer", "matrix" }, awq = options.either("boolean", "table"), threads = options.threads,
  overwrite = "boolean", resume = "boolean", quantize = "table", progress = "function", guide = "boolean",
})

-- At most n of the chunks, spread evenly.
local function spread(chunks, n)
  if not n or n >= #chunks then return chunks end
  local list = {}
  for i = 1, n do list[i] = chunks[math.floor((i - 1) * #chunks / n) + 1] end
  return list
end

-- Whether the output can be written: asked before the hours of work. A split
-- has other names; wane.quantize asks for them.
local function can_write(o)
  local q = o.quantize or {}
  if q.split or q.shard or q.keep_split then return true end
  return file.can_write(o.to, { overwrite = o.overwrite })
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

-- Which tensors change type, and how each is encoded. `left`: those that the
-- plain encoder makes, and why.
local function sort_tensors(model, plan)
  local has_input, types, plain, left = {}, {}, {}, {}
  for _, name in ipairs(pass.matrices(model)) do has_input[name] = true end
  for _, d in ipairs(plan.tensors) do
    if d.from ~= d.to and floats[d.from] and not floats[d.to] and d.name == d.source_name then
      types[d.name] = d.to
      local can = core.calib.supported(d.to)
      if not (has_input[d.name] and can) then
        plain[#plain + 1] = d.name
        left[#left + 1] = { name = d.name, type = d.to,
          why = can and "its input is no matrix of activations" or d.to .. ": only its own encoder chooses points and shifts" }
      end
    end
  end
  return types, plain, left
end

-- One warning for each type that cannot be rebuilt (iq1_s, iq1_m).
local function warn(report, left)
  local order, count = {}, {}
  for _, t in ipairs(left) do
    if not core.calib.supported(t.type) then
      if not count[t.type] then order[#order + 1] = t.type end
      count[t.type] = (count[t.type] or 0) + 1
    end
  end
  for _, t in ipairs(order) do
    table.insert(report.warnings, ("%s cannot be rebuilt, only its own encoder chooses points and shifts: %d tensors are as without GPTQ"):format(
      t, count[t]))
  end
end

local function identity(o, chunks, im, plan)
  local parts = {
    plan.recipe, tostring(o.damp or DAMP), tostring(o.sweeps or SWEEPS), tostring(o.feedback ~= false),
    tostring(o.aim or AIM), tostring(o.shrink or SHRINK), tostring(o.sequential ~= false), o.steps or "layer", tostring(o.awq),
    tostring(o.guide or false), (im:check()),
  }
  local info = plan.tensors
  for _, d in ipairs(info) do
    parts[#parts + 1] = ("%s %s %s %d"):format(d.name, d.from, d.to, d.bytes_from)
  end
  for _, c in ipairs(chunks) do parts[#parts + 1] = table.concat(c, " ") end
  return table.concat(parts, "\n")
end

-- The importance matrix to use: given, read, or measured.
local function importance_of(o, model)
  local im = o.imatrix
  if type(im) == "string" then return require("wane.imatrix").open(im) end
  if im then return im end
  return require("wane.calibrate").imatrix(model, o.text,
    { context = o.context, threads = o.threads, chunks = o.chunks })
end

-- Encodes every tensor; list of { name, type, bytes }, or nil, message, code.
local function encode_all(o, model, st)
  local scaled = { weights = {}, stand_ins = {} }
  if o.awq then
    local message, code
    scaled, message, code = require("wane.calibrate.awq").scale(model, {
      types = st.types, chunks = st.chunks, threads = o.threads, progress = o.progress,
      options = type(o.awq) == "table" and o.awq or {},
    })
    if not scaled then return nil, message, code end
  end
  local function importance(name)
    local n = st.im:width(name)
    return n and core.quant.buffer(1, n, st.im:values(name)) or nil
  end
  local finished, stats, code = encode.run(model, {
    types = st.types, plain = st.plain, chunks = st.chunks, importance = importance, threads = o.threads,
    damp = o.damp or DAMP, sweeps = o.sweeps or SWEEPS, feedback = o.feedback ~= false, aim = o.aim or AIM,
    shrink = o.shrink or SHRINK,
    sequential = o.sequential ~= false, steps = o.steps or "layer", progress = o.progress,
    weights = scaled.weights, stand_ins = scaled.stand_ins, guide = st.guide,
    load = st.load,
    save = function(name, t, bytes) st.log:save(name, t, bytes) end,
  })
  for _, w in pairs(scaled.weights) do w:close() end -- order does not matter
  if not finished then return nil, stats, code end
  for _, t in ipairs(scaled.stand_ins) do
    if t.kept then finished[#finished + 1] = t end
  end
  st.scaled, st.stats = scaled.report, stats
  return finished
end

-- The output file, through the streaming quantizer.
local function write(o, model, q, finished, load)
  local parts = o.to .. ".tensors"
  local report
  local ok, message, code = store.write(parts, model.gguf, finished, load)
  if ok then
    q.tensors, q.resume = parts, false
    report, message, code = quantize(q)
  end
  os.remove(parts)
  return report, message, code
end

-- Everything with the model open.
local function run(o, model)
  local st = {}
  o.text = o.text or require("wane.calibrate.mixed").text(model)
  local all, message, code = pass.chunks(model, o.text, o.context or 512)
  if not all then return nil, message, code end
  st.chunks = spread(all, o.chunks)
  st.im, message, code = importance_of(o, model)
  if not st.im then return nil, message, code end
  local q = quantize_options(o, st.im)
  local plan
  plan, message, code = quantize.plan(q)
  if not plan then return nil, message, code end
  st.types, st.plain, st.left = sort_tensors(model, plan)
  st.log, message, code = store.open(o.to, identity(o, st.chunks, st.im, plan), o.resume ~= false)
  if not st.log then return nil, message, code end
  if o.guide then
    st.guide, message, code = require("wane.calibrate.guide")._of(model, st.chunks, { threads = o.threads, progress = o.progress })
    if not st.guide then
      st.log:close(false)
      return nil, message, code
    end
  end
  st.load = function(name, kind) return st.log:load(name, kind) end
  local finished, report
  finished, message, code = encode_all(o, model, st)
  if finished then report, message, code = write(o, model, q, finished, st.load) end
  st.log:close(report ~= nil)
  if not report then return nil, message, code end
  report.rebuilt, report.scaled, report.chunks = st.stats, st.scaled, #st.chunks
  report.calibration_resumed, report.not_rebuilt = st.log.resumed, st.left
  warn(report, st.left)
  return report
end

local function gptq(o)
  o = check(o)
  local ok, message, code = can_write(o)
  if not ok then return nil, message, code end
  local model = o.model
  if not model then
    model, message, code = require("wane.model").load(o.from,
      { context = o.context or 512, threads = o.threads })
    if not model then return nil, message, code end
  end
  local fine, report
  local start = core.now()
  fine, report, message, code = pcall(run, o, model)
  if model ~= o.model then model:close() end
  if not fine then
    if type(report) == "table" and report.msg then return nil, report.msg, report.code end -- of the log
    error(report, 0)
  end
  -- all tensors come from a file of ours: none was reused in the user's sense
  if report then report.seconds, report.reused = core.now() - start, 0 end
  return report, message, code
end

-- The source may be a checkpoint's directory.
--- Quantizes a file; see the top of this page.
---
---     assert(wane.calibrate.gptq { from = path, to = "small.gguf", recipe = "Q4_K_M", text = text, context = 64, chunks = 1, overwrite = true })
---@param o wane.GptqOptions
---@return wane.QuantizeReport|nil report  with `rebuilt`: error before and after of each tensor; `not_rebuilt`: { name, type, why }
---  of those that the plain encoder made (embeddings, and iq1_s and iq1_m, which a warning names)
---@return string? message
---@return string? code
return function(o) return require("wane.convert.view").around(o, "from", gptq) end
