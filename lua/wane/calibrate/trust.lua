--- How far correlations that were seen on one text are trusted on others.
---
--- Rebuilding under H = X^T X makes errors of weights cancel along the
--- directions that the calibration text uses. On another kind of text the
--- directions differ and what cancelled adds up. Two measures against that:
---
--- * A row of X with many times the usual power (attention sinks, massive
---   activations: a few tokens whose input is 10,000 times the others') is
---   scaled down to CAP times the median, so that no single token decides.
--- * Off the diagonal H is multiplied by 1 - s. s is chosen for each input by
---   cross-validation: the text is cut in two halves, sampled rows of the
---   weights are rebuilt under one half's correlations and judged by the output
---   error on the other half, both ways. s = 1 keeps the diagonal alone: that
---   is an importance vector. Where even then the format's own encoder does
---   better on the other half, its blocks stay.
---
--- Nothing here looks at a text that the user did not give for calibration.
local core = require "wane.core"

local M = {}

--- A row counts for at most so many times the median power of the first chunk.
M.CAP = 8
--- Candidates for s. Text has a few thousand tokens: 0 fits all of them and is
--- never best on the other half.
M.STRENGTHS = { 0.1, 0.3, 0.6, 1 }
--- Rows of each weight that are tried.
M.SAMPLE = 24

local function median(list)
  table.sort(list)
  return list[math.floor(#list / 2) + 1]
end

local function to_list(buffer)
  local list = {}
  for i = 1, #buffer do list[i] = buffer[i] end
  return list
end

--- Rows of an input with the powerful ones scaled down. `item.limit` is set by
--- the first rows seen.
---@param item table   of a tap; limit is kept in it
---@param rows userdata buffer
---@return userdata rows  the same when nothing was to be done; else a new buffer
function M.tame(item, rows)
  local powers = core.calib.powers(rows)
  local list = to_list(powers)
  powers:close()
  if not item.limit then item.limit = M.CAP * median(to_list(list)) end
  local factors, any = {}, false
  for i, p in ipairs(list) do
    local f = 1
    if item.limit > 0 and p > item.limit then f, any = math.sqrt(item.limit / p), true end
    factors[i] = f
  end
  if not any then return rows end
  local f = core.quant.buffer(1, #factors, factors)
  local out = core.calib.scaled_rows(rows, f)
  f:close()
  return out
end

-- A copy of a Hessian, shrunk.
local function shrunk(h, n, s)
  local m = h:matrix()
  local copy, message, code = core.calib.hessian(n, m)
  m:close()
  if not copy then return nil, message, code end
  copy:shrink(s)
  return copy
end

-- n rows spread over w.
local function sample(w, cols, n)
  local rows = #w / cols
  if rows <= n then return w:rows(1, rows) end
  local parts = {}
  for k = 1, n do
    local at = math.floor((k - 1) * rows / n) + 1
    local b = w:rows(at, at)
    parts[k] = b:bytes()
    b:close()
  end
  return core.quant.buffer(n, cols, table.concat(parts))
end

-- Output error of the blocks that come out of rebuilding `w` under `fit`, on
-- the half `judge`; without fit: of the encoder's own, by importance.
local function error_on(judge, type_name, w, fit, importance)
  local q, message, code
  if fit then
    local bytes
    bytes, message, code = core.calib.rebuild(type_name, w, fit, { feedback = false, sweeps = 3 })
    if not bytes then return nil, message, code end
    q, message, code = core.quant.blocks(type_name, bytes, #w / #importance, #importance)
  else
    q, message, code = core.quant.encode(type_name, w, importance)
  end
  if not q then return nil, message, code end
  local back = q:decode()
  q:close()
  local e, why, kind = core.calib.error(w, back, judge)
  back:close()
  return e, why, kind
end

--- Chooses s for one input by its two halves and the weights that it meets.
---@param halves userdata[]  two Hessians
---@param cols integer  channels of the input
---@param weights { w: userdata, type: string }[]  float32 rows and target types
---@return number|nil s      nil: the encoder's own blocks do better
---@return table|string errors  relative errors by candidate, "plain" among them; or a message
---@return string? code
function M.choose(halves, cols, weights)
  local sums = { plain = 0 }
  for k in ipairs(M.STRENGTHS) do sums[k] = 0 end
  for side = 1, 2 do
    local fit, judge = halves[side], halves[3 - side]
    local importance = fit:diagonal()
    local parts, base = {}, {}
    for i, t in ipairs(weights) do
      parts[i] = sample(t.w, cols, M.SAMPLE)
      local e, message, code = error_on(judge, t.type, parts[i], nil, importance)
      if not e then return nil, message, code end
      base[i] = e
      if e > 0 then sums.plain = sums.plain + 1 end
    end
    for k, s in ipairs(M.STRENGTHS) do
      local h, message, code = shrunk(fit, cols, s)
      if not h then return nil, message, code end
      for i, t in ipairs(weights) do
        local e
        e, message, code = error_on(judge, t.type, parts[i], h, importance)
        if not e then return nil, message, code end
        if base[i] > 0 then sums[k] = sums[k] + e / base[i] end
      end
      h:close()
    end
    for _, p in ipairs(parts) do p:close() end
    importance:close()
  end
  local best = "plain"
  for k in ipairs(M.STRENGTHS) do
    if sums[k] < sums[best] then best = k end
  end
  return best ~= "plain" and M.STRENGTHS[best] or nil, sums
end

return M
