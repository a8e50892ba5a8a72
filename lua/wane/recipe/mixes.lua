--- llama.cpp's quantization mixes (v0.5.0), as rules.
--
-- A mix is a base type and exceptions by role. An exception is a type name,
-- or a function of the tensor that returns one (nil: the base type stays).
-- Roles follow from tensor names (roles.lua): token_embd, output, attn_q,
-- attn_k, attn_v (fused qkv and kv_b count as attn_v), attn_output, ffn_up,
-- ffn_gate, ffn_down.
--
-- What a rule may ask of the tensor t:
--   t.i, t.n       running number of the tensor in its role and how many there
--                  are (for ffn_*: the layer and the number of layers)
--   t.gqa          query heads that share one key/value head
--   t.experts      experts per layer (0 = dense)
--   t.falcon       the architecture is falcon
--   t.has_imatrix  an importance matrix is given
--   t:first(k)     true in the first 1/k of the layers
--   t:more_bits()  true in the first and last eighth and in every third layer
--                  between: where errors hurt most
--
-- What holds for all mixes (output matrix, very large or 8-expert models) is
-- in choose.lua. It knows three marks: `moe_output` is the type of attn_output
-- in 8-expert models, `falcon_output` the one in falcon models, and `low`
-- names the very-low-bit family, where those models are treated differently.
local M = {}

--- Names in the order of their file type number.
M.names = {}

--- Other names people use.
M.aliases = { Q3_K = "Q3_K_M", Q4_K = "Q4_K_M", Q5_K = "Q5_K_M" }

---@class wane.Mix
---@field name string
---@field id integer     general.file_type of the output
---@field base string?   the type of everything without a rule; nil: refused
---@field note string    what it is for, in a few words

local mixes = {}
M.mixes = mixes

