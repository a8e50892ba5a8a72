--- Gemma 4: two sizes of heads, values without matrices, per-layer embeddings.
local common = require "wane.convert.families.common"

local M = { arch = "gemma4", fallback_model = "gemma4", no_sentencepiece = true }

M.top = {
  ["model.embed_tokens_per_layer"] = "per_layer_token_embd",
  ["model.per_layer_model_projection"] = "per_layer_model_proj",
  ["model.per_layer_projection_norm"] = "per_layer_proj_norm",
}
M.names = {
  ["post_attention_layernorm"] = "post_attention_norm", ["pre_feedforward_layernorm"] = "ffn_norm",
  ["post_feedforward_layernorm"] = "post_ffw_norm",
  ["post_feedforward_layernorm_1"] = "post_ffw_norm_1", ["post_feedforward_layernorm_2"] = "post_ffw_norm_2",
  ["pre_feedforward_layernorm_2"] = "pre_ffw_norm_2", ["router.proj"] = "ffn_gate_inp",
  ["per_layer_input_gate"] = "inp_gate", ["per_layer_projection"] = "proj",
  ["post_per_layer_input_norm"] = "post_norm", ["layer_scalar"] = "layer_output_scale",
}

M.rename = require("wane.convert.families.gemma3").rename

-- A setting of the full layers that the file may keep by layer.
local function of_full_layers(p, types, key, in_layer)
  local v = p:get(key)
  if v then return v end
  for i, c in pairs(p:get "per_layer_config" or {}) do -- all full layers agree
    local at = tonumber(i)
    if at and types[at + 1] == "full_attention" and type(c) == "table" and c[in_layer] then return c[in_layer] end
  end
end

function M.params(p, c)
  local types, shared = p:need "layer_types", p:get "num_kv_shared_layers" or 0
  p:count(".attention.shared_kv_layers", shared)
  p:count(".embedding_length_per_layer_input", p:get "hidden_size_per_layer_input" or 0)
  local sliding = common.sliding(types)
  p:flags(".attention.sliding_window_pattern", sliding)
  p:count(".attention.sliding_window", p:need "sliding_window")
  p:number(".final_logit_softcapping", p:get "final_logit_softcapping")
  local full, own = of_full_layers(p, types, "global_head_dim", "head_dim") or p:need "head_dim", p:need "head_dim"
  p:count(".attention.key_length", full)
  p:count(".attention.value_length", full)
  p:count(".attention.key_length_swa", own)
  p:count(".attention.value_length_swa", own)
  p:count(".expert_feed_forward_length", p:get("expert_intermediate_size", "moe_intermediate_size"))
  if p:get "use_double_wide_mlp" then
    local list, n = {}, p:need "intermediate_size"
    for i = 1, c.n_layers do list[i] = i <= c.n_layers - shared and n or 2 * n end
    p:count(".feed_forward_length", list)
  end
  local kv_full = of_full_layers(p, types, "num_global_key_value_heads", "num_key_value_heads")
  if kv_full then
    local list = {}
    for i, is in ipairs(sliding) do list[i] = is and p:need "num_key_value_heads" or kv_full end
    p:count(".attention.head_count_kv", list)
  end
  c.full_head = full
  p:count(".rope.dimension_count", full)
  p:count(".rope.dimension_count_swa", math.floor(own * (p:rope().partial_rotary_factor or 1)))
end

-- Marks that whoever reads an answer must see: shown as text.
local visible = {
  ["<|channel>"] = true, ["<channel|>"] = true, ["<|tool_call>"] = true, ["<tool_call|>"] = true,
  ["<|tool_response>"] = true, ["<tool_response|>"] = true, ["<|\"|>"] = true,
}

function M.vocab(p, t)
  for i, text in ipairs(t.texts) do
    if visible[text] then t.kinds[i] = 4 end
  end
  p:set("tokenizer.ggml.add_space_prefix", "bool", false)
  p:set("tokenizer.ggml.add_bos_token", "bool", true)
end

--- Full layers rotate a part of each head: the other pairs are divided away.
function M.extra(c)
  local r, list = c.params:rope().full_attention or {}, {}
  local rotated = math.floor(c.full_head * (r.partial_rotary_factor or 1) / 2)
  for i = 1, c.full_head / 2 do list[i] = i <= rotated and 1 or 1e30 end
  return { { "rope_freqs.weight", values = list } }
end

function M.make(c, name, layer, rest, s)
  if name == "lm_head.weight" then return {} end
  if not layer then return nil end
  local function out(to, n) return { { ("blk.%d.%s"):format(layer, to), s, matrices = n } } end
  if rest == "router.scale" then return out "ffn_gate_inp.scale" end
  if rest == "router.per_expert_scale" then return out "ffn_down_exps.scale" end
  if rest:find "^experts%.gate_up_proj" then return out("ffn_gate_up_exps.weight", c.n_experts) end
  if rest:find "^experts%.down_proj" then return out("ffn_down_exps.weight", c.n_experts) end
end

return M
