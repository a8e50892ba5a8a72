--- One pass of a text through a model (or two in lock-step) with taps on the
--- inputs of matrices: what every calibration is made of.
local core = require "wane.core"

local M = {}

--- Cuts a text into chunks as llama.cpp's tools do: tokenized once, the first
--- token of each chunk replaced by BOS where the vocabulary adds one.
---@param model wane.Model
---@param text string|integer[] text, or token ids
---@param n_ctx integer tokens of a chunk
---@param first integer? number of the first chunk to use, from 1
---@param most integer? chunks to use
---@return integer[][]|nil chunks
---@return string? message
---@return string? code
function M.chunks(model, text, n_ctx, first, most)
  local ids = text
  if type(text) ~= "table" then
    if not model.vocab then return nil, "the model has no vocabulary: give token ids", "EUNSUP" end
    local message, code
    ids, message, code = model.vocab:encode(text, { special = true })
    if not ids then return nil, message, code end
  end
  local n = math.floor(#ids / n_ctx)
  first = first or 1
  if n < first then
    return nil, first == 1
      and ("text: %d tokens are fewer than one chunk of %d: give more text or a smaller context"):format(#ids, n_ctx)
      or ("text: it has %d chunks of %d tokens, there is no chunk %d (first_chunk)"):format(n, n_ctx, first), "EDATA"
  end
  local bos = model.vocab and model.vocab.add_bos and model.vocab.bos
  local chunks = {}
  for c = first, math.min(n, first - 1 + (most or n)) do
    local t = {}
    for i = 1, n_ctx do t[i] = ids[(c - 1) * n_ctx + i] end
    if bos then t[1] = bos end
    chunks[#chunks + 1] = t
  end
  return chunks, nil, nil, n
end

--- Names of the matrices of a model that have an input, in the order of its
--- program; `output` is among them.
---@param model wane.Model
---@return string[]
function M.matrices(model)
  local ctx = assert(model.handle:context { n_ctx = 8, n_batch = 1 })
  local all, names, seen = {}, {}, {}
  local g = model.gguf
  for i = 1, g:info().n_tensors do all[#all + 1] = g:tensor(i).name end
  local tap = assert(core.tap.open(ctx, all, {}))
  for _, item in ipairs(tap:items()) do
    for _, name in ipairs(item.weights) do
      if not seen[name] then names[#names + 1], seen[name] = name, true end
    end
  end
  tap:close()
  ctx:close()
  return names
end

---@class wane.Edges   how a model's pass is cut short, by prefixes of weights (core.tap)
---@field enter string?
---@field from userdata[]?   rows to enter with, one buffer a step, in order
---@field leave string?
---@field to userdata[]?     filled with the rows at that edge

-- One step of one model, between its edges.
local function step(ctx, tap, piece, edges, k)
  if edges and edges.enter then tap:enter(edges.from[k]) end
  local ok, message, code = ctx:step(piece, { want = "all" })
  if ok and edges and edges.leave then edges.to[k] = tap:left() end
  return ok, message, code
end

--- Runs chunks through models in lock-step, each with a tap on the named
--- weights, and calls visit(taps) after each chunk.
---@param models wane.Model[]
---@param names string[]
---@param chunks integer[][]
---@param opts { squares: boolean?, sizes: boolean?, rows: boolean?, threads: integer?, kv: string?, edges: wane.Edges[]? }
---@param visit fun(taps: userdata[], chunk: integer): boolean?, string?, string?  false stops
---@return boolean|nil done
---@return string? message
---@return string? code
function M.run(models, names, chunks, opts, visit)
  local n_ctx = #chunks[1]
  local batch = math.min(n_ctx, 512)
  local contexts, taps, edges, n_steps = {}, {}, opts.edges or {}, 0
  local function close()
    for _, t in ipairs(taps) do t:close() end
    for _, c in ipairs(contexts) do c:close() end
  end
  local function fail(message, code)
    close()
    return nil, message, code
  end
  for i, model in ipairs(models) do
    local ctx, message, code = model:context {
      context = n_ctx, batch = batch, outputs = batch, threads = opts.threads, kv = opts.kv,
    }
    if not ctx then return fail(message, code) end
    contexts[i] = ctx
    taps[i], message, code = core.tap.open(ctx.handle, names,
      { squares = opts.squares, sizes = opts.sizes, rows = opts.rows, stop = true,
        enter = edges[i] and edges[i].enter, leave = edges[i] and edges[i].leave })
    if not taps[i] then return fail(message, code) end
  end
  for c, chunk in ipairs(chunks) do
    for _, ctx in ipairs(contexts) do
      local ok, message, code = ctx:truncate(0)
      if not ok then return fail(message, code) end
    end
    for first = 1, n_ctx, batch do
      local piece = {}
      for i = first, math.min(first + batch - 1, n_ctx) do piece[#piece + 1] = chunk[i] end
      n_steps = n_steps + 1
      for i, ctx in ipairs(contexts) do
        local ok, message, code = step(ctx, taps[i], piece, edges[i], n_steps)
        if not ok then return fail(message, code) end
      end
      local fine, go_on, message, code = pcall(visit, taps, c, first + batch > n_ctx)
      if not fine then
        close()
        error(go_on, 0)
      end
      if go_on == false then return fail(message or "cancelled", code or "ECANCEL") end
    end
  end
  close()
  return true
end

return M
