--- Ghost text: a completion shown at the cursor, taken whole, by line or by word.
---
--- One suggestion at a time. It is shown while it grows, follows what is typed as
--- long as that agrees with it, and goes away with anything else; the buffer
--- itself changes only when something is accepted. Where nothing is shown,
--- accept() does nothing and says so, and the key is the user's to use.
local around = require "wane.nvim.around"
local compat = require "wane.nvim.compat"
local config = require "wane.nvim.config"
local engine = require "wane.nvim.engine"

local M = {}

local api = vim.api
local space = api.nvim_create_namespace "wane_ghost"

---@class wane.nvim.Suggestion
---@field buf integer
---@field row integer      from 0
---@field col integer      in bytes
---@field line string      the line as it was, so that a change is seen
---@field text string
---@field watch? wane.nvim.Watch
local shown

-- Chunks of one line of ghost text: { text, highlight }.
local function ghost(text) return { { text, "WaneGhost" } } end

-- Draws what there is. Before 0.10 text cannot be put inside of a line: there
-- it lies over the rest of the line, which is drawn again behind it.
local function draw(s)
  api.nvim_buf_clear_namespace(s.buf, space, 0, -1)
  if s.text == "" then return end
  local lines = vim.split(s.text, "\n", { plain = true })
  local rest, below = s.line:sub(s.col + 1), {}
  for i = 2, #lines do below[#below + 1] = ghost(lines[i] == "" and " " or lines[i]) end
  local first = ghost(lines[1])
  if not compat.inline and rest ~= "" then first[2] = { rest, "Normal" } end
  api.nvim_buf_set_extmark(s.buf, space, s.row, s.col, {
    virt_text = first, virt_text_pos = compat.inline and "inline" or "overlay",
    virt_lines = #below > 0 and below or nil, hl_mode = "combine",
  })
end

--- Takes the suggestion away and ends the work on it.
function M.clear()
  local s = shown
  shown = nil
  if not s then return end
  if s.watch then s.watch.stop() end
  if api.nvim_buf_is_valid(s.buf) then api.nvim_buf_clear_namespace(s.buf, space, 0, -1) end
end

--- The text that is shown, or nil.
---@return string?
function M.text() return shown and shown.text ~= "" and shown.text or nil end

-- Whether the filetype of a buffer is among the user's, and it is a text.
local function wanted(buf)
  if vim.bo[buf].buftype ~= "" or not vim.bo[buf].modifiable then return false end
  local types, own = config.get().filetypes, vim.bo[buf].filetype
  if types and types[1] == nil and next(types) ~= nil then return types[own] ~= false end
  return not types or vim.tbl_contains(types, own)
end

