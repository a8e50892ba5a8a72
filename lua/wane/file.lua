--- Whole files, in and out.
---
--- What it guarantees: `read` takes regular files only and never waits (a pipe,
--- a directory or a device is an error at once); `write` is durable: the final
--- name is absent, the old file, or the complete new one, also when the disk is
--- full or the machine stops; `can_write` tells before the work what `write`
--- would refuse after it. All return nil, "path: what", code when the world is
--- in the way.
---
---     local file = require "wane.file"
---     assert(file.can_write("report.html"))
---     local text = assert(file.read("corpus.txt"))
---     assert(file.write("report.html", make_report(text)))
local M = {}

local core = require "wane.core"
local options = require "wane.options"

local MAX_BYTES = 4 * 1024 * 1024 * 1024

local check_read = options.checker("file.read", { max_bytes = options.integer(0, 2 ^ 40) }, { max_bytes = MAX_BYTES })
local check_write = options.checker("file.write", { overwrite = "boolean" })
local check_can = options.checker("file.can_write", { overwrite = "boolean", bytes = options.bytes }, { bytes = 0 })

--- The whole content of a regular file.
---
---     local text, message, code = file.read("corpus.txt", { max_bytes = 2^30 })
---@param path string
---@param opts? { max_bytes?: integer }  4 GiB when absent; more is ELIMIT
---@return string|nil bytes
---@return string? message
---@return string? code
function M.read(path, opts)
  options.argument("file.read", "path", path, "path")
  opts = check_read(opts)
  return core.file.read(path, opts.max_bytes)
end

--- Writes a file that is there completely or not at all.
---
---     assert(file.write("report.json", json.encode(results), { overwrite = true }))
---@param path string
---@param bytes string
---@param opts? { overwrite?: boolean }  replace an existing file
---@return true|nil ok
---@return string? message
---@return string? code
function M.write(path, bytes, opts)
  options.argument("file.write", "path", path, "path")
  options.argument("file.write", "bytes", bytes, "string")
  opts = check_write(opts)
  return core.file.write(path, bytes, opts.overwrite or false)
end

--- Whether `write` would do: the directory is there and may be written, nothing
--- is in the way, the disk has room. Nothing is left behind.
---
---     local ok, message = file.can_write("model.gguf", { bytes = 5e9 })
---@param path string
---@param opts? { overwrite?: boolean, bytes?: integer }  bytes: what will be written
---@return true|nil ok
---@return string? message
---@return string? code
function M.can_write(path, opts)
  options.argument("file.can_write", "path", path, "path")
  opts = check_can(opts)
  return core.file.probe(path, opts.bytes, opts.overwrite or false)
end

--- What a path names: "file", "directory", "other" (a pipe, a device), or nil.
---
---     if file.kind "model.gguf" == "file" then load_it() end
---@param path string
---@return "file"|"directory"|"other"|nil
function M.kind(path)
  options.argument("file.kind", "path", path, "path")
  return core.file.kind(path)
end

return M
