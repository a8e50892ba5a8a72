--- Which level of shrinking to choose for a task, and why.
---
--- A level is a mix of llama.cpp. What a task needs is stated in bits per
--- weight: below `least` its results visibly suffer, above `enough` nothing is
--- gained that a reader would notice, and every byte costs speed. Large models
--- stand fewer bits than small ones.
local M = {}

--- Mixes worth choosing, largest first; the others are for special models.
M.names = {
  "F16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "IQ4_XS", "Q3_K_L", "Q3_K_M", "IQ3_S", "IQ3_XXS",
  "Q2_K", "IQ2_M", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S",
}

---@class wane.fit.Task
---@field least number   bits per weight
---@field enough number
---@field why string

---@type table<string, wane.fit.Task>
M.tasks = {
  classification = { least = 3.0, enough = 4.9,
    why = "a label is few tokens and the right one is usually far ahead, so much can be lost before it changes" },
  chat = { least = 4.2, enough = 5.8,
    why = "answers stay fluent down to about 4 bits; below, they contradict themselves" },
  writing = { least = 4.5, enough = 6.7,
    why = "long texts add up small errors, and rare words are lost first" },
  code = { least = 5.4, enough = 8.6,
    why = "one wrong token breaks a program, and names are rare tokens" },
}

--- In the order of the help.
M.task_names = { "classification", "chat", "writing", "code" }

--- How many bits fewer (or more) a model of this size stands.
---@param params number
---@return number
function M.size_bonus(params)
  if params >= 60e9 then return 1.2 end
  if params >= 25e9 then return 0.7 end
  if params >= 6e9 then return 0 end
  if params >= 1e9 then return -0.4 end
  return -0.8
end

local function size_note(params, bonus)
  if bonus > 0 then return ("a model of %.0f billion parameters stands %.1f bits less than a small one"):format(params / 1e9, bonus) end
  if bonus < 0 then return ("a model this small needs %.1f bits more than one of 7 billion parameters"):format(-bonus) end
end

--- Bits per weight below which a task suffers, and above which it gains nothing.
---@param task string
---@param params number
---@return number least
---@return number enough
function M.bounds(task, params)
  local want, bonus = M.tasks[task], M.size_bonus(params)
  return want.least - bonus, want.enough - bonus
end

--- A word about a level: nothing when it is enough for the task.
---@param bpw number
---@param task string
---@param params number
---@return string
function M.enough(bpw, task, params)
  return bpw < M.bounds(task, params) and "fewer bits than it wants" or ""
end

--- Chooses among levels, and says why.
---@param levels table[]   { name, bpw, fits, requires_imatrix, own }, largest first; own: the file as it is, quantized
---@param task string
---@param params number
---@return table|nil level
---@return string[] reasons
function M.pick(levels, task, params)
  local least, enough = M.bounds(task, params)
  local reasons = { ("%s: %s"):format(task, M.tasks[task].why) }
  reasons[#reasons + 1] = size_note(params, M.size_bonus(params))
  local largest, chosen
  for _, l in ipairs(levels) do
    if l.fits then
      largest = largest or l
      if not chosen and l.bpw <= math.max(enough, levels[#levels].bpw) then chosen = l end
    end
  end
  if not largest then
    reasons[#reasons + 1] = "nothing fits: take a smaller model, a shorter context, or a smaller type for the cache"
    return nil, reasons
  end
  chosen = chosen or largest
  if chosen.bpw < least then
    reasons[#reasons + 1] = ("%s is the largest that fits, but %.1f bits are below the %.1f that this task wants: "
      .. "a smaller model with more bits may serve better"):format(chosen.name, chosen.bpw, least)
  elseif chosen ~= largest then
    reasons[#reasons + 1] = ("larger levels fit too, but above %.1f bits there is little to gain, and each token "
      .. "reads all weights: fewer bytes are faster"):format(enough)
  else
    reasons[#reasons + 1] = ("%s is the largest level that fits"):format(chosen.name)
  end
  if levels[1].own and not chosen.own then
    reasons[#reasons + 1] = ("this file is quantized: %s loses less when it is made from what this one was made from"):format(chosen.name)
  end
  if chosen.requires_imatrix then reasons[#reasons + 1] = chosen.name .. " needs an importance matrix (wane imatrix)" end
  return chosen, reasons
end

return M
