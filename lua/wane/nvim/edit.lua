--- Edits of a selection: what the model makes of some lines is shown as a diff;
--- writing that buffer takes it, closing it does not.
---
--- The lines are followed by marks while the model works, so the rest of the
--- buffer stays free. Lines that were changed meanwhile are not overwritten.
local compat = require "wane.nvim.compat"
local config = require "wane.nvim.config"
local engine = require "wane.nvim.engine"

local M = {}

local api = vim.api
local space = api.nvim_create_namespace "wane_edit"
local SYSTEM = "You edit text. Answer with the edited text alone: no explanation, no quotes, no code fence."

local current -- the edit at work or on show

-- Where the lines are now: first and last row, from 0, the last outside.
local function where(e)
  if not api.nvim_buf_is_valid(e.buf) then return nil end
  local a = api.nvim_buf_get_extmark_by_id(e.buf, space, e.first, {})
  local b = api.nvim_buf_get_extmark_by_id(e.buf, space, e.last, {})
  if not a[1] or not b[1] then return nil end
  return a[1], b[1] + 1
end

--- The edited text without a fence around it and with the end of lines of the old.
---@param text string
---@return string[]
function M.clean(text)
  text = text:gsub("^%s*\n", ""):gsub("%s+$", "")
  local inner = text:match "^```[^\n]*\n(.*)\n```$" or text
  return vim.split(inner, "\n", { plain = true })
end

--- Gives up an edit: nothing has changed.
function M.drop()
  local e = current
  current = nil
  if not e then return end
  if e.watch then e.watch.stop() end
  if e.chat then e.chat:close() end
  if api.nvim_buf_is_valid(e.buf) then api.nvim_buf_clear_namespace(e.buf, space, 0, -1) end
  local diff = e.diff
  vim.schedule(function() -- it may be just being written
    if diff and api.nvim_buf_is_valid(diff) then api.nvim_buf_delete(diff, { force = true }) end
  end)
end

--- Takes the edit that is shown. nil, message where it cannot.
---@return boolean|nil
---@return string? message
function M.take()
  local e = current
  if not e or not e.new then return nil, "wane: edit: there is none to take" end
  local first, last = where(e)
  if not first then return nil, "wane: edit: the text is gone" end
  if not vim.deep_equal(api.nvim_buf_get_lines(e.buf, first, last, false), e.old) then
    return nil, "wane: edit: the text was changed meanwhile: nothing is overwritten"
  end
  if not vim.bo[e.buf].modifiable then return nil, "wane: edit: the buffer cannot be changed" end
  api.nvim_buf_set_lines(e.buf, first, last, false, e.new)
  if e.diff and api.nvim_buf_is_valid(e.diff) then vim.bo[e.diff].modified = false end
  M.drop()
  return true
end

-- Shows the diff in a window of its own.
local function show(e)
  local text = compat.diff(table.concat(e.old, "\n") .. "\n", table.concat(e.new, "\n") .. "\n", { ctxlen = 3 })
  if text == "" then
    engine.tell("wane: edit: the model changes nothing", vim.log.levels.INFO)
    return M.drop()
  end
  e.diff = api.nvim_create_buf(false, false)
  local lines = vim.split(text, "\n", { plain = true })
  lines[#lines] = nil
  api.nvim_buf_set_lines(e.diff, 0, -1, false, lines)
  api.nvim_buf_set_name(e.diff, ("wane://edit/%d"):format(e.diff))
  local bo = vim.bo[e.diff]
  bo.buftype, bo.bufhidden, bo.swapfile, bo.filetype = "acwrite", "wipe", false, "diff"
  bo.modified, bo.modifiable = false, false
  api.nvim_create_autocmd("BufWriteCmd", { pattern = compat.of_buffer(e.diff), callback = function()
    local ok, message = M.take()
    if not ok then vim.notify(message, vim.log.levels.WARN) end
  end })
  api.nvim_create_autocmd("BufWipeout", { pattern = compat.of_buffer(e.diff), once = true, callback = function()
    e.diff = nil
    if current == e then M.drop() end
  end })
  vim.cmd(("botright %dsplit"):format(math.min(#lines + 1, 15)))
  api.nvim_win_set_buf(0, e.diff)
end

--- Asks the model to edit lines `first` to `last` (from 1) of the current buffer;
--- returns at once. nil, message where it cannot.
---@param first integer
---@param last integer
---@param instruction string
---@return boolean|nil
---@return string? message
function M.start(first, last, instruction)
  if current then return nil, "wane: an edit is open (:Wane stop gives it up, writing it takes it)" end
  if instruction == "" then return nil, "wane: edit: say what to do: :'<,'>Wane edit make it shorter" end
  local buf = api.nvim_get_current_buf()
  if not vim.bo[buf].modifiable then return nil, "wane: edit: the buffer cannot be changed" end
  local model, message = engine.model()
  if not model then return nil, message end
  local o = { context = config.get().context, system = SYSTEM, temperature = 0 }
  for name, v in pairs(config.get().edit) do o[name] = v end
  o.context = math.min(o.context, model.hp.context_length or math.huge)
  local ok, chat = pcall(model.chat, model, o)
  if not ok then return nil, tostring(chat) end
  local old = api.nvim_buf_get_lines(buf, first - 1, last, false)
  local e = { buf = buf, old = old, chat = chat, text = "" }
  local fine, reply, why = pcall(chat.start, chat, instruction .. "\n\n" .. table.concat(old, "\n"))
  if not fine or not reply then
    chat:close()
    return nil, fine and "wane: " .. tostring(why) or tostring(reply)
  end
  e.first = api.nvim_buf_set_extmark(buf, space, first - 1, 0, { right_gravity = false })
  e.last = api.nvim_buf_set_extmark(buf, space, last - 1, 0, {})
  current = e
  e.watch = engine.watch(reply, function(text) e.text = e.text .. text end, function(failure)
    e.watch = nil
    if failure then
      engine.tell("wane: " .. failure)
      return M.drop()
    end
    e.new = M.clean(e.text)
    show(e)
  end)
  e.watch.on_stop = M.drop
  return true
end

--- The buffer that shows the diff, or nil.
---@return integer?
function M.shown() return current and current.diff end

return M
