--- minimax-m2: norms over all of q and of k, a part of each head rotating,
--- experts chosen by sigmoid and bias.
return function(m)
  local hp = m.hp
  m:use { norm = "rms", rope = "neox" }
  local x = m:embed "token_embd"
  for i = 0, hp.block_count - 1 do
    local b = m:block(i)
    local q, k, v = b:qkv(b:norm(x, "attn_norm"))
    q, k = b:norm(q, "attn_q_norm"), b:norm(k, "attn_k_norm")
    x = x + b:linear(b:attend(b:rope(q), b:rope(k), v), "attn_output")
    x = x + b:moe(b:norm(x, "ffn_norm"), { normalise = true })
  end
  return m:linear(m:norm(x, "output_norm"), "output")
end
