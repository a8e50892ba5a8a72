-- core.quant.blocks took memory for the shape before it compared the length of
-- the string: a claim of terabytes must be refused for its length.
local S = require "spec.support"
local core = require "wane.core"

describe("blocks from bytes", function()
  S.check_leaks()

  it("compare the length before they take memory", function()
    local ok, message = pcall(core.quant.blocks, "q4_0", ("x"):rep(18), 2 ^ 24, 2 ^ 20)
    assert.is_false(ok)
    assert.matches("the string has 18 bytes, want 9895604649984 %(16777216 rows of 589824%)", message)
    ok, message = pcall(core.quant.blocks, "q8_0", "", 2 ^ 40, 2 ^ 40)
    assert.is_false(ok)
    assert.matches("the string has 0 bytes", message)
  end)

  it("still take bytes of the right length", function()
    local q = assert(core.quant.blocks("q8_0", ("\0"):rep(68), 2, 32))
    assert.equals(68, #q:bytes())
    q:close()
  end)
end)
