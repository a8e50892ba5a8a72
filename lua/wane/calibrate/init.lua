--- Calibration: what a text says about which errors a model forgives.
---
---     local m = assert(wane.load "model-f16.gguf")
---     local im, coverage = wane.calibrate.imatrix(m, text)
---     assert(im:save "imatrix.gguf")
---     assert(wane.calibrate.gptq { from = "model-f16.gguf", to = "model.gguf",
---                                  recipe = "Q4_K_M", text = text })
local core = require "wane.core"
local file = require "wane.file"
local imatrix = require "wane.imatrix"
local importance = require "wane.quantize.importance"
local options = require "wane.options"
local pass = require "wane.calibrate.pass"

local M = {}

---@class wane.Coverage
---@field name string      tensor
---@field experts integer  1: an ordinary matrix
---@field tokens integer   rows seen, all experts together
---@field least integer    by the expert that saw the fewest
---@field unseen integer   experts that saw none: their importance is 1 everywhere
---@field few integer      experts that saw fewer rows than tell anything (64)

local a_model = options.type("a model (wane.load)", function(m) return type(m) == "table" and m.handle and m.gguf end)
local a_text = options.either("string", options.token_ids)

local imatrix_check = options.checker("calibrate.imatrix", {
  context = options.integer(2, 16777216), chunks = options.integer(1), first_chunk = options.integer(1), threads = options.threads,
  progress = "function", output = "boolean", resume = "any", dataset = "string", save = "path",
  save_every = options.integer(1),
}, { context = 512 })

-- The model and the text of a calibration, checked.
local function check_inputs(where, model, text)
  options.argument(where, "model", model, a_model)
  options.argument(where, "text", text, a_text)
end

