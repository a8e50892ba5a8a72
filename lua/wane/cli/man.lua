--- The manual page wane(1), made from the rows of wane.cli.verbs.
local M = {}

-- Text as roff wants it.
local function roff(s)
  return (s:gsub("\\", "\\e"):gsub("%-", "\\-"):gsub("\n%s*", "\n"):gsub("\n([.'])", "\n\\&%1"):gsub("^([.'])", "\\&%1"))
end

local function value(row)
  return row.flag and "" or (" \\fI%s\\fR"):format(roff(require("wane.cli.verbs").value_name(row)))
end

-- MODEL [TEXT]...
local function argument(row)
  local name = ("\\fI%s\\fR"):format(roff(row.name:upper()))
  local how = row.said.args
  return how == "?" and "[" .. name .. "]" or how == "*" and "[" .. name .. "]..." or how == "+" and name .. "..." or name
end

local function entry(out, head, text)
  out[#out + 1] = ".TP"
  out[#out + 1] = head
  out[#out + 1] = roff(text)
end

local function verb_section(out, verb)
  local line = {}
  for i, row in ipairs(verb.arguments) do line[i] = argument(row) end
  out[#out + 1] = (".SS \"%s\""):format(verb.name)
  out[#out + 1] = ("\\fBwane %s\\fR [\\fIoptions\\fR] %s"):format(roff(verb.name), table.concat(line, " "))
  out[#out + 1] = ".PP"
  out[#out + 1] = roff(verb.summary:sub(1, 1):upper() .. verb.summary:sub(2) .. ".")
  if verb.notes then
    out[#out + 1] = ".PP"
    out[#out + 1] = roff(verb.notes)
  end
  for _, row in ipairs(verb.arguments) do entry(out, ("\\fI%s\\fR"):format(roff(row.name:upper())), row.text) end
  for _, row in ipairs(verb.options) do
    local flags = {}
    for i, flag in ipairs(row.flags) do flags[i] = ("\\fB%s\\fR"):format(roff(flag)) end
    local default = row.said.default and (" (default: %s)"):format(row.said.default) or ""
    entry(out, table.concat(flags, ", ") .. value(row), row.text .. default)
  end
end

local ENVIRONMENT = {
  { "NO_COLOR", "When set and not empty: no colours. There are none in pipes and with TERM=dumb either." },
  { "WANE_API_KEY", "The key that wane serve wants from its clients." },
  { "WANE_HISTORY", "Where wane chat keeps its history; empty: nowhere." },
  { "WANE_ISA", "The best instruction set to use: ref, avx2, avx512, amx or neon." },
}

local STATUS = {
  { "0", "Done." }, { "1", "It failed; standard error says why." }, { "2", "Wrong usage." },
  { "130", "Ended by Ctrl-C. The first one ends a command at its next step, a second one at once." },
}

--- The page.
---@param verbs wane.cli.Verb[]
---@return string
function M.page(verbs)
  local out = {
    [['\" t]], [[.\" Made by `wane completion man`: do not edit.]],
    ('.TH WANE 1 "" "wane %s" "User Commands"'):format(require("wane").version),
    ".SH NAME", [[wane \- load, shrink, judge and run GGUF language models]],
    ".SH SYNOPSIS", [[\fBwane\fR \fICOMMAND\fR [\fIoptions\fR] \fIarguments\fR]],
    ".SH DESCRIPTION",
    roff "Results go to standard output, messages and progress to standard error. On a terminal tables leave out the columns for which "
      .. roff "there is no room (a command's --wide shows all), in a pipe they are whole. Each command is a thin face of one function "
      .. roff "of the Lua library.",
    ".SH COMMANDS",
  }
  for _, verb in ipairs(verbs) do verb_section(out, verb) end
  out[#out + 1] = ".SH ENVIRONMENT"
  for _, e in ipairs(ENVIRONMENT) do entry(out, ("\\fB%s\\fR"):format(roff(e[1])), e[2]) end
  out[#out + 1] = ".SH FILES"
  entry(out, "\\fI~/.wane_history\\fR", "What was typed in wane chat, where lua-readline is installed.")
  out[#out + 1] = ".SH EXIT STATUS"
  for _, e in ipairs(STATUS) do entry(out, ("\\fB%s\\fR"):format(e[1]), e[2]) end
  return table.concat(out, "\n") .. "\n"
end

return M
