local cli = require "wane.cli"
local support = require "spec.support"

local DEMO = "examples/models/demo-f16.gguf"

local run = require("spec.support.cli").run

describe("command line", function()
  support.check_leaks()

  it("tells its version and shows help", function()
    local status, out = run "--version"
    assert.equals(0, status)
    assert.truthy(out:find "^wane %d")
    status, out = run()
    assert.equals(2, status)
    for _, name in ipairs(cli.commands) do
      assert.truthy(out:find(name, 1, true), name)
    end
  end)

  it("refuses unknown commands and options", function()
    assert.equals(2, (run "frobnicate"))
    local status, _, err = run("perplexity", DEMO, "x", "--colour")
    assert.equals(2, status)
    assert.truthy(err:find "colour")
  end)

  it("measures perplexity", function()
    local status, out = run("perplexity", DEMO, "examples/text/heldout.txt", "--chunks", "2", "--json")
    assert.equals(0, status)
    local ppl = tonumber(out:match '"perplexity":([%d.]+)')
    assert.is_true(ppl > 10 and ppl < 60)
    assert.truthy(out:find '"tokens":510')
  end)

  it("generates", function()
    local status, out, err = run("generate", DEMO, "Once upon a time", "-n", "8", "--temperature", "0")
    assert.equals(0, status)
    assert.truthy(out:find "^Once upon a time")
    assert.truthy(err:find "8 tokens")
  end)

  it("says what is wrong and returns 1", function()
    local status, _, err = run("perplexity", "build/no-such-file.gguf", "examples/text/heldout.txt")
    assert.equals(1, status)
    assert.truthy(err:find "no%-such%-file")
    status, _, err = run("perplexity", DEMO, "examples/models/CORPUS.md", "--context", "100000")
    assert.equals(1, status)
    assert.is_true(#err > 0)
  end)

  it("escapes control characters of a file's strings", function()
    local path = support.tmp "esc.gguf"
    local f = assert(require("wane.gguf").open(DEMO))
    assert(f:write(path, { set = { ["general.name"] = "red \27[31m alert" } }))
    f:close()
    local status, out = run("inspect", path, "--meta")
    assert.equals(0, status)
    assert.truthy(out:find("red \\x1b[31m alert", 1, true))
    assert.is_nil(out:find "\27")
    os.remove(path)
  end)
end)
