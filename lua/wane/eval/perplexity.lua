--- Perplexity, by llama.cpp's definition.
local core = require "wane.core"
local options = require "wane.options"
local run = require "wane.eval.run"
local stats = require "wane.stats"

---@class wane.Perplexity
---@field perplexity number   exp(nll)
---@field err number          standard error of the perplexity
---@field nll number          mean negative log-likelihood, nats per token
---@field nll_err number
---@field tokens integer      tokens scored
---@field chunks integer
---@field seconds number
---@field tokens_per_second number   of all tokens evaluated

local check = options.checker("eval.perplexity", {
  context = run.context, chunks = options.integer(1), threads = options.threads, progress = "function",
  activations = run.activations,
}, { context = 512 })

--- Perplexity of a model on a text (llama.cpp's definition, so the numbers
--- agree): chunks of `context` tokens, the second half of each scored.
---
---     local m = assert(wane.load(path))
---     print(assert(wane.eval.perplexity(m, text, { chunks = 1 })).perplexity)
---@param model wane.Model
---@param text string|integer[]   text, or token ids
---@param opts? { context?: integer, chunks?: integer, threads?: integer, progress?: fun(p: table), activations?: string }
--- activations: "float": the loss of the weights alone; see model:context
---@return wane.Perplexity|nil result
---@return string? message
---@return string? code
return function(model, text, opts)
  run.check_inputs("eval.perplexity", model, text)
  opts = check(opts)
  local n_ctx = opts.context
  local ids, why, kind = run.tokens_of(model, text)
  if not ids then return nil, why, kind end
  local chunks
  chunks, why, kind = run.chunks_of(model, ids, n_ctx, opts.chunks)
  if not chunks then return nil, why, kind end
  local ctx, message, code = run.scoring_context(model, n_ctx, opts)
  if not ctx then return nil, message, code end
  local nlls, start = {}, core.now()
  for c, chunk in ipairs(chunks) do
    local ok
    ok, message, code = run.run_chunk({ ctx }, chunk, function(targets)
      for _, nll in ipairs((core.score.nll(ctx.handle, targets))) do
        nlls[#nlls + 1] = nll
      end
    end)
    if not ok then
      ctx:close()
      return nil, message, code
    end
    if opts.progress then
      opts.progress { done = c, total = #chunks, perplexity = math.exp(stats.of(nlls).mean) }
    end
  end
  ctx:close()
  local seconds, s = core.now() - start, stats.of(nlls)
  return {
    perplexity = math.exp(s.mean),
    err = math.exp(s.mean) * s.err,
    nll = s.mean,
    nll_err = s.err,
    tokens = #nlls,
    chunks = #chunks,
    seconds = seconds,
    tokens_per_second = #chunks * n_ctx / seconds,
  }
end
