--- llama: Llama 1-3, Mistral, Mixtral (experts instead of one feed-forward),
--- InternLM 2, Ernie 4.5. Rotation in neighbouring pairs, factors where the
--- file has them. mistral3 is the same with queries that grow with the
--- position, a step for each length that the model was first trained on.
return function(m)
  local hp, r = m.hp, m.hp.r
  m:use { norm = "rms", rope = "normal", factors = true }
  local growth = hp.architecture == "mistral3" and r:number0("attention.temperature_scale", 0) or 0
  local x = m:embed "token_embd"
  for i = 0, hp.block_count - 1 do
    local b = m:block(i)
    local q, k, v = b:qkv(b:norm(x, "attn_norm"))
    q = b:rope(q)
    if growth > 0 then q = b:grow(q, growth, hp.rope.original) end
    x = x + b:linear(b:attend(q, b:rope(k), v), "attn_output")
    local f = b:norm(x, "ffn_norm")
    x = x + (hp.expert_count > 0 and b:moe(f, { gating = "softmax", normalise = true }) or b:ffn(f, "silu"))
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
