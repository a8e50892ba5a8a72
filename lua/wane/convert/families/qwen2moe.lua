--- Qwen 2 with experts, a shared one among them.
local common = require "wane.convert.families.common"

local M = { arch = "qwen2moe" }

function M.params(p)
  p:count(".expert_feed_forward_length", p:get "moe_intermediate_size")
  p:count(".expert_shared_feed_forward_length", p:get "shared_expert_intermediate_size")
end

function M.make(c, _, layer, rest, s)
  if not layer then return nil end
  return common.experts(c, layer, rest, common.expert_names) or common.merged_experts(c, layer, rest, s)
end

return M
