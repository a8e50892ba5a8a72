--- gemma2: embeddings scaled by sqrt(width), norms before and after each part,
--- GELU gates, soft caps on scores and logits, a sliding window on every even
--- layer.
return function(m)
  local hp, r = m.hp, m.hp.r
  m:use { norm = "rms", rope = "neox" }
  local window = r:count("attention.sliding_window", 1, 2 ^ 24, 4096)
  local cap = r:number0("attn_logit_softcapping", 50)
  local last = r:number("final_logit_softcapping", 0, 30)
  -- the 27B model scales by width per head instead of the head's length
  local length = hp.block_count == 46 and hp.embedding_length / hp.head_count[1] or hp.key_length
  local x = m:scale(m:embed "token_embd", math.sqrt(hp.embedding_length))
  for i = 0, hp.block_count - 1 do
    local b = m:block(i)
    local q, k, v = b:qkv(b:norm(x, "attn_norm"))
    local a = b:attend(b:rope(q), b:rope(k), v,
      { window = i % 2 == 0 and window or nil, cap = cap, scale = 1 / math.sqrt(length) })
    x = x + b:norm(b:linear(a, "attn_output"), "post_attention_norm")
    x = x + b:norm(b:ffn(b:norm(x, "ffn_norm"), "gelu"), "post_ffw_norm")
  end
  return m:softcap(m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" }), last)
end
