--- Pieces of grammar text: literals, classes of characters inside JSON strings,
--- names of rules. Used by the schema compiler; characters are code points.
local M = {}

--- UTF-8 of a code point.
function M.utf8(c)
  local function tail(shift) return string.char(0x80 + math.floor(c / shift) % 64) end
  if c < 0x80 then return string.char(c) end
  if c < 0x800 then return string.char(0xC0 + math.floor(c / 64)) .. tail(1) end
  if c < 0x10000 then return string.char(0xE0 + math.floor(c / 4096)) .. tail(64) .. tail(1) end
  return string.char(0xF0 + math.floor(c / 262144)) .. tail(4096) .. tail(64) .. tail(1)
end

--- Code points of a UTF-8 string.
function M.points(s)
  local out = {}
  for ch in s:gmatch "[%z\1-\127\194-\244][\128-\191]*" do
    local b = ch:byte()
    local c = b < 0x80 and b or b < 0xE0 and b % 32 or b < 0xF0 and b % 16 or b % 8
    for i = 2, #ch do c = c * 64 + ch:byte(i) % 64 end
    out[#out + 1] = c
  end
  return out
end

--- A grammar literal of a byte string.
function M.literal(s)
  return '"' .. s:gsub('[%c"\\\127]', function(c)
    local short = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }
    return short[c] or ("\\x%02X"):format(c:byte())
  end) .. '"'
end

local function escaped(c)
  if c < 32 or c == 127 then return ("\\x%02X"):format(c) end
  if c == 92 or c == 91 or c == 93 or c == 94 or c == 45 or c == 34 then return "\\" .. string.char(c) end
  return M.utf8(c)
end

--- A grammar class of sorted ranges { { low, high }, ... }.
function M.class(ranges)
  local out = {}
  for _, r in ipairs(ranges) do out[#out + 1] = r[1] == r[2] and escaped(r[1]) or escaped(r[1]) .. "-" .. escaped(r[2]) end
  return "[" .. table.concat(out) .. "]"
end

--- Sorted, joined ranges without surrogates.
function M.normal(ranges)
  local list, out = {}, {}
  for _, r in ipairs(ranges) do
    for _, part in ipairs { { r[1], math.min(r[2], 0xD7FF) }, { math.max(r[1], 0xE000), r[2] } } do
      if part[1] <= part[2] then list[#list + 1] = part end
    end
  end
  table.sort(list, function(a, b) return a[1] < b[1] end)
  for _, r in ipairs(list) do
    local last = out[#out]
    if last and r[1] <= last[2] + 1 then
      last[2] = math.max(last[2], r[2])
    else
      out[#out + 1] = { r[1], r[2] }
    end
  end
  return out
end

--- All characters (up to `top`) that are not in the ranges.
function M.complement(ranges, top)
  local out, from = {}, 0
  for _, r in ipairs(M.normal(ranges)) do
    if r[1] > from then out[#out + 1] = { from, math.min(r[1] - 1, top) } end
    from = math.max(from, r[2] + 1)
  end
  if from <= top then out[#out + 1] = { from, top } end
  local kept = {}
  for _, r in ipairs(out) do if r[1] <= r[2] then kept[#kept + 1] = r end end
  return M.normal(kept)
end

local SHORT = { [8] = "b", [9] = "t", [10] = "n", [12] = "f", [13] = "r", [34] = '"', [92] = "\\" }

--- One of the characters as it is written in a JSON string: itself, or an
--- escape. nil when the set is empty.
function M.json_class(ranges)
  local special = { { 0, 31 }, { 34, 34 }, { 92, 92 } }
  local inside = M.complement(special, 0x10FFFF)
  local plain, ways = {}, {}
  for _, r in ipairs(M.normal(ranges)) do
    for _, s in ipairs(inside) do
      local low, high = math.max(r[1], s[1]), math.min(r[2], s[2])
      if low <= high then plain[#plain + 1] = { low, high } end
    end
    for c = 0, 92 do
      if c >= r[1] and c <= r[2] and (c < 32 or c == 34 or c == 92) then
        ways[#ways + 1] = M.literal("\\" .. (SHORT[c] or ("u%04x"):format(c)))
      end
    end
  end
  if #plain > 0 then table.insert(ways, 1, M.class(plain)) end
  if #ways == 0 then return nil end
  return #ways == 1 and ways[1] or "(" .. table.concat(ways, " | ") .. ")"
end

--- "{m,n}" after an element.
function M.times(min, max)
  if min == 0 and not max then return "*" end
  if min == 1 and not max then return "+" end
  if min == 0 and max == 1 then return "?" end
  if min == max then return ("{%d}"):format(min) end
  return max and ("{%d,%d}"):format(min, max) or ("{%d,}"):format(min)
end

return M
