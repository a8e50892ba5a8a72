--- What several commands share: reading a text, saying how far work has come.
local file = require "wane.file"

local M = {}

--- The whole of a text file.
---@param path string
---@return string|nil text
---@return string? message
function M.text(path)
  return file.read(path)
end

--- Whether an output can be written: asked before the work that makes it.
---@param path string
---@param overwrite boolean?
---@return true|nil ok
---@return string? message
function M.can_write(path, overwrite)
  local ok, message, code = file.can_write(path, { overwrite = overwrite or false })
  if not ok and code == "EEXIST" then return nil, path .. ": exists (--overwrite replaces it)" end
  return ok, message
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
