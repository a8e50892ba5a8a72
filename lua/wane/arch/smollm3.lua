--- smollm3: llama without rotation in every fourth layer.
return function(m)
  m:use { norm = "rms", rope = "normal", factors = true }
  local x = m:embed "token_embd"
  for i = 0, m.hp.block_count - 1 do
    local b = m:block(i)
    local q, k, v = b:qkv(b:norm(x, "attn_norm"))
    if i % 4 ~= 3 then q, k = b:rope(q), b:rope(k) end
    x = x + b:linear(b:attend(q, k, v), "attn_output")
    x = x + b:ffn(b:norm(x, "ffn_norm"), "silu")
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
