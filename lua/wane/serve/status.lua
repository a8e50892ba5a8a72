--- What the server tells of itself and of its vocabulary: /v1/models, /health,
--- /metrics, /slots, /tokenize, /detokenize.
---
--- Prompts and answers of others are never told.
local M = {}

local json = require "wane.json"
local request = require "wane.serve.request"

local function card(app)
  local info = app.model:info()
  return json.ordered { { "id", app.id }, { "object", "model" }, { "created", app.started }, { "owned_by", "wane" },
    { "meta", { n_vocab = app.model.hp.vocab_size, n_ctx = app.engine.n_ctx, n_ctx_train = app.model.hp.context_length,
      n_embd = app.model.hp.embedding_length, architecture = info.architecture } } }
end

--- GET /v1/models
function M.models(app, x) x:json(200, json.ordered { { "object", "list" }, { "data", { card(app) } } }) end

--- GET /v1/models/ID
function M.model(app, x) x:json(200, card(app)) end

--- GET /health
function M.health(app, x)
  if app.closing then return x:json(503, { status = "closing" }) end
  x:json(200, { status = "ok" })
end

-- Generations that have begun, and those that wait.
local function busy(app)
  local running, waiting = 0, 0
  for _, t in ipairs(app.engine.live) do
    if (t.gen:stats().seq or 0) > 0 then running = running + 1 else waiting = waiting + 1 end
  end
  return running, waiting
end

local function line(out, name, kind, help, value)
  out[#out + 1] = ("# HELP wane_%s %s\n# TYPE wane_%s %s\nwane_%s %.14g"):format(name, help, name, kind, name, value)
end

--- GET /metrics: Prometheus' text format.
function M.metrics(app, x)
  local c, out = app.engine.counts, {}
  local running, waiting = busy(app)
  line(out, "prompt_tokens_total", "counter", "Tokens of prompts.", c.prompt)
  line(out, "prompt_tokens_reused_total", "counter", "Tokens of prompts that the context still held.", c.reused)
  line(out, "generated_tokens_total", "counter", "Tokens generated.", c.generated)
  line(out, "generations_finished_total", "counter", "Generations that came to their end.", c.finished)
  line(out, "generations_cancelled_total", "counter", "Generations whose client went away, or whose time was over.", c.cancelled)
  line(out, "generations_failed_total", "counter", "Generations that failed.", c.failed)
  line(out, "requests_refused_total", "counter", "Requests refused because the queue was full.", c.refused)
  line(out, "steps_total", "counter", "Turns of work.", c.steps)
  line(out, "step_seconds_total", "counter", "Seconds of work.", c.seconds)
  line(out, "generations_running", "gauge", "Generations that run.", running)
  line(out, "generations_waiting", "gauge", "Generations that wait for a sequence.", waiting)
  line(out, "slots", "gauge", "Sequences of the context.", app.engine.parallel)
  line(out, "uptime_seconds", "gauge", "Seconds since the start.", os.time() - app.started)
  out[#out + 1] = "# HELP wane_requests_total Requests by status.\n# TYPE wane_requests_total counter"
  local codes = {}
  for status in pairs(app.statuses) do codes[#codes + 1] = status end
  table.sort(codes)
  for _, status in ipairs(codes) do
    out[#out + 1] = ('wane_requests_total{status="%d"} %d'):format(status, app.statuses[status])
  end
  x:text(200, "text/plain; version=0.0.4", table.concat(out, "\n") .. "\n")
end

--- GET /slots: the sequences and what runs in them.
function M.slots(app, x)
  local list = json.list {}
  for i = 1, app.engine.parallel do list[i] = { id = i - 1, n_ctx = app.engine.n_ctx, is_processing = false } end
  for _, t in ipairs(app.engine.live) do
    local s = t.gen:stats()
    local slot = s.seq and list[s.seq]
    if slot then
      slot.is_processing, slot.n_prompt, slot.n_prompt_done = true, s.n_prompt, s.n_prompt_done
      slot.n_reused, slot.n_decoded, slot.seconds = s.n_reused, s.n_tokens, os.time() - t.began
    end
  end
  x:json(200, list)
end

--- POST /tokenize: { content, add_special, parse_special, with_pieces }, or, as
--- evaluation programs ask, { prompt, add_special_tokens }.
function M.tokenize(app, x, body)
  local r = request.new(body)
  local field = r:get "content" == nil and r:get "prompt" ~= nil and "prompt" or "content"
  r:need(field, "a text")
  local parse, special = r:boolean "parse_special", r:boolean "add_special"
  if special == nil then special = r:boolean "add_special_tokens" end
  local ids, message = app.model.vocab:encode(r:string(field), { special = special == true, parse_special = parse == nil or parse })
  if not ids then request.refuse(400, message, field) end
  local out = json.list {}
  local pieces = r:boolean "with_pieces"
  for i, id in ipairs(ids) do out[i] = pieces and { id = id, piece = app.model.vocab:piece(id, true) } or id end
  x:json(200, { tokens = out, count = #ids, max_model_len = app.engine.n_ctx })
end

--- GET /tokenizer_info: what evaluation programs want to know of a vocabulary.
function M.tokenizer_info(app, x)
  local v = app.model.vocab
  local function token(name) return v.special[name] and v:text(v.special[name]) or json.null end
  local template = app.opts.template or app.model:meta "tokenizer.chat_template"
  x:json(200, json.ordered { { "tokenizer_class", "wane" }, { "bos_token", token "bos" }, { "eos_token", token "eos" },
    { "pad_token", token "pad" }, { "unk_token", token "unk" }, { "chat_template", type(template) == "string" and template or json.null },
    { "model_max_length", app.engine.n_ctx } })
end

--- POST /detokenize: { tokens }
function M.detokenize(app, x, body)
  local r = request.new(body)
  local tokens = r:need("tokens", "a list of token ids")
  if not (request.is_list(tokens) and #tokens == 0) and not request.is_ids(tokens, app.model.hp.vocab_size) then
    request.refuse(400, ("'tokens': want ids from 0 to %d"):format(app.model.hp.vocab_size - 1), "tokens")
  end
  local ids = {}
  for i = 1, #tokens do ids[i] = tokens[i] end
  local text = app.model.vocab:decode(ids, { unparse_special = true })
  x:json(200, { content = text, prompt = text })
end

return M
