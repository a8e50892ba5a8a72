--- What a tensor is for, told from its name alone, and whether llama.cpp
-- (v0.5.0) would quantize it. Names are those of GGUF: blk.<layer>.<what>.
local M = {}

--- All roles, in the order in which names are searched.
M.all = {
  "output", "token_embd", "attn_qkv", "attn_kv_b", "attn_v", "attn_k", "attn_q",
  "attn_output", "ffn_up", "ffn_gate", "ffn_down", "other",
}

--- Roles within a role: a mix says one thing for all that is called ffn_down*,
--- a recipe may tell experts and their shared neighbours apart.
M.within = {
  "ffn_up_exps", "ffn_gate_exps", "ffn_down_exps", "ffn_gate_up_exps", "ffn_up_shexp", "ffn_gate_shexp", "ffn_down_shexp",
}

-- Whole names first, then parts of names; the first hit decides.
local whole = {
  ["output.weight"] = "output",
  ["token_embd.weight"] = "token_embd",
  ["per_layer_token_embd.weight"] = "token_embd",
}
local parts = {
  { "attn_qkv.weight", "attn_qkv" },
  { "attn_kv_b.weight", "attn_kv_b" },
  { "attn_v.weight", "attn_v" },
  { "attn_k.weight", "attn_k" },
  { "attn_q.weight", "attn_q" },
  { "attn_output.weight", "attn_output" },
  { "ffn_up", "ffn_up" },
  { "ffn_gate", "ffn_gate" },
  { "ffn_down", "ffn_down" },
}

--- The role of a tensor.
---@param name string
---@return string role one of `all`
function M.of(name)
  if whole[name] then return whole[name] end
  for _, p in ipairs(parts) do
    if name:find(p[1], 1, true) then return p[2] end
  end
  return "other"
end

local within = {}
for _, name in ipairs(M.within) do within[name] = true end

--- The role of a tensor as recipes see it: one of `within` where it has one.
---@param name string
---@return string role one of `all` or `within`
function M.exact(name)
  local what = name:match "^blk%.%d+%.([%w_]+)%.weight$"
  return what and within[what] and what or M.of(name)
end

--- Is a tensor the matrices of many experts, of which a token uses a few?
---@param name string
---@return boolean
function M.is_expert(name) return name:find("_exps.", 1, true) ~= nil end

--- Is it part of the shared expert, which every token uses?
---@param name string
---@return boolean
function M.is_shared(name) return name:find("_shexp.", 1, true) ~= nil end

--- The layer in a tensor name ("blk.12.ffn_up.weight" -> 12), or nil.
---@param name string
---@return integer?
function M.layer(name)
  local digits = name:match "^blk%.(%d+)"
  return digits and tonumber(digits) or nil
end

-- Matrices that stay as they are: small, or sensitive out of proportion.
local kept_parts = {
  "_norm.weight", "ffn_gate_inp.weight", "ffn_gate_tid2eid.weight", "altup", "laurel",
  "per_layer_model_proj", "ssm_conv1d", "shortconv.conv.weight", "indexer.k_proj.weight",
  "indexer.q_proj.weight", "time_mix_first.weight", "time_mix_w0.weight", "time_mix_w1.weight",
  "time_mix_w2.weight", "time_mix_v0.weight", "time_mix_v1.weight", "time_mix_v2.weight",
  "time_mix_a0.weight", "time_mix_a1.weight", "time_mix_a2.weight", "time_mix_g1.weight",
  "time_mix_g2.weight", "time_mix_decay_w1.weight", "time_mix_decay_w2.weight",
  "time_mix_lerp_fused.weight", "attn_rel_b.weight", ".position_embd", "sam.pos_embd",
  "sam.neck.", "sam.net_", ".rel_pos", ".patch_embd", ".patch_merger", "a.rvq.codebook",
  "mm.a.code_embd",
}
local kept_whole = { ["position_embd.weight"] = true, ["token_types.weight"] = true }

--- Whether a tensor may change its type: a matrix called *weight that is not
-- in the list above.
---@param name string
---@param shape integer[] ne0 first
---@return boolean
function M.quantizable(name, shape)
  if #shape < 2 or name:sub(-6) ~= "weight" or kept_whole[name] then return false end
  for _, part in ipairs(kept_parts) do
    if name:find(part, 1, true) then return false end
  end
  return true
end

-- strcmp: the host's locale must not decide the order of a file.
local function bytes_less(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = a:byte(i), b:byte(i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

--- The order of tensors in an output file: those without a layer first, then
-- by layer, then by name.
---@param a string
---@param b string
---@return boolean
function M.before(a, b)
  local la, lb = M.layer(a) or -1, M.layer(b) or -1
  if la ~= lb then return la < lb end
  return bytes_less(a, b)
end

return M
