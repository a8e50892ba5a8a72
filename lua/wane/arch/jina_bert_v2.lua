--- jina-bert-v2: bert whose scores fall with the distance instead of learned
--- positions (ALiBi), with GELU gates; its version for code has norms over all
--- of q and of k, and a second norm behind attention.
return function(m)
  local hp = m.hp
  m:use { norm = "layer", causal = false }
  local x = m:embed "token_embd" + m:embed("token_types", { row = 0, rows = m:rows "token_types" })
  x = m:norm(x, "token_embd_norm")
  for i = 0, hp.block_count - 1 do
    local b, ff = m:block(i), hp.feed_forward_length[i + 1]
    local q, k, v = b:qkv(x)
    if b:has "attn_q_norm" then q = b:norm(q, "attn_q_norm") end
    if b:has "attn_k_norm" then k = b:norm(k, "attn_k_norm") end
    local h = b:norm(b:linear(b:attend(q, k, v, { bias = 8 }), "attn_output") + x, "attn_output_norm")
    if b:has "attn_norm_2" then h = b:norm(h + x, "attn_norm_2") end
    local f
    if b:has "ffn_gate" or b:rows "ffn_up" ~= ff then f = b:ffn(h, "gelu") else f = b:mlp(h, "gelu") end
    x = b:norm(f + h, "layer_output_norm")
  end
  return x, "embeddings"
end
