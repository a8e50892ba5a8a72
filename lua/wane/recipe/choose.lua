--- The type that llama.cpp (v0.5.0) gives to each tensor of a model.
--
-- A chooser walks over the tensors in output order, since some rules depend
-- on how many tensors of a role came before. The mixes themselves are in
-- mixes.lua; here is what holds for all of them.
local mixes = require "wane.recipe.mixes"

local M = {}

local Chooser = {}
Chooser.__index = Chooser

-- The tensor as the rules of mixes.lua see it.
local View = {}
View.__index = View

function View:first(k) return self.i < math.floor(self.n / k) end

function View:more_bits()
  local eighth = math.floor(self.n / 8)
  return self.i < eighth or self.i >= math.floor(7 * self.n / 8) or (self.i - eighth) % 3 == 2
end

-- Models of llama.cpp's class "70B": layers by architecture.
local class_70b = { llama = 80, ["llama-embed"] = 80, qwen2 = 80, deci = 80, olmo = 80, jais2 = 68 }

local function is_70b(model)
  if class_70b[model.arch] ~= model.n_layers - (model.n_nextn or 0) then return false end
  if model.arch:find("^llama") then
    return model.n_experts ~= 8 and model.n_head ~= model.n_head_kv
  end
  return true
end

-- attn_qkv and attn_kv_b hold the values: they count and choose as attn_v.
local function acts_as(role)
  return (role == "attn_qkv" or role == "attn_kv_b") and "attn_v" or role
end

--- A chooser for one model and one mix. Call :pick for every tensor that may
-- be quantized, in output order.
---@param model wane.ModelDesc tensors already in output order
---@param mix wane.Mix
---@param has_imatrix boolean
function M.new(model, mix, has_imatrix)
  local self = setmetatable({ model = model, mix = mix, seen = {}, count = {} }, Chooser)
  self.view = setmetatable({
    experts = model.n_experts,
    gqa = model.n_head_kv > 0 and math.floor(model.n_head / model.n_head_kv) or 0,
    falcon = model.arch == "falcon",
    has_imatrix = has_imatrix,
    i = 0,
    n = 0,
  }, View)
  self.big = is_70b(model)
  self.tied = true
  for _, t in ipairs(model.tensors) do
    local role = acts_as(t.role)
    self.count[role] = (self.count[role] or 0) + 1
    if role == "output" then self.tied = false end
  end
  for _, role in ipairs { "ffn_down", "ffn_gate", "ffn_up" } do
    self.count[role] = model.n_layers
  end
  return self
end

-- The value of the mix's rule for a role, evaluated on the current tensor.
local function rule(self, role)
  local r = self.mix[role]
  if type(r) == "function" then r = r(self.view) end
  return r
end

-- The output matrix, and token embeddings that serve as one, get more bits.
local function output_type(self, t, block_of)
  local base = self.mix.base
  if self.mix.expert_matrices then return "q8_0" end
  if self.view.falcon or t.shape[1] % block_of(base) ~= 0 then return "q8_0" end
  return self.mix.output or base ~= "q8_0" and "q6_K" or base
end

local function attn_v(self)
  local type = rule(self, "attn_v") or self.mix.base
  if self.mix.low then return type end
  if self.big and (type == "q3_K" or type == "q4_K") then type = "q5_K" end
  -- 8 experts: attention is a small part of the model
  return self.view.experts == 8 and "q8_0" or type
end

local function attn_k(self)
  if self.view.experts == 8 then return self.mix.low and "q4_K" or "q8_0" end
  return rule(self, "attn_k")
end

local function attn_output(self)
  if self.mix.low then
    return self.view.experts == 8 and "q5_K" or rule(self, "attn_output")
  end
  if self.view.falcon then return self.mix.falcon_output end
  if self.view.experts == 8 then return self.mix.moe_output end
  return rule(self, "attn_output")
end

