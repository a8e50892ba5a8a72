--- Chat templates: values laid out in lines of 80 characters, keys in order, as
--- Python's pprint has them.
local M = {}

local V = require "wane.template.value"
local operators = require "wane.template.operators"
local repr = require "wane.template.repr"
local U = require "wane.template.unicode"
local bytes, kind = V.bytes, V.kind

local WIDTH = 80

--- A copy with all keys in order where they have one.
local function ordered(st, v, level)
  if level > 100 then V.fail(nil, "a value nests deeper than 100", "ELIMIT") end
  st:spend(4)
  local k = kind(v)
  if k == "arr" then
    local out = {}
    for i = 1, v.n do out[i] = ordered(st, v[i], level + 1) end
    return V.array(out, v.n, v.tuple)
  end
  if k ~= "obj" then return v end
  local order, out = {}, V.object()
  for i = 1, v.n do order[i] = i end
  order = require "wane.template.sequences".sorted(st, order, v.n, function(a, b)
    local ok, c = pcall(operators.order, st, v.keys[a], v.keys[b])
    if ok then return c == -1 end
    return V.type_name(v.keys[a]) < V.type_name(v.keys[b])
  end)
  for _, i in ipairs(order) do V.set(out, v.keys[i], ordered(st, v.vals[i], level + 1)) end
  return out
end

local function width_of(v, st) return U.len(bytes(repr.repr(v, st))) end

local layout

local function text_layout(st, s, put, indent, allowance, level)
  local strings = require "wane.template.strings"
  local lines, chunks = strings.lines(st, s), {}
  if level == 1 then indent, allowance = indent + 1, allowance + 1 end
  for i, p in ipairs(lines) do
    local line, most = s:sub(p[1], p[2] + p[3]), WIDTH - indent
    local last = i == #lines
    if #repr.quoted(line) <= most - (last and allowance or 0) then
      chunks[#chunks + 1] = repr.quoted(line)
    else
      local parts, current = {}, ""
      for word, blank in line:gmatch "(%S*)(%s*)" do
        if word ~= "" or blank ~= "" then parts[#parts + 1] = word .. blank end
      end
      for j, part in ipairs(parts) do
        st:spend(4)
        if j == #parts and last then most = most - allowance end
        if U.len(repr.quoted(current .. part)) > most then
          if current ~= "" then chunks[#chunks + 1] = repr.quoted(current) end
          current = part
        else
          current = current .. part
        end
      end
      if current ~= "" then chunks[#chunks + 1] = repr.quoted(current) end
    end
  end
  if #chunks <= 1 then return put(chunks[1] or repr.quoted(s)) end
  put((level == 1 and "(" or "") .. table.concat(chunks, "\n" .. (" "):rep(indent)) .. (level == 1 and ")" or ""))
end

function layout(st, v, put, indent, allowance, level)
  local text = bytes(repr.repr(v, st))
  local k = kind(v)
  if U.len(text) <= WIDTH - indent - allowance then return put(text) end
  if k == "str" and not (type(v) == "table" and v.safe) then return text_layout(st, bytes(v), put, indent, allowance, level) end
  if k ~= "arr" and k ~= "obj" then return put(text) end
  local close = k == "obj" and "}" or v.tuple and (v.n == 1 and ",)" or ")") or "]"
  put(k == "obj" and "{" or v.tuple and "(" or "[")
  allowance, indent = allowance + #close, indent + 1
  for i = 1, v.n do
    if i > 1 then put(",\n" .. (" "):rep(indent)) end
    local rest = i == v.n and allowance or 1
    if k == "obj" then
      put(bytes(repr.repr(v.keys[i], st)) .. ": ")
      layout(st, v.vals[i], put, indent + width_of(v.keys[i], st) + 2, rest, level + 1)
    else
      layout(st, v[i], put, indent, rest, level + 1)
    end
  end
  put(close)
end

--- The text of a value, marked when some of it came from outside.
function M.format(st, v)
  v = ordered(st, v, 0)
  local out = {}
  layout(st, v, function(s)
    st:room(#s)
    out[#out + 1] = s
  end, 0, 0, 1)
  return V.like(table.concat(out), repr.repr(v, st))
end

return M
