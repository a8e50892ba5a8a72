-- Answers read back: what each public template writes of an assistant's turn
-- comes back as it was, whole or in pieces; the formats in use by name; and
-- texts that are no answer at all.
local S = require "spec.support"
local answer = require "wane.answer"
local derive = require "wane.answer.derive"
local template = require "wane.template"

local TOOLS = assert(template.json([==[[
  {"type": "function", "function": {"name": "get_weather", "description": "w", "parameters": {"type": "object",
    "properties": {"city": {"type": "string"}, "n": {"type": "number"}}, "required": ["city"]}}},
  {"type": "function", "function": {"name": "add", "description": "a", "parameters": {"type": "object",
    "properties": {"a": {"type": "number"}}}}}]]==]))

--- JSON with sorted keys, to compare.
local function normal(text)
  return assert(template.render("{{ x|tojson(sort_keys=true) }}", { x = assert(template.json(text)) }))
end

--- The message of a text fed in pieces of n bytes; the deltas must add up to it.
local function parsed(from, text, n, opts)
  local p = answer.parser(from, opts)
  local content, calls = {}, {}
  local function note(deltas)
    for _, d in ipairs(deltas) do
      if d.content then content[#content + 1] = d.content end
      local c = d.tool_call
      if c and c.name then calls[c.index] = { name = c.name, text = "" } end
      if c and c.arguments then calls[c.index].text = calls[c.index].text .. c.arguments end
    end
  end
  for i = 1, #text, math.max(n, 1) do note(p:feed(text:sub(i, i + n - 1))) end
  note(p:drain())
  local m = p:finish()
  for i, c in ipairs(m.tool_calls or {}) do
    assert.equal(c["function"].name, calls[i].name)
    assert.equal(normal(c["function"].arguments), normal(calls[i].text ~= "" and calls[i].text or "{}"))
  end
  return m, table.concat(content)
end

--- Pairs { name, arguments } of a message.
local function calls_of(m)
  local out = {}
  for i, c in ipairs(m.tool_calls or {}) do out[i] = { c["function"].name, normal(c["function"].arguments) } end
  return out
end

--- What some templates do with a turn that other templates do not; docs/chat-and-tools.md lists the same.
local PECULIAR = {
  -- the last turn is one to be continued, behind an opened thought: seen whole only when another follows
  ["NVIDIA-Nemotron-Nano-v2"] = { followed = true },
  -- the content beside a call is written as a thought
  ["openai-gpt-oss-120b"] = { content_is_thought = true },
}

describe("answers", function()
  S.check_leaks()

  --- A template's text of an assistant's turn, and of what it continues.
  local function turn(t, message, peculiar)
    local function render(messages, generate)
      local ok, text = pcall(t.render, t, { messages = template.list(messages), tools = TOOLS, add_generation_prompt = generate,
        bos_token = "<s>", eos_token = "</s>", enable_thinking = true }, { time = 0 })
      return ok and text or nil
    end
    local user = { role = "user", content = "Q" }
    local whole, prompt = render({ user, message }, false), render({ user }, true)
    if peculiar.followed then
      whole, prompt = render({ user, message, { role = "user", content = "Q2" } }, false), render({ user }, false)
      whole = whole and whole:sub(1, whole:find("<SPECIAL_11>User", #prompt + 1, true) - 1)
      prompt = prompt .. "<SPECIAL_11>Assistant\n"
    end
    if not whole or not prompt then return nil end
    local n = 0
    while n < #prompt and n < #whole and whole:byte(n + 1) == prompt:byte(n + 1) do n = n + 1 end
    if n < #prompt then
      while n > 0 and not whole:sub(n, n):find "[%s>%]]" do n = n - 1 end
    end
    return whole:sub(n + 1), whole:sub(1, n)
  end

  local ARGS = { '{"city": "Par is \\"x\\"", "n": 2.5}', '{"a": 12}' }

  --- A message with so many calls; arguments as text or as objects.
  local function message(n, content, as_text)
    local m = { role = "assistant", content = content }
    if n == 0 then return m end
    local list = {}
    for i = 1, n do
      list[i] = { id = "abc00000" .. i, type = "function", ["function"] = template.object {
        { "name", i == 1 and "get_weather" or "add" }, { "arguments", as_text and ARGS[i] or template.json(ARGS[i]) } } }
    end
    m.tool_calls = template.list(list)
    return m
  end

  local thoughts = {} -- templates that showed one

  --- Compares what is in the text with what comes back.
  local function compare(name, t, m, n_calls, thought)
    local peculiar = PECULIAR[name] or {}
    local content_of = type(m.content) == "string" and m.content ~= "" and m.content or nil
    local where = answer.detect(t).thought
    if thought and where then derive.put_thought(m, where, thought) end
    local text, prompt = turn(t, m, peculiar)
    if not text or (n_calls > 0 and not text:find("get_weather", 1, true)) then return false end
    local want = {}
    for i = 1, n_calls do
      local fn = i == 1 and "get_weather" or "add"
      if text:find(fn, 1, true) then want[#want + 1] = { fn, normal(ARGS[i]) } end
    end
    for _, n in ipairs { #text, 1, 7 } do
      local got, streamed = parsed(t, text, n, { prompt = prompt, tools = TOOLS })
      local what = ("%s, pieces of %d:\n%s"):format(name, n, text)
      assert.same(want, calls_of(got), what)
      local content = content_of and text:find(content_of, 1, true) and content_of or ""
      if peculiar.content_is_thought and n_calls > 0 and content ~= "" then
        assert.equal(content, got.reasoning_content, what)
        content = ""
      end
      assert.equal(content, got.content, what)
      if n_calls > 0 then assert.equal(content, (streamed:gsub("%s+$", "")), what) end
      if thought and text:find(thought, 1, true) then
        assert.equal(thought, got.reasoning_content, what)
        thoughts[name] = true
      end
    end
    return true
  end

  it("come back from every public template", function()
    local with_calls, plain = 0, 0
    local seen = {}
    for line in io.lines(S.conformance "jinja/renders.jsonl") do
      local name = line:match '"template": "([^"]*)%.jinja"'
      if name and not seen[name] then
        seen[name] = true
        local t = assert(template.compile(S.slurp(S.conformance("templates/jinja/" .. name .. ".jinja"))))
        local found = false
        for _, n in ipairs { 2, 1 } do
          for _, as_text in ipairs { false, true } do
            for _, content in ipairs { "Some content.", "", template.null } do
              if not found or content == "" then
                found = compare(name, t, message(n, content, as_text), n) or found
                compare(name, t, message(n, content, as_text), n, "Because I think")
              end
            end
            if found then break end
          end
          if found then break end
        end
        if found then with_calls = with_calls + 1 end
        local text = "Some content.\n\nIn two { \"a\": 1 } <b> parts."
        if compare(name, t, message(0, text), 0) then plain = plain + 1 end
        compare(name, t, message(0, text), 0, "Because I think")
      end
    end
    assert.is_true(with_calls >= 42, with_calls .. " templates with calls")
    local n_thoughts = 0
    for _ in pairs(thoughts) do n_thoughts = n_thoughts + 1 end
    assert.is_true(n_thoughts >= 27, n_thoughts .. " templates with thoughts")
    assert.is_true(plain >= 64, plain .. " templates without")
  end)

  it("finds formats by their marks where a probe shows none", function()
    local want = { { "get_weather", normal(ARGS[1]) }, { "add", normal(ARGS[2]) } }
    local a, b = ARGS[1], ARGS[2]
    for source, text in pairs {
      ["{# [TOOL_CALLS] #}"] = '[TOOL_CALLS][{"name": "get_weather", "arguments": ' .. a .. '}, {"name": "add", "arguments": ' .. b .. "}]",
      ["{# [TOOL_CALLS] [ARGS] #}"] = "[TOOL_CALLS]get_weather[ARGS]" .. a .. "[TOOL_CALLS]add[ARGS]" .. b,
      ["{# <|python_tag|> #}"] = '{"name": "get_weather", "parameters": ' .. a .. '}; {"name": "add", "parameters": ' .. b .. "}",
      ["{# <tool_call> #}"] = '<tool_call>\n{"name": "get_weather", "arguments": ' .. a
        .. '}\n</tool_call>\n<tool_call>\n{"arguments": ' .. b .. ', "name": "add"}\n</tool_call>',
      ["{# <function= #}"] = '<tool_call>\n<function=get_weather>\n<parameter=city>\nPar is "x"\n</parameter>\n<parameter=n>\n2.5\n'
        .. "</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=add>\n<parameter=a>\n12\n</parameter>\n</function>\n</tool_call>",
      ["{# <|tool_call_start|> #}"] = "<|tool_call_start|>[get_weather(city='Par is \"x\"', n=2.5), add(a=12)]<|tool_call_end|>",
      ["{# <start_function_call> #}"] = '<start_function_call>call:get_weather{city:<escape>Par is "x"<escape>,n:2.5}<end_function_call>'
        .. "<start_function_call>call:add{a:12}<end_function_call>",
      ["{# <|tool_call|> #}"] = '<|tool_call|>[{"name": "get_weather", "arguments": ' .. a .. '}, {"name": "add", "arguments": ' .. b .. "}]",
      ["{# <｜tool▁calls▁begin｜> #}"] = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>" .. a
        .. "<｜tool▁call▁end｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n" .. b
        .. "\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
      ["{# <|channel|> <|message|> #}"] = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather "
        .. "<|constrain|>json<|message|>" .. a .. "<|call|><|start|>assistant to=functions.add<|channel|>commentary json<|message|>" .. b,
    } do
      for _, n in ipairs { #text, 1, 5 } do
        local m = parsed(assert(template.compile(source)), text, n, { tools = TOOLS })
        assert.same(want, calls_of(m), source .. text)
        assert.equal("", m.content, source)
      end
    end
  end)

  it("arguments keep the types of the schema, also where a template writes them as text or as Python prints", function()
    local tools = assert(template.json([==[[{"type": "function", "function": {"name": "f", "parameters": {"type": "object",
      "properties": {"s": {"type": "string"}, "n": {"type": "number"}, "l": {"type": "array"}, "o": {"type": "object"}}}}}]]==]))
    local seed = "<seed:tool_call>\n<function=f>\n<parameter=s>%s</parameter>\n<parameter=l>[1, 'two', [True, None]]</parameter>\n"
      .. "<parameter=o>{'k': {'z': []}}</parameter>\n</function>\n</seed:tool_call>"
    local muse = ' to=f<|message|><atem:function_calls>\n<atem:invoke name="f">\n<atem:parameter name="s">%s</atem:parameter>\n'
      .. '<atem:parameter name="n">42</atem:parameter>\n</atem:invoke>\n</atem:function_calls><|eot|>'
    local mini = ']<]minimax[>[<tool_call>\n]<]minimax[>[<invoke name="f">]<]minimax[>[<s>%s]<]minimax[>[</s>]<]minimax[>[<l>'
      .. "]<]minimax[>[<item>1]<]minimax[>[</item>]<]minimax[>[<item>two]<]minimax[>[</item>]<]minimax[>[</l>"
      .. "]<]minimax[>[</invoke>\n]<]minimax[>[</tool_call>[e~["
    for name, row in pairs {
      ["ByteDance-Seed-OSS"] = { seed, '"l": [1, "two", [true, null]], "o": {"k": {"z": []}}' },
      ["muse-glimmer"] = { muse, '"n": 42', prompt = "<|start|>assistant" },
      ["MiniMax-M3"] = { mini, '"l": [1, "two"]' },
    } do
      local t = assert(template.compile(S.slurp(S.conformance("templates/jinja/" .. name .. ".jinja"))))
      for s, json in pairs { ["42"] = '"42"', ['{"a": [1]}'] = [["{\"a\": [1]}"]], ["a < b </b> [c]"] = '"a < b </b> [c]"' } do
        for _, n in ipairs { 1000, 1, 5 } do
          local m = parsed(t, row[1]:gsub("%%s", function() return s end), n, { tools = tools, prompt = row.prompt })
          assert.same({ { "f", normal('{"s": ' .. json .. ", " .. row[2] .. "}") } }, calls_of(m), name)
        end
      end
    end
  end)

  it("tells reasoning from content, begun by the prompt or not", function()
    local t = assert(template.compile "{# <think></think> #}")
    for _, n in ipairs { 99, 1 } do
      assert.same({ role = "assistant", content = "B", reasoning_content = "A" }, parsed(t, "<think>\nA\n</think>\n\nB", n))
      assert.same({ role = "assistant", content = "B", reasoning_content = "A" }, parsed(t, "A\n</think>\n\nB", n, { prompt = "x<think>\n" }))
      assert.same({ role = "assistant", content = "B", reasoning_content = "A" }, parsed(t, "A</think>B", n))
      assert.same({ role = "assistant", content = "1 < 2 </thin" }, parsed(t, "1 < 2 </thin", n))
      assert.same({ role = "assistant", content = "", reasoning_content = "A" }, parsed(t, "<think>A", n))
    end
  end)

  it("what only begins like a call is content; a call that is cut off is told", function()
    local t = assert(template.compile "{# <tool_call> #}")
    for _, n in ipairs { 99, 1 } do
      assert.equal("a <tool_call> is a tag", (parsed(t, "a <tool_call> is a tag", n)).content)
      local m = parsed(t, '<tool_call>{"name": "add", "arguments": {"a": 1', n)
      assert.is_nil(m.tool_calls)
      assert.is_true(m.truncated)
      assert.equal('{"name": 5}', parsed(assert(template.compile "{# <|python_tag|> #}"), '{"name": 5}', n).content)
    end
    assert.error_matches(function() answer.parser(5) end, "want a model, a template or a layout")
    assert.error_matches(function() answer.parser(t, { promt = "" }) end, "unknown option 'promt'")
    assert.error_matches(function() answer.parser(t):feed(nil) end, "feed: want a string")
  end)

  it("hostile texts: every layout takes any text, and ends in time", function()
    local words = { "<tool_call>", "</tool_call>", "{", "}", '"', "name", ":", "[", "]", "<think>", "</think>", "<|message|>", "<function=",
      "x", " ", "\n", "\\", "[TOOL_CALLS]", "[ARGS]", "<|tool_call_start|>", "(", ")", "=", "'", "<parameter=", ">", "<|channel|>", "to=functions.f",
      "<｜tool▁calls▁begin｜>", "\255", '"arguments"', '{"name": "f", "arguments": ', "call:f", "<escape>", "<|end|>", "```" }
    local sources = { "[TOOL_CALLS]", "[ARGS]", "<|python_tag|>", "<tool_call>", "<function=", "<|tool_call_start|>", "<start_function_call>",
      "<｜tool▁calls▁begin｜>", "<|channel|><|message|>", ">>>all", "</think>" }
    local state = 1
    local function random(n)
      state = (state * 16807) % 2147483647
      return state % n + 1
    end
    local t0 = os.clock()
    for _, source in ipairs(sources) do
      local t = assert(template.compile("{#" .. source .. "#}"))
      for _ = 1, 60 do
        local p = answer.parser(t, { tools = TOOLS })
        for _ = 1, random(60) do p:feed(words[random(#words)]) end
        local m = p:finish()
        assert.equal("string", type(m.content))
        for _, c in ipairs(m.tool_calls or {}) do assert.truthy(template.json(c["function"].arguments)) end
      end
      for _, text in ipairs { ("["):rep(20000), ('{"name": "f", "arguments": '):rep(2000), ("<tool_call>"):rep(2000), ("("):rep(20000) } do
        answer.parser(t):feed(text)
      end
    end
    assert.is_true(os.clock() - t0 < (os.getenv "WANE_LANE" and 300 or 20))
  end)
end)
