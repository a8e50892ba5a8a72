--- GGUF files: open, look, edit, split, merge, write.
---
---   local f = assert(gguf.open "model.gguf")
---   print(f.meta["general.architecture"], #f.tensors)
---   for _, key in ipairs(f:keys()) do print(key, f:type_of(key)) end
---   local t = f:tensor "token_embd.weight"
---   print(t.name, t.type, t.shape[1], #t:raw())
---   assert(f:write("edited.gguf", { set = { ["general.name"] = "Mine" } }))
---
--- Opening reads the header only; tensor data is read when asked for. What
--- the world does wrong (files, disks) comes back as nil, message, code;
--- misuse raises. Output files are crash-safe: they appear under their final
--- name complete or not at all.
local M = {}

local core = require "wane.core"
local keys = require "wane.keys"
local options = require "wane.options"

--- Bytes copied per call: short enough to keep a host responsive.
local CHUNK = 4 * 1024 * 1024

---@class wane.Tensor
---@field name string
---@field type string       e.g. "q4_K"
---@field type_id integer
---@field shape integer[]   shape[1] values a row
---@field n_rows integer
---@field row_bytes integer
---@field bytes integer
---@field off integer       from the start of its file
---@field shard integer     which file of a split, from 1
local Tensor = {}
Tensor.__index = Tensor
Tensor.__name = "wane.Tensor"

---@class wane.File
---@field path string
---@field version integer
---@field alignment integer
---@field shards string[]          paths of all files
---@field file_bytes integer[]     and their sizes
---@field meta table<string, any>  metadata by key, read-only; values are made
---  on first use and kept. 64-bit integers that Lua cannot hold are decimal
---  strings; nested arrays carry their element type in the field `elem`.
---@field tensors wane.Tensor[]    in file order, made on first use
local File = {}
File.__name = "wane.File"

--- Decoded rows as a float32 buffer: all, or rows first..last (from 1).
---
---     local w = assert(f:tensor("blk.0.attn_q.weight"):read(1, 4))   -- four rows
---     print(#w, w[1])
---@param first? integer
---@param last? integer
---@return userdata|nil buffer
---@return string? message
---@return string? code
function Tensor:read(first, last)
  if first ~= nil then options.argument("tensor:read", "first", first, options.integer(1, self.n_rows)) end
  if last ~= nil then options.argument("tensor:read", "last", last, options.integer(first or 1, self.n_rows)) end
  return core.quant.read(self._g, self._i, first, last)
end

--- Raw bytes as they lie in the file: all, or n bytes from byte `off` (from 0).
---
---     print(#assert(f:tensor("output_norm.weight"):raw(0, 16)))   --> 16
---@param off? integer
---@param n? integer
---@return string|nil bytes
---@return string? message
---@return string? code
function Tensor:raw(off, n)
  off = off or 0
  options.argument("tensor:raw", "off", off, options.integer(0, self.bytes))
  if n ~= nil then options.argument("tensor:raw", "n", n, options.integer(0, self.bytes - off)) end
  return self._g:read(self._i, off, n or self.bytes - off)
end

--- "token_embd.weight q4_K 256x2048"
function Tensor:__tostring()
  return ("%s %s %s"):format(self.name, self.type, table.concat(self.shape, "x"))
end

local function make_tensor(g, i)
  local t = g:tensor(i)
  t._g, t._i = g, i
  return setmetatable(t, Tensor)
end

--- The read-only view of metadata behind f.meta.
local function make_meta(g, n_kv)
  local cache = {}
  local function get(_, key)
    if cache[key] ~= nil then return cache[key] end
    local i = type(key) == "string" and g:find_kv(key)
    if not i then return nil end
    local _, _, value = g:kv(i)
    cache[key] = value
    return value
  end
  local function each(meta)
    local i = 0
    return function()
      i = i + 1
      if i <= n_kv then
        local key = g:key(i)
        return key, get(meta, key)
      end
    end
  end
  return setmetatable({}, {
    __index = get,
    __newindex = function() error("wane: metadata is read-only: use f:write(path, { set = ... })", 2) end,
    __len = function() return n_kv end,
    __pairs = each,
  })
end

--- Fields that cost something are made on first use.
function File.__index(f, name)
  if name == "tensors" then
    local list = {}
    for i = 1, rawget(f, "_n_tensors") do list[i] = make_tensor(f._g, i) end
    rawset(f, "tensors", list)
    return list
  end
  return File[name]
end

function File:__tostring()
  return ("wane.File (%s, %d tensors)"):format(self.path, self._n_tensors)
end

local check_open = options.checker("gguf.open", { one = "boolean", look = "boolean" })

--- Opens a file, or all files of a split model when `path` is one of them.
---
---     local f = assert(wane.gguf.open(path))
---     print(f.meta["general.architecture"], #f.tensors)   --> llama  75
---     f:close()
---@param path string
---@param opts? { one?: boolean, look?: boolean } one: this file alone, even of a split; look: to be looked at only:
---  tensors of types that wane does not know are listed too ("type 144 (unknown)"), nothing can be written from it
---@return wane.File|nil file
---@return string? message
---@return string? code
function M.open(path, opts)
  opts = check_open(opts)
  options.argument("gguf.open", "path", path, "path")
  local g, msg, code = core.gguf.open(path, opts.one, opts.look)
  if not g then return nil, msg, code end
  local info = g:info()
  return setmetatable({
    _g = g,
    _n_kv = info.n_kv,
    _n_tensors = info.n_tensors,
    _look = opts.look or nil,
    path = info.path,
    version = info.version,
    alignment = info.alignment,
    shards = info.shards,
    file_bytes = info.file_bytes,
    meta = make_meta(g, info.n_kv),
  }, File)
end

--- Closes the file; later use raises. Closing twice is fine.
---
---     f:close()
---@return true
---@error none; closing twice is fine
function File:close() return self._g:close() end
File.__close = File.close

--- The metadata keys in file order.
---
---     for _, key in ipairs(f:keys()) do print(key, f.meta[key]) end
---@return string[]
---@error after file:close
function File:keys()
  local list = {}
  for i = 1, self._n_kv do list[i] = self._g:key(i) end
  return list
end

--- Type of a key: "u32", "string", ...; for an array also its element type
--- and length. Nil when there is no such key.
---
---     print((f:type_of "llama.block_count"))   --> u32
---     print(f:type_of "tokenizer.ggml.tokens")   --> array  string  2048
---@param key string
---@return string|nil type
---@return string? elem
---@return integer? count
---@error after file:close; an unknown key gives nil
function File:type_of(key)
  options.argument("file:type_of", "key", key, "string")
  local i = self._g:find_kv(key)
  if not i then return nil end
  local _, kind, elem, count = self._g:key(i)
  return kind, elem, count
end

--- A tensor by name.
---
---     print(assert(f:tensor "output_norm.weight").bytes)   --> 1024
---@param name string
---@return wane.Tensor|nil tensor
---@return string? message
---@return string? code
function File:tensor(name)
  options.argument("file:tensor", "name", name, "string")
  local i = self._g:find_tensor(name)
  if not i then return nil, ("%s: no tensor '%s'"):format(self.path, name), "ENOENT" end
  local list = rawget(self, "tensors")
  return list and list[i] or make_tensor(self._g, i)
end

--- Reads all tensor data once and compares the files' size and times with
--- what they were at opening.
---
---     assert(f:verify())
---@param progress? fun(p: { bytes: integer, total: integer })
---@return true|nil ok
---@return string? message
---@return string? code
function File:verify(progress)
  if progress ~= nil then options.argument("file:verify", "progress", progress, "function") end
  local total, done = 0, 0
  for _, t in ipairs(self.tensors) do total = total + t.bytes end
  for i, t in ipairs(self.tensors) do
    local off = 0
    while off < t.bytes do
      local n = math.min(CHUNK, t.bytes - off)
      local bytes, msg, code = self._g:read(i, off, n)
      if not bytes then return nil, msg, code end
      off, done = off + n, done + n
      if progress then progress { bytes = done, total = total } end
    end
  end
  return self._g:check(true)
end

local function is_whole(v) return type(v) == "number" and v == math.floor(v) end

--- The type a plain Lua number gets when nothing else says: whole numbers are
--- integers.
local function number_type(v)
  if not is_whole(v) then return "f32" end
  if v < -2147483648 then return "i64" end
  if v < 0 then return "i32" end
  return v < 4294967296 and "u32" or "u64"
end

local function scalar_type(key, v)
  if type(v) == "string" then return "string" end
  if type(v) == "boolean" then return "bool" end
  if type(v) == "number" then return number_type(v) end
  error(("wane: key '%s': cannot store a %s"):format(key, type(v)), 0)
end

--- Element type of a list: that of its members; numbers are i32 or f32.
local function list_type(key, list)
  if list[1] == nil then
    error(("wane: key '%s': an empty array needs { type = 'array', elem = ... }"):format(key), 0)
  end
  if type(list[1]) ~= "number" then return scalar_type(key, list[1]) end
  for _, v in ipairs(list) do
    if not is_whole(v) then return "f32" end
    if v < -2147483648 or v > 2147483647 then return "i64" end
  end
  return "i32"
end

--- Puts one key into a metadata list. `value` is a plain value (a present key
--- keeps its type) or { type =, value = [, elem = ] }.
local function set_key(meta, key, value)
  local kind, elem
  if type(value) == "table" and value.type then
    kind, elem, value = value.type, value.elem, value.value
  else
    kind, elem = meta:has(key)
    local wants_list = type(value) == "table"
    if kind == nil or wants_list ~= (kind == "array") then
      kind, elem = wants_list and "array" or nil, nil
    end
    if kind == "array" then
      elem = elem or list_type(key, value)
    else
      kind = kind or scalar_type(key, value)
    end
  end
  return meta:set(key, kind, value, elem)
end

--- Applies `set` to a metadata list: either a list of { key, type, value [,
--- elem] } in order, or a map from key to value (new keys in the order of
--- their names).
local function set_all(meta, set)
  if set[1] ~= nil then
    for _, kv in ipairs(set) do
      local ok, msg, code = meta:set(kv[1], kv[2], kv[3], kv[4])
      if not ok then return nil, msg, code end
    end
    return true
  end
  for _, key in ipairs(keys.sorted(set)) do
    local ok, msg, code = set_key(meta, key, set[key])
    if not ok then return nil, msg, code end
  end
  return true
end

local check_split = options.checker("split", { bytes = options.integer(1), tensors = options.integer(1, 131072) })
local split_type = options.either(options.one_of { "keep" }, "table")
local version = options.integer(2, 3)

--- The part of the options that layouts understand.
local function layout_options(opts)
  local split = opts.split or {}
  if split == "keep" then return { version = opts.version, by_shard = true } end
  split = check_split(split)
  return { version = opts.version, split_bytes = split.bytes, split_tensors = split.tensors }
end

--- Writes and seals file k of a layout; its open writer goes into `writers`.
local function write_file(layout, k, name, opts, inputs, feed, writers)
  local w, msg, code = core.gguf.writer(layout, k, name, { overwrite = opts.overwrite, inputs = inputs })
  if not w then return nil, msg, code end
  writers[k] = w
  local file = layout:file(k)
  for i = file.first, file.first + file.n_tensors - 1 do
    local ok
    ok, msg, code = feed(w, i)
    if not ok then return nil, msg, code end
  end
  return w:seal()
end

--- Writes all files of a layout. feed(writer, i) puts the data of tensor i.
--- Every file is flushed before the first gets its final name.
local function write_all(layout, path, opts, inputs, feed, writers)
  local paths = {}
  for k = 1, layout:files() do
    local name, msg, code = layout:path(path, k)
    if not name then return nil, msg, code end
    paths[k] = name
    local ok
    ok, msg, code = write_file(layout, k, name, opts, inputs, feed, writers)
    if not ok then return nil, msg, code end
  end
  for _, w in ipairs(writers) do
    local ok, msg, code = w:commit()
    if not ok then return nil, msg, code end
  end
  return paths
end

--- The same, leaving no .part behind whatever fails, be it a callback.
local function write_files(layout, path, opts, inputs, feed)
  local writers = {}
  local ran, paths, msg, code = pcall(write_all, layout, path, opts, inputs, feed, writers)
  for _, w in ipairs(writers) do w:close() end
  if not ran then error(paths, 0) end
  return paths, msg, code
end

--- A feeder that copies tensor i from g in chunks and reports progress; `give`
--- may have other bytes for it.
local function copier(g, layout, n_tensors, progress, give)
  local total, done = 0, 0
  for i = 1, progress and n_tensors or 0 do total = total + layout:tensor(i).bytes end
  return function(w, i)
    local bytes, off = layout:tensor(i).bytes, 0
    if give then
      local data, msg, code = give(g:tensor(i).name)
      if data == nil then return nil, msg, code end
      if data then return w:put(data) end
    end
    while off < bytes do
      local n = math.min(CHUNK, bytes - off)
      local ok, msg, code = w:copy(g, i, off, n)
      if not ok then return nil, msg, code end
      off, done = off + n, done + n
      if progress then progress { bytes = done, total = total } end
    end
    return true
  end
end

--- The layout of a copy; unchanged copies keep even their padding.
local function copy_layout(f, meta, opts)
  local o = layout_options(opts)
  o.version = o.version or f.version
  local whole = #f.shards == 1 and not (o.split_bytes or o.split_tensors)
  if whole or o.by_shard then
    o.like = f._g
    o.by_shard = true
  end
  return core.gguf.layout(meta, f._g, o)
end

local check_file_write = options.checker("file:write", {
  set = "table", remove = options.list "string", overwrite = "boolean", split = split_type, version = version,
  progress = "function", give = "function",
})

--- Writes a copy: edited, split, merged or as it is (then byte-identical). A
--- split model becomes one file unless `split` says otherwise.
---
---     assert(f:write("edited.gguf", { set = { ["general.name"] = "Mine" }, overwrite = true }))
---@param path string
---@param opts? { set?: table, remove?: string[], overwrite?: boolean,
---  split?: "keep"|{ bytes?: integer, tensors?: integer }, version?: 2|3,
---  progress?: fun(p: { bytes: integer, total: integer }),
---  give?: fun(name: string): string|false|nil, string?, string? }  give: other bytes for a tensor, of its type and
---  shape; false: those it has; nil, message, code fails
---@return string[]|nil paths  the files written
---@return string? message
---@return string? code
function File:write(path, opts)
  options.argument("file:write", "path", path, "path")
  opts = check_file_write(opts)
  if self._look then return nil, self.path .. ": was opened to be looked at only", "EUNSUP" end
  local meta = assert(core.gguf.meta())
  local ok, msg, code = meta:copy(self._g)
  if not ok then return nil, msg, code end
  for _, key in ipairs(opts.remove or {}) do
    if not meta:remove(key) then options.misuse(("file:write: option 'remove': no key '%s'"):format(key)) end
  end
  ok, msg, code = set_all(meta, opts.set or {})
  if not ok then return nil, msg, code end
  local layout
  layout, msg, code = copy_layout(self, meta, opts)
  if not layout then return nil, msg, code end
  return write_files(layout, path, opts, { self._g }, copier(self._g, layout, self._n_tensors, opts.progress, opts.give))
end

--- A feeder for data given by the caller: a string, or a function that returns
--- the next chunk and in the end nil.
local function giver(tensors)
  return function(w, i)
    local data = tensors[i].data
    if type(data) == "string" then return w:put(data) end
    if type(data) ~= "function" then
      error(("wane: tensor '%s': data is a string or a function"):format(tensors[i].name), 0)
    end
    for chunk in data do
      local ok, msg, code = w:put(chunk)
      if not ok then return nil, msg, code end
    end
    return true
  end
end

local check_write = options.checker("gguf.write", {
  path = options.required "path", meta = "table", tensors = options.list "table", overwrite = "boolean",
  version = version, split = options.either("table"),
})

--- Writes a new file (or a split of several).
---
---     assert(wane.gguf.write { path = "one.gguf", overwrite = true, meta = { ["general.name"] = "one" },
---       tensors = { { name = "a", type = "f32", shape = { 2 }, data = ("\0"):rep(8) } } })
---@param spec { path: string, meta?: table, tensors?: table[], overwrite?: boolean,
---  version?: 2|3, split?: { bytes?: integer, tensors?: integer } }
---  meta: list of { key, type, value [, elem] } or map as in file:write;
---  tensors: list of { name =, type =, shape =, data = string|function }
---@return string[]|nil paths
---@return string? message
---@return string? code
function M.write(spec)
  options.argument("gguf.write", "spec", spec, "table")
  spec = check_write(spec)
  local meta = assert(core.gguf.meta())
  local ok, msg, code = set_all(meta, spec.meta or {})
  if not ok then return nil, msg, code end
  local tensors = spec.tensors or {}
  local layout
  layout, msg, code = core.gguf.layout(meta, tensors, layout_options(spec))
  if not layout then return nil, msg, code end
  return write_files(layout, spec.path, spec, nil, giver(tensors))
end

return M
