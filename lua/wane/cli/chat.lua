--- `wane chat MODEL`: a conversation on the terminal.
local generate = require "wane.cli.generate"
local read = require "wane.cli.read"

local M = {
  summary = "talk to a model",
  json = false,
  flags = generate.flags,
  notes = [[Lines are edited and remembered where lua-readline is installed (Debian: lua-readline); the history lies in
~/.wane_history, or in the file that WANE_HISTORY names (empty: none). /help lists the commands. Ctrl-C stops an answer, twice
at the prompt ends.]],
}

function M.describe(p)
  p:argument("model", "GGUF file"):as "model"
  p:option("-s --system", "system message")
  p:option("--template", "file with a Jinja template instead of the model's"):as "file"
  p:option("--format", "a built-in format instead of a template"):offer { "chatml", "gemma", "llama3", "phi3", "plain", "zephyr" }
  p:option("--tools", "JSON file with a list of functions that the model may call; you type their results"):as "file"
  generate.sampling(p, true)
  p:flag("--no-edit", "plain lines, without readline")
end

local function history()
  local path = os.getenv "WANE_HISTORY"
  if path then return path end
  local home = os.getenv "HOME"
  return home and home .. "/.wane_history" or ""
end

-- The chat that the arguments describe, and the models to close with it; nil, message.
local function open(args)
  local opts, why = generate.options(args)
  if not opts then return nil, why end
  opts.system, opts.format, opts.context = args.system, args.format, nil
  for _, name in ipairs { "template", "tools" } do
    if args[name] then
      opts[name], why = read.text(args[name])
      if not opts[name] then return nil, why end
    end
  end
  if opts.tools then
    opts.tools, why = require("wane.json").decode(opts.tools)
    if type(opts.tools) ~= "table" then return nil, ("%s: %s"):format(args.tools, why or "want a list of functions") end
  end
  local model
  model, why = generate.load(args)
  if not model then return nil, why end
  opts.context = args.context or math.min(8192, model.hp.context_length)
  local companion
  companion, why = generate.companion(args)
  local fine, chat = not why, why
  opts.draft = companion or opts.draft
  if fine then fine, chat = pcall(model.chat, model, opts) end
  if fine then return chat, { model, companion } end
  model:close()
  if companion then companion:close() end
  return nil, chat
end

--- Runs the command.
---@param args table of argparse
---@param out wane.Out
---@return integer|nil status
---@return string? message
function M.run(args, out)
  local line, session = require "wane.cli.line", require "wane.cli.session"
  local terminal = require("wane.core").terminal
  local chat, models = open(args)
  if not chat then return nil, models end
  local reader = out.reader or line.open { history = history(), words = session.words(), plain = args.no_edit }
  if reader.tty then out.note(out.paint("dim", ("%s. /help lists commands, Ctrl-D ends."):format(tostring(chat)), "err")) end
  if out.real then -- from here on Ctrl-C is noted, and the session looks
    terminal.unwatch()
    terminal.watch "note"
  end
  local fine, status = pcall(function() return session.new(chat, out, reader):run() end)
  reader:close()
  chat:close()
  for _, model in ipairs(models) do model:close() end
  if not fine then return nil, status end
  return status
end

return M
