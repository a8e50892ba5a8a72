--- Conversations of requests as prompts: messages, tools and what must come of
--- them.
---
--- What it guarantees: what a message holds stays text, also where it spells
--- control tokens (wane.transcript); a template that refuses a conversation is a
--- refusal with its words. 'tool_choice' "required" or a name is kept by a
--- grammar: the answer is a call with arguments of the tool's schema.
---
--- How it works: the model's own template renders; a model without one, or
--- whose template knows no tools, is told of tools in a system message, and asked
--- to answer with one JSON object. A forced call is always such an object.
local M = {}

local answer = require "wane.answer"
local formats = require "wane.chat_formats"
local json = require "wane.json"
local request = require "wane.serve.request"
local template = require "wane.template"
local transcript = require "wane.transcript"

-- Calls as bare JSON objects.
local BARE = { kind = "marked", calls = { kind = "json", section = "", open = "", close = "", section_close = "", name_key = "name",
  args_key = "arguments" } }

--- How a model's conversations are written. o: template (source), format.
---@return table|nil style   { template, layout, format, tools }
---@return string? message
function M.style(model, o)
  local source = o.template
  if not source and not o.format then source = model:meta "tokenizer.chat_template" end
  if type(source) ~= "string" then
    local name = o.format or "plain"
    if not formats.formats[name] then return nil, ("no format '%s'"):format(name) end
    return { format = name, layout = answer.plain }
  end
  local t, message = template.compile(source)
  if not t then return nil, message .. " (option 'format' names another)" end
  return { template = t, layout = answer.detect(t), tools = source:find("tools", 1, true) ~= nil }
end

-- ---- what was sent, as values of templates ---------------------------------------

local function value(v)
  local meta = type(v) == "table" and getmetatable(v)
  if v == json.null then return template.null end
  if meta ~= json.ORDERED and meta ~= json.LIST then return v end
  local out = {}
  for i, x in ipairs(v) do out[i] = meta == json.LIST and value(x) or { x[1], value(x[2]) } end
  return meta == json.LIST and template.list(out) or template.object(out)
end

-- The text of a content; parts of other kinds are refused.
local function text_of(content, i)
  local parts = {}
  for k = 1, #content do
    local part = content[k]
    if not request.is_object(part) or type(part.text) ~= "string" then
      request.refuse(400, ("'messages': message %d: part %d: want { type = \"text\", text }; images and audio are not served")
        :format(i - 1, k - 1), "messages")
    end
    parts[k] = part.text
  end
  return table.concat(parts)
end

-- Arguments of calls as objects: most templates write them with tojson.
local function with_objects(calls)
  local out = {}
  for i, call in ipairs(calls) do
    local fields = {}
    for k, pair in ipairs(call) do
      local v = value(pair[2])
      if pair[1] == "function" then
        for _, f in ipairs(v) do
          local args = f[1] == "arguments" and type(f[2]) == "string" and template.json(f[2])
          if type(args) == "table" then f[2] = args end
        end
      end
      fields[k] = { pair[1], v }
    end
    out[i] = template.object(fields)
  end
  return template.list(out)
end

local function is_calls(v)
  if not request.is_list(v) then return false end
  for i = 1, #v do
    local f = request.is_object(v[i]) and v[i]["function"]
    if not request.is_object(f) or type(f.name) ~= "string" then return false end
    if f.arguments ~= nil and type(f.arguments) ~= "string" and not request.is_object(f.arguments) then return false end
  end
  return true
end

-- One message: fields in order, contents as text.
local function message_of(m, ordered, i)
  local function wrong(what) request.refuse(400, ("'messages': message %d: %s"):format(i - 1, what), "messages") end
  if not request.is_object(m) then wrong "want an object" end
  if type(m.role) ~= "string" then wrong "want a role" end
  local content, calls = m.content, m.tool_calls
  if content == json.null then content = nil end
  if calls == json.null then calls = nil end
  if calls ~= nil and not is_calls(calls) then wrong "tool_calls: want a list of { id, type, function = { name, arguments } }" end
  if request.is_list(content) then content = text_of(content, i) end
  if content ~= nil and type(content) ~= "string" then wrong "content: want a text or a list of parts" end
  if content == nil and not calls and not m.reasoning_content then wrong "want content" end
  local out = { role = m.role == "developer" and "system" or m.role, content = content or "" }
  for _, pair in ipairs(ordered) do
    if pair[1] == "tool_calls" and calls and #calls > 0 then
      out.tool_calls = with_objects(pair[2])
    elseif out[pair[1]] == nil and pair[2] ~= json.null and pair[1] ~= "tool_calls" then
      out[pair[1]] = value(pair[2])
    end
  end
  return out
