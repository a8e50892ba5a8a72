--- exaone4: olmo2's norms behind each part, with norms on the heads of q and
--- k. The 64 layers of the 32B model slide by a pattern and rotate only where
--- they slide; the small one rotates everywhere.
return function(m)
  local hp, r = m.hp, m.hp.r
  m:use { norm = "rms", rope = "neox", factors = true }
  local large = hp.block_count == 64
  local window = r:count("attention.sliding_window", 0, 2 ^ 24, 4096)
  local slides = large and r:pattern("attention.sliding_window_pattern", hp.block_count, 4)
  local x = m:embed "token_embd"
  for i = 0, hp.block_count - 1 do
    local b, slide = m:block(i), large and slides[i + 1]
    local q, k, v = b:qkv(x)
    q = b:norm(q, "attn_q_norm", { per = "head" })
    k = b:norm(k, "attn_k_norm", { per = "head" })
    if slide or not large then q, k = b:rope(q), b:rope(k) end
    local a = b:attend(q, k, v, { window = slide and window > 0 and window or nil })
    x = x + b:norm(b:linear(a, "attn_output"), "post_attention_norm")
    x = x + b:norm(b:ffn(x, "silu"), "post_ffw_norm")
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
