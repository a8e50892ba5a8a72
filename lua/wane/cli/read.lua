--- What several commands share: reading a text, saying how far work has come.
local M = {}

--- The whole of a text file.
---@param path string
---@return string|nil text
---@return string? message
function M.text(path)
  local f, message = io.open(path, "rb")
  if not f then return nil, message end
  local text = f:read "*a"
  f:close()
  if not text then return nil, path .. ": cannot be read" end
  return text
end

--- A progress function of { stage or task =, done =, total = } for an output.
---@param out wane.Out
---@return fun(p: table)
function M.progress(out)
  return function(p)
    out.progress { done = p.done / math.max(1, p.total), text = ("%s %d of %d"):format(p.stage or p.task or "", p.done, p.total) }
  end
end

return M
