--- Tuning a finished, quantized file on the CPU.
---
---     -- a low-rank adapter (LoRA) on a quantized base, as llama.cpp loads it
---     local r = assert(wane.tune { model = "model-Q4_K_M.gguf", to = "style.gguf", text = book, held = last_chapter })
---     print(r.held[1].loss, r.held[#r.held].loss)
---     local m = assert(wane.load("model-Q4_K_M.gguf", { lora = "style.gguf" }))
---
---     -- norms and biases of a quantized file, taught by the model it came from
---     assert(wane.tune.norms { model = "model-Q2_K.gguf", reference = "model-f16.gguf", to = "better.gguf", text = text })
---
--- The weights of the file are frozen; products are made with what their blocks
--- decode to. Memory: a context's activations and twice that, the adapter four
--- times (AdamW), and nothing of the size of the model (r.bytes).
local core = require "wane.core"
local data = require "wane.tune.data"
local file = require "wane.file"
local gguf = require "wane.gguf"
local loop = require "wane.tune.loop"
local options = require "wane.options"
local teacher = require "wane.tune.teacher"

local M = {}

local a_text = options.either("string", options.token_ids)

local shared = {
  model = options.required "path", to = options.required "path", text = a_text, held = a_text,
  context = options.integer(8, 16777216), steps = options.integer(1), batch = options.integer(1),
  rate = options.number(0, 100), warmup = options.integer(0), decay = options.number(0, 100),
  clip = options.number(0), seed = options.integer(0), threads = options.threads, check_every = options.integer(1),
  checkpoint = "path", save_every = options.integer(1), overwrite = "boolean", progress = "function",
  max_bytes = options.bytes,
}
local defaults = {
  context = 256, batch = 4, decay = 0, clip = 1, seed = 1, save_every = 50,
}

-- Some options more, some defaults more.
local function with(more, values)
  local t, d = {}, {}
  for k, v in pairs(shared) do t[k] = v end
  for k, v in pairs(more) do t[k] = v end
  for k, v in pairs(defaults) do d[k] = v end
  for k, v in pairs(values) do d[k] = v end
  return t, d
end

local check_lora = options.checker("tune", with({
  chats = data.chats, format = "string", rank = options.integer(1, 1024), alpha = options.number(0),
  tensors = options.list("string", 1),
}, { rank = 8, steps = 100, rate = 2e-3 }))

local check_norms = options.checker("tune.norms", with({ reference = options.required "path" }, { steps = 50, rate = 1e-3 }))

-- What a run is, for its checkpoints.
local function identity(o, list)
  local parts = { o.model, o.rank or "", o.alpha or "", o.context, o.batch, o.rate, o.steps, o.seed, o.decay, o.clip, #list }
  for i, p in ipairs(parts) do parts[i] = tostring(p) end
  for k, s in ipairs(list) do parts[#parts + 1] = ("%d:%d:%d:%d"):format(k, #s.ids, s.ids[#s.ids], s.ids[math.ceil(#s.ids / 2)]) end
  return table.concat(parts, " ")
end

local function sequences(model, o)
  if o.chats and o.text then options.misuse "tune: options 'text' and 'chats': want one of them" end
  if o.chats then return data.of_chats(model, o.chats, o.context, o.format) end
  if not o.text then options.misuse "tune: option 'text' or 'chats' is missing" end
  return data.of_text(model, o.text, o.context)
end

-- -- adapters ------------------------------------------------------------------

-- Matrices of the layers that are multiplied by themselves.
local DEFAULT = {
  "attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output", "ffn_gate", "ffn_up", "ffn_down",
}

-- Names and shapes of what is adapted, in the order of the file.
local function targets(f, patterns)
  local wanted, list = {}, {}
  for _, role in ipairs(DEFAULT) do wanted[role] = true end
  for _, t in ipairs(f.tensors) do
    local role = t.name:match "^blk%.%d+%.([%w_]+)%.weight$"
    local take = role and wanted[role]
    if patterns then
      take = false
      for _, p in ipairs(patterns) do take = take or t.name:find(p) ~= nil end
    end
    if take and #t.shape == 2 then
      list[#list + 1] = { name = t.name, cols = t.shape[1], rows = t.shape[2] }
    end
  end
  return list
end

-- Values of the first half, uniform within the inverse root of the width (as in
-- other implementations); the second half is 0, so that nothing changes yet.
local function start_values(rank, cols, draw)
  local t, bound = {}, 1 / math.sqrt(cols)
  for i = 1, rank * cols do t[i] = (draw(2147483646) / 1073741823 - 1) * bound end
  return core.quant.buffer(rank, cols, t)
end

local function adapter_meta(o, architecture)
  return {
    { "general.architecture", "string", architecture }, { "general.type", "string", "adapter" },
    { "adapter.type", "string", "lora" }, { "adapter.lora.alpha", "f32", o.alpha },
  }
end

-- Writes an adapter; half(target, "a" or "b") -> buffer.
local function write_adapter(path, o, architecture, list, half)
  local tensors = {}
  for _, t in ipairs(list) do
    for _, which in ipairs { "a", "b" } do
      local b = half(t, which)
      local rows, cols = b:shape()
      tensors[#tensors + 1] = {
        name = ("%s.lora_%s"):format(t.name, which), type = "f32", shape = { cols, rows }, data = b:bytes(),
      }
      b:close()
    end
  end
  return gguf.write { path = path, meta = adapter_meta(o, architecture), tensors = tensors, overwrite = true }
end

-- The model with an adapter that does nothing yet.
local function start_model(o)
  local f, message, code = gguf.open(o.model)
  if not f then return nil, message, code end
  local list, architecture = targets(f, o.tensors), f.meta["general.architecture"]
  f:close()
  if #list == 0 then return nil, o.model .. ": no matrix to adapt", "EDATA" end
  local draw, first, model = loop.generator(o.seed + 77), o.to .. ".start", nil
  local ok
  ok, message, code = write_adapter(first, o, architecture, list, function(t, which)
    if which == "a" then return start_values(o.rank, t.cols, draw) end
    local zeros = core.quant.buffer(t.rows, o.rank)
    zeros:fill(0)
    return zeros
  end)
  if ok then
    model, message, code = require("wane.model").load(o.model, { lora = first, context = o.context, threads = o.threads })
  end
  os.remove(first)
  if not model then return nil, message, code end
  return model, list, architecture
end

local function cross_entropy(t, s, scale) return t:ce(s.targets, scale) end

-- Sequences, a trainer, the loop.
local function train(model, names, o, loss, prepare)
  local list, message, code = sequences(model, o)
  if not list then return nil, message, code end
  local held = {}
  if o.held then
    held, message, code = data.of_text(model, o.held, o.context)
    if not held then return nil, message, code end
  end
  if prepare then
    local ok
    ok, message, code = prepare(list, held)
    if not ok then return nil, message, code end
  end
  local t
  t, message, code = core.train.open(model.handle,
    { tokens = o.context, train = names, threads = o.threads, max_bytes = o.max_bytes })
  if not t then return nil, message, code end
  local run = {}
  for k, v in pairs(o) do run[k] = v end
  run.warmup, run.identity = o.warmup or math.ceil(o.steps / 20), identity(o, list)
  local fine, report
  local subject = loop.weights(t, run)
  fine, report, message, code = pcall(loop.run, t, subject, list, held, loss, run)
  subject:close()
  if not fine then
    t:close()
    error(report, 0)
  end
  if not report then
    t:close()
    return nil, message, code
  end
  report.bytes, report.sequences = t:info().bytes, #list
  return report, t
end

--- Trains a low-rank adapter; see the top of this page. wane.tune itself does the same.
---
--- Options: model (a file of any types), to (the adapter, in float32), text (a
--- string or token ids) or chats (lists of { role, content }; only the replies
--- of the assistant count; format: a name of wane.chat.formats instead of the
--- model's template), held (text to measure on: before, every check_every steps,
--- at the end), rank (8), alpha (2 * rank), tensors (Lua patterns of names; default: the
--- matrices of attention and of feed-forward layers), context (256 tokens of a
--- sequence), steps (100) of batch (4) sequences, rate (0.002) after warmup (a
--- twentieth of the steps), falling along a cosine to a tenth, decay (0), clip (1,
--- longest gradient), seed, threads, checkpoint (a file: written every save_every
--- (50) steps; an interrupted run goes on from it), overwrite, max_bytes, progress(p).
---
---     assert(wane.tune.lora { model = "model-Q2_K.gguf", text = text, to = "adapter.gguf" })
---@param o table
---@return table|nil report  losses (of each step, nats per token), held ({ { step, loss }, ... }), tensors, values, bytes, seconds
---@return string? message
---@return string? code
function M.lora(o)
  o = check_lora(o)
  o.alpha = o.alpha or 2 * o.rank
  local ok, message, code = file.can_write(o.to, { overwrite = o.overwrite })
  if not ok then return nil, message, code end
  local model, list, architecture = start_model(o)
  if not model then return nil, list, architecture end
  local names, values = {}, 0
  for _, t in ipairs(list) do
    names[#names + 1] = ("lora.1.%s.a"):format(t.name)
    names[#names + 1] = ("lora.1.%s.b"):format(t.name)
    values = values + o.rank * (t.rows + t.cols)
  end
  local report, t, kind = train(model, names, o, cross_entropy)
  model:close()
  if not report then return nil, t, kind end
  ok, message, code = write_adapter(o.to, o, architecture, list, function(target, which)
    return t:get(("lora.1.%s.%s"):format(target.name, which))
  end)
  t:close()
  if not ok then return nil, message, code end
  report.tensors, report.values = #list, values
  return report
end

-- -- norms and biases ----------------------------------------------------------

local plain = { f32 = true, f16 = true, bf16 = true }

-- Vectors of the layers and of the end: norms and biases.
local function vectors(f)
  local list = {}
  for _, t in ipairs(f.tensors) do
    if #t.shape == 1 and plain[t.type] and (t.name:find "norm" or t.name:find "%.bias$") and not t.name:find "exp_probs" then
      list[#list + 1] = t.name
    end
  end
  return list
end

-- The file again, with the trained vectors.
local function write_file(f, o, t)
  local trained = {}
  for _, name in ipairs(t:trained()) do trained[name] = true end
  return f:write(o.to, {
    overwrite = o.overwrite, give = function(name)
      if not trained[name] then return false end
      local b = t:get(name)
      local q, message, code = core.quant.encode(f:tensor(name).type, b)
      b:close()
      if not q then return nil, name .. ": " .. message, code end
      local bytes = q:bytes()
      q:close()
      return bytes
    end,
  })
end

--- Tunes norms and biases of a quantized file so that its predictions come
--- nearer to those of `reference` (KL divergence); see the top of this page. What
--- is written is the best of all checks on the held-out text, the start included:
--- never worse than where it started there.
---
--- Options: as wane.tune's, without those of adapters; reference (the unquantized
--- file), held (default: the last tenth of the text), steps (50), rate (0.001).
---
---     assert(wane.tune.norms { model = "model-Q2_K.gguf", reference = "model-f16.gguf", text = text, to = "better.gguf" })
---@param o table
---@return table|nil report  losses and held in nats per token
---@return string? message
---@return string? code
function M.norms(o)
  o = check_norms(o)
  local ok, message, code = file.can_write(o.to, { overwrite = o.overwrite })
  if not ok then return nil, message, code end
  local f, model, reference, teach
  local function done(...)
    for _, x in ipairs { teach or false, reference or false, model or false } do
      if x then (x.close)(x) end
    end
    if f then f:close() end
    return ...
  end
  f, message, code = gguf.open(o.model)
  if not f then return nil, message, code end
  local load = require("wane.model").load
  model, message, code = load(o.model, { context = o.context, threads = o.threads })
  if not model then return done(nil, message, code) end
  reference, message, code = load(o.reference, { context = o.context, threads = o.threads })
  if not reference then return done(nil, message, code) end
  ok, message = require("wane.eval.run").same_vocabulary(model, reference)
  if not ok then return done(nil, message, "EFORMAT") end
  teach, message, code = teacher.new(reference, o)
  if not teach then return done(nil, message, code) end
  o.keep_best, o.check_every = true, o.check_every or math.max(1, math.floor(o.steps / 5))
  local function split(list, held)
    if #held > 0 then return true end
    if #list < 2 then return nil, "text: too short to hold a part out: give more, or option 'held'", "EDATA" end
    for _ = 1, math.max(1, math.floor(#list / 10)) do table.insert(held, 1, table.remove(list)) end
    return true
  end
  local report, t, kind = train(model, vectors(f), o, teach.loss, split)
  if not report then return done(nil, t, kind) end
  ok, message, code = write_file(f, o, t)
  report.tensors = #t:trained()
  t:close()
  if not ok then return done(nil, message, code) end
  return done(report)
end

--- The losses of a training as a page of HTML that needs nothing else: of a report of
--- wane.tune, wane.tune.norms or wane.calibrate.learn.
---
---     local r = assert(wane.tune { model = "model-Q4_K_M.gguf", to = "style.gguf", text = book, held = last_chapter })
---     assert(io.open("training.html", "w")):write(wane.tune.page(r)):close()
---@param report table
---@param title string?
---@return string
---@error none
function M.page(report, title)
  options.argument("tune.page", "report", report, "table")
  options.argument("tune.page", "title", title or "", "string")
  return require "wane.tune.page"(report, title or "A training")
end

return setmetatable(M, { __call = function(_, o) return M.lora(o) end })
