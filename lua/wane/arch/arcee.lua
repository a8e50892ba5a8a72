--- arcee: llama with a squared ReLU and no gate in its feed-forward.
return function(m)
  m:use { norm = "rms", rope = "normal", factors = true }
  local x = m:embed "token_embd"
  for i = 0, m.hp.block_count - 1 do
    local b = m:block(i)
    local q, k, v = b:qkv(b:norm(x, "attn_norm"))
    x = x + b:linear(b:attend(b:rope(q), b:rope(k), v), "attn_output")
    x = x + b:mlp(b:norm(x, "ffn_norm"), "relu2")
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
