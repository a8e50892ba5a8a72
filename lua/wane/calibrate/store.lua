--- Finished tensors on their way into a file: a log that survives being
--- killed, and the GGUF file that wane.quantize takes them from.
local core = require "wane.core"

local M = {}
M.__index = M

local function digest(bytes) return core.stream.digest_hex(core.stream.digest(nil, bytes)) end

-- Reads what an earlier run with the same identity finished. A record is
--   name TAB type TAB bytes TAB digest NEWLINE data NEWLINE
-- and counts only when it is whole. Data stay in the file: `done` tells where.
local function read_log(f, identity)
  local done = {}
  if f:read "*l" ~= identity then return done, 0 end
  local good = f:seek()
  while true do
    local name, kind, n, sum = (f:read "*l" or ""):match "^([^\t]+)\t([^\t]+)\t(%d+)\t(%x+)$"
    if not name then break end
    local at, data = f:seek(), f:read(tonumber(n))
    if not data or #data ~= tonumber(n) or f:read(1) ~= "\n" or digest(data) ~= sum then break end
    done[name] = { kind = kind, at = at, n = #data }
    good = f:seek()
  end
  return done, good
end

--- Opens the log of a run that will make `to`.
---@param to string
---@param identity string   what the tensors depend on; another one starts over
---@param resume boolean
---@return table|nil store
---@return string? message
---@return string? code
function M.open(to, identity, resume)
  local path = to .. ".calibration"
  local line = "wane calibration 1 " .. digest(identity)
  local self = setmetatable({ path = path, done = {}, resumed = 0 }, M)
  local f, good = resume and io.open(path, "r+b"), 0
  if f then
    self.done, good = read_log(f, line)
    f:seek("set", good) -- what follows was not finished
    if good == 0 then f:close() end
  end
  if good == 0 then
    local message
    f, message = io.open(path, "w+b")
    if not f then return nil, tostring(message), "EIO" end
    f:write(line, "\n")
  end
  self.file, self.good = f, f:seek()
  f:flush()
  for _ in pairs(self.done) do self.resumed = self.resumed + 1 end -- a count
  return self
end

--- The bytes of a tensor that an earlier run finished in this type, or nil.
function M:load(name, kind)
  local t = self.done[name]
  if not t or t.kind ~= kind then return nil end
  self.file:seek("set", t.at)
  return self.file:read(t.n)
end

--- Notes a finished tensor; raises { msg, code } when the disk is full. What was
--- noted before stays good.
function M:save(name, kind, bytes)
  local f = self.file
  f:seek("set", self.good)
  local head = ("%s\t%s\t%d\t%s\n"):format(name, kind, #bytes, digest(bytes))
  local ok, why = f:write(head, bytes, "\n")
  if ok then ok, why = f:flush() end
  if not ok then error({ msg = ("%s: %s"):format(self.path, why), code = "EIO" }, 0) end
  self.done[name] = { kind = kind, at = self.good + #head, n = #bytes }
  self.good = f:seek()
end

--- Stops writing; `remove`: the result is complete.
function M:close(remove)
  if self.file then self.file:close() end
  self.file = nil
  if remove then os.remove(self.path) end
end

--- Writes finished tensors as a GGUF file.
---@param path string
---@param g userdata       source file: shapes
---@param finished table[] list of { name, type, bytes }
---@param load fun(name: string, kind: string): string?   the bytes of those without
---@return true|nil
---@return string? message
---@return string? code
function M.write(path, g, finished, load)
  local meta, list = assert(core.gguf.meta()), {}
  assert(meta:set("general.type", "string", "model"))
  for i, t in ipairs(finished) do
    list[i] = { name = t[1], type = t[2], shape = g:tensor(g:find_tensor(t[1])).shape }
  end
  local layout, msg, code = core.gguf.layout(meta, list)
  if not layout then return nil, msg, code end
  local w
  w, msg, code = core.gguf.writer(layout, 1, path, { overwrite = true })
  if not w then return nil, msg, code end
  for _, t in ipairs(finished) do
    local ok
    ok, msg, code = w:put(t[3] or load(t[1], t[2]))
    if not ok then
      w:abort()
      return nil, msg, code
    end
  end
  return w:commit()
end

return M
