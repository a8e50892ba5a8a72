--- The built-in formats of conversations, for models without a template of
--- their own, or by choice (model:chat { format = "chatml" }).
---
--- They write what llama.cpp's formats of these names write: llama3 and gemma
--- trim contents, and gemma has no system turn, so a system message goes in
--- front of the next one. A format is a function that gives parts
--- { text, input }: what the format writes and what messages hold.
local keys = require "wane.keys"

local M = {}

---@class wane.Format
---@field parts fun(messages: table[]): { text: string, input: boolean }[]
---@field render fun(messages: table[]): string
---@field stop string[]

local function trim(s) return (s:gsub("^%s+", ""):gsub("%s+$", "")) end

-- The text of a message's content; parts of text count, others are refused.
local function content_of(m)
  if type(m.content) ~= "table" then return m.content or "" end
  local out = {}
  for i, part in ipairs(m.content) do
    if type(part) ~= "table" or part.type ~= "text" or type(part.text) ~= "string" then
      error(("wane: chat: this format has no place for a part of type '%s'"):format(tostring(type(part) == "table" and part.type or part)), 0)
    end
    out[i] = part.text
  end
  return table.concat(out)
end

-- A format whose turns are head, content, tail. `head` has %s for the role;
-- o: names of roles, trim, merge_system (into the next turn), stop.
local function turns(head, tail, start, o)
  local format = { stop = o.stop }
  local function clean(s) return o.trim and trim(s) or s end
  function format.parts(messages)
    local out, held = {}, nil
    local function put(text, input)
      if text ~= "" then out[#out + 1] = { text = text, input = input } end
    end
    for _, m in ipairs(messages) do
      if m.raw and m.role == "assistant" then -- as the model wrote it behind the start of its turn
        put(start, false)
        put(m.raw, true)
        put(tail, false)
      elseif o.merge_system and m.role == "system" then
        held = (held or "") .. clean(content_of(m))
      else
        put(head:format(o.names and o.names[m.role] or m.role), false)
        if held and m.role ~= "assistant" then
          put(held, true)
          put("\n\n", false)
          held = nil
        end
        put(clean(content_of(m)), true)
        put(tail, false)
      end
    end
    put(start, false)
    return out
  end
  function format.render(messages)
    local out = {}
    for i, p in ipairs(format.parts(messages)) do out[i] = p.text end
    return table.concat(out)
  end
  return format
end

---@type table<string, wane.Format>
M.formats = {
  chatml = turns("<|im_start|>%s\n", "<|im_end|>\n", "<|im_start|>assistant\n", { stop = { "<|im_end|>" } }),
  llama3 = turns("<|start_header_id|>%s<|end_header_id|>\n\n", "<|eot_id|>",
    "<|start_header_id|>assistant<|end_header_id|>\n\n", { trim = true, stop = { "<|eot_id|>" } }),
  gemma = turns("<start_of_turn>%s\n", "<end_of_turn>\n", "<start_of_turn>model\n",
    { names = { assistant = "model" }, trim = true, merge_system = true, stop = { "<end_of_turn>" } }),
  phi3 = turns("<|%s|>\n", "<|end|>\n", "<|assistant|>\n", { stop = { "<|end|>" } }),
  zephyr = turns("<|%s|>\n", "<|endoftext|>\n", "<|assistant|>\n", { stop = { "<|endoftext|>" } }),
  -- for models that were never taught to chat: a script of named speakers
  plain = turns("%s: ", "\n\n", "Assistant:",
    { names = { system = "System", user = "User", assistant = "Assistant" }, stop = { "\nUser:", "\n\nUser" } }),
}

--- Texts in a model's own template that tell which format it means.
local marks = {
  { "<|im_start|>", "chatml" },
  { "<|start_header_id|>", "llama3" },
  { "<start_of_turn>", "gemma" },
  { "<|end|>", "phi3" },
  { "<|endoftext|>", "zephyr" },
}

--- The format that a template means, by its marks, or "plain".
---@param source any
---@return string
function M.detect(source)
  if type(source) == "string" then
    for _, mark in ipairs(marks) do
      if source:find(mark[1], 1, true) then return mark[2] end
    end
  end
  return "plain"
end

-- Names of all formats, sorted.
function M.names() return keys.sorted(M.formats) end

return M
