--- muse-glimmer: embeddings normalised, norms on the heads of q and k,
--- attention gated before its output matrix, norms with an eps of their own
--- behind each part; rotation only in the sliding layers; logits scaled, then
--- capped.
return function(m)
  local hp, r = m.hp, m.hp.r
  m:use { norm = "rms", rope = "normal" }
  local window = r:count("attention.sliding_window", 1, 2 ^ 24)
  local slides = r:pattern("attention.sliding_window_pattern", hp.block_count, 4)
  local logit, cap = r:number("logit_scale", 0), r:number0("final_logit_softcapping", 0)
  local turn, behind = { base = hp.rope.base_swa or nil, scale = 1 }, { eps = 1e-8 }
  local x = m:norm(m:embed "token_embd")
  for i = 0, hp.block_count - 1 do
    local b, slide = m:block(i), slides[i + 1]
    local h = b:norm(x, "attn_norm")
    local q, k, v = b:qkv(h)
    q = b:norm(q, "attn_q_norm", { per = "head" })
    k = b:norm(k, "attn_k_norm", { per = "head" })
    if slide then q, k = b:rope(q, turn), b:rope(k, turn) end
    local a = b:attend(q, k, v, { window = slide and window or nil })
    a = a * b:act("sigmoid", b:linear(h, "attn_gate"))
    x = x + b:norm(b:linear(a, "attn_output"), "post_attention_norm", behind)
    x = x + b:norm(b:ffn(b:norm(x, "ffn_norm"), "silu"), "post_ffw_norm", behind)
  end
  local y = m:scale(m:linear(m:norm(x, "output_norm"), "output"), logit)
  return cap > 0 and m:softcap(y, cap) or y
end
