--- Hyper-parameters: from config.json to the metadata that llama.cpp's converter
--- writes for every family, under its names and types.
local M = {}
M.__index = M

local json = require "wane.json"
local rows = require "wane.convert.rows"

-- JSON null counts as absent.
local function value(v)
  if v == json.null then return nil end
  return v
end

--- Metadata in order: list of { key, type, value [, elem] }.
---@param arch string
---@param config table   config.json with text_config lifted to the top
function M.new(arch, config)
  return setmetatable({ arch = arch, config = config, list = {}, index = {} }, M)
end

--- The first of these keys that config.json has.
function M:get(...)
  for i = 1, select("#", ...) do
    local v = value(self.config[(select(i, ...))])
    if v ~= nil then return v end
  end
end

--- As get, but one must be there.
function M:need(...)
  local v = self:get(...)
  if v == nil then rows.fail(("config.json: %s is missing"):format(table.concat({ ... }, " or "))) end
  return v
end

--- Adds or replaces a key; a name that begins with a dot gets the architecture.
function M:set(key, kind, v, elem)
  if v == nil then return end
  if key:sub(1, 1) == "." then key = self.arch .. key end
  local e = { key = key, type = kind, value = v, elem = elem }
  local at = self.index[key]
  if not at then
    at = #self.list + 1
    self.index[key] = at
  end
  self.list[at] = e
end

local function whole(key, v)
  if type(v) ~= "number" or v < 0 or v ~= math.floor(v) or v >= 2 ^ 32 then
    rows.fail(("config.json: %s is %s, want a count"):format(key, tostring(v)))
  end
  return v
end

--- A count (u32), or one a layer.
function M:count(key, v)
  if v == nil then return end
  if type(v) == "table" then
    local list = {}
    for i, x in ipairs(v) do list[i] = whole(key, x) end
    return self:set(key, "array", list, "u32")
  end
  self:set(key, "u32", whole(key, v))
end

function M:number(key, v)
  if v == nil then return end
  if type(v) ~= "number" then rows.fail(("config.json: %s is %s, want a number"):format(key, tostring(v))) end
  self:set(key, "f32", v)
end

function M:flag(key, v)
  if v ~= nil then self:set(key, "bool", v and true or false) end
end

function M:flags(key, list) self:set(key, "array", list, "bool") end

--- What is said about rotation, wherever the file says it: rope_parameters or
--- rope_scaling, with the keys of the top level filled in where they lack.
function M:rope()
  if self.rope_parameters then return self.rope_parameters end
  local r = {}
  for k, v in pairs(self:get("rope_parameters", "rope_scaling") or {}) do r[k] = value(v) end
  if not (r.full_attention or r.sliding_attention) then
    local theta = self:get("global_rope_theta", "rope_global_theta", "rope_theta_global", "rope_theta", "rotary_emb_base")
    local own = self:get("local_rope_theta", "rope_local_theta", "rope_theta_local", "swa_rope_theta", "rope_local_base_freq")
    if own then r.sliding_attention = { rope_theta = own } end
    r.rope_theta = r.rope_theta or theta
    r.rope_type = r.rope_type or r.type
    r.partial_rotary_factor = r.partial_rotary_factor or self:get("partial_rotary_factor", "rope_pct", "rope_percent")
    r.original_max_position_embeddings = r.original_max_position_embeddings or self:get "original_max_position_embeddings"
  end
  self.rope_parameters = r
  return r
end

-- transformers' attention_factor is the whole magnitude of a rotation, GGUF's
-- attn_factor what it differs by from YaRN's own, 1 + ln(factor) / 10. llama.cpp's
-- converter writes it as yarn_attn_factor, which its loader does not read.
local function add_magnitude(self, r)
  local given = r.attention_factor or r.attn_factor
  if given == nil then return end
  self:number(".rope.scaling.yarn_attn_factor", given)
  local own = 1 + 0.1 * math.log(math.max(r.factor, 1))
  if math.abs(given / own - 1) > 1e-6 then self:number(".rope.scaling.attn_factor", given / own) end
end

local function add_scaling(self, r)
  local kind = r.rope_type
  if kind == "linear" and r.factor then
    self:set(".rope.scaling.type", "string", "linear")
    self:number(".rope.scaling.factor", r.factor)
  elseif kind == "yarn" and r.factor then
    self:set(".rope.scaling.type", "string", "yarn")
    self:number(".rope.scaling.factor", r.factor)
    self:count(".rope.scaling.original_context_length", r.original_max_position_embeddings)
    self:number(".rope.scaling.yarn_ext_factor", r.extrapolation_factor)
    add_magnitude(self, r)
    self:number(".rope.scaling.yarn_beta_fast", r.beta_fast)
    self:number(".rope.scaling.yarn_beta_slow", r.beta_slow)
  elseif kind == "su" or kind == "longrope" then
    self:set(".rope.scaling.type", "string", "longrope")
  end
end

local GATING = { softmax = 1, sigmoid = 2, sqrtsoftplus = 4 }

--- What the converter writes for every text model.
---@param n_layers integer
function M:common(n_layers)
  self:count(".block_count", n_layers)
  self:count(".context_length", self:get("max_position_embeddings", "n_ctx", "n_positions", "max_length",
    "max_sequence_length", "model_max_length"))
  self:count(".embedding_length", self:need("hidden_size", "n_embd", "dim"))
  self:count(".feed_forward_length", self:get("prefix_dense_intermediate_size", "dense_intermediate_size",
    "intermediate_size", "n_inner", "hidden_dim"))
  self:count(".attention.head_count", self:get("num_attention_heads", "n_head", "n_heads"))
  self:count(".attention.head_count_kv", self:get("num_key_value_heads", "n_kv_heads"))
  if self:get "is_causal" == false then self:flag(".attention.causal", false) end
  local r = self:rope()
  local full = r.full_attention or r
  add_scaling(self, full)
  if r.mrope_section then
    local s = {}
    for i = 1, 4 do s[i] = r.mrope_section[i] or 0 end
    self:set(".rope.dimension_sections", "array", s, "i32")
  end
  self:number(".rope.freq_base", full.rope_theta)
  self:number(".rope.freq_base_swa", r.sliding_attention and r.sliding_attention.rope_theta)
  self:number(".attention.layer_norm_rms_epsilon", self:get("rms_norm_eps", "norm_eps"))
  self:number(".attention.layer_norm_epsilon", self:get("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"))
  self:count(".expert_count", self:get("num_local_experts", "num_experts", "n_routed_experts"))
  self:count(".expert_used_count", self:get("num_experts_per_tok", "num_experts_per_token", "top_k_experts"))
  self:count(".expert_group_count", self:get "n_group")
  self:count(".expert_group_used_count", self:get "topk_group")
  local gating = self:get("score_function", "scoring_func", "score_func", "moe_router_activation",
    "moe_router_activation_func", "expert_selection_fn")
  if gating then
    if not GATING[gating] then rows.fail(("config.json: gating of experts by %s is not known"):format(tostring(gating)), "EUNSUP") end
    self:count(".expert_gating_func", GATING[gating])
  end
  self:count(".attention.key_length", self:get "head_dim")
  self:count(".attention.value_length", self:get "head_dim")
end

--- Size of a head.
function M:head_size() return self:get "head_dim" or self:need "hidden_size" / self:need "num_attention_heads" end

return M
