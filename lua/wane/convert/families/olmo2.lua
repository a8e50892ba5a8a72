--- OLMo 2 and 3: norms behind the parts, q and k normed as whole rows.
local common = require "wane.convert.families.common"

local M = { arch = "olmo2" }

M.names = {
  ["post_attention_layernorm"] = "post_attention_norm", ["post_feedforward_layernorm"] = "post_ffw_norm",
}

function M.params(p, c)
  if not p:get "sliding_window" then return end
  p:count(".attention.sliding_window", p:get "sliding_window")
  local types, list = p:get "layer_types", {}
  for i = 1, c.n_layers do list[i] = i % 4 ~= 0 end
  p:flags(".attention.sliding_window_pattern", types and common.sliding(types) or list)
end

return M
