--- How far candidates have moved from a reference model.
local core = require "wane.core"
local options = require "wane.options"
local run = require "wane.eval.run"
local stats = require "wane.stats"
local summary = require "wane.eval.summary"

---@class wane.Divergence
---@field perplexity number       of the candidate
---@field perplexity_err number
---@field reference_perplexity number
---@field reference_perplexity_err number
---@field ratio number            perplexity / reference perplexity
---@field ratio_err number        paired: both saw the same tokens
---@field kld wane.Stats          mean, err, min, max in nats
---@field kld_quantile fun(p: number): number
---@field same_top number         share of positions with the same most likely token
---@field same_top_err number
---@field rms_dp number           root mean square of the target's probability change
---@field rms_dp_err number
---@field tokens integer

local check = options.checker("eval.divergence", {
  context = run.context, chunks = options.integer(1), threads = options.threads, progress = "function", positions = "boolean",
  activations = run.activations,
}, { context = 512 })
local fields = summary.FIELDS

-- A scoring context for each model, or nil with none left open.
local function open_contexts(models, n_ctx, opts)
  local list = {}
  for i, model in ipairs(models) do
    local ctx, message, code = run.scoring_context(model, n_ctx, opts)
    if not ctx then
      run.close_all(list)
      return nil, message, code
    end
    list[i] = ctx
  end
  return list
end

-- Empty lists for the raw numbers of n candidates.
local function empty_lists(n)
  local raw = {}
  for i = 1, n do
    raw[i] = { target = {} }
    for _, f in ipairs(fields) do
      raw[i][f] = {}
    end
  end
  return raw
end

local function append(to, list)
  local n = #to
  for i = 1, #list do
    to[n + i] = list[i]
  end
end

-- Adds the rows that all contexts have just computed.
local function collect(contexts, raw, targets)
  for i = 1, #raw do
    local lists = { core.score.compare(contexts[1].handle, contexts[i + 1].handle, targets) }
    for k, f in ipairs(fields) do
      append(raw[i][f], lists[k])
    end
    append(raw[i].target, targets)
  end
end

-- All chunks through all contexts.
local function run_all(contexts, chunks, raw, progress)
  for c, chunk in ipairs(chunks) do
    local ok, message, code = run.run_chunk(contexts, chunk, function(targets)
      collect(contexts, raw, targets)
    end)
    if not ok then return nil, message, code end
    if progress then progress { done = c, total = #chunks, kld = stats.of(raw[1].kld).mean } end
  end
  return true
end

--- How far candidates are from a reference model, position by position, all
--- run in lock-step: no logits are stored. KL divergence is that of the
--- candidate's distribution from the reference's, over the scored positions of
--- M.perplexity.
---
---     local d = wane.eval.divergence(f16, { q4 }, text)
---     print(d[1].kld.mean, d[1].same_top)
---@param reference wane.Model
---@param candidates wane.Model[]
---@param text string|integer[]
---@param opts? { context?: integer, chunks?: integer, threads?: integer, progress?: fun(p: table), positions?: boolean,
---  activations?: string }   "float": of all models, the loss of the weights alone; see model:context
---@return wane.Divergence[]|nil   one per candidate; with `positions` each has the raw lists in field `positions`
---  (nll_p, nll_q, kld, p_diff, top_p, top_q, target)
---@return string? message
---@return string? code
return function(reference, candidates, text, opts)
  options.argument("eval.divergence", "reference", reference, run.model)
  options.argument("eval.divergence", "candidates", candidates, options.list(run.model, 1))
  options.argument("eval.divergence", "text", text, run.text)
  opts = check(opts)
  local models = { reference }
  for i, candidate in ipairs(candidates) do
    local ok, message = run.same_vocabulary(reference, candidate)
    if not ok then return nil, message, "EDATA" end
    models[i + 1] = candidate
  end
  local n_ctx = opts.context
  local ids, message, code = run.tokens_of(reference, text)
  if not ids then return nil, message, code end
  local chunks
  chunks, message, code = run.chunks_of(reference, ids, n_ctx, opts.chunks)
  if not chunks then return nil, message, code end
  local contexts
  contexts, message, code = open_contexts(models, n_ctx, opts)
  if not contexts then return nil, message, code end
  local raw = empty_lists(#candidates)
  local ok
  ok, message, code = run_all(contexts, chunks, raw, opts.progress)
  run.close_all(contexts)
  if not ok then return nil, message, code end
  local result = {}
  for i = 1, #candidates do
    result[i] = summary.of(raw[i])
    if opts.positions then result[i].positions = raw[i] end
  end
  return result
end
