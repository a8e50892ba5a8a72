--- Grammars and schemas that mean harm (HARDENING R1 to R6): errors in bounded
--- time and memory, nothing left open.
local core = require "wane.core"
local schema = require "wane.schema"
local support = require "spec.support"
local wane = require "wane"

local function chain(n, body)
  local out = { "root ::= r1" }
  for i = 1, n do out[#out + 1] = ("r%d ::= " .. body):format(i, i + 1) end
  out[#out + 1] = ("r%d ::= \"x\""):format(n + 1)
  return table.concat(out, "\n")
end

local function nested(n, inner, times)
  return "root ::= " .. ("("):rep(n) .. inner .. (")" .. times):rep(n)
end

describe("hostile grammars", function()
  support.check_leaks()

  local function refused(text, code)
    local t0 = os.clock()
    local g, message, got = core.grammar.new(text)
    assert.is_nil(g, "accepted: " .. text:sub(1, 60))
    assert(got == code, tostring(got) .. ": " .. message)
    assert.truthy(message:find "^grammar: ")
    assert.is_true(os.clock() - t0 < 5)
  end

  it("R1: depth, chains and size", function()
    refused(nested(60000, '"a"', ""), "ELIMIT")
    refused(chain(5000, "r%d"), "ELIMIT")
    refused(chain(5000, "r%d?"), "ELIMIT")
    refused(("x"):rep(1048577), "ELIMIT")
    refused("root ::= " .. ('"a" | '):rep(100001), "ELIMIT")
    assert(core.grammar.new(chain(3000, '"a" r%d'))):close()
  end)

  it("R2, R3: repetitions of repetitions", function()
    refused('root ::= "a"{5,0}', "EFORMAT")
    refused('root ::= "a"{0,2147483648}', "ELIMIT")
    refused('root ::= "a"{99999999999999999999}', "ELIMIT")
    refused(nested(20, '"a"', "{9,9}"), "ELIMIT")
    refused('root ::= "a" root?\nb ::= b b | ""', "EFORMAT")
  end)

  it("ambiguity ends in an error or an answer, soon", function()
    local vocab = assert(wane.vocab.open "examples/models/demo-f16.gguf")
    local tokens = assert(core.grammar.tokens(vocab.handle))
    local a = vocab:encode("a", { special = false })
    for _, text in ipairs {
      'root ::= ("a"*)* "b"', "root ::= ((([a-z]*)*)*)* \"!\"", 'root ::= ("a"{1,300}){1,300} "b"',
      'root ::= s\ns ::= "a" s s | "a"', 'root ::= ("a" | "a" "a" | "a" "a" "a")* "b"', "root ::= (.{0,100} .{0,100}){0,100}",
    } do
      local g = assert(core.grammar.new(text))
      local m = assert(core.grammar.match(g, tokens))
      local t0 = os.clock()
      for _ = 1, 60 do
        local n, message, code = m:count()
        if not n then
          assert(code == "ELIMIT", message)
          break
        end
        local ok, why, kind = m:accept(a[#a])
        if not ok then
          assert(kind == "ELIMIT" or kind == "EDATA", why)
          break
        end
      end
      assert(os.clock() - t0 < 60, text)
      m:close()
      g:close()
    end
    tokens:close()
    vocab:close()
  end)

  it("R6: no token left is an error, not a choice", function()
    local vocab = assert(wane.vocab.open "examples/models/demo-f16.gguf")
    local tokens = assert(core.grammar.tokens(vocab.handle))
    local n = #vocab.handle
    local g = assert(core.grammar.new 'root ::= "a"')
    local s = assert(core.sample.new { n_vocab = n })
    assert(s:constrain(g, tokens))
    for id = 0, n - 1 do s:bias(id, -math.huge) end
    local id, message, code = s:pick(core.quant.buffer(1, n))
    assert.is_nil(id)
    assert.equals("EDATA", code)
    assert.truthy(message:find "no token is allowed")
    s:close()
    g:close()
    tokens:close()
    vocab:close()
  end)

  it("R5: schemas", function()
    local function bad(text, ...)
      local t0 = os.clock()
      local g, message, code = schema.compile(text)
      assert.is_nil(g, message)
      local fine = false
      for _, c in ipairs { ... } do fine = fine or c == code end
      assert(fine, tostring(code) .. ": " .. message)
      assert.is_true(os.clock() - t0 < 10)
    end
    bad(('{"items":'):rep(100000) .. "true" .. ("}"):rep(100000), "ELIMIT", "EFORMAT")
    bad('{"allOf":[{"$ref":"#"}]}', "EFORMAT", "ELIMIT")
    bad('{"anyOf":[{"$ref":"#"},{"$ref":"#"}],"type":"object"}', "EFORMAT", "ELIMIT")
    bad('{"$ref":"file:///etc/passwd"}', "EUNSUP")
    bad('{"type":"string","pattern":"' .. ("("):rep(5000) .. '"}', "ELIMIT", "EUNSUP")
    bad('{"type":"string","pattern":"a{0,2147483648}"}', "ELIMIT")
    local deep = { type = "array" }
    for _ = 1, 2000 do deep = { type = "array", items = deep } end
    bad(deep, "ELIMIT")
    -- what is large but can be said fails, if at all, as a grammar: soon
    local many = {}
    for i = 1, 60000 do many[i] = "v" .. i end
    local text = assert(schema.compile { enum = many })
    local g, _, code = core.grammar.new(text)
    if g then g:close() else assert.equals("ELIMIT", code) end
  end)
end)
