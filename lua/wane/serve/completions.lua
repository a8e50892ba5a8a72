--- /v1/completions and /infill.
---
--- With echo and logprobs, the log probabilities of the prompt come too (the
--- first token has none): what evaluation programs ask for, mostly with max_tokens
--- 0 or 1.
local M = {}

local choices = require "wane.serve.choices"
local json = require "wane.json"
local logprobs = require "wane.serve.logprobs"
local params = require "wane.serve.params"
local request = require "wane.serve.request"

-- Ids of a text, as prompts begin.
local function encode(app, text)
  local ids, message = app.model.vocab:encode(text, { special = true, parse_special = true })
  if not ids then request.refuse(400, message, "prompt") end
  return ids
end

-- The prompts of a request as lists of ids, and their texts where texts came.
local function prompts_of(app, r)
  local v, n_vocab = r:need("prompt", "a text, token ids, or a list of either"), app.model.hp.vocab_size
  if type(v) == "string" or request.is_ids(v, n_vocab) then v = json.list { v } end
  if not request.is_list(v) or #v == 0 then r:wrong("prompt", "a text, token ids, or a list of either", v) end
  if #v > app.opts.max_prompts then
    request.refuse(400, ("'prompt': %d prompts, want at most %d"):format(#v, app.opts.max_prompts), "prompt")
  end
  local ids, texts = {}, {}
  for i = 1, #v do
    if type(v[i]) ~= "string" and not request.is_ids(v[i], n_vocab) then
      request.refuse(400, ("'prompt': prompt %d: want a text or ids from 0 to %d"):format(i - 1, n_vocab - 1), "prompt")
    end
    ids[i] = type(v[i]) == "string" and encode(app, v[i]) or v[i]
    texts[i] = type(v[i]) == "string" and v[i] or app.model.vocab:decode(v[i])
    if #ids[i] == 0 then request.refuse(400, "the prompt is empty", "prompt") end
  end
  return ids, texts
end

-- How many of the most probable tokens are wanted: completions say a number;
-- true stands for 0.
local function wanted(r)
  local v = r:get "logprobs"
  if v == nil or v == false then return nil end
  return v == true and 0 or r:integer("logprobs", 0, 20)
end

local function head(job)
  return { { "id", job.id }, { "object", "text_completion" }, { "created", job.created }, { "model", job.model },
    { "system_fingerprint", job.app.fingerprint } }
end

local function choice_object(choice, text, scores, reason)
  return json.ordered { { "text", text }, { "index", choice.index }, { "logprobs", scores or json.null },
    { "finish_reason", reason or json.null } }
end

-- Log probabilities that came since the last call, as the API has them: those of
-- the prompt first, where it is echoed.
local function scores_of(job, choice, t)
  if not job.top then return nil end
  local vocab, list = job.app.model.vocab, {}
  for _, s in ipairs(job.echo and not choice.echoed and t.prompt_scores or {}) do list[#list + 1] = s end
  for k = choice.seen + 1, #t.scores do list[#list + 1] = t.scores[k] end
  choice.seen = #t.scores
  local out = logprobs.lists(vocab, list, choice.offset)
  for _, s in ipairs(list) do choice.offset = choice.offset + #vocab:piece(s.id) end
  return out
end

-- What a choice has said since the last call: its prompt where that is echoed,
-- and its new text.
local function said(job, choice, text, t)
  if job.echo and not choice.echoed then text = choice.echo .. text end
  local scores = scores_of(job, choice, t)
  choice.echoed = true
  return text, scores
end

local function merged(a, b)
  if not a or not b then return a or b end
  for name, list in pairs(b) do
    for i = 1, #list do table.insert(a[name], list[i]) end
  end
  return a
end

local function whole(job, x)
  local list, texts, scores = {}, {}, {}
  for i in ipairs(job.choices) do texts[i] = {} end
  local all = job.run:run(x, function(i, text, t, ended)
    local choice = job.choices[i]
    local new, told = said(job, choice, text, t)
    table.insert(texts[i], new)
    scores[i] = merged(scores[i], told)
    if ended then list[i] = choice_object(choice, table.concat(texts[i]), scores[i], choices.reason(t)) end
  end)
  if not all then return end
  local out = head(job)
  out[#out + 1] = { "choices", list }
  out[#out + 1] = { "usage", choices.usage(job.run.tickets, job.prompts) }
  x:json(200, json.ordered(out))
end

local function send(job, x, list, usage)
  local out = head(job)
  out[#out + 1] = { "choices", list }
  if job.usage then out[#out + 1] = { "usage", usage or json.null } end
  return x:event(json.ordered(out))
end

local function events(job, x)
  if not x:begin_events() then return end
  local all = job.run:run(x, function(i, text, t, ended)
    local choice = job.choices[i]
    local new, told = said(job, choice, text, t)
    if new == "" and not ended then return end
    return send(job, x, { choice_object(choice, new, told, ended and choices.reason(t) or nil) })
  end)
  if not all then return end
  if job.usage then send(job, x, json.list {}, choices.usage(job.run.tickets, job.prompts)) end
  x:event "[DONE]"
  x:end_events()
end

-- The job of a request: its choices, started.
local function job_of(app, r, prompts, texts, opts)
  local job = { app = app, id = app:new_id "cmpl-", created = os.time(), model = app:model_of(r), top = wanted(r),
    echo = r:boolean "echo", usage = app.wants_usage(r), prompts = prompts, choices = {} }
  local n = r:integer("n", 1, app.opts.max_choices) or 1
  if opts.max_tokens == 0 and not job.echo then request.refuse(400, "'max_tokens' 0 wants echo = true", "max_tokens") end
  opts.logprobs, opts.echo = job.top, job.top and job.echo or nil
  job.run = choices.start(app, prompts, n, opts)
  for p, ids in ipairs(prompts) do
    for _ = 1, n do
      table.insert(job.choices, { index = #job.choices, prompt = ids, echo = texts[p], seen = 0,
        offset = job.echo and 0 or #texts[p] })
    end
  end
  return job
end

--- POST /v1/completions
function M.completions(app, x, body)
  local r = request.new(body)
  if r:get "suffix" ~= nil and r:get "suffix" ~= "" then
    request.refuse(400, "'suffix' is not served here: see /infill", "suffix")
  end
  local opts = params.options(r, app.model.hp.vocab_size)
  local prompts, texts = prompts_of(app, r)
  if opts.max_tokens == nil then opts.max_tokens = app.opts.completion_tokens end
  local stream = r:boolean "stream"
  local job = job_of(app, r, prompts, texts, opts)
  local ok, why = pcall(stream and events or whole, job, x)
  job.run:close()
  if not ok then error(why, 0) end
end

-- ---- /infill ----------------------------------------------------------------------

-- What the vocabulary has for it; a refusal when it has not.
local function marks(app)
  local s = app.model.vocab.special
  if s.fim_pre and s.fim_suf and s.fim_mid then return s end
  request.refuse(501, "the model has no tokens for filling in (prefix, suffix, middle)")
end

local function append(ids, more)
  for _, id in ipairs(more) do ids[#ids + 1] = id end
end

-- Other files that an editor sends along: { filename, text }, as models were
-- trained: behind the mark of a repository, each behind the mark of a file.
local function extras(app, r, s)
  local list = r:list("input_extra", "{ filename, text }", function(v)
    return request.is_object(v) and type(v.text) == "string" and (v.filename == nil or type(v.filename) == "string")
  end, 256) or {}
  local ids, vocab = {}, app.model.vocab
  if #list > 0 and s.fim_rep then
    ids[1] = s.fim_rep
    append(ids, vocab:encode "myproject\n")
  end
  for i = 1, #list do
    if s.fim_sep then
      ids[#ids + 1] = s.fim_sep
      append(ids, vocab:encode((list[i].filename or "tmp") .. "\n"))
    else
      append(ids, vocab:encode "\n\n--- snippet ---\n\n")
    end
    append(ids, vocab:encode(list[i].text))
  end
  if #list > 0 and s.fim_sep then
    ids[#ids + 1] = s.fim_sep
    append(ids, vocab:encode "filename\n")
  end
  return ids
end

-- The last n of a list, or the first n.
local function last_of(list, n)
  local out = {}
  for i = math.max(1, #list - n + 1), #list do out[#out + 1] = list[i] end
  return out
end
local function first_of(list, n)
  local out = {}
  for i = 1, math.min(n, #list) do out[i] = list[i] end
  return out
end

-- The prompt: extras, prefix and suffix, cut to what a slot has room for.
local function infill_prompt(app, r, room)
  local s, vocab = marks(app), app.model.vocab
  local prefix = vocab:encode((r:string "input_prefix" or "") .. (r:string "prompt" or ""))
  local suffix = vocab:encode(r:string "input_suffix" or "")
  suffix = first_of(suffix, math.floor(room / 4))
  prefix = last_of(prefix, room - #suffix - 4)
  local ids = {}
  if vocab.add_bos and vocab.bos then ids[1] = vocab.bos end
  append(ids, last_of(extras(app, r, s), math.max(0, room - #prefix - #suffix - 4)))
  ids[#ids + 1] = s.fim_pre
  append(ids, prefix)
  ids[#ids + 1] = s.fim_suf
  append(ids, suffix)
  ids[#ids + 1] = s.fim_mid
  return ids
end

--- POST /infill: the text between a prefix and a suffix.
function M.infill(app, x, body)
  local r = request.new(body)
  local opts, stream = params.options(r, app.model.hp.vocab_size), r:boolean "stream"
  opts.max_tokens = opts.max_tokens or 128
  local room = app.engine.n_ctx - math.min(opts.max_tokens, math.floor(app.engine.n_ctx / 2)) - 8
  local ids = infill_prompt(app, r, room)
  if opts.max_tokens == 0 then return x:json(200, { content = "", stop = true, tokens_predicted = 0 }) end -- to warm up
  local run, parts = choices.start(app, { ids }, 1, opts), {}
  if stream and not x:begin_events() then return run:close() end
  local all = run:run(x, function(_, text, _, ended)
    parts[#parts + 1] = text
    if stream and not ended then return x:event { content = text, stop = false } end
    if stream and text ~= "" then return x:event { content = text, stop = false } end
  end)
  if not all then return end
  local s = run.tickets[1].stats
  local out = { content = stream and "" or table.concat(parts), stop = true, model = app.id, tokens_predicted = s.n_tokens,
    tokens_evaluated = s.n_prompt, tokens_cached = s.n_reused, stop_type = s.state == "eog" and "eos" or s.state == "stop" and "word"
      or "limit", truncated = false,
    timings = { prompt_n = s.n_prompt - s.n_reused, prompt_ms = s.prompt_seconds * 1000, predicted_n = s.n_tokens,
      predicted_ms = s.token_seconds * 1000 } }
  if not stream then return x:json(200, out) end
  x:event(out)
  x:end_events()
end

return M
