--- The command line: a thin face of the library's functions.
---
--- Each command is a module `wane.cli.NAME` with
---   summary          one line
---   describe(p)      adds its options to an argparse command
---   run(args, out)   does it; returns true, or nil and a message
--- Messages go to standard error, results to standard output; `--json` gives
--- machines the raw numbers. Nothing here touches the network.
local M = {}

--- Commands in the order of the help text.
M.commands = {
  "inspect", "quantize", "verify", "imatrix", "perplexity", "compare", "tasks", "fit", "explain", "generate", "chat", "serve",
  "sweep", "convert", "tokenize",
}

---@class wane.Out
---@field print fun(...)      a line of the result
---@field note fun(...)       a line for people, on standard error
---@field progress fun(p: table?)  a bar on a terminal; nil clears it

-- Standard output that remembers its first failure: a full disk must show in
-- the exit status.
local function checked(stream)
  local failed
  return function(s)
    local ok, why = stream:write(s)
    if ok then ok, why = stream:flush() end
    if not ok then failed = failed or tostring(why) end
  end, function() return failed end
end

--- The output of the real program.
---@return wane.Out
local function terminal()
  local core = require "wane.core"
  local bar = core.is_terminal(2)
  local shown = false
  local out = {}
  local put, failed = checked(io.stdout)
  out.failed = failed

  local function clear()
    if shown then io.stderr:write "\r\27[K" end
    shown = false
  end

  function out.write(s)
    clear()
    put(s)
  end

  function out.print(...)
    local parts = {}
    for i = 1, select("#", ...) do
      parts[i] = tostring((select(i, ...)))
    end
    out.write(table.concat(parts, "\t") .. "\n")
  end

  function out.note(...)
    clear()
    io.stderr:write(table.concat({ ... }, " "), "\n")
  end

  --- p: { done = 0..1, text = "..." }; nil removes the bar.
  function out.progress(p)
    if not bar then return end
    if not p then return clear() end
    local n = math.floor(30 * math.max(0, math.min(1, p.done)) + 0.5)
    io.stderr:write(
      ("\r\27[K[%s%s] %3.0f%%  %s"):format(("#"):rep(n), ("."):rep(30 - n), 100 * p.done, p.text or "")
    )
    shown = true
  end

  return out
end

-- A message of the library in the words of the command line: options are
-- flags, and places in the source tell nobody anything.
local function in_flags(text, command)
  local flags = command.flags or {}
  local function flag(name) return flags[name] or "--" .. name:gsub("_", "-") end
  text = text:gsub("^[^\n ]*wane/[^\n ]+%.lua:%d+: ", ""):gsub("^wane: ", "")
  text = text:gsub("option '([%w_]+)'", flag)
  text = text:gsub("([%w]+_[%w_]+) = true", flag):gsub("([%w]+_[%w_]+) = '([^']+)'", function(name, v)
    return flag(name) .. " " .. v
  end)
  -- names of options that are no words: tensor_types, output_tensor_type, ...
  text = text:gsub("%f[%w_]([%l]+_[%l_]+)%f[^%w_]", function(name)
    return (flags[name] or command.own and command.own[name]) and flag(name) or name
  end)
  return text
end
M.in_flags = in_flags

local function parser(argparse)
  local p = argparse("wane", "Load, shrink, judge and run GGUF language models.")
  p:command_target "command"
  p:require_command(false)
  p:flag("--version", "print the version"):target "version"
  for _, name in ipairs(M.commands) do
    local command = require("wane.cli." .. name)
    local c = p:command(name, command.summary)
    c:flag("--json", "print raw numbers as JSON")
    command.describe(c)
  end
  return p
end

--- Runs one command line and returns the exit status.
---@param argv string[]
---@param out? wane.Out   where output goes; the terminal when absent
---@return integer status  0 done, 1 failed, 2 wrong usage
function M.main(argv, out)
  out = out or terminal()
  local has, argparse = pcall(require, "argparse")
  if not has then
    out.note "wane: the command line needs argparse (Debian: lua-argparse, LuaRocks: argparse)"
    return 2
  end
  local p = parser(argparse)
  local ok, args = p:pparse(argv)
  if not ok then
    out.note(p:get_usage())
    out.note("wane: " .. tostring(args))
    return 2
  end
  if args.version then
    out.print("wane " .. require("wane").version)
    return out.failed and out.failed() and 1 or 0
  end
  if not args.command then
    out.print(p:get_help())
    return 2
  end
  local called, done, message = pcall(require("wane.cli." .. args.command).run, args, out)
  out.progress(nil)
  if not called then -- the line of a program is not the line of a user's recipe
    done, message = nil, tostring(done):gsub("^[^\n]-%.lua:%d+: wane: ", "wane: ")
  end
  if not done then
    local text = in_flags(tostring(message or "failed"), require("wane.cli." .. args.command))
    out.note("wane: " .. require("wane.report").printable(text))
    return 1
  end
  local failed = out.failed and out.failed()
  if failed then
    out.note("wane: standard output: " .. failed)
    return 1
  end
  return 0
end

return M
