--- Means with their standard errors, percentiles: what evaluations report.
local M = {}

---@class wane.Stats
---@field n integer
---@field mean number
---@field err number     standard error of the mean: sqrt(var / (n - 1)), as llama.cpp's tools define it
---@field min number
---@field max number

--- Statistics of a list of numbers.
---
---     stats.of({ 1, 2, 3 }).mean  --> 2
---@param values number[]
---@return wane.Stats
function M.of(values)
  local n, sum, squares = #values, 0, 0
  local min, max = math.huge, -math.huge
  for i = 1, n do
    local v = values[i]
    sum, squares = sum + v, squares + v * v
    if v < min then min = v end
    if v > max then max = v end
  end
  local mean = sum / n
  local var = math.max(0, squares / n - mean * mean)
  return { n = n, mean = mean, err = n > 1 and math.sqrt(var / (n - 1)) or 0, min = min, max = max }
end

--- A function p -> the p-quantile (0 to 1) of a list, linear between ranks.
---@param values number[]
---@return fun(p: number): number
function M.quantiles(values)
  local sorted = {}
  for i, v in ipairs(values) do
    sorted[i] = v
  end
  table.sort(sorted)
  return function(p)
    if #sorted == 0 then return 0 / 0 end
    local at = p * (#sorted - 1) + 1
    local i = math.min(math.floor(at), #sorted)
    local j = math.min(i + 1, #sorted)
    return sorted[i] + (at - i) * (sorted[j] - sorted[i])
  end
end

--- Rank correlation (Spearman) of two lists of equal length; ties share ranks.
---@param a number[]
---@param b number[]
---@return number
function M.spearman(a, b)
  local function ranks(v)
    local order, rank = {}, {}
    for i = 1, #v do
      order[i] = i
    end
    table.sort(order, function(x, y)
      if v[x] ~= v[y] then return v[x] < v[y] end
      return x < y
    end)
    local i = 1
    while i <= #order do
      local j = i
      while j < #order and v[order[j + 1]] == v[order[i]] do
        j = j + 1
      end
      for k = i, j do
        rank[order[k]] = (i + j) / 2
      end
      i = j + 1
    end
    return rank
  end
  local ra, rb, n = ranks(a), ranks(b), #a
  local mean, cov, va, vb = (n + 1) / 2, 0, 0, 0
  for i = 1, n do
    local x, y = ra[i] - mean, rb[i] - mean
    cov, va, vb = cov + x * y, va + x * x, vb + y * y
  end
  return cov / math.sqrt(va * vb)
end

return M
