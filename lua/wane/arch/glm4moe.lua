--- glm4moe: biases on q, k, v, norms on their heads in the larger size, a part
--- of each head rotating; experts chosen by sigmoid and bias beside a shared
--- one, behind some dense layers.
return function(m)
  local hp = m.hp
  local axes = m.hp.rope.sections -- of the versions that also see
  m:use { norm = "rms", rope = axes and (axes[1] or 0) > 0 and (axes[2] or 0) > 0 and "mrope" or "neox" }
  local gating = hp.expert_gating == "default" and "sigmoid" or hp.expert_gating
  local ff = hp.expert_width
  local x = m:embed "token_embd"
  for i = 0, hp.block_count - 1 do
    local b = m:block(i)
    local q, k, v = b:qkv(b:norm(x, "attn_norm"))
    if b:has "attn_q_norm" then q = b:norm(q, "attn_q_norm", { per = "head" }) end
    if b:has "attn_k_norm" then k = b:norm(k, "attn_k_norm", { per = "head" }) end
    x = x + b:linear(b:attend(b:rope(q), b:rope(k), v), "attn_output")
    local f = b:norm(x, "post_attention_norm")
    if i < hp.leading_dense_block_count then
      x = x + b:ffn(f, "silu")
    else
      local e = b:moe(f, { gating = gating, normalise = hp.expert_weights_norm, ff = ff })
      if hp.expert_shared_count > 0 then e = e + b:shared(f, "silu", ff * hp.expert_shared_count) end
      x = x + e
    end
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
