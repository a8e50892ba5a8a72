--- What the jobs of wane.sweep do.
---
--- Each writes one file, whole or not at all (wane.file, wane.quantize). Numbers
--- of positions go from job to job as decimal texts that give the same doubles
--- back.
local M = {}

local core = require "wane.core"
local file = require "wane.file"
local json = require "wane.json"
local summary = require "wane.eval.summary"

local function load(path, threads, context) return require("wane").load(path, { threads = threads, context = context }) end

-- Token ids of a text of the plan; nil when it is not the text that was planned.
local function ids_of(vocab, planned)
  local text, message, code = file.read(planned.path)
  if not text then return nil, message, code end
  if core.stream.digest_hex(core.stream.digest(nil, text)) ~= planned.digest then
    return nil, planned.path .. ": this is not the text that was planned with", "EDATA"
  end
  return vocab:encode(text, { special = true })
end

-- The model of the plan.
local function reference(plan, threads)
  local m, message, code = load(plan.p.model.path, threads, plan.p.context)
  if not m then return nil, message, code end
  local parts, g = {}, m.gguf
  for i = 1, g:info().n_tensors do
    local t = g:tensor(i)
    parts[i] = ("%s %s %d"):format(t.name, t.type, t.bytes)
  end
  if core.stream.digest_hex(core.stream.digest(nil, table.concat(parts, "\n"))) ~= plan.p.model.digest then
    m:close()
    return nil, plan.p.model.path .. ": this is not the model that was planned with", "EDATA"
  end
  return m
end

