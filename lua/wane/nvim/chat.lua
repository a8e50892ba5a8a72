--- A conversation in a buffer.
---
--- The buffer is Markdown: "## You" over what the user writes, "## Model" over the
--- replies. :Wane chat in it sends what stands under the last "## You". A reply
--- grows at a mark of its own, so that the buffer stays free for typing meanwhile,
--- and nothing that was written in it is taken away.
local compat = require "wane.nvim.compat"
local config = require "wane.nvim.config"
local engine = require "wane.nvim.engine"

local M = {}

local api = vim.api
local space = api.nvim_create_namespace "wane_chat"
local YOU, MODEL = "## You", "## Model"

local state = {} -- buf, chat, watch, waiting

local function lines_of(buf) return api.nvim_buf_get_lines(buf, 0, -1, false) end

-- Ends the conversation with its buffer.
local function forget()
  if state.watch then state.watch.stop() end
  if state.chat then state.chat:close() end
  state = {}
end

local function buffer()
  if state.buf and api.nvim_buf_is_valid(state.buf) then return state.buf end
  local buf = api.nvim_create_buf(true, true)
  api.nvim_buf_set_name(buf, "wane://chat")
  vim.bo[buf].filetype = "markdown"
  vim.bo[buf].bufhidden = "hide"
  api.nvim_buf_set_lines(buf, 0, -1, false, { YOU, "", "" })
  api.nvim_create_autocmd("BufWipeout", { pattern = compat.of_buffer(buf), once = true, callback = forget })
  state.buf = buf
  return buf
end

--- Opens the conversation's window, or goes to it.
function M.open()
  local buf = buffer()
  local win = vim.fn.bufwinid(buf)
  if win ~= -1 then
    api.nvim_set_current_win(win)
  else
    vim.cmd "botright vsplit"
    api.nvim_win_set_buf(0, buf)
  end
  api.nvim_win_set_cursor(0, { api.nvim_buf_line_count(buf), 0 })
  return buf
end

-- Row of the last "## You", from 1.
local function question_row(lines)
  for i = #lines, 1, -1 do
    if lines[i] == YOU then return i end
  end
end

--- What stands under the last "## You".
local function question(buf)
  local lines = lines_of(buf)
  local row = question_row(lines)
  return row and vim.trim(table.concat(lines, "\n", row + 1)) or ""
end

-- Puts a text under the last "## You", behind what is there.
local function write(buf, text)
  local lines = lines_of(buf)
  while #lines > 0 and lines[#lines] == "" do lines[#lines] = nil end
  local new = vim.split(text, "\n", { plain = true })
  table.insert(new, 1, "")
  if not question_row(lines) then
    table.insert(new, 1, YOU)
    table.insert(new, 1, "")
  end
  api.nvim_buf_set_lines(buf, #lines, -1, false, new)
end

-- Adds text where the reply stands.
local function grow(buf, mark, text)
  if not api.nvim_buf_is_valid(buf) then return end
  local at = api.nvim_buf_get_extmark_by_id(buf, space, mark, {})
  if at[1] then api.nvim_buf_set_text(buf, at[1], at[2], at[1], at[2], vim.split(text, "\n", { plain = true })) end
end

-- The place of the next reply, with the place of the next question behind it.
local function place(buf)
  local n = api.nvim_buf_line_count(buf)
  api.nvim_buf_set_lines(buf, n, n, false, { "", MODEL, "", "", "", YOU, "", "" })
  return api.nvim_buf_set_extmark(buf, space, n + 3, 0, {})
end

-- The model's conversation, made with the first message.
local function conversation()
  if state.chat and state.chat.model == engine.facts().model then return state.chat end
  local model, message = engine.model()
  if not model then return nil, message end
  if state.chat then state.chat:close() end
  local o = { context = config.get().context }
  for name, v in pairs(config.get().chat) do o[name] = v end
  o.context = math.min(o.context, model.hp.context_length or math.huge)
  local ok, chat = pcall(model.chat, model, o)
  if not ok then return nil, tostring(chat) end
  state.chat = chat
  return chat
end

local function send(buf, chat, text)
  local ok, reply, message = pcall(chat.start, chat, text)
  if not ok or not reply then
    state.waiting = nil
    return engine.tell(tostring(ok and "wane: " .. tostring(message) or reply))
  end
  local mark = place(buf)
  local win = vim.fn.bufwinid(buf)
  if win ~= -1 then api.nvim_win_set_cursor(win, { api.nvim_buf_line_count(buf), 0 }) end
  local function over(failure)
    state.watch, state.waiting = nil, nil
    if failure then engine.tell("wane: " .. failure) end
  end
  state.watch = engine.watch(reply, function(new) grow(buf, mark, new) end, over)
  state.watch.on_stop = over
end

--- Sends a message, or what stands under the last "## You"; the reply comes in
--- its time. nil, message where it cannot.
---@param text? string
---@return boolean|nil
---@return string? message
function M.send(text)
  if state.watch or state.waiting then return nil, "wane: a reply is being written (:Wane stop ends it)" end
  local buf = buffer()
  if text then write(buf, text) end
  local asked = question(buf)
  if asked == "" then return nil, 'wane: chat: nothing is written under the last "## You"' end
  local chat, message = conversation()
  if not chat then return nil, message end
  local turn = {}
  state.waiting = turn
  engine.when_idle(chat.ctx, function() return state.waiting == turn and api.nvim_buf_is_valid(buf) end,
    function() send(buf, chat, asked) end)
  return true
end

--- Whether the current buffer is the conversation.
function M.here() return state.buf == api.nvim_get_current_buf() end

--- Whether a reply is being written.
function M.busy() return state.watch ~= nil or state.waiting ~= nil end

--- Ends the reply; what it has said stays.
function M.stop()
  state.waiting = nil
  local watch = state.watch
  if not watch then return end
  watch.stop()
  watch.on_stop()
end

--- Gives up the conversation; the buffer stays.
function M.close()
  if state.watch then state.watch.stop() end
  if state.chat then state.chat:close() end
  state = { buf = state.buf }
end

return M
