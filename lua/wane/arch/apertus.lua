--- apertus: norms on the heads of q and k, a feed-forward without gate and with
--- an activation of its own (xIELU), whose four numbers the file has for every
--- layer.
local fail = require("wane.arch.hparams").fail

-- The values of an array of one number a layer; its key has no prefix.
local function numbers(r, name, n)
  local list, elem = r:need(name, "array")
  if elem ~= "f32" then fail("EFORMAT", "key %s is an array of %s, want f32", name, elem) end
  if #list ~= n then fail("EFORMAT", "key %s has %d values for %d layers", name, #list, n) end
  for i = 1, n do
    local v = list[i]
    if v ~= v or math.abs(v) > 1e6 then fail("EFORMAT", "key %s: value %d is %g", name, i, list[i]) end
  end
  return list
end

local function softplus(x) return x > 20 and x or math.log(1 + math.exp(x)) end

return function(m)
  local hp, r = m.hp, m.hp.r
  m:use { norm = "rms", rope = "neox", factors = true }
  local n = hp.layer_count
  local p, q = numbers(r, "xielu.alpha_p", n), numbers(r, "xielu.alpha_n", n)
  local beta, eps = numbers(r, "xielu.beta", n), numbers(r, "xielu.eps", n)
  local x = m:embed "token_embd"
  for i = 0, hp.block_count - 1 do
    local b, l = m:block(i), i + 1
    local qs, ks, vs = b:qkv(b:norm(x, "attn_norm"))
    qs = b:rope(b:norm(qs, "attn_q_norm", { per = "head" }))
    ks = b:rope(b:norm(ks, "attn_k_norm", { per = "head" }))
    x = x + b:linear(b:attend(qs, ks, vs), "attn_output")
    local up = b:linear(b:norm(x, "ffn_norm"), "ffn_up")
    up = b:xielu(up, softplus(p[l]), beta[l] + softplus(q[l]), beta[l], eps[l])
    x = x + b:linear(up, "ffn_down")
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
