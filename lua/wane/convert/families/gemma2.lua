--- Gemma 2: norms plus one, a norm before and behind each part.
local common = require "wane.convert.families.common"

local M = { arch = "gemma2" }

M.names = {
  ["post_attention_layernorm"] = "post_attention_norm", ["pre_feedforward_layernorm"] = "ffn_norm",
  ["post_feedforward_layernorm"] = "post_ffw_norm",
}

function M.params(p)
  p:count(".attention.head_count_kv", p:get "num_key_value_heads" or p:need "num_attention_heads")
  p:count(".attention.key_length", p:need "head_dim")
  p:count(".attention.value_length", p:need "head_dim")
  p:number(".attn_logit_softcapping", p:need "attn_logit_softcapping")
  p:number(".final_logit_softcapping", p:need "final_logit_softcapping")
  p:count(".attention.sliding_window", p:need "sliding_window")
end

function M.vocab(p) p:set("tokenizer.ggml.add_space_prefix", "bool", false) end

function M.make(c, name, _, _, s)
  if name == "lm_head.weight" then return {} end -- always tied
  if name:find "norm%.weight$" then return { { c:name(name), s, f = common.plus_one } } end
end

return M
