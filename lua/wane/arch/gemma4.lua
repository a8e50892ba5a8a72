--- gemma4: gemma3's order of norms; sizes of heads, rotation and number of
--- key/value heads differ between sliding and full layers; values are normed,
--- and are the unnormed keys where a layer has no matrix for them. In the small
--- models the last layers look at the keys and values of earlier ones, and each
--- layer adds an embedding of its own of the token. Experts stand beside the
--- feed-forward, with a router that sees the row before its norm.

local fail = require("wane.arch.hparams").fail

-- Embeddings of every layer for each token, one behind the other.
local function per_layer(m, x, width)
  local hp = m.hp
  local all = width * hp.block_count
  local p = m:scale(m:linear(x, "per_layer_model_proj", { out = all }), 1 / math.sqrt(hp.embedding_length))
  p = m:norm(p, "per_layer_proj_norm", { per = "head", head = width })
  local e = m:embed("per_layer_token_embd", { width = all })
  return m:scale(p + m:scale(e, math.sqrt(width)), 1 / math.sqrt(2))
end

local function experts(b, h)
  local hp = b.hp
  local m = b:norm(b:ffn(b:norm(h, "ffn_norm"), "gelu"), "post_ffw_norm_1")
  local seen = b:scale(b:norm(h, nil), 1 / math.sqrt(hp.embedding_length), "ffn_gate_inp.scale")
  local e = b:moe(b:norm(h, "pre_ffw_norm_2"), {
    kind = "gelu", gating = "softmax", normalise = true, logits = b:linear(seen, "ffn_gate_inp"),
    ff = hp.expert_feed_forward_length,
  })
  return m + b:norm(e, "post_ffw_norm_2")
end

return function(m)
  local hp, r = m.hp, m.hp.r
  m:use { norm = "rms", rope = "neox", factors = true }
  local n = hp.block_count
  local window = r:count("attention.sliding_window", 1, 2 ^ 24)
  local slides = r:pattern("attention.sliding_window_pattern", n, 6)
  local own = n - r:count("attention.shared_kv_layers", 0, n - 1, 0)
  local width = r:count("embedding_length_per_layer_input", 0, 2 ^ 20, 0)
  local cap = r:number0("final_logit_softcapping", 0)
  local x = m:scale(m:embed "token_embd", math.sqrt(hp.embedding_length))
  local extra = width > 0 and per_layer(m, x, width)
  local last = {} -- the latest own attention of each kind

  local function attention(b, a, slide)
    local d = slide and hp.key_length_swa or hp.key_length
    local heads, kv = hp.head_count[b.layer + 1], hp.head_count_kv[b.layer + 1]
    local turn = { head = d, dims = hp.rope.dims }
    if slide then
      turn = { head = d, dims = hp.rope.dims_swa, base = hp.rope.base_swa or 10000, scale = 1, factors = false }
    end
    local q = b:norm(b:linear(a, "attn_q", { out = heads * d }), "attn_q_norm", { per = "head", head = d })
    q = b:rope(q, turn)
    local o = { window = slide and window or nil, scale = 1, heads = heads, heads_kv = kv }
    local out
    if b.layer >= own then
      o.from = last[slide]
      if not o.from then
        fail("EFORMAT", "key %sattention.shared_kv_layers: layer %d has no earlier one of its kind", r.prefix, b.layer)
      end
      out = b:attend(q, nil, nil, o)
    else
      local k = b:linear(a, "attn_k", { out = kv * d })
      local v = b:has "attn_v" and b:linear(a, "attn_v", { out = kv * d }) or k
      v = b:norm(v, nil, { per = "head", head = d })
      k = b:rope(b:norm(k, "attn_k_norm", { per = "head", head = d }), turn)
      out = b:attend(q, k, v, o)
      last[slide] = out
    end
    return b:linear(out, "attn_output")
  end

  for i = 0, n - 1 do
    local b = m:block(i)
    x = x + b:norm(attention(b, b:norm(x, "attn_norm"), slides[i + 1]), "post_attention_norm")
    local f
    if b:has "ffn_gate_inp" then f = experts(b, x) else f = b:ffn(b:norm(x, "ffn_norm"), "gelu") end
    x = x + b:norm(f, "post_ffw_norm")
    if extra then
      local gate = b:linear(x, "inp_gate", { out = width })
      local e = b:glu("gelu", gate, m:part(extra, i * width, width))
      x = x + b:norm(b:linear(e, "proj", { out = hp.embedding_length }), "post_norm")
    end
    if b:has "layer_output_scale" then x = b:scale(x, 1, "layer_output_scale.weight") end
  end
  local y = m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
  return cap > 0 and m:softcap(y, cap) or y
end
