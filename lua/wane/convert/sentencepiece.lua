--- A reader of sentencepiece's tokenizer.model: pieces with scores and kinds,
--- and the settings that GGUF keeps.
---
--- The file is a protocol buffer: fields of a number and a wire type (0 varint,
--- 1 eight bytes, 2 length and bytes, 5 four bytes). Field 1 of the model is a
--- piece (1 text, 2 score as float32, 3 kind), field 2 the trainer's settings (3:
--- model type), field 3 the normalizer's (2: charsmap, 3: prefix space, 4: extra
--- spaces removed). Others are skipped. Every length is checked before it is
--- used; the reader recurses one level only.
local M = {}

local MAX_PIECES = 4194304

-- A varint at i: value, next i; nil where the bytes end or it has over 10 bytes.
local function varint(s, i)
  local v, shift = 0, 1
  for k = 0, 9 do
    local b = s:byte(i + k)
    if not b then return nil end
    v = v + b % 128 * shift
    if b < 128 then return v, i + k + 1 end
    shift = shift * 128
  end
end

-- The next field at i: number, wire type, value or first and last byte, next i.
local function field(s, i, last)
  local tag, at = varint(s, i)
  if not tag then return nil end
  local number, wire = math.floor(tag / 8), tag % 8
  if wire == 0 then
    local v, after = varint(s, at)
    return v and number, wire, v, nil, after
  elseif wire == 1 or wire == 5 then
    local n = wire == 1 and 8 or 4
    if at + n - 1 > last then return nil end
    return number, wire, at, at + n - 1, at + n
  elseif wire == 2 then
    local n, first = varint(s, at)
    if not n or n > last - first + 1 then return nil end
    return number, wire, first, first + n - 1, first + n
  end
  return nil
end

-- Four bytes as a little-endian float32.
local function float(s, i)
  local a, b, c, d = s:byte(i, i + 3)
  local bits = a + b * 256 + c * 65536 + d % 128 * 16777216
  local exponent, mantissa = math.floor(bits / 8388608), bits % 8388608
  local v
  if exponent == 255 then
    v = mantissa == 0 and math.huge or 0 / 0
  elseif exponent == 0 then
    v = mantissa * 2 ^ -149
  else
    v = (mantissa + 8388608) * 2 ^ (exponent - 150)
  end
  return d >= 128 and -v or v
end

-- Calls visit(number, wire, a, b) for the fields between first and last.
local function each(s, first, last, visit)
  local i = first
  while i <= last do
    local number, wire, a, b, after = field(s, i, last)
    if not number or after > last + 1 then return i end
    visit(number, wire, a, b)
    i = after
  end
end

local KINDS = { [1] = "normal", [2] = "unknown", [3] = "control", [4] = "user", [5] = "unused", [6] = "byte" }
local MODELS = { [1] = "unigram", [2] = "bpe", [3] = "word", [4] = "char" }

--- Reads the bytes of a tokenizer.model.
---@param bytes string
---@return table|nil model  pieces = { { text, score, kind } }, type, add_dummy_prefix, remove_extra_whitespaces, charsmap
---@return string? message
---@return string? code
function M.parse(bytes)
  local model = { pieces = {}, type = "unigram", add_dummy_prefix = true, remove_extra_whitespaces = true }
  local problem
  local function piece(first, last)
    local p = { text = "", score = 0, kind = "normal" }
    local bad = each(bytes, first, last, function(n, wire, a, b)
      if n == 1 and wire == 2 then p.text = bytes:sub(a, b) end
      if n == 2 and wire == 5 then p.score = float(bytes, a) end
      if n == 3 and wire == 0 then p.kind = KINDS[a] end
    end)
    if bad or not p.kind or p.score ~= p.score then problem = problem or ("piece %d is damaged"):format(#model.pieces) end
    if #model.pieces >= MAX_PIECES then problem = problem or "too many pieces" end
    if not problem then model.pieces[#model.pieces + 1] = p end
  end
  local at = each(bytes, 1, #bytes, function(number, wire, a, b)
    if problem then return end
    if number == 1 and wire == 2 then
      piece(a, b)
    elseif number == 2 and wire == 2 then
      each(bytes, a, b, function(n, w, v)
        if n == 3 and w == 0 then model.type = MODELS[v] or model.type end
      end)
    elseif number == 3 and wire == 2 then
      each(bytes, a, b, function(n, w, v, e)
        if n == 2 and w == 2 then model.charsmap = bytes:sub(v, e) end
        if n == 3 and w == 0 then model.add_dummy_prefix = v ~= 0 end
        if n == 4 and w == 0 then model.remove_extra_whitespaces = v ~= 0 end
      end)
    end
  end)
  if problem then return nil, problem, "EFORMAT" end
  if at then return nil, ("byte %d begins no field"):format(at - 1), "EFORMAT" end
  if #model.pieces == 0 then return nil, "it has no pieces", "EFORMAT" end
  return model
end

return M
