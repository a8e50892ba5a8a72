--- Where an output came from: hashes of its sources in its metadata.
--
-- With provenance a file says by which recipe, from which source (SHA-256,
-- as sha256sum prints it) and with which importance it was made, and holds
-- one key per tensor: a digest of the source data, its type, the importance
-- and the new type. Equal keys mean equal results, so a later run may copy
-- the tensor (`reuse`), and `verify` can tell whether a source is the one.
local core = require "wane.core"
local file = require "wane.file"
local importance = require "wane.quantize.importance"
local options = require "wane.options"

local M = {}

local CHUNK = 4 * 1024 * 1024

--- The version of the encoders: part of every key. It changes when encoders
-- are changed to give other bytes.
M.ENCODERS = 1

--- SHA-256 of a file as 64 hex digits.
---
---     print(assert(require("wane.provenance").file_sha256(path)))
---@param path string
---@return string?
---@return string? message
---@return string? code
function M.file_sha256(path)
  if file.kind(path) ~= "file" then return file.read(path) end -- says what is wrong with it
  local f, msg = io.open(path, "rb")
  if not f then return nil, tostring(msg), "EIO" end
  local state = core.stream.sha256(nil, "")
  while true do
    local s, why = f:read(CHUNK)
    if not s then
      f:close()
      if why then return nil, path .. ": " .. why, "EIO" end
      return core.stream.sha256_hex(state)
    end
    state = core.stream.sha256(state, s)
  end
end

-- Digest state of a tensor's data.
local function tensor_digest(g, index, bytes)
  local state = core.stream.digest(nil, "")
  local off = 0
  while off < bytes do
    local n = math.min(CHUNK, bytes - off)
    local s, msg, code = g:read(index, off, n)
    if not s then return nil, msg, code end
    state = core.stream.digest(state, s)
    off = off + n
  end
  return core.stream.digest_hex(state)
end

-- What a digest looks like when nothing is read (dry runs: the sizes are right).
local BLANK, BLANK_SHA256 = ("0"):rep(32), ("0"):rep(64)

-- The key of a decision.
local function key_of(o, state, d)
  local data, msg, code = tensor_digest(state.g, d.index, d.bytes_from)
  if not data then return nil, msg, code end
  local weights = "none"
  if d.importance then
    local values
    values, msg, code = importance.values(state, d)
    if not values then return nil, msg, code end
    weights = core.stream.digest_hex(core.stream.digest(nil, values))
  end
  local text = table.concat({
    M.ENCODERS, data, d.from, d.to, table.concat(d.shape, "x"), weights, o.nonfinite or "error",
  }, " ")
  return core.stream.digest_hex(core.stream.digest(nil, text))
end

-- Tensors of the old file by name: number, type, shape and key.
local function old_tensors(g)
  local i = g:find_kv "wane.tensor_keys"
  local n = g:info().n_tensors
  if not i then return nil end
  local _, _, keys = g:kv(i)
  if type(keys) ~= "table" or #keys ~= n then return nil end
  local by_name = {}
  for k = 1, n do
    local t = g:tensor(k)
    by_name[t.name] = { index = k, type = t.type, bytes = t.bytes, key = keys[k] }
  end
  return by_name
end

