--- Judging models: how well they predict a text, and how far a shrunk model
--- has moved from the one it was made from.
local core = require "wane.core"
local stats = require "wane.stats"

local M = {}

local function check_options(opts, known, what)
  for key in pairs(opts) do
    if not known[key] then error(("wane: %s: unknown option '%s'"):format(what, tostring(key)), 3) end
  end
end

--- Token ids of a text, or the list itself.
local function tokens_of(model, text)
  if type(text) == "table" then return text end
  return model.vocab:encode(text, { special = true })
end

--- Chunks of n_ctx tokens whose second halves are scored, the first token of
--- each replaced by BOS where the vocabulary adds one: the definition of
--- llama.cpp's perplexity tool.
---@return integer[][]|nil chunks
---@return string? message
---@return string? code
local function chunks_of(model, ids, n_ctx, most)
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

--- A context that can score chunks of n_ctx tokens.
local function scoring_context(model, n_ctx, threads)
  return model:context { context = n_ctx, batch = math.min(n_ctx, 512), threads = threads }
end

--- Calls visit(targets) after each step that has wanted logits: together the
--- positions first..n_ctx-1 of every context, in lock-step.
local function run_chunk(contexts, chunk, visit)
  local n_ctx = #chunk
  local first = math.floor(n_ctx / 2) + 1 -- its logits predict token first + 1
  local batch, out = math.huge, math.huge
  for _, ctx in ipairs(contexts) do
    local info = ctx:info()
    batch, out = math.min(batch, info.n_batch), math.min(out, info.n_out)
    local ok, message, code = ctx:truncate(0)
    if not ok then return nil, message, code end
  end
  local at = 1
  while at < n_ctx do
    local wanted = at >= first
    local last = wanted and math.min(n_ctx - 1, at + math.min(batch, out) - 1)
      or math.min(first - 1, at + batch - 1)
    local piece, targets = {}, {}
    for i = at, last do
      piece[#piece + 1] = chunk[i]
      targets[#targets + 1] = chunk[i + 1]
    end
    for _, ctx in ipairs(contexts) do
      local ok, message, code = ctx:step(piece, { want = wanted and "all" or "none" })
      if not ok then return nil, message, code end
    end
    if wanted then visit(targets) end
    at = last + 1
  end
  return true
end

---@class wane.Perplexity
---@field perplexity number   exp(nll)
---@field err number          standard error of the perplexity
---@field nll number          mean negative log-likelihood, nats per token
---@field nll_err number
---@field tokens integer      tokens scored
---@field chunks integer
---@field seconds number
---@field tokens_per_second number   of all tokens evaluated

local perplexity_options = { context = true, chunks = true, threads = true, progress = true }

--- Perplexity of a model on a text (llama.cpp's definition, so the numbers
--- agree): chunks of `context` tokens, the second half of each scored.
---
---     local m = assert(wane.load "model.gguf")
---     print(assert(wane.eval.perplexity(m, io.open("text.txt"):read "*a")).perplexity)
---@param model wane.Model
---@param text string|integer[]   text, or token ids
---@param opts? { context?: integer, chunks?: integer, threads?: integer, progress?: fun(p: table) }
---@return wane.Perplexity|nil result
---@return string? message
---@return string? code
function M.perplexity(model, text, opts)
  opts = opts or {}
  check_options(opts, perplexity_options, "eval.perplexity")
  local n_ctx = opts.context or 512
  local chunks, why, kind = chunks_of(model, tokens_of(model, text), n_ctx, opts.chunks)
  if not chunks then return nil, why, kind end
  local ctx, message, code = scoring_context(model, n_ctx, opts.threads)
  if not ctx then return nil, message, code end
  local nlls, start = {}, core.now()
  for c, chunk in ipairs(chunks) do
    local ok
    ok, message, code = run_chunk({ ctx }, chunk, function(targets)
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

---@class wane.Divergence
---@field perplexity number       of the candidate
---@field perplexity_err number
---@field ratio number            perplexity / reference perplexity
---@field kld wane.Stats          mean, err, min, max in nats
---@field kld_quantile fun(p: number): number
---@field same_top number         share of positions with the same most likely token
---@field same_top_err number
---@field rms_dp number           root mean square of the target's probability change
---@field rms_dp_err number
---@field tokens integer

local function summarise(d)
  local kld, dp2, same = stats.of(d.kld), {}, {}
  for i = 1, #d.kld do
    dp2[i] = d.p_diff[i] ^ 2
    same[i] = d.top_p[i] == d.top_q[i] and 1 or 0
  end
  local q, s, square = stats.of(d.nll_q), stats.of(same), stats.of(dp2)
  local rms = math.sqrt(square.mean)
  return {
    perplexity = math.exp(q.mean),
    perplexity_err = math.exp(q.mean) * q.err,
    ratio = math.exp(q.mean - stats.of(d.nll_p).mean),
    kld = kld,
    kld_quantile = stats.quantiles(d.kld),
    same_top = s.mean,
    same_top_err = s.err,
    rms_dp = rms,
    rms_dp_err = rms > 0 and square.err / (2 * rms) or 0,
    tokens = #d.kld,
  }
end

local divergence_options = { context = true, chunks = true, threads = true, progress = true, positions = true }
local fields = { "nll_p", "nll_q", "kld", "p_diff", "top_p", "top_q" }

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
---@param opts? { context?: integer, chunks?: integer, threads?: integer, progress?: fun(p: table), positions?: boolean }
---@return wane.Divergence[]|nil   one per candidate; with `positions` each has the raw lists in field `positions`
---@return string? message
---@return string? code
function M.divergence(reference, candidates, text, opts)
  opts = opts or {}
  check_options(opts, divergence_options, "eval.divergence")
  local n_ctx = opts.context or 512
  local ids = tokens_of(reference, text)
  local chunks, message, code = chunks_of(reference, ids, n_ctx, opts.chunks)
  if not chunks then return nil, message, code end
  local contexts, raw = {}, {}
  local function close()
    for _, ctx in ipairs(contexts) do
      ctx:close()
    end
  end
  for i = 0, #candidates do
    local ctx
    ctx, message, code = scoring_context(i == 0 and reference or candidates[i], n_ctx, opts.threads)
    if not ctx then
      close()
      return nil, message, code
    end
    contexts[i + 1] = ctx
    if i > 0 then
      raw[i] = {}
      for _, f in ipairs(fields) do
        raw[i][f] = {}
      end
    end
  end
  for c, chunk in ipairs(chunks) do
    local ok
    ok, message, code = run_chunk(contexts, chunk, function(targets)
      for i = 1, #candidates do
        local lists = { core.score.compare(contexts[1].handle, contexts[i + 1].handle, targets) }
        for k, f in ipairs(fields) do
          local to = raw[i][f]
          for _, v in ipairs(lists[k]) do
            to[#to + 1] = v
          end
        end
      end
    end)
    if not ok then
      close()
      return nil, message, code
    end
    if opts.progress then opts.progress { done = c, total = #chunks, kld = stats.of(raw[1].kld).mean } end
  end
  close()
  local result = {}
  for i = 1, #candidates do
    result[i] = summarise(raw[i])
    if opts.positions then result[i].positions = raw[i] end
  end
  return result
end

--- What quantizing each tensor alone costs; see wane.search.sensitivity.
function M.sensitivity(...) return require("wane.search").sensitivity(...) end

return M