-- In a mixture of experts the layer is read from the name: its tensors may be
-- many per layer and in any order.
local function ffn(self, t, role)
  if not self.mix.low and self.view.experts > 1 then
    if not t.layer or t.layer >= self.model.n_layers then
      return nil, ("%s: cannot tell its layer (want blk.N. with N below %d)"):format(
        t.name, self.model.n_layers)
    end
    self.view.i = t.layer
  end
  return rule(self, role) or self.mix.base
end

local by_role = {
  attn_v = attn_v, attn_k = attn_k, attn_output = attn_output,
  attn_q = function(self) return rule(self, "attn_q") end,
  token_embd = function(self) return rule(self, "token_embd") end,
  ffn_down = ffn, ffn_gate = ffn, ffn_up = ffn,
  other = function() return nil end,
}
local counted = { attn_v = true, ffn_down = true, ffn_gate = true, ffn_up = true }

--- The mix's type of tensor t, before any fallback for odd row lengths.
-- Advances the counters of its role.
---@param t wane.TensorDesc
---@param output_override string? the type wanted for the output matrix
---@param block_of fun(type: string): integer
---@return string? type
---@return string? message
function Chooser:pick(t, output_override, block_of)
  if t.role == "output" or (self.tied and t.role == "token_embd") then
    return output_override or output_type(self, t, block_of)
  end
  local mix = self.mix
  if mix.expert_matrices then
    local expert = (t.shape[3] or 1) > 1
    if self.model.arch == "bailingmoe3" then expert = expert and t.role:find "^ffn_" ~= nil end
    return expert and mix.expert_matrices or mix.other_matrices
  end
  local role = acts_as(t.role)
  self.view.i, self.view.n = self.seen[role] or 0, self.count[role] or 0
  local type, msg = by_role[role](self, t, role)
  if msg then return nil, msg end
  if counted[role] then self.seen[role] = (self.seen[role] or 0) + 1 end
  return type or mix.base
end

-- Rows that do not fill the blocks of a type: the next of its kind with
-- blocks of 32, and F16 when even those do not fit.
local substitutes = {
  iq1_s = "iq4_nl", iq1_m = "iq4_nl", iq2_xxs = "iq4_nl", iq2_xs = "iq4_nl", iq2_s = "iq4_nl",
  iq3_xxs = "iq4_nl", iq3_s = "iq4_nl", iq4_xs = "iq4_nl",
  q2_0 = "q4_0", q2_K = "q4_0", q3_K = "q4_0", tq1_0 = "q4_0", tq2_0 = "q4_0",
  q4_K = "q5_0", q5_K = "q5_1", q6_K = "q8_0",
}

--- llama.cpp's substitute for `type` on rows of n_cols values.
---@return string? type nil: llama.cpp has none and refuses the model
function M.substitute(type, n_cols, block_of)
  if n_cols % block_of(type) == 0 then return type end
  if block_of(type) == 32 then return "f16" end
  local other = substitutes[type]
  if other and n_cols % block_of(other) ~= 0 then return "f16" end
  return other
end

local imatrix_types = {
  iq3_xxs = true, iq2_xxs = true, iq2_xs = true, iq2_s = true, iq1_m = true, iq1_s = true,
}

--- Whether llama.cpp refuses to make this tensor without an imatrix.
function M.requires_imatrix(role, type, mix_name)
  if role == "token_embd" or role == "output" then return false end
  return imatrix_types[type] or (type == "q2_K" and mix_name == "Q2_K_S") or false
end

--- The mix of a name ("Q4_K_M", "q4_k", "15"), or nil and a message.
---@return wane.Mix?
---@return string?
function M.mix(name)
  local upper = tostring(name):upper()
  upper = mixes.aliases[upper] or upper
  local m = mixes.mixes[upper]
  if not m and upper:match "^%d+$" then
    for _, n in ipairs(mixes.names) do
      if mixes.mixes[n].id == tonumber(upper) then m = mixes.mixes[n] end
    end
  end
  if m then return m end
  return nil, ("unknown mix '%s': want one of %s"):format(
    tostring(name), table.concat(mixes.names, " "))
end

return M
