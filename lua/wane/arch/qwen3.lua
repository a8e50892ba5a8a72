--- qwen3: qwen2 without biases, with a norm on every head of q and k. qwen3vl is
--- the same with its rotation over several axes, which are one on text.
return function(m)
  m:use { norm = "rms", rope = m.hp.architecture == "qwen3vl" and "imrope" or "neox" }
  local x = m:embed "token_embd"
  for i = 0, m.hp.block_count - 1 do
    local b = m:block(i)
    local q, k, v = b:qkv(b:norm(x, "attn_norm"))
    q = b:norm(q, "attn_q_norm", { per = "head" })
    k = b:norm(k, "attn_k_norm", { per = "head" })
    x = x + b:linear(b:attend(b:rope(q), b:rope(k), v), "attn_output")
    x = x + b:ffn(b:norm(x, "ffn_norm"), "silu")
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
