--- eurobert: llama's layers over the whole text (rotation in halves); the
--- result is a vector for each token. llama-embed is llama's the same way.
return function(m)
  m:use { norm = "rms", rope = m.hp.architecture == "eurobert" and "neox" or "normal", causal = false, factors = true }
  local x = m:embed "token_embd"
  for i = 0, m.hp.block_count - 1 do
    local b = m:block(i)
    local q, k, v = b:qkv(b:norm(x, "attn_norm"))
    x = x + b:linear(b:attend(b:rope(q), b:rope(k), v), "attn_output")
    x = x + b:ffn(b:norm(x, "ffn_norm"), "silu")
  end
  return m:norm(x, "output_norm"), "embeddings"
end
