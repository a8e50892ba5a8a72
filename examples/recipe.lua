-- A recipe written from scratch: `lua examples/recipe.lua [FROM TO]`.
-- It sees every tensor and returns a type; llama.cpp's mixes are such programs.
local wane = require "wane"

local recipe = wane.recipe(function(t)
  if t.role == "output" then return "q6_K" end -- every token meets it
  if t.role == "token_embd" then return "q4_K" end
  local at_ends = t.layer and (t.layer < 1 or t.layer >= t.n_layers - 1)
  if t.role == "attn_v" or t.role == "ffn_down" then return at_ends and "q6_K" or "q5_K" end
  if t.role == "ffn_up" or t.role == "ffn_gate" then return "iq4_xs" end
  return t:cheapest_with(0.08, { "q3_K", "q4_K", "q5_K" }) -- by measured error
end)

local from, to = arg and arg[1] or "examples/models/demo-f16.gguf", arg and arg[2] or "build/tmp/recipe.gguf"
os.execute "mkdir -p build/tmp"
local r = assert(wane.quantize { from = from, to = to, recipe = recipe, overwrite = true })
print(("%s: %d bytes, %.2f bits per weight"):format(to, r.file_bytes, r.bpw))
for i = 1, 10 do print("  " .. r.tensors[i].name, r.tensors[i].to) end
