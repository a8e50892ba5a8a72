--- ernie4_5-moe: llama with experts, chosen by softmax and bias, beside a
--- shared one, in every so many layers behind some dense ones.
return function(m)
  local hp = m.hp
  m:use { norm = "rms", rope = "normal" }
  local step = hp.r:count("interleave_moe_layer_step", 1, 1024)
  local x = m:embed "token_embd"
  for i = 0, hp.block_count - 1 do
    local b = m:block(i)
    local q, k, v = b:qkv(b:norm(x, "attn_norm"))
    x = x + b:linear(b:attend(b:rope(q), b:rope(k), v), "attn_output")
    local f = b:norm(x, "ffn_norm")
    if i >= hp.leading_dense_block_count and (i + 1) % step == 0 then
      local e = b:moe(f, { gating = "softmax", normalise = true, ff = hp.expert_feed_forward_length })
      x = x + (hp.expert_shared_feed_forward_length > 0 and e + b:shared(f, "silu") or e)
    else
      x = x + b:ffn(f, "silu")
    end
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
