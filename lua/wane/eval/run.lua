--- Running texts through models to be judged: chunks, contexts, lock-step.
local options = require "wane.options"

local M = {}

--- What judging functions take: models, texts, chunks.
M.model = options.model
M.text = options.either("string", options.token_ids)
M.context = options.integer(4, 16777216)

--- Checks the two arguments that all of them have.
---@param where string
function M.check_inputs(where, model, text)
  options.argument(where, "model", model, M.model)
  options.argument(where, "text", text, M.text)
end

--- Token ids of a text, or the list itself.
function M.tokens_of(model, text)
  if type(text) == "table" then return text end
  if not model.vocab then return nil, "the model has no usable tokenizer: " .. (model.vocab_error or "none in the file"), "EUNSUP" end
  return model.vocab:encode(text, { special = true })
end

--- Do two models speak of the same tokens, all of them? nil and a sentence when
--- not.
---@return boolean|nil same
---@return string? message
function M.same_vocabulary(a, b)
  local n, m = a:info().n_vocab, b:info().n_vocab
  if n ~= m then
    return nil, ("the models have different vocabularies: %s has %d tokens, %s %d"):format(
      a:info().path, n, b:info().path, m)
  end
  if not (a.vocab and b.vocab) or a.vocab.handle:digest() == b.vocab.handle:digest() then return true end
  for id = 0, math.min(a.vocab.n, b.vocab.n) - 1 do
    if a.vocab:text(id) ~= b.vocab:text(id) then
      return nil, ("the models have different vocabularies: token %d is %q in %s and %q in %s"):format(
        id, a.vocab:text(id), a:info().path, b.vocab:text(id), b:info().path)
    end
  end
  return nil, ("the models have different vocabularies: %s has %d tokens with a text, %s %d"):format(
    a:info().path, a.vocab.n, b:info().path, b.vocab.n)
end

--- Closes a list of contexts or models.
function M.close_all(list)
  for _, handle in ipairs(list) do
    handle:close()
  end
end

--- Chunks of n_ctx tokens whose second halves are scored, the first token of
--- each replaced by BOS where the vocabulary adds one: the definition of
--- llama.cpp's perplexity tool.
---@return integer[][]|nil chunks
---@return string? message
---@return string? code
function M.chunks_of(model, ids, n_ctx, most)
  local n = math.min(most or math.huge, math.floor(#ids / n_ctx))
  if n < 1 then
    return nil,
      ("text: %d tokens are fewer than one chunk of %d: give more text or a smaller context"):format(#ids, n_ctx),
      "EDATA"
  end
  local bos = model.vocab and model.vocab.add_bos and model.vocab.bos
  local chunks = {}
  for c = 1, n do
    local t = {}
    for i = 1, n_ctx do
      t[i] = ids[(c - 1) * n_ctx + i]
    end
    if bos then t[1] = bos end
    chunks[c] = t
  end
  return chunks
end

--- What may meet the matrices of a judged model (model:context).
M.activations = options.one_of { "float", "int8", "fp8" }

--- A context that can score chunks of n_ctx tokens.
---@param opts { threads: integer?, activations: string? }
function M.scoring_context(model, n_ctx, opts)
  return model:context { context = n_ctx, batch = math.min(n_ctx, 512), threads = opts.threads, activations = opts.activations }
end

-- The tokens of one step from `at` on, which wanted rows they have, and what
-- follows those: at most `batch` tokens, `out` of them wanted.
local function slice(chunk, at, first, batch, out)
  local last = math.min(#chunk - 1, at + batch - 1, math.max(at, first) + out - 1)
  local piece, want, targets = {}, {}, {}
  for i = at, last do
    piece[#piece + 1] = chunk[i]
    want[#want + 1] = i >= first
    if i >= first then targets[#targets + 1] = chunk[i + 1] end
  end
  return piece, want, targets
end

--- Calls visit(targets) after each step that has wanted logits: together the
--- positions first..n_ctx-1 of every context, in lock-step. Steps are as long
--- as batches allow, like those of any other prompt.
function M.run_chunk(contexts, chunk, visit)
  local first = math.floor(#chunk / 2) + 1 -- its logits predict token first + 1
  local batch, out = math.huge, math.huge
  for _, ctx in ipairs(contexts) do
    local info = ctx:info()
    batch, out = math.min(batch, info.n_batch), math.min(out, info.n_out)
    local ok, message, code = ctx:truncate(0)
    if not ok then return nil, message, code end
  end
  local at = 1
  while at < #chunk do
    local piece, want, targets = slice(chunk, at, first, batch, out)
    for _, ctx in ipairs(contexts) do
      local ok, message, code = ctx:step(piece, { want = want })
      if not ok then return nil, message, code end
    end
    if #targets > 0 then visit(targets) end
    at = at + #piece
  end
  return true
end

return M
