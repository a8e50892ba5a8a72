--- llama: Llama 1-3, Mistral, and Mixtral (experts instead of one
--- feed-forward). Rotation in neighbouring pairs, factors where the file has
--- them.
return function(m)
  local hp = m.hp
  m:use { norm = "rms", rope = "normal", factors = true }
  local scale = hp.r:number0("attention.scale", 0)
  local x = m:embed "token_embd"
  for i = 0, hp.block_count - 1 do
    local b = m:block(i)
    local q, k, v = b:qkv(b:norm(x, "attn_norm"))
    local a = b:attend(b:rope(q), b:rope(k), v, { scale = scale > 0 and scale or nil })
    x = x + b:linear(a, "attn_output")
    local f = b:norm(x, "ffn_norm")
    x = x + (hp.expert_count > 0 and b:moe(f, { normalise = true }) or b:ffn(f, "silu"))
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
