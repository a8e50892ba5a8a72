--- Ready-made formats: levels from a code book, uniform levels, presets.
---
---   local f = quant.codebook { levels = 16, block = 32, fit = "kmeans" }
---   local g = quant.uniform { bits = 4, block = 128, symmetric = false }
---   print(w:error(f).relative, w:error(g).relative, w:error("nf4").relative)
---
--- Scales are kept as float32 and counted with 32 bits, zero points with as
--- many bits as a level.
local M = {}

local custom = require "wane.quant.custom"
local fit = require "wane.quant.fit"
local options = require "wane.options"

local floor, abs, max, min = math.floor, math.abs, math.max, math.min

local block_size, bits_type = options.integer(1, 16777216), options.number(0)
local check_per = options.one_of { "block", "channel", "tensor" }
local check_uniform = options.checker("quant.uniform", {
  name = "string", bits = options.integer(2, 16), block = block_size, symmetric = "boolean", per = check_per,
}, { bits = 4, per = "block", symmetric = false })
local check_codebook = options.checker("quant.codebook", {
  name = "string", levels = options.either(options.integer(2, 4096), options.list("number", 2)), block = block_size,
  fit = options.one_of { "kmeans", "lloyd" }, per = check_per, scale = options.one_of { "absmax", "none" }, bits = bits_type,
}, { levels = 16, per = "block", scale = "absmax" })

--- To the nearest integer, halves to even.
local function round(v)
  local r = floor(v + 0.5)
  if r - v == 0.5 and r % 2 == 1 then r = r - 1 end
  return r
end

--- Largest magnitude of a list.
local function absmax(list)
  local m = 0
  for i = 1, #list do m = max(m, abs(list[i])) end
  return m
end

--- Values per scale for `per`, and its share of the bits per weight; a scale
--- per row or matrix costs nothing worth counting.
local function span(per, block, scale_bits)
  if per == "block" then return block, scale_bits / block end
  return nil, 0
end

-- ---------------------------------------------------------------------------

--- Scale and zero point for values from lo to hi.
local function uniform_grid(lo, hi, bits, symmetric)
  if symmetric then
    local top = 2 ^ (bits - 1) - 1
    return { scale = max(abs(lo), abs(hi)) / top, zero = 0, lowest = -top, highest = top }
  end
  local top = 2 ^ bits - 1
  lo, hi = min(lo, 0), max(hi, 0)
  local scale = (hi - lo) / top
  return { scale = scale, zero = scale > 0 and round(-lo / scale) or 0, lowest = 0, highest = top }
end

local function range(list)
  local lo, hi = list[1], list[1]
  for i = 2, #list do lo, hi = min(lo, list[i]), max(hi, list[i]) end
  return lo, hi
end

---@class wane.UniformOptions
---@field bits integer?         2 to 16; 4 when absent
---@field block integer?        128 when absent
---@field symmetric boolean?
---@field per? "block"|"channel"|"tensor"
---@field name string?

--- Round to nearest with uniform levels. Symmetric: levels -(2^(bits-1) - 1)
--- to 2^(bits-1) - 1 times a scale. Not symmetric (the default): levels 0 to
--- 2^bits - 1 with a scale and an integer zero point; zero is always exact.
--- One grid per block (default), channel (row) or tensor.
---
---   quant.uniform { bits = 4, block = 128, symmetric = false }
---   quant.uniform { bits = 8, per = "channel", symmetric = true, name = "w8" }
---@param opts wane.UniformOptions
---@return wane.CustomFormat
---@error options that exclude each other (block beside another per)
function M.uniform(opts)
  options.argument("quant.uniform", "options", opts, "table")
  opts = check_uniform(opts)
  local bits, per, symmetric = opts.bits, opts.per, opts.symmetric
  if per ~= "block" and opts.block then options.misuse "quant.uniform: option 'block' is for per = 'block'" end
  local block = per == "block" and (opts.block or 128) or nil
  local length, overhead = span(per, block, 32 + (symmetric and 0 or bits))
  return custom.define {
    name = opts.name or ("int%d-%s-%s"):format(bits, block or per, symmetric and "symmetric" or "affine"),
    block = length, bits = bits + overhead,
    prepare = per == "tensor" and function(w)
      local s = w:stats()
      return uniform_grid(s.min, s.max, bits, symmetric)
    end or nil,
    encode = function(row, _, whole)
      local g = whole
      if not g then
        local lo, hi = range(row)
        g = uniform_grid(lo, hi, bits, symmetric)
      end
      local code = { grid = g }
      for i = 1, #row do
        local q = g.scale > 0 and round(row[i] / g.scale) + g.zero or g.zero
        code[i] = max(g.lowest, min(g.highest, q))
      end
      return code
    end,
    decode = function(code, n)
      local out, g = {}, code.grid
      for i = 1, n do out[i] = (code[i] - g.zero) * g.scale end
      return out
    end,
    explain = function(code)
      local g = code.grid
      return code, { ("value = (level - %d) * scale, level = %d..%d"):format(g.zero, g.lowest, g.highest),
        ("scale = %.7g, zero point = %d"):format(g.scale, g.zero) }
    end,
  }
end

-- ---------------------------------------------------------------------------

--- The place of the level nearest to v; of two equally near, the one whose
--- number is even when the levels are counted from zero on: so floats round as
--- IEEE 754 says. `levels` ascend; levels.zero is the place of zero, or 0.
local function nearest(levels, v)
  local lo, hi = 1, #levels
  while hi - lo > 1 do
    local mid = floor((lo + hi) / 2)
    if levels[mid] <= v then lo = mid else hi = mid end
  end
  local below, above = v - levels[lo], levels[hi] - v
  if above < below or (above == below and (hi - levels.zero) % 2 == 0) then return hi end
  return lo
