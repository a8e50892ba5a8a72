--- Tasks made from a seed: nothing is downloaded, and no model has seen the
--- answers. Each is a function of options that returns a task.
---
--- Questions come with wrong answers of the same shape, so that small models,
--- which never get the whole answer right, still show a loss.
local options = require "wane.options"
local random = require "wane.eval.tasks.random"
local stats = require "wane.stats"

local M = {}

local many = options.integer(1, 1000000)
local check = {
  passkey = options.checker("tasks.passkey", {
    seed = "integer", n = many, tokens = options.list(options.integer(1), 1), depths = options.list(options.number(0, 1), 1),
    digits = options.integer(1, 100),
  }),
  arithmetic = options.checker("tasks.arithmetic", {
    seed = "integer", n = many, steps = options.integer(1, 1000), examples = options.integer(0, 1000),
  }),
  copy = options.checker("tasks.copy", { seed = "integer", n = many, words = options.integer(1, 100000) }),
  induction = options.checker("tasks.induction", { seed = "integer", n = many, tokens = options.integer(2) }),
}

-- The sums of many questions as a result.
local function summary(right, nlls, exact, chance)
  local s, l = stats.of(right), stats.of(nlls)
  return {
    score = s.mean, err = s.err, n = s.n, better = "higher", unit = "share right", chance = chance,
    nll = l.mean, nll_err = l.err, exact = stats.of(exact).mean,
  }
end

