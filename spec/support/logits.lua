--- Reading the conformance data of logits/, and comparing rows.
local M = {}

local support = require "spec.support"
local core = require "wane.core"
local cjson = require "cjson"

--- A decoded JSON file of the conformance folder (or the spec is skipped).
function M.json(name)
  return cjson.decode(support.slurp(support.conformance(name)))
end

--- Raw float32 values as a buffer of `cols` columns.
function M.rows(name, cols)
  local bytes = support.slurp(support.conformance(name))
  return core.quant.buffer(#bytes / 4 / cols, cols, bytes)
end

--- The largest |a - b| of row i of a and row j of b (from 1); NaN counts as
--- infinite.
function M.row_diff(a, i, b, j, cols)
  local worst = 0
  local x, y = (i - 1) * cols, (j - 1) * cols
  for k = 1, cols do
    local d = math.abs(a[x + k] - b[y + k])
    if d ~= d then return math.huge end
    if d > worst then worst = d end
  end
  return worst
end

--- The id (from 0) of the largest value of row i.
function M.argmax(a, i, cols)
  local best, at = -math.huge, 0
  for k = 1, cols do
    local v = a[(i - 1) * cols + k]
    if v > best then best, at = v, k - 1 end
  end
  return at
end

--- How many of the tokens `want` a context chooses greedily, given the logits
--- of the first choice; stops as soon as a margin is below `margin`, counting
--- the rest as equal. Returns the number that agree.
function M.greedy(ctx, logits, row, want, margins, margin, cols)
  local id = M.argmax(logits, row, cols)
  for i = 1, #want do
    if margins[i] < margin then return #want end
    if id ~= want[i] then return i - 1 end
    if i < #want then
      logits = assert(ctx:eval { id })
      id = M.argmax(logits, 1, cols)
    end
  end
  return #want
end

return M
