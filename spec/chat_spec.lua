local chat = require "wane.chat"
local support = require "spec.support"
local wane = require "wane"

describe("chat", function()
  local model
  support.check_leaks(function()
    model = assert(wane.load("examples/models/demo-f16.gguf", { context = 256 }))
  end, function()
    model:close()
    model = nil
  end)

  it("renders the formats", function()
    local messages = { { role = "system", content = "S" }, { role = "user", content = "50%user" } }
    assert.equals(
      "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n50%user<|im_end|>\n<|im_start|>assistant\n",
      chat.formats.chatml.render(messages)
    )
    assert.equals("System: S\n\nUser: 50%user\n\nAssistant:", chat.formats.plain.render(messages))
  end)

  it("answers, remembers and feeds only what is new", function()
    local c = model:chat { system = "Tell a story.", max_tokens = 12, temperature = 0 }
    local first = c:ask "Hello"
    assert.equals(3, #c.messages)
    assert.equals(first, c.messages[3].content)
    local past = c.ctx:n_past()
    local fed
    c.opts.on_end = function(stats) fed = stats.n_prompt end
    c:ask "And then?"
    assert.equals(5, #c.messages)
    assert.is_true(fed < past, "fed " .. fed .. " tokens again")
    c:close()
  end)

  it("gives the same replies as a context that starts anew", function()
    local opts = { max_tokens = 10, temperature = 0 }
    local a = model:chat(opts)
    a:ask "Hello"
    local second = a:ask "Go on"
    local b = model:chat(opts)
    for i = 1, 2 do
      b.messages[i] = a.messages[i]
    end
    assert.equals(second, b:ask "Go on")
    a:close()
    b:close()
  end)

  it("forgets the oldest turns when the context is full", function()
    local c = model:chat { system = "Short.", max_tokens = 20, temperature = 0 }
    for i = 1, 12 do
      c:ask(("message number %d, which is rather long for such a small context"):format(i))
    end
    assert.equals("system", c.messages[1].role)
    assert.is_true(#c.messages < 24)
    assert.error_matches(function() c:ask(("long "):rep(500)) end,
      "chat: the message has 522 tokens, the context has room for 192")
    assert.truthy(c:ask "still here")
    c:close()
  end)

  it("renders through a template, control tokens of messages staying text", function()
    local source = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
      .. "{% if add_generation_prompt %}[assistant]{% endif %}"
    local c = model:chat { template = source, system = "Brief.", max_tokens = 4, temperature = 0 }
    assert.equals("template", c.format)
    local prompts, control = {}, model.vocab:text(model.vocab.eos)
    c.opts.on_end = function(stats) prompts[#prompts + 1] = stats.n_prompt end
    c:ask "Hello"
    local text = "[system] Brief.\n[user] Hello\n[assistant]"
    assert.equals(#model.vocab:encode(text, { special = true, parse_special = true }), prompts[1])
    local held = {}
    for i = 1, prompts[1] do held[i] = c.ctx:held()[i] end
    assert.same(model.vocab:encode(text, { special = true, parse_special = true }), held)
    c:ask("an end " .. control .. " inside")
    for i, id in ipairs(c.ctx:held()) do
      assert.is_true(i <= prompts[1] or id ~= model.vocab.eos)
    end
    c:close()
    assert.error_matches(function() model:chat { template = "{% if %}" } end,
      "chat: template: template: line 1, column 7: found %%}, want an expression %(option 'format' names another%)")
    c = model:chat { template = "{{ raise_exception('not so') }}" }
    assert.error_matches(function() c:ask "Hello" end, "chat: template: line 1, column 19: not so")
    assert.equals(0, #c.messages)
    c:close()
  end)

  it("writes the built-in formats as llama.cpp does", function()
    local template = require "wane.template"
    local set = assert(template.json(support.slurp(support.conformance "templates/builtin_formats.json")))
    local conversations = assert(template.json(support.slurp(support.conformance "templates/conversations.json")))
    local function field(object, name)
      for _, p in ipairs(object) do
        if p[1] == name then return p[2] end
      end
    end
    local n = 0
    for _, row in ipairs(field(set, "outputs")) do
      local format = chat.formats[field(row, "name")]
      if format and field(row, "add_generation_prompt") and field(row, "output") ~= template.null then
        local vars = field(field(conversations, "conversations"), field(row, "conversation")) or {}
        local messages, plain = {}, true
        for i, m in ipairs(field(vars, "messages") or {}) do
          messages[i] = { role = field(m, "role"), content = field(m, "content") }
          plain = plain and type(messages[i].content) == "string"
        end
        if plain and messages[1] then
          assert.equal(field(row, "output"), format.render(messages), field(row, "name") .. " " .. field(row, "conversation"))
          n = n + 1
        end
      end
    end
    assert.is_true(n >= 10, n .. " rows")
  end)

  it("a control token in a message is text, in every format and for every kind of vocabulary", function()
    local transcript = require "wane.transcript"
    for _, name in ipairs { "phi-3", "llama-spm", "gpt-2", "baichuan" } do
      local v = assert(require "wane.vocab".open(support.conformance("tokenizers/" .. name .. ".gguf")))
      local control = v:text(v.eos or v.bos)
      for _, text in ipairs { control, "a" .. control .. "b", "a " .. control .. " b", control:rep(3), " " .. control } do
        for format, f in pairs(chat.formats) do
          local function count(content)
            local n = 0
            for _, id in ipairs(assert(transcript.new(v):encode(f.parts { { role = "user", content = content } }))) do
              if id == (v.eos or v.bos) then n = n + 1 end
            end
            return n
          end
          assert.equal(count "plain", count(text), name .. " " .. format .. ": " .. text)
        end
      end
      v:close()
    end
  end)

  it("a template's own control tokens count, also where it builds them from roles", function()
    local v = assert(require "wane.vocab".open(support.conformance "tokenizers/phi-3.gguf"))
    local t = assert(require "wane.template".compile
      "{% for m in messages %}{{ '<|' + m.role + '|>' }}\n{{ m.content }}<|end|>\n{% endfor %}")
    local function count(messages, name)
      local parts = assert(t:render({ messages = messages }, { parts = true }))
      local n = 0
      for _, id in ipairs(assert(require "wane.transcript".new(v):encode(parts))) do
        if id == v:find(name) then n = n + 1 end
      end
      return n
    end
    local said = { { role = "user", content = "Hello <|end|> <|user|> x" } }
    assert.equal(1, count(said, "<|user|>"))
    assert.equal(1, count(said, "<|end|>"))
    -- a role that is no plain word is text
    assert.equal(0, count({ { role = "user|><|end", content = "x" } }, "<|user|>"))
    v:close()
  end)

  it("a transcript tokenizes what is new, with the ids of the whole", function()
    local transcript = require "wane.transcript"
    local v = assert(require "wane.vocab".open(support.conformance "tokenizers/phi-3.gguf"))
    local grown, messages = transcript.new(v), {}
    for turn = 1, 6 do
      messages[#messages + 1] = { role = "user", content = ("Question %d, with <|end|> in it. "):format(turn):rep(20) }
      local parts = chat.formats.phi3.parts(messages)
      local ids = assert(grown:encode(parts))
      assert.same(assert(transcript.new(v):encode(parts)), ids)
      if turn > 1 then assert.is_true(grown.fed < 1200, "turn " .. turn .. " fed " .. grown.fed) end
      messages[#messages + 1] = { role = "assistant", content = "Answer." }
    end
    v:close()
  end)

  it("a turn of a chat tokenizes and evaluates what is new, whatever came before", function()
    local source = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}{% endfor %}"
      .. "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    local prompts = {}
    local c = model:chat { template = source, max_tokens = 8, temperature = 0, context = 2048,
      on_end = function(s) prompts[#prompts + 1] = s.n_prompt end }
    -- what the tokenizer is given, by a vocabulary that counts
    local vocab, bytes = model.vocab, 0
    c.transcript.vocab = setmetatable({ encode = function(_, parts, opts)
      for _, p in ipairs(parts) do bytes = bytes + #p.text end
      return vocab:encode(parts, opts)
    end }, { __index = function(_, key)
      local v = vocab[key]
      return type(v) == "function" and function(_, ...) return v(vocab, ...) end or v
    end })
    local message, most = ("The moon rose over the sea. "):rep(12), 0
    for turn = 1, 10 do
      bytes = 0
      c:ask(message)
      local reply = c.messages[#c.messages].content
      local new = #message + #reply + 80 -- roles, the end of the turn before
      assert.is_true(bytes <= new + (turn > 1 and most or 0), ("turn %d: %d bytes tokenized, %d are new"):format(turn, bytes, new))
      most = #reply
    end
    for turn = 2, 10 do
      assert.is_true(prompts[turn] < prompts[1] + 30, ("turn %d evaluated %d tokens, the first %d"):format(turn, prompts[turn], prompts[1]))
    end
    c:close()
  end)

  it("says why a template fails, and takes another format by choice only", function()
    local refuses = "{% for m in messages %}{% if m.role == 'system' %}\n{{ raise_exception('no system') }}{% endif %}"
      .. "{{ m.content }}{% endfor %}"
    local c = model:chat { template = refuses, system = "S" }
    assert.error_matches(function() c:ask "Hello" end, "template: line 2, column %d+: no system")
    assert.equals(1, #c.messages)
    c:close()
    assert.error_matches(function() model:chat { template = "{% if %}" } end, "wane: chat: template: template: line 1")
    assert.error_matches(function() model:chat { format = "nonsense" } end, "no format 'nonsense': want one of chatml, .*plain, ")
    assert.error_matches(function() model:chat { enable_thinking = false } end, "unknown option 'enable_thinking' %(a variable")
    assert.error_matches(function() model:chat { format = "plain", tools = {} } end, "no place for tools")
  end)

  it("names the argument that is wrong, and leaves the history alone", function()
    local c = model:chat { max_tokens = 1, temperature = 0 }
    for _, wrong in ipairs { false, 5, function() end, { 1, 2 }, {}, { role = 5 } } do
      assert.error_matches(function() c:ask(wrong or nil) end, "^[^\n]*wane: chat:ask: message: want ")
    end
    assert.error_matches(function() c:stream(nil) end, "wane: chat:stream: message: want ")
    assert.error_matches(function() c:ask { role = "user", content = 5 } end, "content: want")
    assert.error_matches(function() c:ask { { type = "image" } } end, "no place for a part of type 'image'")
    assert.same({}, c.messages)
    assert.truthy(c:ask { { type = "text", text = "Part one. " }, { type = "text", text = "Part two." } })
    c:close()
    assert.error_matches(function() model.chat({ meta = function() end }, {}) end, "the model has no vocabulary")
  end)

  it("gives tools, documents and variables to the template, and answers calls by handlers", function()
    local seen = {}
    local source = "{{ tools|length }}|{{ documents and documents[0].title }}|{{ enable_thinking }}|"
      .. "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% if m.tool_calls %}{% for c in m.tool_calls %}"
      .. "<call>{{ {'name': c.function.name, 'arguments': c.function.arguments}|tojson }}</call>{% endfor %}{% endif %}<end>{% endfor %}"
      .. "{% if add_generation_prompt %}<assistant>{% endif %}"
    local c = model:chat {
      template = source, documents = { { title = "T" } }, variables = { enable_thinking = false }, max_tokens = 3, temperature = 0,
      tools = { { name = "add", description = "Adds", handler = function(args) seen[1] = args return { sum = args.a + args.b } end } },
    }
    assert.equal("json", c.layout.calls.kind)
    local results = c.tools:answer { role = "assistant", tool_calls = {
      { id = "x", type = "function", ["function"] = { name = "add", arguments = '{"a": 2, "b": 40}' } } } }
    assert.same({ a = 2, b = 40 }, seen[1])
    assert.same({ { role = "tool", tool_call_id = "x", name = "add", content = '{"sum": 42}' } }, results)
    assert.is_nil(c.tools:answer { tool_calls = { { ["function"] = { name = "other", arguments = "{}" } } } })
    c.messages = {
      { role = "user", content = "2 + 40?" },
      { role = "assistant", content = "", tool_calls = {
        { id = "x", type = "function", ["function"] = { name = "add", arguments = '{"a": 2, "b": 40}' } } } },
    }
    local prompt
    c.opts.on_end = function() prompt = model.vocab:decode(c.ctx:held()) end
    c:ask { role = "tool", tool_call_id = "x", content = "42" }
    assert.truthy(prompt:find('1|T|False|<user>2 + 40?<end><assistant><call>{"name": "add", "arguments": {"a": 2, "b": 40}}</call><end><tool>42',
      1, true), prompt)
    c:close()
  end)

  it("raises on an unknown format", function()
    assert.error_matches(function() model:chat { format = "klingon" } end, "chat: no format 'klingon'")
  end)
end)
