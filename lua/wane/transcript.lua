--- The ids of a conversation that grows.
---
--- A rendered conversation is a list of parts { text, input }: what the
--- template wrote, and what messages held (wane.template). Control tokens come
--- of the template's text only; a message that spells one stays text, also
--- where it touches the template's (vocab:encode). A turn tokenizes only what is
--- new: a text may be cut behind any control token without a change of ids, so
--- what stands before the last one of the turn before is kept.
---
---     local t = transcript.new(model.vocab)
---     local ids = assert(t:encode(parts))
local M = {}

local CONTROL, RSTRIP = 8, 256 -- of vocab:attr

local function has(attr, bit) return math.floor(attr / bit) % 2 == 1 end

---@class wane.Transcript
---@field fed integer   bytes that the last encode gave to the tokenizer
local Transcript = {}
Transcript.__index = Transcript

--- A transcript without a turn.
---@param vocab wane.Vocab
---@return wane.Transcript
function M.new(vocab) return setmetatable({ vocab = vocab, text = "", spans = "", kept = {}, fed = 0 }, Transcript) end

-- The text of parts, and which stretches of its first n bytes are input, as text.
local function flat(parts)
  local out = {}
  for i, p in ipairs(parts) do out[i] = p.text end
  return table.concat(out)
end

local function spans(parts, n)
  local out, at, run = {}, 0, nil
  for _, p in ipairs(parts) do
    local to = math.min(at + #p.text, n)
    if p.input and to > at then
      if run == at then out[#out] = to else out[#out + 1] = at .. "-" out[#out + 1] = to end
      run = to
    end
    at = at + #p.text
    if at >= n then break end
  end
  return table.concat(out, " ")
end

-- The parts behind the first n bytes.
local function behind(parts, n)
  local out, at = {}, 0
  for _, p in ipairs(parts) do
    if at + #p.text > n then
      out[#out + 1] = { text = p.text:sub(math.max(n - at, 0) + 1), input = p.input }
    end
    at = at + #p.text
  end
  return out
end

-- Where the template's text has a token's name for the nth time from the end:
-- the byte behind it, or nil.
local function nth_last(parts, n_bytes, name, nth)
  local at = n_bytes
  for k = #parts, 1, -1 do
    local p = parts[k]
    local from, ends, start = at - #p.text, {}, 1
    while not p.input do
      local a, b = p.text:find(name, start, true)
      if not a then break end
      ends[#ends + 1], start = from + b, b + 1
    end
    if #ends >= nth then return ends[#ends - nth + 1] end
    nth, at = nth - #ends, from
  end
end

-- Where the last control token of ids ends in the text, and its place in ids.
-- One that takes white space behind it along counts with that, when the white
-- space is over.
local function last_control(vocab, ids, parts, text)
  local seen = {}
  for i = #ids, 1, -1 do
    local attr = vocab:attr(ids[i])
    local name = has(attr, CONTROL) and vocab:text(ids[i]) or ""
    if name ~= "" then
      seen[name] = (seen[name] or 0) + 1
      local at = nth_last(parts, #text, name, seen[name])
      if not at then return nil end
      if has(attr, RSTRIP) then at = text:match("^[ \t-\r]*()", at + 1) - 1 end
      if at < #text or not has(attr, RSTRIP) then return at, i end
    end
  end
end

--- Ids of the whole conversation. BOS goes first where the vocabulary wants it
--- and the template has not written it; nothing goes behind.
---@param parts { text: string, input: boolean }[]
---@return integer[]|nil ids
---@return string? message
---@return string? code
function Transcript:encode(parts)
  local vocab, text, ids, n = self.vocab, flat(parts), {}, #self.text
  local rest, cut = parts, 0
  if n > 0 and text:sub(1, n) == self.text and spans(parts, n) == self.spans then
    for i, id in ipairs(self.kept) do ids[i] = id end
    rest, cut = behind(parts, n), n
  end
  local new, message, code = vocab:encode(rest, { parse_special = true })
  if not new then return nil, message, code end
  self.fed = #text - cut
  if cut == 0 and vocab.add_bos and vocab.bos and new[1] ~= vocab.bos then ids[1] = vocab.bos end
  for _, id in ipairs(new) do ids[#ids + 1] = id end
  local at, place = last_control(vocab, ids, parts, text)
  if at and at > n then
    self.text, self.spans, self.kept = text:sub(1, at), spans(parts, at), {}
    for i = 1, place do self.kept[i] = ids[i] end
  end
  return ids
end

return M
