--- nemotron_h, nemotron_h_moe: every block is one thing: Mamba2 (no key/value
--- heads, no feed-forward), attention without rotation (no feed-forward), or a
--- feed-forward without gate, relu squared; or such experts, chosen by sigmoid
--- and bias, beside a shared one. In the largest model experts see a smaller
--- row (moe_latent_size), the router and the shared one the whole.
local mamba = require "wane.arch.mamba"

local function experts(b, f, latent)
  local hp = b.hp
  local gating = hp.expert_gating == "default" and "sigmoid" or hp.expert_gating
  local logits, x = b:linear(f, "ffn_gate_inp"), f
  if latent > 0 then x = b:linear(f, "ffn_latent_down", { out = latent }) end
  local e = b:moe(x, {
    kind = "relu2", gate = false, gating = gating, normalise = hp.expert_weights_norm, logits = logits,
    ff = hp.expert_feed_forward_length > 0 and hp.expert_feed_forward_length or nil,
  })
  if latent > 0 then e = b:linear(e, "ffn_latent_up", { out = hp.embedding_length }) end
  if not b:has "ffn_up_shexp" then return e end
  local up = b:linear(f, "ffn_up_shexp", { out = b:rows "ffn_up_shexp" })
  return e + b:linear(b:act("relu2", up), "ffn_down_shexp")
end

return function(m)
  local hp, r = m.hp, m.hp.r
  m:use { norm = "rms" }
  local sizes = mamba.sizes(hp)
  local latent = r:count("moe_latent_size", 0, 2 ^ 24, 0)
  local x = m:embed "token_embd"
  for i = 0, hp.block_count - 1 do
    local b = m:block(i)
    local a = b:norm(x, "attn_norm")
    if b:has "ffn_gate_inp" then
      x = x + experts(b, a, latent)
    elseif hp.feed_forward_length[i + 1] > 0 then
      x = x + b:mlp(a, "relu2")
    elseif hp.head_count_kv[i + 1] == 0 then
      x = x + mamba.two(b, a, sizes)
    else
      local q, k, v = b:qkv(a)
      x = x + b:linear(b:attend(q, k, v), "attn_output")
    end
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
