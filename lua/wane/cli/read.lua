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

--- Texts, one for each argument, or a line each: of a file, or of standard
--- input where the only argument is "-".
---@param texts string[]
---@param path string?
---@return string[]|nil
---@return string? message
function M.lines(texts, path)
  local all, why
  if path and path ~= "-" then
    all, why = M.text(path)
    if not all then return nil, why end
  elseif path == "-" or #texts == 1 and texts[1] == "-" then
    all = io.read "*a"
  else
    return texts
  end
  local list = {}
  for line in all:gmatch "[^\r\n]+" do list[#list + 1] = line end
  return list
end

--- Values of metadata as they are typed, by the word before the colon.
M.overrides = {
  int = { "an integer", function(v) return v:match "^[+-]?%d+$" and (v:gsub("^%+", "")) end },
  float = { "a number", function(v) return tonumber(v) end },
  bool = { "true or false", function(v)
    if v == "true" or v == "false" then return v == "true" end
  end },
  str = { "a string", function(v) return v end },
}

--- { value = v } of a typed value; integers beyond 53 bits stay decimal text.
---@param where string   what messages begin with
---@param kind string    a key of M.overrides
---@param text string
---@return { value: any }|nil
---@return string? message
function M.override(where, kind, text)
  local v = M.overrides[kind][2](text)
  if v == nil then return nil, ("%s: the value '%s' is not %s"):format(where, text, M.overrides[kind][1]) end
  if kind == "int" then
    local n = tonumber(v)
    if n and math.abs(n) < 2 ^ 53 then v = n end
  end
  return { value = v }
end

--- A progress function of { bytes =, total = } for an output.
---@param out wane.Out
---@return fun(p: table)
function M.copying(out)
  return function(p)
    out.progress { done = p.bytes / math.max(1, p.total), n = p.bytes / 1048576, unit = "MiB", text = "" }
  end
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
