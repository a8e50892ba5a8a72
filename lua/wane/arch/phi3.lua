--- phi3: one matrix for q, k, v and one for gate and up; longrope factors for
--- short and long contexts. (Its sliding window is ignored, as in llama.cpp.)
return function(m)
  local hp = m.hp
  m:use { norm = "rms", rope = "neox", factors = true }
  local x = m:embed "token_embd"
  for i = 0, hp.block_count - 1 do
    local b, ff = m:block(i), hp.feed_forward_length[i + 1]
    local q, k, v = b:qkv(b:norm(x, "attn_norm"))
    x = x + b:linear(b:attend(b:rope(q), b:rope(k), v), "attn_output")
    local f = b:norm(x, "ffn_norm")
    local gate = b:linear(f, "ffn_up", { out = 2 * ff, part = { 0, ff } })
    local up = b:linear(f, "ffn_up", { out = 2 * ff, part = { ff, ff } })
    x = x + b:linear(b:swiglu(gate, up), "ffn_down")
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
