--- Levels of a code book for the weights of a matrix: k numbers that make the
--- weighted squared distance to the nearest small.
local M = {}

local floor, abs = math.floor, math.abs

--- Points of the histogram that stands for the weights. Scaled weights lie in
--- a known range; more points than this change the levels by less than the
--- levels' own accuracy matters.
local BINS = 2048

--- Calls visit(scaled value, weight) for every weight of the matrix.
local function each(w, opts, visit)
  local rows, cols = w:shape()
  local block = opts.block or cols
  for r = 1, rows do
    local row = w:rows(r):table()
    for at = 1, cols, block do
      local part = {}
      for i = 1, block do part[i] = row[at + i - 1] end
      local scale = opts.scale(part)
      for i = 1, block do
        local v = scale > 0 and part[i] / scale or 0
        local weight = opts.importance and opts.importance[at + i - 1] or 1
        if v == v and abs(v) ~= math.huge then visit(v, weight) end
      end
    end
  end
end

--- The histogram: points (mean of a bin), weights; ascending, no empty bins.
local function histogram(w, opts)
  local lo, hi = math.huge, -math.huge
  each(w, opts, function(v) lo, hi = math.min(lo, v), math.max(hi, v) end)
  local mass, sum = {}, {}
  local width = hi > lo and (hi - lo) / BINS or 1
  each(w, opts, function(v, weight)
    local b = math.min(BINS, floor((v - lo) / width) + 1)
    mass[b] = (mass[b] or 0) + weight
    sum[b] = (sum[b] or 0) + weight * v
  end)
  local x, m = {}, {}
  for b = 1, BINS do
    if mass[b] and mass[b] > 0 then x[#x + 1], m[#m + 1] = sum[b] / mass[b], mass[b] end
  end
  if #x == 0 then x[1], m[1] = 0, 1 end
  return x, m
end

--- Running sums of m, m x and m x^2, so that the cost of putting points
--- i..j on one level is known at once.
local function running_sums(x, m)
  local s0, s1, s2 = { [0] = 0 }, { [0] = 0 }, { [0] = 0 }
  for i = 1, #x do
    s0[i] = s0[i - 1] + m[i]
    s1[i] = s1[i - 1] + m[i] * x[i]
    s2[i] = s2[i - 1] + m[i] * x[i] * x[i]
  end
  return s0, s1, s2
end

--- Exact k-means on a line: the best k groups of x[1..j] end in the best group
--- from some i on, and i only grows with j (divide and conquer over j).
local function kmeans(x, m, k)
  local n = #x
  local s0, s1, s2 = running_sums(x, m)
  local function cost(i, j)
    local a, b = s0[j] - s0[i - 1], s1[j] - s1[i - 1]
    local c = s2[j] - s2[i - 1] - b * b / a
    return c > 0 and c or 0
  end
  local best, start = {}, {}
  for j = 1, n do best[j] = cost(1, j) end
  for group = 2, k do
    local this, from = {}, {}
    local function solve(j0, j1, i0, i1)
      if j0 > j1 then return end
      local j = floor((j0 + j1) / 2)
      local least, at = math.huge, i0
      for i = math.max(i0, group), math.min(i1, j) do
        local c = best[i - 1] + cost(i, j)
        if c < least then least, at = c, i end
      end
      this[j], from[j] = least, at
      solve(j0, j - 1, i0, at)
      solve(j + 1, j1, at, i1)
    end
    solve(group, n, group, n)
    for j = 1, group - 1 do this[j] = 0 end
    best, start[group] = this, from
  end
  local levels, j = {}, n
  for group = k, 1, -1 do
    local i = group > 1 and start[group][j] or 1
    levels[group] = (s1[j] - s1[i - 1]) / (s0[j] - s0[i - 1])
    j = i - 1
  end
  return levels
end

--- Lloyd's iterations: each level moves to the mean of the points nearest to
--- it, until none moves.
local function lloyd(x, m, k)
  local n, levels = #x, {}
  local s0, s1 = running_sums(x, m)
  for i = 1, k do levels[i] = x[1] + (x[n] - x[1]) * (i - 0.5) / k end
  for _ = 1, 1000 do
    local moved, from = 0, 1
    for i = 1, k do
      local to = n
      if i < k then
        local edge = (levels[i] + levels[i + 1]) / 2
        to = from - 1
        while to < n and x[to + 1] < edge do to = to + 1 end
      end
      if to >= from then
        local mean = (s1[to] - s1[from - 1]) / (s0[to] - s0[from - 1])
        moved = math.max(moved, abs(mean - levels[i]))
        levels[i] = mean
      end
      from = to + 1
    end
    if moved < 1e-9 * (x[n] - x[1]) then break end
  end
  return levels
end

--- k levels, ascending, for the weights of w divided by their scales; fewer
--- when there are not that many different weights.
---@param w userdata
---@param k integer
---@param opts { method: string, importance?: number[], block?: integer, scale: function }
---@return number[]
function M.levels(w, k, opts)
  local x, m = histogram(w, opts)
  if #x <= k then return x end
  return opts.method == "lloyd" and lloyd(x, m, k) or kmeans(x, m, k)
end

return M
