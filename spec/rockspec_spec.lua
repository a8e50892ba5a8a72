local support = require "spec.support"

-- A rockspec as a table.
local function read(path)
  local text, rock = support.slurp(path), {}
  if rawget(_G, "setfenv") then
    local chunk = assert(rawget(_G, "loadstring")(text))
    rawget(_G, "setfenv")(chunk, rock)
    chunk()
  else
    assert(load(text, path, "t", rock))()
  end
  return rock
end

describe("rockspec", function()
  local version = require("wane").version
  local release = ("wane-%s-1.rockspec"):format(version)

  it("of this version is there, and is the other one but for version and tag", function()
    local dev, this = read "wane-dev-1.rockspec", read(release)
    assert.equal(version .. "-1", this.version)
    assert.equal("v" .. version, this.source.tag)
    assert.equal(dev.source.url, this.source.url)
    assert.truthy(support.slurp "CHANGELOG.md":find("## " .. version, 1, true))
    dev.version, dev.source, this.version, this.source = nil, nil, nil, nil
    assert.same(dev, this)
  end)

  for _, path in ipairs { "wane-dev-1.rockspec", release } do
    it(path .. " names what the program needs beside Lua", function()
      local found
      for _, d in ipairs(read(path).dependencies) do
        found = found or d:match "^argparse"
      end
      assert.equal("argparse", found)
    end)

    it(path .. " builds through the Makefile, which knows every source", function()
      local rock = read(path)
      assert.equal("make", rock.build.type)
      local makefile = support.slurp "Makefile"
      for _, target in ipairs { rock.build.build_target, rock.build.install_target } do
        assert.truthy(makefile:find("\n" .. target .. ":", 1, true), target)
      end
      for name in pairs(rock.build.install_variables) do
        assert.truthy(makefile:find("$(" .. name .. ")", 1, true), name)
      end
    end)
  end
end)
