--- nanbeige: llama whose layers run `num_loops` times one after the other,
--- each pass with keys and values of its own, with the last norm between
--- passes unless the file says otherwise.
return function(m)
  local hp, r = m.hp, m.hp.r
  m:use { norm = "rms", rope = "normal", factors = true }
  local passes = r:count("num_loops", 1, 1024, 1)
  local between = not r:flag("skip_loop_final_norm", false)
  local x = m:embed "token_embd"
  for pass = 1, passes do
    for i = 0, hp.block_count - 1 do
      local b = m:block(i)
      local q, k, v = b:qkv(b:norm(x, "attn_norm"))
      x = x + b:linear(b:attend(b:rope(q), b:rope(k), v), "attn_output")
      x = x + b:ffn(b:norm(x, "ffn_norm"), "silu")
    end
    if between and pass < passes then x = m:norm(x, "output_norm") end
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end
