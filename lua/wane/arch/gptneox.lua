--- gptneox: layer norms and biases, a part of each head rotating, GELU; both
--- parts read the same x, each through its own norm, where the file says so.
return function(m)
  m:use { norm = "layer", rope = "neox" }
  local side_by_side = m.hp.r:flag("use_parallel_residual", true)
  local x = m:embed "token_embd"
  for i = 0, m.hp.block_count - 1 do
    local b = m:block(i)
    local q, k, v = b:qkv(b:norm(x, "attn_norm"))
    local a = b:linear(b:attend(b:rope(q), b:rope(k), v), "attn_output")
    if side_by_side then
      x = b:mlp(b:norm(x, "ffn_norm"), "gelu") + x + a
    else
      x = a + x
      x = b:mlp(b:norm(x, "ffn_norm"), "gelu") + x
    end
  end
  return m:linear(m:norm(x, "output_norm"), "output")
end
