--- Answers of models read back: reasoning, content and tool calls.
---
---     local answer = require "wane.answer"
---     local p = answer.parser(model)                   -- or a compiled template, or a layout
---     for piece in pieces do
---       for _, d in ipairs(p:feed(piece)) do io.write(d.content or "") end
---     end
---     local message = p:finish()                       -- { role, content, reasoning_content, tool_calls }
---
--- The layout of a model's answers is found in its template (wane.answer.derive),
--- by the marks in its source where that shows none (wane.answer.known). Kinds:
---   json      { "name": ..., "arguments": { ... } }, also in a list
---   named     the name, then the arguments as JSON
---   tagged    the name, then a marker for each argument
---   python    [name(key='value', ...)]
---   bare      name{key:value}, strings between marks of their own
---   elements  a call is an element, its arguments are elements in it
--- A layout has the markers section (before the first call), open (before each
--- name), close (behind each call), section_close; all but `kind` may be "".
---
--- What is fed comes out as deltas, as soon as it is sure what it is:
---   { content = text }, { reasoning_content = text },
---   { tool_call = { index, id, name } }, { tool_call = { index, arguments = text } }.
--- The pieces of arguments joined are valid JSON when the call is complete; a
--- call that is cut off is not in the message, which says `truncated`.
local derive = require "wane.answer.derive"
local known = require "wane.answer.known"
local options = require "wane.options"
local readers = require "wane.answer.readers"
local channels = require "wane.answer.channels"
local template = require "wane.template"

local M = {}

local trim = derive.trim

--- The layout of answers that are text and nothing else.
M.plain = { kind = "plain" }

local COMPILED = options.type("a compiled template", function(v) return type(v) == "table" and v.render and v.source end)
local found = setmetatable({}, { __mode = "k" })

--- The layout of a template's answers.
---
---     local layout = answer.detect(assert(template.compile(source)))
---@param t wane.Template
---@return table layout  { kind, calls, reasoning, thought, ending, special }
---@error anything but a compiled template
function M.detect(t)
  options.argument("answer.detect", "t", t, COMPILED)
  if found[t] then return found[t] end
  local layout
  if known.channels(t.source) then
    layout = { kind = "channels", special = true }
  elseif known.recipients(t.source) or known.elements(t.source) then
    layout = known.recipients(t.source) or known.elements(t.source)
  else
    layout = derive.layout(t)
    layout.calls = layout.calls or known.calls(t.source)
    layout.kind = "marked"
    layout.special = layout.calls ~= nil or layout.reasoning ~= nil or layout.drop ~= nil
    if not layout.special and not layout.ending then layout = M.plain end
  end
  if layout ~= M.plain then layout.thought = derive.thought(t) end
  found[t] = layout
  return layout
end

--- How texts end, where a template says only that they do.
local EOS = { "</s>", "<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>", "<eos>", "<｜end▁of▁sentence｜>" }

-- ---- the parser -------------------------------------------------------------------

---@class wane.AnswerParser
---@field plain_so_far boolean   nothing but content was found
local Parser = {}
Parser.__index = Parser

