--- The builder that descriptions of architectures write programs with.
--
-- A description is a function of a graph `m`. `m:block(i)` is the same thing
-- with the prefix "blk.i." before every tensor name. Methods append one
-- operation and return its value; values add with + and multiply with *.
-- Shapes of weights follow from hyper-parameters (hparams.lua) and from the
-- widths of values; C checks all of it again before anything can run.
--
-- A value belongs to the graph that made it and lives until the program is
-- finished: everything else raises.
---@error a tensor that the file has not or has in another shape, widths that do
---  not go together, an unknown kind; wane.load gives these back as nil, message, code
local M = {}

local core = require "wane.core"
local hparams = require "wane.arch.hparams"
local known_options = require("wane.options").known

---@class wane.arch.Value
local Value = {}
Value.__index = Value

---@class wane.arch.Graph
---@field hp table hyper-parameters
---@field layer integer|nil number of the block, from 0
local Graph = {}
Graph.__index = Graph

-- One state is shared by a graph and its blocks.
--   prog    the program under construction; nil once it is finished
--   g       the file
--   use     defaults of the description (see Graph:use)
--   weights id of each declared weight, by name
--   slots   attend operations so far

local function state_of(graph)
  local s = graph.state
  if not s.prog then error("wane: the program is finished", 3) end
  return s
end

-- Ids of values, checked to be this graph's.
local function ids(state, ...)
  local list = {}
  for k = 1, select("#", ...) do
    local v = select(k, ...)
    if getmetatable(v) ~= Value then
      error(("wane: input %d is a %s, want a value"):format(k, type(v)), 4)
    end
    if v.state ~= state then error(("wane: input %d is a value of another graph"):format(k), 4) end
    list[k] = v.id
  end
  return list
end

-- The width of what should be a value.
local function width_of(x)
  if getmetatable(x) ~= Value then error(("wane: input 1 is a %s, want a value"):format(type(x)), 4) end
  return x.width
end

-- World errors of the C side come as nil, msg, code.
local function check(id, msg, code)
  if id == nil then hparams.fail(code, "%s", msg) end
  return id
end

-- Appends an operation. Behind the result (see Graph:linear) nothing is
-- appended any more: the value stays what it is.
-- Adapters' own work happens between two operations of the description: what a
-- layer hands on has another id then (steer).
local function op(state, width, code, kind, name, input, ...)
  if state.result then return state.result end
  for k, id in ipairs(input) do input[k] = state.alias[id] or id end
  local id = check(state.prog:op(code, kind, name, input, ...))
  return setmetatable({ state = state, id = id, width = width }, Value)
end

-- Declares a weight; the same name twice is one weight.
local function weight(state, name, matrix, ne0, ne1, ne2)
  local key = name .. (matrix and " m" or " v")
  local known = state.weights[key]
  if known then
    if known.ne0 ~= ne0 or known.ne1 ~= ne1 or known.ne2 ~= ne2 then
      error(("wane: weight %s is used in two shapes"):format(name), 4)
    end
    return known.id
  end
  local id = check(state.prog:weight(name, { ne0, ne1 or 1, ne2 or 1 }, matrix))
  state.weights[key] = { id = id, ne0 = ne0, ne1 = ne1, ne2 = ne2 }
  state.used[name] = true
  return id
end

local function options(opts, known)
  known_options("arch", opts or {}, known)
  return opts or {}
end

--- Sets defaults of this architecture: norm = "rms" | "layer", rope =
--- "normal" | "neox", factors = true (use rope factor tensors), causal,
--- eps (of norms; read from the file by default).
---
---     m:use { norm = "rms", rope = "neox" }
---@param defaults { norm?: string, rope?: string, factors?: boolean, causal?: boolean, eps?: number }
function Graph:use(defaults)
  options(defaults, { norm = true, rope = true, factors = true, causal = true, eps = true })
  for k, v in pairs(defaults) do self.state.use[k] = v end
end

