--- phi2: attention and feed-forward side by side on one layer norm, a part of
--- each head rotating, biases everywhere.
return function(m)
  m:use { norm = "layer", rope = "neox" }
  local x = m:embed "token_embd"
  for i = 0, m.hp.block_count - 1 do
    local b = m:block(i)
    local h = b:norm(x, "attn_norm")
    local q, k, v = b:qkv(h)
    x = x + b:linear(b:attend(b:rope(q), b:rope(k), v), "attn_output") + b:mlp(h, "gelu")
  end
  return m:linear(m:norm(x, "output_norm"), "output")
end
