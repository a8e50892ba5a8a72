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

  -- A list of n lines.
  local function lines(n, line, last)
    local out = {}
    for i = 1, n do out[i] = line(i) end
    out[#out + 1] = last
    return table.concat(out, "\n")
  end

  it("what is no grammar, each with its message", function()
    for _, c in ipairs {
      { "", "EFORMAT", "no rule is named 'root'" }, { "# nothing", "EFORMAT", "no rule is named" },
      { "root ::= a", "EFORMAT", "rule 'a' is not defined" },
      { 'root ::= "\255"', "EFORMAT", "line 1, column 12: found '\"', want UTF-8" }, { "root ::= [\226\130]", "EFORMAT", "want UTF-8" },
      { 'root ::= "\192\128"', "EFORMAT", "want UTF-8" }, { 'r\255 ::= "a"', "EFORMAT", "line 1, column 2: found '\\xff'" },
      { 'root ::= "\\UFFFFFFFF"', "EFORMAT", "no character above 10FFFF" }, { "root ::= [z-a]", "EFORMAT", "goes backwards" },
      { 'root ::= "a" {', "EFORMAT", "want a number" }, { 'root ::= "a"**', "EFORMAT", "parentheses around" },
      { 'root ::= "a', "EFORMAT", "want a character" },
      { "root ::= <[-1]>", "EFORMAT", "want a number" }, { "root ::= <a>", "EFORMAT", "needs a vocabulary" },
      { 'root ::= root "a" | "b"', "EFORMAT", "rule 'root' can begin with itself" },
      { 'root ::= e "x"{0} ""* root\ne ::= |', "EFORMAT", "begin with itself" },
      { 'root ::= a\na ::= b "x"\nb ::= a | "y"', "EFORMAT", "rule 'a' can begin with itself" },
      { lines(45000, function(i) return ('r%d ::= "a" r%d'):format(i, i + 1) end, 'r45001 ::= "b"\nroot ::= r1'), "ELIMIT", "over 100000 elements" },
      { 'root ::= ""{1000000}', "ELIMIT", "written out" }, { "root ::= ([a-z]{1000}){1000}", "ELIMIT", "written out" },
      { nested(200, '"a"', "{0,2}"), "ELIMIT", "written out" }, { nested(257, '"a"', ""), "ELIMIT", "over 256 nested groups" },
    } do
      refused(c[1], c[2])
      local _, message = core.grammar.new(c[1])
      assert(message:find(c[3], 1, true), message)
    end
  end)

  it("what is large or doubles itself is read, or ends with a limit", function()
    local vocab = assert(wane.vocab.open "examples/models/demo-f16.gguf")
    local tokens = assert(core.grammar.tokens(vocab.handle))
    local function doubling(body, last)
      return lines(200, function(i) return ("d%d ::= " .. body):format(i, i + 1, i + 1) end, "d201 ::= " .. last .. "\nroot ::= d1")
    end
    for name, text in pairs {
      rules = lines(60000, function(i) return ('r%d ::= "a"'):format(i) end, "root ::= r1"), text = 'root ::= "' .. ("a"):rep(1048000) .. '"',
      class = "root ::= [" .. ("a-zA"):rep(262000) .. "]", classes = "root ::= " .. ("[^a-z] "):rep(90000),
      ways = "root ::= (" .. ('"a"|'):rep(90000) .. '"b")*', name = ("a"):rep(500000) .. ' ::= "x"\nroot ::= ' .. ("a"):rep(500000),
      counts = "root ::= ([a]{0,1000000} \"b\"?){0,90}", texts = doubling('"a" d%d d%d', '"x"'), nothing = doubling("d%d d%d", '"x"?'),
      both = doubling('d%d | d%d "a"', '"x"'), groups = nested(255, '"a"', "*"), catalan = 'root ::= "a" | "a" root | "a" root root root',
      nobody = "root ::= [\\uD800-\\uDFFF]", other = "root ::= !<[3]>*", nul = 'root ::= "a\0b"',
    } do
      local before, t0 = core.memory().bytes, os.clock()
      local g = assert(core.grammar.new(text, "root", vocab.handle))
      local m, message, code = core.grammar.match(g, tokens)
      for _ = 1, m and 8 or 0 do
        local id = m:ids() and m:ids()[1]
        if not id or m:complete() then break end
        local ok, why, kind = m:accept(id)
        if not ok then
          message, code = why, kind
          break
        end
        m:forced()
      end
      if message then assert(code == "ELIMIT" and message:find "ambiguous: over %d+ ", name .. ": " .. message) end
      assert(core.memory().bytes - before < 64 * 1048576, name)
      assert(os.clock() - t0 < 30, name)
      if m then m:close() end
      g:close()
    end
    tokens:close()
    vocab:close()
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
    local function list(n, item)
      local out = {}
      for i = 1, n do out[i] = item(i) end
      return table.concat(out, ",")
    end
    local function told(text, code, pattern)
      local t0 = os.clock()
      local g, message, got = schema.compile(text)
      assert.is_nil(g)
      assert(got == code and message:find(pattern, 1, true), tostring(got) .. ": " .. message)
      assert(os.clock() - t0 < 30, message)
    end
    told((" "):rep(4194305), "ELIMIT", "schema: 4194305 bytes, want at most 4194304")
    told('{"allOf":[' .. list(20, function(i) -- 20^20 ways
      return '{"anyOf":[' .. list(20, function(k) return ('{"properties":{"p%d":{"const":%d}},"required":["p%d"]}'):format(i, k, i) end) .. "]}"
    end) .. '],"type":"object"}', "ELIMIT", "over 100000 rules")
    told('{"oneOf":[' .. list(100, function(i) return '{"type":"string","pattern":"a' .. i .. '"}' end) .. "]}", "ELIMIT", "/oneOf/")
    told('{"type":"string","not":{"enum":[' .. list(20000, function(i) return '"v' .. i .. '"' end) .. "]}}",
      "ELIMIT", "/not: not supported: over 20000 states")
    told('{"type":"string","pattern":"' .. ("a|"):rep(20000) .. '"}', "ELIMIT", "/pattern: a pattern of 40000 bytes, want at most 32768")
    told('{"type":"string","not":{"pattern":"a.{20}$"}}', "ELIMIT", "over 12000 states")
    told('{"type":"string","allOf":[' .. list(30, function(i) return '{"pattern":"a.{' .. i .. '}b"}' end) .. "]}", "ELIMIT", "/pattern: ")
    told('{"type":"object","patternProperties":{' .. list(20, function(i) return '".*a.{' .. i .. '}b":{"type":"null"}' end) .. "}}",
      "ELIMIT", "/patternProperties/")
    told('{"type":"string","minLength":1e308}', "ELIMIT", "over a million characters")
    told('{"type":"array","maxItems":1e15}', "ELIMIT", "over a million items")
    told('{"type":"array","items":{"type":"integer"},"contains":{"const":1},"minContains":5000,"maxItems":10000}', "ELIMIT", "/contains: too many")
    told('{"type":"integer","minimum":1e300,"maximum":1e301}', "EUNSUP", "no number is in this range")
    told('{"type":"number","multipleOf":1e-300}', "EUNSUP", "/multipleOf")
    told('{"$ref":"#/$defs/a","$defs":{"a":{"allOf":[{"$ref":"#/$defs/b"}]},"b":{"allOf":[{"$ref":"#/$defs/a"}]}}}', "EFORMAT", "leads to itself")
    told('{"$ref":"#/$defs/a","$defs":{"a":{"not":{"$ref":"#/$defs/a"}}}}', "EFORMAT", "leads to itself")
    told('{"if":{"$ref":"#"},"then":{"type":"null"}}', "ELIMIT", "over 128 levels deep")
    told('{"$ref":"#' .. ("/a"):rep(100000) .. '"}', "EFORMAT", "nothing is at")
    told('{"$ref":"#/$defs/d1","$defs":{' .. list(5000, function(i)
      return ('"d%d":{"$ref":"#/$defs/d%d"}'):format(i, i + 1)
    end) .. ',"d5001":true}}', "EFORMAT", "over 128 in a row")
    told({ enum = { print } }, "EFORMAT", "/enum/0: want a value that JSON has, got a function")
    told({ minimum = 0 / 0 }, "EFORMAT", "/minimum: want a number, got nan")
    local cycle = {}
    cycle[1] = cycle
    told({ enum = cycle }, "ELIMIT", "over 128 levels deep")
    for _, text in ipairs { -- what doubles itself but is one rule
      '{"$ref":"#/$defs/d1","$defs":{' .. list(30, function(i)
        return ('"d%d":{"prefixItems":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}],"minItems":2}'):format(i, i + 1, i + 1)
      end) .. ',"d31":{"type":"null"}}}',
      '{"$ref":"#/$defs/d1","$defs":{' .. list(30, function(i)
        return ('"d%d":{"anyOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]}'):format(i, i + 1, i + 1)
      end) .. ',"d31":{"type":"null"}}}',
      '{"type":"array","prefixItems":[' .. list(1000, function() return '{"type":"null"}' end) .. "]}", -- in rules, not in 1000 groups
      '{"enum":["\255\254","\\ud800"]}', '{"properties":{"\255":{"type":"null"}}}', -- become U+FFFD
    } do assert(core.grammar.new(assert(schema.compile(text)))):close() end
    -- what is large but can be said fails, if at all, as a grammar: soon
    local many = {}
    for i = 1, 60000 do many[i] = "v" .. i end
    local text = assert(schema.compile { enum = many })
    local g, _, code = core.grammar.new(text)
    if g then g:close() else assert.equals("ELIMIT", code) end
  end)
end)
