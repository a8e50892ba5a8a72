--- The prompt of a completion: the text around the cursor, and of other buffers.
---
--- A vocabulary with tokens for it gets both sides of the cursor (fill in the
--- middle), one without only what is before. Other buffers come first, under
--- their names: as files where the vocabulary has a token between files, as plain
--- text elsewhere. Text of buffers stays text: no control token comes out of it.
---
--- Windows begin at multiples of 32 lines and not so many bytes back: between two
--- keys the prompt only grows at its end, and what the context has read of it
--- stays good.
local M = {}

local STEP = 32 -- lines
M.STEP = STEP

--- The first `bytes` bytes of a text, without a character that is cut there.
---@param text string
---@param bytes integer
---@return string
function M.head(text, bytes)
  if #text <= bytes then return text end
  while bytes > 0 and text:sub(bytes + 1, bytes + 1):find "[\128-\191]" do bytes = bytes - 1 end
  return text:sub(1, math.max(bytes, 0))
end

--- Lines before the cursor, about `bytes` of them, as one text.
---@param lines string[]   of the buffer down to the cursor; the last ends there
---@param bytes integer
---@return string
function M.before(lines, bytes)
  local n, first = #lines[#lines], #lines
  while first > 1 and n + #lines[first - 1] + 1 <= bytes do
    first = first - 1
    n = n + #lines[first] + 1
  end
  if first > 1 then -- on to the next multiple, where there is one
    local aligned = math.ceil((first - 1) / STEP) * STEP + 1
    if aligned <= #lines then first = aligned end
  end
  local text = table.concat(lines, "\n", first)
  if #text <= bytes then return text end
  return bytes > 0 and (text:sub(-bytes):gsub("^[\128-\191]+", "")) or ""
end

--- Lines from the cursor on, about `bytes` of them, whole lines.
---@param lines string[]   the first begins at the cursor
---@param bytes integer
---@return string
function M.after(lines, bytes)
  local n, last = #lines[1], 1
  while last < #lines and n + #lines[last + 1] + 1 <= bytes do
    last = last + 1
    n = n + #lines[last] + 1
  end
  return M.head(table.concat(lines, "\n", 1, last), bytes)
end

-- Buffers of the same filetype, the last used first.
local function others(buf, n)
  local list = {}
  for _, info in ipairs(vim.fn.getbufinfo { buflisted = 1, bufloaded = 1 }) do
    local b = info.bufnr
    if b ~= buf and vim.bo[b].buftype == "" and vim.bo[b].filetype == vim.bo[buf].filetype and info.name ~= "" then
      list[#list + 1] = info
    end
  end
  table.sort(list, function(a, b)
    if a.lastused ~= b.lastused then return a.lastused > b.lastused end
    return a.bufnr < b.bufnr
  end)
  for i = #list, n + 1, -1 do list[i] = nil end
  return list
end

--- Texts of other buffers, around where the cursor was in them.
---@param buf integer
---@param n integer       how many at most
---@param bytes integer   of each
---@return { name: string, text: string }[]
function M.buffers(buf, n, bytes)
  local out = {}
  if n < 1 or bytes < 1 then return out end
  for _, info in ipairs(others(buf, n)) do
    local first = math.floor(math.max(0, info.lnum - STEP) / STEP) * STEP
    local text = table.concat(vim.api.nvim_buf_get_lines(info.bufnr, first, first + 4 * STEP, false), "\n")
    if text:match "%S" then
      out[#out + 1] = { name = vim.fn.fnamemodify(info.name, ":."),
        text = M.head(text, bytes) }
    end
  end
  return out
end

local function append(ids, more)
  for _, id in ipairs(more) do ids[#ids + 1] = id end
end

--- Whether a vocabulary can fill in the middle.
---@param vocab wane.Vocab
function M.fills(vocab)
  local s = vocab.special
  return s.fim_pre ~= nil and s.fim_suf ~= nil and s.fim_mid ~= nil
end

--- Ids of a prompt.
---@param vocab wane.Vocab
---@param p { before: string, after: string, name: string, files: { name: string, text: string }[] }
---@return integer[] ids
function M.ids(vocab, p)
  local s, ids = vocab.special, {}
  local function text(t) append(ids, assert(vocab:encode(t, { special = false, parse_special = false }))) end
  if vocab.add_bos and s.bos then ids[1] = s.bos end
  for i = #p.files, 1, -1 do -- the last used is the nearest
    local f = p.files[i]
    if s.fim_sep then
      ids[#ids + 1] = s.fim_sep
      text(f.name .. "\n" .. f.text .. "\n")
    else
      text(f.text .. "\n\n")
    end
  end
  if s.fim_sep and #p.files > 0 then
    ids[#ids + 1] = s.fim_sep
    text(p.name .. "\n")
  end
  if M.fills(vocab) then
    ids[#ids + 1] = s.fim_pre
    text(p.before)
    ids[#ids + 1] = s.fim_suf
    text(p.after)
    ids[#ids + 1] = s.fim_mid
  else
    text(p.before)
  end
  return ids
end

--- Ids that leave room for `spare` tokens in a context of `n_ctx`: what is far
--- from the cursor goes first, other files before the own text.
---@param vocab wane.Vocab
---@param p table      as M.ids
---@param room integer
---@return integer[]|nil
function M.fitting(vocab, p, room)
  p = { before = p.before, after = p.after, name = p.name, files = { unpack(p.files) } }
  for _ = 1, 40 do
    local ids = M.ids(vocab, p)
    if #ids <= room then return ids end
    if #p.files > 0 then
      p.files[#p.files] = nil
    else
      p.before = M.before(vim.split(p.before, "\n", { plain = true }), math.floor(#p.before / 2))
      p.after = M.head(p.after, math.floor(#p.after / 2))
    end
  end
  return nil
end

return M
