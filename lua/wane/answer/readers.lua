--- Answers: reading tool calls as they come, one reader for each kind of layout
--- (wane.answer says which there are).
---
--- reader:read(buffer) takes what it can and returns how many bytes it used up,
--- and "more" (wants text), "done" (the calls are over) or "none" (there is no
--- call here). Emits name(name, id), arguments(piece), done().
local M = {}

local json = require "wane.template.json"
local repr = require "wane.answer.write"

local Reader = {}
Reader.__index = Reader

--- Arguments as JSON, whatever the model wrote.
function M.valid_json(text)
  if text == "" then return "{}" end
  if pcall(json.decode, text) then return text end
  return repr.string(text)
end

--- The schema of a tool's arguments: types by name.
function M.schema(tools, name)
  local function get(o, key)
    if type(o) ~= "table" then return nil end
    if o[key] ~= nil then return o[key] end
    for _, p in ipairs(o) do
      if type(p) == "table" and p[1] == key then return p[2] end
    end
  end
  for _, tool in ipairs(type(tools) == "table" and tools or {}) do
    local f = get(tool, "function") or tool
    if get(f, "name") == name then
      local properties = get(get(f, "parameters"), "properties")
      return function(key) return get(get(properties, key), "type") end
    end
  end
  return function() return nil end
end

