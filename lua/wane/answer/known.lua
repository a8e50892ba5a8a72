--- Answers: layouts by the marks in a template's source, for templates whose
--- probes show none: they refuse calls, or leave them to the model's habit.
local M = {}

local CALLS = {
  { "<|tool_call_argument_begin|>", { kind = "named", section = "<|tool_calls_section_begin|>", open = "<|tool_call_begin|>",
    mid = "<|tool_call_argument_begin|>", close = "<|tool_call_end|>", section_close = "<|tool_calls_section_end|>" } },
  { "<｜tool▁calls▁begin｜>", { kind = "named", section = "<｜tool▁calls▁begin｜>", open = "<｜tool▁call▁begin｜>",
    mid = "<｜tool▁sep｜>", close = "<｜tool▁call▁end｜>", section_close = "<｜tool▁calls▁end｜>" } },
  { "<|tool_call_start|>", { kind = "python", section = "<|tool_call_start|>", close = "<|tool_call_end|>" } },
  { "<|tool_list_start|>", { kind = "python", section = "<|tool_call_start|>", close = "<|tool_call_end|>" } },
  { "<start_function_call>", { kind = "bare", section = "<start_function_call>", close = "<end_function_call>",
    prefix = "call:", quote = "<escape>" } },
  { "<function=", { kind = "tagged", section = "<tool_call>", open = "<function=", head = ">", param = "<parameter=", sep = ">\n",
    param_close = "\n</parameter>", close = "</function>", section_close = "</tool_call>" } },
  { "[ARGS]", { kind = "named", section = "", open = "[TOOL_CALLS]", mid = "[ARGS]", close = "", section_close = "" } },
  { "[TOOL_CALLS]", { kind = "json", section = "[TOOL_CALLS]", open = "", close = "", section_close = "",
    name_key = "name", args_key = "arguments" } },
  { "functools[", { kind = "json", section = "functools", open = "", close = "", section_close = "",
    name_key = "name", args_key = "arguments" } },
  { "<|tool_call|>", { kind = "json", section = "<|tool_call|>", open = "", close = "", section_close = "",
    name_key = "name", args_key = "arguments" } },
  { "<|python_tag|>", { kind = "json", section = "", open = "", close = "", section_close = "",
    name_key = "name", args_key = "parameters" } },
  { "<tool_call>", { kind = "json", section = "", open = "<tool_call>", close = "</tool_call>", section_close = "",
    name_key = "name", args_key = "arguments" } },
}

--- The layout of calls that a source mentions, or nil.
function M.calls(source)
  for _, row in ipairs(CALLS) do
    if source:find(row[1], 1, true) then return row[2] end
  end
end

--- Answers of functionary v3.2: ">>>all" and a text, ">>>name" and arguments.
function M.recipients(source)
  if not source:find(">>>all", 1, true) then return nil end
  return { kind = "marked", special = true, drop = { ">>>all\n" }, turn = ">>>", ending = "<|eot_id|>",
    calls = { kind = "named", section = "", open = ">>>", mid = "\n", close = "", section_close = "" } }
end

--- Answers of Kimi K3: a thought, a response and calls, all of them elements.
function M.elements(source)
  if not (source:find("<|open|>", 1, true) and source:find("<|sep|>", 1, true)) then return nil end
  local function open(name) return "<|open|>" .. name .. "<|sep|>" end
  local function close(name) return "<|close|>" .. name .. "<|sep|>" end
  return { kind = "marked", special = true, ending = close "message", reasoning = { open = open "think", close = close "think" },
    drop = { open "response", close "response" },
    calls = { kind = "elements", section = open "tools", close = close "tools",
      marks = { open = "<|open|>", open_end = "<|sep|>", close = "<|close|>", close_end = "<|sep|>" } } }
end

--- Whether answers are channels: gpt-oss and its like.
function M.channels(source)
  return source:find("<|channel|>", 1, true) ~= nil and source:find("<|message|>", 1, true) ~= nil
    or source:find("<|message|>", 1, true) ~= nil and source:find(" to=", 1, true) ~= nil
end

return M
