--- cohere2: attention and feed-forward side by side on one layer norm;
--- rotation only in the sliding layers; logits scaled. command-r is the same
--- without windows, rotating everywhere; its larger sizes have layer norms on
--- the heads of q and k.
return function(m)
  local hp, r = m.hp, m.hp.r
  local window = r:count("attention.sliding_window", 0, 2 ^ 24, 0)
  local all = hp.architecture == "command-r"
  m:use { norm = "layer", rope = "normal", factors = not all }
  local slides = r:pattern("attention.sliding_window_pattern", hp.block_count, 4)
  local logit = r:number("logit_scale", 0)
  local x = m:embed "token_embd"
  for i = 0, hp.block_count - 1 do
    local b, slide = m:block(i), not all and slides[i + 1]
    local h = b:norm(x, "attn_norm")
    local q, k, v = b:qkv(h)
    if b:has "attn_q_norm" then
      q = b:norm(q, "attn_q_norm", { per = "head" })
      k = b:norm(k, "attn_k_norm", { per = "head" })
    end
    if all or slide then q, k = b:rope(q), b:rope(k) end
    local a = b:attend(q, k, v, { window = slide and window > 0 and window or nil })
    x = x + b:linear(a, "attn_output") + b:ffn(h, "silu")
  end
  return m:scale(m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" }), logit)
end
