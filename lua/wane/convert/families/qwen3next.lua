--- Qwen3-Next: delta rule layers, experts, draft heads behind the trunk.
local common = require "wane.convert.families.common"
local rows = require "wane.convert.rows"
local qwen2moe = require "wane.convert.families.qwen2moe"

local M = { arch = "qwen3next" }

M.names = {
  ["post_attention_layernorm"] = "post_attention_norm",
  ["linear_attn.in_proj_qkv"] = "attn_qkv", ["linear_attn.in_proj_z"] = "attn_gate",
  ["linear_attn.in_proj_ba"] = "ssm_ba", ["linear_attn.in_proj_b"] = "ssm_beta",
  ["linear_attn.in_proj_a"] = "ssm_alpha", ["linear_attn.conv1d"] = "ssm_conv1d", ["linear_attn.norm"] = "ssm_norm",
  ["linear_attn.out_proj"] = "ssm_out",
}

-- Draft heads have names of their own, which become layers behind the trunk.
local heads = {
  fc = "eh_proj", pre_fc_norm_embedding = "enorm", pre_fc_norm_hidden = "hnorm", norm = "shared_head.norm",
}

function M.rename(name, _, p)
  name = name:gsub("^model%.language_model%.", "model."):gsub("^language_model%.model%.", "model.")
  name = name:gsub("^model%.mtp%.", "mtp.")
  local n = p:need "num_hidden_layers"
  local k, rest = name:match "^mtp%.layers%.(%d+)%.(.+)$"
  if k then return ("model.layers.%d.%s"):format(n + tonumber(k), rest) end
  local what, suffix = name:match "^mtp%.([%w_]+)%.(.+)$"
  if what and heads[what] then return ("model.layers.%d.%s.%s"):format(n, heads[what], suffix) end
  return name
end

--- Layers with the draft heads that the checkpoint really has.
function M.layers(p, checkpoint)
  local n, more = p:need "num_hidden_layers", 0
  for _, name in ipairs(checkpoint.names) do
    local k = name:match "mtp%.layers%.(%d+)%."
    if k then more = math.max(more, tonumber(k) + 1) end
  end
  if more > 0 then p:count(".nextn_predict_layers", more) end
  return n + more
end

function M.params(p)
  qwen2moe.params(p)
  p:count(".ssm.conv_kernel", p:need "linear_conv_kernel_dim")
  p:count(".ssm.state_size", p:need "linear_key_head_dim")
  p:count(".ssm.group_count", p:need "linear_num_key_heads")
  p:count(".ssm.time_step_rank", p:need "linear_num_value_heads")
  p:count(".ssm.inner_size", p:need "linear_value_head_dim" * p:need "linear_num_value_heads")
  p:count(".full_attention_interval", p:get "full_attention_interval" or 4)
  p:count(".rope.dimension_count", math.floor(p:head_size() * (p:rope().partial_rotary_factor or 0.25)))
end

-- q, k, v, z of each key head stand together: all q, all k, all v; and all z.
local function unmixed(c, layer, s)
  local p = c.params
  local dk, dv = p:need "linear_key_head_dim", p:need "linear_value_head_dim"
  local nk = p:need "linear_num_key_heads"
  local per = p:need "linear_num_value_heads" / nk * dv
  local block = 2 * dk + 2 * per
  local function part(first, n) -- n rows of each head
    return function(i) return math.floor((i - 1) / n) * block + first + (i - 1) % n + 1 end, nk * n
  end
  local q, k, v = rows.permuted(s, part(0, dk)), rows.permuted(s, part(dk, dk)), rows.permuted(s, part(2 * dk, per))
  return {
    { ("blk.%d.attn_qkv.weight"):format(layer), rows.stacked { q, k, v } },
    { ("blk.%d.attn_gate.weight"):format(layer), (rows.permuted(s, part(2 * dk + per, per))) },
  }
end

-- Value heads from groups by key head to turns: `n` rows each, behind `first`.
local function tiled(c, s, first, n)
  local p = c.params
  local nk, nv = p:need "linear_num_key_heads", p:need "linear_num_value_heads"
  if nk == nv or not M.is_tiled(c) then return s end
  local per = nv / nk
  return rows.permuted(s, function(i)
    if i <= first then return i end
    local k = i - first - 1
    local head, at = math.floor(k / n), k % n
    return first + (head % nk * per + math.floor(head / nk)) * n + at + 1
  end)
end

--- Qwen3-Next keeps the groups; qwen35 takes turns.
function M.is_tiled(c) return c.family.tiled end

function M.make(c, name, layer, rest, s)
  if not layer then
    if name == "model.norm.weight" then return { { "output_norm.weight", s, f = common.plus_one } } end
    return nil
  end
  local p = c.params
  local function out(to, source, f) return { { ("blk.%d.%s"):format(layer, to), source, f = f } } end
  if rest == "linear_attn.in_proj_qkvz.weight" then return unmixed(c, layer, s) end
  if rest:find "^linear_attn%." then
    local dk, dv = p:need "linear_key_head_dim", p:need "linear_value_head_dim"
    local qk = 2 * dk * p:need "linear_num_key_heads"
    if rest == "linear_attn.A_log" then
      return out("ssm_a", rows.reshaped(tiled(c, rows.reshaped(s, 1), 0, 1), s.cols), common.minus_exp)
    elseif rest == "linear_attn.dt_bias" then
      return out("ssm_dt.bias", rows.reshaped(tiled(c, rows.reshaped(s, 1), 0, 1), s.cols))
    elseif rest == "linear_attn.conv1d.weight" then
      return out("ssm_conv1d.weight", tiled(c, s, qk, dv))
    elseif rest == "linear_attn.in_proj_qkv.weight" then
      return out("attn_qkv.weight", tiled(c, s, qk, dv))
    elseif rest == "linear_attn.in_proj_z.weight" then
      return out("attn_gate.weight", tiled(c, s, 0, dv))
    elseif rest == "linear_attn.in_proj_b.weight" then
      return out("ssm_beta.weight", tiled(c, s, 0, 1))
    elseif rest == "linear_attn.in_proj_a.weight" then
      return out("ssm_alpha.weight", tiled(c, s, 0, 1))
    elseif rest == "linear_attn.out_proj.weight" then
      local nk, nv = p:need "linear_num_key_heads", p:need "linear_num_value_heads"
      if nk == nv or not c.family.tiled then return nil end
      return out("ssm_out.weight", rows.columns(s, dv, function(k)
        return (k - 1) % nk * (nv / nk) + math.floor((k - 1) / nk) + 1
      end))
    end
    return nil
  end
  if rest:find "norm%.weight$" then return { { c:name(name), s, f = common.plus_one } } end
  return common.experts(c, layer, rest, common.expert_names) or common.merged_experts(c, layer, rest, s)
end

return M
