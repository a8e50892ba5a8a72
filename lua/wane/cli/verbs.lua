--- The one table of verbs, arguments and flags.
---
--- A verb is a module `wane.cli.NAME` whose describe(p) names its arguments and
--- options. `p` here is a recorder: what is said about each becomes a plain row,
--- and the rows are all that the parser (argparse), the completions
--- (wane.cli.completion) and the manual page (wane.cli.man) are made from.
---
---     p:argument("model", "GGUF file"):as "model"
---     p:option("-t --threads", "threads (default: all cores)"):convert(tonumber)
---
--- Beside argparse's own words (convert, default, args, count) a row may say
--- what its value is: as "model" (a GGUF file), "file", "dir", "type" (of a
--- tensor), "cache" (of the KV cache), "mix"; offer { ... } lists the values to choose from.
local M = {}

--- Verbs in the order of the help text.
M.names = {
  "inspect", "quantize", "verify", "imatrix", "perplexity", "compare", "tasks", "fit", "explain", "generate", "chat", "serve",
  "sweep", "convert", "tokenize", "embed", "rank", "merge", "split", "meta", "completion",
}

---@class wane.cli.Row
---@field flags string[]    "-t", "--threads"; empty for an argument
---@field name string       of an argument; of an option its key: "threads"
---@field text string       what it is
---@field flag? boolean     takes no value
---@field kind? string      what its value is
---@field among? string[]   values to offer
---@field said table        what argparse is told: { convert =, default =, args =, count = }
local Row = {}
Row.__index = Row

for _, word in ipairs { "convert", "default", "args", "count" } do
  Row[word] = function(row, value)
    row.said[word] = value
    return row
  end
end

function Row:as(kind)
  self.kind = kind
  return self
end

function Row:offer(list)
  self.among = list
  return self
end

local Recorder = {}
Recorder.__index = Recorder

local function add(list, row)
  list[#list + 1] = setmetatable(row, Row)
  return row
end

function Recorder:argument(name, text) return add(self.arguments, { flags = {}, name = name, text = text, said = {} }) end

function Recorder:option(flags, text)
  local row = { flags = {}, text = text, said = {} }
  for flag in flags:gmatch "%S+" do row.flags[#row.flags + 1] = flag end
  row.name = row.flags[#row.flags]:gsub("^%-+", ""):gsub("-", "_")
  return add(self.options, row)
end

function Recorder:flag(flags, text)
  local row = self:option(flags, text)
  row.flag = true
  return row
end

---@class wane.cli.Verb
---@field name string
---@field summary string
---@field arguments wane.cli.Row[]
---@field options wane.cli.Row[]
---@field notes? string      more words for the manual

--- The table row of one verb.
---@param name string
---@return wane.cli.Verb
function M.verb(name)
  local module = require("wane.cli." .. name)
  local p = setmetatable({ arguments = {}, options = {} }, Recorder)
  module.describe(p)
  if module.json ~= false then p:flag("--json", "print raw numbers as JSON") end
  if module.tables then p:flag("--wide", "show all columns, however narrow the terminal is") end
  return { name = name, summary = module.summary, arguments = p.arguments, options = p.options, notes = module.notes }
end

--- All of them, in order.
---@return wane.cli.Verb[]
function M.all()
  local list = {}
  for i, name in ipairs(M.names) do list[i] = M.verb(name) end
  return list
end

--- What stands for the value of an option: "THREADS", "FILE".
---@param row wane.cli.Row
---@return string
function M.value_name(row)
  local names = { model = "FILE", file = "FILE", dir = "DIR", type = "TYPE", cache = "TYPE", mix = "MIX" }
  if #row.flags == 0 then return row.name:upper() end
  return names[row.kind] or row.name:upper():gsub("_", "-")
end

-- What argparse makes a value with. A value that cannot be made names its
-- option: argparse tells the value alone.
local function converter(row, convert)
  return function(text)
    local value, why = convert(text)
    if value ~= nil then return value end
    local name = row.flags[#row.flags] or row.name
    return nil, why or ("%s: want a number, found '%s'"):format(name, text)
  end
end

local function tell(element, row, words)
  for _, word in ipairs(words) do
    local said = row.said[word]
    if word == "convert" and said then said = converter(row, said) end
    if said ~= nil then element[word](element, said) end
  end
end

--- The parser of argparse that the rows describe, and those of its commands by
--- their names.
---@param argparse table  the module
---@return table parser
---@return table<string, table> commands
function M.parser(argparse)
  local p = argparse("wane", "Load, shrink, judge and run GGUF language models.")
  p:command_target "command"
  p:require_command(false)
  p:flag("--version", "print the version"):target "version"
  local commands = {}
  for _, verb in ipairs(M.all()) do
    local c = p:command(verb.name, verb.summary)
    for _, row in ipairs(verb.arguments) do
      tell(c:argument(row.name, row.text), row, { "convert", "default", "args" })
    end
    for _, row in ipairs(verb.options) do
      local o = row.flag and c:flag(table.concat(row.flags, " "), row.text) or c:option(table.concat(row.flags, " "), row.text)
      if not row.flag then o:argname("<" .. M.value_name(row):lower() .. ">") end
      tell(o, row, { "convert", "default", "args", "count" })
    end
    commands[verb.name] = c
  end
  return p, commands
end

return M
