--- Reading safetensors: one file, or the shards that an index names.
---
--- A file is 8 bytes with the length of a JSON header, the header (name ->
--- dtype, shape, data_offsets), then the data. What it guarantees: a header is
--- checked whole before a tensor is used (offsets inside the file, in order of
--- the header's claims without overlap, as long as dtype and shape say, known
--- dtypes); nothing is read but the header and the rows that are asked for; file
--- names come from the index only as plain names inside the directory.
---
---     local checkpoint = assert(require("wane.convert.safetensors").open "SmolLM2-135M")
---     for _, name in ipairs(checkpoint.names) do print(name, checkpoint.tensors[name].dtype) end
local M = {}
M.__index = M

local core = require "wane.core"
local file = require "wane.file"
local json = require "wane.json"

local MAX_HEADER = 100 * 1024 * 1024
local MAX_TENSORS = 131072

--- Bytes of a value, by dtype.
M.sizes = {
  F64 = 8, F32 = 4, F16 = 2, BF16 = 2, F8_E4M3 = 1, F8_E5M2 = 1, I64 = 8, I32 = 4, I16 = 2, I8 = 1, U8 = 1, BOOL = 1,
}

local function is_count(v) return type(v) == "number" and v >= 0 and v < 2 ^ 53 and v == math.floor(v) end

-- The description of one tensor, or nil and why not.
local function check_entry(name, e, data_bytes)
  if type(e) ~= "table" or type(e.dtype) ~= "string" or type(e.shape) ~= "table" or type(e.data_offsets) ~= "table" then
    return nil, "want dtype, shape and data_offsets"
  end
  local size = M.sizes[e.dtype]
  if not size then return nil, ("dtype %s is not known"):format(e.dtype) end
  local n, shape = 1, {}
  for i, d in ipairs(e.shape) do
    if not is_count(d) then return nil, ("dimension %d is not a count"):format(i) end
    if d > 0 and n > 2 ^ 48 / d then return nil, "too many values" end
    n, shape[i] = n * d, d
  end
  if #shape > 8 then return nil, ("%d dimensions"):format(#shape) end
  local first, last = e.data_offsets[1], e.data_offsets[2]
  if not (is_count(first) and is_count(last) and first <= last and last <= data_bytes) then
    return nil, ("data_offsets lie outside of the %d bytes of data"):format(data_bytes)
  end
  if last - first ~= n * size then
    return nil, ("%d bytes for %s values of %s"):format(last - first, table.concat(shape, "x"), e.dtype)
  end
  return { name = name, dtype = e.dtype, shape = shape, n = n, at = first, bytes = last - first, size = size }
end

-- No two tensors share bytes.
local function check_overlap(list)
  table.sort(list, function(a, b)
    if a.at ~= b.at then return a.at < b.at end
    return a.bytes < b.bytes
  end)
  for i = 2, #list do
    local a, b = list[i - 1], list[i]
    if a.at + a.bytes > b.at then return ("tensors %s and %s overlap"):format(a.name, b.name) end
  end
end

-- The header's length, little endian; nil when it is absurd.
local function header_length(bytes)
  if bytes:find("[^%z]", 5) then return nil end -- 4 GiB and more
  local n = 0
  for i = 4, 1, -1 do n = n * 256 + bytes:byte(i) end
  return n <= MAX_HEADER and n or nil
end

