--- The bytes of every block format, for people: fields in file order with
--- what each holds, and the formula that turns a level into a weight.
--- (csrc/quant/blocks.h is the definition; a spec compares the sums.)
local M = {}

---@class wane.Layout
---@field fields { [1]: string, [2]: integer, [3]: string }[]  name, bytes, content
---@field formula string
---@field note string     what kind of format it is, and what it is good for

---@type table<string, wane.Layout>
M.of = {}

local function layout(name, formula, note, fields)
  M.of[name] = { formula = formula, note = note, fields = fields }
end

local d = { "d", 2, "scale, half precision" }
local m = { "m", 2, "minimum, half precision" }
local dmin = { "dmin", 2, "scale of the minima, half precision" }
local nibbles = { "qs", 16, "32 levels of 4 bits" }

layout("f32", "w = value", "single precision: as trained or computed", { { "value", 4, "IEEE binary32" } })
layout("f16", "w = value", "half precision: the usual source of quantizing", { { "value", 2, "IEEE binary16" } })
layout("bf16", "w = value", "the upper half of single precision: its range, 8 bits of mantissa",
  { { "value", 2, "upper 16 bits of a binary32" } })

layout("q4_0", "w = d * (q - 8)", "symmetric levels, one scale for 32: simple and fast", { d, nibbles })
layout("q4_1", "w = d * q + m", "a minimum besides the scale: for skewed blocks", { d, m, nibbles })
layout("q5_0", "w = d * (q - 16)", "q4_0 with a fifth bit", { d, { "qh", 4, "32 fifth bits" }, nibbles })
layout("q5_1", "w = d * q + m", "q4_1 with a fifth bit", { d, m, { "qh", 4, "32 fifth bits" }, nibbles })
layout("q8_0", "w = d * q", "8-bit levels: nearly lossless", { d, { "qs", 32, "32 levels of 8 bits, signed" } })
layout("q8_1", "w = d * q", "activations: q8_0 with the sum of the block",
  { d, { "s", 2, "d times the sum of the levels" }, { "qs", 32, "32 levels of 8 bits, signed" } })
layout("q1_0", "w = bit ? d : -d", "one bit a weight, for models trained so", { d, { "qs", 16, "128 signs" } })
layout("q2_0", "w = d * (q - 1)", "two bits a weight, for models trained so", { d, { "qs", 16, "64 levels of 2 bits" } })

layout("mxfp4", "w = value[q] * 2^(e - 127)", "4-bit floats with a power of two as scale (OCP MX)",
  { { "e", 1, "exponent of the scale" }, { "qs", 16, "32 floats of 4 bits: 0 0.5 1 1.5 2 3 4 6 and negative" } })
layout("nvfp4", "w = value[q] * d", "4-bit floats in groups of 16 with an 8-bit float as scale",
  { { "d", 4, "4 scales, 8-bit floats (e4m3)" }, { "qs", 32, "64 floats of 4 bits" } })

layout("tq1_0", "w = d * (q - 1)", "ternary, five weights in a byte", { { "qs", 48, "240 ternary digits, 5 in a byte" },
  { "qh", 4, "16 ternary digits" }, d })
layout("tq2_0", "w = d * (q - 1)", "ternary, two bits a weight", { { "qs", 64, "256 levels of 2 bits" }, d })

layout("q2_K", "w = d * scale * q - dmin * min", "k-quant: scales and minima of 16 sub-blocks are quantized too",
  { { "scales", 16, "16 scales and 16 minima of 4 bits" }, { "qs", 64, "256 levels of 2 bits" }, d, dmin })
layout("q3_K", "w = d * (scale - 32) * (q - 4)", "k-quant: symmetric levels, 16 sub-blocks",
  { { "hmask", 32, "256 third bits" }, { "qs", 64, "256 levels, low 2 bits" }, { "scales", 12, "16 scales of 6 bits" }, d })
layout("q4_K", "w = d * scale * q - dmin * min", "k-quant: 8 sub-blocks of 32; the work horse",
  { d, dmin, { "scales", 12, "8 scales and 8 minima of 6 bits" }, { "qs", 128, "256 levels of 4 bits" } })
layout("q5_K", "w = d * scale * q - dmin * min", "q4_K with a fifth bit",
  { d, dmin, { "scales", 12, "8 scales and 8 minima of 6 bits" }, { "qh", 32, "256 fifth bits" },
    { "qs", 128, "256 levels, low 4 bits" } })
layout("q6_K", "w = d * scale * (q - 32)", "k-quant: nearly lossless; what sensitive tensors get",
  { { "ql", 128, "256 levels, low 4 bits" }, { "qh", 64, "256 levels, high 2 bits" },
    { "scales", 16, "16 scales of 8 bits, signed" }, d })
