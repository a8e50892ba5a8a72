--- Names of tensors: from those of Hugging Face's models to GGUF's. A family
--- adds its own or replaces some (families/*.lua).
local M = {}

--- Outside of layers.
M.top = {
  ["model.embed_tokens"] = "token_embd", ["model.norm"] = "output_norm", ["lm_head"] = "output",
}

--- Inside of layer N, behind "model.layers.N.".
M.layer = {
  ["input_layernorm"] = "attn_norm", ["post_attention_layernorm"] = "ffn_norm",
  ["self_attn.q_proj"] = "attn_q", ["self_attn.k_proj"] = "attn_k", ["self_attn.v_proj"] = "attn_v",
  ["self_attn.o_proj"] = "attn_output", ["self_attn.qkv_proj"] = "attn_qkv",
  ["self_attn.q_norm"] = "attn_q_norm", ["self_attn.k_norm"] = "attn_k_norm",
  ["mlp.gate_proj"] = "ffn_gate", ["mlp.up_proj"] = "ffn_up", ["mlp.down_proj"] = "ffn_down",
  ["mlp.gate"] = "ffn_gate_inp", ["block_sparse_moe.gate"] = "ffn_gate_inp",
  ["mlp.experts.gate_proj"] = "ffn_gate_exps", ["mlp.experts.up_proj"] = "ffn_up_exps",
  ["mlp.experts.down_proj"] = "ffn_down_exps",
  ["mlp.shared_expert.gate_proj"] = "ffn_gate_shexp", ["mlp.shared_expert.up_proj"] = "ffn_up_shexp",
  ["mlp.shared_expert.down_proj"] = "ffn_down_shexp", ["mlp.shared_expert_gate"] = "ffn_gate_inp_shexp",
  ["mlp.shared_experts.gate_proj"] = "ffn_gate_shexp", ["mlp.shared_experts.up_proj"] = "ffn_up_shexp",
  ["mlp.shared_experts.down_proj"] = "ffn_down_shexp",
  -- draft heads
  ["eh_proj"] = "nextn.eh_proj", ["enorm"] = "nextn.enorm", ["hnorm"] = "nextn.hnorm",
  ["embed_tokens"] = "nextn.embed_tokens", ["shared_head.head"] = "nextn.shared_head_head",
  ["shared_head.norm"] = "nextn.shared_head_norm",
}

-- Parts of a name that belong to images or sound.
local other_senses = {
  "visual%.", "vision%.", "audio%.", "talker%.", "vision_", "audio_", "token2wav%.", "code2wav%.", "projector%.",
  "image_newline", "patch_embed", "patch_merger%.", "model%.connector%.",
}

--- Does the tensor belong to something that text does not need?
function M.is_other_sense(name)
  for _, pattern in ipairs(other_senses) do
    if name:find(pattern) then return true end
  end
  return name:find "^vit%." ~= nil or name:find "^vpm%." ~= nil or name:find "^merger%." ~= nil
end

--- GGUF's name, or nil.
---@param name string  with its suffix
---@param family table
---@return string|nil gguf
---@return integer|nil layer
function M.map(name, family)
  local stem, suffix = name:match "^(.*)(%.weight)$"
  if not stem then stem, suffix = name:match "^(.*)(%.bias)$" end
  if not stem then stem, suffix = name, ".weight" end
  local layer, rest = stem:match "^model%.layers%.(%d+)%.(.+)$"
  local own = family.names or {}
  if layer then
    local to = own[rest] or M.layer[rest]
    if not to then return nil, tonumber(layer) end
    return ("blk.%d.%s"):format(tonumber(layer), to:find "%.%a+$" and to:find "^nextn" == nil and to or to .. suffix), tonumber(layer)
  end
  local to = family.top and family.top[stem] or M.top[stem]
  return to and to .. suffix
end

return M
