--- gemma: llama with embeddings scaled by sqrt(width), GELU gates and rotation
--- in halves. (The +1 of its norms is in the file's weights already.)
return function(m)
  local hp = m.hp
  m:use { norm = "rms", rope = "neox" }
  local x = m:scale(m:embed "token_embd", math.sqrt(hp.embedding_length))
  for i = 0, hp.block_count - 1 do
    local b = m:block(i)
    local q, k, v = b:qkv(b:norm(x, "attn_norm"))
    x = x + b:linear(b:attend(b:rope(q), b:rope(k), v), "attn_output")
    x = x + b:ffn(b:norm(x, "ffn_norm"), "gelu")
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
