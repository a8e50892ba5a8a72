--- LFM2: short convolutions and attention in turns.
local M = { arch = "lfm2" }

M.top = { ["model.embedding_norm"] = "token_embd_norm" }
M.names = {
  ["operator_norm"] = "attn_norm", ["ffn_norm"] = "ffn_norm", ["self_attn.out_proj"] = "attn_output",
  ["self_attn.q_layernorm"] = "attn_q_norm", ["self_attn.k_layernorm"] = "attn_k_norm",
  ["conv.in_proj"] = "shortconv.in_proj", ["conv.out_proj"] = "shortconv.out_proj",
  ["feed_forward.w1"] = "ffn_gate", ["feed_forward.w3"] = "ffn_up", ["feed_forward.w2"] = "ffn_down",
  ["feed_forward.gate"] = "ffn_gate_inp",
}

--- Layers that convolve have no key/value heads.
function M.config(config)
  local list, n = {}, config.num_key_value_heads
  if type(config.layer_types) == "table" and type(n) == "number" then
    for i, t in ipairs(config.layer_types) do list[i] = t == "full_attention" and n or 0 end
    config.num_key_value_heads = list
  end
end

-- The width that the file means: adjusted by a rule unless it says not to.
local function feed_forward(p)
  local n = p:need("block_ff_dim", "intermediate_size")
  if not p:get "block_auto_adjust_ff_dim" then return n end
  n = math.floor(2 * n / 3)
  if p:get "block_ffn_dim_multiplier" then n = math.floor(p:get "block_ffn_dim_multiplier" * n) end
  local multiple = p:need "block_multiple_of"
  return multiple * math.floor((n + multiple - 1) / multiple)
end

function M.params(p)
  p:count(".vocab_size", p:need "vocab_size")
  p:count(".shortconv.l_cache", p:need "conv_L_cache")
  p:number(".attention.layer_norm_rms_epsilon", p:need "norm_eps")
  p:count(".feed_forward_length", feed_forward(p))
end

function M.make(_, _, layer, rest, s)
  if rest == "conv.conv.weight" then return { { ("blk.%d.shortconv.conv.weight"):format(layer), s } } end
end

return M
