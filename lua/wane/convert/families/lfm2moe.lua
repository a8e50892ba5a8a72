--- LFM2 with experts.
local common = require "wane.convert.families.common"
local lfm2 = require "wane.convert.families.lfm2"

local M = { arch = "lfm2moe", top = lfm2.top, names = lfm2.names, config = lfm2.config }

function M.params(p)
  p:count(".expert_feed_forward_length", p:need "moe_intermediate_size")
  p:count(".leading_dense_block_count", p:need "num_dense_layers")
  p:count(".expert_gating_func", 2)
  p:count(".vocab_size", p:need "vocab_size")
  p:count(".shortconv.l_cache", p:need "conv_L_cache")
end

function M.make(c, name, layer, rest, s)
  if not layer then return nil end
  if rest == "feed_forward.expert_bias" then return { { ("blk.%d.exp_probs_b.bias"):format(layer), s } } end
  return common.experts(c, layer, rest, common.mixtral_names) or lfm2.make(c, name, layer, rest, s)
end

return M
