--- Reading lines from a person: edited, with a history, where lua-readline is
--- installed; as the terminal gives them otherwise; from a pipe as they come.
---
---     local reader = line.open { history = path, words = { "/help" } }
---     local text, why = reader:read "> "      -- nil, "end" or "interrupt"
---     reader:close()                          -- the history is saved
---
--- Lines that end with a backslash go on in the next one; a line `"""` begins a
--- text of several lines, another one ends it; what is pasted stays together
--- where the terminal says that it is pasted (readline's bracketed paste).
--- Ctrl-C gives up what was typed (terminal.watch must have been called).
local core = require "wane.core"

local M = {}

---@class wane.cli.Reader
---@field edits boolean   lines can be edited
local Reader = {}
Reader.__index = Reader

-- One line of a pipe or of a terminal without readline.
local function plain(reader, prompt)
  if reader.tty then
    io.stdout:write(prompt)
    io.stdout:flush()
    if core.terminal.wait(-1) == "interrupt" then return nil, "interrupt" end
  end
  local text = io.read "*l"
  if not text then return nil, core.terminal.taken() and "interrupt" or "end" end
  return text
end

-- One line through readline. It reads a key at a time, when there is one, so
-- that Ctrl-C is ours: readline would keep the line. A line given up stays
-- open in readline, and the next handler begins a new one: to remove a handler
-- in the middle of a line is an error of lua-readline 3.1, which closes the
-- stream before readline writes its last bytes to it.
local function edited(reader, prompt)
  local rl, text, done = reader.rl, nil, false
  reader.open = true
  rl.handler_install(prompt, function(s)
    text, done = s, true
    rl.handler_remove()
    reader.open = false
  end)
  while not done do
    if core.terminal.wait(-1) == "interrupt" then
      core.terminal.taken()
      if rl.sigcleanup then rl.sigcleanup() end -- ends a search in the history
      return nil, "interrupt"
    end
    core.terminal.hold(true) -- readline would handle it, and take its line apart while we use it
    rl.read_char()
    core.terminal.hold(false)
  end
  if text == nil then return nil, "end" end
  text = text:gsub(" $", "") -- readline's own completion adds one
  if text:find "%S" and text ~= reader.last and not text:find "\n" then rl.add_history(text) end
  reader.last = text
  return text
end

-- The editor, when it is there and this is a terminal.
local function editor(opts)
  if os.getenv "TERM" == "dumb" then return nil end
  local fine, rl = pcall(require, "readline")
  if not fine or not rl.handler_install then return nil end
  rl.set_options { histfile = opts.history or "", keeplines = 1000, completion = true }
  if opts.words and rl.set_complete_function then
    rl.set_complete_function(function(text, from, to)
      local begun, found = text:sub(from, to), {}
      for _, word in ipairs(from == 1 and opts.words or {}) do
        if word:sub(1, #begun) == begun then found[#found + 1] = word end
      end
      return found
    end)
  end
  return rl
end

--- A reader of standard input.
---@param opts { history?: string, words?: string[], plain?: boolean }
---@return wane.cli.Reader
function M.open(opts)
  local tty = core.is_terminal(0) and core.is_terminal(1)
  local rl = tty and not opts.plain and editor(opts) or nil
  if tty and not rl then io.stdin:setvbuf "no" end -- what waits, waits in the terminal
  local settings = rl and core.terminal.settings(0)
  return setmetatable({ rl = rl, tty = tty, settings = settings, edits = rl ~= nil, read_line = rl and edited or plain }, Reader)
end

--- One entry, of one or more lines. nil, "end" | "interrupt".
---@param prompt string
---@return string|nil
---@return string? why
function Reader:read(prompt)
  local text, why = self.read_line(self, prompt)
  if not text then return nil, why end
  local more = (" "):rep(#prompt - 4) .. "... "
  if text:match "^%s*\"\"\"%s*$" then
    local lines = {}
    while true do
      text, why = self.read_line(self, more)
      if not text and why == "interrupt" then return nil, why end
      if not text or text:match "^%s*\"\"\"%s*$" then break end
      lines[#lines + 1] = text
    end
    return table.concat(lines, "\n")
  end
  while text:find "\\$" do
    local nextline
    nextline, why = self.read_line(self, more)
    if not nextline and why == "interrupt" then return nil, why end
    text = text:sub(1, -2) .. "\n" .. (nextline or "")
    if not nextline then break end
  end
  return text
end

--- Saves the history; the terminal is what it was.
function Reader:close()
  if self.rl then pcall(self.rl.save_history) end
  if self.open then -- what readline does at the end of a line
    io.stdout:write "\27[?2004l\r"
    io.stdout:flush()
    core.terminal.settings(0, self.settings)
    self.open = false
  end
  self.rl, self.read_line = nil, plain
end

return M
