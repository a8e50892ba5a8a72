--- Embeddings of texts, and ranking of documents: model:embed, model:rank.
---
---     local m = assert(wane.load "embedding-model.gguf")
---     local v = assert(m:embed "How do owls hunt?")          -- #v numbers, v[1] ...
---     local list = assert(m:embed({ "one", "two" }, { dimensions = 256 }))
---     local scores = assert(m:rank("owls", { "Owls hunt at night.", "The bank opens at nine." }))
---     print(scores[1] > scores[2], scores.order[1])          --> true  1
---
--- What it guarantees: a text's vector has the same bits alone, among others
--- and in any order. Encoders read a text whole; causal models give what goes
--- into their output matrix, after the last norm.
---
--- How it works: texts are sorted into contexts of a few lengths (powers of
--- two), several in one step. Rows of tokens are pooled as the file or the
--- caller says; heads behind the pooling (a classifier, dense layers) are
--- small, and are applied here.
local M = {}

local core = require "wane.core"
local options = require "wane.options"

local vector = core.vector

local POOLING = { "none", "mean", "cls", "last", "rank" }
local STEP = 512 -- tokens of one step, unless a text is longer

---@class wane.EmbedOptions
---@field pooling? string     "none" (a row for each token), "mean", "cls" (the first), "last", "rank" (the file's)
---@field normalize? boolean  divide by the length (true; never for "none" and "rank")
---@field dimensions? integer keep so many numbers, then normalise (Matryoshka)
---@field threads? integer
---@field parse_special? boolean  texts of control tokens become those tokens (false)
local check_embed = options.checker("model:embed", {
  pooling = options.one_of(POOLING), normalize = "boolean", dimensions = options.integer(1, 2 ^ 24),
  threads = options.integer(1, 4096), parse_special = "boolean",
})
local check_rank = options.checker("model:rank", { threads = options.integer(1, 4096) })

-- The world's failures inside of a call: raised as tables, returned as
-- nil, message, code.
local function fail(code, ...) error({ code = code, msg = string.format(...) }, 0) end
local function try(value, msg, code)
  if value == nil then error({ code = code, msg = msg }, 0) end
  return value
end
local function guarded(f, ...)
  local ok, result = pcall(f, ...)
  if ok then return result end
  if type(result) == "table" and result.msg then return nil, result.msg, result.code end
  error(result, 0)
end

-- Ids of one text; ids are taken as they are.
local function tokens_of(model, text, n, special)
  if type(text) == "table" then return text end
  if not model.vocab then fail("EUNSUP", "no tokenizer: %s", model.vocab_error or "the file has no vocabulary") end
  local ids = try(model.vocab:encode(text, { special = true, parse_special = special or false }))
  if #ids == 0 then fail("EARG", "text %d has no tokens", n) end
  return ids
end

-- -- running ---------------------------------------------------------------

-- A context for texts of up to `length` tokens, kept until another length is
-- asked for.
local function context_of(model, runner, length, threads)
  local kept = runner.kept
  if kept and kept.length == length and kept.threads == threads then return kept end
  if kept then kept.handle:close() end
  runner.kept = nil
  local sequences = math.max(1, math.floor(STEP / length))
  local kv = model.opts.kv or "f32"
  if type(kv) == "string" then kv = { k = kv, v = kv } end
  local handle = try(runner.handle:context {
    n_ctx = length, n_seq = sequences, n_batch = runner.causal and math.min(STEP, length * sequences) or length * sequences,
    threads = threads or model.opts.threads, type_k = kv.k, type_v = kv.v,
  })
  runner.kept = { handle = handle, length = length, threads = threads, sequences = sequences, n_batch = handle:info().n_batch }
  return runner.kept
end

-- Rows of all tokens of the texts list[first..last], in that order.
local function rows_of(runner, ctx, list, first, last)
  local all, seq = {}, {}
  for i = first, last do
    for _, id in ipairs(list[i].ids) do
      all[#all + 1], seq[#seq + 1] = id, i - first + 1
    end
  end
  local out = try(core.quant.buffer(#all, runner.width))
  for at = 1, #all, ctx.n_batch do
    local part, owner = {}, {}
    for i = at, math.min(at + ctx.n_batch - 1, #all) do
      part[#part + 1], owner[#owner + 1] = all[i], seq[i]
    end
    try(ctx.handle:step(part, { seq = owner, want = "all" }))
    ctx.handle:logits_into(out, at)
  end
  for i = first, last do try(ctx.handle:truncate(0, i - first + 1)) end
  return out
end

-- Calls use(text, rows, first, n) for every text of the list.
local function run_all(model, runner, texts, threads, use)
  local most = model.hp.context_length
  local list = {}
  for i, ids in ipairs(texts) do
    if #ids > most then fail("ELIMIT", "text %d has %d tokens, the model takes at most %d", i, #ids, most) end
    list[i] = { ids = ids, index = i, length = math.min(most, math.max(32, 2 ^ math.ceil(math.log(#ids) / math.log(2)))) }
  end
  table.sort(list, function(a, b)
    if a.length ~= b.length then return a.length < b.length end
    return a.index < b.index
  end)
  local first = 1
  while first <= #list do
    local ctx = context_of(model, runner, list[first].length, threads)
    local last = first
    while last < #list and last - first + 1 < ctx.sequences and list[last + 1].length == ctx.length do last = last + 1 end
    local rows, at = rows_of(runner, ctx, list, first, last), 1
    for i = first, last do
      use(list[i].index, rows, at, #list[i].ids)
      at = at + #list[i].ids
    end
    first = last + 1
  end
end

-- -- heads -----------------------------------------------------------------

-- A matrix or vector of the file as float32, or nil.
local function tensor(model, name)
  local i = model.gguf:find_tensor(name)
  return i and try(core.quant.read(model.gguf, i))
end

-- y = w x + b; x unchanged when the file has no such matrix.
local function dense(runner, model, name, x)
  local head = runner.head
  if head[name] == nil then
    head[name] = tensor(model, name .. ".weight") or false
    head[name .. ".bias"] = tensor(model, name .. ".bias") or false
  end
  local w, b = head[name], head[name .. ".bias"]
  if not w then return x end
  local rows, cols = w:shape()
  if cols ~= #x then fail("EFORMAT", "tensor %s.weight has rows of %d values, want %d", name, cols, #x) end
  if b and #b ~= rows then fail("EFORMAT", "tensor %s.bias has %d values, want %d", name, #b, rows) end
  local y = try(vector.times(w, x))
  for k = 1, b and rows or 0 do y[k] = y[k] + b[k] end
  return y
end

local function tanh(x) return x > 20 and 1 or x < -20 and -1 or (math.exp(2 * x) - 1) / (math.exp(2 * x) + 1) end
local function gelu(x) return 0.5 * x * (1 + tanh(0.7978845608028654 * x * (1 + 0.044715 * x * x))) end

-- Layer norm without bias, in place.
local function layer_norm(model, x, w)
  local eps = model.hp.r:number("attention.layer_norm_epsilon", 0)
  local s = x:stats()
  local factor = 1 / math.sqrt(s.std ^ 2 + eps)
  for k = 1, #x do x[k] = (x[k] - s.mean) * factor * (w[k] or 1) end
end

-- Architectures whose rank is told from the last token, by a softmax.
local by_last = { qwen3 = true, qwen3vl = true }

-- Scores of a pooled row.
local function rank_head(model, runner, x)
  local modern = model.hp.architecture == "modern-bert"
  local y = dense(runner, model, "cls", x)
  if y ~= x then
    for k = 1, #y do y[k] = (modern and gelu or tanh)(y[k]) end
    local norm = tensor(model, "cls.norm.weight")
    if norm then layer_norm(model, y, norm) end
  end
  local scores = dense(runner, model, "cls.output", y)
  if scores == x then fail("EUNSUP", "the file has no tensors cls or cls.output to rank with") end
  if not by_last[model.hp.architecture] then return scores end
  local top, sum = scores:stats().max, 0
  for k = 1, #scores do
    scores[k] = math.exp(scores[k] - top)
    sum = sum + scores[k]
  end
  for k = 1, #scores do scores[k] = scores[k] / sum end
  return scores
end

-- The dense layers behind the pooling, where the file has them.
local function deepen(model, runner, x)
  return dense(runner, model, "dense_3", dense(runner, model, "dense_2", x))
end

-- One text's rows as its result.
local function pool(model, runner, o, rows, first, n)
  local last = first + n - 1
  if o.pooling == "none" then
    local out = try(rows:rows(first, last):copy())
    if not model.gguf:find_tensor "dense_2.weight" and not model.gguf:find_tensor "dense_3.weight" then return out end
    local list = {}
    for i = 1, n do list[i] = deepen(model, runner, out:rows(i)):bytes() end
    return try(core.quant.buffer(n, #list[1] / 4, table.concat(list)))
  end
  local kind = o.pooling
  if kind == "rank" then
    kind = by_last[model.hp.architecture] and "last" or model.hp.architecture == "modern-bert" and "mean" or "cls"
  end
  local x
  if kind == "mean" then x = try(vector.mean(rows, first, n)) else x = rows:rows(kind == "last" and last or first):copy() end
  if o.pooling == "rank" then return rank_head(model, runner, x) end
  return deepen(model, runner, x)
end

-- Truncated, then normalised.
local function finish(o, v)
  if o.pooling == "rank" or o.pooling == "none" then return v end
  if o.dimensions then
    if o.dimensions > #v then fail("EARG", "option 'dimensions' is %d, the model gives %d", o.dimensions, #v) end
    v = try(core.quant.buffer(1, o.dimensions, v:table(1, o.dimensions)))
  end
  return o.normalize == false and v or vector.unit(v)
end

local function run(model, texts, o)
  local runner = model:_runner()
  local ids, out = {}, {}
  for i, text in ipairs(texts) do ids[i] = tokens_of(model, text, i, o.parse_special) end
  local ok, why = pcall(run_all, model, runner, ids, o.threads, function(i, rows, first, n)
    out[i] = finish(o, pool(model, runner, o, rows, first, n))
  end)
  if ok then return out end
  if runner.kept then runner.kept.handle:close() end -- its sequences may be half read
  runner.kept = nil
  error(why, 0)
end

-- -- faces -----------------------------------------------------------------

local function is_ids(t)
  for i = 1, #t do
    if type(t[i]) ~= "number" then return false end
  end
  return #t > 0
end

-- The texts as a list, and whether there was only one.
local function texts_of(texts, n_vocab)
  local list, single = texts, false
  if type(texts) == "string" or type(texts) == "table" and is_ids(texts) then list, single = { texts }, true end
  if type(list) ~= "table" then
    error("wane: model:embed: texts: want a string or a list of strings, got " .. options.shown(texts), 3)
  end
  for i, t in ipairs(list) do
    if type(t) ~= "string" and not (type(t) == "table" and is_ids(t)) then
      error(("wane: model:embed: text %d: want a string or token ids, got %s"):format(i, options.shown(t)), 3)
    end
    for k = 1, type(t) == "table" and #t or 0 do
      if t[k] < 0 or t[k] >= n_vocab or t[k] ~= math.floor(t[k]) then
        error(("wane: model:embed: text %d: token %d is %s, want 0 to %d"):format(i, k, options.shown(t[k]), n_vocab - 1), 3)
      end
    end
  end
  return list, single
end

--- Embeddings of texts. One text gives one float32 buffer (v[1], #v), a list
--- of texts a list of them. A text may be given as token ids.
---
---     local list = assert(require("wane.embed").embed(model, { "the sea", "a ship" }, { pooling = "mean" }))
---     print(#list, #list[1])   --> 2  256
---@param model wane.Model
---@param texts string|integer[]|(string|integer[])[]
---@param opts? wane.EmbedOptions
---@return userdata|userdata[]|nil vectors  1 x width each; pooling "none": a row for each token
---@return string? message
---@return string? code
function M.embed(model, texts, opts)
  local o = check_embed(opts)
  local list, single = texts_of(texts, model.hp.vocab_size)
  o.pooling = o.pooling or model.hp.pooling
  local out, msg, code = guarded(run, model, list, o)
  if not out then return nil, msg, code end
  if single then return out[1] end
  return out
end

-- A query and a document as the file's template has them, or one after the
-- other with the vocabulary's marks between.
local function pair(model, query, document)
  local v = model.vocab
  if not v then fail("EUNSUP", "no tokenizer: %s", model.vocab_error or "the file has no vocabulary") end
  local template = model:meta "tokenizer.chat_template.rerank"
  if type(template) == "string" then
    local parts, at = {}, 1
    while true do
      local from, to = template:find("{%a+}", at)
      while from and not (template:sub(from, to) == "{query}" or template:sub(from, to) == "{document}") do
        from, to = template:find("{%a+}", to + 1)
      end
      parts[#parts + 1] = { text = template:sub(at, (from or 0) - 1), input = false }
      if not from then break end
      parts[#parts + 1] = { text = template:sub(from, to) == "{query}" and query or document, input = true }
      at = to + 1
    end
    return try(v:encode(parts, { parse_special = true }))
  end
  local ids = {}
  local function add(id) ids[#ids + 1] = id end
  local function add_text(text)
    for _, id in ipairs(try(v:encode(text))) do add(id) end
  end
  local eos = v.special.eos or v.special.sep
  if v.add_bos then add(v.special.bos) end
  add_text(query)
  if v.add_eos then add(eos) end
  if v.add_sep then add(v.special.sep) end
  add_text(document)
  if v.add_eos then add(eos) end
  return ids
end

--- How well documents answer a query, by a model made for ranking. The result
--- has a score for each document, in their order (larger is better), and in
--- `order` the numbers of the documents, best first.
---
---     local scores = assert(require("wane.embed").rank(model, "owls", { "Owls hunt at night." }))
---     print(scores[1])
---@param model wane.Model
---@param query string
---@param documents string[]
---@param opts? { threads?: integer }
---@return { [integer]: number, order: integer[] }|nil scores
---@return string? message
---@return string? code
function M.rank(model, query, documents, opts)
  local o = check_rank(opts)
  options.argument("model:rank", "query", query, "string")
  options.argument("model:rank", "documents", documents, options.list "string")
  return guarded(function()
    local ids = {}
    for i, document in ipairs(documents) do ids[i] = pair(model, query, document) end
    local scores = { order = {} }
    for i, v in ipairs(run(model, ids, { pooling = "rank", threads = o.threads })) do
      scores[i], scores.order[i] = v[1], i
    end
    table.sort(scores.order, function(a, b)
      if scores[a] ~= scores[b] then return scores[a] > scores[b] end
      return a < b
    end)
    return scores
  end)
end

return M
