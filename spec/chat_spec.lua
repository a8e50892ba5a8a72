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
    assert.has_error(function() c:ask(("long "):rep(500)) end)
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
    assert.has_error(function() model:chat { template = "{% if %}" } end)
    c = model:chat { template = "{{ raise_exception('not so') }}" }
    assert.has_error(function() c:ask "Hello" end)
    assert.equals(0, #c.messages)
    c:close()
  end)

  it("raises on an unknown format", function()
    assert.has_error(function() model:chat { format = "klingon" } end)
  end)
end)
