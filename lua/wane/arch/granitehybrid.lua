--- granitehybrid: granite's scales; layers without key/value heads are Mamba2,
--- the others attention, mostly without rotation; then a feed-forward, or
--- experts with a shared one.
local mamba = require "wane.arch.mamba"

return function(m)
  local hp, r = m.hp, m.hp.r
  m:use { norm = "rms", rope = "normal", factors = true }
  local function scale(name)
    local s = r:number0(name, 0)
    return s > 0 and s or nil
  end
  local embedding, score, residual = scale "embedding_scale", scale "attention.scale", scale "residual_scale"
  local logit = scale "logit_scale"
  local turns, sizes = r:flag("rope.scaling.finetuned", true), mamba.sizes(hp)
  local function part(y) return residual and m:scale(y, residual) or y end

  local x = m:embed "token_embd"
  if embedding then x = m:scale(x, embedding) end
  for i = 0, hp.block_count - 1 do
    local b = m:block(i)
    local a = b:norm(x, "attn_norm")
    if hp.head_count_kv[i + 1] == 0 then
      a = mamba.two(b, a, sizes)
    else
      local q, k, v = b:qkv(a)
      if turns then q, k = b:rope(q), b:rope(k) end
      a = b:linear(b:attend(q, k, v, { scale = score }), "attn_output")
    end
    x = x + part(a)
    local f = b:norm(x, "ffn_norm")
    if hp.expert_count == 0 then
      f = b:ffn(f, "silu")
    else
      local e = b:moe(f, { gating = "softmax", normalise = true })
      f = hp.expert_shared_feed_forward_length > 0 and e + b:shared(f, "silu") or e
    end
    x = x + part(f)
  end
  local y = m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
  return logit and m:scale(y, 1 / logit) or y
end
