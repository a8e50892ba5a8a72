local rockspec = require "spec.support.rockspec"
local support = require "spec.support"

describe("rockspec", function()
  it("lists every source and module", function()
    assert(
      support.slurp "wane-dev-1.rockspec" == rockspec.text(),
      "the rockspec is behind the tree: lua5.4 spec/support/rockspec.lua > wane-dev-1.rockspec"
    )
  end)
end)
