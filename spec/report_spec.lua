local report = require "wane.report"

describe("report", function()
  local t = report.table {
    { key = "name", title = "name" },
    { key = "n", title = "count", format = "%d" },
  }
  t:add({ name = "a|b", n = 3 }):add { name = 'say "x", y', n = 12345 }

  it("prints aligned text", function()
    local lines = {}
    for line in tostring(t):gmatch "[^\n]+" do
      lines[#lines + 1] = line
    end
    assert.equals(4, #lines)
    assert.equals("a|b             3", lines[3])
    assert.equals(#lines[3], #lines[4])
  end)

  it("escapes Markdown", function() assert.truthy(t:markdown():find("a\\|b", 1, true)) end)

  it("quotes CSV", function()
    assert.equals('name,n\r\na|b,3\r\n"say ""x"", y",12345\r\n', t:csv())
  end)

  it("writes JSON with sorted keys", function()
    assert.equals('[{"n":3,"name":"a|b"},{"n":12345,"name":"say \\"x\\", y"}]', t:json())
    assert.equals('{"a":[],"b":null}', (report.json { b = 0 / 0, a = {} }))
    assert.equals('"\\u0001\\n"', report.json "\1\n")
  end)

  it("formats numbers", function()
    assert.equals("4,582,880", report.count(4582880))
    assert.equals("-12", report.count(-12))
    assert.equals("4.4 MiB", report.bytes(4582880))
    assert.equals("1:15", report.seconds(75.2))
  end)

  it("makes text safe for a terminal", function()
    assert.equals("\\x1b[2J ? ok", report.printable "\27[2J \194\155 ok")
  end)
end)
