--- Granite 3: llama's layout with four multipliers.
local llama = require "wane.convert.families.llama"

local M = { arch = "granite", prefix_space_flag = true, extra = llama.extra, make = llama.make, vocab = llama.vocab }

function M.config(config) config.head_dim = nil end

function M.params(p)
  llama.params(p)
  p:number(".attention.scale", p:get "attention_multiplier")
  p:number(".embedding_scale", p:get "embedding_multiplier")
  p:number(".residual_scale", p:get "residual_multiplier")
  p:number(".logit_scale", p:get "logits_scaling")
end

return M
