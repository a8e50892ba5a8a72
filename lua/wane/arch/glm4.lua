--- glm4: llama with biases on q, k, v, half of each head rotating, norms
--- behind each part too, and one matrix for gate and up.
return function(m)
  local axes = m.hp.rope.sections -- of the versions that also see
  m:use { norm = "rms", rope = axes and (axes[1] or 0) > 0 and (axes[2] or 0) > 0 and "mrope" or "normal" }
  local x = m:embed "token_embd"
  for i = 0, m.hp.block_count - 1 do
    local b = m:block(i)
    local q, k, v = b:qkv(b:norm(x, "attn_norm"))
    local a = b:linear(b:attend(b:rope(q), b:rope(k), v), "attn_output")
    x = x + b:norm(a, "post_attention_norm")
    x = x + b:norm(b:ffn(b:norm(x, "ffn_norm"), "silu"), "post_ffw_norm")
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