-- Opens one file into `self`.
local function add_file(self, path)
  local kind = file.kind(path)
  if kind ~= "file" then
    return nil, ("%s: %s"):format(path, kind and "not a regular file" or "no such file"), kind and "EARG" or "ENOENT"
  end
  local f, why = io.open(path, "rb")
  if not f then return nil, tostring(why), "EIO" end
  self.files[#self.files + 1] = f
  local function bad(fmt, ...) return nil, ("%s: %s"):format(path, fmt:format(...)), "EFORMAT" end
  local total = f:seek "end"
  f:seek "set"
  local head = f:read(8)
  if not head or #head < 8 then return nil, path .. ": header: the file ends at byte " .. total, "ETRUNC" end
  local n = header_length(head)
  if not n then return bad("header: longer than %d bytes", MAX_HEADER) end
  if n > total - 8 then
    return nil, ("%s: header: wants %d bytes, the file has %d"):format(path, n, total - 8), "ETRUNC"
  end
  local entries, message, code = json.decode(f:read(n) or "")
  if not entries then return nil, ("%s: header: %s"):format(path, message), code end
  local list = {}
  for name, e in pairs(entries) do -- sorted below
    if name ~= "__metadata__" then
      local t, problem = check_entry(name, e, total - 8 - n)
      if not t then return bad("tensor %s: %s", tostring(name), problem) end
      if self.tensors[name] then return bad("tensor %s is in another file too", name) end
      t.file, t.path, t.at = f, path, t.at + 8 + n
      self.tensors[name], list[#list + 1] = t, t
      if #list > MAX_TENSORS then return nil, path .. ": header: too many tensors", "ELIMIT" end
    end
  end
  local overlap = check_overlap(list)
  if overlap then return bad("%s", overlap) end
  return true
end

-- Names of the files of a checkpoint, sorted.
local function file_names(dir)
  local index = dir .. "/model.safetensors.index.json"
  if not file.kind(index) then return { "model.safetensors" } end
  local text, message, code = file.read(index, { max_bytes = MAX_HEADER })
  if not text then return nil, message, code end
  local map
  map, message, code = json.decode(text)
  if not map then return nil, index .. ": " .. message, code end
  if type(map) ~= "table" or type(map.weight_map) ~= "table" then return nil, index .. ": no weight_map", "EFORMAT" end
  local seen, list = {}, {}
  for _, name in pairs(map.weight_map) do -- sorted below
    if type(name) ~= "string" or not name:match "^[%w%._%-]+$" or name:match "^%." then
      return nil, ("%s: %s is not the name of a file of the directory"):format(index, json.encode(name)), "EFORMAT"
    end
    if not seen[name] then list[#list + 1] = name end
    seen[name] = true
  end
  if #list == 0 then return nil, index .. ": it names no files", "EFORMAT" end
  table.sort(list)
  return list, map.weight_map
end

--- Opens a checkpoint's weights.
---@param dir string
---@param file_name string?  the one file to read (default: model.safetensors, or what its index names)
---@return table|nil checkpoint  tensors: name -> { dtype, shape, n, bytes }; names, sorted; close()
---@return string? message
---@return string? code
function M.open(dir, file_name)
  local names, map, code = { file_name }, nil, nil
  if not file_name then names, map, code = file_names(dir) end
  if not names then return nil, map, code end
  local message
  local self = setmetatable({ dir = dir, files = {}, tensors = {}, names = {} }, M)
  for _, name in ipairs(names) do
    local ok
    ok, message, code = add_file(self, dir .. "/" .. name)
    if not ok then
      self:close()
      return nil, message, code
    end
  end
  for name in pairs(map or {}) do -- any order: the first that is lost
    if not self.tensors[name] then
      self:close()
      return nil, ("%s: tensor %s is in none of the files"):format(dir .. "/model.safetensors.index.json", tostring(name)), "EFORMAT"
    end
  end
  for name in pairs(self.tensors) do self.names[#self.names + 1] = name end
  table.sort(self.names)
  return self
end

--- Bytes first .. first + n - 1 of a tensor's data, from 0.
---@return string|nil
---@return string? message
---@return string? code
function M.read(_, t, first, n)
  t.file:seek("set", t.at + first)
  local bytes = n == 0 and "" or t.file:read(n)
  if bytes and #bytes == n then return bytes end
  return nil, ("%s: tensor %s: the file ends inside of it"):format(t.path, t.name), "ETRUNC"
end

function M:close()
  for _, f in ipairs(self.files) do f:close() end
  self.files = {}
end

-- GGUF's names of dtypes that it has.
local plain = { F32 = "f32", F16 = "f16", BF16 = "bf16" }
local foreign = { F8_E4M3 = "f8_e4m3", F8_E5M2 = "f8_e5m2", F64 = "f64", I32 = "i32", U8 = "u8" }

--- The type under which GGUF stores such bytes unchanged, or nil.
function M.plain_type(dtype) return plain[dtype] end

--- Values as a buffer of float32.
---@return userdata|nil buffer
---@return string? message
---@return string? code
function M.decode(dtype, bytes, rows, cols)
  if dtype == "F32" then return core.quant.buffer(rows, cols, bytes) end
  if plain[dtype] then
    local blocks, message, code = core.quant.blocks(plain[dtype], bytes, rows, cols)
    if not blocks then return nil, message, code end
    local b
    b, message, code = blocks:decode()
    blocks:close()
    return b, message, code
  end
  if foreign[dtype] then return core.foreign.decode(foreign[dtype], bytes, rows, cols) end
  return nil, ("values of dtype %s are no weights"):format(dtype), "EUNSUP"
end

return M
