--- qwen2: llama's shape with biases on q, k, v and rotation in halves.
return function(m)
  m:use { norm = "rms", rope = m.hp.architecture == "qwen2vl" and "mrope" or "neox" }
  local x = m:embed "token_embd"
  for i = 0, m.hp.block_count - 1 do
    local b = m:block(i)
    local q, k, v = b:qkv(b:norm(x, "attn_norm"))
    x = x + b:linear(b:attend(b:rope(q), b:rope(k), v), "attn_output")
    x = x + b:ffn(b:norm(x, "ffn_norm"), "silu")
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
