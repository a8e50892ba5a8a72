--- Headers of models that do not exist: from a few numbers to metadata and a
--- list of tensors, behind the methods of an open file, so that everything
--- that works from a header works on it.
---
--- A Llama: grouped-query attention, gated feed-forward, optional experts.
--- What is not said is filled in from what such models look like, and then
--- the feed-forward width is fitted to the number of parameters.
local options = require "wane.options"

local M = {}

local a_count = options.type('a number like 7e9 or "7B"', function(v)
  if type(v) == "number" then return v > 0 and v < math.huge end
  return type(v) == "string" and (tonumber((v:upper():match "^%s*([%d%.]+)%s*[KMBT]?%s*$")) or 0) > 0
end)
local check = options.checker("fit: a model", {
  params = a_count, layers = options.integer(1, 1024), width = options.integer(16, 1048576), heads = options.integer(1, 4096),
  kv_heads = options.integer(1, 4096), head_size = options.integer(8, 1024), ff = options.integer(1, 1048576),
  vocab = options.integer(1, 4194304), context = options.context, experts = options.integer(0, 4096),
  used = options.integer(1, 4096), tied = "boolean", name = "string",
})

local units = { K = 1e3, M = 1e6, B = 1e9, T = 1e12 }

--- "70B" -> 7e10.
local function count(v)
  if type(v) == "number" then return v end
  local n, unit = tostring(v):upper():match "^%s*([%d%.]+)%s*([KMBT]?)%s*$"
  n = tonumber(n)
  return n * (units[unit] or 1)
end

local function integer(v, from, to, name)
  if type(v) ~= "number" or v ~= math.floor(v) or v < from or v > to then
    error(("wane: fit: %s is %s, want an integer from %d to %d"):format(name, tostring(v), from, to), 0)
  end
  return v
end

local function to_multiple(v, m) return math.max(m, math.floor(v / m + 0.5) * m) end

-- Layers of the usual models of so many parameters.
local function usual_layers(params)
  local sizes = { { 0.7e9, 16 }, { 2e9, 16 }, { 4e9, 28 }, { 10e9, 32 }, { 18e9, 40 }, { 40e9, 60 }, { 100e9, 80 } }
  for _, s in ipairs(sizes) do
    if params < s[1] then return s[2] end
  end
  return 126
end

-- Values of all matrices for a feed-forward width.
local function parameters(s)
  local kv = s.kv_heads * s.head_size
  local attention = s.width * s.heads * s.head_size * 2 + s.width * kv * 2
  local feed = 3 * s.width * s.ff * math.max(1, s.experts) + s.width * s.experts
  return s.layers * (attention + feed + 2 * s.width) + s.width * (s.vocab * (s.tied and 1 or 2) + 1)
end

-- The width that gives about so many parameters with ff = 3.5 widths: whole
-- super-blocks, and of all but small models a number of heads that 8
-- key/value heads share, as those of the usual models are.
local function guess_width(s, params)
  local lo, hi = 64, 65536
  while hi - lo > 64 do
    local w = to_multiple((lo + hi) / 2, 64)
    local trial = { width = w, heads = math.max(1, w / s.head_size), head_size = s.head_size, layers = s.layers,
      kv_heads = s.kv_heads or math.max(1, w / s.head_size / 4), ff = 3.5 * w / math.max(1, s.experts / 4),
      experts = s.experts, vocab = s.vocab, tied = s.tied }
    if parameters(trial) < params then lo = w else hi = w end
  end
  return to_multiple(hi, hi >= 1536 and 1024 or 256)
end

-- Key/value heads of the usual models: 8, or of few heads a part.
local function usual_kv_heads(heads)
  if heads >= 16 and heads % 8 == 0 then return 8 end
  for _, share in ipairs { 4, 3, 2 } do
    if heads % share == 0 then return math.floor(heads / share) end
  end
  return heads
end

--- All numbers of a model from those that are given.
---@param given table
---@return table shape
function M.shape(given)
  given = check(given)
  local params = given.params and count(given.params)
  if not params and not (given.layers and given.width and given.ff) then
    options.misuse "fit: a model: want params, or layers, width and ff"
  end
  local s = {
    experts = integer(given.experts or 0, 0, 4096, "experts"), tied = given.tied or false,
    vocab = integer(given.vocab or (params and params < 0.5e9 and 32000) or 128256, 1, 4194304, "vocab"),
    head_size = integer(given.head_size or 128, 8, 1024, "head_size"),
    context = integer(given.context or 131072, 1, 16777216, "context"), name = given.name,
  }
  if given.experts then s.used = integer(given.used or 2, 1, s.experts, "used") end
  s.layers = integer(given.layers or usual_layers(params), 1, 1024, "layers")
  s.kv_heads = given.kv_heads and integer(given.kv_heads, 1, 4096, "kv_heads")
  s.width = integer(given.width or guess_width(s, params), 16, 1048576, "width")
  s.heads = integer(given.heads or math.max(1, math.floor(s.width / s.head_size)), 1, 4096, "heads")
  if not given.head_size and given.heads then s.head_size = math.floor(s.width / s.heads) end
  s.kv_heads = s.kv_heads or usual_kv_heads(s.heads)
  if s.heads % s.kv_heads ~= 0 then
    error(("wane: fit: %d heads are not a multiple of %d key/value heads"):format(s.heads, s.kv_heads), 0)
  end
  if given.ff then
    s.ff = integer(given.ff, 1, 1048576, "ff")
  else
    s.ff = 0
    local rest = (params - parameters(s)) / (3 * s.width * s.layers * math.max(1, s.experts))
    if rest < 32 then options.misuse "fit: a model: option 'params': so few do not fit these layers, width and vocab" end
    s.ff = to_multiple(rest, 256)
  end
  s.params = parameters(s)
  return s