-- Which matrices an importance matrix covers: those of the blocks, and the
-- output when asked for.
local function covered(names, with_output)
  local list = {}
  for _, name in ipairs(names) do
    if name:find "^blk%." or (with_output and name == "output.weight") then list[#list + 1] = name end
  end
  return list
end

-- Sums and counts of a tap as an importance matrix.
local function from_tap(tap, info)
  local entries = {}
  for i, item in ipairs(tap:items()) do
    local sums, counts = tap:squares(i), core.imatrix.pack(tap:counts(i))
    for _, name in ipairs(item.weights) do
      local have = entries[name]
      entries[name] = have and {
        sums = core.imatrix.add(have.sums, sums), counts = core.imatrix.add(have.counts, counts),
      } or { sums = sums, counts = counts }
    end
  end
  return imatrix.new(entries, info)
end

-- Was this matrix made from this model, in chunks of this size?
local function continues(before, model, n_ctx, with_output)
  local what = before.path or "imatrix"
  if before.chunk_size ~= 0 and before.chunk_size ~= n_ctx then -- legacy files do not say
    return nil, ("%s: made from chunks of %d tokens, cannot go on with chunks of %d"):format(
      what, before.chunk_size, n_ctx), "EFORMAT"
  end
  local wanted, g = {}, model.gguf
  for _, name in ipairs(covered(pass.matrices(model), with_output)) do wanted[name] = true end
  for _, name in ipairs(before:names()) do
    local i = g:find_tensor(name)
    local shape = i and g:tensor(i).shape
    if not wanted[name] or before:width(name) ~= shape[1] * (shape[3] or 1) then
      return nil, ("%s: entry %s does not fit %s: it was made for another model"):format(
        what, name, g:info().path), "EFORMAT"
    end
    wanted[name] = nil
  end
  local missing = next(wanted)
  if missing then return nil, ("%s: no entry for %s"):format(what, missing), "EFORMAT" end
  return true
end

--- What each tensor of an importance matrix has seen.
---
---     for _, c in ipairs(wane.calibrate.coverage(im)) do print(c.name, c.tokens) end
---@param im wane.Imatrix
---@return wane.Coverage[]
---@error anything but an importance matrix
function M.coverage(im)
  if not imatrix.is(im) then options.misuse("calibrate.coverage: im: want an importance matrix, got " .. options.shown(im)) end
  local list = {}
  for _, name in ipairs(im:names()) do
    local counts = im:counts(name)
    local c = { name = name, experts = #counts, tokens = 0, least = math.huge, unseen = 0, few = 0 }
    for _, n in ipairs(counts) do
      c.tokens, c.least = c.tokens + n, math.min(c.least, n)
      if n == 0 then c.unseen = c.unseen + 1 end
      if n > 0 and n < importance.FEW and #counts > 1 then c.few = c.few + 1 end
    end
    list[#list + 1] = c
  end
  return list
end

---@class wane.ImatrixOptions
---@field context integer?      tokens of a chunk (512)
---@field chunks integer?       most chunks
---@field first_chunk integer?  from 1
---@field threads integer?
---@field output boolean?       output.weight too
---@field resume wane.Imatrix|string|nil
---@field dataset string?       name of the text, for the file
---@field save string?          file to write
---@field save_every integer?
---@field progress (fun(p: table): boolean?)?  return false to cancel

--- Measures the importance of every input channel of every matrix: the sum of
--- squares of what meets it, as llama.cpp's llama-imatrix does, per expert
--- for mixtures of experts.
---
--- Work can be shared: `first_chunk` and `chunks` choose a piece of the text,
--- wane.imatrix.merge adds the results. `resume` (a matrix or a file made
--- from the first chunks of the same text) goes on after its last chunk;
--- `save` writes a file every `save_every` chunks (default 50) and at the end.
---
---     local im = assert(wane.calibrate.imatrix(model, text, { chunks = 1, context = 64 }))
---     assert(im:save("measured.gguf", { overwrite = true }))
---     im:close()
---@param model wane.Model
---@param text string|integer[]
---@param opts? wane.ImatrixOptions
---@return wane.Imatrix|nil matrix
---@return wane.Coverage[]|string coverage, or a message
---@return string? code
function M.imatrix(model, text, opts)
  check_inputs("calibrate.imatrix", model, text)
  opts = imatrix_check(opts)
  local n_ctx, before = opts.context, nil
  local first = opts.first_chunk or 1
  if opts.save then -- before the work: the directory, and that it may be written
    local ok, why, kind = file.can_write(opts.save, { overwrite = true })
    if not ok then return nil, why, kind end
  end
  if opts.resume then
    local message, code
    before = opts.resume
    if type(before) ~= "string" and not imatrix.is(before) then
      options.fail("calibrate.imatrix", "resume", "a file or an importance matrix", before)
    end
    if type(before) == "string" then
      before, message, code = imatrix.open(before)
      if not before then return nil, message, code end
    end
    first = first + before.chunks
    local ok, why, kind = continues(before, model, n_ctx, opts.output)
    if not ok then return nil, why, kind end
  end
  local most = opts.chunks and math.max(0, opts.chunks - (before and before.chunks or 0))
  local chunks, message, code = pass.chunks(model, text, n_ctx, first, most)
  if not chunks and before and code == "EDATA" then chunks = {} end -- all of the text was done before
  if not chunks then return nil, message, code end
  local names = covered(pass.matrices(model), opts.output)
  local info = { datasets = opts.dataset and { opts.dataset } or {}, chunks = 0, chunk_size = n_ctx }
  local result = before
  local function take(tap, n)
    local part = from_tap(tap, { datasets = info.datasets, chunks = n, chunk_size = n_ctx })
    if not result then
      result = part
    else
      local sum, why, kind = imatrix.merge { result, part }
      if not sum then return nil, why, kind end
      sum.datasets = #result.datasets > 0 and result.datasets or part.datasets
      result = sum
    end
    tap:reset()
    if opts.save then return result:save(opts.save, { overwrite = true }) end
    return true
  end
  if #chunks > 0 then
    local pending, every = 0, opts.save and opts.save_every or (opts.save and 50 or math.huge)
    local ok
    ok, message, code = pass.run({ model }, names, chunks, { squares = true, threads = opts.threads },
      function(taps, c, is_end)
        if not is_end then return true end
        pending = pending + 1
        if pending >= every or c == #chunks then
          local fine, why, kind = take(taps[1], pending)
          if not fine then return false, why, kind end
          pending = 0
        end
        if opts.progress then
          return opts.progress { done = c, total = #chunks, chunk = first + c - 1 }
        end
      end)
    if not ok then return nil, message, code end
  end
  return result, M.coverage(result)
end

local hessian_check = options.checker("calibrate.hessians", {
  context = options.integer(2, 16777216), chunks = options.integer(1), first_chunk = options.integer(1), threads = options.threads,
  tensors = options.list("string", 1), progress = "function", edges = "table", tame = "boolean",
}, { context = 512 })

--- Correlations X^T X of the inputs of matrices: name -> hessian. Memory: one
--- width x width float matrix per shared input, so `tensors` (names) chooses
--- what one pass collects. Experts have a list of hessians, one each.
---
---     local h = assert(wane.calibrate.hessians(model, text, { chunks = 1, context = 64, tensors = { "blk.0.attn_q.weight" } }))
---     print(h["blk.0.attn_q.weight"])
---@param model wane.Model
---@param text string|integer[]
---@param opts? { context: integer?, chunks: integer?, first_chunk: integer?, threads: integer?,
---  tensors: string[]?, progress: (fun(p: table): boolean?)?, edges: wane.Edges?, tame: boolean? }  edges: to go
---  through a model layer by layer, see calibrate/pass.lua; tame: rows of unusual power count less (calibrate/trust.lua)
---@return table<string, userdata|userdata[]>|nil
---@return string? message
---@return string? code
function M.hessians(model, text, opts)
  check_inputs("calibrate.hessians", model, text)
  opts = hessian_check(opts)
  local chunks, message, code = pass.chunks(model, text, opts.context, opts.first_chunk, opts.chunks)
  if not chunks then return nil, message, code end
  local result, items = {}, nil
  local ok
  ok, message, code = pass.run({ model }, opts.tensors or pass.matrices(model), chunks,
    { rows = true, threads = opts.threads, edges = opts.edges and { opts.edges } }, function(taps, c, is_end)
      local tap = taps[1]
      if not items then
        items = tap:items()
        for _, item in ipairs(items) do
          item.sums = {}
          for x = 1, item.experts do
            local h, why, kind = core.calib.hessian(item.width)
            if not h then return false, why, kind end
            item.sums[x] = h
          end
          for _, name in ipairs(item.weights) do
            result[name] = item.experts == 1 and item.sums[1] or item.sums
          end
        end
      end
      for i, item in ipairs(items) do
        for x = 1, item.experts do
          local rows = tap:rows(i, x)
          if rows then
            local counted = opts.tame and require("wane.calibrate.trust").tame(item, rows) or rows
            item.sums[x]:add(counted)
            if counted ~= rows then counted:close() end
            rows:close()
          end
        end
      end
      if is_end and opts.progress then return opts.progress { done = c, total = #chunks } end
    end)
  if not ok then return nil, message, code end
  return result
end

-- gptq, awq, learn, sensitivity: their own files, loaded when used.
return setmetatable(M, {
  __index = function(t, key)
    if key ~= "gptq" and key ~= "awq" and key ~= "learn" and key ~= "sensitivity" then return nil end
    local f = key == "sensitivity" and require("wane.calibrate.guide").sensitivity or require("wane.calibrate." .. key)
    rawset(t, key, f)
    return f
  end,
})
