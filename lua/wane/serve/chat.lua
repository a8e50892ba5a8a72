--- /v1/chat/completions and /apply-template.
local M = {}

local choices = require "wane.serve.choices"
local conversation = require "wane.serve.conversation"
local json = require "wane.json"
local logprobs = require "wane.serve.logprobs"
local params = require "wane.serve.params"
local request = require "wane.serve.request"

local ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

-- An id of nine letters and digits: some templates want exactly that of calls.
local function call_id()
  local out = {}
  for i = 1, 9 do
    local k = params.draw(#ALPHABET)
    out[i] = ALPHABET:sub(k, k)
  end
  return table.concat(out)
end

-- One choice as it grows.
local function new_choice(c, i)
  return { index = i - 1, parser = conversation.parser(c), ids = {}, seen = 0, scores = json.list {} }
end

-- A delta of the parser as one of the API.
local function delta_of(choice, d)
  local call = d.tool_call
  if not call then return d end
  local f
  if call.name then
    choice.ids[call.index] = call_id()
    f = json.ordered { { "index", call.index - 1 }, { "id", choice.ids[call.index] }, { "type", "function" },
      { "function", json.ordered { { "name", call.name }, { "arguments", "" } } } }
  else
    f = json.ordered { { "index", call.index - 1 }, { "function", { arguments = call.arguments } } }
  end
  return { tool_calls = { f } }
end

-- Log probabilities of the tokens that came since the last time.
local function scored(choice, t)
  for k = choice.seen + 1, #t.scores do choice.scores[#choice.scores + 1] = logprobs.chat_entry(t.scores[k]) end
  choice.seen = #t.scores
end

local function reason_of(choice, t)
  local m = choice.message
  return m.tool_calls and not m.truncated and "tool_calls" or choices.reason(t)
end

-- The finished message with the ids that were told in deltas.
local function message_of(choice)
  local m = choice.message
  local calls
  for i, call in ipairs(m.tool_calls or {}) do
    calls = calls or {}
    calls[i] = json.ordered { { "id", choice.ids[i] or call_id() }, { "type", "function" },
      { "function", json.ordered { { "name", call["function"].name }, { "arguments", call["function"].arguments } } } }
  end
  local out = { { "role", "assistant" }, { "content", (not calls or m.content ~= "") and m.content or json.null } }
  if m.reasoning_content then out[#out + 1] = { "reasoning_content", m.reasoning_content } end
  if calls then out[#out + 1] = { "tool_calls", calls } end
  return json.ordered(out)
end

local function head(job, object)
  return { { "id", job.id }, { "object", object }, { "created", job.created }, { "model", job.model },
    { "system_fingerprint", job.app.fingerprint } }
end

-- ---- one answer -------------------------------------------------------------------

local function whole(job, x)
  local list = {}
  local all = job.run:run(x, function(i, text, t, ended)
    local choice = job.choices[i]
    choice.parser:feed(text)
    scored(choice, t)
    if not ended then return end
    choice.message = choice.parser:finish()
    list[i] = json.ordered { { "index", choice.index }, { "message", message_of(choice) },
      { "logprobs", job.top and { content = choice.scores, refusal = json.null } or json.null },
      { "finish_reason", reason_of(choice, t) } }
  end)
  if not all then return end
  local out = head(job, "chat.completion")
  out[#out + 1] = { "choices", list }
  out[#out + 1] = { "usage", choices.usage(job.run.tickets, { job.c.ids }) }
  x:json(200, json.ordered(out))
end

-- ---- events -----------------------------------------------------------------------

local function chunk(job, x, choice, delta, reason)
  local scores = json.null
  if job.top and #choice.scores > 0 then
    scores = { content = choice.scores, refusal = json.null }
    choice.scores = json.list {}
  end
  local out = head(job, "chat.completion.chunk")
  out[#out + 1] = { "choices", { json.ordered { { "index", choice.index }, { "delta", json.object(delta) },
    { "logprobs", scores }, { "finish_reason", reason or json.null } } } }
  if job.usage then out[#out + 1] = { "usage", json.null } end
  return x:event(json.ordered(out))
end

local function events(job, x)
  if not x:begin_events() then return job.run:close() end
  for _, choice in ipairs(job.choices) do chunk(job, x, choice, { role = "assistant", content = "" }) end
  local all = job.run:run(x, function(i, text, t, ended)
    local choice = job.choices[i]
    local deltas = choice.parser:feed(text)
    scored(choice, t)
    for _, d in ipairs(deltas) do
      if not chunk(job, x, choice, delta_of(choice, d)) then return false end
    end
    if not ended then return end
    for _, d in ipairs(choice.parser:drain()) do
      if not chunk(job, x, choice, delta_of(choice, d)) then return false end
    end
    choice.message = choice.parser:message()
    return chunk(job, x, choice, {}, reason_of(choice, t))
  end)
  if not all then return end
  if job.usage then
    local out = head(job, "chat.completion.chunk")
    out[#out + 1] = { "choices", json.list {} }
    out[#out + 1] = { "usage", choices.usage(job.run.tickets, { job.c.ids }) }
    x:event(json.ordered(out))
  end
  x:event "[DONE]"
  x:end_events()
end

--- POST /v1/chat/completions
---@param app table
---@param x wane.serve.Exchange
---@param body string
function M.completions(app, x, body)
  local r = request.new(body)
  local opts = params.options(r, app.model.hp.vocab_size)
  if opts.max_tokens == 0 then request.refuse(400, "'max_tokens': want at least 1", "max_tokens") end
  local job = { app = app, id = app:new_id "chatcmpl-", created = os.time(), model = app:model_of(r), top = logprobs.wanted(r),
    usage = app.wants_usage(r) }
  local n, stream = r:integer("n", 1, app.opts.max_choices) or 1, r:boolean "stream"
  opts.logprobs = job.top
  job.c = conversation.read(app, r, opts)
  job.run, job.choices = choices.start(app, { job.c.ids }, n, opts), {}
  local ok, why = pcall(function()
    for i = 1, n do job.choices[i] = new_choice(job.c, i) end
  end)
  if not ok then
    job.run:close()
    error(why, 0)
  end
  return (stream and events or whole)(job, x)
end

--- POST /apply-template: the text that messages become.
function M.apply_template(app, x, body)
  local r = request.new(body)
  x:json(200, { prompt = conversation.read(app, r, {}).text })
end

return M