-- Marks the tensors that the old file already has.
local function find_reusable(o, state, keys)
  local g, msg, code = core.gguf.open(o.reuse)
  if not g then return nil, msg, code end
  local old = old_tensors(g)
  if not old then
    g:close()
    state.plan.warnings[#state.plan.warnings + 1] =
      o.reuse .. ": was made without provenance, nothing can be reused"
    return true
  end
  state.reuse, state.reused = g, {}
  for i, d in ipairs(state.plan.tensors) do
    local t = old[d.name]
    state.reused[i] = d.from ~= d.to and t and t.key == keys[i] and t.type == d.to
      and t.bytes == d.bytes and t.index or false
  end
  return true
end

local function metadata(o, state, keys)
  local sums = {}
  local function sha256(path)
    if o.dry_run then return BLANK_SHA256 end
    return M.file_sha256(path)
  end
  for i, path in ipairs(state.g:info().shards) do
    local sum, msg, code = sha256(path)
    if not sum then return nil, msg, code end
    sums[i] = sum
  end
  local list = {
    { key = "wane.version", type = "u32", value = M.ENCODERS },
    { key = "wane.recipe", type = "string", value = state.plan.recipe },
    { key = "wane.source.sha256", type = "array", elem = "string", value = sums },
    { key = "wane.tensor_keys", type = "array", elem = "string", value = keys },
  }
  if state.imatrix then
    table.insert(list, 4, { key = "wane.imatrix.digest", type = "string", value = state.imatrix_digest })
    if type(o.imatrix) == "string" then
      local sum, msg, code = sha256(o.imatrix)
      if not sum then return nil, msg, code end
      table.insert(list, 4, { key = "wane.imatrix.sha256", type = "string", value = sum })
    end
    for _, e in ipairs(importance.recorded(o, state)) do list[#list + 1] = e end
  end
  return list
end

-- Computes keys and metadata for a prepared run and finds what can be
-- reused. Fills state.provenance, state.reuse, state.reused.
function M.collect(o, state)
  local keys = {}
  for i, d in ipairs(state.plan.tensors) do
    local key, msg, code = BLANK, nil, nil
    if not o.dry_run then key, msg, code = key_of(o, state, d) end
    if not key then return nil, msg, code end
    keys[i] = key
  end
  local ok, msg, code = true, nil, nil
  if o.provenance then
    state.provenance, msg, code = metadata(o, state, keys)
    if not state.provenance then return nil, msg, code end
  end
  if o.reuse and not o.dry_run then ok, msg, code = find_reusable(o, state, keys) end
  return ok, msg, code
end

--- What a file says about its making, or nil when it says nothing.
---
---     print((require("wane.provenance").read(path)))   --> nil
---@param path string
---@return { version: integer, recipe: string, sources: string[], imatrix: string? }?
---@return string? message
---@return string? code
function M.read(path)
  local g, msg, code = core.gguf.open(path)
  if not g then return nil, msg, code end
  local function value(key)
    local i = g:find_kv(key)
    if not i then return nil end
    local _, _, v = g:kv(i)
    return v
  end
  local p = {
    version = value "wane.version", recipe = value "wane.recipe", sources = value "wane.source.sha256",
    imatrix = value "wane.imatrix.sha256", tensor_keys = value "wane.tensor_keys",
  }
  g:close()
  if not p.recipe then return nil, path .. ": holds no provenance", "EFORMAT" end
  return p
end

-- Types of the tensors of a file by name, and digests of their data.
local function contents(path)
  local g, msg, code = core.gguf.open(path)
  if not g then return nil, msg, code end
  local list = {}
  for i = 1, g:info().n_tensors do
    local t = g:tensor(i)
    local digest
    digest, msg, code = tensor_digest(g, i, t.bytes)
    if not digest then
      g:close()
      return nil, msg, code
    end
    list[t.name] = { type = t.type, digest = digest }
    list[#list + 1] = t.name
  end
  g:close()
  return list
end

-- The files that were used must have the hashes that were recorded.
local function check_hash(path, want, what)
  local sum, msg, code = M.file_sha256(path)
  if not sum then return nil, msg, code end
  if sum ~= want then
    return nil, ("%s: is not the %s that was used (sha256 %s, want %s)"):format(path, what, sum,
      tostring(want)), "ECHANGED"
  end
  return true
end

local function check_inputs(p, o)
  local g, msg, code = core.gguf.open(o.from)
  if not g then return nil, msg, code end
  local shards = g:info().shards
  g:close()
  for i, path in ipairs(shards) do
    local ok
    ok, msg, code = check_hash(path, p.sources[i], "source")
    if not ok then return nil, msg, code end
  end
  if p.imatrix and not o.imatrix then
    return nil, "an imatrix was used: give it (imatrix = file)", "EFORMAT"
  end
  return not p.imatrix or check_hash(o.imatrix, p.imatrix, "imatrix")
end

local check_verify = options.checker("verify", {
  from = options.required "path", imatrix = "path", threads = options.threads, progress = "function",
})

-- A name beside `path` that nobody uses: what is there is the user's.
local function free_name(path)
  for i = 1, 1000 do
    local name = ("%s.verify-%d"):format(path, i)
    if not file.kind(name) and not file.kind(name .. ".part") then return name end
  end
  return nil, path .. ": a thousand files .verify-N are in the way", "EEXIST"
end

--- Makes a file again from its source, beside it under a free name that is
--- removed again, and compares every tensor.
---
---     print(assert(wane.verify("model.gguf", { from = "model-f16.gguf" })).tensors)
---@param path string  a file made with provenance
---@param o { from: string, imatrix: string?, threads: integer?, progress: function? }
---@return { tensors: integer, recipe: string }?  all is as recorded
---@return string? message  what differs
---@return string? code
function M.verify(path, o)
  options.argument("verify", "path", path, "path")
  o = check_verify(o)
  local p, msg, code = M.read(path)
  if not p then return nil, msg, code end
  local ok
  ok, msg, code = check_inputs(p, o)
  if not ok then return nil, msg, code end
  local old
  old, msg, code = contents(path)
  if not old then return nil, msg, code end
  local again, report
  again, msg, code = free_name(path)
  if not again then return nil, msg, code end
  report, msg, code = require "wane.quantize" {
    from = o.from, to = again, imatrix = o.imatrix, threads = o.threads, progress = o.progress,
    resume = false, allow_requantize = true,
    recipe = function(t) return old[t.name] and old[t.name].type or "keep" end,
  }
  if not report then return nil, msg, code end
  local new
  new, msg, code = contents(again)
  os.remove(again)
  if not new then return nil, msg, code end
  for _, name in ipairs(new) do
    if not old[name] or old[name].digest ~= new[name].digest then
      return nil, ("%s: tensor %s is not what its source gives"):format(path, name), "EDATA"
    end
  end
  return { tensors = #new, recipe = p.recipe }
end

return M
