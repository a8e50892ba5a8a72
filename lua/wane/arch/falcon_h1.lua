--- falcon-h1: attention and Mamba2 side by side on the same input, then a gated
--- feed-forward.
local mamba = require "wane.arch.mamba"

return function(m)
  local hp = m.hp
  m:use { norm = "rms", rope = "neox" }
  local sizes = mamba.sizes(hp)
  local x = m:embed "token_embd"
  for i = 0, hp.block_count - 1 do
    local b = m:block(i)
    local a = b:norm(x, "attn_norm")
    local q, k, v = b:qkv(a)
    local o = b:linear(b:attend(b:rope(q), b:rope(k), v), "attn_output")
    x = x + (o + mamba.two(b, a, sizes))
    -- the peer reads this norm under a name without ".weight"
    local name = b:has("ffn_norm", "") and "" or ".weight"
    x = x + b:ffn(b:norm(x, "ffn_norm", { suffix = name }), "silu")
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
