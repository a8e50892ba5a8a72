--- Answers: calls written as elements within elements, between the marks of a
--- layout: open NAME key="value" open_end ... close NAME close_end.
---
---     ]<]minimax[>[<invoke name="f">]<]minimax[>[<city>Paris]<]minimax[>[</city>]<]minimax[>[</invoke>
---     <|open|>call tool="f"<|sep|><|open|>argument key="city" type="string"<|sep|>Paris<|close|>argument<|sep|><|close|>call<|sep|>
---
--- The first attribute of a call is its name. An argument is called by its
--- `key`, else by its element; an element of elements is an object, or a list
--- when all are items.
local M = {}

local json = require "wane.template.json"
local write = require "wane.answer.write"

local MOST_DEEP, MOST_NODES = 64, 20000

local ENTITIES = { ["&quot;"] = '"', ["&amp;"] = "&", ["&lt;"] = "<", ["&gt;"] = ">" }

local function attributes(head)
  local out = {}
  for key, value in head:gmatch '([%w_-]+)="([^"]*)"' do
    value = value:gsub("&%a+;", ENTITIES)
    out[key], out.first = value, out.first or value
  end
  return out
end

--- The elements of a text, { name, attributes, text, ... }, or nil when they
--- do not close as they open.
local function parse(marks, s)
  local root = { text = {} }
  local path, at, n = { root }, 1, 0
  while true do
    local node = path[#path]
    local a, b = s:find(marks.open, at, true)
    local c, d = s:find(marks.close, at, true)
    if not a and not c then break end
    -- one mark may begin within the other: the earlier, of two the longer
    local closes = c and (not a or c < a or (c == a and #marks.close > #marks.open))
    local from, to = a, b
    if closes then from, to = c, d end
    node.text[#node.text + 1] = s:sub(at, from - 1)
    local stop = closes and marks.close_end or marks.open_end
    local e, f = s:find(stop, to + 1, true)
    if not e then return nil end
    local head = s:sub(to + 1, e - 1)
    local name = head:match "^%s*(%S+)"
    if closes then
      if #path == 1 or name ~= node.name then return nil end
      path[#path] = nil
    else
      n = n + 1
      if not name or #path > MOST_DEEP or n > MOST_NODES then return nil end
      local child = { name = name, attributes = attributes(head), text = {} }
      node[#node + 1], path[#path + 1] = child, child
    end
    at = f + 1
  end
  return #path == 1 and root or nil
end

local function is_json(text) return (pcall(json.decode, text)) end

--- An element's value as JSON; kind: what its type is known to be.
local function value(node, kind)
  if #node == 0 then
    local text = table.concat(node.text)
    if kind == "string" or not is_json(text) or text:find '^%s*"' then return write.string(text) end
    return (text:gsub("^%s+", ""):gsub("%s+$", ""))
  end
  local out, list = {}, true
  for _, x in ipairs(node) do list = list and x.name == "item" end
  for i, x in ipairs(node) do
    local key = x.attributes.key or x.name
    out[i] = (list and "" or write.string(key) .. ": ") .. value(x, x.attributes.type)
  end
  local text = table.concat(out, ", ")
  return list and "[" .. text .. "]" or "{" .. text .. "}"
end

--- The calls of a text; schema(name) tells the types of arguments.
---@return table[]? calls  { name, arguments }
function M.calls(marks, s, schema)
  local root, out = parse(marks, s), {}
  for i, call in ipairs(root or {}) do
    local name = call.attributes.first
    if not name then return nil end
    local types, args = schema(name), {}
    for k, x in ipairs(call) do
      local key = x.attributes.key or x.name
      args[k] = write.string(key) .. ": " .. value(x, x.attributes.type or types(key))
    end
    local text = "{" .. table.concat(args, ", ") .. "}"
    if #call == 1 and call[1].name == "json" then text = table.concat(call[1].text) end
    out[i] = { name = name, arguments = text }
  end
  return out
end

return M
