--- The server: requests over real sockets of the loopback, in one loop with it;
--- its command line in a process of its own.
local core = require "wane.core"
local json = require "wane.json"
local support = require "spec.support"
local wane = require "wane"

local unpack = rawget(table, "unpack") or rawget(_G, "unpack")
local DEMO = "examples/models/demo-f16.gguf"
local PURE = ";/usr/share/lua/5.1/?.lua;/usr/share/lua/5.1/?/init.lua" -- lua-http's pure part serves other Luas too

-- The path under which the libraries are found, or nil.
local function library_path()
  if pcall(require, "http.server") then return package.path end
  local before = package.path
  package.path = before .. PURE
  local ok = pcall(require, "http.server")
  package.path = before
  return ok and before .. PURE or nil
end
local PATH = library_path()

-- ---- a small client ----------------------------------------------------------------

local function post(path, body, o)
  o = o or {}
  if type(body) == "table" then body = json.encode(body) end
  local head = { ("%s %s HTTP/1.1"):format(o.method or "POST", path), "Host: " .. (o.host or "127.0.0.1"),
    "Connection: " .. (o.connection or "close") }
  if body then head[#head + 1] = "Content-Length: " .. (o.length or #body) end
  for _, line in ipairs(o.lines or {}) do head[#head + 1] = line end
  return table.concat(head, "\r\n") .. "\r\n\r\n" .. (body or "")
end
local function get(path, o)
  o = o or {}
  o.method = "GET"
  return post(path, nil, o)
end

local function unchunked(text)
  local out, at = {}, 1
  while true do
    local hex, behind = text:match("^(%x+)\r\n()", at)
    if not hex then return nil end
    local n = tonumber(hex, 16)
    if n == 0 then return table.concat(out) end
    out[#out + 1], at = text:sub(behind, behind + n - 1), behind + n + 2
  end
end

-- A response: { status, head, body, json }.
local function parse(text)
  local head, body = text:match "^(.-\r\n)\r\n(.*)$"
  if not head then return { status = 0, head = text, body = "" } end
  local low = head:lower()
  if low:find("transfer-encoding: chunked", 1, true) then body = unchunked(body) end
  local r = { status = tonumber(head:match "^HTTP/1%.1 (%d+)"), head = low, body = body }
  if low:find("content-type: application/json", 1, true) then r.json = assert(json.decode(body)) end
  return r
end

local function connect(server)
  local socket = require("cqueues.socket").connect("127.0.0.1", server.port)
  socket:onerror(function(_, _, why) return why end)
  socket:setmode("b", "bn")
  return socket
end

-- Runs clients, each a function, in the server's loop until all are done.
local function run(server, clients)
  local left, failure = #clients, nil
  for i, client in ipairs(clients) do
    server.cq:wrap(function()
      local ok, why = pcall(client, i)
      if not ok then failure = failure or why end
      left = left - 1
    end)
  end
  local deadline = os.time() + 60
  while left > 0 and os.time() < deadline do server:step(0.05) end
  if failure then error(failure, 0) end
  assert.equals(0, left)
end

-- Sends requests, each over a connection of its own, all at once.
local function ask(server, ...)
  local requests, out = { ... }, {}
  local clients = {}
  for i, text in ipairs(requests) do
    clients[i] = function()
      local socket = connect(server)
      socket:xwrite(text, "n", 5)
      out[i] = parse(socket:xread("*a", 30) or "")
      socket:close()
    end
  end
  run(server, clients)
  return unpack(out)
end

local function chat(text, more)
  local body = { messages = { { role = "user", content = text } }, max_tokens = 8, temperature = 0 }
  for key, v in pairs(more or {}) do body[key] = v end
  return body
end

-- Events of a stream, decoded; the last one is "[DONE]".
local function events(body)
  local out = {}
  for line in body:gmatch "data: ([^\n]*)\n\n" do
    out[#out + 1] = line == "[DONE]" and line or assert(json.decode(line))
  end
  return out
end

local WEATHER = { type = "function", ["function"] = { name = "get_weather", description = "Weather", parameters = {
  type = "object", properties = { days = { type = "integer", enum = { 1, 2 } } }, required = { "days" },
  additionalProperties = false } } }

describe("serve", function()
  local model, server, saved

  local function start(opts)
    local o = { port = 0, parallel = 3, context = 128, note = function(s) error("note: " .. s, 0) end }
    for key, v in pairs(opts or {}) do o[key] = v end
    if server then server:close() end
    server = assert(require("wane.serve").new(model, o))
    return server
  end

  support.check_leaks(function()
    if not PATH then return end
    saved, package.path = package.path, PATH
    model = assert(wane.load(DEMO, { context = 128, threads = 1 }))
  end, function()
    if not PATH then return end
    if server then server:close() end
    model:close()
    server, model = nil, nil
    package.path = saved
  end)

  local function it_serves(name, test)
    it(name, function()
      if not PATH then support.skip "the Lua library http (lua-http on cqueues) is not installed" end
      test()
    end)
  end

  local function alone(prompt, opts)
    local parts = {}
    for text in model:generate(prompt, opts) do parts[#parts + 1] = text end
    return table.concat(parts)
  end

  it_serves("tells of itself", function()
    start()
    local health, models, slots, metrics = ask(server, get "/health", get "/v1/models", get "/slots", get "/metrics")
    assert.equals("ok", health.json.status)
    assert.equals("demo-f16", models.json.data[1].id)
    assert.equals(128, models.json.data[1].meta.n_ctx)
    assert.equals(3, #slots.json)
    assert.truthy(metrics.body:find "\nwane_slots 3\n")
    assert.truthy(metrics.head:find("text/plain; version=0.0.4", 1, true))
    assert.equals(200, ask(server, get "/v1/models/demo-f16").status)
  end)

  it_serves("tokenizes and back", function()
    start()
    local text = "Once upon a time, äöü"
    local r = ask(server, post("/tokenize", { content = text })).json
    assert.same(model.vocab:encode(text, { parse_special = true }), { unpack(r.tokens) })
    assert.equals(text, ask(server, post("/detokenize", { tokens = r.tokens })).json.content)
    local pieces = ask(server, post("/tokenize", { content = "Once", with_pieces = true, add_special = true })).json.tokens
    assert.equals(model.vocab.bos, pieces[1].id)
    -- the words of evaluation programs
    local other = ask(server, post("/tokenize", { prompt = text, add_special_tokens = true })).json
    assert.equals(#r.tokens + 1, other.count)
    assert.equals(model.vocab.bos, other.tokens[1])
    assert.equals(text, ask(server, post("/detokenize", { tokens = r.tokens })).json.prompt)
    local info = ask(server, get "/tokenizer_info").json
    assert.equals(model.vocab:text(model.vocab.bos), info.bos_token)
    assert.equals(model.vocab:text(model.vocab.eos), info.eos_token)
    assert.equals(model.vocab.eos, ask(server, post("/tokenize", { prompt = info.eos_token })).json.tokens[1])
    assert.equals(400, ask(server, post("/tokenize", { prompt = 1 })).status)
  end)

  it_serves("answers a chat with what the model says alone", function()
    start()
    local r = ask(server, post("/v1/chat/completions", chat("Hello", { model = "any" })))
    assert.equals(200, r.status)
    local m = r.json.choices[1]
    local want = alone("User: Hello\n\nAssistant:", { max_tokens = 8, temperature = 0, add_special = true })
    assert.equals((want:gsub("^%s+", ""):gsub("%s+$", "")), m.message.content)
    assert.equals("assistant", m.message.role)
    assert.equals("length", m.finish_reason)
    assert.equals("any", r.json.model)
    assert.equals(8, r.json.usage.completion_tokens)
    assert.equals(r.json.usage.prompt_tokens + 8, r.json.usage.total_tokens)
    local prompt = ask(server, post("/apply-template", chat "Hello")).json.prompt
    assert.equals("User: Hello\n\nAssistant:", prompt)
  end)

  it_serves("streams: the role first, then the same text, the usage and the end", function()
    start()
    local body = chat("Hello", { stream = true, stream_options = { include_usage = true }, logprobs = true, n = 2, seed = 5,
      temperature = 1 })
    local stream = ask(server, post("/v1/chat/completions", body))
    body.stream, body.stream_options = nil, nil
    local whole = ask(server, post("/v1/chat/completions", body)).json
    assert.truthy(stream.head:find("text/event-stream", 1, true))
    local list = events(stream.body)
    assert.equals("[DONE]", list[#list])
    assert.same(whole.usage.completion_tokens, list[#list - 1].usage.completion_tokens)
    assert.equals(0, #list[#list - 1].choices)
    local texts, reasons, scores = { "", "" }, {}, { 0, 0 }
    for i = 1, #list - 2 do
      local c = list[i].choices[1]
      local k = c.index + 1
      if i <= 2 then assert.equals("assistant", c.delta.role) end
      assert.is_nil(reasons[k])
      texts[k] = texts[k] .. (c.delta.content or "")
      if c.logprobs ~= json.null then scores[k] = scores[k] + #c.logprobs.content end
      if c.finish_reason ~= json.null then reasons[k] = c.finish_reason end
    end
    for k = 1, 2 do
      assert.equals(whole.choices[k].message.content, (texts[k]:gsub("^%s+", ""):gsub("%s+$", "")))
      assert.equals(whole.choices[k].finish_reason, reasons[k])
      assert.equals(#whole.choices[k].logprobs.content, scores[k])
    end
    assert.not_equals(texts[1], texts[2])
  end)

  it_serves("gives log probabilities of prompts and of what follows", function()
    start()
    local ids = model.vocab:encode("The King's daughter", { special = true })
    local r = ask(server, post("/v1/completions", { prompt = { ids, "Once" }, max_tokens = 2, temperature = 0, echo = true, logprobs = 2 }))
    assert.equals(2, #r.json.choices)
    local lp = r.json.choices[1].logprobs
    assert.equals(#ids + 2, #lp.tokens)
    assert.equals(json.null, lp.token_logprobs[1])
    local ctx = assert(model:context())
    local rows = assert(ctx:eval(ids, { all = true }))
    for i = 2, #ids do
      local value = require("wane.sample").logprobs(rows, ids[i], 0, i - 1)
      assert.is_true(math.abs(value - lp.token_logprobs[i]) < 1e-4)
    end
    rows:close()
    ctx:close()
    assert.equals("The King's daughter" .. alone(ids, { max_tokens = 2, temperature = 0 }),
      (r.json.choices[1].text:gsub("^<|bos|>", "")))
    local none = ask(server, post("/v1/completions", { prompt = ids, max_tokens = 0, echo = true, logprobs = 1 })).json
    assert.equals(0, none.usage.completion_tokens)
    for i = 2, #ids do assert.equals(lp.token_logprobs[i], none.choices[1].logprobs.token_logprobs[i]) end
    assert.equals("length", none.choices[1].finish_reason)
  end)

  it_serves("gives evaluation programs the perplexity that wane measures", function()
    start()
    local text = support.slurp "examples/text/heldout.txt":sub(1, 3000)
    local own = assert(require("wane.eval").perplexity(model, text, { context = 128, chunks = 2 }))
    local ids, sum, n = model.vocab:encode(text, { special = true }), 0, 0
    for c = 0, 1 do
      local chunk = {}
      for i = 1, 128 do chunk[i] = i == 1 and model.vocab.bos or ids[c * 128 + i] end
      local r = ask(server, post("/v1/completions", { prompt = chunk, max_tokens = 0, echo = true, logprobs = 0 })).json
      for i = 128 / 2 + 2, 128 do
        sum, n = sum - r.choices[1].logprobs.token_logprobs[i], n + 1
      end
    end
    assert.equals(own.tokens, n)
    assert.is_true(math.abs(math.exp(sum / n) / own.perplexity - 1) < 1e-5)
  end)

  it_serves("shows a page that asks nobody else", function()
    start { api_key = "k" }
    local r = ask(server, get "/")
    assert.equals(200, r.status)
    assert.truthy(r.head:find("content-type: text/html; charset=utf-8", 1, true))
    assert.truthy(r.head:find("default-src 'none'", 1, true))
    assert.is_nil(r.body:find "https?:")
    assert.is_nil(r.body:find("innerHTML", 1, true))
    assert.truthy(r.body:find("/v1/chat/completions", 1, true))
  end)

  it_serves("takes the model apart for the page", function()
    start { report = "<!doctype html><p>compared" }
    local m = ask(server, get "/inspect").json
    assert.equals("llama", m.architecture)
    local bytes, by_layer = 0, 0
    for _, t in ipairs(m.tensors) do bytes = bytes + t.bytes end
    for _, l in ipairs(m.layers) do by_layer = by_layer + l.tensors end
    assert.equals(m.bytes, bytes)
    assert.equals(8, #m.layers)
    assert.equals(8 * 9, by_layer)
    local name = "blk.1.ffn_down.weight"
    local t = ask(server, post("/inspect/tensor", { name = name })).json
    local counted = 0
    for _, n in ipairs(t.counts) do counted = counted + n end
    assert.equals(t.sampled_rows * t.cols, counted)
    -- a block is what wane.quant makes of the same row
    local row = assert(core.quant.read(model.gguf, model.gguf:find_tensor(name), 7))
    local own = assert(require("wane.quant").encode("q4_K", row)):block(2)
    local b = ask(server, post("/inspect/block", { name = name, row = 7, block = 2, type = "q4_K" })).json
    assert.same(own.levels, { unpack(b.levels) })
    assert.equals(257, b.column)
    assert.equals(144, #b.bytes)
    for i = 1, 256 do
      local s = math.floor((i - 1) / 32) + 1
      assert.is_true(math.abs(b.d * b.scale_codes[s] * b.levels[i] - b.dmin * b.min_codes[s] - b.values[i]) < 1e-6)
      assert.equals(row[256 + i], b.source[i])
    end
    row:close()
    local layers = ask(server, post("/inspect/layers", { role = "ffn_down", type = "q8_0" })).json.layers
    assert.equals(8, #layers)
    for _, l in ipairs(layers) do assert.is_true(l.error > 0 and l.error < 0.02) end
    local r = ask(server, post("/inspect/rounding", { name = name })).json
    assert.equals(32, #r.source)
    assert.equals(6, #r.types)
    for i = 2, 6 do assert.is_true(r.types[i].error < r.types[i - 1].error) end
    local o = ask(server, post("/inspect/outputs", { name = name })).json.types
    for i = 1, 6 do
      assert.equals(r.types[i].error > 0, o[i].outputs > 0)
      if i > 1 then assert.is_true(o[i].outputs < o[i - 1].outputs) end
    end
    local a = ask(server, post("/inspect/alpha", { name = name, type = "q3_K" })).json
    assert.equals(11, #a.alphas)
    for _, p in ipairs(a.alphas) do assert.is_true(p.error > 0 and p.error < 1) end
    local fits = ask(server, post("/inspect/fit", { ram = "1G" })).json.text
    assert.truthy(fits:find("Q4_K_M", 1, true))
    assert.equals("demo-f16: llama", fits:sub(1, 15))
    assert.equals("<!doctype html><p>compared", ask(server, get "/report").body)
    for _, case in ipairs {
      { "tensor", "{}", 400, "'name' is missing" }, { "tensor", { name = "no" }, 404, "no such tensor" },
      { "block", { name = name, row = 257 }, 400, "'row': want an integer from 1 to 256" },
      { "block", { name = name, block = 4, type = "q4_K" }, 400, "'block': want an integer from 1 to 3" },
      { "block", { name = name, type = "q9" }, 400, "'type'" }, { "block", { name = "blk.0.attn_norm.weight", type = 7 }, 400, "'type'" },
      { "layers", { role = "nothing" }, 404, "no layer" }, { "layers", { type = "f16" }, 400, "'type'" },
      { "outputs", { name = "token_embd.weight", text = "x" }, 400, "'text'" },
      { "outputs", { name = "blk.0.attn_norm.weight" }, 400, "has no inputs" }, { "fit", { ram = "much" }, 400, "'ram'" },
    } do
      local refused = ask(server, post("/inspect/" .. case[1], case[2]))
      assert.equals(case[3], refused.status, case[1] .. ": " .. refused.body)
      assert.truthy(refused.json.error.message:find(case[4], 1, true), refused.body)
    end
    start { api_key = "k" }
    assert.equals(401, ask(server, get "/inspect").status)
    assert.equals(404, ask(server, get("/report", { lines = { "Authorization: Bearer k" } })).status)
  end)

  it_serves("scores more texts than it has sequences", function()
    start { parallel = 2, queue = 30 }
    local body = { prompt = { "Once upon a time", "The King" }, n = 4, max_tokens = 9, seed = 1, temperature = 1, logprobs = 1 }
    local many = { ask(server, post("/v1/completions", body), post("/v1/completions", body), post("/v1/chat/completions",
      chat("Hi", { n = 3, logprobs = true, stream = true }))) }
    assert.same(many[1].json.choices, many[2].json.choices)
    body.prompt, body.n = "The King", 1
    local one = ask(server, post("/v1/completions", body)).json.choices[1]
    assert.equals(9, #one.logprobs.tokens)
    for i = 1, 9 do
      assert.equals(one.logprobs.tokens[i], many[1].json.choices[5].logprobs.tokens[i])
      assert.is_true(math.abs(one.logprobs.token_logprobs[i] - many[1].json.choices[5].logprobs.token_logprobs[i]) < 1e-5)
    end
  end)

  it_serves("reads nothing twice for log probabilities, and a prompt as long as a slot", function()
    local made, own = 0, model.context
    model.context = function(...) -- luacheck: ignore
      made = made + 1
      return own(...)
    end
    start { parallel = 2 }
    local ids = json.list {}
    for i = 1, 128 do ids[i] = 31 + i % 60 end
    local body = { prompt = ids, max_tokens = 1, temperature = 0, echo = true, logprobs = 1, stream = true }
    local whole, stream = ask(server, post("/v1/completions", { prompt = ids, max_tokens = 0, echo = true, logprobs = 1 })),
      ask(server, post("/v1/completions", body))
    model.context = nil
    assert.equals(1, made)
    assert.equals(128, #whole.json.choices[1].logprobs.tokens)
    local list, told = events(stream.body), { tokens = {}, token_logprobs = {}, text_offset = {} }
    for i = 1, #list - 1 do
      for name, all in pairs(told) do
        for _, v in ipairs(list[i].choices[1].logprobs[name]) do all[#all + 1] = v end
      end
    end
    assert.equals(129, #told.tokens)
    for i = 1, 128 do
      assert.equals(whole.json.choices[1].logprobs.token_logprobs[i], told.token_logprobs[i])
      assert.equals(whole.json.choices[1].logprobs.text_offset[i], told.text_offset[i])
    end
    assert.equals(#whole.json.choices[1].text, told.text_offset[129])
    body.max_tokens, body.stream = 2, nil
    local long = ask(server, post("/v1/completions", body))
    assert.equals(400, long.status)
    assert.truthy(long.body:find("has 128 tokens, a slot has room for 127", 1, true))
  end)

  it_serves("stops at texts, bans tokens, keeps seeds", function()
    start()
    local free = ask(server, post("/v1/completions", { prompt = "Once upon a time", max_tokens = 12, temperature = 0 })).json.choices[1].text
    local cut = free:sub(6, 9)
    local r = ask(server, post("/v1/completions", { prompt = "Once upon a time", max_tokens = 12, temperature = 0, stop = { cut } })).json.choices[1]
    assert.equals(free:sub(1, (free:find(cut, 1, true)) - 1), r.text)
    assert.equals("stop", r.finish_reason)
    local first = model.vocab:encode("Once upon a time" .. free, {})[#model.vocab:encode "Once upon a time" + 1]
    local banned = ask(server, post("/v1/completions", { prompt = "Once upon a time", max_tokens = 3, temperature = 0,
      logit_bias = { [tostring(first)] = -100 } })).json.choices[1].text
    assert.not_equals(free:sub(1, #banned), banned)
    local a, b, c = ask(server, post("/v1/completions", { prompt = "The", seed = 3, max_tokens = 9 }),
      post("/v1/completions", { prompt = "The", seed = 3, max_tokens = 9 }), post("/v1/completions", { prompt = "The", seed = 4, max_tokens = 9 }))
    assert.equals(a.json.choices[1].text, b.json.choices[1].text)
    assert.not_equals(a.json.choices[1].text, c.json.choices[1].text)
  end)

  it_serves("keeps schemas, and calls the tools that it must", function()
    start { context = 512 }
    local schema = { type = "object", properties = { ok = { type = "boolean" } }, required = { "ok" }, additionalProperties = false }
    local r = ask(server, post("/v1/chat/completions", chat("JSON", { max_tokens = 100, temperature = 1, seed = 2,
      response_format = { type = "json_schema", json_schema = { name = "x", schema = schema } } }))).json.choices[1]
    assert.equals("stop", r.finish_reason)
    assert.equals("boolean", type(assert(json.decode(r.message.content)).ok))
    for _, choice in ipairs { "required", { type = "function", ["function"] = { name = "get_weather" } } } do
      local call = ask(server, post("/v1/chat/completions", chat("Weather?", { max_tokens = 200, seed = 2, tools = { WEATHER },
        tool_choice = choice }))).json.choices[1]
      assert.equals("tool_calls", call.finish_reason)
      assert.equals(json.null, call.message.content)
      local f = call.message.tool_calls[1]
      assert.equals("get_weather", f["function"].name)
      assert.truthy(f.id:find "^%w%w%w%w%w%w%w%w%w$")
      local days = assert(json.decode(f["function"].arguments)).days
      assert.is_true(days == 1 or days == 2)
    end
    local list = events(ask(server, post("/v1/chat/completions", chat("Weather?", { max_tokens = 200, seed = 2, tools = { WEATHER },
      tool_choice = "required", stream = true }))).body)
    local name, arguments = nil, ""
    for i = 1, #list - 1 do
      local call = list[i].choices[1].delta.tool_calls
      if call and call[1]["function"].name then name = call[1]["function"].name end
      if call then arguments = arguments .. call[1]["function"].arguments end
    end
    assert.equals("get_weather", name)
    assert.truthy(json.decode(arguments).days)
    assert.equals("tool_calls", list[#list - 1].choices[1].finish_reason)
  end)

  it_serves("writes conversations as the template does, and shows tools where it has a place", function()
    start { template = "{% for t in tools or [] %}[{{ t.function.name }}]{% endfor %}"
      .. "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% for c in m.tool_calls or [] %}"
      .. "{{ c.function.name }}({{ c.function.arguments.days }}){% endfor %}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
      .. "{{ mood }}" }
    local messages = {
      { role = "developer", content = "Be brief." }, { role = "user", content = { { type = "text", text = "Hi" }, { type = "text", text = "!" } } },
      { role = "assistant", content = json.null, tool_calls = { { id = "1", type = "function",
        ["function"] = { name = "get_weather", arguments = '{"days": 2}' } } } },
      { role = "tool", tool_call_id = "1", content = "<assistant>rain" },
    }
    local text = ask(server, post("/apply-template", { messages = messages, tools = { WEATHER }, chat_template_kwargs = { mood = "!" } })).json.prompt
    assert.equals("[get_weather]<system>Be brief.<user>Hi!<assistant>get_weather(2)<tool><assistant>rain<assistant>!", text)
    text = ask(server, post("/apply-template", { messages = messages, tools = { WEATHER }, tool_choice = "none" })).json.prompt
    assert.is_nil(text:find("[get_weather]", 1, true))
    start()
    text = ask(server, post("/apply-template", { messages = messages, tools = { WEATHER } })).json.prompt
    assert.truthy(text:find('"name":"get_weather"', 1, true))
  end)

  it_serves("embeds texts", function()
    start()
    local r = ask(server, post("/v1/embeddings", { input = { "one owl", "two" } })).json
    local own = assert(model:embed("one owl", { pooling = "last" }))
    assert.equals(2, #r.data)
    assert.equals(#own, #r.data[1].embedding)
    for i = 1, #own do assert.is_true(math.abs(own[i] - r.data[1].embedding[i]) < 1e-6) end
    local coded = ask(server, post("/v1/embeddings", { input = "one owl", encoding_format = "base64" })).json.data[1].embedding
    assert.equals(require("wane.serve.vectors").base64(own:bytes()), coded)
    own:close()
    local vectors = require "wane.serve.vectors"
    assert.equals("d2FuZQ==", vectors.base64 "wane")
    assert.equals("AP8=", vectors.base64 "\0\255")
    assert.equals("", vectors.base64 "")
    local rank = ask(server, post("/v1/rerank", { query = "a", documents = { "b" } }))
    assert.equals(501, rank.status)
  end)

  -- Runs test with a server of another file.
  local function with(path, opts, test)
    local demo = model
    model = assert(wane.load(path, { context = 128, threads = 1 }))
    local ok, why = pcall(function()
      start(opts)
      test()
    end)
    server:close()
    model:close()
    server, model = nil, demo
    if not ok then error(why, 0) end
  end

  it_serves("ranks documents with a model that has a head for it", function()
    for _, name in ipairs { "bert-rank", "qwen3-rank" } do
      with(support.conformance(("families/%s/%s.F32.gguf"):format(name, name)), { context = 64 }, function()
        local documents = { "the old king", "a dog and a cat", "owls", "the old king" }
        local own = assert(model:rank("the king", documents))
        local r = ask(server, post("/v1/rerank", { query = "the king", documents = documents }))
        assert.equals(200, r.status, r.body)
        local seen, last = {}, math.huge
        assert.equals(4, #r.json.results)
        for _, result in ipairs(r.json.results) do
          assert.is_true(math.abs(own[result.index + 1] - result.relevance_score) < 1e-6 * (1 + math.abs(own[result.index + 1])))
          assert.is_true(result.relevance_score <= last)
          last, seen[result.index] = result.relevance_score, true
        end
        assert.is_true(seen[0] and seen[1] and seen[2] and seen[3])
        assert.is_true(r.json.usage.total_tokens > 8)
        local best = ask(server, post("/rerank", { query = "the king", documents = { { text = documents[3] }, documents[2] },
          top_n = 1, return_documents = true })).json.results
        assert.equals(1, #best)
        assert.equals(own[3] >= own[2] and "owls" or documents[2], best[1].document.text)
        for _, case in ipairs {
          { { documents = { "a" } }, "'query' is missing" }, { { query = "a" }, "'documents' is missing" },
          { { query = "a", documents = json.list {} }, "at least one" }, { { query = "a", documents = { 1 } }, "element 0" },
          { { query = "a", documents = { "b" }, top_n = 0 }, "'top_n'" },
          { { query = ("word "):rep(9000), documents = { "b" } }, "the model takes at most" },
        } do
          local refused = ask(server, post("/v1/rerank", case[1]))
          assert.equals(400, refused.status, refused.body)
          assert.truthy(refused.json.error.message:find(case[2], 1, true), refused.body)
        end
      end)
    end
  end)

  it_serves("says that an encoder writes no text", function()
    with(support.conformance "families/bert-rank/bert-rank.F32.gguf", { context = 64 }, function()
      for _, r in ipairs { ask(server, post("/v1/chat/completions", chat "Hi"), post("/v1/completions", { prompt = "Hi" })) } do
        assert.equals(400, r.status, r.body)
        assert.truthy(r.json.error.message:find("the model makes no text", 1, true), r.body)
      end
    end)
  end)

  it_serves("fills in where the vocabulary has the tokens", function()
    local path, set = support.tmp "fim.gguf", {}
    for i, name in ipairs { "pre", "suf", "mid", "rep", "sep" } do set[("tokenizer.ggml.fim_%s_token_id"):format(name)] = 200 + i end
    local f = assert(require("wane.gguf").open(DEMO))
    assert(f:write(path, { set = set }))
    f:close()
    local PRE, SUF, MID, REP, SEP = 201, 202, 203, 204, 205
    with(path, nil, function()
      local prompt
      local add = server.engine.add
      server.engine.add = function(self, ids, ...)
        prompt = ids
        return add(self, ids, ...)
      end
      local function joined(...)
        local out = {}
        for _, part in ipairs { ... } do
          for _, id in ipairs(type(part) == "table" and part or type(part) == "string" and model.vocab:encode(part) or { part }) do
            out[#out + 1] = id
          end
        end
        return out
      end
      local body = { input_prefix = "local function add(a, ", prompt = "b)", input_suffix = "end", n_predict = 8, temperature = 0 }
      local r = ask(server, post("/infill", body))
      assert.equals(200, r.status, r.body)
      local want = joined(model.vocab.bos, PRE, "local function add(a, b)", SUF, "end", MID)
      assert.same(want, prompt)
      assert.equals(alone(want, { max_tokens = 8, temperature = 0 }), r.json.content)
      assert.equals(#want, r.json.tokens_evaluated)
      assert.equals(8, r.json.tokens_predicted)
      assert.is_true(r.json.stop)
      body.stream = true
      local text, list = "", events(ask(server, post("/infill", body)).body)
      for _, event in ipairs(list) do text = text .. event.content end
      assert.equals(r.json.content, text)
      assert.is_true(list[#list].stop)
      body.stream, body.input_extra = nil, { { filename = "a.lua", text = "return 1" } }
      ask(server, post("/infill", body))
      assert.same(joined(model.vocab.bos, REP, "myproject\n", SEP, "a.lua\n", "return 1", SEP, "filename\n",
        PRE, "local function add(a, b)", SUF, "end", MID), prompt)
      -- what is too long is cut where it is farthest from the cursor
      body.input_prefix, body.input_suffix = ("far "):rep(300) .. "near ", "next " .. ("far "):rep(300)
      r = ask(server, post("/infill", body))
      assert.equals(200, r.status, r.body)
      assert.is_true(#prompt < 128)
      local read = model.vocab:decode(prompt, { unparse_special = true })
      assert.truthy(read:find("near b)", 1, true))
      assert.truthy(read:find("next far", 1, true))
      assert.equals("", ask(server, post("/infill", { n_predict = 0 })).json.content) -- editors warm up so
      for _, case in ipairs { { { input_prefix = 1 }, "'input_prefix'" }, { { input_extra = { { text = 1 } } }, "'input_extra'" } } do
        local refused = ask(server, post("/infill", case[1]))
        assert.equals(400, refused.status)
        assert.truthy(refused.json.error.message:find(case[2], 1, true), refused.body)
      end
    end)
    os.remove(path)
  end)

  it_serves("refuses what is wrong, and says what", function()
    start()
    local long = ("word "):rep(300)
    local cases = {
      { "/v1/chat/completions", '{"messages":', 400, "JSON: line 1" },
      { "/v1/chat/completions", "[]", 400, "want a JSON object" },
      { "/v1/chat/completions", "{}", 400, "'messages' is missing" },
      { "/v1/chat/completions", { messages = json.list {} }, 400, "at least one" },
      { "/v1/chat/completions", { messages = { 1 } }, 400, "element 0" },
      { "/v1/chat/completions", { messages = { { role = 1, content = "" } } }, 400, "want a role" },
      { "/v1/chat/completions", { messages = { { role = "user",
        content = { { type = "image_url", image_url = { url = "file:///etc/passwd" } } } } } }, 400, "images and audio are not served" },
      { "/v1/chat/completions", chat("x", { temperature = "hot" }), 400, "'temperature': want a number from 0 to 100, got \"hot\"" },
      { "/v1/chat/completions", chat("x", { max_tokens = 1.5 }), 400, "'max_tokens': want an integer" },
      { "/v1/chat/completions", chat("x", { n = 17 }), 400, "'n': want an integer from 1 to 16" },
      { "/v1/chat/completions", chat("x", { stop = { 1 } }), 400, "'stop'" },
      { "/v1/chat/completions", chat("x", { stream = 1 }), 400, "'stream': want true or false, got 1" },
      { "/v1/chat/completions", chat("x", { logit_bias = { ["99999"] = 1 } }), 400, "no token '99999'" },
      { "/v1/chat/completions", chat("x", { tools = { { type = "function",
        ["function"] = { name = "a b" } } } }), 400, "'tools': tool 0" },
      { "/v1/chat/completions", chat("x", { tools = { WEATHER }, tool_choice = { type = "function",
        ["function"] = { name = "no" } } }), 400, "'tool_choice'" },
      { "/v1/chat/completions", chat("x", { response_format = { type = "xml" } }), 400, "'response_format'" },
      { "/v1/chat/completions", chat("x", { response_format = { type = "json_schema", json_schema = { schema = {
        type = "no" } } } }), 400, "schema" },
      { "/v1/chat/completions", chat("x", { grammar = "root ::= (" }), 400, "grammar" },
      { "/v1/chat/completions", chat(long), 400, "tokens, a slot has room for 127" },
      { "/v1/completions", { prompt = { 1, 99999 } }, 400, "prompt" },
      { "/v1/completions", { prompt = 7 }, 400, "'prompt'" },
      { "/v1/completions", { prompt = "x", max_tokens = 0 }, 400, "echo" },
      { "/v1/embeddings", { input = "" }, 400, "is empty" },
      { "/v1/embeddings", { input = "x", dimensions = 100000 }, 400, "dimensions" },
      { "/infill", { input_prefix = "a" }, 501, "no tokens for filling in" },
      { "/detokenize", { tokens = { -1 } }, 400, "'tokens'" },
      { "/v1/chat/completions", ("["):rep(100), 400, "JSON" },
      { "/v1/../etc/passwd", {}, 404, "nothing is served" },
      { "/health", {}, 405, "want GET" },
    }
    for i, case in ipairs(cases) do
      local r = ask(server, post(case[1], case[2]))
      assert.equals(case[3], r.status, ("case %d: %s"):format(i, r.body))
      assert.truthy(r.json.error.message:find(case[4], 1, true), ("case %d: %s"):format(i, r.body))
      assert.equals("string", type(r.json.error.type))
    end
    assert.equals("context_length_exceeded", ask(server, post("/v1/chat/completions", chat(long))).json.error.code)
    assert.equals(0, #server.engine.live)
    assert.equals(200, ask(server, post("/v1/chat/completions", chat "still there?")).status)
  end)

  it_serves("refuses requests that are no HTTP, too large, or another site's", function()
    start { body_bytes = 1000, api_key = "secret" }
    local key = "Authorization: Bearer secret"
    local headers = { key }
    for i = 1, 200 do headers[#headers + 1] = ("X-%d: y"):format(i) end
    local cases = {
      { post("/tokenize", { content = "a" }, { lines = { key } }), 200 },
      { post("/tokenize", { content = "a" }), 401 },
      { post("/tokenize", { content = "a" }, { lines = { key .. "x" } }), 401 },
      { post("/tokenize", { content = "a" }, { lines = { "Authorization: Bearer secre" } }), 401 },
      { get "/health", 200 },
      { post("/tokenize", { content = ("a"):rep(2000) }, { lines = { key } }), 413 },
      { post("/tokenize", "{}", { lines = { key }, length = "99999999999999" }), 413 },
      { post("/tokenize", "{}", { lines = { key }, length = "-2" }), 400 },
      { post("/tokenize", "{}", { lines = { key }, length = "2x" }), 400 },
      { post("/tokenize", "{}", { lines = { key, "Content-Length: 3" } }), 400 },
      { post("/tokenize", "2\r\n{}\r\n0\r\n\r\n", { lines = { key, "Transfer-Encoding: chunked" } }), 411 },
      { post("/tokenize", "{}", { lines = { key, "Transfer-Encoding: ,," } }), 400 },
      { post("/tokenize", "{}", { lines = headers }), 431 },
      { get("/health", { lines = { "X-Long: " .. ("y"):rep(100000) } }), 400 },
      { get("/" .. ("y"):rep(100000)), 400 },
      { "GARBAGE\r\n\r\n", 400 },
      { "\22\3\1\0\1", 400, 0 },
      { get("/health", { lines = { "Origin: http://evil.example" } }), 403 },
      { get("/health", { host = "evil.example" }), 403 },
      { get("/health", { host = "localhost:1", lines = { "Origin: http://localhost:1" } }), 200 },
    }
    for i, case in ipairs(cases) do
      local r
      if case[3] then -- what says nothing complete gets no answer, only an end
        run(server, { function()
          local socket = connect(server)
          socket:xwrite(case[1], "n", 5)
          socket:shutdown "w"
          r = parse(socket:xread("*a", 5) or "")
          socket:close()
        end })
        assert.is_true(r.status == 0 or r.status == case[2], ("case %d: %d"):format(i, r.status))
      else
        r = ask(server, case[1])
        assert.equals(case[2], r.status, ("case %d: %s%s"):format(i, r.head, r.body))
      end
    end
  end)

  it_serves("keeps connections, and closes those that say nothing", function()
    start { idle_seconds = 0.3, head_seconds = 0.3, body_seconds = 0.3 }
    local first, second, slow_head, slow_body
    run(server, {
      function()
        local socket = connect(server)
        socket:xwrite(post("/tokenize", { content = "a" }, { connection = "keep-alive" }), "n", 5)
        local head = {}
        for line in function() return socket:xread("*l", 5) end do
          if line:gsub("\r", "") == "" then break end
          head[#head + 1] = line:lower()
        end
        first = socket:xread(tonumber(table.concat(head, "\n"):match "content%-length: (%d+)"), 5)
        socket:xwrite(post("/tokenize", { content = "b" }), "n", 5)
        second = parse(socket:xread("*a", 5))
        socket:close()
      end,
      function()
        local socket = connect(server)
        socket:xwrite("GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n", "n", 5)
        slow_head = parse(socket:xread("*a", 5) or "")
        socket:close()
      end,
      function()
        local socket = connect(server)
        socket:xwrite(post("/tokenize", "{", { length = 100 }), "n", 5)
        slow_body = parse(socket:xread("*a", 5) or "")
        socket:close()
      end,
    })
    assert.truthy(first:find '"tokens"')
    assert.equals(200, second.status)
    assert.equals(408, slow_head.status)
    assert.equals(408, slow_body.status)
  end)

  it_serves("serves many at once, each with the text it has alone", function()
    start { parallel = 3, queue = 8 }
    local prompts = { "Once upon", "The King", "A soldier", "There was", "The old woman", "In the", "When", "She said" }
    local requests = {}
    for i, p in ipairs(prompts) do
      requests[i] = post("/v1/completions", { prompt = p, max_tokens = 10, seed = i, temperature = 0.9, stream = i % 2 == 0 })
    end
    local answers = { ask(server, unpack(requests)) }
    for i, p in ipairs(prompts) do
      local text = ""
      if i % 2 == 0 then
        local list = events(answers[i].body)
        for k = 1, #list - 1 do text = text .. list[k].choices[1].text end
      else
        text = answers[i].json.choices[1].text
      end
      assert.equals(alone(p, { max_tokens = 10, seed = i, temperature = 0.9 }), text)
    end
    assert.equals(8, server.engine.counts.finished)
  end)

  it_serves("refuses more than the queue has room for", function()
    start { parallel = 1, queue = 1, context = 128 }
    local body = { prompt = "Once", max_tokens = 60, ignore_eos = true }
    local list = { ask(server, post("/v1/completions", body), post("/v1/completions", body), post("/v1/completions", body),
      post("/v1/completions", body)) }
    local n = {}
    for _, r in ipairs(list) do
      n[r.status] = (n[r.status] or 0) + 1
      if r.status == 503 then assert.truthy(r.head:find "retry%-after: %d") end
    end
    assert.same({ [200] = 2, [503] = 2 }, n)
    assert.equals(503, ask(server, post("/v1/completions", { prompt = "Once", n = 3 })).status)
    assert.equals(200, ask(server, post("/v1/completions", body)).status)
  end)

  it_serves("ends what nobody waits for any more", function()
    start { parallel = 4, context = 512 }
    local function hang_up(text, after)
      return function()
        local socket = connect(server)
        socket:xwrite(text, "n", 5)
        for _ = 1, after do socket:xread("*l", 5) end
        if after == 0 then require("cqueues").sleep(0.05) end
        socket:close()
      end
    end
    local long = { prompt = "Once", max_tokens = 400, ignore_eos = true, temperature = 0 }
    local stream = chat("Once", { max_tokens = 400, ignore_eos = true, stream = true, logprobs = true, n = 2 })
    local other
    run(server, {
      hang_up(post("/v1/completions", long), 0), hang_up(post("/v1/chat/completions", stream), 12),
      function()
        local socket = connect(server)
        socket:xwrite(post("/v1/completions", { prompt = "The King", max_tokens = 20, temperature = 0 }), "n", 5)
        other = parse(socket:xread("*a", 20))
        socket:close()
      end,
    })
    for _ = 1, 40 do
      if #server.engine.live == 0 then break end
      server:step(0.05)
    end
    assert.equals(0, #server.engine.live)
    assert.equals(3, server.engine.counts.cancelled)
    assert.equals(alone("The King", { max_tokens = 20, temperature = 0 }), other.json.choices[1].text)
  end)

  it_serves("ends a request whose time is over", function()
    start { request_seconds = 0.2, context = 512 }
    local r = ask(server, post("/v1/completions", { prompt = "Once", max_tokens = 500, ignore_eos = true })).json
    assert.equals("length", r.choices[1].finish_reason)
    assert.is_true(r.usage.completion_tokens < 490)
  end)

  it_serves("stays flat while clients come and go", function()
    start { parallel = 3, queue = 40, context = 128 }
    local function round(n)
      local clients = {}
      for i = 1, n do
        clients[i] = function()
          local socket = connect(server)
          socket:xwrite(post("/v1/completions", { prompt = "Once " .. i, max_tokens = 12, stream = i % 2 == 0 }), "n", 5)
          if i % 3 == 0 then socket:xread("*l", 5) else socket:xread("*a", 20) end
          socket:close()
        end
      end
      run(server, clients)
      for _ = 1, 40 do server:step(#server.engine.live > 0 and 0.05 or 0) end
      support.collect()
      return core.memory().blocks
    end
    round(12)
    local before = round(12)
    assert.is_true(round(12) <= before + 2)
    assert.equals(36, server.engine.counts.finished + server.engine.counts.cancelled)
  end)

  it_serves("checks its options", function()
    assert.error_matches(function() require("wane.serve").new(model, { prot = 1 }) end, "wane: serve.new: unknown option 'prot'")
    assert.error_matches(function() require("wane.serve").new(model, { port = 70000 }) end, "option 'port': want an integer from 0 to 65535")
    assert.error_matches(function() require("wane.serve").new(model, { api_key = "" }) end, "option 'api_key'")
    local s, message = require("wane.serve").new(model, { port = 0, template = "{% if" })
    assert.is_nil(s)
    assert.truthy(message:find "^template: line 1")
    s, message = require("wane.serve").new(model, { port = 0, format = "none" })
    assert.is_nil(s)
    assert.truthy(message:find "no format 'none'")
    start()
    local taken
    taken, message = require("wane.serve").new(model, { port = server.port, parallel = 1 })
    assert.is_nil(taken)
    assert.truthy(message:find("127.0.0.1:" .. server.port, 1, true))
  end)

  -- Starts the program; its URL, and how to end it.
  local function program(more)
    local log = support.tmp "serve.log"
    local lua, build = os.getenv "WANE_LUA" or "luajit", os.getenv "WANE_BUILD" or "build"
    os.execute(([[LUA_PATH='%s' LUA_CPATH='%s/%s/?.so;;' timeout 120 %s lua/wane/cli/wane.lua serve %s ]]
      .. [[--port 0 --parallel 2 --context 64 -t 1 --json %s >%s 2>%s.err & echo $! >%s.pid]])
      :format(PATH, build, lua, lua, DEMO, more or "", log, log, log))
    local url
    for _ = 1, 600 do
      url = support.exists(log) and support.slurp(log):match '"url":"([^"]*)"'
      if url then break end
      os.execute "sleep 0.05"
    end
    assert.truthy(url, support.slurp(log .. ".err"))
    return url, function()
      local pid = support.slurp(log .. ".pid"):match "%d+"
      os.execute("kill -TERM " .. pid)
      local gone
      for _ = 1, 400 do
        local e = os.execute("kill -0 " .. pid .. " 2>/dev/null")
        gone = e ~= 0 and e ~= true
        if gone then break end
        os.execute "sleep 0.05"
      end
      assert.is_true(gone)
      assert.truthy(support.slurp(log .. ".err"):find "closing")
      for _, name in ipairs { log, log .. ".err", log .. ".pid" } do os.remove(name) end
    end
  end

  it_serves("runs from the command line and ends when it is told to", function()
    local url, stop = program "--api-key k"
    local socket = require("cqueues.socket").connect("127.0.0.1", tonumber(url:match ":(%d+)$"))
    socket:setmode("b", "bn")
    socket:xwrite(post("/v1/completions", { prompt = "Once", max_tokens = 3 }, { lines = { "Authorization: Bearer k" } }), "n", 5)
    local r = parse(socket:xread("*a", 20))
    socket:close()
    assert.equals(200, r.status)
    assert.equals(3, r.json.usage.completion_tokens)
    stop()
  end)

  it_serves("draws the model and its figures in a browser", function()
    if os.getenv "WANE_LANE" then support.skip "not under a sanitizer: its answers are too slow for the browser" end
    local browser = require("spec.support.browser").find()
    local url, stop = program()
    local function dom(tab)
      local p = assert(io.popen(("env -u LD_PRELOAD timeout 90 %s --headless --no-sandbox --disable-gpu --disable-background-networking "
        .. "--virtual-time-budget=20000 --dump-dom '%s/#%s' 2>/dev/null"):format(browser, url, tab)))
      local html = p:read "*a"
      p:close()
      return html
    end
    local page, figures = dom "model", dom "figures"
    stop()
    assert.is_nil(page:find('class="failed', 1, true))
    assert.truthy(page:find("7.34 million weights", 1, true))
    assert.truthy(page:find('aria-label="histogram"', 1, true))
    assert.truthy(page:find("value = d * sc * level - dmin * mn", 1, true))
    assert.equals(256, select(2, page:gsub('aria%-label="column %d+"', "")))
    assert.is_nil(figures:find('class="failed', 1, true))
    for _, title in ipairs { "weights and rounded weights", "error by type", "error of weights and outputs by type", "error of outputs by alpha" } do
      assert.truthy(figures:find(('aria-label="%s"'):format(title), 1, true), title)
    end
    assert.truthy(figures:find("the error of the outputs is smallest at 0%.%d"))
  end)
end)
