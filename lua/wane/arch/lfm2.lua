--- lfm2, lfm2moe: layers without key/value heads are short convolutions
--- between two gates, the others attention with norms on the heads of q and k;
--- behind some dense layers, experts chosen by sigmoid and bias.

local function convolution(b, a, taps)
  local e = b.hp.embedding_length
  local function rows(k) return b:linear(a, "shortconv.in_proj", { out = 3 * e, part = { k * e, e } }) end
  local before, after, x = rows(0), rows(1), rows(2)
  return b:linear(after * b:conv(before * x, "shortconv.conv", taps), "shortconv.out_proj", { out = e })
end

return function(m)
  local hp, r = m.hp, m.hp.r
  m:use { norm = "rms", rope = "neox" }
  local taps = r:count("shortconv.l_cache", 2, 16)
  local window = r:count("attention.sliding_window", 0, 2 ^ 24, 0)
  local ff = hp.expert_feed_forward_length
  local gating = hp.expert_gating == "default" and "sigmoid" or hp.expert_gating
  local x = m:embed "token_embd"
  for i = 0, hp.block_count - 1 do
    local b = m:block(i)
    local a = b:norm(x, "attn_norm")
    if hp.head_count_kv[i + 1] == 0 then
      x = x + convolution(b, a, taps)
    else
      local q, k, v = b:qkv(a)
      q = b:rope(b:norm(q, "attn_q_norm", { per = "head" }))
      k = b:rope(b:norm(k, "attn_k_norm", { per = "head" }))
      x = x + b:linear(b:attend(q, k, v, { window = window > 0 and window or nil }), "attn_output")
    end
    local f = b:norm(x, "ffn_norm")
    if hp.expert_count == 0 or i < hp.leading_dense_block_count then
      x = x + b:ffn(f, "silu")
    else
      x = x + b:moe(f, { gating = gating, normalise = true, ff = ff })
    end
  end
  return m:linear(m:norm(x, "token_embd_norm"), "output", { tied = "token_embd" })
end