end

local function metadata(s)
  local list = {
    { "general.architecture", "string", "llama" }, { "general.name", "string", s.name or "imagined" },
    { "llama.block_count", "u32", s.layers }, { "llama.context_length", "u32", s.context },
    { "llama.embedding_length", "u32", s.width }, { "llama.feed_forward_length", "u32", s.ff },
    { "llama.attention.head_count", "u32", s.heads }, { "llama.attention.head_count_kv", "u32", s.kv_heads },
    { "llama.attention.key_length", "u32", s.head_size }, { "llama.attention.value_length", "u32", s.head_size },
    { "llama.attention.layer_norm_rms_epsilon", "f32", 1e-5 }, { "llama.rope.dimension_count", "u32", s.head_size },
    { "llama.vocab_size", "u32", s.vocab },
  }
  if s.experts > 0 then
    list[#list + 1] = { "llama.expert_count", "u32", s.experts }
    list[#list + 1] = { "llama.expert_used_count", "u32", s.used }
  end
  return list
end

--- Names and shapes of all tensors of a Llama, in the order of files.
---@param s table  layers, width, heads, head_size, kv_heads, ff, vocab, experts (0: none), tied
---@return { name: string, shape: integer[] }[]
function M.tensors(s)
  local list = {}
  local function add(name, ...) list[#list + 1] = { name = name .. ".weight", shape = { ... } } end
  local q, kv = s.heads * s.head_size, s.kv_heads * s.head_size
  add("token_embd", s.width, s.vocab)
  for l = 0, s.layers - 1 do
    local b = ("blk.%d."):format(l)
    add(b .. "attn_norm", s.width)
    add(b .. "attn_q", s.width, q)
    add(b .. "attn_k", s.width, kv)
    add(b .. "attn_v", s.width, kv)
    add(b .. "attn_output", q, s.width)
    add(b .. "ffn_norm", s.width)
    if s.experts > 0 then
      add(b .. "ffn_gate_inp", s.width, s.experts)
      add(b .. "ffn_gate_exps", s.width, s.ff, s.experts)
      add(b .. "ffn_up_exps", s.width, s.ff, s.experts)
      add(b .. "ffn_down_exps", s.ff, s.width, s.experts)
    else
      add(b .. "ffn_gate", s.width, s.ff)
      add(b .. "ffn_up", s.width, s.ff)
      add(b .. "ffn_down", s.ff, s.width)
    end
  end
  add("output_norm", s.width)
  if not s.tied then add("output", s.width, s.vocab) end
  return list
end

---@class wane.Imagined
---@field shape table
local Header = {}
Header.__index = Header

function Header:find_kv(key) return self.key_at[key] end

function Header:kv(i)
  local e = self.meta[i]
  return e[1], e[2], e[3]
end

function Header:find_tensor(name) return self.tensor_at[name] end
function Header:tensor(i) return self.tensors[i] end
function Header:info()
  return { path = self.shape.name or "imagined model", n_kv = #self.meta, n_tensors = #self.tensors, file_bytes = {} }
end
function Header.close() return true end

--- The header of a model with this shape, all matrices in F16.
---@param given table  see M.shape
---@return wane.Imagined
function M.header(given)
  local shape = M.shape(given)
  local h = setmetatable({ shape = shape, meta = metadata(shape), tensors = M.tensors(shape), key_at = {}, tensor_at = {} },
    Header)
  for i, e in ipairs(h.meta) do h.key_at[e[1]] = i end
  for i, t in ipairs(h.tensors) do
    h.tensor_at[t.name] = i
    t.type = (t.shape[2] and not t.name:find "ffn_gate_inp") and "f16" or "f32"
    t.n_rows = (t.shape[2] or 1) * (t.shape[3] or 1)
    t.bytes = t.shape[1] * t.n_rows * (t.type == "f16" and 2 or 4)
  end
  return h
end

return M
