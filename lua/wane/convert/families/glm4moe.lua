--- GLM 4.5, 4.6: leading dense layers, experts with a shared one, draft heads.
local common = require "wane.convert.families.common"

local M = { arch = "glm4moe" }

M.names = { ["post_attention_layernorm"] = "post_attention_norm" }

function M.layers(p) return p:need "num_hidden_layers" + (p:get "num_nextn_predict_layers" or 0) end

function M.params(p)
  p:count(".rope.dimension_count", math.floor(p:head_size() * (p:rope().partial_rotary_factor or 0.5)))
  p:count(".expert_count", p:get "n_routed_experts")
  p:count(".expert_feed_forward_length", p:get "moe_intermediate_size")
  p:count(".expert_shared_count", p:get "n_shared_experts")
  p:count(".leading_dense_block_count", p:get "first_k_dense_replace")
  p:count(".expert_gating_func", 2)
  p:number(".expert_weights_scale", p:get "routed_scaling_factor")
  p:flag(".expert_weights_norm", p:get "norm_topk_prob")
  p:count(".nextn_predict_layers", p:get "num_nextn_predict_layers")
end

function M.vocab(p, t)
  local function special(key, text) -- unless the tokenizer's settings say one
    if p.index["tokenizer.ggml." .. key] then return end
    for i, s in ipairs(t.texts) do
      if s == text then return p:set("tokenizer.ggml." .. key, "u32", i - 1) end
    end
  end
  special("bos_token_id", "[gMASK]")
  special("eot_token_id", "<|user|>")
  special("unknown_token_id", "<|endoftext|>")
  special("eom_token_id", "<|observation|>")
end

function M.make(c, _, layer, rest, s)
  if not layer then return nil end
  if rest == "mlp.gate.e_score_correction_bias" then return { { ("blk.%d.exp_probs_b.bias"):format(layer), s } } end
  return common.experts(c, layer, rest, common.expert_names)
end

return M
