--- Answers in channels: gpt-oss and its like.
---
---     <|channel|>analysis<|message|>...<|end|><|start|>assistant<|channel|>final<|message|>...
---     <|start|>assistant to=functions.get<|channel|>commentary json<|message|>{...}<|call|>
---
--- A message is a header up to <|message|>, then its text up to the next control
--- token. Who it is for decides: a function is a call, analysis (or "self") is
--- reasoning, everything else is content.
local M = {}

local Channels = {}
Channels.__index = Channels

local ENDS = { "<|end|>", "<|call|>", "<|return|>", "<|eom|>", "<|eot|>", "<|start|>" }

--- prompt: the end of what the model continues: it may hold a begun header.
function M.new(prompt)
  local header = prompt:match "<|start|>([^|]*)$" or prompt:match "<|start|>(.*)$" or ""
  return setmetatable({ buffer = header, state = "header" }, Channels)
end

--- What the text behind a header is: "content", "reasoning_content", or a call
--- with its name.
local function purpose(header)
  local to = header:match "to=([^%s<|]+)"
  local channel = header:match "<|channel|>%s*(%a+)"
  if to and to:find "^functions%." then return "call", to:match "^functions%.(.+)$" end
  if to == "self" or (not to and channel == "analysis") then return "reasoning_content" end
  if to and to ~= "user" and to ~= "assistant" and to ~= "all" then return "call", to end
  if channel == "analysis" then return "reasoning_content" end
  return "content"
end

local function first_end(s)
  local at, len
  for _, m in ipairs(ENDS) do
    local p = s:find(m, 1, true)
    if p and (not at or p < at) then at, len = p, #m end
  end
  return at, len
end

--- Bytes at the end of s that may begin a control token.
local function held(s)
  local at = s:match "()<[^<]*$"
  if not at then return 0 end
  local tail = s:sub(at)
  for _, m in ipairs(ENDS) do
    if m:sub(1, #tail) == tail then return #tail end
  end
  return 0
end

local function body(self, text, put, calls)
  if text == "" then return end
  if self.what == "call" then
    self.args = (self.args or "") .. text
    if self.xml then return end
    if not self.args:find "%S" then return end
    if self.args:find "^%s*<" then
      self.xml = true
      return
    end
    calls.arguments(text)
  else
    if self.fresh then text = text:gsub("^%s+", "") end
    if text ~= "" then self.fresh = false end
    put(self.what, text)
  end
end

--- Arguments in tags (name="key") as JSON; types(key): by the tool's schema.
local function tags(text, types)
  local write = require "wane.answer.write"
  local out = {}
  for key, value in text:gmatch 'parameter name="([^"]*)"[^>]*>(.-)</[%w:]*parameter>' do
    local ok = types(key) ~= "string" and pcall(require "wane.template.json".decode, value)
    out[#out + 1] = write.string(key) .. ": " .. (ok and value or write.string(value))
  end
  return "{" .. table.concat(out, ", ") .. "}"
end

local function close(self, calls)
  if self.what == "call" then
    if self.xml then calls.arguments(tags(self.args, self.types)) end
    calls.done()
  end
  self.state, self.what, self.args, self.xml = "header", nil, nil, nil
end

--- Takes text; put(field, text) gets content and reasoning.
function Channels:feed(text, put, calls)
  self.buffer = self.buffer .. text
  self.calls = calls
  while true do
    if self.state == "header" then
      local at, behind = self.buffer:find("<|message|>", 1, true)
      if not at then
        if #self.buffer < 2000 then return end
        self.buffer = ""
        return
      end
      local name
      self.what, name = purpose(self.buffer:sub(1, at - 1))
      self.buffer, self.state, self.fresh = self.buffer:sub(behind + 1), "body", true
      if self.what == "call" then
        calls.name(name)
        self.types = calls.schema(name)
      end
    end
    local at, len = first_end(self.buffer)
    if not at then
      local n = held(self.buffer)
      body(self, self.buffer:sub(1, #self.buffer - n), put, calls)
      self.buffer = self.buffer:sub(#self.buffer - n + 1)
      return
    end
    body(self, self.buffer:sub(1, at - 1), put, calls)
    self.buffer = self.buffer:sub(at + len)
    close(self, calls)
  end
end

--- The answer is over: a call's end token is not among its text, so one whose
--- arguments are whole is complete.
function Channels:finish(put)
  if self.state ~= "body" then return end
  body(self, self.buffer, put, self.calls)
  self.buffer = ""
  if self.what ~= "call" then return end
  if self.xml then return close(self, self.calls) end
  if pcall(require "wane.template.json".decode, self.args or "") then close(self, self.calls) end
end

return M
