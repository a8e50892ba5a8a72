--- deepseek2, mistral4: attention over one compressed row a token, from which
--- each head makes its keys and values (multi-head latent attention); experts
--- by groups beside shared ones, behind some dense layers.
---
--- In the absorbed form queries and outputs go through the heads' matrices
--- instead, and the cache holds nothing but the compressed row and its rotated
--- part. Older files have the matrices in one (attn_kv_b): ordinary heads.
local fail = require("wane.arch.hparams").fail

local function sizes(hp)
  local r, most = hp.r, 2 ^ 24
  local s = {
    q_rank = r:count("attention.q_lora_rank", 0, most, 0), rank = r:count("attention.kv_lora_rank", 1, most),
    turned = hp.rope.dims,
  }
  s.absorbed = r.g:find_kv(r.prefix .. "attention.key_length_mla") ~= nil
  s.key = s.absorbed and r:count("attention.key_length_mla", 1, most) or hp.key_length
  s.value = s.absorbed and r:count("attention.value_length_mla", 1, most) or hp.value_length
  s.still = s.key - s.turned
  if s.turned == 0 or s.still <= 0 then
    fail("EFORMAT", "key %srope.dimension_count is %d of keys of %d", r.prefix, s.turned, s.key)
  end
  return s
end

-- The factor of scores: the magnitude of the scaling, squared, belongs to them.
-- llama.cpp takes it whatever the kind of scaling is, and so it is here.
local function score_scale(hp, s)
  local rope = hp.rope
  local log = math.log(rope.factor)
  local multiplier = rope.log_multiplier
  if rope.type ~= "yarn" then multiplier = hp.r:number0("rope.scaling.yarn_log_multiplier", 0) / 0.1 end
  local m = rope.magnitude * (1 + 0.1 * log) * (1 + 0.1 * multiplier * log)
  return m * m / math.sqrt(s.key)
end

-- Queries: the part that stays and the part that turns, head by head; from a
-- smaller row where the file has one.
local function queries(b, a, small, s, n)
  local from, name = a, "attn_q"
  if small then from, name = b:norm(small, "attn_q_a_norm"), "attn_q_b" end
  local function rows(first, k)
    return b:linear(from, name, { out = n * s.key, part = { first, n * k }, each = { k, s.key } })
  end
  return rows(0, s.still), b:rope(rows(s.still, s.turned), { head = s.turned })
end

local function attention(b, a, s, scale, temper)
  local n = b.hp.head_count[b.layer + 1]
  local all = s.rank + s.turned
  local function rows(first, k) return b:linear(a, "attn_kv_a_mqa", { out = all, part = { first, k } }) end
  -- all products of one input, then what is done with them: they share a stage
  local c, turned = rows(0, s.rank), rows(s.rank, s.turned)
  local small = s.q_rank > 0 and b:linear(a, "attn_q_a", { out = s.q_rank })
  local q, q_turned = queries(b, a, small, s, n)
  c, turned = b:norm(c, "attn_kv_a_norm"), b:rope(turned, { head = s.turned })
  if not s.absorbed then
    local function part(first, k)
      return b:linear(c, "attn_kv_b",
        { out = n * (s.still + s.value), part = { first, n * k }, each = { k, s.still + s.value } })
    end
    q = temper(b:join(q, q_turned, s.still, s.turned))
    local k = b:join(part(0, s.still), turned, s.still, s.turned)
    return b:attend(q, k, part(s.still, s.value), { scale = scale, heads = n, heads_kv = n })
  end
  q = temper(b:join(b:heads(q, "attn_k_b", n, s.rank), q_turned, s.rank, s.turned))
  local z = b:attend(q, b:join(c, turned), nil, { scale = scale, heads = n, heads_kv = 1, values = s.rank })
  return b:heads(z, "attn_v_b", n, s.value)
end

return function(m)
  local hp, r = m.hp, m.hp.r
  m:use { norm = "rms", rope = "normal" }
  local s = sizes(hp)
  local scale = score_scale(hp, s)
  local t = r:number0("attention.temperature_scale", 0)
  local length = t > 0 and r:count("attention.temperature_length", 1, 2 ^ 31, hp.rope.original)
  local function temper(q) return t > 0 and m:grow(q, t, length) or q end
  local gating, ff = hp.expert_gating, hp.expert_feed_forward_length
  if gating == "default" then
    local glm = (hp.layer_count == 47 or hp.layer_count == 48) and hp.vocab_size == 154880
    gating = glm and "sigmoid" or "softmax"
  end
  local x = m:embed "token_embd"
  for i = 0, hp.block_count - 1 do
    local b = m:block(i)
    x = x + b:linear(attention(b, b:norm(x, "attn_norm"), s, scale, temper), "attn_output")
    local f = b:norm(x, "ffn_norm")
    if hp.expert_count == 0 or i < hp.leading_dense_block_count then
      x = x + b:ffn(f, "silu")
    else
      local e = b:moe(f, { gating = gating, normalise = hp.expert_weights_norm, ff = ff })
      if hp.expert_shared_count > 0 then e = e + b:shared(f, "silu", ff * hp.expert_shared_count) end
      x = x + e
    end
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
