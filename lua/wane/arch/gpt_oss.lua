--- gpt-oss: sinks in attention, a sliding window on every even layer, experts
--- with biases, weighted by a softmax over the chosen ones.
return function(m)
  local hp, r = m.hp, m.hp.r
  m:use { norm = "rms", rope = "neox" }
  local window = r:count("attention.sliding_window", 1, 2 ^ 24)
  local ff = r:count("expert_feed_forward_length", 1, 2 ^ 24)
  local x = m:embed "token_embd"
  for i = 0, hp.block_count - 1 do
    local b = m:block(i)
    local q, k, v = b:qkv(b:norm(x, "attn_norm"))
    local a = b:attend(b:rope(q), b:rope(k), v,
      { window = i % 2 == 0 and window or nil, sinks = "attn_sinks" })
    x = x + b:linear(a, "attn_output")
    x = x + b:moe(b:norm(x, "post_attention_norm"), { kind = "swiglu_oai", gating = "chosen", ff = ff })
  end
  return m:linear(m:norm(x, "output_norm"), "output")
end
