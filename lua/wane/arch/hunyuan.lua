--- hunyuan-dense, hunyuan-moe: norms on the heads of q and k behind the
--- rotation, whose base grows with the file's alpha in the first; experts beside
--- a shared one in the second.
return function(m)
  local hp, r = m.hp, m.hp.r
  m:use { norm = "rms", rope = "neox", factors = true }
  local alpha, d = hp.architecture == "hunyuan-dense" and r:number0("rope.scaling.alpha", 0) or 0, hp.key_length
  local shared, turn = hp.expert_shared_feed_forward_length, {}
  if alpha > 0 and d > 2 then turn.base = hp.rope.base * alpha ^ (d / (d - 2)) end
  local x = m:embed "token_embd"
  for i = 0, hp.block_count - 1 do
    local b = m:block(i)
    local q, k, v = b:qkv(b:norm(x, "attn_norm"))
    q = b:norm(b:rope(q, turn), "attn_q_norm", { per = "head" })
    k = b:norm(b:rope(k, turn), "attn_k_norm", { per = "head" })
    x = x + b:linear(b:attend(q, k, v), "attn_output")
    local f = b:norm(x, "ffn_norm")
    if hp.expert_count > 0 then
      x = x + (b:moe(f, { gating = "softmax", normalise = true }) + b:shared(f, "silu", shared > 0 and shared or hp.feed_forward_length[i + 1]))
    else
      x = x + b:ffn(f, "silu")
    end
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
