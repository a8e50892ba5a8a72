--- The architectures that wane knows, by their exact name in
--- general.architecture. A file's name is only ever a key of this table: it
--- never becomes a path or a module name.
local M = {}

local builtin = {}

-- A page may serve several names.
for page, names in pairs {
  llama = { "llama", "internlm2", "mistral3", "ernie4_5" },
  qwen2 = { "qwen2" },
  qwen2moe = { "qwen2moe" },
  qwen2vl = { "qwen2vl" },
  qwen3 = { "qwen3", "qwen3vl" },
  qwen3moe = { "qwen3moe", "qwen3vlmoe" },
  gemma = { "gemma" },
  gemma2 = { "gemma2" },
  gemma3 = { "gemma3" },
  phi2 = { "phi2" },
  phi3 = { "phi3" },
  gpt2 = { "gpt2" },
  gptneox = { "gptneox" },
  stablelm = { "stablelm" },
  falcon = { "falcon" },
  gpt_oss = { "gpt-oss" },
  smollm3 = { "smollm3" },
  arcee = { "arcee" },
  nanbeige = { "nanbeige" },
  granite = { "granite", "granitemoe", "minicpm" },
  olmo2 = { "olmo2" },
  olmoe = { "olmoe" },
  cohere2 = { "cohere2", "command-r" },
  exaone4 = { "exaone4" },
  glm4 = { "glm4" },
  glm4moe = { "glm4moe" },
  ernie4_5_moe = { "ernie4_5-moe" },
  hunyuan = { "hunyuan-dense", "hunyuan-moe" },
  seed_oss = { "seed_oss" },
  dots1 = { "dots1", "bailingmoe2" },
  minimax_m2 = { "minimax-m2" },
  starcoder2 = { "starcoder2" },
  muse_glimmer = { "muse-glimmer" },
  qwen35 = { "qwen35", "qwen35moe", "qwen3next" },
  lfm2 = { "lfm2", "lfm2moe" },
  gemma4 = { "gemma4" },
  deepseek2 = { "deepseek2", "mistral4" },
  granitehybrid = { "granitehybrid" },
  nemotron_h = { "nemotron_h", "nemotron_h_moe" },
  falcon_h1 = { "falcon-h1" },
  mamba2 = { "mamba", "mamba2" },
  jamba = { "jamba" },
  llama4 = { "llama4" },
  rwkv7 = { "rwkv7" },
  apertus = { "apertus" },
  bert = { "bert" },
  nomic_bert = { "nomic-bert", "nomic-bert-moe", "jina-bert-v3" },
  jina_bert_v2 = { "jina-bert-v2" },
  modern_bert = { "modern-bert" },
  gemma_embedding = { "gemma-embedding" },
  eurobert = { "eurobert", "llama-embed" },
} do
  for _, name in ipairs(names) do builtin[name] = "wane.arch." .. page end
end

local registered = {}

--- Adds or replaces an architecture.
---
---     wane.arch.register("my-llama", require "wane.arch.llama")
---@param name string as in general.architecture
---@param describe fun(m: wane.arch.Graph): wane.arch.Value, string|nil
---@error an empty name, anything but a function
function M.register(name, describe)
  if type(name) ~= "string" or name == "" then error("wane.arch.register: want a name", 2) end
  if type(describe) ~= "function" then error("wane.arch.register: want a function", 2) end
  registered[name] = describe
end

--- The description of an architecture, or nil.
---
---     print(wane.arch.find "llama" ~= nil, wane.arch.find "nothing")   --> true  nil
---@param name string
---@return function|nil
---@error none; an unknown name gives nil
function M.find(name)
  if registered[name] then return registered[name] end
  local module = builtin[name]
  return module and require(module)
end

-- What to tell about an architecture that is not known.
-- @param name string
-- @return string
function M.unknown(name)
  local shown = ("%q"):format(name:sub(1, 64))
  if name == "clip" then
    return "architecture " .. shown .. ": a vision or audio tower (mmproj), which is no model of text by itself"
  end
  return ("unknown architecture %s: known are %s; docs/adding-an-architecture.md tells how to add one"):format(shown,
    table.concat(M.names(), ", "))
end

--- Names of all architectures, sorted.
---
---     print(#wane.arch.names() > 60)   --> true
---@error none
function M.names()
  local list, seen = {}, {}
  for _, t in ipairs { builtin, registered } do
    for name in pairs(t) do
      if not seen[name] then list[#list + 1] = name end
      seen[name] = true
    end
  end
  table.sort(list)
  return list
end

return M
