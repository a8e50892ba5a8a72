--- Rows of a tensor to be written, made from rows of tensors that are there.
---
--- A source has a dtype, `cols` values a row, `rows` rows in all (of all matrices
--- together), and read(a, b): the bytes of rows a .. b, from 1. Sources are put
--- together from others, so that a permutation, a stack of experts or a slice
--- costs no memory beyond the rows in hand.
---
--- The source of an adapter's matrix is that of its B; `a` is the source of A,
--- whose columns are the matrix's (adapter.lua).
local M = {}

local core = require "wane.core"
local safetensors = require "wane.convert.safetensors"

-- A failure on its way out; caught by wane.convert.
local function fail(message, code) error({ msg = message, code = code or "EFORMAT" }, 0) end
M.fail = fail

--- The value, or its error on its way out.
local function check(value, message, code)
  if value == nil then fail(message, code) end
  return value
end
M.check = check

--- All rows of a tensor of the checkpoint; a vector is one row.
function M.of(checkpoint, t)
  local cols = t.shape[#t.shape] or 1
  local row = cols * t.size
  return {
    dtype = t.dtype, size = t.size, cols = cols, rows = cols == 0 and 0 or t.n / cols, shape = t.shape, name = t.name,
    read = function(a, b) return check(checkpoint:read(t, (a - 1) * row, (b - a + 1) * row)) end,
  }
end

local function like(s, over)
  local t = {
    dtype = s.dtype, size = s.size, cols = s.cols, rows = s.rows, shape = s.shape, name = s.name, read = s.read, a = s.a,
    factors = s.factors, narrow = s.narrow,
  }
  for k, v in pairs(over) do t[k] = v end
  return t
end

--- Row i is row map(i) of s.
function M.permuted(s, map, rows)
  return like(s, {
    rows = rows or s.rows,
    read = function(a, b)
      local parts, i = {}, a
      while i <= b do -- runs of neighbours are read at once
        local first = map(i)
        local n = 1
        while i + n <= b and map(i + n) == first + n do n = n + 1 end
        parts[#parts + 1] = s.read(first, first + n - 1)
        i = i + n
      end
      return table.concat(parts)
    end,
  })
end

--- Rows first .. first + n - 1 of s.
function M.slice(s, first, n)
  return like(s, { rows = n, read = function(a, b) return s.read(first + a - 1, first + b - 1) end })
end

-- A of sources that are stacked: theirs when they share it, else one below the other.
local function joined(list)
  local first, n = list[1].a, 0
  for _, s in ipairs(list) do
    if s.a then n = n + 1 end
    if s.a ~= first then first = nil end
  end
  if n == 0 or first then return first end
  if n < #list then fail(("tensor %s: the other parts' adapters are missing"):format(list[1].name)) end
  local parts = {}
  for i, s in ipairs(list) do parts[i] = s.a end
  return M.stacked(parts)
end

-- Factors of sources that are stacked (one a matrix), as they are for one source's parts.
local function factors_of(list)
  local first, out = list[1].factors, {}
  local same = true
  for _, s in ipairs(list) do
    same = same and s.factors == first
    for _, v in ipairs(s.factors or {}) do out[#out + 1] = v end
  end
  if same then return first end
  return out
end

--- The rows of all sources, one after the other.
function M.stacked(list)
  local starts, n = {}, 0
  for i, s in ipairs(list) do
    if s.cols ~= list[1].cols or s.dtype ~= list[1].dtype then
      fail(("tensors %s and %s cannot be joined: they differ in width or dtype"):format(list[1].name, s.name))
    end
    starts[i] = n
    n = n + s.rows
  end
  return like(list[1], {
    rows = n, a = joined(list), factors = factors_of(list),
    read = function(a, b)
      local parts = {}
      for i, s in ipairs(list) do
        local first, last = math.max(a - starts[i], 1), math.min(b - starts[i], s.rows)
        if first <= last then parts[#parts + 1] = s.read(first, last) end
      end
      return table.concat(parts)
    end,
  })
end

--- The same values in rows of another length.
function M.reshaped(s, cols)
  if s.a then fail(("tensor %s: its adapter has no rows of %d"):format(s.name, cols), "EUNSUP") end
  local n = s.rows * s.cols
  if n % cols ~= 0 then fail(("tensor %s: %d values do not make rows of %d"):format(s.name, n, cols)) end
  local whole
  return like(s, {
    cols = cols, rows = n / cols,
    read = function(a, b)
      if not whole then whole = s.read(1, s.rows) end
      return whole:sub((a - 1) * cols * s.size + 1, b * cols * s.size)
    end,
  })
end

--- Blocks of `width` values of each row in another order: block k is block
--- map(k) of the row, both from 1.
function M.columns(s, width, map)
  if s.a then return like(s, { a = M.columns(s.a, width, map) }) end
  if s.dtype == "NVFP4" then s = M.decoded(s) end
  local n = s.cols / width
  return like(s, {
    read = function(a, b)
      local bytes, parts, w = s.read(a, b), {}, width * s.size
      for r = 0, b - a do
        for k = 1, n do
          local at = r * s.cols * s.size + (map(k) - 1) * w
          parts[#parts + 1] = bytes:sub(at + 1, at + w)
        end
      end
      return table.concat(parts)
    end,
  })
end

--- Each matrix of `rows` rows turned: rows become columns. Holds one matrix.
function M.transposed(s, rows)
  if s.a then fail(("tensor %s: its adapter cannot be turned"):format(s.name), "EUNSUP") end
  local held, which
  local function matrix(k) -- its columns as rows
    if which == k then return held end
    local bytes, list = s.read(k * rows + 1, (k + 1) * rows), {}
    for c = 0, s.cols - 1 do
      local parts = {}
      for r = 0, rows - 1 do
        local at = (r * s.cols + c) * s.size
        parts[r + 1] = bytes:sub(at + 1, at + s.size)
      end
      list[c + 1] = table.concat(parts)
    end
    held, which = list, k
    return list
  end
  return like(s, {
    cols = rows, rows = s.rows / rows * s.cols,
    read = function(a, b)
      local parts = {}
      for i = a, b do
        local k = math.floor((i - 1) / s.cols)
        parts[#parts + 1] = matrix(k)[i - k * s.cols]
      end
      return table.concat(parts)
    end,
  })
end

--- FP8 rows times the scales of their blocks (or one scale for all), as F32.
---@param s table        a source of FP8
---@param scales table   a source of scales
---@param block integer[]?  rows and columns of a block; nil: one scale for all, or one a row
function M.scaled(s, scales, block)
  local values = check(safetensors.decode(scales.dtype, scales.read(1, scales.rows), scales.rows, scales.cols))
  local n = scales.rows * scales.cols
  local rows, cols, n_cols
  if block then
    rows, cols, n_cols = block[1], block[2], scales.cols
  else
    rows, cols, n_cols = n == 1 and math.max(s.rows, 1) or 1, s.cols, 1
    if n ~= 1 and n ~= s.rows then fail(("tensor %s: %d scales for %d rows"):format(s.name, n, s.rows)) end
  end
  return like(s, {
    dtype = "F32", size = 4, narrow = "bf16",
    read = function(a, b)
      local buffer = check(safetensors.decode(s.dtype, s.read(a, b), b - a + 1, s.cols))
      core.foreign.scale(buffer, values, rows, cols, n_cols, a - 1)
      local bytes = buffer:bytes()
      buffer:close()
      return bytes
    end,
  })
end

--- Rows of NVFP4: `packed` has two values a byte, the lower half byte first, and
--- `scales` one FP8 (E4M3) for 16 values; as GGUF's blocks of 64.
---@param packed table  a source of U8
---@param scales table  a source of F8_E4M3
function M.nvfp4(packed, scales)
  local cols = packed.cols * 2
  if packed.rows ~= scales.rows or scales.cols * 16 ~= cols then
    fail(("tensor %s: %dx%d scales for %dx%d values"):format(packed.name, scales.rows, scales.cols, packed.rows, cols))
  end
  if cols % 64 ~= 0 then
    fail(("tensor %s: rows of %d values; NVFP4 in GGUF wants a multiple of 64"):format(packed.name, cols), "EUNSUP")
  end
  return {
    dtype = "NVFP4", size = 36 / 64, cols = cols, rows = packed.rows, name = packed.name, shape = { packed.rows, cols },
    read = function(a, b) return core.foreign.nvfp4(packed.read(a, b), scales.read(a, b)) end,
  }
end

--- A source of blocks as F32.
function M.decoded(s)
  return like(s, {
    dtype = "F32", size = 4,
    read = function(a, b)
      local blocks = check(core.quant.blocks(s.dtype:lower(), s.read(a, b), b - a + 1, s.cols))
      local buffer = check(blocks:decode())
      local bytes = buffer:bytes()
      buffer:close()
      blocks:close()
      return bytes
    end,
  })
end

--- Two sources of gpt-oss's MXFP4 (packed: rows of 16 bytes; scales) as rows of
--- `cols` values of GGUF's blocks; `map` (from 0) chooses the rows.
function M.mxfp4(packed, scales, cols, rows, map)
  local per = cols / 32
  return {
    dtype = "MXFP4", cols = cols, rows = rows, name = packed.name,
    read = function(a, b)
      local parts = {}
      for i = a, b do
        local k = map and map(i - 1) or i - 1
        local p = packed.read(k * per + 1, (k + 1) * per)
        local flat = k * per -- scales have rows of their own length
        local first = math.floor(flat / scales.cols) + 1
        local row = scales.read(first, first)
        local at = flat % scales.cols
        parts[#parts + 1] = core.foreign.mxfp4(p, row:sub(at + 1, at + per))
      end
      return table.concat(parts)
    end,
  }
end

return M
