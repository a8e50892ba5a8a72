--- The families of models that checkpoints are converted for: by the name of
--- their class in config.json's `architectures`.
---
--- A family is a table: arch (general.architecture), params(p, n_layers, config)
--- for its own keys, names and top (names of tensors), layers(p) when config.json
--- counts otherwise, and make(c, name, layer, rest) for tensors that are more than
--- a copy: it returns a list of { GGUF name, source, f }, or nothing to leave it to
--- the names. See rows.lua for sources; f changes a buffer of float32 in place.
local keys = require "wane.keys"

local M = {}

local module_of = {
  LlamaForCausalLM = "llama", MistralForCausalLM = "llama", MixtralForCausalLM = "llama", LlamaModel = "llama",
  SmolLM3ForCausalLM = "smollm3", GraniteForCausalLM = "granite",
  Qwen2ForCausalLM = "qwen2", Qwen2Model = "qwen2", Qwen3ForCausalLM = "qwen3", Qwen3Model = "qwen3",
  Qwen3MoeForCausalLM = "qwen3moe", Qwen2MoeForCausalLM = "qwen2moe",
  Qwen3_5ForConditionalGeneration = "qwen35", Qwen3_5ForCausalLM = "qwen35",
  Qwen3_5MoeForConditionalGeneration = "qwen35moe", Qwen3_5MoeForCausalLM = "qwen35moe",
  Qwen3NextForCausalLM = "qwen3next",
  Gemma2ForCausalLM = "gemma2", Gemma3ForCausalLM = "gemma3", Gemma3ForConditionalGeneration = "gemma3",
  Gemma4ForConditionalGeneration = "gemma4", Gemma4ForCausalLM = "gemma4",
  Phi3ForCausalLM = "phi3", GptOssForCausalLM = "gpt_oss", Glm4MoeForCausalLM = "glm4moe",
  Lfm2ForCausalLM = "lfm2", LFM2ForCausalLM = "lfm2", Lfm2MoeForCausalLM = "lfm2moe",
  Olmo2ForCausalLM = "olmo2", Olmo3ForCausalLM = "olmo2",
  BertModel = "bert", BertForMaskedLM = "bert", BertForSequenceClassification = "bert",
  XLMRobertaModel = "xlmr", XLMRobertaForSequenceClassification = "xlmr",
}

--- The family of a class, or nil.
function M.find(class)
  local name = module_of[class]
  return name and require("wane.convert.families." .. name)
end

--- The classes that are known, sorted.
function M.classes() return keys.sorted(module_of) end

return M
