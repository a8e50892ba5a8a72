-- The loop of tools: a scripted model answers as the template of its format
-- writes it, in pieces; the call is parsed, the handler answers, the result is
-- fed back, the model goes on, and so does the conversation.
local S = require "spec.support"
local generate = require "wane.generate"
local tools = require "wane.chat_tools"
local template = require "wane.template"
local wane = require "wane"

local FORMATS = {
  "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", "Qwen-Qwen2.5-7B-Instruct", "Qwen3.5-4B", "Qwen-QwQ-32B",
  "meta-llama-Llama-3.1-8B-Instruct", "meta-llama-Llama-3.2-3B-Instruct", "Mistral-Small-3.2-24B-Instruct-2506",
  "mistralai-Ministral-3-14B-Reasoning-2512", "deepseek-ai-DeepSeek-V3.2", "GLM-4.6", "google-gemma-4-31B-it-interleaved",
  "LFM2.5-8B-A1B", "ibm-granite-granite-4.0", "meetkai-functionary-medium-v3.1", "meetkai-functionary-medium-v3.2",
  "moonshotai-Kimi-K2", "MiniMax-M2", "openai-gpt-oss-120b",
}
--- What a model writes that is not what its template makes of the message.
local WRITES = {
  ["openai-gpt-oss-120b"] = {
    '<|channel|>analysis<|message|>Look it up.<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather '
      .. '<|constrain|>json<|message|>{"city": "Oslo"}<|call|>',
    "<|channel|>final<|message|>It has 17 degrees.<|return|>", "<|channel|>final<|message|>You are welcome.<|return|>",
  },
  ["meetkai-functionary-medium-v3.2"] = { [2] = "all\nIt has 17 degrees.", [3] = "all\nYou are welcome." },
}

describe("the loop of tools", function()
  local model, stream
  S.check_leaks(function()
    model = assert(wane.load "examples/models/demo-f16.gguf")
    stream = generate.stream
  end, function()
    generate.stream = stream
    model:close()
    model = nil
  end)

  --- What a model would write of `message` after `messages`; where objects are
  --- refused, with the arguments as text.
  local function written(c, messages, message)
    local function render(list, go_on, as_text)
      local out = {}
      for i, m in ipairs(list) do out[i] = tools.for_template(m, as_text) end
      return c.template:render { messages = template.list(out), tools = c.tools.list, bos_token = "<s>",
        eos_token = "</s>", add_generation_prompt = go_on }
    end
    local list = { message }
    for i = #messages, 1, -1 do table.insert(list, 1, messages[i]) end
    local whole = render(list, false, false) or assert(render(list, false, true))
    local prompt, n = assert(render(messages, true)), 0
    while n < #prompt and whole:byte(n + 1) == prompt:byte(n + 1) do n = n + 1 end
    while n < #prompt and n > 0 and not whole:sub(n, n):find "[%s>%]]" do n = n - 1 end
    return whole:sub(n + 1)
  end

  --- A generation that shows `text` in pieces.
  local function scripted(text)
    local at = 1
    return setmetatable({ stats = function() return { state = "eog" } end, ids = function() return {} end,
      close = function() end }, { __call = function()
      if at > #text then return nil end
      at = at + 5
      return text:sub(at - 5, at - 1)
    end })
  end

  for _, name in ipairs(FORMATS) do
    it("goes round in the format of " .. name, function()
      local path = S.conformance("templates/jinja/" .. name .. ".jinja")
      local seen, prompts = {}, {}
      local c = model:chat { template = S.slurp(path), context = 16384, tools = { {
        name = "get_weather", description = "Weather of a city",
        parameters = template.json '{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}',
        handler = function(args, call)
          seen[#seen + 1] = { args.city, call["function"].name }
          return "17 degrees in " .. args.city
        end } } }
      local says = { "", "It has 17 degrees.", "You are welcome." }
      generate.stream = function(_, ids)
        prompts[#prompts + 1] = model.vocab:decode(ids, { unparse_special = true })
        local text, thought = WRITES[name] and WRITES[name][#prompts], c.layout.reasoning
        if not text and #prompts == 1 then
          text = written(c, c.messages, { role = "assistant", content = "", tool_calls = { { id = "call00001",
            type = "function", ["function"] = { name = "get_weather", arguments = '{"city": "Oslo"}' } } } })
        elseif not text then -- behind a thought, where the prompt begins one
          local opened = thought and prompts[#prompts]:gsub("%s+$", ""):sub(-#thought.open) == thought.open
          text = (opened and "Hm." .. thought.close .. "\n\n" or "") .. says[#prompts]
        end
        return scripted(text)
      end
      assert.equal("It has 17 degrees.", c:ask "Weather in Oslo?")
      assert.same({ { "Oslo", "get_weather" } }, seen)
      local roles = {}
      for i, m in ipairs(c.messages) do roles[i] = m.role end
      assert.same({ "user", "assistant", "tool", "assistant" }, roles)
      assert.equal(c.messages[2].tool_calls[1].id, c.messages[3].tool_call_id)
      assert.equal("You are welcome.", c:ask "Thanks")
      assert.equal(3, #prompts)
      assert.is_nil(prompts[1]:find("17 degrees in Oslo", 1, true))
      for k = 2, 3 do
        local asked = prompts[k]:find("Weather in Oslo?", 1, true)
        local call = asked and prompts[k]:find("get_weather", asked, true)
        local result = prompts[k]:find("17 degrees in Oslo", 1, true)
        assert.truthy(call and result and call < result, prompts[k]:sub(-600))
      end
      c:close()
    end)
  end
end)
