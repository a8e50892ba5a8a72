--- gpt2: learned positions, layer norms, biases everywhere, GELU.
return function(m)
  m:use { norm = "layer" }
  local x = m:embed "token_embd" + m:embed("position_embd", { by = "position" })
  for i = 0, m.hp.block_count - 1 do
    local b = m:block(i)
    local q, k, v = b:qkv(b:norm(x, "attn_norm"))
    x = x + b:linear(b:attend(q, k, v), "attn_output")
    local f = b:norm(x, "ffn_norm")
    x = x + b:linear(b:act("gelu", b:linear(f, "ffn_up")), "ffn_down")
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