--- Length of the longest end of s that begins one of the markers.
local function begun(s, markers)
  local most = 0
  for _, m in ipairs(markers) do
    for n = math.min(#m - 1, #s), most + 1, -1 do
      if s:sub(-n) == m:sub(1, n) then
        most = n
        break
      end
    end
  end
  return most
end

--- The first marker in s: where, its length, its place in the list.
local function first_of(s, markers)
  local at, len, which
  for i, m in ipairs(markers) do
    local p = s:find(m, 1, true)
    if p and (not at or p < at or (p == at and #m > len)) then at, len, which = p, #m, i end
  end
  return at, len, which
end

local function put(self, field, text)
  if text == "" then return end
  self.parts[field][#self.parts[field] + 1] = text
  self.deltas[#self.deltas + 1] = { [field] = text }
end

--- Content without white space around it: what stands at an end waits.
local function content(self, text)
  local field = self.state == "reasoning" and "reasoning_content" or "content"
  if self.layout.kind == "plain" then return put(self, field, text) end
  text = self.blank .. text
  if #self.parts[field] == 0 then text = text:gsub("^%s+", "") end
  local body = text:match "^(.*%S)" or ""
  self.blank = text:sub(#body + 1)
  put(self, field, body)
end

local function enter(self, state)
  self.before, self.state, self.blank = self.blank, state, ""
  if state ~= "content" then self.plain_so_far = false end
end

local function tool_name(self, name, id)
  local n = #self.calls + 1
  self.calls[n] = { id = id or ("call%05d"):format(n), name = name, pieces = {} }
  self.deltas[#self.deltas + 1] = { tool_call = { index = n, id = self.calls[n].id, name = name } }
end

local function tool_arguments(self, text)
  if text == "" then return end
  local call = self.calls[#self.calls]
  call.pieces[#call.pieces + 1] = text
  self.deltas[#self.deltas + 1] = { tool_call = { index = #self.calls, arguments = text } }
end

local function tool_done(self) self.calls[#self.calls].done = true end

--- A parser of one answer.
---
---     local p = wane.answer.parser(model)
---     print(p:feed("Hello")[1].content)   --> Hello
---     print(p:finish().content)   --> Hello
---@param from any   a model, a compiled template, or a layout
---@param opts? { prompt?: string, tools?: any }  prompt: the end of what the model continues ("<think>"); tools: their
---  schemas tell text from numbers where the layout does not
---@return wane.AnswerParser
---@error anything but a model, a template or a layout
function M.parser(from, opts)
  opts = opts or {}
  options.known("answer.parser", opts, { prompt = true, tools = true })
  local layout = from
  if type(from) ~= "table" then error("wane: answer.parser: want a model, a template or a layout, got " .. type(from), 2) end
  if type(from.meta) == "function" then
    local source = from:meta "tokenizer.chat_template"
    local t = type(source) == "string" and template.compile(source) or nil
    layout = t and M.detect(t) or M.plain
  elseif from.render then
    layout = M.detect(from)
  elseif from.kind == nil then
    error("wane: answer.parser: want a model, a template or a layout", 2)
  end
  local self = setmetatable({
    layout = layout, state = "content", buffer = "", blank = "", deltas = {}, calls = {}, plain_so_far = true,
    parts = { content = {}, reasoning_content = {} }, tools = opts.tools, prompt = opts.prompt or "",
  }, Parser)
  local r, prompt = layout.reasoning, trim(self.prompt)
  if r and #prompt >= #r.open and prompt:sub(-#r.open) == r.open then enter(self, "reasoning") end
  if layout.kind == "channels" then self.channels = channels.new(prompt) end
  self.starts = {}
  local c = layout.calls
  if c then
    for _, m in ipairs { c.section, c.open } do
      if m and #m > 2 then self.starts[#self.starts + 1] = m end
    end
    self.bare_json = c.kind == "json" and #self.starts == 0
    if self.bare_json then self.starts[1] = "<|python_tag|>" end
  end
  self.n_calls = #self.starts
  if r then self.starts[#self.starts + 1] = r.open end
  self.n_open = #self.starts
  self.endings = {}
  for _, m in ipairs(layout.ending == derive.EOS and EOS or { layout.ending }) do
    self.starts[#self.starts + 1] = m
    self.endings[m] = true
  end
  self.drops = {}
  for _, m in ipairs(layout.drop or {}) do
    self.starts[#self.starts + 1] = m
    self.drops[m] = true
  end
  if layout.turn and prompt:sub(-#layout.turn) == layout.turn then self.buffer = layout.turn end
  if r then self.starts[#self.starts + 1] = r.close end -- left over of a prompt that opened it
  return self
end

local step = {}

--- Content up to the next marker.
function step.content(self)
  if self.bare_json and #self.parts.content == 0 and self.blank == "" then
    local start = self.buffer:match "^%s*([{%[]?)"
    if start ~= "" then
      local verdict = readers.looks_like_call(self.buffer)
      if verdict == nil then return false end
      if verdict then
        enter(self, "calls")
        return true
      end
    elseif not self.buffer:find "%S" then
      return false
    end
  end
  local at, len, which = first_of(self.buffer, self.starts)
  if not at then
    local held = begun(self.buffer, self.starts)
    local text = self.buffer:sub(1, #self.buffer - held)
    self.buffer = self.buffer:sub(#text + 1)
    if text ~= "" then content(self, text) end
    return false
  end
  content(self, self.buffer:sub(1, at - 1))
  self.buffer, at = self.buffer:sub(at), 1
  for _, m in ipairs(self.starts) do -- a longer marker may be coming
    if #m > #self.buffer and m:sub(1, #self.buffer) == self.buffer then return false end
  end
  if which <= self.n_calls then
    self.buffer = self.buffer:sub(at)
    enter(self, "calls")
  elseif which == self.n_open and self.layout.reasoning then
    self.buffer = self.buffer:sub(at + len)
    enter(self, "reasoning")
  elseif self.drops[self.starts[which]] then
    self.buffer = self.buffer:sub(len + 1)
    self.plain_so_far = false
  elseif self.endings[self.starts[which]] then
    local behind = self.buffer:sub(len + 1)
    if not behind:find "%S" then return false end -- the end, when nothing follows
    if behind:find "^%s*[<%[]" or self.starts[which]:find "|" then
      enter(self, "over")
    else
      content(self, self.buffer:sub(1, len))
      self.buffer = behind
    end
  else -- reasoning ends that never began: all before was reasoning
    self.buffer = self.buffer:sub(at + len)
    for _, text in ipairs(self.parts.content) do table.insert(self.parts.reasoning_content, text) end
    self.parts.content = {}
    self.plain_so_far = false
    enter(self, "content")
  end
  return true
end

function step.reasoning(self)
  local close = { self.layout.reasoning.close }
  for i = 1, self.n_calls do close[i + 1] = self.starts[i] end -- some call before they close
  local at, len, which = first_of(self.buffer, close)
  if at then
    content(self, self.buffer:sub(1, at - 1))
    self.buffer = self.buffer:sub(which == 1 and at + len or at)
    enter(self, which == 1 and "content" or "calls")
    return true
  end
  local held = begun(self.buffer, close)
  content(self, self.buffer:sub(1, #self.buffer - held))
  self.buffer = self.buffer:sub(#self.buffer - held + 1)
  return false
end

--- Calls, by the reader of their kind; what is none is content.
function step.calls(self)
  self.reader = self.reader or readers.new(self.layout.calls, {
    name = function(...) return tool_name(self, ...) end,
    arguments = function(...) return tool_arguments(self, ...) end,
    done = function() return tool_done(self) end,
    schema = function(name) return readers.schema(self.tools, name) end,
  })
  local used, verdict = self.reader:read(self.buffer)
  local before = #self.calls
  self.taken = (self.taken or "") .. self.buffer:sub(1, used)
  if self.reader.n > 0 then self.taken = "" end
  self.buffer = self.buffer:sub(used + 1)
  if verdict == "more" then return false end
  self.reader = nil
  local blank = self.before
  enter(self, "content")
  if verdict == "none" then -- begins like a call and is none
    self.blank = blank
    if before == 0 or self.calls[before].done then self.buffer = self.taken .. self.buffer end
    content(self, self.buffer:sub(1, 1))
    self.buffer = self.buffer:sub(2)
    self.bare_json = false
  end
  self.taken = nil
  return true
end

function step.over(self)
  self.buffer = ""
  return false
end

--- Takes text of the model; what it is, as far as that is sure.
---
---     for _, d in ipairs(p:feed "Hello") do io.write(d.content or "") end
---@param text string
---@return table[] deltas
---@error after finish
function Parser:feed(text)
  if type(text) ~= "string" then error("wane: answer: feed: want a string, got " .. type(text), 2) end
  if self.finished then error("wane: answer: the parser is finished", 2) end
  self.deltas = {}
  if self.channels then
    self.channels:feed(text, function(field, s) put(self, field, s) end, {
      name = function(...) return tool_name(self, ...) end,
      arguments = function(...) return tool_arguments(self, ...) end,
      done = function() return tool_done(self) end,
      schema = function(name) return readers.schema(self.tools, name) end,
    })
    self.plain_so_far = false
    return self.deltas
  end
  self.buffer = self.buffer .. text
  if self.layout.kind == "plain" then
    put(self, "content", self.buffer)
    self.buffer = ""
    return self.deltas
  end
  while step[self.state](self) do
  end
  return self.deltas
end

--- The last deltas: what had been held back. Nothing can be fed after it.
---
---     for _, d in ipairs(p:drain()) do io.write(d.content or "") end
---@return table[] deltas
---@error none
function Parser:drain()
  self.deltas = {}
  if self.finished then return self.deltas end
  self.finished = true
  if self.channels then
    self.channels:finish(function(field, s) put(self, field, s) end, function() return tool_done(self) end)
  elseif self.state == "calls" then
    if self.reader then self.reader:finish(self.buffer) end
    if not self.reader or self.reader.idle then
      local blank = self.before
      enter(self, "content")
      self.blank = blank
      if not self.reader or self.reader.n == 0 then content(self, (self.taken or "") .. self.buffer) end
    end
  elseif self.state ~= "over" then
    local text = self.buffer
    for m in pairs(self.endings) do
      if text:sub(1, #m) == m then text = "" end
    end
    content(self, text)
  end
  self.buffer = ""
  return self.deltas
end

--- The message so far, in the shape that templates take; calls that are
--- complete.
---
---     print(p:message().content)
---@return wane.Message
---@error none
function Parser:message()
  local plain = self.layout.kind == "plain"
  local text, reason = table.concat(self.parts.content), table.concat(self.parts.reasoning_content)
  local m = { role = "assistant", content = trim(text) }
  if not plain and trim(reason) ~= "" then m.reasoning_content = trim(reason) end
  for _, call in ipairs(self.calls) do
    if call.done then
      m.tool_calls = m.tool_calls or {}
      table.insert(m.tool_calls, { id = call.id, type = "function",
        ["function"] = { name = call.name, arguments = readers.valid_json(table.concat(call.pieces)) } })
    else
      m.truncated = true
    end
  end
  return m
end

--- Ends the answer: the whole message.
---
---     print(p:finish().role)   --> assistant
---@return wane.Message
---@error none
function Parser:finish()
  self:drain()
  return self:message()
end

return M
