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

  it("takes Lua tables", function()
    check({ type = "array", items = { type = "boolean" }, maxItems = 1 }, { "[true]", "[]" }, { "[true,true]" })
    assert.error_matches(function() schema.compile(7) end, "schema%.compile: want JSON text or a table, got a number")
  end)

  it("refuses what it cannot say, with its path", function()
    local cases = {
      { '{"not":{}}', "EUNSUP", "schema: /not: " },
      { '{"properties":{"x":{"if":{}}}}', "EUNSUP", "schema: /properties/x/if: " },
      { '{"type":"array","uniqueItems":true}', "EUNSUP", "/uniqueItems" },
      { '{"type":"string","pattern":"(?=a)b"}', "EUNSUP", "/pattern: not supported" },
      { '{"type":"string","pattern":"(a)\\\\1"}', "EUNSUP", "/pattern" },
      { '{"type":"string","format":"klingon"}', "EUNSUP", "/format: the format 'klingon'" },
      { '{"type":"number","multipleOf":0.1}', "EUNSUP", "/multipleOf" },
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
