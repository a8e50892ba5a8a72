local json = require "wane.json"

describe("json", function()
  it("reads what RFC 8259 allows", function()
    local v = assert(json.decode ' {"a": [1, -2.5, 1e3, true, false, null], "b": {"c": "\\u00e9\\n\\ud83d\\ude00"}} ')
    assert.equals(1, v.a[1])
    assert.equals(-2.5, v.a[2])
    assert.equals(1000, v.a[3])
    assert.is_true(v.a[4])
    assert.is_false(v.a[5])
    assert.equals(json.null, v.a[6])
    assert.equals("\195\169\n\240\159\152\128", v.b.c)
    assert.equals(0, (assert(json.decode "\239\187\1910")))
    assert.is_false((json.decode "false"))
  end)

  it("refuses everything else, and says where", function()
    for text, want in pairs {
      [""] = "line 1, column 1: want a value", ["01"] = "column 1: want a value", ["[1,]"] = "column 4: want a value",
      ["[1\n,\n x]"] = "line 3, column 2: want a value", ['{"a" 1}'] = "want a colon", ["{a: 1}"] = "want a key in quotes",
      ['"a'] = "has no end", ["[1 2]"] = "want , or ]", ['{"a":1 "b":2}'] = "want , or }", ['"\\x"'] = "unknown escape",
      ["1 2"] = "text behind the value", ["1."] = "text behind", ["+1"] = "want a value", [".5"] = "want a value",
      ["1e"] = "text behind", ["nul"] = "want a value", ['"\t"'] = "control character", ['"\\u12"'] = "four hexadecimal",
      ["NaN"] = "want a value", ["0x10"] = "text behind", ["{} // x"] = "text behind", ["'a'"] = "want a value", ["-"] = "want a value",
      ["\0"] = "want a value",
    } do
      local v, message, code = json.decode(text)
      assert.is_nil(v)
      assert.equals("EFORMAT", code)
      assert.truthy(message:find(want, 1, true), message)
    end
  end)

  it("has limits", function()
    local v, message, code = json.decode(("["):rep(101))
    assert.is_nil(v)
    assert.equals("ELIMIT", code)
    assert.truthy(message:find "deeper than 100")
    assert.is_table(json.decode(("["):rep(100) .. ("]"):rep(100)))
    v, message, code = json.decode("[1,2,3]", { max_bytes = 6 })
    assert.is_nil(v)
    assert.equals("ELIMIT", code)
    assert.truthy(message:find "at most 6")
    local loop = {}
    loop.loop = loop
    assert.has_error(function() json.encode(loop) end,
      "wane: json.encode: want at most 200 levels, got more (a table that contains itself?)")
  end)

  it("keeps whole numbers whole", function()
    assert.equals("[9007199254740991,-1,0,0,1e+300,0.1,1.5]",
      json.encode { 2 ^ 53 - 1, -1, 0, -0.0, 1e300, 0.1, 1.5 })
    if not jit then
      local text = "[9223372036854775807,-9223372036854775808,9007199254740993]"
      assert.equals(text, json.encode(json.decode(text)))
    end
    for _, v in ipairs { 1 / 3, 1e-300, 123456.789, 2 ^ 60 } do
      assert.equals(v, json.decode(json.encode(v)) + 0.0)
    end
    assert.equals("[null,null,null]", json.encode { 0 / 0, math.huge, -math.huge })
  end)

  it("writes valid UTF-8 from any bytes", function()
    local bad = "\239\191\189"
    for bytes, want in pairs {
      ["caf\233"] = "caf" .. bad, ["\195"] = bad, ["\195\169"] = "\195\169", ["\192\175"] = bad .. bad,
      ["\237\160\128"] = bad .. bad .. bad, ["\240\159\152"] = bad, ["\240\159\152x"] = bad .. "x",
      ["\244\144\128\128"] = bad .. bad .. bad .. bad, ["\255a\128"] = bad .. "a" .. bad, ["\226\130"] = bad,
    } do
      assert.equals(want, json.utf8(bytes))
      assert.equals('"' .. want .. '"', json.encode(bytes))
    end
    assert.equals('"\\u0000\\n\\"\\\\"', json.encode '\0\n"\\')
    -- random bytes: what is written is read back, and is a fixed point
    local seed = 7
    for _ = 1, 300 do
      local t = {}
      for i = 1, 12 do
        seed = (seed * 1103515245 + 12345) % 2147483648
        t[i] = string.char(math.floor(seed / 65536) % 256)
      end
      local s = table.concat(t)
      local clean = json.utf8(s)
      assert.equals(clean, json.utf8(clean))
      assert.equals(clean, (assert(json.decode(json.encode(s)))))
    end
    assert.equals(bad, (json.decode '"\\ud800"'))
    assert.equals(bad, (json.decode '"\233"'))
  end)

  it("tells lists from objects, and keeps order when asked", function()
    assert.equals('{"a":[],"b":{}}', json.encode(json.decode '{"b": {}, "a": []}'))
    assert.equals("{}", json.encode(json.object {}))
    assert.equals("[]", json.encode {})
    assert.equals('{"z":1,"a":null}', json.encode(json.ordered { { "z", 1 }, { "a" } }))
    local v = json.decode('{"z": 1, "a": {"y": 2}}', { ordered = true })
    assert.equals("z", v[1][1])
    assert.equals('{"z":1,"a":{"y":2}}', json.encode(v))
    assert.equals('{\n  "a": [\n    1\n  ],\n  "b": {}\n}', json.encode({ a = { 1 }, b = json.object {} }, { indent = 2 }))
    assert.is_nil(json.decode("[null]", { null = false })[2])
    assert.is_false(json.decode("[null]", { null = false })[1])
    assert.equals("f1.5", json.decode("[1.5]", { float = function(n) return "f" .. n end })[1])
  end)

  it("raises on misuse", function()
    assert.has_error(function() json.encode(print) end, "wane: json.encode: want values that JSON has, got a function")
    assert.has_error(function() json.encode { [true] = 1 } end, "wane: json.encode: keys: want strings, got true")
    assert.has_error(function() json.decode() end, "wane: json.decode: text: want a string, got nil")
    assert.has_error(function() json.decode("1", { depth = 1 }) end,
      "wane: json.decode: unknown option 'depth': want one of float, max_bytes, max_depth, null, ordered")
  end)
end)
