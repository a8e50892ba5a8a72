--- Tensors of a file that a model may do without: what each is meant for,
--- instead of the program that is being built. What is not listed here is part
--- of the model, and a program that does not use it is wrong.
local M = {}

-- Beginnings of names, and what they belong to.
local beginnings = {
  { "v.", "vision tower" }, { "mm.", "vision tower" }, { "a.", "audio tower" }, { "vit.", "vision tower" },
  { "blk.0.time_mix_v0.", "layers behind the first" }, { "blk.0.time_mix_v1.", "layers behind the first" },
  { "blk.0.time_mix_v2.", "layers behind the first" }, { "cls.", "classifier" },
  { "dense_2.", "head of embeddings" }, { "dense_3.", "head of embeddings" },
}

-- What is computed or stored beside a block's weights.
local ends = {
  { ".attn_rot_embd.weight", "tables of rotation" }, { ".attn_kv_b.weight", "older form of attn_k_b, attn_v_b" },
  { ".input_scale", "scale of quantized activations" },
}

--- What a tensor that the program does not use is for, or nil.
---@param name string
---@param hp table hyper-parameters (hparams.read)
---@return string|nil
function M.purpose(name, hp)
  local block = tonumber(name:match "^blk%.(%d+)%.")
  if block and block >= hp.block_count and block < hp.layer_count then return "draft head" end
  if name:find("^blk%.%d+%.nextn%.") or name:find "^nextn%." then return "draft head" end
  if name:find "^output%." and hp.embeddings then return "output matrix" end
  for _, b in ipairs(beginnings) do
    if name:sub(1, #b[1]) == b[1] then return b[2] end
  end
  for _, e in ipairs(ends) do
    if name:sub(-#e[1]) == e[1] then return e[2] end
  end
  return nil
end

return M