--- Whether a text that begins with a bracket is a call: true, false, nil (too
--- early to say).
function M.looks_like_call(text)
  local s = text:gsub("^%s*%[?%s*", "")
  if s == "" then return nil end
  -- without white space, also that at the end: a colon may be coming
  local flat = s:gsub("^{%s*", "{"):sub(1, 200):gsub('^({"%a+")%s*:%s*', "%1:"):gsub("%s+$", "")
  for _, start in ipairs { '{"name":', '{"function":', '{"type":"function"', '{"parameters":', '{"arguments":' } do
    if flat:sub(1, #start) == start then return true end
    if #flat < #start and start:sub(1, #flat) == flat then return nil end
  end
  return false
end

-- ---- pieces -----------------------------------------------------------------------

local function skip(s, i, chars) return s:find("[^" .. (chars or "%s") .. "]", i) or #s + 1 end

--- Whether s continues with marker at i: true, false, nil (it may).
local function at_marker(s, i, marker)
  if marker == "" or marker == nil then return false end
  -- white space inside and before a marker is the model's business
  local k, j = 1, i
  while k <= #marker do
    local c = marker:sub(k, k)
    if c:find "%s" then
      k = skip(marker, k)
      j = skip(s, j)
      if j > #s then return nil end
    else
      if j > #s then return nil end
      if s:sub(j, j) ~= c then return false end
      k, j = k + 1, j + 1
    end
  end
  return true, j
end

--- The end of a JSON string whose quote is at i; nil when it is not there yet.
local function string_end(s, i)
  local at = i + 1
  while true do
    local p = s:find('["\\]', at)
    if not p then return nil end
    if s:sub(p, p) == '"' then return p end
    at = p + 2
  end
end

--- A JSON value that is looked at as it grows. feed(s, i) says where it ends, or
--- nil and how far it is known to go.
local function value_scanner()
  local depth, in_string, started, escaped = 0, false, nil, false
  return function(s, i)
    local at = i
    while at <= #s do
      local c = s:sub(at, at)
      if in_string then
        if escaped then escaped = false
        elseif c == "\\" then escaped = true
        elseif c == '"' then
          in_string = false
          if depth == 0 then return at end
        end
      elseif c == '"' then
        in_string, started = true, true
      elseif c == "{" or c == "[" then
        depth, started = depth + 1, true
      elseif c == "}" or c == "]" then
        if depth == 0 then return at - 1 end
        depth = depth - 1
        if depth == 0 then return at end
      elseif depth == 0 and started and (c == "," or c:find "%s") then
        return at - 1
      elseif not c:find "%s" then
        started = true
      end
      at = at + 1
    end
    return nil, #s
  end
end

-- ---- json --------------------------------------------------------------------------

--- Between calls: what may stand there is skipped. "call", "done", "more".
local function between(self, s, i)
  local l = self.layout
  while true do
    i = skip(s, i, "%s,;")
    if i > #s then return "more", i end
    local moved, unsure = false, false
    for _, m in ipairs { l.close, l.section_close, l.section, l.open, "<|python_tag|>" } do
      local hit, behind = at_marker(s, i, m)
      if hit then
        if m == l.section_close and m ~= "" and self.n > 0 and m ~= l.open then return "done", behind end
        i, moved = behind, true
        break
      end
      unsure = unsure or hit == nil
    end
    if not moved then
      local c = s:sub(i, i)
      if c == "{" then return "call", i end
      if unsure then return "more", i end
      if c ~= "[" and c ~= "]" then return "done", i end
      i = i + 1
    end
  end
end

local function decoded(raw)
  local ok, v = pcall(json.decode, raw)
  if ok then return v end
end

local function unquoted(raw)
  local v = raw and decoded(raw)
  return type(v) == "string" and v or nil
end

--- The fields of an object as they come.
local function object_step(self, s, i)
  local o, l = self.object, self.layout
  while true do
    if o.value then
      local last, known_to = o.scan(s, i)
      local upto = last or known_to
      o.value = o.value .. s:sub(i, upto)
      local key = o.key
      if key == l.name_key and last then
        self.name = unquoted(o.value)
        if self.name then self.emit.name(self.name, self.id) self.announced = true end
      elseif (key == "id" or key == "tool_call_id") and last then
        self.id = unquoted(o.value)
      elseif key == l.args_key or key == "arguments" or key == "parameters" then
        self.raw = o.value
        local first = o.value:match "^%s*(.)"
        if self.announced and first == "{" then
          self.emit.arguments(o.value:sub(#(self.sent or "") + 1))
          self.sent = o.value
        end
      elseif key == "function" and last then
        self.inner = decoded(o.value)
      end
      if not last then return #s + 1 end
      i, o.value, o.key = last + 1, nil, nil
    end
    i = skip(s, i, "%s,")
    if i > #s then return i end
    local c = s:sub(i, i)
    if c == "}" then return i + 1, true end
    if c ~= '"' then return i, nil, true end
    local last = string_end(s, i)
    if not last then return i end
    local colon = skip(s, last + 1)
    if colon > #s then return i end
    if s:sub(colon, colon) ~= ":" then return i, nil, true end
    local from = skip(s, colon + 1)
    if from > #s then return i end
    o.key, o.value, o.scan = unquoted(s:sub(i, last)), "", value_scanner()
    i = from
  end
end

--- A whole object was read: what was not told yet.
local function object_done(self)
  if self.inner and not self.announced then
    for _, p in ipairs(self.inner) do
      if p[1] == "name" then self.name = p[2] end
      if p[1] == "arguments" or p[1] == "parameters" then self.args = p[2] end
    end
    if type(self.name) == "string" then
      self.emit.name(self.name, self.id)
      self.emit.arguments(type(self.args) == "string" and self.args or repr.value(self.args or {}))
      self.emit.done()
      self.n = self.n + 1
      return true
    end
  end
  if not self.name then return false end
  if self.raw and self.sent ~= self.raw then
    local text = unquoted(self.raw)
    self.emit.arguments(text and decoded(text) ~= nil and text or self.raw)
  elseif not self.raw then
    self.emit.arguments "{}"
  end
  self.emit.done()
  self.n = self.n + 1
  return true
end

local function read_json(self, s)
  local i = 1
  while true do
    if not self.object then
      local what, at = between(self, s, i)
      i = at
      if what == "more" then
        -- markers that are begun stay in the buffer, so that they can be looked at again
        self.idle = true
        return math.min(i - 1, #s), "more"
      end
      if what == "done" then return i - 1, self.n > 0 and "done" or "none" end
      self.object, self.name, self.id, self.raw, self.sent, self.announced, self.inner = {}, nil, nil, nil, nil, nil, nil
      self.idle = false
      i = i + 1
    end
    local at, done, broken = object_step(self, s, i)
    i = at
    if broken then
      self.object = nil
      return i - 1, self.n > 0 and "done" or "none"
    end
    if not done then return i - 1, "more" end
    self.object = nil
    self.idle = true
    if not object_done(self) then return i - 1, self.n > 0 and "done" or "none" end
  end
end

-- ---- name, then JSON ---------------------------------------------------------------

--- The markers before a name: where it begins; false, or nil when it may come.
local function opened(self, s, i)
  local l = self.layout
  i = skip(s, i)
  local section = self.n == 0 and l.section or ""
  if section ~= "" then
    local hit, behind = at_marker(s, i, section)
    if hit then
      i = skip(s, behind)
    elseif hit == nil then
      return nil
    end
  end
  if l.open == "" then return self.n == 0 and i or false end
  if i > #s then return nil end
  local hit, behind = at_marker(s, i, l.open)
  if hit then return behind end
  if hit == nil then return nil end
  return false
end

--- Behind a call: its close, then another, or the section's close.
local function closed(self, s, i)
  local l = self.layout
  local at = skip(s, i)
  for _, m in ipairs { l.close, l.section_close } do
    if m and m ~= "" then
      local hit, behind = at_marker(s, at, m)
      if hit == nil then return nil end
      if hit then
        at = skip(s, behind)
        if m == l.section_close then return "done", behind end
        i = behind
      end
    end
  end
  if at > #s and (l.open ~= "" or (l.section_close or "") ~= "") then return nil, i end
  local again = opened(self, s, at)
  if again == nil then return nil, i end
  if again then return "call", at end
  return "done", i
end

local function clean_name(name)
  name = name:gsub("^%s+", ""):gsub("%s+$", "")
  return (name:gsub("^functions[%.:]", ""):gsub(":%d+$", ""))
end

--- The name and id in front of the arguments.
local function header(self, text)
  local l, id, name = self.layout, nil, text
  if l.id_end and l.id_end ~= "" then
    local a, b = text:find(l.id_end, 1, true)
    if a then id, name = text:sub(1, a - 1), text:sub(b + 1) end
  end
  for _, m in ipairs { l.mid or "", l.mid_end or "" } do
    m = m:gsub("^%s+", ""):gsub("%s+$", "")
    local a, b = name:find(m, 1, true)
    if m ~= "" and a then
      if l.mid_end and m ~= l.mid_end then id = id or name:sub(b + 1) end
      name = name:sub(1, a - 1)
    end
  end
  -- "function<sep>name\n```json": a type in front, a fence behind
  if (l.mid or ""):find "sep" and text:find("```", 1, true) then name = text:match "sep[^>]*>%s*([^\n`]*)" or name end
  if id then
    for _, m in ipairs { l.mid_end or "" } do
      local a = m ~= "" and id:find(m, 1, true)
      if a then id = id:sub(1, a - 1) end
    end
    if not id:find "^[%w_-]+$" then id = nil end
  end
  return clean_name(name), id
end

local function read_named(self, s)
  local i = 1
  while true do
    if self.stage == nil then
      local at = opened(self, s, i)
      if at == nil then return i - 1, "more" end
      if not at then return i - 1, self.n > 0 and "done" or "none" end
      local brace = s:find("{", at, true)
      if not brace then
        if #s - at > 400 then return i - 1, self.n > 0 and "done" or "none" end
        return i - 1, "more"
      end
      local name, id = header(self, s:sub(at, brace - 1))
      if name == "" then return i - 1, self.n > 0 and "done" or "none" end
      self.emit.name(name, id)
      self.stage, self.scan, self.idle, i = "args", value_scanner(), false, brace
    end
    if self.stage == "args" then
      local last, upto = self.scan(s, i)
      self.emit.arguments(s:sub(i, last or upto))
      if not last then return #s, "more" end
      self.emit.done()
      self.n, self.stage, i = self.n + 1, "closing", last + 1
      self.idle = true
    end
    local fenced = (self.layout.close or ""):sub(1, 3) == "```"
    local fence = not fenced and s:match("^%s*```%s*()", i) or nil
    local tail = s:match("^%s*(`+)$", i)
    if not fenced and tail and #tail < 3 then return i - 1, "more" end
    local what, at = closed(self, s, fence or i)
    if what == nil then return i - 1, "more" end
    i, self.stage = at, nil
    if what == "done" then return i - 1, "done" end
  end
end

-- ---- a marker for each argument ------------------------------------------------------

--- A value's text as JSON: text where the schema or the marker says so.
local function tagged_value(self, key, text, type_text)
  local kind = self.types(key)
  if type_text ~= nil and self.layout.text_type then
    if type_text == self.layout.text_type then return repr.string(text) end
  elseif kind == "string" then
    return repr.string(text)
  end
  local v = decoded(text)
  if v ~= nil and (type_text ~= nil or type(v) ~= "string") then return (text:gsub("^%s+", ""):gsub("%s+$", "")) end
  if text == "True" or text == "False" then return text:lower() end
  if text == "None" then return "null" end
  local printed = (kind == "array" or kind == "object") and require "wane.answer.literals".value(text)
  return printed or repr.string(text)
end

--- One argument at i: where it ends; nil when more is wanted, false when there
--- is none.
local function tagged_argument(self, s, i)
  local l = self.layout
  local hit, at = at_marker(s, i, l.param)
  if not hit then return hit end
  local sep = l.sep:gsub("%s+$", "")
  local a, b
  local probe = sep
  if probe == "" then a, b = s:find("\n", at, true) else a, b = s:find(probe, at, true) end
  if not a then
    -- the marker may have white space that the model left out
    return nil
  end
  local key = s:sub(at, a - 1)
  local type_text
  at = b + 1
  if l.sep_end then
    local c, d = s:find(l.sep_end, at, true)
    if not c then return nil end
    type_text, at = s:sub(at, c - 1), d + 1
  end
  local blank = l.sep:match "%s+$"
  if blank and not l.sep_end then
    if at > #s then return nil end
    if s:sub(at, at + #blank - 1) == blank then at = at + #blank end
  end
  local close = l.param_close
  local c, d = s:find(close, at, true)
  local core = close:gsub("^%s+", "")
  if not c then
    c, d = s:find(core, at, true) -- without the line end before it
  else
    local c2 = s:find(core, at, true)
    if c2 and c2 < c then c, d = c2, c2 + #core - 1 end
  end
  if not c then return nil end
  if c == at - #(close:match "^%s*") then c = at end
  local text = tagged_value(self, key:gsub("^%s+", ""):gsub("%s+$", ""), s:sub(at, c - 1), type_text)
  self.emit.arguments((self.n_args == 0 and "{" or ", ") .. repr.string((key:gsub("^%s+", ""):gsub("%s+$", ""))) .. ": " .. text)
  self.n_args = self.n_args + 1
  return d + 1
end

--- Where a name ends: before the head marker, white space, an argument or the
--- close of the call.
local function name_end(l, s, at)
  local stop, behind = nil, nil
  local function try(marker, take)
    if not marker or marker == "" then return end
    local a, b = s:find(marker, at, true)
    if a and (not stop or a < stop) then stop, behind = a, take and b + 1 or a end
  end
  try(l.head, true)
  try(l.param, false)
  try(l.close ~= "" and (l.close:match "^<[^<>]*>" or l.close) or nil, false)
  local blank = s:find("%s", at)
  if l.head == "" and blank and (not stop or blank < stop) then stop, behind = blank, blank end
  return stop, behind
end

local function read_tagged(self, s)
  local l, i = self.layout, 1
  while true do
    if self.stage == nil then
      local at = opened(self, s, i)
      if at == nil then return i - 1, "more" end
      if not at then return i - 1, self.n > 0 and "done" or "none" end
      local stop, behind = name_end(l, s, at)
      if not stop then
        if #s - at > 400 then return i - 1, self.n > 0 and "done" or "none" end
        return i - 1, "more"
      end
      local name = clean_name(s:sub(at, stop - 1))
      if name == "" then return i - 1, self.n > 0 and "done" or "none" end
      self.emit.name(name)
      self.stage, self.n_args, self.types, self.idle, i = "args", 0, self.emit.schema(name), false, behind
    end
    local at = skip(s, i)
    if at > #s then return i - 1, "more" end
    local behind = tagged_argument(self, s, at)
    if behind == nil then return i - 1, "more" end
    if behind then
      i = behind
    else
      if self.stage == "args" then
        local first = l.close:match "^<[^<>]*>" or l.close
        if first ~= "" and at_marker(s, at, first) == nil then return i - 1, "more" end
        self.emit.arguments(self.n_args == 0 and "{}" or "}")
        self.emit.done()
        self.n, self.stage = self.n + 1, "closing"
        self.idle = true
      end
      local what, where = closed(self, s, i)
      if what == nil then return i - 1, "more" end
      i, self.stage = where, nil
      if what == "done" then return i - 1, "done" end
    end
  end
end

-- ---- read as a whole ------------------------------------------------------------------

local function read_whole(parse)
  return function(self, s)
    local l = self.layout
    local i = skip(s, 1)
    local hit, at = at_marker(s, i, l.section)
    if hit == nil then return 0, "more" end
    if not hit then return 0, self.n > 0 and "done" or "none" end
    local stop, last = s:find(l.close, at, true)
    if not stop then
      self.idle = false
      return 0, "more"
    end
    local list = parse(l, s:sub(at, stop - 1), self.emit.schema)
    if not list or #list == 0 then return 0, self.n > 0 and "done" or "none" end
    for _, call in ipairs(list) do
      self.emit.name(call.name)
      self.emit.arguments(call.arguments)
      self.emit.done()
      self.n = self.n + 1
    end
    self.idle = true
    -- another one may follow at once
    local next_at = skip(s, last + 1)
    local again = at_marker(s, next_at, l.section)
    if again then
      local used, verdict = self:read(s:sub(next_at))
      return next_at - 1 + used, verdict
    end
    return last, "done"
  end
end

local READ = {
  json = read_json, named = read_named, tagged = read_tagged,
  python = read_whole(function(_, s) return require "wane.answer.literals".python(s) end),
  bare = read_whole(function(l, s) return require "wane.answer.literals".bare(s, l.prefix or "", l.quote or '"') end),
  elements = read_whole(function(l, s, schema) return require "wane.answer.elements".calls(l.marks, s, schema) end),
}

--- A reader of a layout's calls.
function M.new(layout, emit)
  return setmetatable({ layout = layout, emit = emit, n = 0, idle = true, read = READ[layout.kind] }, Reader)
end

--- The answer is over: a call whose end was not written is complete when its
--- arguments are.
function Reader:finish(rest)
  if self.stage == "args" and self.layout.kind == "tagged" and not rest:find "%S" and self.n_args and self.n_args > 0 then
    self.emit.arguments "}"
    self.emit.done()
    self.idle = true
  end
end

return M