--- The graph with "blk.i." before every tensor name.
---
---     local b = m:block(0)
---@param i integer from 0
function Graph:block(i)
  local b = { state = self.state, hp = self.hp, prefix = ("blk.%d."):format(i), layer = i }
  return setmetatable(b, Graph)
end

--- Does the file have this tensor? `name` without the prefix; ".weight" is
--- added unless `suffix` says otherwise.
---
---     if b:has "attn_q.bias" then print "it has one" end
---@param name string
---@param suffix? string   (".weight")
function Graph:has(name, suffix)
  return self.state.g:find_tensor(self.prefix .. name .. (suffix or ".weight")) ~= nil
end

--- Rows of the file's matrix `name`, or 0 when there is none.
---
---     print(m:rows "output")
---@param name string
function Graph:rows(name)
  local t = self.state.g:find_tensor(self.prefix .. name .. ".weight")
  return t and (self.state.g:tensor(t).shape[2] or 1) or 0
end

-- The optional vector `name`.bias of n values, or false.
local function bias(graph, name, n, want, ne1)
  if want == false or (want == nil and not graph:has(name, ".bias")) then return false end
  return weight(graph.state, graph.prefix .. name .. ".bias", false, n, ne1)
end

-- The optional scale of the products of `name` (NVFP4 files, gemma4): n
-- values, or false.
local function scale_of(graph, name, n)
  local t = graph.state.g:find_tensor(graph.prefix .. name .. ".scale")
  local shape = t and graph.state.g:tensor(t).shape
  if not t then return false end
  -- gemma4's router has one with a value for each channel, which its page uses
  if name == "ffn_gate_inp" and n == 1 and (#shape > 1 or shape[1] ~= 1) then return false end
  return weight(graph.state, graph.prefix .. name .. ".scale", false, n)
end

--- Rows of a matrix: of each token (default), of its position
--- (`by = "position"`), or always row `row`.
---
---     local x = m:embed "token_embd"
---@param name string
---@param opts? { by?: string, row?: integer, rows?: integer, width?: integer }   row from 0; rows (the vocabulary,
---  or the context), width (the model's)
function Graph:embed(name, opts)
  local s = state_of(self)
  opts = options(opts, { by = true, row = true, rows = true, width = true })
  local kind = opts.row and "row" or opts.by or "token"
  local rows = opts.rows or (kind == "position" and self.hp.context_length) or self.hp.vocab_size
  local width = opts.width or self.hp.embedding_length
  local w = weight(s, self.prefix .. name .. ".weight", true, width, rows)
  return op(s, width, "embed", kind, self.prefix .. name, {}, { w }, { opts.row or 0 }, {})
end

-- eps of the norm in use, read from the file once.
local function eps_of(graph, kind)
  local use = graph.state.use
  if not use.eps then
    local key = kind == "rms" and "attention.layer_norm_rms_epsilon" or "attention.layer_norm_epsilon"
    use.eps = graph.hp.r:number(key, 0)
    if use.eps > 1 then
      hparams.fail("EFORMAT", "key %s%s is %g, want at most 1", graph.hp.r.prefix, key, use.eps)
    end
  end
  return use.eps
end

-- y plus what the adapters have for this matrix: B (A x), times alpha over rank
-- and the factor of the sequence.
local function adapt(s, y, x, tensor, part, out)
  for k, adapter in ipairs(s.adapters) do
    local p = adapter.pairs and adapter.pairs[tensor]
    if p then
      if p.cols ~= x.width or p.rows ~= out then
        hparams.fail("EFORMAT", "adapter %s is for a %s of %d x %d, the model's is %d x %d", adapter.path, tensor,
          p.cols, p.rows, x.width, out)
      end
      local name = ("lora.%d.%s"):format(k, tensor)
      local key = name .. "#" .. x.id
      if not s.halves[key] then -- queries, keys and values of one matrix share it
        local a = weight(s, name .. ".a", true, x.width, p.rank)
        s.halves[key] = op(s, p.rank, "linear", nil, name .. ".a", { x.id }, { a, false }, { 0, p.rank }, {})
      end
      local b = weight(s, name .. ".b", true, p.rank, p.rows)
      local low = op(s, part[2], "linear", nil, name .. ".b", { s.halves[key].id }, { b, false }, part, {})
      low = op(s, part[2], "gain", nil, name, { low.id }, {}, { k - 1 }, { p.factor })
      y = op(s, part[2], "add", nil, name, { y.id, low.id }, {}, {}, {})
      s.adapted[name] = true
    end
  end
  return y
end

-- Adds control vectors to x, what layer `layer` hands on.
local function steer(s, x, layer, width)
  local y = x
  for k, adapter in ipairs(s.adapters) do
    if adapter.layers and adapter.layers[layer] then
      local name = ("control.%d.%d"):format(k, layer)
      local w = weight(s, name, true, width, 1)
      local v = op(s, width, "embed", "row", name, {}, { w }, { 0 }, {})
      v = op(s, width, "gain", nil, name, { v.id }, {}, { k - 1 }, { 1 })
      y = op(s, width, "add", nil, name, { y, v.id }, {}, {}, {}).id
      s.adapted[name] = true
    end
  end
  if y ~= x then s.alias[x] = y end
end

-- The first operation behind a layer reads what the layer hands on.
local function pass_layer(graph, x)
  local s, layer = graph.state, graph.layer or (graph.state.layer and graph.hp.block_count)
  if #s.adapters == 0 or not layer or layer == s.layer then return end
  if s.layer and layer == s.layer + 1 then steer(s, x.id, s.layer, x.width) end
  s.layer = layer
end

--- Normalises x, with `name`.weight and, when the file has it, `name`.bias;
--- name nil: without weights. `per = "head"`: each head of `head` values (by
--- default the key length) on its own. `eps`: instead of the file's;
--- `suffix`: of the tensor's name, instead of ".weight"; `whole`: the weight has
--- a value for each of the row.
---
---     local h = b:norm(x, "attn_norm")
---     local q = b:norm(q, "attn_q_norm", { per = "head" })
---@param x wane.arch.Value
---@param name? string
---@param opts? { per?: string, head?: integer, kind?: string, eps?: number, suffix?: string, whole?: boolean }
function Graph:norm(x, name, opts)
  local s = state_of(self)
  opts = options(opts, { per = true, head = true, kind = true, eps = true, suffix = true, whole = true })
  pass_layer(self, x)
  local kind = opts.kind or s.use.norm
  local group, w, b, n1 = 0, false, false, nil
  local n = width_of(x)
  if opts.per == "head" then
    group = opts.head or self.hp.key_length
    n = group
    -- one weight for all heads, or a row for each
    local t = name and s.g:find_tensor(self.prefix .. name .. ".weight")
    if t and s.g:tensor(t).shape[2] then n1 = x.width / group end
    if opts.whole then n = x.width end
  end
  if name then
    w = weight(s, self.prefix .. name .. (opts.suffix or ".weight"), false, n, n1)
    b = bias(self, name, n, nil, n1)
  end
  return op(s, width_of(x), "norm", kind, self.prefix .. (name or "norm"), ids(s, x), { w, b }, { group },
    { opts.eps or eps_of(self, kind) })
end

-- Output rows of the matrices with well-known names, in this block.
local function rows_of(graph, name)
  local hp, l = graph.hp, (graph.layer or 0) + 1
  local ff, shared = hp.feed_forward_length[l], hp.expert_shared_feed_forward_length
  local q = hp.head_count[l] * hp.key_length
  local k, v = hp.head_count_kv[l] * hp.key_length, hp.head_count_kv[l] * hp.value_length
  local table = {
    attn_q = q, attn_k = k, attn_v = v, attn_qkv = q + k + v,
    attn_gate = hp.head_count[l] * hp.value_length,
    attn_output = hp.embedding_length,
    ffn_gate = ff, ffn_up = ff, ffn_down = hp.embedding_length, ffn_gate_inp = hp.expert_count,
    ffn_gate_shexp = shared, ffn_up_shexp = shared, ffn_down_shexp = hp.embedding_length,
    output = hp.vocab_size,
  }
  return table[name]
end

-- 0 rows: the file says that this layer has no such part.
local KEYS = {
  attn_q = "attention.head_count", attn_gate = "attention.head_count", attn_k = "attention.head_count_kv",
  attn_v = "attention.head_count_kv", ffn_gate_inp = "expert_count",
  ffn_gate_shexp = "expert_shared_feed_forward_length", ffn_up_shexp = "expert_shared_feed_forward_length",
}
local function no_rows(graph, name)
  hparams.fail("EFORMAT", "key %s%s is 0, but %s%s is needed", graph.hp.r.prefix,
    KEYS[name] or "feed_forward_length", graph.prefix, name)
end

--- x times the matrix `name`.weight, plus `name`.bias when the file has it
--- (bias = true: it must; false: never). A `name`.scale of the file multiplies
--- the product. `out`: rows of the matrix where the
--- name does not tell; `part = { first, n }`: only those rows, from 0; `each =
--- { n, stride }`: they lie in groups of n rows, stride from one to the next;
--- `tied`: the name to use when the file lacks `name`. When a program for embeddings is
--- built, the input of "output" is its result.
---
---     local y = b:linear(h, "attn_output")
---@param x wane.arch.Value   as wide as the matrix has columns
---@param name string
---@param opts? { out?: integer, part?: integer[], tied?: string, bias?: boolean, each?: integer[] }
function Graph:linear(x, name, opts)
  local s = state_of(self)
  if s.embeddings and name == "output" and self.prefix == "" then
    s.result = s.result or x
    return s.result
  end
  opts = options(opts, { out = true, part = true, tied = true, bias = true, each = true })
  local out = opts.out or rows_of(self, name)
  if not out then error(("wane: linear '%s': say how many rows it has (out = n)"):format(name), 2) end
  if out == 0 then no_rows(self, name) end
  local tensor = self.prefix .. name
  if opts.tied and not self:has(name) then tensor = self.prefix .. opts.tied end
  local input = ids(s, x)
  local w = weight(s, tensor .. ".weight", true, x.width, out)
  local b = bias(self, name, out, opts.bias)
  local part, each = opts.part or { 0, out }, opts.each or {}
  local rows = { part[1], part[2], each[1] or 0, each[2] or 0 }
  local y = op(s, part[2], "linear", nil, self.prefix .. name, input, { w, b, scale_of(self, name, 1) }, rows, {})
  if #s.adapters == 0 then return y end
  return adapt(s, y, x, tensor .. ".weight", rows, out)
end

--- Queries, keys and values from x: three matrices, or one (attn_qkv).
---
---     local q, k, v = b:qkv(h)
---@param x wane.arch.Value
---@return wane.arch.Value q, wane.arch.Value k, wane.arch.Value v
function Graph:qkv(x)
  if not self:has "attn_qkv" then
    return self:linear(x, "attn_q"), self:linear(x, "attn_k"), self:linear(x, "attn_v")
  end
  local q, k, v = rows_of(self, "attn_q"), rows_of(self, "attn_k"), rows_of(self, "attn_v")
  return self:linear(x, "attn_qkv", { part = { 0, q } }),
    self:linear(x, "attn_qkv", { part = { q, k } }),
    self:linear(x, "attn_qkv", { part = { q + k, v } })
end

-- Weights with factors of the rotation of n dimensions, and a second one for
-- long contexts. Files have them at the top, or in every block.
local function rope_factors(graph, n)
  local s = graph.state
  local function find(name)
    for _, prefix in ipairs { "", graph.prefix } do
      if s.g:find_tensor(prefix .. name .. ".weight") then
        return weight(s, prefix .. name .. ".weight", false, n / 2)
      end
    end
  end
  if not s.use.factors then return {} end
  local one = find "rope_freqs"
  if one then return { one } end
  local short, long = find "rope_factors_short", find "rope_factors_long"
  return (short or long) and { short or long, long or short } or {}
end

-- Pairs of each axis as the bytes of one number.
local function sections_of(hp)
  local n, all = hp.rope.sections, 0
  if not n or #n == 0 then hparams.fail("EFORMAT", "key %srope.dimension_sections is missing", hp.r.prefix) end
  for k = 1, #n do
    if n[k] > 255 then
      hparams.fail("EFORMAT", "key %srope.dimension_sections has %d pairs, want at most 255", hp.r.prefix, n[k])
    end
    all = all + n[k] * 256 ^ (k - 1)
  end
  if all == 0 then hparams.fail("EFORMAT", "key %srope.dimension_sections has no pairs", hp.r.prefix) end
  return all
end

--- Rotates the heads of x by their positions. Options, instead of what the
--- file says for all layers (sliding layers of some models differ): base,
--- scale, dims (values of a head that rotate), head (its length), kind
--- ("mrope" and "imrope": over the axes of rope.dimension_sections), factors =
--- false; plain = true: no scaling of any kind.
---
---     q, k = b:rope(q), b:rope(k)
---@param x wane.arch.Value   whole heads
---@param opts? { base?: number, scale?: number, dims?: integer, head?: integer, kind?: string, factors?: boolean, plain?: boolean }
function Graph:rope(x, opts)
  local s, r = state_of(self), self.hp.rope
  opts = options(opts, { base = true, scale = true, dims = true, head = true, kind = true, factors = true, plain = true })
  local dims = opts.dims or r.dims
  if dims == 0 then return x end
  local weights = opts.factors ~= false and rope_factors(self, dims) or {}
  local f = { opts.base or r.base, opts.scale or r.scale, r.strength, r.magnitude, r.fast, r.slow }
  if opts.plain then f = { f[1], opts.scale or 1, 0, 1, r.fast, r.slow } end
  local kind = opts.kind or s.use.rope
  local axes = (kind == "mrope" or kind == "imrope") and sections_of(self.hp) or 0
  return op(s, width_of(x), "rope", kind, self.prefix .. "rope", ids(s, x), weights,
    { opts.head or self.hp.key_length, dims, r.original, axes }, f)
end

-- The next slot of a sequence's state.
local function new_slot(s)
  s.slots = s.slots + 1
  return s.slots - 1
end

--- Attention of queries over the keys and values of the sequence so far.
--- Options: window (tokens; of a model that is not causal half of it to either
--- side), chunked = true: from the start of its chunk of `window` tokens; scale
--- (default 1/sqrt(head's length)), cap (soft cap of scores), sinks (name of a
--- tensor with a value per head), bias (the largest that is taken off a score
--- for each position between: ALiBi), heads, heads_kv (default: the layer's). Without v, `values`: the first so
--- many of each key are its value. Without k and v, `from`: the result of an
--- earlier attend, whose keys and values these queries look at.
---
---     local a = b:attend(q, k, v, { window = 512 })
---@param q wane.arch.Value   heads times the key length
---@param k? wane.arch.Value   heads_kv times the key length
---@param v? wane.arch.Value   heads_kv times the value length
---@param opts? table
function Graph:attend(q, k, v, opts)
  local s, hp, l = state_of(self), self.hp, (self.layer or 0) + 1
  opts = options(opts, {
    window = true, chunked = true, scale = true, cap = true, sinks = true, bias = true, heads = true,
    heads_kv = true, values = true, from = true,
  })
  local n, kv = opts.heads or hp.head_count[l], opts.heads_kv or hp.head_count_kv[l]
  local window = opts.window or 0
  local kind = s.use.causal == false and "full" or opts.chunked and "chunked" or "causal"
  local sinks = opts.sinks and weight(s, self.prefix .. opts.sinks .. ".weight", false, n)
  local input, slot, value
  if opts.from then
    if getmetatable(opts.from) ~= Value or not opts.from.slot then
      error("wane: attend: option 'from': want the result of an attend", 2)
    end
    input, slot, kv = ids(s, q), opts.from.slot, opts.from.heads_kv
    value = opts.from.head_value
  else
    input = v and ids(s, q, k, v) or ids(s, q, k)
    slot, value = new_slot(s), v and v.width / kv or opts.values
  end
  local out = op(s, n * value, "attend", kind, self.prefix .. "attn", input, { sinks or false },
    { slot, n, kv, window, v == nil and not opts.from and opts.values or 0 },
    { opts.scale or 1 / math.sqrt(width_of(q) / n), opts.cap or 0, opts.bias or 0 })
  if out ~= s.result then out.slot, out.heads_kv, out.head_value = slot, kv, value end
  return out
end

--- An activation: "silu", "gelu", "gelu_erf", "gelu_quick", "relu", "relu2",
--- "sigmoid", "tanh", "softplus". `bias`: name of a vector that is added to x
--- before.
---
---     local y = b:act("gelu", b:linear(h, "ffn_up"))
---@param kind string
---@param x wane.arch.Value
---@param bias_name? string   whole, with its ending
function Graph:act(kind, x, bias_name)
  local s = state_of(self)
  local w = bias_name and weight(s, self.prefix .. bias_name, false, width_of(x))
  return op(s, width_of(x), "act", kind, self.prefix .. kind, ids(s, x), { w or false }, {}, {})
end

local OAI = { 1.702, 7 } -- alpha and limit of swiglu_oai

--- kind(gate) * up.
---
---     local y = b:glu("silu", b:linear(h, "ffn_gate"), b:linear(h, "ffn_up"))
---@param kind string   as of act, or "swiglu_oai"
---@param gate wane.arch.Value
---@param up wane.arch.Value   as wide as gate
function Graph:glu(kind, gate, up)
  local s = state_of(self)
  local f = kind == "swiglu_oai" and OAI or {}
  return op(s, width_of(gate), "glu", kind, self.prefix .. "glu", ids(s, gate, up), {}, {}, f)
end

function Graph:swiglu(gate, up) return self:glu("silu", gate, up) end
function Graph:geglu(gate, up) return self:glu("gelu", gate, up) end

--- The usual gated feed-forward: down(kind(gate x) * up x). A file without
--- ffn_gate has both in ffn_up, the rows of the gate first.
---
---     x = x + b:ffn(b:norm(x, "ffn_norm"), "silu")
---@param x wane.arch.Value
---@param kind string   as of act
function Graph:ffn(x, kind)
  if self:has "ffn_gate" then
    return self:linear(self:glu(kind, self:linear(x, "ffn_gate"), self:linear(x, "ffn_up")), "ffn_down")
  end
  local ff = self.hp.feed_forward_length[self.layer + 1]
  local gate = self:linear(x, "ffn_up", { out = 2 * ff, part = { 0, ff } })
  local up = self:linear(x, "ffn_up", { out = 2 * ff, part = { ff, ff } })
  return self:linear(self:glu(kind, gate, up), "ffn_down")
end

--- The feed-forward without a gate: down(kind(up x)).
---
---     x = x + b:mlp(b:norm(x, "ffn_norm"), "gelu")
---@param x wane.arch.Value
---@param kind string   as of act
function Graph:mlp(x, kind)
  return self:linear(self:act(kind, self:linear(x, "ffn_up")), "ffn_down")
end

--- The experts' common neighbour: a gated feed-forward of
--- ffn_{gate,up,down}_shexp, `width` wide (default: what the file says). A
--- file with ffn_gate_inp_shexp weighs it by the sigmoid of one number a
--- token: a mixture of one expert.
---
---     local y = b:moe(h) + b:shared(h, "silu")
---@param x wane.arch.Value
---@param kind string   as of act
---@param width? integer
function Graph:shared(x, kind, width)
  local s, hp = state_of(self), self.hp
  width = width or hp.expert_shared_feed_forward_length
  local function name(what) return self.prefix .. "ffn_" .. what .. "_shexp.weight" end
  if not self:has "ffn_gate_inp_shexp" then
    local gate, up = self:linear(x, "ffn_gate_shexp", { out = width }), self:linear(x, "ffn_up_shexp", { out = width })
    return self:linear(self:glu(kind, gate, up), "ffn_down_shexp")
  end
  local logit = self:linear(x, "ffn_gate_inp_shexp", { out = 1 })
  local weights = {
    weight(s, name "gate", true, x.width, width), weight(s, name "up", true, x.width, width),
    weight(s, name "down", true, width, x.width), false, false, false, false,
    scale_of(self, "ffn_gate_shexp", 1), scale_of(self, "ffn_up_shexp", 1), scale_of(self, "ffn_down_shexp", 1),
  }
  return op(s, width_of(x), "moe", kind, self.prefix .. "ffn_shexp", ids(s, x, logit), weights, { 1, 1, 0, width }, { 1 })
end

-- A vector of the file, in the shape it has there.
local function vector(graph, name, n)
  local t = graph.state.g:find_tensor(graph.prefix .. name)
  local shape = t and graph.state.g:tensor(t).shape or { n }
  return weight(graph.state, graph.prefix .. name, false, shape[1], shape[2], (shape[3] or 1) * (shape[4] or 1))
end

--- x times a factor, times the vector `name` (a whole name, with its ending;
--- one value, or as many as x has).
---
---     local y = m:scale(x, 0.5)
---@param x wane.arch.Value
---@param by number
---@param name? string
function Graph:scale(x, by, name)
  local s = state_of(self)
  local w = name and vector(self, name, width_of(x))
  return op(s, width_of(x), "scale", "constant", self.prefix .. "scale", ids(s, x), { w or false }, {}, { by })
end

--- x, at least lo and at most hi.
---
---     local y = m:clamp(x, -8, 8)
---@param x wane.arch.Value
---@param lo number
---@param hi number
function Graph:clamp(x, lo, hi)
  local s = state_of(self)
  return op(s, width_of(x), "clamp", nil, self.prefix .. "clamp", ids(s, x), {}, {}, { lo, hi })
end

--- x times 1 + growth ln(1 + floor((position + offset) / step)).
---
---     q = m:grow(q, 0.1, 8192, 0)
---@param x wane.arch.Value
---@param growth number
---@param step number   positions
---@param offset? number   positions (0)
function Graph:grow(x, growth, step, offset)
  local s = state_of(self)
  return op(s, width_of(x), "scale", "position", self.prefix .. "grow", ids(s, x), {}, { step, offset or 0 }, { growth })
end

--- A soft cap: c tanh(x / c).
---
---     local logits = m:softcap(m:linear(x, "output"), 30)
---@param x wane.arch.Value
---@param cap number
function Graph:softcap(x, cap)
  local s = state_of(self)
  return op(s, width_of(x), "softcap", nil, self.prefix .. "softcap", ids(s, x), {}, {}, { cap })
end

-- The weights of a moe operation in the order C wants: gate and up apart, both
-- in one matrix, or up alone.
local function moe_weights(graph, width, ff, gated)
  local s, n = graph.state, graph.hp.expert_count
  local merged = gated and graph:has "ffn_gate_up_exps"
  local function matrix(name, ne0, ne1)
    return weight(s, graph.prefix .. name .. ".weight", true, ne0, ne1, n)
  end
  local function factors(name) return scale_of(graph, name, n) end
  local gate = merged and "ffn_gate_up_exps" or gated and "ffn_gate_exps"
  local gate_rows = merged and 2 * ff or ff
  return {
    gate and matrix(gate, width, gate_rows),
    not merged and matrix("ffn_up_exps", width, ff),
    matrix("ffn_down_exps", ff, width),
    gate and bias(graph, gate, gate_rows, nil, n),
    not merged and bias(graph, "ffn_up_exps", ff, nil, n),
    bias(graph, "ffn_down_exps", width, nil, n),
    graph:has("exp_probs_b", ".bias") and weight(s, graph.prefix .. "exp_probs_b.bias", false, n),
    gate and factors(gate), not merged and factors "ffn_up_exps", factors "ffn_down_exps",
  }, merged
end

local GATING = { softmax = 0, sigmoid = 1, chosen = 2, sqrtsoftplus = 3 }

--- A mixture of experts on x, routed by `ffn_gate_inp`. Options: kind
--- ("silu"), gating ("softmax", "sigmoid", "chosen": softmax over the chosen,
--- "sqrtsoftplus"; default: what the file says, else softmax), normalise
--- (divide weights by their sum), ff (width of an expert; default:
--- feed_forward_length), logits (what the router says, when it does not see
--- x), weight_first (weights multiply what goes into an expert), gate = false
--- (experts without one: down(kind(up x))). Groups, biases of the choice, scales
--- and merged matrices: what the file has.
---
---     x = x + b:moe(b:norm(x, "ffn_norm"), { gating = "sigmoid", normalise = true })
---@param x wane.arch.Value
---@param opts? table
function Graph:moe(x, opts)
  local s, hp = state_of(self), self.hp
  opts = options(opts, { kind = true, gating = true, normalise = true, ff = true, logits = true, weight_first = true,
    gate = true })
  local ff = opts.ff or hp.feed_forward_length[self.layer + 1]
  local named = opts.gating or (hp.expert_gating == "default" and "softmax" or hp.expert_gating)
  local gating = GATING[named]
  if not gating then error("wane: moe: unknown gating '" .. tostring(named) .. "'", 2) end
  local logits = opts.logits or self:linear(x, "ffn_gate_inp")
  local kind = opts.kind or "silu"
  local f = kind == "swiglu_oai" and OAI or {}
  local weights, merged = moe_weights(self, x.width, ff, opts.gate ~= false)
  local groups = hp.expert_groups > 1 and { hp.expert_groups, hp.expert_groups_used } or { 0, 0 }
  return op(s, width_of(x), "moe", kind, self.prefix .. "ffn_moe", ids(s, x, logits), weights,
    { hp.expert_used_count, gating, opts.normalise and 1 or 0, ff, groups[1], groups[2],
      (merged and 1 or 0) + (opts.weight_first and 2 or 0) },
    { hp.expert_weights_scale, f[1] or 0, f[2] or 0 })
end

require("wane.arch.mixers")(Graph, {
  op = op, weight = weight, vector = vector, ids = ids, width_of = width_of, state_of = state_of, options = options,
  new_slot = new_slot, factor = function(graph, name) return scale_of(graph, name, 1) end,
})

local function pair(name)
  return function(a, b)
    local s = getmetatable(a) == Value and a.state or b.state
    if not s.prog then error("wane: the program is finished", 2) end
    return op(s, width_of(a), name, nil, name, ids(s, a, b), {}, {}, {})
  end
end
Value.__add = pair "add"
Value.__mul = pair "mul"

-- Runs a description on a file.
-- @param g userdata open file of core.gguf
-- @param describe fun(m: wane.arch.Graph): wane.arch.Value, string|nil
-- @param hp table of hparams.read
-- @param embeddings boolean|nil the result is what goes into the output matrix
-- @param adapters wane.lora.Adapter[]|nil what is added to it; their tensors become weights lora.K.NAME.a and .b,
-- control.K.LAYER
-- @return userdata program finished program of core.prog
-- @return table used names of tensors that the program needs
function M.build(g, describe, hp, embeddings, adapters)
  local prog = check(core.prog.new())
  local use = { norm = "rms", rope = "normal" }
  local state = { prog = prog, g = g, use = use, weights = {}, used = {}, slots = 0, embeddings = embeddings,
    adapters = adapters or {}, alias = {}, halves = {}, adapted = {} }
  local m = setmetatable({ state = state, hp = hp, prefix = "" }, Graph)
  local result, kind = describe(m)
  if state.result then result, kind = state.result, "embeddings" end
  local id = ids(state, result)[1]
  state.prog = nil
  check(prog:finish(id, kind or "logits"))
  return prog, state.used, state.adapted
end

return M
