--- llama4: three layers of four see their own chunk of the text only and rotate;
--- the fourth sees all, without rotation, with a temperature by position. One
--- expert by sigmoid, whose weight multiplies its input, beside a shared one,
--- in every n-th layer.
return function(m)
  local hp, r = m.hp, m.hp.r
  m:use { norm = "rms", rope = "normal", factors = true }
  local chunk = 8192 -- whatever the file says, as everywhere
  local step = r:count("interleave_moe_layer_step", 0, 1024, 1)
  local normed = r:flag("attention.use_kq_norm", hp.layer_count ~= 48 or hp.expert_count ~= 128)
  local ff = hp.expert_feed_forward_length
  local x = m:embed "token_embd"
  for i = 0, hp.block_count - 1 do
    local b, full = m:block(i), i % 4 == 3
    local q, k, v = b:qkv(b:norm(x, "attn_norm"))
    if full then
      q = b:grow(q, 0.1, 8192, 1)
    else
      q, k = b:rope(q), b:rope(k)
      if normed then q, k = b:norm(q, nil, { per = "head" }), b:norm(k, nil, { per = "head" }) end
    end
    local a = b:attend(q, k, v, { chunked = not full, window = not full and chunk or nil })
    x = x + b:linear(a, "attn_output")
    local f = b:norm(x, "ffn_norm")
    if step > 0 and (i + 1) % step == 0 and hp.expert_count > 0 then
      local e = b:moe(f, { gating = "sigmoid", weight_first = true, ff = ff })
      x = x + (e + b:shared(f, "silu", ff))
    else
      x = x + b:ffn(f, "silu")
    end
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
