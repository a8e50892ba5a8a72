--- Hyper-parameters: read from a file's metadata, checked once, derived once.
--
-- Everything that a description of an architecture divides by, loops over or
-- indexes with comes from here and is in range. Keys are those of GGUF
-- without the architecture's prefix. A failure is raised as a table
-- { code, msg } (see fail) and turned into nil, msg, code by wane.model.
local M = {}

local core = require "wane.core"
local limits = core.limits()

--- Raises an error about the file, not about the caller.
---@param code string "EFORMAT", "ELIMIT", "EUNSUP"
---@param ... any format and arguments
function M.fail(code, ...)
  error({ code = code, msg = string.format(...) }, 0)
end
local fail = M.fail

--- A reader of one file's keys.
---@class wane.arch.Reader
local Reader = {}
Reader.__index = Reader

--- The value of `key`, which must be of type `want`; nil when it is absent.
function Reader:get(key, want)
  local i = self.g:find_kv(key)
  if not i then return nil end
  local _, kind, value, elem = self.g:kv(i)
  if kind == want then return value, elem end
  fail("EFORMAT", "key %s is %s, want %s", key, kind, want)
end

--- As get, but the key must be there.
function Reader:need(key, want)
  local value, elem = self:get(key, want)
  if value == nil then fail("EFORMAT", "key %s is missing, want %s", key, want) end
  return value, elem
end

--- Length of an array, which is not made into a table; nil when it is absent.
function Reader:length(key)
  local i = self.g:find_kv(key)
  if not i then return nil end
  local _, kind, _, n = self.g:key(i)
  if kind == "array" then return tonumber(n) end
  fail("EFORMAT", "key %s is %s, want array", key, kind)
end

local function in_range(key, value, min, max)
  if value >= min and value <= max then return value end
  local code = value > max and "ELIMIT" or "EFORMAT"
  fail(code, "key %s is %s, want %s to %s", key, tostring(value), tostring(min), tostring(max))
end

--- A count from min to max; `default` when the key is absent (nil: it must be
--- there). The default passes through the same range check.
function Reader:count(name, min, max, default)
  local key = self.prefix .. name
  local value = self:get(key, "u32")
  if value == nil and default == nil then self:need(key, "u32") end
  return in_range(key, value or default, min, max)
end

--- A finite number above `above`, at most 1e30.
function Reader:number(name, above, default)
  local key = self.prefix .. name
  local value = self:get(key, "f32")
  if value == nil and default == nil then self:need(key, "f32") end
  value = value or default
  if value > above and value <= 1e30 then return value end
  fail("EFORMAT", "key %s is %s, want a finite number above %g", key, tostring(value), above)
end

--- A finite number, zero or positive.
function Reader:number0(name, default)
  local key = self.prefix .. name
  local value = self:get(key, "f32") or default
  if value >= 0 and value <= 1e30 then return value end
  fail("EFORMAT", "key %s is %s, want a finite number, 0 or more", key, tostring(value))
end

--- A yes or no; `default` when the key is absent.
function Reader:flag(name, default)
  local value = self:get(self.prefix .. name, "bool")
  if value == nil then return default end
  return value
end

