--- qwen35, qwen35moe, qwen3next: three layers of four mix tokens by the gated
--- delta rule, with a short convolution before it; the fourth by attention
--- whose output has a gate. Feed-forward, or experts with a shared one.
---
--- The names differ in how value heads share key heads, in the rotation, and in
--- whether the matrices of the recurrent layers hold one kind of row after the
--- other or those of each key head together.

-- Sizes of the recurrent layers.
local function sizes(hp)
  local r, most = hp.r, 2 ^ 24
  local s = {
    taps = r:count("ssm.conv_kernel", 2, 16), d = r:count("ssm.state_size", 1, 1024),
    keys = r:count("ssm.group_count", 1, 4096), values = r:count("ssm.time_step_rank", 1, 4096),
    inner = r:count("ssm.inner_size", 1, most),
  }
  if s.values % s.keys ~= 0 or s.inner ~= s.values * s.d then
    require("wane.arch.hparams").fail("EFORMAT", "keys %sssm.*: %d value heads of %d, %d key heads, %d channels",
      r.prefix, s.values, s.d, s.keys, s.inner)
  end
  s.each = s.values / s.keys
  return s
end

-- q|k|v in one row, and z, from one matrix or two.
local function inputs(b, a, s)
  local k, v = s.keys * s.d, s.values * s.d
  if not b:has "ssm_in" then
    return b:linear(a, "attn_qkv", { out = 2 * k + v }), b:linear(a, "attn_gate", { out = v })
  end
  local stride, wide = 2 * s.d + 2 * s.d * s.each, s.d * s.each
  local function rows(first, n, group)
    return b:linear(a, "ssm_in", { out = s.keys * stride, part = { first, n }, each = { group, stride } })
  end
  local qk = b:join(rows(0, k, s.d), rows(s.d, k, s.d))
  return b:join(qk, rows(2 * s.d, v, wide)), rows(2 * s.d + wide, v, wide)
end

-- The strength of what is written, and what decay is made from.
local function gates(b, a, s)
  if not b:has "ssm_ba" then
    return b:linear(a, "ssm_beta", { out = s.values }), b:linear(a, "ssm_alpha", { out = s.values })
  end
  local each = { s.each, 2 * s.each }
  return b:linear(a, "ssm_ba", { out = 2 * s.values, part = { 0, s.values }, each = each }),
    b:linear(a, "ssm_ba", { out = 2 * s.values, part = { s.each, s.values }, each = each })
end

local function recurrent(b, a, s, kind, eps)
  local qkv, z = inputs(b, a, s)
  local beta, alpha = gates(b, a, s)
  qkv = b:act("silu", b:conv(qkv, "ssm_conv1d", s.taps))
  local decay = b:scale(b:act("softplus", alpha, "ssm_dt.bias"), 1, "ssm_a")
  local o = b:delta(qkv, decay, b:act("sigmoid", beta),
    { keys = s.keys, values = s.values, head = s.d, eps = eps, kind = kind })
  o = b:glu("silu", z, b:norm(o, "ssm_norm", { per = "head", head = s.d }))
  return b:linear(o, "ssm_out", { out = b.hp.embedding_length })
end

local function attention(b, a, rope)
  local hp = b.hp
  local d, n = hp.key_length, hp.head_count[b.layer + 1]
  local function rows(first)
    return b:linear(a, "attn_q", { out = 2 * n * d, part = { first, n * d }, each = { d, 2 * d } })
  end
  local q, gate, k, v = rows(0), rows(d), b:linear(a, "attn_k"), b:linear(a, "attn_v")
  q = b:rope(b:norm(q, "attn_q_norm", { per = "head" }), { kind = rope })
  k = b:rope(b:norm(k, "attn_k_norm", { per = "head" }), { kind = rope })
  return b:linear(b:glu("sigmoid", gate, b:attend(q, k, v)), "attn_output")
end

return function(m)
  local hp, r = m.hp, m.hp.r
  m:use { norm = "rms", rope = "neox" }
  local next3 = hp.architecture == "qwen3next"
  local s, eps = sizes(hp), r:number("attention.layer_norm_rms_epsilon", 0)
  local is_recurrent
  if r.g:find_kv(r.prefix .. "attention.recurrent_layers") then
    is_recurrent = r:pattern("attention.recurrent_layers", hp.block_count, 4)
  else
    is_recurrent = r:pattern("full_attention_interval", hp.block_count, 4)
  end
  local x = m:embed "token_embd"
  for i = 0, hp.block_count - 1 do
    local b = m:block(i)
    local a = b:norm(x, "attn_norm")
    x = x + (is_recurrent[i + 1] and recurrent(b, a, s, next3 and "grouped" or "tiled", eps)
      or attention(b, a, (next3 or not hp.rope.sections) and "neox" or "imrope"))
    local f = b:norm(x, "post_attention_norm")
    if hp.expert_count == 0 then
      x = x + b:ffn(f, "silu")
    else
      local e = b:moe(f, { normalise = true, gating = "softmax", ff = hp.expert_feed_forward_length })
      x = x + (e + b:shared(f, "silu"))
    end
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
