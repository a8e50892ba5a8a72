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

--- One count for each layer: from one number or from an array as long as
--- there are layers.
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

--- Reads rope.*: what b:rope needs.
local function read_rope(r, hp)
  local n = r:count("rope.dimension_count", 0, hp.key_length, hp.key_length)
  if n % 2 ~= 0 then
    fail("EFORMAT", "key %srope.dimension_count is %d, want an even number", r.prefix, n)
  end
  local kind = r:get(r.prefix .. "rope.scaling.type", "string") or "linear"
  if kind ~= "none" and kind ~= "linear" and kind ~= "yarn" and kind ~= "longrope" then
    fail("EFORMAT", "key %srope.scaling.type is %q, want none, linear, yarn or longrope",
      r.prefix, kind)
  end
  local factor = r:number0("rope.scaling.factor", r:number0("rope.scale_linear", 0))
  if factor == 0 or kind == "none" then factor = 1 end
  local magnitude = 1
  if kind == "yarn" then
    -- the executor multiplies by 1 + 0.1 ln(factor) as YaRN asks
    magnitude = (factor > 1 and 0.1 * math.log(factor) + 1 or 1) / (1 + 0.1 * math.log(factor))
    if magnitude <= 0 then fail("EFORMAT", "key %srope.scaling.factor is %g", r.prefix, factor) end
  end
  return {
    dims = n,
    type = kind,
    base = r:number("rope.freq_base", 0, 10000),
    scale = 1 / factor,
    strength = kind == "yarn" and 1 or 0,
    magnitude = magnitude * r:number("rope.scaling.attn_factor", 0, 1),
    fast = 32,
    slow = 1,
    original = r:count("rope.scaling.original_context_length", 1, limits.MAX_CONTEXT, hp.context_length),
  }
end

--- Size of a head from its own key, or the width divided by the heads.
local function head_length(r, name, hp, n)
  local key = r.prefix .. name
  if r.g:find_kv(key) then return r:count(name, 1, limits.MAX_WIDTH) end
  if n == 0 or hp.embedding_length % n ~= 0 then
    fail("EFORMAT", "key %sembedding_length is %d, not a multiple of %d heads", r.prefix,
      hp.embedding_length, n)
  end
  return hp.embedding_length / n
end

local function read_heads(r, hp)
  local n = hp.block_count
  hp.head_count = r:per_layer("attention.head_count", n, 1, limits.MAX_HEADS)
  hp.head_count_kv = r:per_layer("attention.head_count_kv", n, 1, limits.MAX_HEADS, hp.head_count)
  for l = 1, n do
    if hp.head_count[l] % hp.head_count_kv[l] ~= 0 then
      fail("EFORMAT", "layer %d: %d heads are not a multiple of %d key/value heads", l - 1,
        hp.head_count[l], hp.head_count_kv[l])
    end
  end
  hp.key_length = head_length(r, "attention.key_length", hp, hp.head_count[1])
  hp.value_length = head_length(r, "attention.value_length", hp, hp.head_count[1])
end

local function read_experts(r, hp)
  hp.expert_count = r:count("expert_count", 0, limits.MAX_EXPERTS, 0)
  local least = hp.expert_count > 0 and 1 or 0
  hp.expert_used_count = r:count("expert_used_count", least, hp.expert_count, least == 0 and 0 or nil)
  hp.expert_weights_scale = r:number0("expert_weights_scale", 0)
  if hp.expert_weights_scale == 0 then hp.expert_weights_scale = 1 end
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

local POOLING = { [0] = "none", [1] = "mean", [2] = "first", [3] = "last" }

--- Reads and checks what all architectures share. `r` in the result reads an
--- architecture's own keys with the same checks.
---@param g userdata an open file of core.gguf
---@return table hp
function M.read(g)
  local r = setmetatable({ g = g, prefix = "" }, Reader)
  local hp = { r = r, architecture = M.architecture(g) }
  r.prefix = hp.architecture .. "."
  hp.block_count = r:count("block_count", 1, limits.MAX_LAYERS)
  hp.context_length = r:count("context_length", 1, limits.MAX_CONTEXT)
  hp.embedding_length = r:count("embedding_length", 1, limits.MAX_WIDTH)
  hp.feed_forward_length = r:per_layer("feed_forward_length", hp.block_count, 1, limits.MAX_WIDTH)
  hp.vocab_size = read_vocab(r)
  read_heads(r, hp)
  read_experts(r, hp)
  hp.rope = read_rope(r, hp)
  hp.pooling = POOLING[r:count("pooling_type", 0, 4, 0)] or "none"
  return hp
end

return M
