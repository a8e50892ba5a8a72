--- Learned numbers: levels and scales of a quantized file, moved by gradients.
---
---     assert(wane.calibrate.gptq { from = "model-f16.gguf", to = "start.gguf", recipe = "Q2_K", text = text })
---     local r = assert(wane.calibrate.learn { from = "model-f16.gguf", start = "start.gguf", to = "better.gguf", text = text })
---     print(r.before, r.after)
---
--- GPTQ makes each matrix answer as it did. What counts is what the model says
--- in the end: here the numbers that blocks store go against the gradient of the
--- KL divergence from the unquantized model, in steps of fixed length (core.learn).
--- Types, sizes and everything that is not in blocks stay as they are.
---
--- `blocks` layers are learned together, one group after the other, each with
--- what was learned before it; by default all layers are one group. A group
--- ends with the best of all checks on held-out text, its start included, so
--- the file is never worse there than `start`. A check that is worse goes back to
--- the best, and on at half the rate: finer formats find their own.
---
--- An interrupted run goes on: finished groups are in `to`.calibration, the one
--- in hand in `to`.learning.
---
--- Memory, beside both models: 12 bytes for each weight of a group (values,
--- gradient, twins), and what a step takes (wane.tune).
local core = require "wane.core"
local data = require "wane.tune.data"
local file = require "wane.file"
local gguf = require "wane.gguf"
local loop = require "wane.tune.loop"
local options = require "wane.options"
local pass = require "wane.calibrate.pass"
local store = require "wane.calibrate.store"
local teacher = require "wane.tune.teacher"

---@class wane.LearnOptions
---@field from string       the unquantized file: the teacher
---@field start string      the quantized one, best by wane.calibrate.gptq
---@field to string         output
---@field text string|integer[]|nil   to learn from; default: a mixed one (wane.calibrate.mixed)
---@field held string|integer[]|nil   to judge by; default: every tenth sequence of the text, but at most 16
---@field blocks integer?   layers that are learned together (default: all)
---@field steps integer?    of each group (100)
---@field batch integer?    sequences of a step (2)
---@field context integer?  tokens of a sequence (256)
---@field rate number?      how far a level's twin goes in the first step, in distances between levels (0.004); it
---  falls along a cosine to a tenth. Scales go by what moves the last level three times as far
---@field seed integer?
---@field threads integer?
---@field check_every integer?  steps from check to check (a tenth of them)
---@field save_every integer?   steps from checkpoint to checkpoint (20)
---@field overwrite boolean?
---@field resume boolean?   go on after an interrupted run (true)
---@field max_bytes integer?
---@field progress (fun(p: { done: integer, total: integer, group: integer, groups: integer, loss: number, held: number }): boolean?)?
---  return false to cancel

---@class wane.LearnReport
---@field before number    divergence from the unquantized model on what was held out, nats per token: before the first
---  group of this run
---@field after number      after its last
---@field groups { tensors: integer, losses: number[], held: table[], best_step: integer, seconds: number }[]   those of this run
---@field tensors integer
---@field sequences integer   learned from
---@field resumed integer  steps and groups that an earlier run had done
---@field bytes integer    the most that a group took
---@field seconds number

local a_text = options.either("string", options.token_ids)
local check = options.checker("calibrate.learn", {
  from = options.required "path", start = options.required "path", to = options.required "path", text = a_text, held = a_text,
  blocks = options.integer(1), steps = options.integer(1), batch = options.integer(1), context = options.integer(8, 16777216),
  rate = options.number(0, 1), seed = options.integer(0), threads = options.threads, check_every = options.integer(1),
  save_every = options.integer(1), overwrite = "boolean", resume = "boolean", max_bytes = options.bytes, progress = "function",
}, { steps = 100, batch = 2, context = 256, rate = 0.004, seed = 1, save_every = 20, resume = true })

-- -- the numbers of a group as a subject of wane.tune.loop ----------------------

local Blocks = {}
Blocks.__index = Blocks

-- A learner for each tensor of the group.
local function blocks_of(st, t, group)
  local self = setmetatable({ st = st, t = t, group = group, learners = {}, best = {}, bytes = 0 }, Blocks)
  for _, e in ipairs(group) do
    local ok, message, code = self:begin(e, e:raw())
    if not ok then return nil, message, code end
    self.bytes = self.bytes + self.learners[e.name]:size()
  end
  return self
end

-- The twins of a tensor begin at these blocks.
function Blocks:begin(e, bytes)
  local w, message, code = self.st.source:tensor(e.name):read()
  if not w then return nil, message, code end
  local l
  l, message, code = core.learn.open(e.type, bytes, w)
  w:close()
  if not l then return nil, message, code end
  if self.learners[e.name] then self.learners[e.name]:close() end
  self.learners[e.name] = l
  return true
end

