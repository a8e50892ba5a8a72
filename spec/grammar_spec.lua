local core = require "wane.core"
local grammar = require "wane.grammar"
local support = require "spec.support"
local wane = require "wane"

local DEMO = "examples/models/demo-f16.gguf"

describe("grammar", function()
  local model, vocab, tokens
  support.check_leaks(function()
    model = assert(wane.load(DEMO, { context = 128 }))
    vocab = model.vocab
    tokens = assert(core.grammar.tokens(vocab.handle))
  end, function()
    tokens:close()
    model:close()
    model, vocab, tokens = nil, nil, nil
  end)

  local function match(text, opts)
    local g = assert(core.grammar.new(text, "root", vocab.handle))
    local m = assert(core.grammar.match(g, tokens, opts))
    g:close()
    return m
  end

  --- Does the grammar take the text, token by token, and may it end there?
  local function takes(text, input)
    local m = match(text)
    local ok = true
    for _, id in ipairs(assert(vocab:encode(input, { special = false }))) do
      local allowed = m:allows(id)
      local accepted = m:accept(id) == true
      assert(allowed == accepted, "the mask and the match differ")
      ok = ok and accepted
    end
    ok = ok and m:may_end()
    m:close()
    return ok
  end

  it("reads llama.cpp's dialect", function()
    local cases = {
      { 'root ::= "a" | "bc"', { "a", "bc" }, { "b", "abc", "" } },
      { "root ::= [a-c]+ [^a-c]", { "abcd", "a." }, { "d", "abc" } },
      { 'root ::= "x"{2,3}', { "xx", "xxx" }, { "x", "xxxx" } },
      { 'root ::= "x"{2,}', { "xx", "xxxxxx" }, { "x" } },
      { 'root ::= "x"{0}', { "" }, { "x" } },
      { 'root ::= ("ab" | "c"){3}', { "abcab", "ccc" }, { "abc", "cccc" } },
      { 'root ::= ("ab"?){2,3} "."', { ".", "ab.", "ababab." }, { "abababab." } },
      { "root ::= (\"a\"*)* 'b'", nil, nil },
      { 'root ::= ("a"*)* "b"', { "b", "aab" }, { "a" } },
      { "root ::= a b? # comment\na ::= \"q\"\n\nb ::= [0-9] |\n  \"z\"", { "q", "q1", "qz" }, { "q12" } },
      { 'root ::= "\\x41\\u00e9\\n\\t\\\\\\""', { "A\195\169\n\t\\\"" }, { "A" } },
      { "root ::= . .", { "ab", "\195\169z", "\240\159\152\128a" }, { "a" } },
      { "root ::= [\195\160-\195\170]+", { "\195\169\195\160" }, { "e", "\195\171" } },
      { 'root ::= "(" root? ")" root?', { "()", "(())()", "((()))" }, { "(", "())" } },
      { 'root ::= item ("," item)*\nitem ::= [a-z]{1,4}', { "ab", "ab,c,defg" }, { "abcde", "a," } },
    }
    for _, c in ipairs(cases) do
      for _, s in ipairs(c[2] or {}) do assert(takes(c[1], s), ("%s does not take %q"):format(c[1], s)) end
      for _, s in ipairs(c[3] or {}) do assert(not takes(c[1], s), ("%s takes %q"):format(c[1], s)) end
    end
  end)

  it("has one answer from the mask, from one token and from many", function()
    local x = 17
    local function random(n)
      x = x * 16807 % 2147483647
      return x % n
    end
    local json = 'root ::= object\nvalue ::= object | array | string | number | "true"\n'
      .. 'object ::= "{" (string ":" value ("," string ":" value)*)? "}"\narray ::= "[" (value ("," value)*)? "]"\n'
      .. 'string ::= "\\"" ([^"\\\\\\x00-\\x1F] | "\\\\" ["\\\\nt]){0,9} "\\""\nnumber ::= [0-9]{1,3}\n'
    local m, probe = match(json), match(json)
    for _ = 1, 6 do
      m:reset()
      probe:reset()
      for _ = 1, 25 do
        local list = m:ids()
        assert.equals(m:count(), #list)
        if #list == 0 or m:complete() then break end
        for _ = 1, 20 do -- any token: allowed as the mask says, or refused and nothing changes
          local id = random(#vocab.handle)
          local allowed = m:allows(id)
          if not allowed then
            local ok, message, code = probe:accept(id)
            assert.is_nil(ok)
            assert.equals("EDATA", code)
            assert.truthy(message:find "grammar")
          end
        end
        local id = list[random(#list) + 1]
        assert(m:accept(id))
        assert(probe:accept(id))
        if vocab.handle:is_eog(id) then break end
        assert.equals(m:may_end(), probe:may_end())
      end
    end
    m:close()
    probe:close()
  end)

  it("has the same masks for runs of a class however they are written", function()
    local x = 29
    local function random(n)
      x = x * 16807 % 2147483647
      return x % n
    end
    -- on the right no state takes a whole class: nothing is taken in one piece
    local pairs_of = {
      { 'root ::= "\\"" [^"\\x00-\\x1F]* "\\""', 'root ::= "\\"" ([a-k] | [^"a-k\\x00-\\x1F])* "\\""' },
      { 'root ::= [a-z]{2,7} [a-z0-9]{3} "."', 'root ::= ([a-k] | [l-z]){2,7} ([a-k] | [l-z] | [0-4] | [5-9]){3} "."' },
      { 'root ::= [A-Z]? [a-z ]+ [,.]', 'root ::= [A-Z]? ([a-l] | [m-z] | " ")+ [,.]' },
      { 'root ::= ([a-z]{1,4} [._-]){0,3} [a-z]{5,9} ";"', 'root ::= (([a-h] | [i-z]){1,4} [._-]){0,3} ([a-h] | [i-z]){5,9} ";"' },
      { 'root ::= [^0-9\\u00e9]{3,12} "1"', 'root ::= ([a-m] | [^0-9a-m\\u00e9]){3,12} "1"' },
      { 'root ::= [\\u0080-\\U0010FFFFa-z]{1,6} "!"', 'root ::= ([\\u0080-\\u1234] | [\\u1235-\\U0010FFFF] | [a-z]){1,6} "!"' },
    }
    for _, p in ipairs(pairs_of) do
      local a, b = match(p[1]), match(p[2])
      for _ = 1, 8 do
        a:reset()
        b:reset()
        for _ = 1, 12 do
          local list = a:ids()
          assert.same(b:ids(), list)
          if #list == 0 or a:complete() then break end
          for id = 0, #vocab.handle - 1, 7 do
            if not a:allows(id) then assert.is_nil((b:accept(id))) end
          end
          local id = list[random(#list) + 1]
          assert(a:accept(id))
          assert(b:accept(id))
          if vocab.handle:is_eog(id) then break end
        end
      end
      a:close()
      b:close()
    end
  end)

  it("has masks that hold what is accepted, and nothing else", function()
    local x = 31
    local function random(n)
      x = x * 16807 % 2147483647
      return x % n
    end
    local some_letter = 'root ::= "\\"" a "\\""\na ::= [^a-zA-Z"\\\\] a | [a-zA-Z] b\nb ::= [^a-zA-Z"\\\\] c | [a-zA-Z] b | ""\n'
      .. 'c ::= [^a-zA-Z"\\\\]* ([a-zA-Z] b | "")\n'
    for _, text in ipairs {
      some_letter, -- closed as a whole, no state by itself
      (some_letter:gsub('%[%^a%-zA%-Z"\\\\%]', '[^a-zA-Z"\\\\\\u0080-\\u009F\\u2028\\u2029]')),
      'root ::= ([a-m] [n-z])* | [a-z]{3,9} "."', -- closed under less than its classes
      "root ::= ([a-m ]* [n-z] | [\\u00A0-\\U0010FFFF])* [.!]",
      'root ::= [\\u0080-\\U0010FFFF]* "."', -- no table: nothing of ASCII
      "root ::= [\\u00A0-\\u2027\\u202A-\\U0010FFFFa-z ]{2,5} [^a-z]*",
      'root ::= ([^ "]+ " "){0,9} [^ "]+',
      'root ::= ("\\u00E9" "x" | [^x\\u00E9] [^y])*',
    } do
      local m, probe = match(text), match(text)
      for _ = 1, 2 do
        local taken = {}
        m:reset()
        for _ = 1, 4 do
          for id = 0, #vocab.handle - 1 do
            probe:reset()
            for _, t in ipairs(taken) do assert(probe:accept(t)) end
            if m:allows(id) ~= (probe:accept(id) == true) then error(("%s: token %d (%q)"):format(text, id, vocab:piece(id))) end
          end
          local list = m:ids()
          local id = list[random(#list) + 1]
          if not id or vocab.handle:is_eog(id) then break end
          assert(m:accept(id))
          taken[#taken + 1] = id
        end
      end
      m:close()
      probe:close()
    end
  end)

  it("hands what a match has learnt to the next one", function()
    local g = assert(core.grammar.new 'root ::= "\\"" [^"]{0,9} "\\"" [0-9]+')
    local quote = vocab:encode('"', { special = false })
    local function masks(m)
      local out = {}
      for i = 1, #quote do assert(m:accept(quote[i])) end
      for _ = 1, 5 do
        local ids = m:ids()
        out[#out + 1] = ids
        assert(m:accept(ids[#ids]))
      end
      return out
    end
    local first = assert(core.grammar.match(g, tokens))
    local want = masks(first)
    local beside = assert(core.grammar.match(g, tokens)) -- while the first lives
    assert.same(want, masks(beside))
    first:close()
    local bytes = core.memory().bytes
    local again = assert(core.grammar.match(g, tokens))
    assert.same(want, masks(again))
    assert(core.memory().bytes - bytes < 16384, "masks were made again") -- a token's text alone
    local other = assert(core.grammar.tokens(vocab.handle)) -- of another trie
    local m = assert(core.grammar.match(g, other))
    assert.same(want, masks(m))
    for _, x in ipairs { beside, again, m, other } do x:close() end
    g:close()
  end)

  it("has a table of a class that stands in rules of rules", function()
    for depth = 0, 6 do
      local trie = assert(core.grammar.tokens(vocab.handle))
      local lines = { 'root ::= "\\"" r0* "\\""', ('r%d ::= [^"] | "\\\\" [nrt]'):format(depth) }
      for i = 1, depth do lines[#lines + 1] = ("r%d ::= r%d"):format(i - 1, i) end
      local g = assert(core.grammar.new(table.concat(lines, "\n")))
      local before = core.memory().bytes
      local m = assert(core.grammar.match(g, trie))
      m:close()
      g:close() -- the table is the vocabulary's
      assert(core.memory().bytes - before > 2 * #vocab.handle, ("none at depth %d"):format(depth))
      trie:close()
    end
  end)

  it("shares the last eight grammars of a vocabulary", function()
    local text = 'root ::= "a"+'
    local g = assert(grammar.shared(vocab, text))
    assert.equals(g, (grammar.shared(vocab, text, "root")))
    assert.not_equals(g, (grammar.shared(vocab, text .. "\nother ::= root", "other")))
    local s = assert(grammar.shared(vocab, nil, nil, '{"type":"integer"}'))
    assert.equals(s, (grammar.shared(vocab, nil, nil, '{"type":"integer"}')))
    assert.equals(s, (grammar.shared(vocab, nil, nil, { type = "integer" }))) -- the same text of a grammar
    for i = 1, 8 do assert(grammar.shared(vocab, ('root ::= "%d"'):format(i))) end
    assert.not_equals(g, (grammar.shared(vocab, text)))
    local none, message, code = grammar.shared(vocab, nil, nil, '{"type":"wat"}')
    assert.is_nil(none)
    assert.truthy(message:find "unknown type")
    assert.equals("EFORMAT", code)
  end)

  it("takes tokens by id and by text", function()
    local id = vocab:encode("king")[1]
    local m = match(("root ::= <[%d]> !<[%d]> \"a\""):format(id, id))
    assert.is_true(m:allows(id))
    assert.equals(1, m:count())
    assert(m:accept(id))
    assert.is_false(m:allows(id))
    assert.is_true(m:count() > 100)
    m:close()
    local _, message = core.grammar.new("root ::= <[99999999]>", "root", vocab.handle)
    assert.truthy(message:find "line 1, column 10: token 99999999")
  end)

  it("waits for its trigger, or for the end of another part", function()
    local m = match('root ::= "<go>" [0-9]+', { triggers = { "<go>" } })
    assert.is_true(m:waits())
    for _, id in ipairs(vocab:encode("anything at all <g", { special = false })) do assert(m:accept(id)) end
    assert.is_true(m:waits())
    for _, id in ipairs(vocab:encode("<go>7", { special = false })) do assert(m:accept(id)) end
    assert.is_false(m:waits())
    assert.is_true(m:may_end())
    assert.is_nil((m:accept(vocab:encode("x", { special = false })[1])))
    m:close()
    local after = match("root ::= [0-9]+", { after = "end." })
    for _, id in ipairs(vocab:encode("thinking, end.4", { special = false })) do assert(after:accept(id)) end
    assert.is_false(after:waits())
    assert.is_true(after:may_end())
    after:close()
  end)

  it("knows what is forced", function()
    local m = match 'root ::= "Once upon a time" [.!]'
    local text, ids = m:forced()
    assert.equals("Once upon a time", text)
    assert.is_true(#ids >= 1)
    local spelled = assert(vocab:decode(ids))
    assert.equals(spelled, text:sub(1, #spelled))
    for _, id in ipairs(ids) do assert(m:accept(id)) end
    m:close()
  end)

  it("refuses what cannot be run, with line and column", function()
    local cases = {
      { "root ::= \"a\n", "EFORMAT", "line" }, { "root ::= [a", "EFORMAT", "line 1, column 12" },
      { "root ::= x", "EFORMAT", "line 1, column 10: rule 'x' is not defined" },
      { "x ::= \"a\"", "EFORMAT", "no rule is named 'root'" }, { "", "EFORMAT", "no rule is named 'root'" },
      { "root ::= root \"a\" | \"b\"", "EFORMAT", "left recursion" },
      { "root ::= a\na ::= b?  c\nb ::= \"x\"\nc ::= a", "EFORMAT", "left recursion" },
      { "root ::= \"a\"{5,0}", "EFORMAT", "least is above" }, { "root ::= \"a\"{0,2147483648}", "ELIMIT", "repetitions" },
      { "root ::= \"a\"{9,9}{9,9}", "EFORMAT", "parentheses" }, { "root ::= [z-a]", "EFORMAT", "backwards" },
      { "root ::= []", "EFORMAT", "want characters" }, { "root ::= \"\\q\"", "EFORMAT", "after a backslash" },
      { "root ::= * \"a\"", "EFORMAT", "something to repeat" }, { "root ::= (\"a\"", "EFORMAT", "want '%)'" },
      { "root ::= \"\255\"", "EFORMAT", "UTF%-8" }, { "root = \"a\"", "EFORMAT", "want ::=" },
    }
    for _, c in ipairs(cases) do
      local g, message, code = core.grammar.new(c[1])
      assert.is_nil(g, c[1])
      assert.equals(c[2], code, c[1] .. ": " .. message)
      assert(message:find(c[3]), ("%s: %s"):format(c[1], message))
    end
  end)

  it("constrains generation", function()
    for seed = 1, 5 do
      local out, stats = {}, nil
      for t in model:generate("Once", { grammar = 'root ::= ("yes" | "no" | [0-9]{3,5}) "."', temperature = 2, seed = seed,
        on_end = function(s) stats = s end }) do
        out[#out + 1] = t
      end
      local text = table.concat(out)
      assert(text == "yes." or text == "no." or text:match "^%d%d%d%d?%d?%.$", text)
      assert.equals("eog", stats.state)
    end
    local g = assert(grammar.new 'root ::= "a"+')
    for t in model:generate("Once", { grammar = g, max_tokens = 5 }) do assert(t:match "^a+$", t) end
    g:close()
  end)
end)
