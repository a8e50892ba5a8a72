--- A conversation with a real model, SmolLM2-135M-Instruct
--- (spec/support/fetch_real.sh): its own template, and a tool that it calls.
local support = require "spec.support"
local wane = require "wane"

local PATH = "build/real/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

-- The model was not taught to call functions: the template shows it how.
local TEMPLATE = [[
{%- if tools %}<|im_start|>system
You call functions. You have this function: {{ tools[0].function.name }}(a, b): {{ tools[0].function.description }}
To call it, write <tool_call>
{"name": "add", "arguments": {"a": 1, "b": 2}}
</tool_call><|im_end|>
{% endif %}
{%- for m in messages %}<|im_start|>{{ 'user' if m.role == 'tool' else m.role }}
{% if m.role == 'tool' %}<tool_response>{{ m.content }}</tool_response>{% else %}{{ m.content }}{% endif %}
{%- for c in m.tool_calls %}<tool_call>
{{ {"name": c.function.name, "arguments": c.function.arguments} | tojson }}
</tool_call>{% endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}]]

-- A question that was answered with the tool before.
local function example(a, b)
  return {
    { role = "user", content = ("What is %d + %d?"):format(a, b) },
    { role = "assistant", content = "", tool_calls = { { id = "c1", type = "function",
      ["function"] = { name = "add", arguments = ('{"a": %d, "b": %d}'):format(a, b) } } } },
    { role = "tool", tool_call_id = "c1", name = "add", content = ('{"sum": %d}'):format(a + b) },
    { role = "assistant", content = ("The sum is %d."):format(a + b) },
  }
end

describe("SmolLM2, a real model", function()
  support.check_leaks()

  it("calls a tool, gets its result and tells it; deltas add up; turns feed what is new", function()
    if not support.exists(PATH) then return support.skip "run sh spec/support/fetch_real.sh" end
    local model = assert(wane.load(PATH))
    local asked, deltas, prompts, heard = {}, {}, {}, 0
    local c = model:chat {
      template = TEMPLATE, temperature = 0, max_tokens = 60, context = 1024, tool_rounds = 2,
      on_delta = function(d) deltas[#deltas + 1] = d end, on_end = function(s) prompts[#prompts + 1] = s.n_prompt end,
      tools = { { name = "add", description = "adds two numbers",
        parameters = { type = "object", properties = { a = { type = "number" }, b = { type = "number" } } },
        handler = function(args)
          asked[#asked + 1] = args
          return { sum = args.a + args.b }
        end } },
    }
    for _, numbers in ipairs { { 1, 2 }, { 30, 12 } } do
      for _, m in ipairs(example(numbers[1], numbers[2])) do c.messages[#c.messages + 1] = m end
    end
    local n = #c.messages
    local text = c:ask "What is 17 + 25?"
    assert.same({ { a = 17, b = 25 } }, asked)
    assert.truthy(text:find("42", 1, true), text)
    assert.same({ "user", "assistant", "tool", "assistant" },
      { c.messages[n + 1].role, c.messages[n + 2].role, c.messages[n + 3].role, c.messages[n + 4].role })
    assert.equal("add", c.messages[n + 2].tool_calls[1]["function"].name)
    local arguments, content = {}, {}
    for _, d in ipairs(deltas) do
      if d.tool_call and d.tool_call.arguments then arguments[#arguments + 1] = d.tool_call.arguments end
      content[#content + 1] = d.content
      heard = heard + 1
    end
    assert.equal(c.messages[n + 2].tool_calls[1]["function"].arguments, table.concat(arguments))
    assert.equal(text, table.concat(content))
    assert.is_true(heard > 5, "deltas came in pieces")
    assert.is_true(prompts[2] < 60 and prompts[1] > 200, ("%d, then %d tokens evaluated"):format(prompts[1], prompts[2]))
    c:close()
    model:close()
  end)

  it("answers through its own template", function()
    if not support.exists(PATH) then return support.skip "run sh spec/support/fetch_real.sh" end
    local model = assert(wane.load(PATH))
    local c = model:chat { system = "Be brief.", temperature = 0, max_tokens = 24, context = 512 }
    assert.equal("template", c.format)
    assert.truthy(c:ask("What is the capital of France?"):find("Paris", 1, true))
    c:close()
    model:close()
  end)
end)
