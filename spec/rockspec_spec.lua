local support = require "spec.support"

describe("rockspec", function()
  local rock = {}
  local text = support.slurp "wane-dev-1.rockspec"
  if rawget(_G, "setfenv") then
    local chunk = assert(rawget(_G, "loadstring")(text))
    rawget(_G, "setfenv")(chunk, rock)
    chunk()
  else
    assert(load(text, "rockspec", "t", rock))()
  end

  it("names what the program needs beside Lua", function()
    local found
    for _, d in ipairs(rock.dependencies) do
      found = found or d:match "^argparse"
    end
    assert.equal("argparse", found)
  end)

  it("builds through the Makefile, which knows every source", function()
    assert.equal("make", rock.build.type)
    local makefile = support.slurp "Makefile"
    for _, target in ipairs { rock.build.build_target, rock.build.install_target } do
      assert.truthy(makefile:find("\n" .. target .. ":", 1, true), target)
    end
    for name in pairs(rock.build.install_variables) do
      assert.truthy(makefile:find("$(" .. name .. ")", 1, true), name)
    end
  end)
end)
