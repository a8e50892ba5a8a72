--- bert: an encoder. Embeddings of token, type and position, norms behind each
--- sum, attention over the whole text; the result is a vector for each token.
return function(m)
  local hp = m.hp
  m:use { norm = "layer", causal = false }
  local x = m:embed "token_embd"
  if m:has "token_types" then
    local n = hp.r:get("tokenizer.ggml.token_type_count", "u32") or 2
    x = x + m:embed("token_types", { row = 0, rows = n })
  end
  x = m:norm(m:embed("position_embd", { by = "position" }) + x, "token_embd_norm")
  for i = 0, hp.block_count - 1 do
    local b = m:block(i)
    local q, k, v = b:qkv(x)
    x = b:norm(b:linear(b:attend(q, k, v), "attn_output") + x, "attn_output_norm")
    x = b:norm(b:linear(b:act("gelu", b:linear(x, "ffn_up")), "ffn_down") + x, "layer_output_norm")
  end
  return x, "embeddings"
end
