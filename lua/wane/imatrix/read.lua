--- Importance matrices in files, GGUF or legacy: names, counts, and where the
--- sums are. Everything is checked against the file's size; values are not
--- looked at (wane.imatrix checks them).
---
--- Fields are those of a matrix: format, path, datasets, chunks, chunk_size,
--- order (names) and entries { n = values, matrices =, counts = bytes or number,
--- sums = function -> bytes }.
local core = require "wane.core"

local M = {}

local MAX_ENTRIES = core.limits().MAX_TENSORS
local MAX_NAME = core.limits().MAX_NAME_BYTES

--- Names go into messages with control characters escaped.
function M.shown(name)
  return (name:gsub("[^\32-\126]", function(c) return ("\\x%02x"):format(c:byte()) end))
end

local shown = M.shown

-- GGUF -----------------------------------------------------------------------

local function meta_value(g, key)
  local i = g:find_kv(key)
  if not i then return nil end
  local _, _, value = g:kv(i)
  return value
end

local function reader(g, i, bytes)
  return function() return g:read(i, 0, bytes) end
end

local function add_gguf_entry(im, g, name, sums_at, counts_at)
  local s, c = g:tensor(sums_at), g:tensor(counts_at)
  if s.type ~= "f32" or c.type ~= "f32" then
    return nil, ("entry %s: sums and counts must be f32"):format(shown(name))
  end
  local n, matrices = s.bytes / 4, c.bytes / 4
  if n % matrices ~= 0 then
    return nil, ("entry %s: %d sums do not divide by %d counts"):format(shown(name), n, matrices)
  end
  local counts, msg, code = g:read(counts_at, 0, c.bytes)
  if not counts then return nil, msg, code end
  im.entries[name] = { n = n, matrices = matrices, counts = counts, sums = reader(g, sums_at, s.bytes) }
  im.order[#im.order + 1] = name
  return true
end

--- What a GGUF matrix says, which stays open behind it.
---@return table? fields
---@return string? message
---@return string? code
function M.gguf(g, path)
  local im = {
    format = "gguf", path = path, entries = {}, order = {}, _g = g,
    datasets = meta_value(g, "imatrix.datasets"),
    chunks = tonumber(meta_value(g, "imatrix.chunk_count")) or 0,
    chunk_size = tonumber(meta_value(g, "imatrix.chunk_size")) or 0,
  }
  if type(im.datasets) ~= "table" then im.datasets = {} end
  local sums, counts, names = {}, {}, {}
  local n_tensors = g:info().n_tensors
  for i = 1, n_tensors do
    local name = g:tensor(i).name
    local base = name:match "^(.*)%.in_sum2$"
    if base then
      sums[base] = i
      names[#names + 1] = base
    else
      base = name:match "^(.*)%.counts$"
      if base then counts[base] = i end
    end
  end
  if #names == 0 then return nil, path .. ": holds no importance data", "EFORMAT" end
  for base in pairs(counts) do
    if not sums[base] then
      return nil, ("%s: entry %s has counts but no sums"):format(path, shown(base)), "EFORMAT"
    end
  end
  for _, base in ipairs(names) do
    if not counts[base] then
      return nil, ("%s: entry %s has sums but no counts"):format(path, shown(base)), "EFORMAT"
    end
    local ok, msg, code = add_gguf_entry(im, g, base, sums[base], counts[base])
    if not ok then return nil, code and msg or path .. ": " .. msg, code or "EFORMAT" end
  end
  return im
end

-- The legacy format ------------------------------------------------------------
--   i32 entries; each: i32 length, name, i32 calls, i32 n, n float32 (means
--   times calls); then, if the file goes on: i32 chunks, i32 length, dataset

local function i32_at(s)
  if not s or #s < 4 then return nil end
  local a, b, c, d = s:byte(1, 4)
  local v = a + b * 256 + c * 65536 + d * 16777216
  return v >= 2147483648 and v - 4294967296 or v
end

local function read_i32(f) return i32_at(f:read(4)) end

local function slice_reader(path, off, bytes)
  return function()
    local f, msg = io.open(path, "rb")
    if not f then return nil, tostring(msg), "ENOENT" end
    f:seek("set", off)
    local s = f:read(bytes)
    f:close()
    if not s or #s ~= bytes then return nil, path .. ": the file changed", "ECHANGED" end
    return s
  end
end

local function read_legacy_entry(f, im, path, file_bytes, k)
  local where = ("%s: entry %d: "):format(path, k)
  local len = read_i32(f)
  if not len then return nil, where .. "the file ends early", "ETRUNC" end
  if len < 1 or len > MAX_NAME then return nil, where .. ("name of %d bytes"):format(len), "ELIMIT" end
  local name, calls = f:read(len), read_i32(f)
  local n = calls and read_i32(f)
  if not n or not name or #name ~= len then return nil, where .. "the file ends early", "ETRUNC" end
  name = name:match "^[^%z]*"
  if n < 1 then return nil, where .. ("%d values"):format(n), "EFORMAT" end
  local off = f:seek()
  if n * 4 > file_bytes - off then
    return nil, where .. ("%d values, but the file ends early"):format(n), "ETRUNC"
  end
  if im.entries[name] then return nil, where .. shown(name) .. " appears twice", "EFORMAT" end
  f:seek("cur", n * 4)
  im.entries[name] = { n = n, matrices = 1, counts = calls, sums = slice_reader(path, off, n * 4),
    legacy = true }
  im.order[#im.order + 1] = name
  return true
end

--- What a legacy file says; its values are read when asked for.
---@return table? fields
---@return string? message
---@return string? code
function M.legacy(f, path)
  local im = { format = "dat", path = path, entries = {}, order = {}, datasets = {}, chunks = 0,
    chunk_size = 0 }
  local file_bytes = f:seek "end"
  f:seek "set"
  local n = read_i32(f)
  if not n or n < 1 then return nil, path .. ": neither a GGUF nor a legacy importance matrix", "EFORMAT" end
  if n > MAX_ENTRIES then return nil, ("%s: %d entries"):format(path, n), "ELIMIT" end
  for k = 1, n do
    local ok, msg, code = read_legacy_entry(f, im, path, file_bytes, k)
    if not ok then return nil, msg, code end
  end
  im.chunks = read_i32(f) or 0
  local len = read_i32(f)
  if len and len > 0 and len <= 65535 then im.datasets[1] = f:read(len) end
  return im
end

return M
