--- falcon: attention and feed-forward side by side on normalised inputs; 40B
--- and later have a second norm for attention.
return function(m)
  m:use { norm = "layer", rope = "neox" }
  local x = m:embed "token_embd"
  for i = 0, m.hp.block_count - 1 do
    local b = m:block(i)
    local f = b:norm(x, "attn_norm")
    local q, k, v = b:qkv(b:has "attn_norm_2" and b:norm(x, "attn_norm_2") or f)
    local a = b:linear(b:attend(b:rope(q), b:rope(k), v), "attn_output")
    x = b:linear(b:act("gelu", b:linear(f, "ffn_up")), "ffn_down") + a + x
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