end

local function messages_of(r)
  r:need("messages", "a list of messages")
  local list = r:list("messages", "objects", request.is_object, 4096)
  if #list == 0 then request.refuse(400, "'messages': want at least one", "messages") end
  local ordered, out = r:ordered "messages", {}
  for i = 1, #list do out[i] = message_of(list[i], ordered[i], i) end
  return out
end

-- ---- tools ------------------------------------------------------------------------

-- { name, ordered parameters } of each tool, checked.
local function tools_of(r)
  local list = r:list("tools", "objects", request.is_object, 128)
  if not list or #list == 0 then return nil end
  local out, ordered = {}, r:ordered "tools"
  for i = 1, #list do
    local f = list[i]["function"]
    local function wrong(what) request.refuse(400, ("'tools': tool %d: %s"):format(i - 1, what), "tools") end
    if list[i].type ~= nil and list[i].type ~= "function" then wrong "want the type function" end
    if not request.is_object(f) or type(f.name) ~= "string" or not f.name:find "^[%w_.%-]+$" or #f.name > 128 then
      wrong "want function = { name (letters, digits, _ . -), description, parameters }"
    end
    if f.parameters ~= nil and f.parameters ~= json.null and not request.is_object(f.parameters) then wrong "parameters: want an object" end
    local parameters
    for _, pair in ipairs(ordered[i]) do
      for _, inner in ipairs(pair[1] == "function" and pair[2] or {}) do
        if inner[1] == "parameters" and inner[2] ~= json.null then parameters = inner[2] end
      end
    end
    out[i] = { name = f.name, parameters = parameters or json.ordered { { "type", "object" } }, ordered = ordered[i] }
  end
  return out
end

-- Which of the tools must be called: nil for none, a list otherwise; and whether
-- the model is told of tools at all.
local function chosen(r, tools)
  local choice = r:get "tool_choice"
  if choice == nil or choice == "auto" then return nil, true end
  if choice == "none" then return nil, false end
  if not tools then request.refuse(400, "'tool_choice' without tools", "tool_choice") end
  if choice == "required" or choice == "any" then return tools, true end
  local f = request.is_object(choice) and choice["function"]
  local name = request.is_object(f) and f.name or request.is_object(choice) and choice.name
  for _, tool in ipairs(tools) do
    if tool.name == name then return { tool }, true end
  end
  request.refuse(400, "'tool_choice': want \"none\", \"auto\", \"required\" or the function of one of the tools", "tool_choice")
end

