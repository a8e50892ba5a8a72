--- nomic-bert, nomic-bert-moe, jina-bert-v3: bert with rotation instead of
--- learned positions. nomic-bert has SiLU gates, the others GELU without a
--- gate; every so many layers of the second are experts.
return function(m)
  local hp = m.hp
  m:use { norm = "layer", rope = "neox", causal = false }
  local every = hp.r:count("moe_every_n_layers", 0, 1024, 0)
  local gated = hp.architecture == "nomic-bert"
  local x = m:embed "token_embd"
  if m:has "token_types" then x = x + m:embed("token_types", { row = 0, rows = m:rows "token_types" }) end
  x = m:norm(x, "token_embd_norm")
  for i = 0, hp.block_count - 1 do
    local b = m:block(i)
    local q, k, v = b:qkv(x)
    x = b:norm(b:linear(b:attend(b:rope(q), b:rope(k), v), "attn_output") + x, "attn_output_norm")
    local f
    if every > 0 and i % every == 1 then
      f = b:moe(x, { kind = "gelu", gate = false, gating = "softmax" })
    else
      f = gated and b:ffn(x, "silu") or b:mlp(x, "gelu")
    end
    x = b:norm(f + x, "layer_output_norm")
  end
  return x, "embeddings"
end