end

--- Notes where zero is (nearest above).
local function with_zero(levels)
  levels.zero = 0
  for i, v in ipairs(levels) do
    if v == 0 then levels.zero = i end
  end
  return levels
end

--- Explicit levels in ascending order.
local function given_levels(list)
  local levels = {}
  for i, v in ipairs(list) do levels[i] = v end
  table.sort(levels)
  return with_zero(levels)
end

---@class wane.CodebookOptions
---@field levels? integer|number[]   16 when absent
---@field block integer?             32 when absent
---@field fit? "kmeans"|"lloyd"
---@field per? "block"|"channel"|"tensor"
---@field scale? "absmax"|"none"
---@field name string?
---@field bits number?               per weight, for reports

--- Every weight becomes the nearest of a few levels times a scale. `levels` is
--- a list of them, or their number: then they are fitted to each matrix, with
--- importance as weights, by `fit`:
--- "kmeans": the best levels there are for the histogram (exact 1-D k-means);
--- "lloyd": Lloyd's iterations from evenly spread levels.
--- A scale is the largest magnitude of its block (row, matrix: per =
--- "channel", "tensor"), so that levels lie in -1..1; scale = "none" has none.
---
---   quant.codebook { levels = 16, block = 32, fit = "kmeans" }
---   quant.codebook { levels = { -1, 0, 1 }, block = 64, name = "three" }
---@param opts wane.CodebookOptions
---@return wane.CustomFormat
---@error options that exclude each other (fit beside levels, block beside another per)
function M.codebook(opts)
  options.argument("quant.codebook", "options", opts, "table")
  opts = check_codebook(opts)
  local fixed = type(opts.levels) == "table" and given_levels(opts.levels) or nil
  local k = fixed and #fixed or opts.levels
  if fixed and opts.fit then options.misuse "quant.codebook: option 'fit': levels are given, there is nothing to fit" end
  local method, per = opts.fit or "kmeans", opts.per
  if per ~= "block" and opts.block then options.misuse "quant.codebook: option 'block' is for per = 'block'" end
  local scaled = opts.scale == "absmax"
  local block = per == "block" and (opts.block or 32) or nil
  local length, overhead = span(per, block, scaled and 32 or 0)
  local top = fixed and absmax(fixed) or 1
  if top == 0 then options.misuse "quant.codebook: option 'levels': all are zero" end

  --- The scale of a list of values under the whole matrix' statistics.
  local function scale_of(values, whole)
    if not scaled then return 1 end
    return (per == "tensor" and whole.absmax or absmax(values)) / top
  end
  return custom.define {
    name = opts.name or ("codebook%d-%s-%s"):format(k, block or per, fixed and "fixed" or method),
    block = length, bits = opts.bits or math.log(k) / math.log(2) + overhead, uses_importance = not fixed,
    prepare = function(w, importance)
      local whole = { absmax = w:stats().absmax }
      whole.levels = fixed or with_zero(fit.levels(w, k, {
        method = method, importance = importance, block = length,
        scale = function(values) return scale_of(values, whole) end,
      }))
      return whole
    end,
    encode = function(row, _, whole)
      local code = { scale = scale_of(row, whole) }
      for i = 1, #row do
        code[i] = nearest(whole.levels, code.scale > 0 and row[i] / code.scale or 0)
      end
      return code
    end,
    decode = function(code, n, whole)
      local out = {}
      for i = 1, n do out[i] = whole.levels[code[i]] * code.scale end
      return out
    end,
    explain = function(code, n, whole)
      local levels = {}
      for i = 1, n do levels[i] = whole.levels[code[i]] end
      return levels, { ("value = scale * level, level = one of %d"):format(#whole.levels),
        ("scale = %.7g"):format(code.scale) }
    end,
  }
end

-- ---------------------------------------------------------------------------

--- The finite values of a small float: sign, exponent bits with this bias,
--- mantissa bits, and how many codes at the top of the positive ones are not
--- finite.
local function float_levels(exponent_bits, mantissa_bits, bias, n_special)
  local levels, steps = {}, 2 ^ mantissa_bits
  for code = 0, 2 ^ (exponent_bits + mantissa_bits) - 1 - n_special do
    local e, m = floor(code / steps), code % steps
    local v = e == 0 and m / steps * 2 ^ (1 - bias) or (1 + m / steps) * 2 ^ (e - bias)
    levels[#levels + 1] = v
    if v > 0 then levels[#levels + 1] = -v end
  end
  return levels
end

--- The 16 levels of NF4 (QLoRA): equal shares of a normal distribution.
local nf4 = {
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
  -0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
  0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
}

--- Formats that are always there, by name.
---@type table<string, wane.CustomFormat>
M.presets = {
  nf4 = M.codebook { name = "nf4", levels = nf4, block = 64 },
  fp8_e4m3 = M.codebook { name = "fp8_e4m3", levels = float_levels(4, 3, 7, 1), per = "channel", bits = 8 },
  fp8_e5m2 = M.codebook { name = "fp8_e5m2", levels = float_levels(5, 2, 15, 4), per = "channel", bits = 8 },
  int8 = M.uniform { name = "int8", bits = 8, per = "channel", symmetric = true },
  int4 = M.uniform { name = "int4", bits = 4, block = 32, symmetric = false },
}

return M