-- What the trainer runs is what the blocks of a tensor decode to.
function Blocks:put(name)
  local v = self.learners[name]:values(self.st.o.threads)
  self.t:put(name, v)
  v:close()
end

function Blocks:step(rate)
  for _, e in ipairs(self.group) do
    local g = self.t:get(e.name, "grad")
    self.learners[e.name]:step(g, rate, self.st.o.threads)
    g:close()
    self:put(e.name)
  end
  self.t:zero()
  return true
end

function Blocks:save()
  local list = {}
  for _, e in ipairs(self.group) do
    local b = self.learners[e.name]:twins()
    list[#list + 1] = loop.as_tensor(e.name .. "#twins", b)
    list[#list + 1] = { name = e.name .. "#best", type = e.type, shape = e.shape, data = self.best[e.name] }
    b:close()
  end
  return list
end

function Blocks:load(name, part, entry)
  if part == "best" then
    local bytes, message, code = entry:raw()
    self.best[name] = bytes
    return bytes and true, message, code
  end
  local b, message, code = entry:read()
  if not b then return nil, message, code end
  self.learners[name]:twins(b)
  b:close()
  self:put(name)
  return true
end

function Blocks:keep()
  for _, e in ipairs(self.group) do self.best[e.name] = self.learners[e.name]:bytes(self.st.o.threads) end
end

function Blocks:restore()
  for _, e in ipairs(self.group) do
    local ok, message, code = self:begin(e, self.best[e.name])
    if not ok then return nil, message, code end
    self:put(e.name)
  end
  return true
end

function Blocks:close()
  for _, l in pairs(self.learners) do l:close() end -- order does not matter
end

-- -- groups --------------------------------------------------------------------

local floats = { f32 = true, f16 = true, bf16 = true }

-- Tensors of the layers whose numbers can be chosen, in groups of n layers.
local function groups_of(st, n)
  local used, groups, layers, last = {}, {}, 0, nil
  for _, name in ipairs(pass.matrices(st.model)) do used[name] = true end
  for _, e in ipairs(st.file.tensors) do
    local layer, source = e.name:match "^blk%.%d+%.", st.source:tensor(e.name)
    if layer and used[e.name] and core.calib.supported(e.type) and source and floats[source.type] then
      if layer ~= last then
        if layers % n == 0 then groups[#groups + 1] = {} end
        layers, last = layers + 1, layer
      end
      table.insert(groups[#groups], e)
    end
  end
  return groups
end

local function digest(bytes) return core.stream.digest_hex(core.stream.digest(nil, bytes)) end

-- What the result depends on.
local function identity(o, groups, list, held)
  local parts = { o.blocks or "all", o.steps, o.batch, o.context, o.rate, o.seed, o.check_every or "" }
  for i, p in ipairs(parts) do parts[i] = tostring(p) end
  for _, sequences in ipairs { list, held } do
    for _, s in ipairs(sequences) do parts[#parts + 1] = table.concat(s.ids, " ") end
  end
  for k, group in ipairs(groups) do
    for _, e in ipairs(group) do parts[#parts + 1] = ("%d %s %s %s"):format(k, e.name, e.type, digest(e:raw())) end
  end
  return digest(table.concat(parts, "\n"))
end

-- A check takes a third of the time of a step for each of these.
local MOST_HELD = 16

-- Sequences to learn from and to judge by.
local function sequences(st)
  local o = st.o
  local list, message, code = data.of_text(st.model, o.text or require("wane.calibrate.mixed").text(st.model), o.context)
  if not list then return nil, message, code end
  if o.held then
    local held
    held, message, code = data.of_text(st.model, o.held, o.context)
    if not held then return nil, message, code end
    return list, held
  end
  if #list < 2 then return nil, "text: too short to hold a part out: give more, or option 'held'", "EDATA" end
  local apart, first = math.max(10, math.ceil(#list / MOST_HELD)), math.min(5, #list)
  local kept, held = {}, {}
  for i, s in ipairs(list) do table.insert(i % apart == first and held or kept, s) end
  return kept, held
end

-- Takes a group over from an earlier run, when all of it is there.
local function restored(st, group)
  for _, e in ipairs(group) do
    if not st.log:load(e.name, e.type) then return false end
  end
  return true
end

-- The model with what was learned so far.
local function model_so_far(st)
  local list = {}
  for _, e in ipairs(st.finished) do list[#list + 1] = { e.name, e.type, st.log:load(e.name, e.type) } end
  if #list == 0 then return st.model end
  return st.model:variant(list)
end

-- Options of the loop for group k.
local function loop_options(st, k)
  local o = st.o
  return {
    steps = o.steps, batch = o.batch, rate = o.rate, warmup = 0, seed = o.seed + k, keep_best = true, retreat = true,
    check_every = o.check_every or math.max(1, math.floor(o.steps / 10)), save_every = o.save_every,
    checkpoint = o.to .. ".learning", identity = st.identity .. " " .. k, progress = o.progress and function(p)
      return o.progress { done = p.done, total = p.total, group = k, groups = #st.groups, loss = p.loss, held = p.held }
    end,
  }
end

local function learn_group(st, k)
  local group, names, o = st.groups[k], {}, st.o
  for i, e in ipairs(group) do names[i] = e.name end
  local model, message, code = model_so_far(st)
  if not model then return nil, message, code end
  local t, subject, report
  t, message, code = core.train.open(model.handle, { tokens = o.context, train = names, threads = o.threads, max_bytes = o.max_bytes })
  if t then subject, message, code = blocks_of(st, t, group) end
  local fine = true
  if subject then
    fine, report, message, code = pcall(loop.run, t, subject, st.list, st.held, st.teacher.loss, loop_options(st, k))
    subject:close()
  end
  if t then
    st.bytes = math.max(st.bytes, t:info().bytes + (subject and subject.bytes or 0))
    t:close()
  end
  if model ~= st.model then model:close() end
  if not fine then error(report, 0) end
  if not report then return nil, message, code end
  for name, bytes in pairs(subject.best) do st.log:save(name, st.file:tensor(name).type, bytes) end -- any order
  report.tensors = #group
  return report
end

-- Everything with the files open.
local function run(st)
  local o = st.o
  local list, held, code = sequences(st)
  if not list then return nil, held, code end
  st.list, st.held = list, held
  st.groups = groups_of(st, o.blocks or #st.file.tensors)
  if #st.groups == 0 then return nil, o.start .. ": no matrix of a layer whose numbers can be chosen", "EDATA" end
  st.identity = identity(o, st.groups, st.list, st.held)
  local message
  st.log, message, code = store.open(o.to, st.identity, o.resume)
  if not st.log then return nil, message, code end
  if not o.resume then os.remove(o.to .. ".learning") end
  local report = { groups = {}, tensors = 0, sequences = #st.list, resumed = 0 }
  for k, group in ipairs(st.groups) do
    if restored(st, group) then
      report.resumed = report.resumed + 1
    else
      local r
      r, message, code = learn_group(st, k)
      if not r then return nil, message, code end
      report.groups[#report.groups + 1] = r
      report.resumed = report.resumed + (r.resumed or 0)
    end
    for _, e in ipairs(group) do st.finished[#st.finished + 1] = e end
    report.tensors = report.tensors + #group
  end
  local ok
  ok, message, code = st.file:write(o.to, {
    overwrite = o.overwrite, give = function(name) return st.log:load(name, st.file:tensor(name).type) or false end,
  })
  if not ok then return nil, message, code end
  local first, last = report.groups[1], report.groups[#report.groups]
  if first then report.before, report.after = first.held[1].loss, loop.best(last.held) end
  report.bytes = st.bytes
  return report
end

-- Opens what `run` needs; true, or nil, message, code.
local function open_all(st)
  local o, load = st.o, require("wane.model").load
  local message, code
  st.file, message, code = gguf.open(o.start)
  if st.file then st.source, message, code = gguf.open(o.from) end
  local opts = { context = o.context, threads = o.threads }
  if st.source then st.model, message, code = load(o.start, opts) end
  if st.model then st.reference, message, code = load(o.from, opts) end
  if not st.reference then return nil, message, code end
  local ok, why = require("wane.eval.run").same_vocabulary(st.model, st.reference)
  if not ok then return nil, why, "EFORMAT" end
  st.teacher, message, code = teacher.new(st.reference, o)
  return st.teacher and true, message, code
end

local function learn(o)
  local started = core.now()
  local ok, message, code = file.can_write(o.to, { overwrite = o.overwrite })
  if not ok then return nil, message, code end
  local st, fine, report = { o = o, finished = {}, bytes = 0 }, true, nil
  ok, message, code = open_all(st)
  if ok then fine, report, message, code = pcall(run, st) end
  if st.log then st.log:close(fine and report ~= nil) end
  if st.teacher then st.teacher.close() end
  for _, key in ipairs { "reference", "model", "source", "file" } do
    if st[key] then st[key]:close() end
  end
  if not fine then
    if type(report) == "table" and report.msg then return nil, report.msg, report.code end -- of the log
    error(report, 0)
  end
  if report then report.seconds = core.now() - started end
  return report, message, code
end

--- Learns the numbers of a quantized file's blocks; see the top of this page.
---
---     local r = assert(wane.calibrate.learn { from = "model-f16.gguf", start = "start.gguf", to = "better.gguf", text = text })
---     print(r.before, r.after)
---@param o wane.LearnOptions
---@return wane.LearnReport|nil
---@return string? message
---@return string? code
return function(o)
  return require("wane.convert.view").around(check(o), "from", learn)
end