-- Ids of a job's chunks.
local function slice(ids, job, context)
  local out = {}
  for i = (job.first - 1) * context + 1, (job.first - 1 + job.n) * context do out[#out + 1] = ids[i] end
  return out
end

--- Importance of some chunks.
function M.part(plan, job, threads)
  local m, message, code = reference(plan, threads)
  if not m then return nil, message, code end
  local im, ids
  ids, message, code = ids_of(m.vocab, plan.p.calibrate)
  if ids then
    im, message, code = require("wane.calibrate").imatrix(m, slice(ids, job, plan.p.context), { context = plan.p.context,
      threads = threads, dataset = plan.p.calibrate.path })
  end
  m:close()
  if not im then return nil, message, code end
  return im:save(job.output)
end

local function close_all(list)
  for _, x in ipairs(list) do x:close() end
end

--- The matrix of all parts, added in the order of the text.
function M.matrix(plan, job)
  local imatrix, list = require "wane.imatrix", {}
  for i, name in ipairs(job.needs) do
    local im, message, code = imatrix.open(plan.by_name[name].output)
    if not im then
      close_all(list)
      return nil, message, code
    end
    list[i] = im
  end
  local sum, message, code = imatrix.merge(list)
  if sum then
    sum.datasets = { plan.p.calibrate.path } -- once, not once for each part
    sum, message, code = sum:save(job.output)
  end
  close_all(list)
  return sum, message, code
end

--- One file of a shrunk model.
function M.model(plan, job, threads)
  local recipe, message, code = require("wane.sweep").recipe(job.recipe)
  if not recipe then return nil, message, code end
  return require "wane.quantize" { from = plan.p.model.path, to = job.to, recipe = recipe, threads = threads,
    imatrix = plan.p.calibrate and plan.folder .. "/imatrix.gguf" or nil,
    shard = plan.p.shards > 1 and { job.shard, plan.p.shards } or nil }
end

-- The first file of a candidate.
local function path_of(plan, r)
  local n = plan.p.shards
  return ("%s/%s%s.gguf"):format(plan.folder, plan.p.names[r], n > 1 and ("-00001-of-%05d"):format(n) or "")
end

--- What a candidate loses on some chunks, position by position.
function M.measure(plan, job, threads)
  local ref, message, code = reference(plan, threads)
  if not ref then return nil, message, code end
  local opened, found = { ref }, nil
  local ids
  ids, message, code = ids_of(ref.vocab, plan.p.text)
  if ids then
    opened[2], message, code = load(path_of(plan, job.of), threads, plan.p.context)
  end
  if opened[2] then
    found, message, code = require("wane.eval").divergence(ref, { opened[2] }, slice(ids, job, plan.p.context),
      { context = plan.p.context, threads = threads, positions = true })
  end
  close_all(opened)
  if not found then return nil, message, code end
  local out = {}
  for name, list in pairs(found[1].positions) do
    local texts = {}
    for i, v in ipairs(list) do texts[i] = ("%.17g"):format(v) end
    out[name] = table.concat(texts, " ")
  end
  return file.write(job.output, json.encode { first = job.first, n = job.n, positions = out } .. "\n")
end

-- ---- the report -------------------------------------------------------------------

local special = { nan = 0 / 0, ["-nan"] = 0 / 0, inf = math.huge, ["-inf"] = -math.huge }

-- Adds the lists of a measured part to `lists`.
local function read_part(job, lists)
  local text, message, code = file.read(job.output)
  if not text then return nil, message, code end
  local part = json.decode(text)
  local positions = type(part) == "table" and part.first == job.first and part.n == job.n and part.positions
  local n
  for _, name in ipairs(lists.names) do
    local before, values = #lists[name], type(positions) == "table" and positions[name]
    if type(values) ~= "string" then return nil, job.output .. ": this is no measured part", "EFORMAT" end
    for word in values:gmatch "%S+" do
      local v = tonumber(word) or special[word]
      if not v then return nil, ("%s: '%s' is no number"):format(job.output, word:sub(1, 40)), "EFORMAT" end
      table.insert(lists[name], v)
    end
    n = n or #lists[name] - before
    if #lists[name] - before ~= n then return nil, job.output .. ": lists of different lengths", "EFORMAT" end
  end
  return true
end

-- All parts of a candidate as one divergence.
local function gather(plan, r)
  local lists = { names = { "target" } }
  for _, f in ipairs(summary.FIELDS) do table.insert(lists.names, f) end
  for _, name in ipairs(lists.names) do lists[name] = {} end
  for _, job in ipairs(plan.jobs) do
    if job.kind == "measure" and job.of == r then
      local ok, message, code = read_part(job, lists)
      if not ok then return nil, message, code end
    end
  end
  local d = summary.of(lists)
  d.positions = lists
  return d
end

-- { name, bytes, bpw } of a file.
local function row_of(name, path)
  local g, message, code = core.gguf.open(path)
  if not g then return nil, message, code end
  local bytes, tensors, values = 0, 0, 0
  for _, b in ipairs(g:info().file_bytes) do bytes = bytes + b end
  for i = 1, g:info().n_tensors do
    local t = g:tensor(i)
    tensors, values = tensors + t.bytes, values + t.shape[1] * t.n_rows
  end
  g:close()
  return { name = name, bytes = bytes, bpw = 8 * tensors / values }
end

--- The comparison of all candidates: report.json last, beside it report.html,
--- .md, .csv and .txt.
function M.report(plan, job)
  local model, found = plan.p.model.path, {}
  local first, message, code = row_of(model:match "[^/\\]*$":gsub("%.gguf$", ""), model)
  if not first then return nil, message, code end
  local rows = { first }
  for r, name in ipairs(plan.p.names) do
    rows[r + 1], message, code = row_of(name, path_of(plan, r))
    if not rows[r + 1] then return nil, message, code end
    found[r], message, code = gather(plan, r)
    if not found[r] then return nil, message, code end
  end
  local vocab
  vocab, message, code = require("wane.vocab").open(model)
  if not vocab then return nil, message, code end
  local c = require("wane.eval.comparison").new()
  c.context, c.cpu = plan.p.context, { name = plan.p.isa }
  c:_add(rows, found, vocab, 192)
  vocab:close()
  for _, ending in ipairs { "html", "md", "csv", "txt", "json" } do
    local ok
    ok, message, code = c:save((job.output:gsub("json$", ending)))
    if not ok then return nil, message, code end
  end
  return true
end

return M
