--- The log of measured losses, so that a study that was stopped goes on.
local core = require "wane.core"

local M = {}

--- The key of a choice.
function M.key(tensor, type_name) return tensor .. "\t" .. type_name end

--- What measured losses depend on, as a line of text.
function M.identity(model, ids, corr_ids, n_ctx)
  local parts = { table.concat(ids, " "), table.concat(corr_ids, " "), tostring(n_ctx) }
  for i = 1, model.gguf:info().n_tensors do
    local t = model.gguf:tensor(i)
    parts[#parts + 1] = ("%s %s %s"):format(t.name, t.type, table.concat(t.shape, "x"))
    parts[#parts + 1] = model.gguf:read(i, 0, math.min(t.bytes, 4096)) -- enough to tell models apart
  end
  local digest = core.stream.digest(nil, table.concat(parts, "\n"))
  return "wane losses 1 " .. core.stream.digest_hex(digest)
end

--- The log of measured losses at `path`, open for more, and what an earlier run
--- found: a line each, tensor, type, loss, error.
function M.open(path, line)
  local done = {}
  if not path then return done end
  local f = io.open(path, "rb")
  local is_new = not f or f:seek "end" == 0
  if f then
    f:seek "set"
    local first = f:read "*l"
    for row in f:lines() do
      local a, b, kld, err = row:match "^([^\t]+)\t([^\t]+)\t(%S+)\t(%S+)\tend$"
      if a then done[M.key(a, b)] = { tonumber(kld), tonumber(err) } end
    end
    f:close()
    if not is_new and first ~= line then
      return nil, path .. ": its losses are of another model, text or size of chunks", "EDATA"
    end
  end
  local log, why = io.open(path, "ab")
  if not log then return nil, tostring(why), "EIO" end
  if is_new then log:write(line, "\n") end
  return done, log
end

return M
