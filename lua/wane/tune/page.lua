--- The report of a training as a page: its losses, and what it took.
local charts = require "wane.eval.charts"
local frame = require "wane.eval.frame"
local report = require "wane.report"

-- One curve; `what` names it.
local function curve(r, what)
  return frame.card(what, "The thin line: each step's loss on what is trained on. The points: the loss on what is held out.",
    charts.curve(r.losses, r.held))
end

local function last(held) return held[#held] and held[#held].loss end

--- The page of a report of wane.tune, wane.tune.norms or wane.calibrate.learn.
---@param r table
---@param title string
---@return string
return function(r, title)
  local groups, parts = r.groups or { r }, {}
  local first = groups[1] and groups[1].held[1]
  local line = ("%s tensors, %s, %s"):format(report.count(r.tensors), report.seconds(r.seconds), report.bytes(r.bytes))
  if first then
    line = line .. (". Held out: %.4f nats per token before, %.4f after."):format(first.loss, r.after or last(groups[#groups].held))
  end
  parts[1] = frame.head(title, line)
  for k, g in ipairs(groups) do parts[#parts + 1] = curve(g, #groups > 1 and ("Losses of group %d"):format(k) or "Losses") end
  return frame.page(title, parts)
end
