--- seed_oss: qwen2's attention; the norm of the feed-forward is called
--- post_attention_norm.
return function(m)
  m:use { norm = "rms", rope = "neox" }
  local x = m:embed "token_embd"
  for i = 0, m.hp.block_count - 1 do
    local b = m:block(i)
    local q, k, v = b:qkv(b:norm(x, "attn_norm"))
    x = x + b:linear(b:attend(b:rope(q), b:rope(k), v), "attn_output")
    x = x + b:ffn(b:norm(x, "post_attention_norm"), "silu")
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