layout("q8_K", "w = d * q", "activations for k-quants", { { "d", 4, "scale, single precision" },
  { "qs", 256, "256 levels of 8 bits, signed" }, { "bsums", 32, "16 sums of 16 levels" } })

layout("iq2_xxs", "w = d * (scale + 0.5) / 4 * grid * sign", "groups of 8 weights are points of a grid; needs importance",
  { d, { "qs", 64, "8 x (4 grid indices of 8 bits, 28 sign bits, 4-bit scale)" } })
layout("iq2_xs", "w = d * (scale + 0.5) / 4 * grid * sign", "a finer grid than iq2_xxs; needs importance",
  { d, { "qs", 64, "32 x (9-bit grid index, 7 sign bits)" }, { "scales", 8, "16 scales of 4 bits" } })
layout("iq2_s", "w = d * (scale + 0.5) / 4 * grid * sign", "a grid of 1024 points",
  { d, { "qs", 64, "32 grid indices, low 8 bits; 32 x 8 signs" }, { "qh", 8, "32 grid indices, high 2 bits" },
    { "scales", 8, "16 scales of 4 bits" } })
layout("iq3_xxs", "w = d * (scale + 0.5) / 2 * grid * sign", "groups of 4 weights are points of a grid",
  { d, { "qs", 96, "64 grid indices of 8 bits; 8 x (28 sign bits, 4-bit scale)" } })
layout("iq3_s", "w = d * (1 + 2 scale) * grid * sign", "a grid of 512 points, all signs free",
  { d, { "qs", 64, "64 grid indices, low 8 bits" }, { "qh", 8, "64 ninth bits" }, { "signs", 32, "256 signs" },
    { "scales", 4, "8 scales of 4 bits" } })
layout("iq1_s", "w = d * (2 scale + 1) * (grid ± 1/8)", "ternary grid points with a shift; needs importance",
  { d, { "qs", 32, "32 grid indices, low 8 bits" }, { "qh", 16, "8 x (4 x 3 high index bits, 3-bit scale, sign of the shift)" } })
layout("iq1_m", "w = d * (2 scale + 1) * (grid ± 1/8)", "as iq1_s, a scale for every 16 weights",
  { { "qs", 32, "32 grid indices, low 8 bits" }, { "qh", 16, "32 x (3 high index bits, sign of the shift)" },
    { "scales", 8, "16 scales of 3 bits, and the half precision d in 4 parts" } })
layout("iq4_nl", "w = d * value[q]", "q4_0 with 16 uneven values, denser near zero", { d, nibbles })
layout("iq4_xs", "w = d * (scale - 32) * value[q]", "iq4_nl in super-blocks; the smallest good one",
  { d, { "scales_h", 2, "8 scales, high 2 bits" }, { "scales_l", 4, "8 scales, low 4 bits" },
    { "qs", 128, "256 levels of 4 bits" } })

local WIDTH = 64

-- Columns of each field: by its bytes, but wide enough for its name; in all no
-- more than there is room for, as far as the names allow.
local function widths(fields, bytes, room)
  local w, last = {}, #tostring(bytes)
  for scale = WIDTH, 1, -1 do
    local sum = #fields + last
    for i, f in ipairs(fields) do
      w[i] = math.max(#f[1] + 2, math.floor(f[2] / bytes * scale + 0.5))
      sum = sum + w[i]
    end
    if not room or sum <= room then break end
  end
  return w
end

local function centred(s, n)
  local left = math.floor((n - #s) / 2)
  return (" "):rep(left) .. s .. (" "):rep(n - #s - left)
end

--- The layout of a plain number type.
---@param t wane.TypeFacts
---@return wane.Layout
function M.plain(t)
  return { formula = "w = value", note = "plain numbers", fields = { { "value", t.bytes, t.name } } }
end

--- A drawing of the block: a bar of its fields with their offsets, and what
--- each holds.
---@param list { name: string, bytes: integer, content: string }[]
---@param room? integer  columns of the terminal
---@return string[] lines
function M.draw(list, room)
  local fields, bytes = {}, 0
  for i, f in ipairs(list) do
    fields[i] = { f.name, f.bytes, f.content }
    bytes = bytes + f.bytes
  end
  local w = widths(fields, bytes, room)
  local rule, bar, offsets, at = "+", "|", "", 0
  for i, f in ipairs(fields) do
    rule = rule .. ("-"):rep(w[i]) .. "+"
    bar = bar .. centred(f[1], w[i]) .. "|"
    offsets = offsets .. tostring(at) .. (" "):rep(w[i] + 1 - #tostring(at))
    at = at + f[2]
  end
  local lines = { rule, bar, rule, offsets .. tostring(bytes) }
  for _, f in ipairs(fields) do lines[#lines + 1] = ("  %-9s %3d bytes  %s"):format(f[1], f[2], f[3]) end
  return lines
end

return M
