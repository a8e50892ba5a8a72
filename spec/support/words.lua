--- Random texts that reach every corner of pre-tokenizers, and small helpers
--- of the vocabulary specs.
local M = {}

local LITERALS = {
  "'s", "'T", "'re", " don't", " can't ", "I'm", "'", "IMGIMGABZ", "<sentinel:12>", "    ", "  ", " ", "\n",
  "\r\n", "\t", "\n\n", "   \n", "!", "?!", "...", "/", "//\n", ",", "123", "1234567", "0", "$", "+", "^",
  "~", "|",
  "`", "(", "word", " Word", "WORD", " the", " and", "ing", " hello", "tion", "\v", "\0", "\1", "\127",
  ". ", " .",
  " ,", " ?", " ' ", " 's ", " 're", "é", "Å", "fi", "ſ", "İ", "▁", " ▁",
}
local RANGES = {
  { 0x4E00, 0x9FFF }, { 0x3040, 0x30FF }, { 0xAC00, 0xD7FF }, { 0x400, 0x4FF }, { 0x370, 0x3FF }, { 0x590,
  0x6FF },
  { 0x900, 0x97F }, { 0xE00, 0xEFF }, { 0x1000, 0x11FF }, { 0xF900, 0xFAFF }, { 0xFF00, 0xFFEF },
  { 0x20000, 0x2FA1F }, { 0x1E00, 0x1FFF }, { 0x2000, 0x22FF }, { 0x80, 0x24F }, { 0x300, 0x36F },
  { 0x1F300, 0x1FAFF }, { 0, 0xFFFF }, { 0x10000, 0x10FFFF },
}

--- The UTF-8 bytes of a code point.
function M.utf8(c)
  local f, char = math.floor, string.char
  if c < 0x80 then return char(c) end
  if c < 0x800 then return char(0xC0 + f(c / 64), 0x80 + c % 64) end
  if c < 0x10000 then return char(0xE0 + f(c / 4096), 0x80 + f(c / 64) % 64, 0x80 + c % 64) end
  return char(0xF0 + f(c / 262144), 0x80 + f(c / 4096) % 64, 0x80 + f(c / 64) % 64, 0x80 + c % 64)
end

--- A generator of whole numbers that gives the same everywhere.
function M.random(seed)
  local state = seed % 2147483646 + 1
  return function(low, high)
    state = state * 16807 % 2147483647
    return low + state % (high - low + 1)
  end
end

local function atom(rnd, specials)
  local kind = rnd(1, 12)
  if kind <= 5 then return LITERALS[rnd(1, #LITERALS)] end
  if kind == 6 then return string.char(rnd(97, 122)) end
  if kind == 7 then return string.char(rnd(32, 126)) end
  if kind <= 9 then
    local r = RANGES[rnd(1, #RANGES)]
    return M.utf8(rnd(r[1], r[2]))
  end
  if kind == 10 then return #specials > 0 and specials[rnd(1, #specials)] or " " end
  -- a stray byte; not F4 to FF, where llama.cpp raises on U+110000 and above
  if kind == 11 then return rnd(1, 3) == 1 and string.char(rnd(0, 0xF3)) or (" "):rep(rnd(1, 6)) end
  local w = {}
  for i = 1, rnd(1, 8) do w[i] = string.char(rnd(97, 122)) end
  return " " .. table.concat(w)
end

--- A random text; `specials` are texts to strew in.
function M.text(rnd, specials)
  local s = {}
  for i = 1, rnd(1, 6) == 1 and 80 or rnd(1, 14) do s[i] = atom(rnd, specials or {}) end
  return table.concat(s)
end

function M.hex(s)
  return (s:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

function M.unhex(s)
  return (s:gsub("%x%x", function(x) return string.char(tonumber(x, 16)) end))
end

--- Fails with both lists when they differ.
function M.same_ids(want, got, what)
  local same = #want == #got
  for i = 1, same and #want or 0 do
    same = same and want[i] == got[i]
  end
  if same then return end
  local a, b = table.concat(want, " "), table.concat(got, " ")
  error( ("%s\n  want %s\n  got  %s"):format(what, a:sub(1, 400), b:sub(1, 400)), 2)
end

return M
