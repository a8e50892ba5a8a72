--- One block of weights, printed as a textbook would.
local M = {}

--- A number in at most 7 significant digits.
local function num(v)
  if v ~= v or v == math.huge or v == -math.huge then return tostring(v) end
  return (("%.7g"):format(v))
end

--- Lines of a table: columns as wide as their widest cell, right-aligned.
local function columns(rows)
  local width, lines = {}, {}
  for _, row in ipairs(rows) do
    for c, cell in ipairs(row) do width[c] = math.max(width[c] or 0, #cell) end
  end
  for i, row in ipairs(rows) do
    local cells = {}
    for c, cell in ipairs(row) do cells[c] = (" "):rep(width[c] - #cell) .. cell end
    lines[i] = "  " .. table.concat(cells, "  ")
  end
  return table.concat(lines, "\n")
end

--- The sub-blocks: their columns, stored integers, scales and minima.
local function scales(b)
  local head = { "columns", "code", "scale" }
  if b.mins then head[4], head[5] = "min code", "min" end
  local rows = { head }
  for s = 1, b.n / b.sub do
    local from = b.column + (s - 1) * b.sub
    local row = { ("%d-%d"):format(from, from + b.sub - 1), num(b.scale_codes[s]), num(b.scales[s]) }
    if b.mins then row[4], row[5] = num(b.min_codes[s]), num(b.mins[s]) end
    rows[#rows + 1] = row
  end
  return columns(rows)
end

--- Each weight: level and value, and beside the source weight the error.
local function weights(b, w)
  local first = (b.row - 1) * b.cols + b.column - 1
  local rows = { w and { "column", "weight", "level", "value", "error" } or { "column", "level", "value" } }
  local sum, worst, at = 0, 0, 1
  for i = 1, b.n do
    local level = b.levels and num(b.levels[i]) or "-"
    local value, column = num(b.values[i]), ("%d"):format(b.column + i - 1)
    if w then
      local x = w[first + i]
      local err = b.values[i] - x
      sum = sum + err * err
      if math.abs(err) > worst then worst, at = math.abs(err), b.column + i - 1 end
      rows[i + 1] = { column, num(x), level, value, num(err) }
    else
      rows[i + 1] = { column, level, value }
    end
  end
  local text = columns(rows)
  if not w then return text end
  local rms = num(math.sqrt(sum / b.n))
  return ("%s\n  rms error %s, largest %s at column %d"):format(text, rms, num(worst), at)
end

--- The print-out of a block as wane.Blocks:block gives it, with n_blocks, cols
--- and bits_per_weight added; `w` (may be nil) is the encoded buffer.
---@param b table
---@param w? userdata
---@return string
function M.block(b, w)
  local size = b.bytes and (", %d bytes"):format(#b.bytes) or ""
  local bits = b.bits_per_weight and (", %s bits per weight"):format(num(b.bits_per_weight)) or ""
  local out = {
    ("%s, block %d of %d: row %d, columns %d-%d%s%s"):format(
      b.type, b.block, b.n_blocks, b.row, b.column, b.column + b.n - 1, size, bits),
  }
  if b.formula then out[#out + 1] = "  " .. b.formula end
  if b.scales then
    local many = b.sub < b.n
    out[#out + 1] = ("  %s = %s%s"):format("d", num(b.d), b.dmin
      and (",  %s = %s"):format(many and "dmin" or "m", num(b.dmin)) or "")
    if many then out[#out + 1] = scales(b) end
  end
  for _, line in ipairs(b.notes or {}) do out[#out + 1] = "  " .. line end
  out[#out + 1] = weights(b, w)
  return table.concat(out, "\n")
end

return M
