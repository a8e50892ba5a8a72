--- What a model will take, from its header alone: the program is built and
--- planned as for running, but no weight is read or allocated.
local arch = require "wane.arch"
local core = require "wane.core"
local describe = require "wane.recipe.describe"
local graph = require "wane.arch.graph"
local hparams = require "wane.arch.hparams"
local imagine = require "wane.fit.imagine"
local planner = require "wane.recipe.plan"
local vocabs = require "wane.vocab"

local M = {}

-- What a vocabulary takes per token where there is none to ask, and a header
-- per token and tensor: measured on real files.
local VOCAB_TOKEN, HEADER_TOKEN, HEADER_TENSOR = 330, 60, 400
local ALIGNMENT = 32

---@class wane.fit.Model
---@field g userdata|wane.Imagined
---@field hp table
---@field desc wane.ModelDesc
---@field imagined boolean
---@field header_bytes integer  of memory
---@field vocab_bytes integer
---@field graph_bytes integer
---@field partial string?  why only the weights are known
local Model = {}
Model.__index = Model

local function live() return core.memory().bytes end

-- The metadata value of a key.
local function getter(g)
  return function(key)
    local i = g:find_kv(key)
    return i and (select(3, g:kv(i)))
  end
end

-- What the vocabulary of the file takes: it is loaded and let go.
local function vocab_bytes(g, hp, imagined)
  if imagined then return hp.vocab_size * VOCAB_TOKEN end
  local before = live()
  local v = vocabs.of(g)
  if not v then return 0 end
  local n = live() - before
  v:close()
  return n
end

-- What a header says of an architecture that wane cannot build: its weights
-- are what they are, and nothing is known of what running takes.
local function bare(g, name)
  local get = getter(g)
  local function count(key)
    local v = get(name .. "." .. key)
    return type(v) == "number" and v > 0 and v or 1
  end
  local tokens = get "tokenizer.ggml.tokens"
  return { architecture = name, block_count = count "block_count", context_length = count "context_length",
    vocab_size = type(tokens) == "table" and #tokens or 0 }
end

local function read(self, g)
  local name = hparams.architecture(g)
  local builder = arch.find(name)
  self.graph_bytes = 0
  if builder then
    self.hp = hparams.read(g)
    local before = live()
    self.prog = graph.build(g, builder, self.hp)
    self.graph_bytes = live() - before
  else
    self.hp, self.partial = bare(g, name), ("unknown architecture %q"):format(name:sub(1, 64))
  end
  self.vocab_bytes = vocab_bytes(g, self.hp, self.imagined)
  local list = {}
  for i = 1, g:info().n_tensors do list[i] = g:tensor(i) end
  self.desc = assert(describe.model { get = getter(g), tensors = list })
end

local function sum(list)
  local n = 0
  for _, v in ipairs(list) do n = n + v end
  return n
end

--- Opens a header: of a file, or of a model that does not exist.
---@param what string|table
---@return wane.fit.Model|nil
---@return string? message
---@return string? code
function M.open(what)
  local self = setmetatable({ imagined = type(what) == "table" }, Model)
  local g, message, code
  collectgarbage()
  local before = live()
  if self.imagined then
    g = imagine.header(what)
    self.header_bytes = g.shape.vocab * HEADER_TOKEN + #g.tensors * HEADER_TENSOR
  else
    g, message, code = core.gguf.open(what)
    if not g then return nil, message, code end
    self.header_bytes = live() - before
  end
  self.g = g
  local ok, why = pcall(read, self, g)
  if ok then
    self.file_bytes = sum(g:info().file_bytes)
    return self
  end
  g:close()
  if type(why) ~= "table" then error(why, 0) end
  return nil, (self.imagined and "" or what .. ": ") .. why.msg, why.code
end

function Model:close()
  if self.prog then self.prog:close() end
  return self.g:close()
end

-- Number of parameters.
function Model:params()
  local n = 0
  for _, t in ipairs(self.desc.tensors) do n = n + t.n_values end
  return n
end

local function padded(n) return math.ceil(n / ALIGNMENT) * ALIGNMENT end

-- Bytes of the file that a plan would write: header, padded tensors.
local function planned_bytes(self, plan)
  local own, bytes = 0, 0
  for _, d in ipairs(plan.tensors) do own, bytes = own + padded(d.bytes_from), bytes + padded(d.bytes) end
  local header = self.imagined and self.hp.vocab_size * 24 + #plan.tensors * 70 or self.file_bytes - own
  return bytes + math.max(0, header)
end

--- The types of all tensors and the bytes of the file: as they are, or as a
--- recipe chooses.
---@param recipe? any
---@return { types: table<string, string>, bytes: integer, bpw: number, requires_imatrix: boolean, plan: wane.Plan? }|nil
---@return string? message
---@return string? code
function Model:types(recipe)
  local types = {}
  if recipe == nil then
    local bytes, values, file = 0, 0, 0
    for _, t in ipairs(self.desc.tensors) do
      local b = require("wane.recipe.types").bytes_of(t.type, t.n_cols, t.n_rows)
      types[t.name], bytes, values, file = t.type, bytes + b, values + t.n_values, file + padded(b)
    end
    return { types = types, bytes = self.imagined and file or self.file_bytes, bpw = 8 * bytes / values }
  end
  local plan, message, code = planner.make(self.desc, require("wane.eval.shrink").recipe(recipe),
    { dry_run = true, in_memory = true, allow_requantize = true })
  if not plan then return nil, message, code end
  for _, d in ipairs(plan.tensors) do
    local custom = require("wane.recipe.types").find(d.to).class == "custom"
    types[d.source_name] = custom and "f32" or d.to
  end
  return { types = types, bytes = planned_bytes(self, plan), bpw = plan.bpw, plan = plan,
    requires_imatrix = plan.requires_imatrix }
end

---@class wane.Need
---@field weights integer   the file, mapped
---@field vectors integer   copies of small tensors
---@field cache integer     keys and values
---@field cache_windowed integer  what attention with windows can look at
---@field buffers integer   one step's values
---@field overhead integer  header, vocabulary, program
---@field total integer

--- What running takes.
---@param chosen table   of Model:types
---@param opts { context?: integer, sequences?: integer, batch?: integer, threads?: integer, kv?: string|table }
---@return wane.Need|nil
---@return string? message
---@return string? code
function Model:need(chosen, opts)
  if not self.prog then
    local overhead = self.header_bytes + self.vocab_bytes
    return { weights = chosen.bytes, vectors = 0, cache = 0, cache_windowed = 0, buffers = 0, overhead = overhead,
      total = chosen.bytes + overhead }
  end
  local kv = opts.kv or "f16"
  if type(kv) == "string" then kv = { k = kv, v = kv } end
  core.reset_peak()
  local before = live()
  local n, message, code = core.model.foresee(self.prog, chosen.types, self.hp.context_length, {
    n_ctx = opts.context, n_seq = opts.sequences, n_batch = opts.batch, threads = opts.threads,
    type_k = kv.k, type_v = kv.v,
  })
  if not n then return nil, message, code end
  local planning = core.memory().peak_bytes - before
  n.weights = chosen.bytes
  n.overhead = self.header_bytes + self.vocab_bytes + self.graph_bytes + planning
  n.total = n.weights + n.vectors + n.cache + n.buffers + n.overhead
  return n
end

return M
