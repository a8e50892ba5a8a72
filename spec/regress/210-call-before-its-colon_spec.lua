--- A call as bare JSON whose pieces end between a key and its colon was taken for
--- text.
local answer = require "wane.answer"

describe("a bare JSON call", function()
  it("is a call wherever its text is cut", function()
    local layout = { kind = "marked", calls = { kind = "json", section = "", open = "", close = "", section_close = "",
      name_key = "name", args_key = "arguments" } }
    for _, text in ipairs {
      '{"name": "f", "arguments": {"x": 1}}', '{ "name"\n:\n"f",\n"arguments"\n:   {"x" : 1 } }',
      "{" .. (" "):rep(300) .. '"name" : "f", "arguments": {"x": 1}}',
    } do
      for n = 1, #text do
        local p = answer.parser(layout)
        for i = 1, #text, n do p:feed(text:sub(i, i + n - 1)) end
        local m = p:finish()
        assert.equals("", m.content)
        assert.equals("f", m.tool_calls and m.tool_calls[1]["function"].name)
      end
    end
    local p = answer.parser(layout)
    p:feed '{ "nam'
    p:feed 'eless" : 1 }'
    assert.equals('{ "nameless" : 1 }', p:finish().content)
  end)
end)
