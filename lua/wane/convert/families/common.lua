--- What several families share.
local M = {}

local rows = require "wane.convert.rows"

--- Rows of q or k from Hugging Face's order of a head (all first halves of the
--- pairs, then all second ones) to GGUF's (pair by pair).
function M.unrotated(s, n_heads)
  local size = s.rows / n_heads
  if size ~= math.floor(size) or size % 2 ~= 0 then
    rows.fail(("tensor %s: %d rows do not make %d heads of pairs"):format(s.name, s.rows, n_heads))
  end
  return rows.permuted(s, function(i)
    local head, k = math.floor((i - 1) / size), (i - 1) % size
    return head * size + k % 2 * size / 2 + math.floor(k / 2) + 1
  end)
end

--- As unrotated, for a bias: one row of values.
function M.unrotated_bias(s, n_heads)
  return rows.reshaped(M.unrotated(rows.reshaped(s, 1), n_heads), s.cols)
end

--- Values plus one: Gemma's norms are stored without it.
function M.plus_one(buffer)
  for i = 1, #buffer do buffer[i] = buffer[i] + 1 end
end

--- -exp(x): state decay is stored as its logarithm.
function M.minus_exp(buffer)
  for i = 1, #buffer do buffer[i] = -math.exp(buffer[i]) end
end

--- Experts that stand apart, "experts.X.NAME.weight", as one tensor of matrices;
--- they are taken when the first of them comes by.
---@param c table       the conversion
---@param layer integer
---@param rest string   name behind the layer
---@param map table<string, string>  last part of the name -> GGUF's
function M.experts(c, layer, rest, map)
  local before, x, what = rest:match "^(.*)experts%.(%d+)%.([%w_]+)%.weight$"
  if not x or not map[what] then return nil end
  if x ~= "0" then return {} end
  local list, n = {}, c.n_experts
  for e = 0, n - 1 do
    list[e + 1] = c:source(("model.layers.%d.%sexperts.%d.%s.weight"):format(layer, before, e, what))
  end
  return { { ("blk.%d.%s.weight"):format(layer, map[what]), rows.stacked(list), matrices = n } }
end

M.expert_names = { gate_proj = "ffn_gate_exps", up_proj = "ffn_up_exps", down_proj = "ffn_down_exps" }
M.mixtral_names = { w1 = "ffn_gate_exps", w3 = "ffn_up_exps", w2 = "ffn_down_exps" }

--- Experts in one tensor (matrix, row, column), gate and up merged or not.
function M.merged_experts(c, layer, rest, s)
  local n = c.n_experts
  if rest:find "^mlp%.experts%.down_proj" then
    return { { ("blk.%d.ffn_down_exps.weight"):format(layer), s, matrices = n } }
  elseif rest:find "^mlp%.experts%.gate_up_proj" then
    local per = s.rows / n
    local half = per / 2
    local function part(first)
      return rows.permuted(s, function(i)
        return math.floor((i - 1) / half) * per + first + (i - 1) % half + 1
      end, n * half)
    end
    return {
      { ("blk.%d.ffn_gate_exps.weight"):format(layer), part(0), matrices = n },
      { ("blk.%d.ffn_up_exps.weight"):format(layer), part(half), matrices = n },
    }
  end
end

--- Sliding layers of config.json's layer_types.
function M.sliding(types)
  local list = {}
  for i, t in ipairs(types) do list[i] = t == "sliding_attention" end
  return list
end

return M
