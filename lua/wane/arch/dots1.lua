--- dots1, bailingmoe2: qwen3's attention; experts chosen by sigmoid and bias
--- (bailingmoe2: within the best groups) beside a shared one, behind some
--- dense layers.
return function(m)
  local hp = m.hp
  m:use { norm = "rms", rope = "neox" }
  local ff = hp.expert_feed_forward_length
  local given = hp.architecture == "bailingmoe2" and hp.expert_shared_feed_forward_length or 0
  local shared = (given > 0 and given or ff) * hp.expert_shared_count
  local x = m:embed "token_embd"
  for i = 0, hp.block_count - 1 do
    local b = m:block(i)
    local q, k, v = b:qkv(b:norm(x, "attn_norm"))
    q = b:norm(q, "attn_q_norm", { per = "head" })
    k = b:norm(k, "attn_k_norm", { per = "head" })
    x = x + b:linear(b:attend(b:rope(q), b:rope(k), v), "attn_output")
    local f = b:norm(x, "ffn_norm")
    if i < hp.leading_dense_block_count then
      x = x + b:ffn(f, "silu")
    else
      x = x + (b:moe(f, { normalise = hp.expert_weights_norm, ff = ff }) + b:shared(f, "silu", shared))
    end
  end
  return m:linear(m:norm(x, "output_norm"), "output")
end
