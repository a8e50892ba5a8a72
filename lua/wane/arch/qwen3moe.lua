--- qwen3moe: qwen3 with experts instead of the feed-forward. qwen3vlmoe is the
--- same with its rotation over several axes.
return function(m)
  local hp = m.hp
  m:use { norm = "rms", rope = m.hp.architecture == "qwen3vlmoe" and "imrope" or "neox" }
  local x = m:embed "token_embd"
  for i = 0, hp.block_count - 1 do
    local b = m:block(i)
    local q, k, v = b:qkv(b:norm(x, "attn_norm"))
    q = b:norm(q, "attn_q_norm", { per = "head" })
    k = b:norm(k, "attn_k_norm", { per = "head" })
    x = x + b:linear(b:attend(b:rope(q), b:rope(k), v), "attn_output")
    x = x + b:moe(b:norm(x, "ffn_norm"), { gating = "softmax", normalise = true, ff = hp.expert_width })
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
