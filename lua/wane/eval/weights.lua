--- The weights of one tensor and what a format makes of them: a histogram,
--- and one block from close by with the values that its grid offers.
local core = require "wane.core"
local shrink = require "wane.eval.shrink"

local BINS, SHOWN = 96, 64

-- Counts of values between -edge and edge, what lies outside in the ends.
local function histogram(w, edge)
  local counts, rows, cols = {}, w:shape()
  for i = 1, BINS do counts[i] = 0 end
  for i = 1, rows * cols do
    local b = math.floor((w[i] + edge) / (2 * edge) * BINS) + 1
    b = math.max(1, math.min(BINS, b))
    counts[b] = counts[b] + 1
  end
  return counts
end

-- Distinct values in ascending order.
local function distinct(list)
  local sorted, out = {}, {}
  for i, v in ipairs(list) do sorted[i] = v end
  table.sort(sorted)
  for _, v in ipairs(sorted) do
    if v ~= out[#out] then out[#out + 1] = v end
  end
  return out
end

local function slice(w, row, n)
  local list, from = {}, (row - 1) * select(2, w:shape())
  for i = 1, n do list[i] = w[from + i] end
  return list
end

-- A row of about the usual magnitude, so that the block shown is not a freak.
local function usual_row(w)
  local rows, cols = w:shape()
  local norms, order = {}, {}
  local n = math.min(cols, SHOWN)
  for r = 1, math.min(rows, 256) do
    local sum = 0
    for _, v in ipairs(slice(w, r, n)) do sum = sum + v * v end
    norms[r], order[r] = sum, r
  end
  table.sort(order, function(a, b)
    if norms[a] ~= norms[b] then return norms[a] < norms[b] end
    return a < b
  end)
  return order[math.floor((#order + 1) / 2)]
end

-- The tensor to show: the named one, or the first in the middle of the model.
local function choose(list, name)
  if not name then return list[math.floor(#list / 2) + 1] end
  for _, e in ipairs(list) do
    if e.name == name then return e end
  end
end

-- Both versions of the tensor, decoded.
local function read_both(path, each, e)
  local data, message, code = each.data(e)
  if not data then return nil, message, code end
  local seen = data
  if data.decode then
    seen, message, code = data:decode()
    data:close()
    if not seen then return nil, message, code end
  end
  local g
  g, message, code = core.gguf.open(path)
  if not g then return nil, message, code end
  local w
  w, message, code = core.quant.read(g, g:find_tensor(e.name))
  g:close()
  if not w then return nil, message, code end
  return w, seen
end

---@class wane.Weights
---@field name string
---@field type string
---@field edge number        the histogram goes from -edge to edge
---@field counts integer[]
---@field row integer
---@field original number[]  weights of one block
---@field decoded number[]   what the format makes of them
---@field grid number[]      the values that occur in the block
---@field relative number    rms error over rms of the whole tensor

--- Reads one tensor of the reference and of the candidate.
---@param path string
---@param what any    a file, or anything that wane.eval.shrink takes
---@param opts { tensor?: string, imatrix?: any }
---@return wane.Weights|nil
---@return string? message
---@return string? code "ENOENT": the candidate does not change this tensor
return function(path, what, opts)
  local each, message, code = shrink.each(path, what, { imatrix = opts.imatrix })
  if not each then return nil, message, code end
  local e = choose(each.list, opts.tensor)
  if not e then
    each.close()
    return nil, ("no tensor %s is changed"):format(opts.tensor or "at all"), "ENOENT"
  end
  local w, seen
  w, seen, code = read_both(path, each, e)
  each.close()
  if not w then return nil, seen, code end
  local edge = math.max(4 * w:stats().std, 1e-30) -- a constant matrix has none
  local row, n = usual_row(w), math.min(select(2, w:shape()), SHOWN)
  local decoded = slice(seen, row, n)
  local result = {
    name = e.name, type = e.type, edge = edge, counts = histogram(w, edge), row = row,
    original = slice(w, row, n), decoded = decoded, grid = distinct(decoded),
    relative = core.quant.distance(w, seen).relative,
  }
  w:close()
  seen:close()
  return result
end
