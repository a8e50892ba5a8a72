--- stablelm: layer norms, rotation of a part of each head. StableLM 2 12B has
--- norms on the heads of q and k, and no ffn_norm: attention and feed-forward
--- then read the same normalised input.
return function(m)
  m:use { norm = "layer", rope = "neox" }
  local x = m:embed "token_embd"
  for i = 0, m.hp.block_count - 1 do
    local b = m:block(i)
    local a = b:norm(x, "attn_norm")
    local q, k, v = b:qkv(a)
    if b:has "attn_q_norm" then q = b:norm(q, "attn_q_norm", { per = "head" }) end
    if b:has "attn_k_norm" then k = b:norm(k, "attn_k_norm", { per = "head" }) end
    x = x + b:linear(b:attend(b:rope(q), b:rope(k), v), "attn_output")
    x = x + b:ffn(b:has "ffn_norm" and b:norm(x, "ffn_norm") or a, "silu")
  end
  return m:linear(m:norm(x, "output_norm"), "output")
end
