-- LuaJIT 2.1.0-beta3 compiles a loop over pairs() in a function that calls
-- itself so that it may end before its first member: values of 25 and more
-- levels lost what lay below.
local json = require "wane.json"
local node = require "wane.schema.node"
local template = require "wane.template"

-- An object with `levels` objects under "x", each with a "y".
local function deep(levels)
  local top = {}
  local at = top
  for _ = 1, levels do
    at.x = { y = 1 }
    at = at.x
  end
  return top
end

local function count(text, letter) return select(2, text:gsub(letter, "")) end

describe("deep values", function()
  it("are whole in templates", function()
    local t = assert(template.compile "{{ v|tojson }}")
    for i = 1, 300 do
      local levels = 20 + i * 7 % 75
      assert.equal(levels, count(assert(t:render { v = deep(levels) }), "x"))
    end
  end)

  it("are refused at the same level every time", function()
    local loop = {}
    loop.x = loop
    for _ = 1, 500 do
      assert.error_matches(function() template.render("x", { a = loop }) end, "deeper than 100")
    end
  end)

  it("are whole in JSON and schemas", function()
    for i = 1, 1000 do
      local levels = 20 + i * 7 % 40
      assert.equal(levels, count(json.encode(deep(levels)), "x"))
      local n, found = node.convert(deep(levels), "", 0), 0
      while n.map.x do
        n, found = n.map.x, found + 1
      end
      assert.equal(levels, found)
    end
  end)
end)
