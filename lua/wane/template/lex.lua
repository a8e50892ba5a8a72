--- Chat templates, first step: source text to tokens.
---
--- Text outside of blocks keeps its white space, with the settings that chat
--- templates assume: a line end after a block goes away (trim_blocks), blanks
--- before a block that begins a line too (lstrip_blocks), `-` next to a brace
--- takes all white space on its side, one line end at the very end is dropped.
---
--- A token is { kind, value, pos }. Kinds: "text", "comment", "{%", "%}",
--- "{{", "}}", "name", "int", "float", "str", and every operator under its own
--- spelling. Errors are raised as tables { pos, message, code }.
local M = {}

local fail = require("wane.template.value").fail

--- What ends or joins expressions; the longest that fits counts. (Classes
--- are spelled out in all patterns here: what %a means depends on the locale.)
local OPERATORS = {}
for _, op in ipairs {
  "-%}", "-}}", "%}", "}}", "<=", ">=", "==", "!=", "**", "//",
  "(", ")", "{", "}", "[", "]", ",", ".", ":", "|", "<", ">", "+", "-", "~", "*", "/", "%", "=",
} do OPERATORS[op] = true end

local ESCAPES = {
  n = "\n", t = "\t", r = "\r", b = "\b", f = "\f", v = "\v", ["\\"] = "\\", ["'"] = "'", ['"'] = '"',
}

--- After these, + and - join two operands; elsewhere they are signs.
local OPERANDS = { name = true, int = true, float = true, str = true, [")"] = true, ["]"] = true, ["}"] = true }

--- The text from `start` up to the next block, trimmed on both sides, and
--- where the block begins. `after` is what closed the block before: nil, "",
--- "%}" "#}" (a line end goes), or the same with "-" in front.
local function text_before(src, start, after)
  local stop = src:find("{[%%{#]", start)
  local text = src:sub(start, stop and stop - 1)
  local block = stop and src:sub(stop, stop + 2) or ""
  if block:find "^{[%%#]" then
    local line = text:match "^.*()\n"
    local tail = line and text:sub(line + 1) or text
    if not tail:find "[^ \t\n\v\f\r]" and (line or start == 1) then text = text:sub(1, #text - #tail) end
  end
  if after:find "^%-?[%%#]" and text:sub(1, 1) == "\n" then text = text:sub(2) end
  if after:sub(1, 1) == "-" then text = text:match "^[ \t\r\n]*(.*)$" end
  if block:sub(3) == "-" then text = text:match "^(.-)[ \t\r\n]*$" end
  return text, stop or #src + 1
end

--- A quoted string from its opening quote: value and the position behind it.
local function quoted(src, pos)
  local quote, parts, at = src:sub(pos, pos), {}, pos + 1
  while true do
    local stop = src:find("[\\" .. quote .. "]", at)
    if not stop then fail(pos, "this string has no end") end
    parts[#parts + 1] = src:sub(at, stop - 1)
    if src:sub(stop, stop) == quote then return table.concat(parts), stop + 1 end
    local escaped = ESCAPES[src:sub(stop + 1, stop + 1)]
    if not escaped then fail(stop, "unknown escape in a string") end
    parts[#parts + 1] = escaped
    at = stop + 2
  end
end

local function operator_at(src, pos, depth)
  for n = 3, 1, -1 do
    local op = src:sub(pos, pos + n - 1)
    if OPERATORS[op] and not (depth > 0 and op == "}}") then return op end
  end
end

--- A comment from its "{#": the token, and the position behind it.
local function comment(src, pos)
  local stop = src:find("#}", pos + 2, true)
  if not stop then fail(pos, "this comment has no end") end
  return stop + 2, src:sub(stop - 1, stop - 1) == "-" and "-#}" or "#}"
end

--- The token at pos inside a block (no white space there): kind, value, and
--- the position behind it. `last` is the kind of the token before.
local function inside(src, pos, last, depth)
  local c = src:sub(pos, pos)
  if c:find "[A-Za-z_]" then
    local word = src:match("^[A-Za-z0-9_]+", pos)
    return "name", word, pos + #word
  end
  local sign = (c == "-" or c == "+") and not OPERANDS[last] and not src:find("^%-[%%}]}", pos) and c or ""
  local digits = src:match("^[0-9]+", pos + #sign)
  if digits then
    local whole = src:match("^[0-9]+%.[0-9]+", pos + #sign) or digits
    return whole == digits and "int" or "float", tonumber(sign == "-" and "-" .. whole or whole), pos + #sign + #whole
  end
  if c == "'" or c == '"' then
    local value, behind = quoted(src, pos)
    return "str", value, behind
  end
  local op = operator_at(src, pos, depth)
  if not op then fail(pos, "unexpected character") end
  return op:match "^%-?(%%})$" or op:match "^%-?(}})$" or op, op, pos + #op
end

--- All tokens of a template; the source as positions count in it.
---@param source string
---@return table tokens
---@return string source
function M.tokens(source)
  local src = source:gsub("\r\n", "\n"):gsub("\r", "\n")
  if source:sub(-1) == "\n" then src = src:sub(1, -2) end
  local tokens, pos, after = {}, 1, ""
  while pos <= #src do
    local text, block = text_before(src, pos, after)
    if text ~= "" then tokens[#tokens + 1] = { "text", text, pos } end
    pos = block
    if pos > #src then break end
    if src:sub(pos, pos + 1) == "{#" then
      pos, after = comment(src, pos)
    else
      local open, depth, last = src:sub(pos, pos + 1), 0, ""
      local opened = pos
      tokens[#tokens + 1] = { open, open, pos }
      pos = pos + 2
      if src:find("^[%-+]", pos) then pos = pos + 1 end
      repeat
        pos = src:find("[^ \t\n\v\f\r]", pos)
        if not pos then fail(opened, "this block has no end") end
        local at, value = pos
        last, value, pos = inside(src, pos, last, depth)
        tokens[#tokens + 1] = { last, value, at }
        if last == "{" then depth = depth + 1 elseif last == "}" then depth = depth - 1 end
      until last == "%}" or last == "}}"
      after = tokens[#tokens][2]
    end
  end
  return tokens, src
end

return M