-- Asks questions { prompt, answer, wrong = {...}, group } and sums up.
local function ask(probe, questions, chance)
  local right, nlls, exact, groups, order = {}, {}, {}, {}, {}
  for _, q in ipairs(questions) do
    local choices = { q.answer }
    for _, w in ipairs(q.wrong) do choices[#choices + 1] = w end
    local best, plain, answers = probe:choose(q.prompt, choices)
    if not best then return nil, plain, answers end
    right[#right + 1] = plain == 1 and 1 or 0
    nlls[#nlls + 1] = answers[1].nll / answers[1].tokens
    exact[#exact + 1] = answers[1].exact and 1 or 0
    local g = q.group
    if g then
      if not groups[g] then
        groups[g] = { right = {}, nll = {} }
        order[#order + 1] = g
      end
      table.insert(groups[g].right, right[#right])
      table.insert(groups[g].nll, nlls[#nlls])
    end
  end
  local result = summary(right, nlls, exact, chance)
  result.groups = {}
  for i, g in ipairs(order) do
    result.groups[i] = { name = g, n = #groups[g].right, score = stats.of(groups[g].right).mean,
      nll = stats.of(groups[g].nll).mean }
  end
  return result
end

local filler = {
  "The grass was green and the sky was blue.", "The old man walked slowly down the road.",
  "A little bird sang in the tall tree.", "The children played by the river all day.",
  "The wind blew softly over the hills.", "She put the bread on the table and sat down.",
  "The sun went down behind the mountains.", "He looked at the fire and said nothing.",
  "There was a small house at the edge of the wood.", "The cat slept on the warm stones.",
}

-- Sentences of about n tokens.
local function padding(probe, r, n)
  local parts, count = {}, 0
  while count < n do
    local s = r:pick(filler)
    count = count + #probe.model.vocab:encode(s)
    parts[#parts + 1] = s
  end
  return parts
end

local function digits(r, n)
  local t = {}
  for i = 1, n do t[i] = tostring(r:integer(i == 1 and 1 or 0, 9)) end
  return table.concat(t)
end

-- Other numbers with the same number of digits.
local function other_digits(r, key, n)
  local list = {}
  while #list < n do
    local other = digits(r, #key)
    if other ~= key then list[#list + 1] = " " .. other end
  end
  return list
end

--- Retrieval of a number hidden in a long text, at several depths.
---
---     tasks.passkey { tokens = { 256, 1024 }, depths = { 0, 0.5, 1 }, n = 4 }
---@param opts? { seed?: integer, n?: integer, tokens?: integer[], depths?: number[], digits?: integer }
---@return wane.Task
function M.passkey(opts)
  opts = check.passkey(opts)
  return {
    name = "passkey",
    run = function(probe)
      local r = random.new(opts.seed or 1)
      local lengths = opts.tokens or { math.floor(probe.n_ctx / 4), math.floor(probe.n_ctx * 3 / 4) }
      local questions = {}
      for _, n_tokens in ipairs(lengths) do
        for _, depth in ipairs(opts.depths or { 0, 0.5, 1 }) do
          for _ = 1, opts.n or 4 do
            local key = digits(r, opts.digits or 4)
            local text = padding(probe, r, n_tokens)
            local at = math.floor(depth * #text + 0.5) + 1
            table.insert(text, at, ("The pass key is %s. Remember it. %s is the pass key."):format(key, key))
            questions[#questions + 1] = {
              prompt = table.concat(text, " ") .. " What is the pass key? The pass key is", answer = " " .. key,
              wrong = other_digits(r, key, 3), group = ("%d tokens, depth %.0f %%"):format(n_tokens, 100 * depth),
            }
          end
        end
      end
      return ask(probe, questions, 0.25)
    end,
  }
end

-- "3 + 4 = 7. 7 + 5 = 12." with the last result left out.
local function sums(r, steps)
  local value, parts = r:integer(1, 9), {}
  for i = 1, steps do
    local add = r:integer(1, 9)
    local minus = value > 9 and r:integer(0, 1) == 1
    local result = minus and value - add or value + add
    parts[i] = ("%d %s %d ="):format(value, minus and "-" or "+", add)
    if i == steps then return table.concat(parts, " "), result end
    parts[i] = parts[i] .. (" %d."):format(result)
    value = result
  end
end

--- Sums in several steps, after worked examples.
---@param opts? { seed?: integer, n?: integer, steps?: integer, examples?: integer }
---@return wane.Task
function M.arithmetic(opts)
  opts = check.arithmetic(opts)
  return {
    name = "arithmetic",
    run = function(probe)
      local r, questions = random.new(opts.seed or 1), {}
      for k = 1, opts.n or 24 do
        local lines = {}
        for i = 1, opts.examples or 3 do
          local text, result = sums(r, opts.steps or 3)
          lines[i] = ("%s %d."):format(text, result)
        end
        local text, result = sums(r, opts.steps or 3)
        lines[#lines + 1] = text
        local wrong = {}
        for i, d in ipairs { 1, -1, 10 } do wrong[i] = " " .. tostring(result + d) end
        questions[k] = { prompt = table.concat(lines, "\n"), answer = " " .. tostring(result), wrong = wrong }
      end
      return ask(probe, questions, 0.25)
    end,
  }
end

local words = {
  "stone", "river", "bread", "horse", "window", "garden", "silver", "mother", "winter", "apple", "bridge", "candle",
  "feather", "mountain", "shadow", "ship", "table", "forest", "king", "letter", "music", "night", "ocean", "paper",
  "queen", "rain", "song", "tower", "village", "water", "yellow", "bird",
}

-- Shares and losses of tokens over several sequences.
local function token_result(hits, nlls)
  local h, l = stats.of(hits), stats.of(nlls)
  return { score = h.mean, err = h.err, n = h.n, better = "higher", unit = "tokens right", nll = l.mean,
    nll_err = l.err }
end

-- Scores ids[first..], adding to the lists.
local function add_tail(probe, ids, first, hits, nlls)
  local list, tops, code = probe:tail(ids, first)
  if not list then return nil, tops, code end
  for i, nll in ipairs(list) do
    hits[#hits + 1] = tops[i] == ids[first + i - 1] and 1 or 0
    nlls[#nlls + 1] = nll
  end
  return true
end

--- A list of words, to be repeated.
---@param opts? { seed?: integer, n?: integer, words?: integer }
---@return wane.Task
function M.copy(opts)
  opts = check.copy(opts)
  return {
    name = "copy",
    run = function(probe)
      local r, hits, nlls = random.new(opts.seed or 1), {}, {}
      for _ = 1, opts.n or 12 do
        local list = {}
        for i = 1, opts.words or 12 do list[i] = r:pick(words) end
        local text = table.concat(list, ", ")
        local ids, first, code = probe:tokens(("The words are: %s. Again, the words are:"):format(text), " " .. text)
        if not ids then return nil, first, code end
        local ok, message, what = add_tail(probe, ids, first, hits, nlls)
        if not ok then return nil, message, what end
      end
      return token_result(hits, nlls)
    end,
  }
end

local NORMAL = 4

-- Ids of ordinary tokens.
local function ordinary(vocab)
  local list = {}
  for id = 0, vocab.n - 1 do
    if vocab:attr(id) == NORMAL then list[#list + 1] = id end
  end
  return list
end

--- Induction: random tokens, then the same again; only what stands before can
--- tell the second half. `first_nll` is the loss on the first half.
---@param opts? { seed?: integer, n?: integer, tokens?: integer }
---@return wane.Task
function M.induction(opts)
  opts = check.induction(opts)
  return {
    name = "induction",
    run = function(probe)
      local v = probe.model.vocab
      if not v then return nil, "the model has no usable tokenizer", "EUNSUP" end
      local r, pool, hits, nlls, before = random.new(opts.seed or 1), ordinary(v), {}, {}, {}
      local n = opts.tokens or math.min(64, math.floor(probe.n_ctx / 2) - 1)
      for _ = 1, opts.n or 8 do
        local ids = { v.add_bos and v.bos or nil }
        local start = #ids
        for i = 1, n do ids[start + i] = r:pick(pool) end
        for i = 1, n do ids[start + n + i] = ids[start + i] end
        local first = {}
        for i = 1, start + n do first[i] = ids[i] end
        local ok, message, code = add_tail(probe, first, math.max(2, start + 1), {}, before)
        if ok then ok, message, code = add_tail(probe, ids, start + n + 2, hits, nlls) end
        if not ok then return nil, message, code end
      end
      local result = token_result(hits, nlls)
      result.first_nll = stats.of(before).mean
      return result
    end,
  }
end

return M
