--- Tools of a conversation: what the template sees of them, and the functions
--- of the host that answer calls. Also what may be sent as a message.
local answer_json = require "wane.template.json"
local derive = require "wane.answer.derive"
local template = require "wane.template"

local M = {}

---@class wane.Tools
---@field list table       as templates want them: { type = "function", function = { ... } }
---@field rounds integer
---@field handlers table<string, fun(arguments: table, call: table): any>
local Tools = {}
Tools.__index = Tools

-- One tool in the shape of templates, and its handler.
local function shaped(tool, i, level)
  local function wrong(what) error(("wane: chat: option 'tools': tool %d: %s"):format(i, what), level + 1) end
  if type(tool) ~= "table" then wrong("want a table, got a " .. type(tool)) end
  if getmetatable(tool) then return tool, nil, nil end -- JSON in order: as it is
  local f = tool["function"] or tool
  if type(f) ~= "table" or type(f.name) ~= "string" then wrong "want a name" end
  local handler = tool.handler or f.handler
  if handler ~= nil and type(handler) ~= "function" then wrong "handler: want a function" end
  local fields = { { "name", f.name } }
  if f.description ~= nil then fields[2] = { "description", f.description } end
  fields[#fields + 1] = { "parameters", f.parameters or template.object { { "type", "object" }, { "properties", template.object {} } } }
  for key, v in pairs(f) do
    if key ~= "name" and key ~= "description" and key ~= "parameters" and key ~= "handler" and key ~= "type" then
      fields[#fields + 1] = { key, v }
    end
  end
  return template.object { { "type", "function" }, { "function", template.object(fields) } }, f.name, handler
end

--- The tools of a chat, or nil when there are none.
---@param list table|nil
---@param rounds integer|nil
---@param level integer
---@return wane.Tools|nil
function M.new(list, rounds, level)
  if rounds ~= nil and (type(rounds) ~= "number" or rounds < 0 or rounds ~= math.floor(rounds)) then
    error("wane: chat: option 'tool_rounds': want a whole number", level + 1)
  end
  if list == nil then return nil end
  if type(list) ~= "table" then error("wane: chat: option 'tools': want a list, got a " .. type(list), level + 1) end
  local out, handlers = {}, {}
  for i, tool in ipairs(list) do
    local name, handler
    out[i], name, handler = shaped(tool, i, level + 1)
    if handler then handlers[name] = handler end
  end
  return setmetatable({ list = template.list(out), handlers = handlers, rounds = rounds or 8 }, Tools)
end

-- Ordered JSON as plain Lua: objects by key, numbers as numbers, null as nil.
local function plain(v)
  if type(v) ~= "table" then return v end
  local text = template.render("{{ x is mapping }}{{ x is none }}{{ x is number }}", { x = v })
  if text == "FalseTrueFalse" then return nil end
  if text == "FalseFalseTrue" then return tonumber((v[1])) end
  local out = {}
  if text == "TrueFalseFalse" then
    for _, p in ipairs(v) do out[p[1]] = plain(p[2]) end
  else
    for i, x in ipairs(v) do out[i] = plain(x) end
  end
  return out
end

-- A handler's result as a message's text.
local function as_text(v)
  if type(v) == "string" then return v end
  if v == nil then return "null" end
  return assert(template.render("{{ x|tojson }}", { x = v }))
end

--- The results of a message's calls as messages; nil when it has none, or when
--- one of them has no handler. What a handler raises is told to the model.
---@param message wane.Message|nil
---@return wane.Message[]|nil
function Tools:answer(message)
  local calls = message and message.tool_calls
  if not calls or #calls == 0 then return nil end
  for _, call in ipairs(calls) do
    if not self.handlers[call["function"].name] then return nil end
  end
  local out = {}
  for i, call in ipairs(calls) do
    local f = call["function"]
    local ok, args = pcall(answer_json.decode, f.arguments)
    local fine, result
    if ok then
      fine, result = pcall(self.handlers[f.name], plain(args), call)
      if not fine then result = "error: " .. tostring(result) end
    else
      result = "error: the arguments are no JSON"
    end
    out[i] = { role = "tool", tool_call_id = call.id, name = f.name, content = as_text(result) }
  end
  return out
end

-- Arguments of calls as objects: most templates write them with tojson.
local function with_objects(calls)
  local out = {}
  for i, call in ipairs(calls) do
    local f, copy = call["function"], {}
    for key, v in pairs(call) do copy[key] = v end
    if type(f) == "table" and type(f.arguments) == "string" then
      local ok, args = pcall(answer_json.decode, f.arguments)
      if ok and type(args) == "table" then
        local fields = {}
        for key, v in pairs(f) do fields[key] = v end
        fields.arguments = args
        copy["function"] = fields
      end
    end
    out[i] = copy
  end
  return template.list(out)
end

--- Whether a template wants the arguments of calls as JSON text: one that joins
--- them to strings refuses objects, one that prints them shows Python's spelling.
---@param render fun(messages: table[], plain_text: boolean): table[]|nil
---@return boolean
function M.wants_text(render)
  local probe = { { role = "user", content = "Q" }, { role = "assistant", content = "", tool_calls = { { id = "call00001",
    type = "function", ["function"] = { name = "probe", arguments = '{"probe_key": "probe_value"}' } } } } }
  local function text_of(plain_text)
    local parts, out = render(probe, plain_text), {}
    for i, p in ipairs(parts or {}) do out[i] = p.text end
    return parts and table.concat(out)
  end
  local objects, text = text_of(false), text_of(true)
  return text ~= nil and (objects == nil or objects:find("{'probe_key': 'probe_value'}", 1, true) ~= nil)
end

--- A message as templates want it.
---@param m wane.Message
---@param text_arguments? boolean  arguments stay JSON text
---@param thought? table  where the template looks for a thought (wane.answer.derive)
---@return table
function M.for_template(m, text_arguments, thought)
  if type(m) ~= "table" or not (m.tool_calls or m.reasoning_content) then return m end
  local copy = {}
  for key, v in pairs(m) do copy[key] = v end
  if m.tool_calls then
    copy.tool_calls = text_arguments and template.list(m.tool_calls) or with_objects(m.tool_calls)
  end
  if m.reasoning_content and thought then derive.put_thought(copy, thought, m.reasoning_content) end
  return copy
end

--- The messages that a caller sends: a text, a message, parts of a content, or
--- a list of messages.
---@param message any
---@param where string
---@param level integer
---@return wane.Message[]
function M.messages_of(message, where, level)
  local function wrong(got)
    error(("wane: %s: message: want a string, a message { role =, content = } or a list, got %s"):format(where, got), level + 1)
  end
  if type(message) == "string" then return { { role = "user", content = message } } end
  if type(message) ~= "table" then wrong(message == nil and "nil" or "a " .. type(message)) end
  if message.role ~= nil then message = { message } end
  if #message == 0 then wrong "an empty table" end
  if type(message[1]) == "table" and message[1].role == nil and message[1].type ~= nil then
    return { { role = "user", content = message } }
  end
  for i, m in ipairs(message) do
    if type(m) ~= "table" or type(m.role) ~= "string" then wrong(("no role in message %d"):format(i)) end
    local content = m.content
    if content ~= nil and type(content) ~= "string" and type(content) ~= "table" then
      error(("wane: %s: content: want a string or a list of parts, got a %s"):format(where, type(content)), level + 1)
    end
  end
  return message
end

return M
