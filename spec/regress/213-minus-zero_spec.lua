--- A bound of -0, or of a little less, is 0: LuaJIT writes its ceiling as "-0",
--- and numbers of two digits with leading zeros came of it, or an error of ours.
local core = require "wane.core"
local schema = require "wane.schema"
local support = require "spec.support"
local wane = require "wane"

describe("a bound of -0", function()
  support.check_leaks()

  it("is 0", function()
    local vocab = assert(wane.vocab.open "examples/models/demo-f16.gguf")
    local tokens = assert(core.grammar.tokens(vocab.handle))
    for _, c in ipairs {
      { '{"type":"integer","minimum":-0.0}', { "0", "5", "12" }, { "01", "-1" } },
      { '{"type":"integer","minimum":-0.5,"maximum":3}', { "0", "3" }, { "00", "-0", "4" } },
      { '{"type":"integer","maximum":-0.0}', { "0", "-7" }, { "1", "-07" } },
      { '{"type":"number","minimum":-0.0,"maximum":1}', { "0.5", "1.0" }, { "-0.5", "1.5" } },
      { '{"type":"integer","multipleOf":3,"minimum":-0.0,"maximum":9}', { "0", "9" }, { "-3" } },
      { '{"type":"array","items":{"type":"integer","minimum":-0.5,"maximum":2},"uniqueItems":true}', { "[0,1]", "[2]" }, { "[0,0]", "[-0]" } },
    } do
      local g = assert(core.grammar.new(assert(schema.compile(c[1]))))
      local m = assert(core.grammar.match(g, tokens))
      local function takes(text)
        m:reset()
        for _, id in ipairs(vocab:encode(text, { special = false })) do
          if not m:accept(id) then return false end
        end
        return m:may_end()
      end
      for _, text in ipairs(c[2]) do assert(takes(text), c[1] .. " does not take " .. text) end
      for _, text in ipairs(c[3]) do assert(not takes(text), c[1] .. " takes " .. text) end
      m:close()
      g:close()
    end
    tokens:close()
    vocab:close()
  end)
end)