-- The schema of one call of one of these tools, as JSON text. Definitions move
-- to the top, where references look for them.
local function call_schema(tools)
  local calls, hoisted = {}, {}
  for i, tool in ipairs(tools) do
    local parameters = {}
    for _, pair in ipairs(tool.parameters) do
      if pair[1] == "$defs" or pair[1] == "definitions" then
        hoisted[pair[1]] = hoisted[pair[1]] or {}
        for _, definition in ipairs(type(pair[2]) == "table" and pair[2] or {}) do table.insert(hoisted[pair[1]], definition) end
      else
        parameters[#parameters + 1] = pair
      end
    end
    calls[i] = json.ordered { { "type", "object" }, { "properties", json.ordered {
      { "name", { const = tool.name } }, { "arguments", json.ordered(parameters) } } },
      { "required", { "name", "arguments" } }, { "additionalProperties", false } }
  end
  local schema = #calls == 1 and calls[1] or json.ordered { { "anyOf", calls } }
  for _, name in ipairs { "$defs", "definitions" } do
    if hoisted[name] then table.insert(schema, { name, json.ordered(hoisted[name]) }) end
  end
  return json.encode(schema)
end

-- Tools in a system message, for models whose template has no place for them.
local function told(messages, tools)
  local lines = { "You can call these tools:" }
  for _, tool in ipairs(tools) do lines[#lines + 1] = json.encode(tool.ordered) end
  lines[#lines + 1] = 'To call one, answer with {"name": NAME, "arguments": ARGUMENTS} and nothing else.'
  local text, out = table.concat(lines, "\n"), {}
  for i, m in ipairs(messages) do out[i] = m end
  if out[1].role == "system" and type(out[1].content) == "string" then
    out[1] = { role = "system", content = out[1].content .. "\n\n" .. text }
  else
    table.insert(out, 1, { role = "system", content = text })
  end
  return out
end

-- ---- rendering --------------------------------------------------------------------

local OWN = { messages = true, tools = true, bos_token = true, eos_token = true, add_generation_prompt = true }

-- What else the template sees: 'chat_template_kwargs', 'reasoning_effort'.
local function variables(r, vars)
  local extra = r:ordered "chat_template_kwargs"
  if extra ~= nil and not request.is_object(r:get "chat_template_kwargs") then r:wrong("chat_template_kwargs", "an object") end
  for _, pair in ipairs(extra or {}) do
    if not OWN[pair[1]] then vars[pair[1]] = value(pair[2]) end
  end
  if vars.reasoning_effort == nil then vars.reasoning_effort = r:string("reasoning_effort", 32) end
  return vars
end

local function parts_of(app, r, messages, tools)
  local style, vocab = app.style, app.model.vocab
  if not style.template then
    local ok, parts = pcall(formats.formats[style.format].parts, messages)
    if not ok then request.refuse(400, (tostring(parts):gsub("^[^\n]-:%d+: ", "")), "messages") end
    return parts
  end
  local shown = {}
  for i, tool in ipairs(tools or {}) do shown[i] = value(tool.ordered) end
  local generation = r:boolean "add_generation_prompt"
  local vars = variables(r, {
    messages = template.list(messages), add_generation_prompt = generation == nil or generation,
    bos_token = vocab.bos and vocab:text(vocab.bos) or "", eos_token = vocab.eos and vocab:text(vocab.eos) or "",
    tools = tools and template.list(shown) or nil,
  })
  local parts, message = style.template:render(vars, { parts = true })
  if not parts then request.refuse(400, message, "messages") end
  return parts
end

-- The layout of the answer, and the schema that forces it.
local function demand(app, c, opts)
  c.layout = app.style.layout
  if c.forced then
    c.layout = BARE
    if opts.grammar or opts.schema then request.refuse(400, "'tool_choice' with a grammar or a schema: want one of them", "tool_choice") end
    opts.schema = call_schema(c.forced)
    return
  end
  if c.tools and not app.style.tools then c.layout = BARE end
  local reasoning = c.layout.reasoning
  if (opts.schema or opts.grammar) and reasoning and #reasoning.open > 0 then
    local tail = c.tail:gsub("%s+$", "")
    if tail:sub(-#reasoning.open) == reasoning.open then opts.after = reasoning.close end -- constrained once it has thought
  end
end

--- The prompt of a request: { ids, text, layout, tail, tools, forced }; `opts`
--- gets what the format and the tools demand of a generation.
---@param app table
---@param r wane.serve.Request
---@param opts table
function M.read(app, r, opts)
  local messages, tools = messages_of(r), tools_of(r)
  local forced, shown = chosen(r, tools)
  local c = { tools = shown and tools or nil, forced = forced }
  if c.tools and not app.style.tools then messages = told(messages, c.tools) end
  local parts = parts_of(app, r, messages, app.style.tools and c.tools)
  local text = {}
  for i, p in ipairs(parts) do text[i] = p.text end
  c.text = table.concat(text)
  c.tail = parts[#parts] and not parts[#parts].input and parts[#parts].text or ""
  local ids, message = transcript.new(app.model.vocab):encode(parts)
  if not ids then request.refuse(400, message, "messages") end
  c.ids = ids
  demand(app, c, opts)
  if c.layout.special then opts.special = true end
  if not app.style.template then
    opts.stop = opts.stop or {}
    for _, s in ipairs(formats.formats[app.style.format].stop) do table.insert(opts.stop, s) end
  end
  return c
end

--- A parser of the answer to a prompt.
function M.parser(c)
  local shown = {}
  for i, tool in ipairs(c.tools or {}) do shown[i] = value(tool.ordered) end
  return answer.parser(c.layout, { prompt = c.tail, tools = c.tools and shown or nil })
end

return M
