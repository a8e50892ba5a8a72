local options = require "wane.options"

-- The message of an error, without the place before it.
local function message_of(f, ...)
  local ok, why = pcall(f, ...)
  assert.is_false(ok)
  return (tostring(why):gsub("^[^ ]+:%d+: ", ""))
end

describe("options", function()
  local check = options.checker("thing.make", {
    n = options.integer(1, 8), how = options.one_of { "fast", "good" }, name = "string", ids = options.list "integer",
    f = "function", x = options.number(0), flag = "boolean", to = "path", any = "any",
    text = options.either("string", options.list("string", 1)),
  }, { n = 4 })

  it("copies and fills in", function()
    local given = { how = "good" }
    local o = check(given)
    assert.same({ how = "good", n = 4 }, o)
    assert.same({ how = "good" }, given)
    assert.same({ n = 4 }, check(nil))
    assert.same({ n = 2 }, check(setmetatable({}, { __index = { n = 2 } })))
    assert.is_false(check { flag = false }.flag)
  end)

  it("says what is wanted and what was found", function()
    for text, opts in pairs {
      ["wane: thing.make: options: want a table, got 5"] = 5,
      ["wane: thing.make: option 'n': want an integer from 1 to 8, got 0"] = { n = 0 },
      ["wane: thing.make: option 'n': want an integer from 1 to 8, got 1.5"] = { n = 1.5 },
      ["wane: thing.make: option 'n': want an integer from 1 to 8, got nan"] = { n = 0 / 0 },
      ["wane: thing.make: option 'n': want an integer from 1 to 8, got inf"] = { n = math.huge },
      ['wane: thing.make: option \'n\': want an integer from 1 to 8, got "3"'] = { n = "3" },
      ['wane: thing.make: option \'how\': want "fast" or "good", got "bad"'] = { how = "bad" },
      ["wane: thing.make: option 'name': want a string, got a table"] = { name = {} },
      ["wane: thing.make: option 'ids': want a list of integers, got a table"] = { ids = { 1, "x" } },
      ["wane: thing.make: option 'f': want a function, got true"] = { f = true },
      ["wane: thing.make: option 'x': want a number of at least 0, got -0.5"] = { x = -0.5 },
      ["wane: thing.make: option 'flag': want true or false, got 1"] = { flag = 1 },
      ['wane: thing.make: option \'to\': want a path (a string, not empty, without NUL), got ""'] = { to = "" },
      ["wane: thing.make: option 'text': want a string, or a list of strings, at least 1, got a table"] = { text = {} },
    } do
      assert.equals(text, message_of(check, opts))
    end
    assert.truthy(message_of(check, { colour = 1 }):find("wane: thing.make: unknown option 'colour': want one of any, f, ", 1, true))
    assert.truthy(message_of(check, { "x" }):find("unknown option '1'", 1, true))
    assert.truthy(message_of(check, { name = 1 / 3 }):find "got 0%.333")
  end)

  it("tells the same one of several mistakes, whatever the order of a table", function()
    for _ = 1, 20 do -- tables of different seeds and growth
      local types, wrong, strange = {}, {}, {}
      for i = 1, 40 do
        types[("o%02d"):format(i)], wrong[("o%02d"):format(41 - i)] = "integer", "x"
        strange[("x%02d"):format(41 - i)] = 1
      end
      local many = options.checker("f", types)
      assert.equals("wane: f: option 'o01': want an integer, got \"x\"", message_of(many, wrong))
      assert.equals(1, message_of(many, strange):find("wane: f: unknown option 'x01': want one of o01, o02, ", 1, true))
      wrong.z = 1 -- an unknown name is told before a wrong value
      assert.truthy(message_of(many, wrong):find("unknown option 'z'", 1, true))
    end
  end)

  it("keeps bytes of others out of messages", function()
    local text = message_of(check, { how = ("\27[31m"):rep(20) })
    assert.is_nil(text:find "\27")
    assert.is_true(#text < 120)
  end)

  it("wants what is required, and checks arguments", function()
    local strict = options.checker("f", { from = options.required "path" })
    assert.equals("wane: f: option 'from' is missing: want a path (a string, not empty, without NUL)", message_of(strict, {}))
    assert.equals("a", strict({ from = "a" }).from)
    assert.equals("wane: f: path: want a string, got nil", message_of(options.argument, "f", "path", nil, "string"))
    assert.equals(3, options.argument("f", "n", 3, options.integer(1)))
    assert.equals("wane: f: option 'a': want no b beside it, got 1", message_of(options.fail, "f", "a", "no b beside it", 1))
  end)

  it("blames the caller's line", function()
    local function api(o) local checked = check(o) return checked end
    local ok, why = pcall(function() local r = api { n = 0 } return r end)
    assert.is_false(ok)
    assert.truthy(why:find "options_spec%.lua:%d+: wane: thing%.make")
  end)

  it("takes lists without holes and callable tables", function()
    assert.equals(1, check({ ids = { 7 } }).ids[1] - 6)
    assert.truthy(message_of(check, { ids = { 1, nil, 3, n = 3 } }):find "list of integers")
    assert.is_table(check({ f = setmetatable({}, { __call = function() end }) }).f)
  end)
end)
