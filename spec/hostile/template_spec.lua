-- Hostile chat templates: exact errors, in time, and nothing of Lua in reach.
local S = require "spec.support"
local template = require "wane.template"

--- { id, what, source, code, message pattern }; code "OK": the output's pattern.
local rows = {}
local function row(id, what, source, code, pattern)
  rows[#rows + 1] = { id = id, what = what, source = source, code = code, pattern = pattern }
end

-- J1, J2: nothing but values ---------------------------------------------------
row("J2", "attributes of metatables",
  "[{{ ''.__class__ }}{{ ''.__index }}{{ ''.__metatable }}{{ [].__gc }}{{ {}.__index }}]", "OK", "^%[%]$")
row("J2", "an attribute of nothing", "{{ x.y }}", "EDATA", "'x' is undefined")
row("J2", "what lies behind a forbidden attribute", "{{ ''.__class__.__mro__ }}", "EDATA", "unsafe")
row("J2", "what lies behind a format", "{{ '{0.__class__.__mro__}'.format(1) }}", "EDATA", "unsafe")
row("J2", "a change of a list", "{% set l = [1] %}{{ l.append(2) }}", "EDATA", "'append' is unsafe")
row("J2", "globals", "[{{ _G }}{{ _ENV }}{{ string }}{{ os }}{{ require }}{{ load }}]", "OK", "^%[%]$")
row("J2", "methods of Lua strings", "[{{ 'x'.rep }}{{ 'x'['gsub'] }}{{ 'x'.byte }}]", "OK", "^%[%]$")
for _, name in ipairs { "_G", "load", "__index", "rep", "dofile", "k", "n" } do
  row("J2", "filter " .. name, "{{ 'x'|" .. name .. " }}", "EDATA", "unknown filter '" .. name .. "'")
  row("J2", "test " .. name, "{{ 'x' is " .. name .. " }}", "EDATA", "unknown test '" .. name .. "'")
end
row("J2", "keys that values use inside", "[{{ {}.k }}{{ {'a': 1}.at }}{{ {'a': 1}.keys.k }}{{ [1].n }}]", "OK", "^%[%]$")
row("J1", "Lua source", "{{ os.execute('x') }}", "EDATA", "'os' is undefined")
row("J1", "template in a template", "{{ '{{ 1 + 1 }}' }}", "OK", "^{{ 1 %+ 1 }}$")

-- J3: depth -----------------------------------------------------------------------
local function deep(what, source, pattern) row("J3", what, source, "ELIMIT", pattern or "nest deeper than 100") end
deep("10^5 parentheses", "{{ " .. ("("):rep(100000) .. "1" .. (")"):rep(100000) .. " }}")
deep("10^5 brackets", "{{ " .. ("["):rep(100000) .. "1" .. ("]"):rep(100000) .. " }}")
deep("10^5 ifs", ("{% if 1 %}"):rep(100000))
deep("10^5 fors", ("{% for x in y %}"):rep(60000))
deep("10^5 nots", "{{ " .. ("not "):rep(100000) .. "x }}")
deep("10^5 signs", "{{ " .. ("- "):rep(100000) .. "x }}")
deep("10^5 conditionals", "{{ 1" .. (" if 0 else 1"):rep(80000) .. " }}")
deep("10^5 sums", "{{ 1" .. (" + 1"):rep(100000) .. " }}", "more than 400 parts")
deep("10^5 attributes", "{{ x" .. (".a"):rep(100000) .. " }}", "more than 400 parts")
deep("10^5 calls", "{{ x" .. ("()"):rep(100000) .. " }}", "more than 400 parts")
deep("10^5 filters", "{{ x" .. ("|list"):rep(100000) .. " }}", "more than 400 parts")
deep("a macro that calls itself", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "deeper than 100")
deep("two macros that call each other",
  "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}", "deeper than 100")
row("J3", "10^4 elifs are no depth", "{% if 0 %}" .. ("{% elif 0 %}"):rep(10000) .. "{% endif %}", "OK", "^$")

-- J4: time and space -----------------------------------------------------------------
local function large(what, source, pattern) row("J4", what, source, "ELIMIT", pattern or "more than") end
large("range(10^9)", "{% for i in range(1000000000) %}x{% endfor %}", "range: 1000000000 elements, want at most 100000")
large("10^4 times 10^4 rounds", "{% for i in range(10000) %}{% for j in range(10000) %}x{% endfor %}{% endfor %}")
large("a string times 10^9", "{{ 'x' * 1000000000 }}")
large("a string that doubles", "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}")
large("output", "{% set s = 'x' * 1000000 %}{% for i in range(1000) %}{{ s }}{% endfor %}", "8388608 bytes of output")
large("blocks that are kept", "{% for i in range(1000) %}{% set s %}{{ 'x' * 7000000 }}{% endset %}{% endfor %}")
large("join", "{{ range(100000)|join('x' * 100000) }}")
large("replace", "{{ ('a' * 1000000)|replace('a', 'b' * 1000000) }}")
large("replace of nothing", "{{ ('a' * 1000000)|replace('', 'b' * 100) }}")
large("split", "{{ ('a,' * 1000000).split(',')|length }}", "a list of more than 100000")
large("a list that doubles", "{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = ns.l + ns.l %}{% endfor %}")
large("upper case again and again", "{% set s = 'A' * 7000000 %}{% for i in range(10000) %}{% set q = s|lower %}{% endfor %}")
large("trimming again and again", "{% set s = ' ' * 7000000 %}{% for i in range(10000) %}{{ s|trim }}{% endfor %}")
large("searching again and again", "{% set s = 'a' * 7000000 %}{% for i in range(99999) %}{{ 'b' in s }}{% endfor %}")
local DAG = "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}"
large("2^60 parts written", DAG .. "{{ ns.l }}")
large("2^60 parts as JSON", DAG .. "{{ ns.l|tojson }}")
large("2^60 parts compared", DAG .. (DAG:gsub("ns", "ms")) .. "{{ ns.l == ms.l }}")
large("2^60 parts as a key", (DAG:gsub("%[1%]", "(1,)"):gsub("%[ns.l, ns.l%]", "(ns.l, ns.l)")) .. "{{ {ns.l: 1} }}", "a key")
large("a list in a namespace in itself", "{% set n = namespace() %}{% set n.l = [n] %}{{ n.l }}", "deeper than 100")
large("an integer that doubles", "{% set n = namespace(i=2) %}{% for i in range(60) %}{% set n.i = n.i * n.i %}{% endfor %}{{ n.i }}",
  "more than 4300 digits")
large("a power", "{{ 10 ** 100000 }}")
large("a wide field", "{{ '%999999999d' % 1 }}", "a field of 999999999")
large("a wide field of format", "{{ '{:>999999999}'.format(1) }}", "a field of 999999999")
large("many wide fields", "{% for i in range(99999) %}{% set s = '%99999d' % 1 %}{% endfor %}")
large("indent", "{{ ('\\n' * 100000)|indent(100000) }}")
large("center", "{{ 'x'|center(1000000000) }}")
large("batches that are filled", "{{ [1]|batch(1000000000, 0)|list }}")
large("slices", "{{ [1]|slice(1000000000)|list }}")
large("characters of a long text", "{% for c in 'x' * 200000 %}{% endfor %}")
large("recursive loops", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", "deeper than 100")
large("a generator over generators",
  "{% set n = namespace(g=range(99999)) %}{% for i in range(9999) %}{% set n.g = n.g|map('string') %}{% endfor %}{{ n.g|list }}", "")
large("a namespace in itself", "{% set n = namespace() %}{% set n.n = n %}{{ n|string }}", "deeper than 100")
large("2 MiB of source", (" "):rep(2097152), "2097152 bytes, want at most 1048576")

-- J5: patterns are plain -----------------------------------------------------------------
row("J5", "magic characters", "{{ ('a.b.c').split('.')|length }}{{ 'a%1'|replace('%1', '%2') }}", "OK", "^3a%%2$")
row("J5", "a pattern that could explode", "{{ ('a' * 100000)|replace('a*a*a*a*b', '') == 'a' * 100000 }}", "OK", "^True$")

-- J6: broken source --------------------------------------------------------------------------
row("J6", "1 MiB of {{", ("{{"):rep(524288), "EFORMAT", "this block has no end")
row("J6", "a block without an end", "{{ x", "EFORMAT", "line 1, column 1: this block has no end")
row("J6", "a comment without an end", "a\n{# x", "EFORMAT", "line 2, column 1: this comment has no end")
row("J6", "a string without an end", "{{ 'x }}", "EFORMAT", "column 4: this string has no end")
row("J6", "an if without an end", "{% if x %}", "EFORMAT", "this block has no {%% endif %%}")
row("J6", "an end without an if", "{% endif %}", "EFORMAT", "unknown statement 'endif'")
row("J6", "an unknown statement", "{% do x %}", "EFORMAT", "unknown statement 'do'")
row("J6", "another template", "{% import 'os' as os %}", "EDATA", "there are no other templates")
row("J6", "an unknown escape", "{{ '\\q' }}", "OK", "^\\q$")
row("J6", "an escape that is cut short", "{{ '\\x4' }}", "EFORMAT", "cut short")
row("J6", "NUL and bytes that are no UTF-8", "a\0b{{ '\0\255' }}\255", "OK", "^a%zb%z\255\255$")
row("J6", "empty", "", "OK", "^$")

-- J10: exceptions --------------------------------------------------------------------------------
row("J10", "raise_exception", "a\n {{ raise_exception('no \27[2J') }}", "EDATA", "line 2, column %d+: no \\x1b%[2J")
row("J10", "raise_exception in a macro", "{% macro f() %}\n{{ raise_exception('x') }}{% endmacro %}{{ f() }}",
  "EDATA", "line 2, column %d+: x")
row("J10", "a call of nothing", "{{ x() }}", "EDATA", "'x' is undefined")
row("J10", "division by zero", "{{ 1 % 0 }}", "EDATA", "division or modulo by zero")
row("J10", "names that do not fit", "{% for a, b in [1] %}{% endfor %}", "EDATA", "cannot unpack")

describe("hostile templates", function()
  S.check_leaks()
  --- Under a sanitizer the interpreter is no faster; time is checked elsewhere.
  local most = os.getenv "WANE_LANE" and 60 or 5 -- 1.2 s of a core to itself

  for _, r in ipairs(rows) do
    it(r.id .. " " .. r.what, function()
      local t0 = os.clock()
      local text, message, code = template.render(r.source, {})
      local took = os.clock() - t0
      assert(took < most, ("took %.2f s"):format(took))
      if r.code == "OK" then
        assert.truthy(text, message)
        assert.truthy(text:find(r.pattern), text)
      else
        assert.is_nil(text)
        assert.equal(r.code, code, message)
        assert.truthy(message:find(r.pattern), message .. "\n  want " .. r.pattern)
        assert.truthy(message:find "^template: line %d+, column %d+: ", message)
        assert.falsy(message:find "[%c\128-\255]")
        assert.truthy(#message < 600)
      end
    end)
  end

  it("J10 a template can be used again after it failed", function()
    local t = assert(template.compile "{% macro f(x) %}{{ 'a' ~ x.y.z() if x is mapping else x }}{% endmacro %}{{ f(v) }}")
    for i = 1, 3 do
      local _, message, code = t:render { v = { y = 1 } }
      assert.equal("EDATA", code, message)
      assert.equal(tostring(i), assert(t:render { v = i }))
    end
  end)

  it("variables of every kind can be refused", function()
    assert.error_matches(function() template.render("x", { [1] = 2 }) end, "variables have names")
    assert.error_matches(function() template.render("x", { a = { [true] = 1 } }) end, "keys of an object are strings")
    local loop = {}
    loop.x = loop
    assert.error_matches(function() template.render("x", { a = loop }) end, "deeper than 100")
    assert.error_matches(function() template.compile(nil) end, "the source is a string")
  end)

  it("no variable of the host changes", function()
    local vars = { list = { 1, 2 }, object = { a = 1 } }
    assert.equal("[1, 2, 3]", assert(template.render(
      "{% set list = list + [3] %}{% set object = dict(object, a=2) %}{{ list|tojson }}", vars)))
    assert.same({ list = { 1, 2 }, object = { a = 1 } }, vars)
  end)

  it("JSON that is broken or deep", function()
    for text, where in pairs {
      [""] = "column 1", ["{"] = "column 2", ['{"a" 1}'] = "want a colon", ["[1 2]"] = "want ,", ['"\\x"'] = "escape",
      ["nul"] = "want a value", ["1 2"] = "text behind", ['"\\ud8"'] = "four hexadecimal",
    } do
      local v, message, code = template.json(text)
      assert.is_nil(v)
      assert.equal("EFORMAT", code)
      assert.truthy(message:find(where, 1, true), message)
    end
    local _, message = template.json(("["):rep(100000))
    assert.truthy(message:find "deeper than 100", message)
  end)
end)
