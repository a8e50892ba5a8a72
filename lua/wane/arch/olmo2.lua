--- olmo2: no norms before the parts but behind them, and over all of q and of
--- k. OLMo 3 adds sliding layers, whose rotation is never stretched.
return function(m)
  local hp, r = m.hp, m.hp.r
  m:use { norm = "rms", rope = "neox" }
  local window = r:count("attention.sliding_window", 0, 2 ^ 24, 0)
  local slides = r:pattern("attention.sliding_window_pattern", hp.block_count, 4)
  local plain = { plain = true }
  local x = m:embed "token_embd"
  for i = 0, hp.block_count - 1 do
    local b, slide = m:block(i), window > 0 and slides[i + 1]
    local q, k, v = b:qkv(x)
    q = b:rope(b:norm(q, "attn_q_norm"), slide and plain or nil)
    k = b:rope(b:norm(k, "attn_k_norm"), slide and plain or nil)
    local a = b:attend(q, k, v, { window = slide and window or nil })
    x = x + b:norm(b:linear(a, "attn_output"), "post_attention_norm")
    x = x + b:norm(b:ffn(x, "silu"), "post_ffw_norm")
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
