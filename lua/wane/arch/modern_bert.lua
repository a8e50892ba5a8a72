--- modern-bert: an encoder with norms before the parts (the first layer has
--- none before its attention), no biases, two layers of three looking through
--- a window to both sides with a rotation of their own.
local hparams = require "wane.arch.hparams"

local KINDS = { gelu = "gelu", silu = "silu", swiglu = "silu", geglu = "gelu" }

return function(m)
  local hp, r = m.hp, m.hp.r
  m:use { norm = "layer", rope = "neox", causal = false }
  local window = r:count("attention.sliding_window", 0, 2 ^ 24, 0)
  local slides = r:pattern("attention.sliding_window_pattern", hp.block_count, 3, true)
  local turn = { base = hp.rope.base_swa or 10000, scale = 1 }
  local named = r:get(r.prefix .. "hidden_activation", "string") or "gelu"
  local kind = KINDS[named]
  if not kind then hparams.fail("EUNSUP", "hidden_activation %q is not supported", named:sub(1, 64)) end
  local x = m:norm(m:embed "token_embd", "token_embd_norm")
  for i = 0, hp.block_count - 1 do
    local b, slide = m:block(i), window > 0 and slides[i + 1]
    local h = (i > 0 or b:has "attn_norm") and b:norm(x, "attn_norm") or x
    local q, k, v = b:qkv(h)
    q, k = b:rope(q, slide and turn or nil), b:rope(k, slide and turn or nil)
    x = b:linear(b:attend(q, k, v, { window = slide and window or nil }), "attn_output") + x
    x = b:ffn(b:norm(x, "ffn_norm"), kind) + x
  end
  return m:norm(x, "output_norm"), "embeddings"
end
