--- qwen2moe: qwen2 with experts, whose weights are not made to sum to one, and
--- a shared expert weighed by a gate.
return function(m)
  local hp = m.hp
  m:use { norm = "rms", rope = "neox" }
  local shared = hp.expert_shared_feed_forward_length
  local x = m:embed "token_embd"
  for i = 0, hp.block_count - 1 do
    local b = m:block(i)
    local q, k, v = b:qkv(b:norm(x, "attn_norm"))
    x = x + b:linear(b:attend(b:rope(q), b:rope(k), v), "attn_output")
    local f = b:norm(x, "ffn_norm")
    x = x + (b:moe(f, { gating = "softmax", ff = hp.expert_width }) + b:shared(f, "silu", shared > 0 and shared or hp.feed_forward_length[i + 1]))
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
