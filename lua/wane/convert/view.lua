--- A checkpoint's directory where a GGUF file is wanted.
---
--- The checkpoint is converted without loss (each matrix in the float type that
--- it has; FP8 as bf16, blocks as they are) to a file in $TMPDIR or /tmp, which is
--- removed when it is no longer needed: a file of the checkpoint's size for that
--- time, but no more memory. wane.load, wane.quantize and wane.eval.compare do so
--- by themselves.
local M = {}

local file = require "wane.file"

--- Is that a checkpoint's directory?
---@param path any
---@return boolean
function M.is(path)
  return type(path) == "string" and file.kind(path) == "directory" and file.kind(path .. "/config.json") == "file"
end

-- A fresh name in the place for temporary files, kept by an empty file.
local function fresh(name)
  local kept = os.tmpname()
  local root = os.getenv "TMPDIR"
  if not root or root == "" then root = kept:match "^(.*)/[^/]*$" end
  return kept, ("%s/%s-%s.gguf"):format(root or ".", kept:match "([^/]+)$", name)
end

local View = {}
View.__index = View

--- Removes the file. May be called twice.
function View:close()
  if not self.path then return end
  os.remove(self.path)
  os.remove(self.kept)
  self.path = nil
end

-- Something whose end closes the view (tables of Lua 5.1 have none).
local function guard(view)
  local make = rawget(_G, "newproxy")
  local proxy = make and make(true)
  local meta = proxy and getmetatable(proxy) or {}
  meta.__gc = function() view:close() end
  return proxy or setmetatable({}, meta)
end

--- A GGUF file of a checkpoint: view.path, until view:close() or until nobody
--- knows the view.
---@param dir string
---@return { path: string, close: fun(self: table) }|nil
---@return string? message
---@return string? code
function M.open(dir)
  local kept, path = fresh(dir:gsub("/+$", ""):match "([^/]+)$" or "model")
  local ok, message, code = require "wane.convert" { from = dir, to = path, type = "keep" }
  if not ok then
    os.remove(kept)
    return nil, message, code
  end
  local view = setmetatable({ path = path, kept = kept }, View)
  local handle = setmetatable({ path = path }, { __index = { close = function() view:close() end } })
  handle.guard = guard(view)
  return handle
end

--- The model that load(path) makes of a view, which lives as long as it.
---@param dir string
---@param load fun(path: string): table?, string?, string?
function M.load(dir, load)
  local view, message, code = M.open(dir)
  if not view then return nil, message, code end
  local fine, model, why, kind = pcall(load, view.path)
  if not fine or not model then
    view:close()
    if not fine then error(model, 0) end
    return nil, why, kind
  end
  model.view = view
  return model
end

--- Calls f with options whose `key` is a file even where it was a directory.
---@param o any
---@param key string
---@param f fun(o: any): ...
function M.around(o, key, f)
  if type(o) ~= "table" or not M.is(o[key]) then return f(o) end
  local view, message, code = M.open(o[key])
  if not view then return nil, message, code end
  local copy = {}
  for k, v in pairs(o) do copy[k] = v end
  copy[key] = view.path
  local function done(fine, ...)
    view:close()
    if not fine then error((...), 0) end
    return ...
  end
  return done(pcall(f, copy))
end

return M
