local core = require "wane.core"
local schema = require "wane.schema"
local support = require "spec.support"
local wane = require "wane"
local has_cjson, cjson = pcall(require, "cjson")

local DEMO = "examples/models/demo-f16.gguf"

describe("schema", function()
  local vocab, tokens
  support.check_leaks(function()
    vocab = assert(wane.vocab.open(DEMO))
    tokens = assert(core.grammar.tokens(vocab.handle))
  end, function()
    tokens:close()
    vocab:close()
    vocab, tokens = nil, nil
  end)

  local function takes(m, input)
    m:reset()
    for _, id in ipairs(vocab:encode(input, { special = false })) do
      if not m:accept(id) then return false end
    end
    return m:may_end()
  end

  local function check(text, good, bad)
    local g = assert(core.grammar.new(assert(schema.compile(text))))
    local m = assert(core.grammar.match(g, tokens))
    for _, s in ipairs(good) do assert(takes(m, s), ("%s does not take %s"):format(text, s)) end
    for _, s in ipairs(bad) do assert(not takes(m, s), ("%s takes %s"):format(text, s)) end
    m:close()
    g:close()
  end

  it("takes what is valid and nothing else", function()
    check('{"type":"integer","minimum":-3,"maximum":120}', { "-3", "0", "99", "120" }, { "-4", "121", "1.5", "007", '"1"' })
    check('{"type":"integer","exclusiveMinimum":9,"maximum":1000}', { "10", "1000" }, { "9", "1001" })
    check('{"type":"number","minimum":0.25,"maximum":0.75}', { "0.25", "0.50", "0.7499" }, { "0.24", "0.76", "1", "-0.3" })
    check('{"type":"string","minLength":2,"maxLength":3}', { '"ab"', '"a\\n"', '"\195\169\195\169\195\169"' }, { '"a"', '"abcd"' })
    check('{"type":"string","pattern":"^[A-Z]{2}-\\\\d{3,5}$"}', { '"AB-123"', '"ZZ-00000"' }, { '"A-123"', '"AB-12"', '"xAB-123"' })
    check('{"type":"string","pattern":"b+c"}', { '"abbcd"', '"bc"' }, { '"b"', '"ac"' })
    check('{"type":"string","format":"date"}', { '"2024-02-28"', '"1999-12-31"' }, { '"2024-13-01"', '"2023-02-30"', '"x"' })
    check('{"enum":["red",2,null,{"a":1}]}', { '"red"', "2", "null", '{"a":1}' }, { '"re"', "3", "red" })
    check('{"enum":[1,"a",30],"type":"integer","maximum":9}', { "1" }, { "30", '"a"' })
    check('{"type":["integer","null"]}', { "5", "null" }, { '"x"' })
    check('{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"null"},"c":{"const":1}},"required":["b"]}',
      { '{"b":null}', '{"a":1,"b":null,"c":1}', '{"b":null,"c":1}' }, { "{}", '{"a":1}', '{"b":null,"a":1}',
        '{"b":null,"d":1}' })
    check('{"type":"object","properties":{"ab":{"type":"null"}},"additionalProperties":{"type":"integer"}}',
      { "{}", '{"ab":null,"a":1,"abc":2}', '{"x":1}' }, { '{"ab":1}', '{"x":null}' })
    check('{"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3}', { "[1]", "[1,2,3]" }, { "[]", "[1,2,3,4]", "[null]" })
    check('{"type":"array","prefixItems":[{"type":"integer"},{"type":"null"}],"items":false}',
      { "[]", "[1]", "[1,null]" }, { "[null]", "[1,null,1]" })
    check('{"$ref":"#/$defs/n","$defs":{"n":{"type":"object","properties":{"k":{"$ref":"#/$defs/n"}},"additionalProperties":false}}}',
      { "{}", '{"k":{"k":{}}}' }, { '{"k":1}' })
    check('{"allOf":[{"properties":{"x":{"type":"integer","minimum":3}},"required":["x"]},{"type":"object","properties":{"x":{"maximum":5}}}]}',
      { '{"x":3}', '{"x":5}' }, { '{"x":2}', '{"x":6}', "{}" })
    check('{"oneOf":[{"type":"string","maxLength":1},{"type":"integer"}]}', { '"a"', "17" }, { "null" })
    check("true", { "1", '{"a":[true,false,null,1.5e3,"x"]}' }, { "x", "{" })
  end)

  it("takes patterns with lengths, with one another and with formats", function()
    check('{"type":"string","pattern":"^[a-z][a-z0-9]*$","maxLength":3,"minLength":2}', { '"ab"', '"a1z"' }, { '"a"', '"1a"', '"abcd"' })
    check('{"type":"string","allOf":[{"pattern":"a"},{"pattern":"b$"},{"pattern":"^.{3}$"}]}', { '"cab"', '"aab"', '"aéb"' },
      { '"ab"', '"ccb"', '"abc"', '"caab"' })
    check('{"type":"string","pattern":"(^a$)|(^b+c$)"}', { '"a"', '"bbc"' }, { '"aa"', '"xa"', '"bc "', '"b"' })
    check('{"type":"string","pattern":"^20","format":"date"}', { '"2024-02-28"' }, { '"1999-12-31"', '"20"' })
    check([[{"type":"string","pattern":"^\\\\\"?x$","maxLength":3}]], { [["\\x"]], [["\\\"x"]] }, { '"x"', [["\"x"]] })
    check('{"enum":["ab","b","abc",3],"pattern":"^a","maxLength":2}', { '"ab"', "3" }, { '"b"', '"abc"' })
  end)

  it("takes not", function()
    check('{"type":"string","not":{"enum":["a","ab"]},"maxLength":3}', { '"b"', '""', '"abc"', '"aa"' }, { '"a"', '"ab"', '"abcd"' })
    check('{"type":"string","not":{"pattern":"^x|yy"},"maxLength":4}', { '"y"', '"ax"', '"yxyx"' }, { '"x"', '"ayy"', '"xab"' })
    check('{"not":{"type":["object","array","string","number"]}}', { "null", "true" }, { "1", '"a"', "{}", "[]" })
    check('{"type":"integer","not":{"enum":[3,5]},"minimum":2,"maximum":6}', { "2", "4", "6" }, { "3", "5", "7" })
    check('{"type":"integer","not":{"minimum":3},"minimum":0}', { "0", "2" }, { "3", "-1" })
    check('{"type":"object","properties":{"a":{"type":"null"},"b":{"type":"null"}},"not":{"required":["a","b"]}}',
      { "{}", '{"a":null}', '{"b":null}' }, { '{"a":null,"b":null}' })
    check('{"type":"array","items":{"enum":[1,2,3]},"not":{"contains":{"const":2}}}', { "[]", "[1,3,1]" }, { "[2]", "[1,2]" })
    check('{"type":"boolean","not":{"const":true}}', { "false" }, { "true" })
    check('{"not":{"not":{"const":7}}}', { "7" }, { "8" })
    check('{"type":"object","properties":{"k":{"enum":["x","y"]}},"required":["k"],"not":{"properties":{"k":{"const":"x"}}}}', { '{"k":"y"}' },
      { '{"k":"x"}', "{}" })
  end)

  it("takes if, and what depends on properties", function()
    check('{"type":"object","properties":{"k":{"enum":["x","y"]},"n":{"type":"integer"}},"required":["k"],'
      .. '"if":{"properties":{"k":{"const":"x"}}},"then":{"required":["n"]},"else":{"properties":{"n":false}}}',
      { '{"k":"x","n":1}', '{"k":"y"}' }, { '{"k":"x"}', '{"k":"y","n":1}' })
    check('{"type":"object","properties":{"a":{"type":"null"},"b":{"type":"null"}},"dependentRequired":{"a":["b"]}}',
      { "{}", '{"b":null}', '{"a":null,"b":null}' }, { '{"a":null}' })
    check('{"type":"object","properties":{"a":{"type":"null"},"b":{"type":"integer"}},'
      .. '"dependencies":{"a":{"properties":{"b":{"minimum":5}},"required":["b"]}}}', { '{"b":1}', '{"a":null,"b":5}' },
      { '{"a":null}', '{"a":null,"b":4}' })
    check('{"type":"integer","minimum":0,"maximum":20,"if":{"maximum":9},"then":{"multipleOf":2}}', { "8", "11", "20" }, { "7", "21" })
  end)

  it("takes exactly one of schemas that may hold together", function()
    check('{"type":"object","properties":{"a":{"type":"null"},"b":{"type":"null"}},"oneOf":[{"required":["a"]},{"required":["b"]}]}',
      { '{"a":null}', '{"b":null}' }, { "{}", '{"a":null,"b":null}' })
    check('{"type":"integer","minimum":0,"maximum":9,"oneOf":[{"maximum":5},{"minimum":4}]}', { "3", "6" }, { "4", "5" })
    check('{"oneOf":[{"type":"string","pattern":"^a"},{"type":"string","pattern":"b$"}]}', { '"ac"', '"cb"' }, { '"ab"', '"c"' })
    check('{"oneOf":[{"properties":{"t":{"const":1},"v":{"type":"null"}},"required":["t"]},{"properties":{"t":{"const":2}},"required":["t"]}]}',
      { '{"t":1}', '{"t":2}', '{"t":1,"v":null}' }, { '{"t":3}', "{}", "5" })
  end)

  it("takes patternProperties, propertyNames and counted properties", function()
    check('{"type":"object","properties":{"a1":{"type":"null"}},"patternProperties":{"^a":{"type":["integer","null"]},"^b":{"type":"string"}},'
      .. '"additionalProperties":false}', { "{}", '{"a1":null,"a2":5,"b":"x"}', '{"b1":"","a":1}' }, { '{"a1":5}', '{"b":1}', '{"c":1}', '{"":1}' })
    check('{"type":"object","patternProperties":{"^x-":{"type":"null"}},"additionalProperties":{"type":"integer"}}',
      { '{"x-a":null,"y":1}', '{"x":2}' }, { '{"x-a":1}', '{"y":null}' })
    check('{"type":"object","propertyNames":{"pattern":"^[a-c]+$","maxLength":2},"additionalProperties":{"type":"null"}}', { '{"ab":null}', "{}" },
      { '{"abc":null}', '{"d":null}' })
    check('{"type":"object","propertyNames":{"enum":["x","y"]},"additionalProperties":{"type":"null"},"minProperties":1}',
      { '{"x":null}', '{"x":null,"y":null}' }, { "{}", '{"z":null}' })
    check('{"type":"object","properties":{"a":{"type":"null"},"b":{"type":"null"},"c":{"type":"null"}},"minProperties":1,"maxProperties":2}',
      { '{"a":null}', '{"b":null,"c":null}', '{"c":null}' }, { "{}", '{"a":null,"b":null,"c":null}' })
    check('{"type":"object","properties":{"a":{"type":"null"}},"required":["a"],'
      .. '"additionalProperties":{"type":"null"},"maxProperties":2,"minProperties":2}',
      { '{"a":null,"z":null}' }, { '{"a":null}', '{"a":null,"y":null,"z":null}' })
  end)

  it("takes contains, uniqueItems and multipleOf", function()
    check('{"type":"array","items":{"type":"integer"},"contains":{"const":7},"maxItems":3}', { "[7]", "[1,7]", "[1,2,7]", "[7,7,7]" },
      { "[]", "[1]", "[1,2,3]", "[1,2,3,7]" })
    check('{"type":"array","items":{"enum":[1,2]},"contains":{"const":1},"minContains":2,"maxContains":2}', { "[1,1]", "[2,1,2,1,2]" },
      { "[1]", "[1,1,1]", "[]" })
    check('{"type":"array","items":{"enum":["a","b",null]},"uniqueItems":true,"minItems":1}', { '["b","a"]', "[null]", '[null,"a","b"]' },
      { "[]", '["a","a"]', '["a","b","a"]' })
    check('{"type":"array","items":{"type":"integer","minimum":1,"maximum":8},"uniqueItems":true,"maxItems":3}', { "[]", "[1,8]", "[2,3,5]" },
      { "[8,1]", "[1,1]", "[1,2,3,4]" }) -- over six values: in their order only
    check('{"type":"integer","multipleOf":7,"minimum":-21}', { "-21", "-7", "0", "14", "700007" }, { "-28", "1", "15", "700008" })
    check('{"type":"integer","multipleOf":250,"minimum":1}', { "250", "1000", "123456750" }, { "0", "251", "10" })
    check('{"type":"number","multipleOf":0.25}', { "1", "0.25", "-3.75", "17.50" }, { "0.3", "1.125" })
    check('{"type":"number","multipleOf":0.01,"minimum":0,"maximum":5}', { "0", "4.99", "5", "0.10" }, { "5.01", "-1", "0.001" })
  end)

  it("takes what holds itself beside other keywords", function()
    check('{"$ref":"#/$defs/n","$defs":{"n":{"type":"object","properties":{"k":{"$ref":"#/$defs/n","maxProperties":1},"v":{"type":"null"}},'
      .. '"additionalProperties":false}}}', { "{}", '{"k":{"k":{}},"v":null}' }, { '{"k":{"k":{},"v":null}}' })
  end)

  it("takes Lua tables", function()
    check({ type = "array", items = { type = "boolean" }, maxItems = 1 }, { "[true]", "[]" }, { "[true,true]" })
    assert.error_matches(function() schema.compile(7) end, "schema%.compile: want JSON text or a table, got a number")
  end)

  it("refuses what it cannot say, with its path", function()
    local cases = {
      { '{"not":{}}', "EUNSUP", "schema: /: nothing is allowed" },
      { '{"not":{"format":"date"}}', "EUNSUP", "schema: /not: the opposite of 'format' is not supported" },
      { '{"not":{"type":"wat"}}', "EFORMAT", "/not/type: unknown type wat" },
      { '{"properties":{"x":{"unevaluatedProperties":false}}}', "EUNSUP", "schema: /properties/x/unevaluatedProperties: " },
      { '{"$dynamicRef":"#x"}', "EUNSUP", "/$dynamicRef" },
      { '{"type":"array","uniqueItems":true}', "EUNSUP", "/uniqueItems: only supported for items of up to 256 values" },
      { '{"items":{"enum":[1,2]},"uniqueItems":true,"minItems":3}', "EUNSUP", "more different items than there are" },
      { '{"type":"object","additionalProperties":{"type":"null"},"minProperties":2}', "EUNSUP", "/minProperties: cannot be met" },
      { '{"contains":{"type":"null"},"items":{"type":"integer"}}', "EUNSUP", "/contains: no array is allowed" },
      { '{"type":"string","pattern":"^a+$","minLength":3,"maxLength":2}', "EUNSUP", "minLength is above maxLength" },
      { '{"type":"string","pattern":"^a{3}$","maxLength":2}', "EUNSUP", "/pattern: no string is allowed" },
      { '{"type":"string","pattern":"^[a-z]+$","format":"date"}', "EUNSUP", "/pattern: no string is allowed" },
      { '{"type":"number","multipleOf":0.3}', "EUNSUP", "/multipleOf" },
      { '{"type":"integer","multipleOf":99991}', "EUNSUP", "/multipleOf: too many remainders" },
      { '{"type":"integer","multipleOf":0}', "EFORMAT", "/multipleOf: want a number above 0" },
      { '{"enum":5}', "EFORMAT", "/enum: want a list" }, { '{"required":"a"}', "EFORMAT", "/required: want a list of names" },
      { '{"minimum":"1"}', "EFORMAT", "/minimum: want a number" }, { '{"maxItems":1.5}', "EFORMAT", "/maxItems: want a whole number" },
      { '{"properties":[1]}', "EFORMAT", "/properties: want an object" },
      { '{"anyOf":[{"$ref":"#"}]}', "EFORMAT", "leads to itself" },
      { '{"type":"string","pattern":"(?=a)b"}', "EUNSUP", "/pattern: not supported" },
      { '{"type":"string","pattern":"(a)\\\\1"}', "EUNSUP", "/pattern" },
      { '{"not":{"format":"klingon"}}', "EUNSUP", "/not: the opposite of 'format'" },
      { '{"oneOf":[{"type":"number"},{"type":"integer"}]}', "EUNSUP", "/oneOf: alternatives 0 and 1 may both match" },
      { '{"$ref":"https://example.org/x"}', "EUNSUP", "outside of the schema" },
      { '{"$ref":"#/$defs/x"}', "EFORMAT", "nothing is at" },
      { '{"$ref":"#/a","a":{"$ref":"#/b"},"b":{"$ref":"#/a"}}', "EFORMAT", "leads to itself" },
      { '{"type":"integer","minimum":5,"maximum":4}', "EUNSUP", "no number is in this range" },
      { '{"type":"wat"}', "EFORMAT", "unknown type" }, { "[1", "EFORMAT", "schema: " },
      { '{"properties":{"a":false},"required":["a"]}', "EUNSUP", "/properties/a: required" },
    }
    for _, c in ipairs(cases) do
      local g, message, code = schema.compile(c[1])
      assert.is_nil(g, c[1])
      assert(message:find(c[3], 1, true), c[1] .. ": " .. message)
      assert.equals(c[2], code, c[1])
    end
  end)

  it("takes formats that nobody knows for annotations, and says so", function()
    local text = '{"type":"object","properties":{"a":{"type":"string","format":"klingon","maxLength":2},'
      .. '"b":{"type":"array","items":{"format":"klingon"}},"c":{"type":"string","format":"date"}},"additionalProperties":false}'
    check(text, { '{"a":"xy"}', '{"b":["x",""]}', '{"c":"2024-02-28"}' }, { '{"a":"xyz"}', '{"b":[1]}', '{"c":"x"}' })
    check('{"enum":["a","bc"],"format":"klingon","maxLength":1}', { '"a"' }, { '"bc"' })
    local notes = {}
    assert(schema.compile(text, { notes = notes }))
    assert.same({ "schema: /properties/a/format: the format 'klingon' is not known: any string",
      "schema: /properties/b/items/format: the format 'klingon' is not known: any string" }, notes)
    assert(schema.compile('{"format":"date"}', { notes = notes }))
    assert.equals(2, #notes)
    local model = assert(wane.load(DEMO, { context = 64 }))
    for _ = 1, 2 do -- made, and found again
      local gen = model:generate("", { schema = '{"format":"klingon","maxLength":3}', max_tokens = 2 })
      assert.same({ "schema: /format: the format 'klingon' is not known: any string" }, gen:stats().notes)
      gen:close()
      assert.equals(1, #gen:stats().notes)
    end
    local s = assert(require("wane.sample").new(model, { schema = { format = "klingon" } }))
    assert.equals(1, #s.notes)
    s:close()
    model:close()
  end)

  it("leaves out the keywords that it is told to, with notes", function()
    local text = '{"type":"object","properties":{"uniqueItems":{"type":"array","items":{"type":"string","pattern":"(?=a)"},"uniqueItems":true},'
      .. '"a":{"anyOf":[{"type":"array","uniqueItems":true,"items":{"type":"null"}}]}},"additionalProperties":false,"default":{"uniqueItems":1}}'
    assert.is_nil((schema.compile(text)))
    local notes = {}
    local grammar = assert(schema.compile(text, { ignore = { "uniqueItems", "pattern" }, notes = notes }))
    assert.same({ "schema: /properties/uniqueItems/items/pattern: left out", "schema: /properties/uniqueItems/uniqueItems: left out",
      "schema: /properties/a/anyOf/0/uniqueItems: left out" }, notes)
    local g = assert(core.grammar.new(grammar))
    local m = assert(core.grammar.match(g, tokens))
    assert.is_true(takes(m, '{"uniqueItems":["b","b"],"a":[null,null]}'))
    m:close()
    g:close()
    assert.error_matches(function() schema.compile("{}", { ignore = { "uniqueitems" } }) end,
      "option 'ignore%[1%]': want a keyword of JSON Schema, got uniqueitems")
    assert.error_matches(function() schema.compile("{}", { ignore = { "$ref" } }) end, "want a keyword")
    assert.error_matches(function() schema.compile("{}", { ignroe = {} }) end, "ignroe")
  end)

  it("gives texts that parse, however they are chosen", function()
    if not has_cjson then return pending "skipped: lua-cjson is missing" end
    local text = '{"type":"object","properties":{"name":{"type":"string","maxLength":12},'
      .. '"age":{"type":"integer","minimum":0,"maximum":130},'
      .. '"tags":{"type":"array","items":{"enum":["a","b"]},"maxItems":3},"x":{"type":"number"}},"required":["name","age"],'
      .. '"additionalProperties":false}'
    local g = assert(core.grammar.new(assert(schema.compile(text))))
    local n = #vocab.handle
    local logits = core.quant.buffer(1, n)
    local ended = 0
    for seed = 1, 40 do
      local s = assert(core.sample.new { n_vocab = n, temperature = 2, top_k = 0, top_p = 1, min_p = 0, seed = seed })
      assert(s:constrain(g, tokens))
      local ids = {}
      for i = 1, 300 do
        for _, ch in ipairs { '"', "}", "]" } do logits[vocab:encode(ch, { special = false })[1] + 1] = i / 10 end
        for _, id in ipairs(assert(s:forced())) do
          assert(s:take(id))
          ids[#ids + 1] = id
        end
        if s:complete() then break end
        local id = assert(s:pick(logits))
        assert(s:take(id))
        if vocab.handle:is_eog(id) then break end
        ids[#ids + 1] = id
      end
      if s:complete() then
        local v = cjson.decode((assert(vocab:decode(ids))))
        assert(type(v.name) == "string" and v.age >= 0 and v.age <= 130)
        ended = ended + 1
      end
      s:close()
    end
    assert.is_true(ended > 20)
    g:close()
  end)
end)
