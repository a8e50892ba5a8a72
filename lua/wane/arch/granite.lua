--- granite, granitemoe, minicpm: llama with scales on the embeddings, on what
--- each part adds, on the scores, and (dividing) on the logits; experts with a
--- shared one where the file has them. A granite file that says its rotation was
--- not trained has none. MiniCPM's older files lack the scales: it has its own.
return function(m)
  local hp, r = m.hp, m.hp.r
  m:use { norm = "rms", rope = "normal", factors = true }
  local old = hp.architecture == "minicpm"
  local function scale(name, default)
    local s = r:number0(name, old and default or 0)
    return s > 0 and s or nil
  end
  local embedding, score = scale("embedding_scale", 12), not old and scale("attention.scale") or nil
  local residual = scale("residual_scale", 1.4 / math.sqrt(hp.block_count))
  local logit = r:number("logit_scale", 0, old and 256 / hp.embedding_length or nil)
  local turns = hp.architecture ~= "granite" or r:flag("rope.scaling.finetuned", true)
  local shared = hp.expert_shared_feed_forward_length > 0
  local function part(y) return residual and m:scale(y, residual) or y end

  local x = m:embed "token_embd"
  if embedding then x = m:scale(x, embedding) end
  for i = 0, hp.block_count - 1 do
    local b = m:block(i)
    local q, k, v = b:qkv(b:norm(x, "attn_norm"))
    if turns then q, k = b:rope(q), b:rope(k) end
    x = x + part(b:linear(b:attend(q, k, v, { scale = score }), "attn_output"))
    local f = b:norm(x, "ffn_norm")
    if hp.expert_count == 0 then
      f = b:ffn(f, "silu")
    else
      local e = b:moe(f, { gating = "softmax", normalise = true })
      f = shared and e + b:shared(f, "silu") or e
    end
    x = x + part(f)
  end
  return m:scale(m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" }), 1 / logit)
end
