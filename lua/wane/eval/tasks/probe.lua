--- A model being asked: likelihoods of answers, greedy continuations.
---
--- A probe owns one context and remembers what it holds, so that questions
--- with a common beginning (a long passage, several choices) pay for it once.
local core = require "wane.core"
local run = require "wane.eval.run"

local M = {}

---@class wane.Probe
---@field model wane.Model
---@field n_ctx integer  longest question with its answer, in tokens
local Probe = {}
Probe.__index = Probe

---@class wane.Answer
---@field nll number       of the whole answer, nats
---@field tokens integer
---@field bytes integer
---@field exact boolean    greedy decoding would have given it
---@field hits integer     tokens that were the most likely one

--- A probe of a model.
---@param model wane.Model
---@param opts? { context?: integer, threads?: integer }
---@return wane.Probe|nil
---@return string? message
---@return string? code
function M.new(model, opts)
  opts = opts or {}
  local n_ctx = opts.context or model:info().n_ctx
  local ctx, message, code = run.scoring_context(model, n_ctx, opts)
  if not ctx then return nil, message, code end
  return setmetatable({ model = model, ctx = ctx, n_ctx = n_ctx, held = {} }, Probe)
end

function Probe:close() return self.ctx:close() end

-- Tokens at the beginning that the context already holds, at most n.
local function common(held, ids, n)
  local k = 0
  while k < n and held[k + 1] == ids[k + 1] and held[k + 1] ~= nil do k = k + 1 end
  return k
end

-- Feeds ids[from..to], wanting logits of all or none; visit(targets) after
-- each step that has some.
local function feed(self, ids, from, to, visit)
  local info = self.ctx:info()
  local most = visit and math.min(info.n_batch, info.n_out) or info.n_batch
  while from <= to do
    local last, piece, targets = math.min(to, from + most - 1), {}, {}
    for i = from, last do
      piece[#piece + 1], targets[#targets + 1] = ids[i], ids[i + 1]
      self.held[i] = ids[i]
    end
    local ok, message, code = self.ctx:step(piece, { want = visit and "all" or "none" })
    if not ok then
      self.held = {}
      self.ctx:truncate(0)
      return nil, message, code
    end
    if visit then visit(targets) end
    from = last + 1
  end
  return true
end

-- Keeps what the context holds of ids, at most n tokens.
local function rewind(self, ids, n)
  local keep = common(self.held, ids, n)
  self.ctx:truncate(keep)
  for i = #self.held, keep + 1, -1 do self.held[i] = nil end
  return keep
end

--- Negative log-likelihood of ids[first..#ids] after what stands before, and
--- the token the model thought most likely at each of them.
---@param ids integer[]
---@param first integer  from 2
---@return number[]|nil nll
---@return integer[]|string tops
---@return string? code
function Probe:tail(ids, first)
  if #ids > self.n_ctx then
    return nil, ("a question of %d tokens, the context has %d: give a larger context"):format(#ids, self.n_ctx), "EDATA"
  end
  local at = rewind(self, ids, first - 2)
  local ok, message, code = feed(self, ids, at + 1, first - 2)
  if not ok then return nil, message, code end
  local nlls, tops = {}, {}
  ok, message, code = feed(self, ids, first - 1, #ids - 1, function(targets)
    local nll, top = core.score.nll(self.ctx.handle, targets)
    for i = 1, #targets do
      nlls[#nlls + 1], tops[#tops + 1] = nll[i], top[i]
    end
  end)
  if not ok then return nil, message, code end
  return nlls, tops
end

--- Tokens of a prompt and its answer, and where the answer begins: at the
--- first token that differs from those of the prompt alone.
---@return integer[]|nil ids
---@return integer|string first
---@return string? code
function Probe:tokens(prompt, answer)
  local v = self.model.vocab
  if not v then return nil, "the model has no usable tokenizer", "EUNSUP" end
  local before, message, code = v:encode(prompt, { special = true })
  if not before then return nil, message, code end
  local all
  all, message, code = v:encode(prompt .. answer, { special = true })
  if not all then return nil, message, code end
  local first = common(before, all, #before) + 1
  return all, math.max(2, math.min(first, #all))
end

--- How likely an answer is after a prompt.
---
---     print(probe:score("Two and two make", " four").nll)
---@param prompt string
---@param answer string
---@return wane.Answer|nil
---@return string? message
---@return string? code
function Probe:score(prompt, answer)
  local ids, first, code = self:tokens(prompt, answer)
  if not ids then return nil, first, code end
  local nlls, tops
  nlls, tops, code = self:tail(ids, first)
  if not nlls then return nil, tops, code end
  local sum, hits = 0, 0
  for i, nll in ipairs(nlls) do
    sum = sum + nll
    if tops[i] == ids[first + i - 1] then hits = hits + 1 end
  end
  return { nll = sum, tokens = #nlls, bytes = #answer, hits = hits, exact = hits == #nlls }
end

--- The choice that the model prefers: by log-likelihood per byte of the
--- answer (length-normalised), and by the plain sum.
---
---     local best = probe:choose("The sun is", { " hot", " a kind of fish" })
---@param prompt string
---@param choices string[]
---@return integer|nil best      by likelihood per byte
---@return integer|string plain  by likelihood
---@return wane.Answer[]|string answers
function Probe:choose(prompt, choices)
  local answers, best, plain = {}, 1, 1
  for i, choice in ipairs(choices) do
    local a, message, code = self:score(prompt, choice)
    if not a then return nil, message, code end
    answers[i] = a
    if a.nll / math.max(1, a.bytes) < answers[best].nll / math.max(1, answers[best].bytes) then best = i end
    if a.nll < answers[plain].nll then plain = i end
  end
  return best, plain, answers
end

--- The n most likely next tokens, one after another, as text.
---@param prompt string
---@param n integer
---@return string|nil text
---@return string? message
---@return string? code
function Probe:generate(prompt, n)
  local parts = {}
  self.held = {}
  self.ctx:truncate(0)
  local ok, result = pcall(function()
    for text in self.model:generate(prompt, { max_tokens = n, temperature = 0, context = self.ctx }) do
      parts[#parts + 1] = text
    end
  end)
  self.ctx:truncate(0)
  if not ok then return nil, tostring(result), "EDATA" end
  return table.concat(parts)
end

return M
