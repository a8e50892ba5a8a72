--- gemma3: gemma2's norms around each part, norms on the heads of q and k; five
--- sliding layers, with a rotation of their own, to each full one. A file
--- without a window has full layers only.
return function(m)
  local hp, r = m.hp, m.hp.r
  m:use { norm = "rms", rope = "neox" }
  local window = r:count("attention.sliding_window", 0, 2 ^ 24, 0)
  local slides = r:pattern("attention.sliding_window_pattern", hp.block_count, 6)
  local cap = r:number0("final_logit_softcapping", 0)
  local turn = { base = hp.rope.base_swa or 10000, scale = 1 }
  -- the 27B model scales by width per head instead of the head's length
  local length = hp.block_count == 62 and hp.embedding_length / hp.head_count[1] or hp.key_length
  local x = m:scale(m:embed "token_embd", math.sqrt(hp.embedding_length))
  for i = 0, hp.block_count - 1 do
    local b, slide = m:block(i), window > 0 and slides[i + 1]
    local q, k, v = b:qkv(b:norm(x, "attn_norm"))
    q = b:rope(b:norm(q, "attn_q_norm", { per = "head" }), slide and turn or nil)
    k = b:rope(b:norm(k, "attn_k_norm", { per = "head" }), slide and turn or nil)
    local a = b:attend(q, k, v, { window = slide and window or nil, scale = 1 / math.sqrt(length) })
    x = x + b:norm(b:linear(a, "attn_output"), "post_attention_norm")
    x = x + b:norm(b:ffn(b:norm(x, "ffn_norm"), "gelu"), "post_ffw_norm")
  end
  local y = m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
  return cap > 0 and m:softcap(y, cap) or y
end
