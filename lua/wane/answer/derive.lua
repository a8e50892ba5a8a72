--- Answers: the layout of a model's replies, found in its template.
---
--- A template shows how the model writes: a probe conversation with an answer
--- whose reasoning, content, tool names and arguments are known words is
--- rendered, and what stands around these words are the markers. Templates want
--- their probes in different shapes (arguments as text or as objects, one call
--- or several, content or none), so several are tried. What no probe shows is
--- looked up by the marks in the source (known.lua).
---
--- A layout is { kind, section, open, close, section_close, ... }; see
--- wane.answer for what each kind reads.
local M = {}

local json = require "wane.template.json"
local template = require "wane.template"

local NAME, KEY1, KEY2, VALUE1, VALUE2 = "get_weather", "city", "days", "Par is", "7142"
--- Stands for the token that ends a text.
M.EOS = "<Zeos>"

local CONTENT, REASON = "Zcontentz", "Zreasonz"

local function trim(s) return (s:gsub("^%s+", ""):gsub("%s+$", "")) end
M.trim = trim

local function common_prefix(a, b)
  local n = 0
  while n < #a and n < #b and a:byte(n + 1) == b:byte(n + 1) do n = n + 1 end
  return a:sub(1, n)
end

local function common_suffix(a, b)
  local n = 0
  while n < #a and n < #b and a:byte(#a - n) == b:byte(#b - n) do n = n + 1 end
  return a:sub(#a - n + 1)
end

--- From the first bracket of a marker on: what two texts end with alike may
--- begin inside another marker.
local function from_bracket(s) return s:match "[<%[].*$" or s end

-- ---- probes ------------------------------------------------------------------

local TOOLS = '[{"type":"function","function":{"name":"get_weather","description":"w","parameters":'
  .. '{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"number"}},"required":["city"]}}}]'

local function arguments(as_text)
  if as_text then return ('{"%s": "%s", "%s": %s}'):format(KEY1, VALUE1, KEY2, VALUE2) end
  return template.object { { KEY1, VALUE1 }, { KEY2, tonumber(VALUE2) } }
end

local function calls(n, as_text)
  local out = {}
  for i = 1, n do
    out[i] = { id = "probe000" .. i, type = "function",
      ["function"] = template.object { { "name", NAME }, { "arguments", arguments(as_text) } } }
  end
  return template.list(out)
end

local function rendered(t, messages, generate)
  return (t:render({
    messages = template.list(messages), tools = template.json(TOOLS), add_generation_prompt = generate,
    bos_token = "", eos_token = M.EOS, enable_thinking = true,
  }, { time = 0 }))
end

local USER = { role = "user", content = "Q" }

--- What a template writes of an assistant's message, behind what it writes to
--- make one begin; nil when it refuses.
local function reply(t, message)
  local whole, prompt = rendered(t, { USER, message }, false), rendered(t, { USER }, true)
  if not whole or not prompt then return nil end
  local n = #common_prefix(whole, prompt)
  if n < #prompt then -- not within a marker: "<think>" and "<tool_call>" begin alike
    while n > 0 and not whole:sub(n, n):find "[%s>%]]" do n = n - 1 end
  end
  -- the start of a turn, without what it may begin with ("<think>")
  local turn = rendered(t, { USER }, false)
  local first = turn and #common_prefix(whole, turn) or n
  return whole:sub(math.min(n, #whole) + 1), prompt:sub(first + 1), whole:sub(first + 1)
end

-- ---- reasoning and the end -------------------------------------------------------

local PAIRS = {
  { "<think>", "</think>" }, { "<seed:think>", "</seed:think>" }, { "<|START_THINKING|>", "<|END_THINKING|>" },
  { "[THINK]", "[/THINK]" }, { "<reasoning>", "</reasoning>" },
}

--- Where templates look for a thought: a field of the message, or a part of its
--- content.
local FIELDS = { "reasoning_content", "thinking", "reasoning", "part" }

--- Puts a thought into a message, where a template looks for it.
---@param m table
---@param thought { field: string, alone: boolean }
---@param text string
function M.put_thought(m, thought, text)
  -- some take a thought or a content beside a call, and the content for a thought
  if thought.alone and m.tool_calls and text ~= "" then m.content = "" end
  if thought.field ~= "part" then
    m[thought.field] = text
  elseif type(m.content) == "string" then
    local parts = { { type = "thinking", thinking = text } }
    if m.content ~= "" then parts[2] = { type = "text", text = m.content } end
    m.content = template.list(parts)
  end
end

--- Where a template looks for a thought, { field, alone }, or nil when nowhere.
---@param t wane.Template
function M.thought(t)
  local function probe(field, content, with_calls)
    local message = { role = "assistant", content = content, tool_calls = with_calls and calls(1, false) or nil }
    M.put_thought(message, { field = field }, REASON)
    local _, _, whole = reply(t, message)
    -- a list of parts that is printed as it is, is not read
    return whole, whole and whole:find(REASON, 1, true) ~= nil and not whole:find "[\"']thinking[\"']: "
  end
  for _, field in ipairs(FIELDS) do
    local _, shown = probe(field, CONTENT, false)
    local beside, shown_beside = probe(field, CONTENT, true)
    if shown or shown_beside then return { field = field, alone = not beside and (probe(field, "", true)) ~= nil } end
  end
end

--- Markers around reasoning, or nil; and what stands between it and a content.
local function reasoning(t)
  local where = M.thought(t)
  local function probe(with_calls)
    local message = { role = "assistant", content = CONTENT, tool_calls = with_calls }
    M.put_thought(message, where, REASON)
    local _, _, whole = reply(t, message)
    local at = whole and whole:find(REASON, 1, true)
    return whole, at, at and (whole:find(with_calls and NAME or CONTENT, at, true))
  end
  local whole, at, content
  if where then
    whole, at, content = probe(nil)
    if not content then whole, at, content = probe(calls(1, false)) end
  end
  if content then
    local before, after = whole:sub(1, at - 1), whole:sub(at + #REASON, content - 1)
    -- the last tag before, the first one after
    local open = trim(before):match "[<%[][^<%[]*$" or trim(before):match "%S+$"
    local close = trim(after):match "^[<%[].-[>%]]" or trim(after):match "^%S+"
    local behind = open and close and trim(trim(after):sub(#close + 1))
    if behind then return { open = open, close = close }, whole:sub(content, content + #CONTENT - 1) == CONTENT and behind or "" end
  end
  for _, p in ipairs(PAIRS) do
    if t.source:find(p[2], 1, true) then return { open = p[1], close = p[2] }, "" end
  end
end

--- What ends a turn: the text behind a plain answer.
local function ending(t)
  local text = reply(t, { role = "assistant", content = CONTENT })
  local _, last = (text or ""):find(CONTENT, 1, true)
  local tail = last and trim(text:sub(last + 1)) or ""
  -- one marker of it: a template may begin the next turn as well
  tail = tail:match "^<[^<>]*>" or tail:match "^%[[^%[%]]*%]" or tail
  local head = last and text:sub(1, last - #CONTENT) or ""
  return #tail > 2 and tail or nil, head
end

-- ---- calls --------------------------------------------------------------------------

--- The value of JSON text at i, and where it ends; nil when there is none.
local function json_at(text, i)
  local depth, in_string, at = 0, false, i
  while at <= #text do
    local c = text:sub(at, at)
    if in_string then
      if c == "\\" then at = at + 1 elseif c == '"' then in_string = false end
    elseif c == '"' then in_string = true
    elseif c == "{" or c == "[" then depth = depth + 1
    elseif c == "}" or c == "]" then
      depth = depth - 1
      if depth == 0 then
        local ok, v = pcall(json.decode, text:sub(i, at))
        if ok then return v, at end
        return nil
      end
    end
    at = at + 1
  end
end

--- Whether an ordered object has a field with this text, or one that does.
local function field_of(object, want)
  for _, p in ipairs(object) do
    if type(p) == "table" and want(p[2]) then return p[1] end
  end
end

local function is_arguments(v)
  if type(v) == "string" then
    local ok, decoded = pcall(json.decode, v)
    v = ok and decoded or nil
  end
  return type(v) == "table" and field_of(v, function(x) return x == VALUE1 end) ~= nil
end

--- The object of a call around the name at n: its fields' names and its range.
local function json_call(text, n)
  for i = n, math.max(n - 200, 1), -1 do
    if text:sub(i, i) == "{" then
      local v, last = json_at(text, i)
      if v and last > n then
        local name = field_of(v, function(x) return x == NAME end)
        local args = field_of(v, is_arguments)
        if name and args then return { name_key = name, args_key = args, from = i, to = last } end
      end
    end
  end
end

--- Ends of what one call takes, for calls as { from, to } in the text.
local function framed(layout, text, first, second, content_end, tail)
  local function same_id(s) return (s:gsub("probe000%d", "probe0001")) end
  local before = same_id(text:sub(content_end, first.from - 1))
  local rest = text:sub((second or first).to + 1)
  local stop = tail and rest:find(tail, 1, true)
  if stop then rest = rest:sub(1, stop - 1) end
  if second then
    local between = same_id(text:sub(first.to + 1, second.from - 1))
    local open = from_bracket(common_suffix(before, between))
    if not open:find "^[<%[]" then open = trim(open) == "" and "" or open end
    layout.open = open
    layout.close = trim(between:sub(1, #between - #open))
    layout.section = trim(before:sub(1, #before - #open))
  else
    layout.open, layout.section, layout.close = from_bracket(before), "", ""
  end
  rest = trim(rest)
  if layout.close ~= "" and rest:sub(1, #layout.close) == layout.close then rest = trim(rest:sub(#layout.close + 1)) end
  local _, _, after = rest:find "^<[^<>]*>%s*(<[^<>]*>)"
  layout.after = after -- the end of the turn, where a plain answer has none
  layout.section_close = rest:match "^<[^<>]*>" or rest:match "^%[[^%[%]]*%]" or rest
  return layout
end

local function strip_list(s) return (s:gsub("%s*%[%s*$", "")) end

local function json_layout(text, n, content_end, tail)
  local first = json_call(text, n)
  if not first then return nil end
  local n2 = text:find(NAME, first.to, true)
  local second = n2 and json_call(text, n2)
  local layout = framed({ kind = "json", name_key = first.name_key, args_key = first.args_key }, text, first, second, content_end, tail)
  layout.section, layout.open = strip_list(layout.section), strip_list(layout.open)
  layout.open, layout.section = trim(layout.open), trim(layout.section)
  layout.close, layout.section_close = trim(layout.close:gsub("^[,%]]", "")), trim(layout.section_close:gsub("^%]", ""))
  return layout
end

--- name ... { JSON }
local function named_call(text, n)
  local at = text:find("{", n + #NAME, true)
  local v, last = nil, nil
  if at and at - n < 120 then v, last = json_at(text, at) end
  if not v or not is_arguments(v) then return nil end
  return { from = n, to = last, mid = text:sub(n + #NAME, at - 1) }
end

local function named_layout(text, n, content_end, tail)
  local first = named_call(text, n)
  if not first then return nil end
  local n2 = text:find(NAME, first.to, true)
  local second = n2 and named_call(text, n2)
  local layout = framed({ kind = "named" }, text, first, second, content_end, tail)
  -- an id or a number may stand in the markers
  local mid = first.mid
  if second and second.mid ~= mid then
    local a = common_prefix(mid, second.mid):gsub("[%w_]+$", "")
    local b = common_suffix(mid, second.mid):gsub("^[%w_]+", "")
    layout.mid, layout.mid_end = a, trim(b)
  else
    local a, b = mid:match "^(.-)probe0001(.*)$"
    layout.mid, layout.mid_end = a or mid, b and trim(b) or nil
  end
  local a, b = (layout.open):match "^(.-)probe000%d(.*)$"
  if a then layout.open, layout.id_end = a, b end
  if layout.section == "" and second == nil then
    a, b = layout.open:match "^(.-[>%]])(%s*[<%[][^<%[]*)$"
    if a then layout.section, layout.open = trim(a), trim(b) end
  end
  return layout
end

--- Markers that hold a key, `<city>...</city>`: the marks of elements, and
--- those around the calls, which are an element too.
local function elements_layout(text, one, close, sep, content_end)
  local a, b = close:find(KEY1, 1, true)
  local marks = { close = close:sub(1, a - 1), close_end = sep, open_end = sep }
  marks.open = marks.close:match "^(.*)/$"
  if not marks.open or close:sub(b + 1, b + #sep) ~= sep or text:sub(one.a.k - #marks.open, one.a.k - 1) ~= marks.open then return nil end
  local before = text:sub(content_end, one.from - 1)
  local _, from = before:find(marks.open, 1, true)
  local first, last = before:find(sep, from or 1, true)
  if not first then return nil end
  return { kind = "elements", marks = marks, section = trim(before:sub(1, last)),
    close = marks.close .. before:sub(from + 1, first - 1) .. marks.close_end }
end

--- Where key and value of an argument stand behind `at`.
local function argument(text, key, value, at)
  local k = text:find(key, at, true)
  local v = k and text:find(value, k + #key, true)
  if not v then return nil end
  return { k = k, k_end = k + #key, v = v, v_end = v + #value }
end

local function tagged_call(text, n)
  local a = argument(text, KEY1, VALUE1, n)
  local b = a and argument(text, KEY2, VALUE2, a.v_end)
  if not b then return nil end
  return { from = n, a = a, b = b, to = b.v_end - 1 }
end

local function tagged_layout(text, n, content_end, tail)
  local one = tagged_call(text, n)
  if not one then return nil end
  local head = text:sub(n + #NAME, one.a.k - 1)
  local sep1, sep2 = text:sub(one.a.k_end, one.a.v - 1), text:sub(one.b.k_end, one.b.v - 1)
  local between = text:sub(one.a.v_end, one.b.k - 1)
  if head:find "^%s*%(" then return { kind = "python", head = head } end
  if head:find "^%s*{" then return { kind = "bare", quote = trim(sep1:gsub("^%s*:", "")) } end
  local param = from_bracket(common_suffix(head, between))
  local layout = { kind = "tagged", param = param, head = trim(head:sub(1, #head - #param)) }
  layout.param_close = between:sub(1, #between - #param):gsub("%s+$", "")
  if sep1 == sep2 then
    layout.sep = sep1
  else
    layout.sep = common_prefix(sep1, sep2):gsub("[%w_]+$", "")
    layout.sep_end = common_suffix(sep1, sep2):gsub("^[%w_]+", "")
    layout.text_type = sep1:sub(#layout.sep + 1, #sep1 - #layout.sep_end)
  end
  if layout.param_close == "" then return nil end
  if layout.param_close:find(KEY1, 1, true) then return elements_layout(text, one, layout.param_close, sep1, content_end) end
  -- a call ends behind the close of its last argument
  local function whole(call)
    call.to = call.to + #layout.param_close
    return call
  end
  whole(one)
  local n2 = text:find(NAME, one.to, true)
  local two = n2 and tagged_call(text, n2)
  return framed(layout, text, one, two and whole(two), content_end, tail)
end

--- The markers of a call whose inside is read as a whole.
local function enclosed(layout, text, n, content_end, tail)
  local before = text:sub(content_end, n - 1)
  layout.section = trim(before)
  local rest = text
  local stop = tail and rest:find(tail, n, true)
  if stop then rest = rest:sub(1, stop - 1) end
  if layout.kind == "python" then
    layout.section = strip_list(layout.section)
    layout.close = trim((rest:match "%]%s*([^%]]*)$" or rest:match "%)%s*([^)]*)$" or ""))
  else
    layout.prefix = layout.section:match "[%w_]+:$" or ""
    layout.section = layout.section:sub(1, #layout.section - #layout.prefix)
    layout.close = rest:match "}%s*(%S+)" or ""
    layout.close = layout.close:match "^<[^<>]*>" or layout.close
  end
  return layout
end

--- A layout from one rendered answer, or nil.
local function from_text(text, tail, thought)
  local n = text:find(NAME, 1, true)
  if not n then return nil end
  local _, c = text:sub(1, n - 1):find(CONTENT, 1, true)
  local _, r = text:sub(1, n - 1):find(REASON, 1, true)
  local content_end = (c or r or 0) + 1
  if thought then -- behind a thought, also an empty one
    local _, last = text:sub(1, n - 1):find(thought.close, 1, true)
    if last and last >= content_end then content_end = last + 1 end
  end
  local layout = json_layout(text, n, content_end, tail) or named_layout(text, n, content_end, tail)
    or tagged_layout(text, n, content_end, tail)
  if layout and (layout.kind == "python" or layout.kind == "bare") then
    enclosed(layout, text, n, content_end, tail)
    if layout.section == "" or layout.close == "" then return nil end
  end
  return layout
end

--- The layout of tool calls that a template shows, or nil.
local function tool_calls(t, tail, thought)
  for _, n in ipairs { 2, 1 } do
    for _, as_text in ipairs { false, true } do
      for _, content in ipairs { CONTENT, "", template.null } do
        local text = reply(t, { role = "assistant", content = content, tool_calls = calls(n, as_text) })
        local layout = text and text:find(VALUE1, 1, true) and from_text(text, tail, thought)
        -- not where the call is a turn of its own, behind that of the content
        if layout and not (tail and layout.section:find(tail, 1, true)) then return layout end
      end
    end
  end
end

--- The layout that a compiled template shows: { calls, reasoning, ending }.
---@param t wane.Template
function M.layout(t)
  local ok, out = pcall(function()
    local tail, head = ending(t)
    local thought, behind = reasoning(t)
    local found = { calls = tool_calls(t, tail, thought), reasoning = thought, ending = tail }
    found.ending = tail or found.calls and found.calls.after
    -- what a template writes before every content: "<|START_TEXT|>"
    local drop = trim(head or "")
    if found.reasoning then -- an empty thought may stand there
      local _, last = drop:find(found.reasoning.close, 1, true)
      if last then drop = trim(drop:sub(last + 1)) end
    end
    if drop:find "^<[^<>]*>$" and not (found.reasoning and drop == found.reasoning.open) then found.drop = { drop } end
    -- a turn of its own behind a thought: "<|begin|>assistant"
    local begin = found.drop and behind and behind:sub(-#drop) == drop and behind:sub(1, -#drop - 1) or behind
    if begin and begin:find "^<|[^<>]*|>%a*$" then
      found.drop = found.drop or {}
      table.insert(found.drop, begin)
    end
    return found
  end)
  return ok and out or {}
end

return M
