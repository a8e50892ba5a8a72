-- jinja2's own text, expression by expression and render by render: what 3.1.6
-- with Hugging Face's settings writes, and what it refuses.
local S = require "spec.support"
local template = require "wane.template"

local function fields(ordered)
  local out = {}
  for _, p in ipairs(ordered) do out[p[1]] = p[2] end
  return out
end

--- Objects in memory have an address in Python; there is none here.
local function without_addresses(text)
  return text and text:gsub("0x%x%x%x%x%x+", "0x")
end

describe("jinja2", function()
  S.check_leaks()

  it("every expression of the battery is equal, refusals included", function()
    local vars = S.slurp(S.conformance "jinja/vars.json")
    local n = 0
    for line in io.lines(S.conformance "jinja/battery.jsonl") do
      local r = fields(assert(template.json(line)))
      local text, message = template.render(r.source, fields(assert(template.json(vars))))
      if r.text == template.null then
        assert(text == nil, ("%s: %q, want it refused"):format(r.source, tostring(text)))
        assert(message:find "^template: line %d+, column %d+: ", message)
      else
        assert(without_addresses(text) == without_addresses(r.text),
          ("%s: %s, want %q"):format(r.source, text and ("%q"):format(text) or message, r.text))
      end
      n = n + 1
    end
    assert.equal(709, n)
  end)

  it("every public template renders every conversation equally", function()
    local conversations, compiled, n = fields(assert(template.json(S.slurp(S.conformance "jinja/conversations.json")))), {}, 0
    local day = os.time { year = 2026, month = 11, day = 29, hour = 12 } -- when jinja2 rendered
    for line in io.lines(S.conformance "jinja/renders.jsonl") do
      local r = fields(assert(template.json(line)))
      if not compiled[r.template] then
        compiled[r.template] = assert(template.compile(S.slurp(S.conformance("templates/jinja/" .. r.template))))
      end
      local text, message = compiled[r.template]:render(fields(conversations[r.conversation]), { time = day })
      local what = r.template .. " " .. r.conversation
      if r.text == template.null then
        assert(text == nil, what .. ": want it refused")
        assert(message:find "^template: line %d+, column %d+: ", message)
      else
        assert(text == r.text, what .. ": " .. tostring(message or text))
      end
      n = n + 1
    end
    assert.equal(1326, n)
  end)

  -- what the battery lacks: made with jinja2 3.1.6 in the same settings
  it("numbers", function()
    for source, want in pairs {
      ["{{ 2 ** 100 }}"] = "1267650600228229401496703205376",
      ["{{ 123456789012345678 * 987654321 }}"] = "121932631124828531222374638",
      ["{{ 9007199254740993 + 0 }} {{ -9007199254740993 // 10 }} {{ 9007199254740993 % 10 }}"] =
        "9007199254740993 -900719925474100 3",
      ["{{ 10 ** 30 // 7 ** 20 }} {{ 10 ** 30 % 7 ** 20 }}"] = "12532542894196 67743503997153804",
      ["{{ 9007199254740993 == 9007199254740992.0 }}"] = "False",
      ["{{ [9007199254740993]|tojson }} {{ '%d' % (2 ** 70) }}"] = "[9007199254740993] 1180591620717411303424",
      ["{{ 0.1 + 0.2 }} {{ 1e22 }} {{ 123456789.125 }} {{ 1.0e-10 }}"] =
        "0.30000000000000004 1e+22 123456789.125 1e-10",
      ["{{ 2.5|round }} {{ 3.5|round }} {{ 0.125|round(2) }} {{ '%.1f' % 0.25 }} {{ 25|round(-1) }}"] = "2.0 4.0 0.12 0.2 20",
      ["{{ -7 // 2 }} {{ -7 % 3 }} {{ 7 // -2.0 }} {{ -7.5 % 2 }}"] = "-4 2 -4.0 0.5",
      ["{{ '{:,}'.format(1234567.5) }} {{ '{:+08.2f}|{:^9}|{:x}'.format(3.14159, 'mid', 255) }}"] =
        "1,234,567.5 +0003.14|   mid   |ff",
      ["{{ '%5.1f|%-6s|%+d|%x|%e|%g' % (2.25, 'ab', 5, 255, 12345.678, 0.0001) }}"] =
        "  2.2|ab    |+5|ff|1.234568e+04|0.0001",
    } do
      assert.equal(want, (template.render(source, {})), source)
    end
  end)

  it("names are found where a template says them", function()
    for source, want in pairs {
      ["{% macro m() %}{{ x }}{% endmacro %}{% for x in [1] %}{{ m() }}{% endfor %}"] = "",
      ["{% set x = 0 %}{% macro m() %}{{ x }}{% endmacro %}{% for x in [1] %}{{ m() }}{% endfor %}"] = "0",
      ["{% set b = 1 %}{% macro m(a=b, b=2) %}[{{ a }}{{ b }}]{% endmacro %}{{ m() }}{{ m(b=5) }}{{ m(3) }}"] = "[2][55][32]",
      ["{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}"] = "1",
      ["{% set x %}{% set y = 1 %}{{ y }}{% endset %}{{ x }}{{ y }}"] = "1",
      ["{% for a in [[1, [2, 3]]] %}{% set b, c = a %}{{ b }}{{ c }}{% endfor %}"] = "1[2, 3]",
      ["{% for a, (b, c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}"] = "123",
      ["{% for i in [[1, [[2, []]]]] recursive %}{{ i[0] }}:{{ loop.depth }}{{ loop(i[1]) }}{% endfor %}"] = "1:12:2",
      ["{% if false %}{{ 1|nosuch }}{% endif %}ok"] = "ok",
    } do
      assert.equal(want, (template.render(source, {})), source)
    end
    for _, source in ipairs {
      "{{ 1|nosuch }}", "{% for x in [] %}{{ x|nosuch }}{% endfor %}", "{% break %}", "{% for loop in [1] %}{% endfor %}",
      "{% set true = 1 %}", "{{ f(a=1, a=2) }}", "{% macro m(a=1, b) %}{% endmacro %}", "{{ [1].append(2) }}", "{{ {}.update({}) }}",
      "{{ 'a'|upper(1) }}", "{{ x.y }}", "{% include 'x' %}", "{{ range(3)|map('upper', 1)|list }}", "{{ {[1]: 2} }}",
    } do
      assert.is_nil((template.render(source, {})), source)
    end
  end)
end)
