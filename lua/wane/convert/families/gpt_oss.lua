--- gpt-oss: MXFP4 experts, gate and up in turns, sinks.
local rows = require "wane.convert.rows"

local M = { arch = "gpt-oss" }

M.names = {
  ["post_attention_layernorm"] = "post_attention_norm", ["self_attn.sinks"] = "attn_sinks",
  ["mlp.router"] = "ffn_gate_inp",
}

function M.params(p)
  p:count(".attention.sliding_window", p:need "sliding_window")
  p:count(".expert_feed_forward_length", p:need "intermediate_size")
end

-- Every second row of s, beginning with the first or the second.
local function every_second(s, first)
  return rows.permuted(s, function(i) return 2 * i - 1 + first end, s.rows / 2)
end

-- MXFP4 tensors of the experts, when the blocks come by.
local function packed(c, layer, what)
  local base = ("model.layers.%d.mlp.experts.%s_proj_"):format(layer, what)
  local blocks, scales = c:source(base .. "blocks"), c:source(base .. "scales")
  local shape = blocks.shape -- experts, rows, blocks, 16
  local n, cols = shape[1] * shape[2], shape[3] * 32
  local function tensor(to, count, map)
    return { ("blk.%d.%s.weight"):format(layer, to), rows.mxfp4(blocks, scales, cols, count, map), matrices = shape[1] }
  end
  if what == "down" then return { tensor("ffn_down_exps", n) } end
  return {
    tensor("ffn_gate_exps", n / 2, function(i) return 2 * i end),
    tensor("ffn_up_exps", n / 2, function(i) return 2 * i + 1 end),
  }
end

function M.make(c, _, layer, rest, s)
  if not layer then return nil end
  local what, kind = rest:match "^mlp%.experts%.([%w_]+)_proj_?(%w*)$"
  if not what then return nil end
  local n = c.n_experts
  local function out(to, source, matrices) return { ("blk.%d.%s"):format(layer, to), source, matrices = matrices } end
  if kind == "scales" then return {} end
  if kind == "blocks" then return packed(c, layer, what) end
  if kind == "bias" then
    if what == "down" then return { out("ffn_down_exps.bias", s) } end
    local one = rows.reshaped(s, 1)
    local function half(first) return rows.reshaped(every_second(one, first), s.cols / 2) end
    return { out("ffn_gate_exps.bias", half(0)), out("ffn_up_exps.bias", half(1)) }
  end
  -- plain floats: (expert, in, out)
  local turned = rows.transposed(s, s.rows / n)
  if what == "down" then return { out("ffn_down_exps.weight", turned, n) } end
  return { out("ffn_gate_exps.weight", every_second(turned, 0), n), out("ffn_up_exps.weight", every_second(turned, 1), n) }
end

return M
