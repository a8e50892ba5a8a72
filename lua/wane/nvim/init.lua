--- wane in Neovim: completions as ghost text, a chat, edits; the model runs in
--- this process, in the background.
---
--- The command :Wane (plugin/wane.lua) is all there is at first; nothing has to be
--- set up but the model's path, no keys are mapped, and nothing is said unless
--- something cannot be done. See doc/wane-nvim.txt.
---
---     vim.g.wane = { model = "~/models/coder.gguf" }
---     vim.keymap.set("i", "<C-l>", "<Plug>(wane-complete)")
---     vim.keymap.set("i", "<Tab>", function() require("wane.nvim").accept_or("all", "<Tab>") end)
local config = require "wane.nvim.config"
local engine = require "wane.nvim.engine"

local M = {}

local function lazy(name) return require("wane.nvim." .. name) end

--- Sets options (wane.nvim.config); optional. With auto = true completions come
--- while typing.
---@param opts? wane.nvim.Options
function M.setup(opts)
  if config.set(opts).auto then lazy("complete").listen() end
end

-- Tells why something was not done; true when it was.
local function told(ok, message)
  if not ok and message then vim.notify(message, vim.log.levels.WARN) end
  return ok == true
end

--- Asks for a completion at the cursor. Returns at once; false where none comes.
---@return boolean
function M.complete()
  local complete = lazy "complete"
  complete.listen()
  local fine, ok, message = pcall(complete.start)
  if not fine then ok, message = nil, tostring(ok) end
  return told(ok, message)
end

--- Takes the suggestion, its first line or its first word. False, and nothing
--- done, where none is shown.
---@param what? "all"|"line"|"word"
---@return boolean
function M.accept(what) return lazy("complete").accept(what) end

--- Takes the suggestion, or types the keys as if they were not mapped.
---@param what "all"|"line"|"word"
---@param keys string   as in a map: "<Tab>"
function M.accept_or(what, keys)
  if M.accept(what) then return end
  vim.api.nvim_feedkeys(vim.api.nvim_replace_termcodes(keys, true, false, true), "ni", false)
end

local function nothing() end
local unused = { clear = nothing, close = nothing, drop = nothing, stop = nothing }

-- A part; of one that was never used there is nothing to end.
local function gone(name) return package.loaded["wane.nvim." .. name] or unused end

--- Takes a suggestion away.
function M.dismiss() gone("complete").clear() end

--- Ends all that runs: completion, reply, edit.
function M.stop()
  gone("complete").clear()
  gone("chat").stop()
  gone("edit").drop()
  engine.stop()
end

--- Takes another model; loaded when it is needed. The old one is freed.
---@param path string   absolute, or with ~
function M.use(path)
  local full = config.model_path(path)
  if vim.fn.filereadable(full) == 0 then return nil, ("wane: %s: cannot be read"):format(full) end
  gone("complete").clear()
  gone("edit").drop()
  gone("chat").close()
  engine.use(full)
  return true
end

--- What there is, as lines.
---@return string[]
function M.info()
  local f = engine.facts()
  local lines = { ("model: %s%s"):format(engine.path() or "none", engine.path() and not f.model and " (not loaded)" or "") }
  if f.model then
    local info, memory = f.model:info(), require("wane").memory()
    lines[#lines + 1] = ("architecture: %s, context: %d tokens"):format(info.architecture,
      f.ctx and f.ctx:info().n_ctx or config.get().context)
    lines[#lines + 1] = ("fill in the middle: %s"):format(lazy("around").fills(f.model.vocab) and "yes" or "no")
    lines[#lines + 1] = ("memory besides the file: %.1f MiB"):format(memory.bytes / 2 ^ 20)
  end
  lines[#lines + 1] = ("running: %d"):format(f.n_running)
  return lines
end

-- ---- the command

local commands = {}

function commands.complete()
  local complete = lazy "complete"
  complete.listen()
  return complete.start()
end

function commands.chat(rest, args)
  local chat = lazy "chat"
  local text = rest ~= "" and rest or nil
  if args.range > 0 then
    local lines = vim.api.nvim_buf_get_lines(0, args.line1 - 1, args.line2, false)
    text = (text or "Explain this.") .. "\n\n```\n" .. table.concat(lines, "\n") .. "\n```"
  end
  if not text and not chat.here() then
    chat.open()
    return true
  end
  chat.open()
  return chat.send(text)
end

function commands.edit(rest, args)
  if args.bang then return lazy("edit").take() end
  return lazy("edit").start(args.line1, args.line2, rest)
end

function commands.stop()
  M.stop()
  return true
end

function commands.model(rest)
  if rest == "" then
    print(engine.path() or "no model")
    return true
  end
  return M.use(vim.fn.fnamemodify(vim.fn.expand(rest), ":p"))
end

function commands.info()
  print(table.concat(M.info(), "\n"))
  return true
end

local names = { "chat", "complete", "edit", "info", "model", "stop" }

--- What :Wane does (arguments as nvim_create_user_command gives them).
---@param args table
function M.command(args)
  local name, rest = args.args:match "^(%S*)%s*(.*)$"
  local f = commands[name]
  if not f then
    return told(nil, ("wane: :Wane %s: want one of %s"):format(name, table.concat(names, ", ")))
  end
  local fine, ok, message = pcall(f, rest, args)
  if not fine then ok, message = nil, tostring(ok) end
  return told(ok, message)
end

--- Completion of :Wane.
---@param lead string
---@param line string
---@return string[]
function M.candidates(lead, line)
  if line:match "Wane!?%s+model%s" then
    return vim.tbl_filter(function(f) return f:match "/$" or f:match "%.gguf$" end, vim.fn.getcompletion(lead, "file"))
  end
  if line:match "Wane!?%s+%S+%s" then return {} end
  return vim.tbl_filter(function(n) return n:sub(1, #lead) == lead end, names)
end

return M