--- Adds a mix; what follows the note are rules by role.
local function mix(name, id, base, note, rules)
  rules = rules or {}
  rules.name, rules.id, rules.base, rules.note = name, id, base, note
  mixes[name] = rules
  M.names[#M.names + 1] = name
end

-- Conditions that several mixes share.
local function gqa4(yes, no)
  return function(t) return t.gqa >= 4 and yes or no end
end
local function more_bits(yes)
  return function(t) return t:more_bits() and yes or nil end
end
local function middle(yes)
  return function(t)
    local eighth = math.floor(t.n / 8)
    return t.i >= eighth and t.i < math.floor(7 * t.n / 8) and yes or nil
  end
end

-- Plain numbers ------------------------------------------------------------
mix("F32", 0, "f32", "all weights in 32-bit floats")
mix("F16", 1, "f16", "all matrices in 16-bit floats")

-- Blocks of 32 -------------------------------------------------------------
mix("Q4_0", 2, "q4_0", "4.5 bits, simple and fast", {
  -- the first layers can go wrong in spite of an imatrix
  ffn_down = function(t) return t.has_imatrix and t:first(8) and "q4_1" or nil end,
})
mix("Q4_1", 3, "q4_1", "5 bits, with a minimum per block")
mix("Q8_0", 7, "q8_0", "8.5 bits, nearly lossless")
mix("Q5_0", 8, "q5_0", "5.5 bits, simple", {
  ffn_down = function(t) return t.has_imatrix and t:first(8) and "q5_1" or nil end,
})
mix("Q5_1", 9, "q5_1", "6 bits, with a minimum per block")

-- k-quants: super-blocks of 256 --------------------------------------------
mix("Q2_K", 10, "q2_K", "about 3 bits, visible loss", {
  moe_output = "q5_K",
  attn_v = gqa4("q4_K", "q3_K"),
  attn_output = "q3_K",
  ffn_down = "q3_K",
})
mix("Q3_K_S", 11, "q3_K", "3.4 bits", { moe_output = "q5_K" })
mix("Q3_K_M", 12, "q3_K", "3.9 bits", {
  moe_output = "q5_K",
  attn_v = function(t) return t.i < 2 and "q5_K" or "q4_K" end,
  attn_output = "q4_K",
  ffn_down = function(t)
    if t:first(16) then return "q5_K" end
    if not t.falcon or t:more_bits() then return "q4_K" end
  end,
})
mix("Q3_K_L", 13, "q3_K", "4.3 bits", {
  attn_v = "q5_K",
  attn_output = "q5_K",
  falcon_output = "q4_K",
  ffn_down = function(t) return t.falcon and "q4_K" or "q5_K" end,
})
mix("Q4_K_S", 14, "q4_K", "4.6 bits", {
  moe_output = "q5_K",
  attn_v = function(t) return t.i < 4 and "q5_K" or nil end,
  ffn_down = function(t) return not t.falcon and t:first(8) and "q5_K" or nil end,
})
mix("Q4_K_M", 15, "q4_K", "4.8 bits: the usual choice", {
  moe_output = "q5_K",
  attn_v = more_bits "q6_K",
  ffn_down = function(t)
    if not t.falcon then return t:more_bits() and "q6_K" or nil end
    return t:first(16) and "q6_K" or t:more_bits() and "q5_K" or nil
  end,
})
mix("Q5_K_S", 16, "q5_K", "5.5 bits")
mix("Q5_K_M", 17, "q5_K", "5.7 bits: hardly any loss", {
  attn_v = more_bits "q6_K",
  ffn_down = more_bits "q6_K",
})
mix("Q6_K", 18, "q6_K", "6.6 bits: nearly lossless")

-- i-quants, below 3 bits (these need an imatrix) ---------------------------
local function low_value(small)
  return function(t) return (t.gqa >= 4 or t.experts >= 4) and "q4_K" or small end
end
local low_v, low_v_s = low_value "q2_K", low_value "iq3_s"
local low_down = function(t) return t:first(8) and "q2_K" or nil end
local low_down_s = function(t) return t:first(8) and "iq3_s" or nil end

mix("IQ2_XXS", 19, "iq2_xxs", "2.1 bits", {
  low = true, output = "q5_K", token_embd = "q2_K",
  attn_v = low_v, ffn_down = low_down,
})
mix("IQ2_XS", 20, "iq2_xs", "2.4 bits", {
  low = true, output = "q5_K", token_embd = "q2_K",
  attn_v = low_v, ffn_down = low_down,
})
mix("Q2_K_S", 21, "q2_K", "2.8 bits, small brother of Q2_K; needs an imatrix", {
  attn_v = gqa4("q4_K", nil),
  ffn_down = function(t) return t:first(8) and "q4_K" or nil end,
})

-- i-quants around 3 bits ---------------------------------------------------
mix("IQ3_XS", 22, "iq3_s", "3.3 bits", {
  moe_output = "q5_K",
  attn_v = gqa4("q4_K", nil),
  attn_k = "iq3_xxs",
  attn_q = "iq3_xxs",
  ffn_gate = middle "iq3_xxs",
  ffn_up = middle "iq3_xxs",
})
mix("IQ3_XXS", 23, "iq3_xxs", "3.1 bits", {
  moe_output = "q5_K", output = "q5_K", token_embd = "iq3_s",
  attn_v = function(t)
    return t.gqa >= 4 and "q4_K" or not t.has_imatrix and "iq3_s" or "iq3_xxs"
  end,
  attn_k = "iq2_s",
  attn_q = "iq2_s",
  attn_output = "iq3_s",
  ffn_down = function(t)
    if not t.has_imatrix then return t:first(8) and "q4_K" or "q3_K" end
  end,
})
mix("IQ1_S", 24, "iq1_s", "1.6 bits", {
  low = true, output = "q5_K", token_embd = "q2_K",
  attn_v = low_v, attn_output = "iq2_xxs", ffn_down = low_down,
})
mix("IQ4_NL", 25, "iq4_nl", "4.5 bits, uneven levels", {
  moe_output = "q5_K",
  attn_v = gqa4("q5_K", nil),
  ffn_down = function(t) return not t.has_imatrix and t:first(8) and "q5_K" or nil end,
})
mix("IQ3_S", 26, "iq3_s", "3.4 bits", {
  moe_output = "q5_K",
  attn_v = gqa4("q4_K", nil),
})
mix("IQ3_M", 27, "iq3_s", "3.7 bits", {
  moe_output = "q5_K",
  attn_v = "q4_K",
  attn_output = "q4_K",
  ffn_down = function(t)
    return (t:first(8) or t.experts == 8 and t:more_bits()) and "q4_K" or nil
  end,
})
mix("IQ2_S", 28, "iq2_xs", "2.5 bits", {
  low = true, output = "q5_K", token_embd = "iq3_s",
  attn_v = low_v_s, attn_output = "iq3_s", ffn_down = low_down_s,
})
mix("IQ2_M", 29, "iq2_s", "2.7 bits", {
  low = true, output = "q5_K", token_embd = "iq3_s",
  attn_v = low_v_s, attn_output = "iq3_s", ffn_down = low_down_s,
})
mix("IQ4_XS", 30, "iq4_xs", "4.3 bits: the smallest good one", {
  moe_output = "q5_K",
  attn_v = gqa4("q5_K", nil),
  ffn_down = function(t) return not t.has_imatrix and t:first(8) and "q5_K" or nil end,
})
mix("IQ1_M", 31, "iq1_m", "1.8 bits", {
  low = true, output = "q5_K", token_embd = "q2_K",
  attn_v = low_v, attn_output = "iq2_xxs", ffn_down = low_down,
})

-- The rest -----------------------------------------------------------------
mix("BF16", 32, "bf16", "all matrices in bfloat16")
mix("TQ1_0", 36, "tq1_0", "ternary, for models trained so", { token_embd = "q4_K" })
mix("TQ2_0", 37, "tq2_0", "ternary, faster than TQ1_0", { token_embd = "q4_K" })
mix("MXFP4_MOE", 38, "mxfp4", "experts in MXFP4, everything else in Q8_0", {
  output = "q8_0",
  expert_matrices = "mxfp4",
  other_matrices = "q8_0",
})
mix("NVFP4", 39, nil, "only as made by its training tools")
mix("Q1_0", 40, "q1_0", "1.1 bits, for models trained so")
mix("Q2_0", 41, "q2_0", "2.3 bits, for models trained so", { token_embd = "q4_K" })

return M
