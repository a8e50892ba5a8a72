--- The models of the conformance data that specs turn into checkpoints and
--- convert: where the file lies, its layout, what a checkpoint cannot say.
local M = {}

--- { name, folder, file, layout, keys } in order. `keys`: metadata for which
--- Hugging Face's settings have no word, given to wane.convert as they are in
--- the file made by hand.
M.models = {}

local function add(name, folder, more)
  local m = { name = name, folder = folder, file = name, layout = nil }
  for k, v in pairs(more or {}) do m[k] = v end
  M.models[#M.models + 1] = m
end

for _, name in ipairs { "llama", "llama-mha-tied", "llama-linear", "llama-yarn", "qwen2", "qwen2-yarn", "qwen3", "gemma2",
  "phi3", "gpt-oss", "bert" } do
  add(name, "logits")
end
add("mixtral", "logits", { layout = "mixtral" })
add("mistral", "logits", { file = "llama", layout = "mistral" })
add("phi3-longrope", "logits", { keys = { "phi3.rope.scaling.attn_factor" } })
for _, name in ipairs { "gemma3", "gemma3-linear", "gemma4", "gemma4-moe", "glm4moe", "granite", "lfm2", "lfm2moe", "olmo2",
  "qwen2moe", "qwen3moe", "qwen35", "qwen35moe", "qwen3next", "smollm3" } do
  add(name, "families")
end
add("gemma4-e", "families", { keys = { "gemma4.feed_forward_length" } }) -- 3/2, where real ones double
add("olmo3", "families", { layout = "olmo3" })
add("bert-rank", "families", { layout = "bert-rank" })
add("xlmr-rank", "families", { file = "bert-rank", layout = "xlmr-rank" })

--- Path of a model's file below conformance/.
function M.path(m) return ("%s/%s/%s.F32.gguf"):format(m.folder, m.file, m.file) end

--- The keys of `m.keys` as option `metadata` of wane.convert.
---@param m table
---@param path string  the model made by hand
---@return table[]
function M.metadata(m, path)
  local f, out = assert(require("wane.gguf").open(path)), {}
  for i, key in ipairs(m.keys or {}) do
    local v = f.meta[key]
    out[i] = type(v) == "table" and { key = key, type = "array", value = v, elem = "u32" } or { key = key, type = "f32", value = v }
  end
  f:close()
  return out
end

return M