-- What stands behind the cursor already is not said twice.
local function without_rest(text, rest)
  rest = rest:gsub("%s+$", "")
  local first, others = text:match "^([^\n]*)(.*)$"
  local trimmed = first:gsub("%s+$", "")
  if rest ~= "" and trimmed:sub(-#rest) == rest then return trimmed:sub(1, -#rest - 1), others end
  return first, others
end

local function prompt_of(buf, row, col)
  local o = config.get()
  local top = math.floor(math.max(0, row - 400) / around.STEP) * around.STEP
  local lines = api.nvim_buf_get_lines(buf, top, row + 1, false)
  local line = lines[#lines]
  lines[#lines] = line:sub(1, col)
  local behind = api.nvim_buf_get_lines(buf, row, row + 200, false)
  behind[1] = line:sub(col + 1)
  return {
    before = around.before(lines, o.prefix), after = around.after(behind, o.suffix),
    name = vim.fn.fnamemodify(api.nvim_buf_get_name(buf), ":."), files = around.buffers(buf, o.buffers, o.buffer_bytes),
  }, line
end

local function start(buf, row, col)
  local ctx, message = engine.context()
  if not ctx then return nil, message end
  local o, vocab = config.get(), ctx.model.vocab
  local n_ctx = ctx:info().n_ctx
  local p, line = prompt_of(buf, row, col)
  local n = math.min(o.max_tokens, math.floor(n_ctx / 4))
  local ids = around.fitting(vocab, p, n_ctx - n - 1)
  if not ids or #ids == 0 then return nil end
  local job
  job, message = ctx.model:start(ids, {
    context = ctx, reuse = true, max_tokens = n, max_ms = o.max_ms, temperature = o.temperature,
    stop = not around.fills(vocab) and { "\n\n" } or nil,
  })
  if not job then return nil, "wane: " .. tostring(message) end
  local s = { buf = buf, row = row, col = col, line = line, text = "" }
  shown = s
  s.watch = engine.watch(job, function(text)
    if shown ~= s then return end
    s.text = s.text .. text
    M.follow()
    if shown == s then draw(s) end
  end, function(failure, stats)
    s.watch = nil
    s.stats = stats
    if failure then engine.tell("wane: " .. failure) end
    if shown ~= s then return end
    local first, others = without_rest(s.text, s.line:sub(s.col + 1))
    s.text = (first .. others):gsub("%s+$", "")
    if s.text == "" then return M.clear() end
    draw(s)
  end)
  s.watch.on_stop = function() s.watch = nil end
  return true
end

--- Asks for a completion at the cursor; returns at once. Says why where it
--- cannot: nil, message (no message: not in this buffer).
---@return boolean|nil started
---@return string? message
function M.start()
  M.clear()
  local buf = api.nvim_get_current_buf()
  if not wanted(buf) then return nil end
  local at = api.nvim_win_get_cursor(0)
  vim.cmd "highlight default link WaneGhost Comment"
  return start(buf, at[1] - 1, at[2])
end

--- Follows the cursor: typed text that the suggestion begins with is taken off
--- it; anything else ends it.
function M.follow()
  local s = shown
  if not s then return end
  if api.nvim_get_current_buf() ~= s.buf then return M.clear() end
  local at = api.nvim_win_get_cursor(0)
  local row, col = at[1] - 1, at[2]
  local line = api.nvim_buf_get_lines(s.buf, s.row, s.row + 1, false)[1]
  if row == s.row and col == s.col and line == s.line then return end
  local typed = row == s.row and line and col > s.col and line:sub(s.col + 1, col)
  if not typed or s.line:sub(1, s.col) .. typed .. s.line:sub(s.col + 1) ~= line or s.text:sub(1, #typed) ~= typed then
    return M.clear()
  end
  s.text, s.col, s.line = s.text:sub(#typed + 1), col, line
  if s.text == "" and not s.watch then return M.clear() end
  draw(s)
end

-- How much of a text one accept takes.
local part = {
  all = function(text) return text end,
  line = function(text) return text:match "^\n?[^\n]*" end,
  word = function(text)
    return text:match "^%s*[%w_\128-\255]+" or text:match "^%s*[^%w_%s\128-\255]+" or text:match "^%s+"
  end,
}

--- Puts the suggestion, its first line or its first word, into the buffer. False
--- where there is none: then nothing has happened.
---@param what? "all"|"line"|"word"
---@return boolean accepted
function M.accept(what)
  local take = part[what or "all"]
  if not take then error(("wane: nvim: accept: want all, line or word, got %s"):format(tostring(what)), 2) end
  M.follow()
  local s = shown
  if not s or s.text == "" or not vim.bo[s.buf].modifiable then return false end
  local text = take(s.text)
  local lines = vim.split(text, "\n", { plain = true })
  api.nvim_buf_set_text(s.buf, s.row, s.col, s.row, s.col, lines)
  s.row = s.row + #lines - 1
  s.col = (#lines == 1 and s.col or 0) + #lines[#lines]
  s.line = api.nvim_buf_get_lines(s.buf, s.row, s.row + 1, false)[1]
  s.text = s.text:sub(#text + 1)
  api.nvim_win_set_cursor(0, { s.row + 1, s.col })
  if s.text == "" and not s.watch or what == nil or what == "all" then
    M.clear()
  else
    draw(s)
  end
  return true
end

-- ---- while typing

local group, timer

local function later()
  local o = config.get()
  if not wanted(api.nvim_get_current_buf()) then return end
  timer = timer or compat.uv.new_timer()
  timer:start(o.delay, 0, vim.schedule_wrap(function()
    if vim.fn.mode():sub(1, 1) ~= "i" or shown then return end
    local ok, message = M.start()
    if not ok and message then engine.tell(message) end
  end))
end

--- Begins to listen: what keeps a suggestion right, and, with option auto,
--- completes while typing. Once.
function M.listen()
  if group then return end
  group = api.nvim_create_augroup("wane_complete", {})
  local function on(events, f) api.nvim_create_autocmd(events, { group = group, callback = f }) end
  on({ "TextChangedI", "CursorMovedI" }, M.follow)
  on("TextChangedI", function() if config.get().auto and not shown then later() end end)
  on({ "InsertLeave", "BufLeave" }, M.clear)
  on("VimLeavePre", function()
    if timer then timer:close() end
    timer = nil
  end)
end

return M
