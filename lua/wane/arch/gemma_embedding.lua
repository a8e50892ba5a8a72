--- gemma-embedding: gemma3's layers over the whole text, sliding ones looking
--- to both sides; the result is a vector for each token. (dense_2 and dense_3
--- are applied to what is pooled: wane.embed.)
return function(m)
  local hp, r = m.hp, m.hp.r
  m:use { norm = "rms", rope = "neox", causal = false }
  local window = r:count("attention.sliding_window", 0, 2 ^ 24)
  local slides = r:pattern("attention.sliding_window_pattern", hp.block_count, 6)
  local turn = { base = hp.rope.base_swa or 10000, scale = 1 }
  local x = m:scale(m:embed "token_embd", math.sqrt(hp.embedding_length))
  for i = 0, hp.block_count - 1 do
    local b, slide = m:block(i), slides[i + 1]
    local q, k, v = b:qkv(b:norm(x, "attn_norm"))
    q = b:rope(b:norm(q, "attn_q_norm", { per = "head" }), slide and turn or nil)
    k = b:rope(b:norm(k, "attn_k_norm", { per = "head" }), slide and turn or nil)
    local a = b:attend(q, k, v, { window = slide and window or nil })
    x = x + b:norm(b:linear(a, "attn_output"), "post_attention_norm")
    x = x + b:norm(b:ffn(b:norm(x, "ffn_norm"), "gelu"), "post_ffw_norm")
  end
  return m:norm(x, "output_norm"), "embeddings"
end
