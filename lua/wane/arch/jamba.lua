--- jamba: Mamba1 layers with normed steps, every eighth or so attention without
--- rotation (those that have key/value heads); a feed-forward part, or experts
--- where a layer has a router.
local mamba = require "wane.arch.mamba"

return function(m)
  local hp = m.hp
  m:use { norm = "rms" }
  local sizes = mamba.one_sizes(hp)
  local x = m:embed "token_embd"
  for i = 0, hp.block_count - 1 do
    local b = m:block(i)
    local a = b:norm(x, "attn_norm")
    if hp.head_count_kv[i + 1] == 0 then
      x = x + mamba.one(b, a, sizes)
    else
      local q, k, v = b:qkv(a)
      x = x + b:linear(b:attend(q, k, v), "attn_output")
    end
    local f = b:norm(x, "ffn_norm")
    x = x + (b:has "ffn_gate_inp" and b:moe(f, { gating = "softmax", normalise = false }) or b:ffn(f, "silu"))
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
