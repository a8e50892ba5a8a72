--- The command line: a thin face of the library's functions.
---
--- Each command is a module `wane.cli.NAME` with
---   summary          one line
---   describe(p)      names its arguments and options (wane.cli.verbs)
---   run(args, out)   does it; returns true or an exit status, or nil and a message
---   tables           it prints tables that fit the terminal (--wide)
--- Messages go to standard error, results to standard output; `--json` gives
--- machines the raw numbers. Nothing here touches the network. Ctrl-C ends a
--- command at its next step with status 130, a second one at once.
local verbs = require "wane.cli.verbs"

local M = {}

--- Commands in the order of the help text.
M.commands = verbs.names

-- A message of the library in the words of the command line: options are
-- flags, and places in the source tell nobody anything.
local function in_flags(text, command)
  local flags = command.flags or {}
  local function flag(name) return flags[name] or "--" .. name:gsub("_", "-") end
  text = text:gsub("^[^\n ]*wane/[^\n ]+%.lua:%d+: ", ""):gsub("^wane: ", "")
  text = text:gsub("%(overwrite = true", "(" .. flag "overwrite")
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

--- Runs one command line and returns the exit status.
---@param argv string[]
---@param out? wane.Out   where output goes; the terminal when absent
---@return integer status  0 done, 1 failed, 2 wrong usage, 130 ended by Ctrl-C
function M.main(argv, out)
  local output, terminal = require "wane.cli.out", require("wane.core").terminal
  local own = not out and terminal.watch "raise"
  out = output.complete(out or output.terminal())
  out.command = "wane " .. table.concat(argv, " ")
  local ran, status = pcall(M._main, argv, out)
  if not ran then status = M._failed(out, status) end -- interrupted between two steps
  if own then
    if terminal.taken() and status ~= 0 then status = 130 end
    terminal.unwatch()
  end
  return status
end

-- Says why a command ended; the exit status.
function M._failed(out, message, command)
  out.progress(nil)
  -- the line of a program is not the line of a user's recipe
  local text = in_flags(tostring(message or "failed"):gsub("^[^\n]-%.lua:%d+: wane: ", "wane: "), command or {})
  out.note(out.paint("red", "wane:", "err") .. " " .. require("wane.report").printable(text))
  return 1
end

-- What is typed, as argparse reads it: "help VERB" is "VERB --help", and a
-- negative number behind an option is its value.
local function spelled(argv)
  if argv[1] == "help" then return argv[2] and { argv[2], "--help" } or { "--help" } end
  local list = {}
  for i = 1, #argv do
    local last = list[#list]
    if last and argv[i]:find "^%-%.?%d" and last:find "^%-%-?%a" and not last:find "=" then
      list[#list] = last .. (last:find "^%-%-" and "=" or "") .. argv[i]
    else
      list[#list + 1] = argv[i]
    end
  end
  return list
end

function M._main(argv, out)
  local has, argparse = pcall(require, "argparse")
  if not has then
    out.note "wane: the command line needs argparse (Debian: lua-argparse, LuaRocks: argparse)"
    return 2
  end
  local p, commands = verbs.parser(argparse)
  local ok, args = p:pparse(spelled(argv))
  if not ok then
    local verb = commands[argv[1]]
    out.note((verb or p):get_usage())
    out.note(("wane: %s (wane %s--help tells all)"):format(tostring(args), verb and argv[1] .. " " or ""))
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
  local command = require("wane.cli." .. args.command)
  local called, done, message = pcall(command.run, args, out)
  if not called then done, message = nil, done end
  if not done then return M._failed(out, message, command) end
  out.progress(nil)
  local failed = out.failed and out.failed()
  if failed then
    out.note("wane: standard output: " .. failed)
    return 1
  end
  return type(done) == "number" and done or 0
end

return M