--- One count for each layer: from one number or from an array as long as
--- there are layers (draft heads behind the trunk included).
function Reader:per_layer(name, n_layers, min, max, default)
  local key, list = self.prefix .. name, {}
  local i = self.g:find_kv(key)
  local kind, value, elem
  if i then kind, value, elem = select(2, self.g:kv(i)) end
  if kind == "array" then
    if elem ~= "u32" and elem ~= "i32" then
      fail("EFORMAT", "key %s is an array of %s, want u32", key, elem)
    end
    if #value ~= n_layers then
      fail("EFORMAT", "key %s has %d values for %d layers", key, #value, n_layers)
    end
    for l = 1, n_layers do list[l] = in_range(key, value[l], min, max) end
    return list
  end
  if type(default) == "table" and not i then return default end
  local one = self:count(name, min, max, default)
  for l = 1, n_layers do list[l] = one end
  return list
end

--- Which layers slide, as one boolean a layer: from an array of booleans or
--- numbers, or from a period P: layer i slides when i mod P < P - 1; with
--- `dense_first`, when i mod P is not 0. P = 0: all slide, P = 1: none.
---@param n_layers integer
---@param period integer|nil used when the key is absent; nil: the key must be there
---@param dense_first boolean|nil
---@return boolean[]
function Reader:pattern(name, n_layers, period, dense_first)
  local key, list = self.prefix .. name, {}
  local i = self.g:find_kv(key)
  local kind, value, elem
  if i then kind, value, elem = select(2, self.g:kv(i)) end
  if kind == "array" then
    if elem ~= "bool" and elem ~= "u32" and elem ~= "i32" then
      fail("EFORMAT", "key %s is an array of %s, want bool", key, elem)
    end
    if #value < n_layers then
      fail("EFORMAT", "key %s has %d values for %d layers", key, #value, n_layers)
    end
    for l = 1, n_layers do list[l] = value[l] == true or (type(value[l]) == "number" and value[l] ~= 0) end
    return list
  end
  local p = self:count(name, 0, limits.MAX_LAYERS, period)
  for l = 0, n_layers - 1 do
    if p == 0 then
      list[l + 1] = true
    elseif dense_first then
      list[l + 1] = l % p ~= 0
    else
      list[l + 1] = l % p < p - 1
    end
  end
  return list
end

--- An array of at most n counts up to `max`; nil when the key is absent.
function Reader:counts(name, n, max)
  local key = self.prefix .. name
  local list, elem = self:get(key, "array")
  if not list then return nil end
  if elem ~= "u32" and elem ~= "i32" then fail("EFORMAT", "key %s is an array of %s, want i32", key, elem) end
  if #list > n then fail("EFORMAT", "key %s has %d values, want at most %d", key, #list, n) end
  for k = 1, #list do in_range(key, list[k], 0, max) end
  return list
end

-- Families that store the multiplier of YaRN's logarithm divided by ten.
local tenth = { deepseek2 = true, mistral4 = true, deepseek32 = true, ["glm-dsa"] = true }

-- Families whose files may move the bounds of YaRN's ramp; for all others
-- llama.cpp has 32 and 1, whatever the file says.
local bounded = { mistral3 = true, grok = true }

-- YaRN's magnitude without the 1 + 0.1 ln s that the executor multiplies by:
-- g(1)/g(m) / g(1) with g(x) = 1 + 0.1 x ln s and m the file's multiplier (0:
-- none, then g(m) is 1). DeepSeek's own models have g(m)/g(m): there all of
-- it is in the scale of the scores.
local function yarn_magnitude(r, hp, factor)
  local m = r:number0("rope.scaling.yarn_log_multiplier", 0)
  if tenth[hp.architecture] then m = m / 0.1 end
  local function g(x) return factor > 1 and 1 + 0.1 * x * math.log(factor) or 1 end
  local all = 1 + 0.1 * math.log(factor)
  if all <= 0 then fail("EFORMAT", "key %srope.scaling.factor is %g", r.prefix, factor) end
  if m == 0 then return g(1) / all, 0 end
  return (hp.architecture == "deepseek2" and 1 or g(1) / g(m)) / all, m
end

--- Reads rope.*: what b:rope needs.
local function read_rope(r, hp)
  local function dims(name, most, default)
    local n = r:count(name, 0, most, default)
    if n % 2 == 0 then return n end
    fail("EFORMAT", "key %s%s is %d, want an even number", r.prefix, name, n)
  end
  local n = dims("rope.dimension_count", hp.key_length, hp.key_length)
  local kind = r:get(r.prefix .. "rope.scaling.type", "string") or "linear"
  if kind ~= "none" and kind ~= "linear" and kind ~= "yarn" and kind ~= "longrope" then
    fail("EFORMAT", "key %srope.scaling.type is %q, want none, linear, yarn or longrope",
      r.prefix, kind)
  end
  local factor = r:number0("rope.scaling.factor", r:number0("rope.scale_linear", 0))
  if factor == 0 or kind == "none" then factor = 1 end
  local magnitude, log_multiplier = 1, 0
  if kind == "yarn" then magnitude, log_multiplier = yarn_magnitude(r, hp, factor) end
  local base = r:number("rope.freq_base", 0, 10000)
  return {
    dims = n,
    dims_swa = dims("rope.dimension_count_swa", hp.key_length_swa, math.min(n, hp.key_length_swa)),
    type = kind,
    base = base,
    base_swa = r.g:find_kv(r.prefix .. "rope.freq_base_swa") and r:number("rope.freq_base_swa", 0),
    scale = 1 / factor,
    factor = factor,
    strength = kind == "yarn" and 1 or 0,
    magnitude = magnitude * r:number("rope.scaling.attn_factor", 0, 1),
    log_multiplier = log_multiplier,
    fast = bounded[hp.architecture] and r:number("rope.scaling.yarn_beta_fast", 0, 32) or 32,
    slow = bounded[hp.architecture] and r:number("rope.scaling.yarn_beta_slow", 0, 1) or 1,
    original = r:count("rope.scaling.original_context_length", 1, limits.MAX_CONTEXT, hp.context_length),
    sections = r:counts("rope.dimension_sections", 4, limits.MAX_WIDTH),
  }
end

--- Size of a head from its own key, or the width divided by the heads; 0 in a
--- model without attention.
local function head_length(r, name, hp, n)
  local key = r.prefix .. name
  if r.g:find_kv(key) then return r:count(name, n == 0 and 0 or 1, limits.MAX_WIDTH) end
  if n == 0 then return 0 end
  if hp.embedding_length % n ~= 0 then
    fail("EFORMAT", "key %sembedding_length is %d, not a multiple of %d heads", r.prefix,
      hp.embedding_length, n)
  end
  return hp.embedding_length / n
end

-- 0 heads: the layer has no attention; 0 key/value heads too.
local function read_heads(r, hp)
  local n = hp.layer_count
  hp.head_count = r:per_layer("attention.head_count", n, 0, limits.MAX_HEADS)
  hp.head_count_kv = r:per_layer("attention.head_count_kv", n, 0, limits.MAX_HEADS, hp.head_count)
  local heads = 0 -- of the first layer that has any
  for l = 1, n do
    local all, kv = hp.head_count[l], hp.head_count_kv[l]
    if heads == 0 then heads = all end
    if kv > 0 and all % kv ~= 0 then
      fail("EFORMAT", "layer %d: %d heads are not a multiple of %d key/value heads", l - 1, all, kv)
    end
  end
  hp.key_length = head_length(r, "attention.key_length", hp, heads)
  hp.value_length = head_length(r, "attention.value_length", hp, heads)
  hp.key_length_swa = r:count("attention.key_length_swa", 0, limits.MAX_WIDTH, hp.key_length)
  hp.value_length_swa = r:count("attention.value_length_swa", 0, limits.MAX_WIDTH, hp.value_length)
end

local GATING = { [0] = "default", "softmax", "sigmoid", "chosen", "sqrtsoftplus" }

-- Families whose experts are never scaled, whatever the file says.
local unscaled = {}
for _, name in ipairs {
  "ernie4_5-moe", "gemma4", "gpt-oss", "granitehybrid", "granitemoe", "hunyuan-moe", "jamba", "lfm2moe", "llama",
  "llama4", "minimax-m2", "mistral3", "nomic-bert-moe", "olmoe", "qwen2moe", "qwen35moe", "qwen3moe", "qwen3next",
  "qwen3vlmoe",
} do unscaled[name] = true end

local function read_experts(r, hp)
  hp.expert_count = r:count("expert_count", 0, limits.MAX_EXPERTS, 0)
  local least = hp.expert_count > 0 and 1 or 0
  hp.expert_used_count = r:count("expert_used_count", least, hp.expert_count, least == 0 and 0 or nil)
  hp.expert_weights_scale = unscaled[hp.architecture] and 1 or r:number0("expert_weights_scale", 0)
  if hp.expert_weights_scale == 0 then hp.expert_weights_scale = 1 end
  hp.expert_weights_norm = r:flag("expert_weights_norm", false)
  hp.expert_gating = GATING[r:count("expert_gating_func", 0, 4, 0)]
  hp.expert_groups = r:count("expert_group_count", 0, limits.MAX_EXPERTS, 0)
  hp.expert_groups_used = r:count("expert_group_used_count", 0, hp.expert_groups, 0)
  if hp.expert_groups > 1 and (hp.expert_count % hp.expert_groups ~= 0 or hp.expert_groups_used == 0) then
    fail("EFORMAT", "%d experts in %d groups of which %d are used", hp.expert_count, hp.expert_groups,
      hp.expert_groups_used)
  end
  hp.expert_feed_forward_length = r:count("expert_feed_forward_length", 0, limits.MAX_WIDTH, 0)
  -- files that leave it out share the feed-forward's width among the used ones
  hp.expert_width = hp.expert_feed_forward_length
  if hp.expert_width == 0 and hp.expert_used_count > 0 then
    hp.expert_width = math.floor(hp.feed_forward_length[1] / hp.expert_used_count)
  end
  hp.expert_shared_count = r:count("expert_shared_count", 0, limits.MAX_EXPERTS, 0)
  hp.expert_shared_feed_forward_length = r:count("expert_shared_feed_forward_length", 0, limits.MAX_WIDTH, 0)
  hp.leading_dense_block_count = r:count("leading_dense_block_count", 0, limits.MAX_LAYERS, 0)
end

--- Number of tokens: of the vocabulary when the file has one, else the key,
--- else the rows of the embedding.
local function read_vocab(r)
  local n = r:length "tokenizer.ggml.tokens"
  if n then return in_range("tokenizer.ggml.tokens", n, 1, limits.MAX_VOCAB) end
  n = r:get(r.prefix .. "vocab_size", "u32")
  if n then return in_range(r.prefix .. "vocab_size", n, 1, limits.MAX_VOCAB) end
  local t = r.g:find_tensor "token_embd.weight"
  if not t then fail("EFORMAT", "tensor token_embd.weight is missing") end
  return r.g:tensor(t).shape[2] or 1
end

--- The name of the file's architecture.
---@param g userdata an open file of core.gguf
---@return string
function M.architecture(g)
  return (setmetatable({ g = g, prefix = "" }, Reader):need("general.architecture", "string"))
end

local POOLING = { [0] = "none", "mean", "cls", "last", "rank" }

-- The trunk is what is left of the blocks without the draft heads behind it
-- (multi-token prediction): their blocks are in the file, in every array by
-- layer, and not in the model.
local function read_layers(r, hp)
  hp.layer_count = r:count("block_count", 1, limits.MAX_LAYERS)
  hp.draft_count = r:count("nextn_predict_layers", 0, hp.layer_count - 1, 0)
  hp.block_count = hp.layer_count - hp.draft_count
end

--- Reads and checks what all architectures share. `r` in the result reads an
--- architecture's own keys with the same checks.
---@param g userdata an open file of core.gguf
---@return table hp
function M.read(g)
  local r = setmetatable({ g = g, prefix = "" }, Reader)
  local hp = { r = r, architecture = M.architecture(g) }
  r.prefix = hp.architecture .. "."
  read_layers(r, hp)
  hp.context_length = r:count("context_length", 1, limits.MAX_CONTEXT)
  hp.embedding_length = r:count("embedding_length", 1, limits.MAX_WIDTH)
  hp.feed_forward_length = r:per_layer("feed_forward_length", hp.layer_count, 0, limits.MAX_WIDTH)
  hp.vocab_size = read_vocab(r)
  read_heads(r, hp)
  read_experts(r, hp)
  hp.rope = read_rope(r, hp)
  hp.pooling = POOLING[r:count("pooling_type", 0, 4, 0)]
  return hp
end

return M
