--- Loss on rare tokens: the scored tokens of a text in buckets by how often
--- they occur. Quantization hurts the rare ones first, and their average with
--- the common ones hides it.
local core = require "wane.core"
local options = require "wane.options"
local run = require "wane.eval.run"
local stats = require "wane.stats"

-- Bucket borders so that each holds about the same share of the scored tokens.
local function borders(counts, targets, n)
  local list = {}
  for i, id in ipairs(targets) do list[i] = counts[id] or 0 end
  table.sort(list)
  local edges = {}
  for b = 1, n - 1 do edges[b] = list[math.max(1, math.floor(#list * b / n))] end
  return edges
end

local function bucket_of(edges, count)
  local b = 1
  while edges[b] and count > edges[b] do b = b + 1 end
  return b
end

local function count_tokens(ids)
  local counts = {}
  for _, id in ipairs(ids) do counts[id] = (counts[id] or 0) + 1 end
  return counts
end

-- "at most 3", "4 to 17", "18 and more" occurrences.
local function label(edges, b)
  if b == 1 then return ("seen up to %d times"):format(edges[1] or 0) end
  if edges[b] then return ("seen %d to %d times"):format(edges[b - 1] + 1, edges[b]) end
  return ("seen %d times or more"):format(edges[b - 1] + 1)
end

-- Negative log-likelihood of every scored token.
local function losses(probe, chunks)
  local nlls, targets = {}, {}
  probe.held = {}
  for _, chunk in ipairs(chunks) do
    local ok, message, code = run.run_chunk({ probe.ctx }, chunk, function(wanted)
      for i, nll in ipairs((core.score.nll(probe.ctx.handle, wanted))) do
        nlls[#nlls + 1], targets[#targets + 1] = nll, wanted[i]
      end
    end)
    if not ok then return nil, message, code end
  end
  probe.ctx:truncate(0)
  return nlls, targets
end

-- One row a bucket, rarest first.
local function group(nlls, targets, counts, n)
  local edges, lists = borders(counts, targets, n), {}
  for i, id in ipairs(targets) do
    local b = bucket_of(edges, counts[id] or 0)
    lists[b] = lists[b] or {}
    table.insert(lists[b], nlls[i])
  end
  local groups = {}
  for b = 1, n do
    if lists[b] then
      local s = stats.of(lists[b])
      groups[#groups + 1] = { name = label(edges, b), n = s.n, score = s.mean, err = s.err, nll = s.mean }
    end
  end
  return groups
end

local check = options.checker("tasks.rare", {
  text = run.text, counts = run.text, buckets = options.integer(1, 1000), chunks = options.integer(1), context = run.context,
}, { buckets = 4, chunks = 8, context = 512 })

--- The task. The score is the mean loss on the rarest bucket, in nats.
---
---     tasks.rare { text = heldout, buckets = 4, chunks = 8 }
---@param opts { text?: string|integer[], counts?: string|integer[], buckets?: integer, chunks?: integer, context?: integer }
---  counts: the text that says how often tokens occur (default: `text` itself)
---@return wane.Task
return function(opts)
  opts = check(opts)
  return {
    name = "rare",
    run = function(probe, shared)
      local text = opts.text or shared.text
      if not text then options.misuse "tasks.rare: want option 'text' (here or for all tasks)" end
      local ids, message, code = run.tokens_of(probe.model, text)
      if not ids then return nil, message, code end
      local chunks
      chunks, message, code = run.chunks_of(probe.model, ids, math.min(opts.context, probe.n_ctx), opts.chunks)
      if not chunks then return nil, message, code end
      local nlls, targets
      nlls, targets, code = losses(probe, chunks)
      if not nlls then return nil, targets, code end
      local counts = count_tokens(opts.counts and assert(run.tokens_of(probe.model, opts.counts)) or ids)
      local groups = group(nlls, targets, counts, opts.buckets)
      return { score = groups[1].nll, err = groups[1].err, n = groups[1].n, better = "lower", unit = "nats, rarest tokens",
        groups = groups }
    end,
  }
end
