--- rwkv7: no attention. Each token is mixed with the one before, channel by
--- channel, and a matrix a head holds what came earlier: it fades by a decay of
--- its own for each channel, forgets what is replaced, takes what is new.

-- x and, six times or once, x moved towards the token before.
local function lerp(x, before, b, name, times)
  local d = before + b:scale(x, -1)
  local all = d
  for _ = 2, times do all = b:join(all, d) end
  all = b:scale(all, 1, name)
  local n, list = b.hp.embedding_length, {}
  for i = 1, times do list[i] = x + (times == 1 and all or b:part(all, (i - 1) * n, n)) end
  return list
end

local function time_mix(b, x, first, size)
  local n = b.hp.embedding_length
  local heads = n / size
  local function full(from, name) return b:linear(from, name, { out = n }) end
  local function low(from, name) return b:linear(from, name, { out = b:rows(name) }) end
  local in6 = lerp(x, b:shift(x), b, "time_mix_lerp_fused.weight", 6)
  local xr, xw, xk, xv, xa, xg = in6[1], in6[2], in6[3], in6[4], in6[5], in6[6]
  local r, k, v = full(xr, "time_mix_receptance"), full(xk, "time_mix_key"), full(xv, "time_mix_value")
  local w = full(b:act("tanh", low(xw, "time_mix_w1")), "time_mix_w2")
  w = b:act("exp", b:scale(b:act("sigmoid", w, "time_mix_w0.weight"), -0.606531))
  local g = full(b:act("sigmoid", low(xg, "time_mix_g1")), "time_mix_g2")
  if first then
    local mix = b:act("sigmoid", full(low(xv, "time_mix_v1"), "time_mix_v2"), "time_mix_v0.weight")
    v = v + (first + b:scale(v, -1)) * mix
  end
  local a = b:act("sigmoid", full(low(xa, "time_mix_a1"), "time_mix_a2"), "time_mix_a0.weight")
  local kk = b:norm(b:scale(k, 1, "time_mix_k_k.weight"), nil, { kind = "rms", per = "head", head = size, eps = 1e-12 })
  kk = b:scale(kk, 1 / math.sqrt(size)) -- of length one
  local ka = b:scale(k, 1, "time_mix_k_a.weight")
  k = k + (a * ka + b:scale(ka, -1))
  local row = b:join(b:join(b:join(r, w), b:join(k, v)), b:join(b:scale(kk, -1), kk * a))
  local o = b:wkv(row, heads, size)
  o = b:norm(o, "time_mix_ln", { per = "head", head = size, eps = 64e-5, whole = true })
  o = o + v * b:sums(b:scale(k * r, 1, "time_mix_r_k.weight"), size)
  return b:linear(o * g, "time_mix_output", { out = n }), first or v
end

local function channel_mix(b, x)
  local k = lerp(x, b:shift(x), b, "channel_mix_lerp_k.weight", 1)[1]
  k = b:act("relu2", b:linear(k, "channel_mix_key", { out = b.hp.feed_forward_length[b.layer + 1] }))
  return b:linear(k, "channel_mix_value", { out = b.hp.embedding_length })
end

return function(m)
  local hp = m.hp
  m:use { norm = "layer" }
  local size = hp.r:count("wkv.head_size", 1, 1024)
  if hp.embedding_length % size ~= 0 then
    require("wane.arch.hparams").fail("EFORMAT", "key %swkv.head_size is %d of %d values", hp.r.prefix, size,
      hp.embedding_length)
  end
  local x, first = m:norm(m:embed "token_embd", "token_embd_norm"), nil
  for i = 0, hp.block_count - 1 do
    local b = m:block(i)
    local y
    y, first = time_mix(b, b:norm(x, "attn_norm"), first, size)
    x = x + y
    x = x + channel_mix(b, b:norm(x, "attn_norm_2"))
  end
  return m:linear(m:norm(x, "output_norm"), "output")
end
