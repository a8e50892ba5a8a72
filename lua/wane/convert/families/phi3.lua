--- Phi 3, Phi 4: fused matrices, long and short factors of rotation.
local M = { arch = "phi3" }

local rows = require "wane.convert.rows"

M.names = { ["mlp.gate_up_proj"] = "ffn_up" }

function M.params(p)
  local r = p:rope()
  p:count(".rope.scaling.original_context_length", r.original_max_position_embeddings)
  p:count(".rope.dimension_count", math.floor(math.floor((r.partial_rotary_factor or 1) * p:need "hidden_size")
    / p:need "num_attention_heads"))
  p:count(".attention.sliding_window", p:get "sliding_window" or 0)
end

function M.extra(c)
  local p, r = c.params, c.params:rope()
  if not (r.long_factor and r.short_factor) then return {} end
  local original = r.original_max_position_embeddings
  if type(original) ~= "number" then rows.fail "config.json: original_max_position_embeddings is missing" end
  local scale = p:need "max_position_embeddings" / original
  local magnitude = 1
  if scale > 1 then
    magnitude = r.rope_type == "yarn" and 0.1 * math.log(scale) + 1 or math.sqrt(1 + math.log(scale) / math.log(original))
  end
  p:number(".rope.scaling.attn_factor", magnitude)
  return {
    { "rope_factors_long.weight", values = r.long_factor }, { "rope_factors_short.weight", values = r.short_factor },
  }
end

return M
