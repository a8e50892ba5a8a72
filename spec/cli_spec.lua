local cli = require "wane.cli"
local support = require "spec.support"

local unpack = rawget(table, "unpack") or rawget(_G, "unpack")
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

  it("says how the verb is used, and which option a value was for", function()
    for line, want in pairs {
      ["quantize a.gguf"] = "Usage: wane quantize.*missing argument 'to' %(wane quantize %-%-help tells all%)",
      ["generate a.gguf x -n many"] = "Usage: wane generate.*%-%-max%-tokens: want a number, found 'many'",
      ["quantise a b c"] = "Usage: wane %[.*unknown command 'quantise'.*Did you mean 'quantize'.*%(wane %-%-help tells all%)$",
    } do
      local words = {}
      for word in line:gmatch "%S+" do words[#words + 1] = word end
      local status, out, err = run(unpack(words))
      assert.equals(2, status)
      assert.equals("", out)
      assert.matches(want, err)
    end
  end)

  it("takes negative numbers, and -1 for no limit", function()
    for _, words in ipairs { { "--temperature", "-1" }, { "--temperature=-1" } } do
      local status, _, err = run("generate", DEMO, "Once", "-n", "4", unpack(words))
      assert.equals(1, status)
      assert.matches("%-%-temperature: want a number from 0", err)
    end
    local status, out = run("generate", DEMO, "Once upon", "-n", "-1", "-c", "24", "--temperature", "0", "--json")
    assert.equals(0, status)
    assert.matches('"state":"context"', out)
  end)

  it("a file that is there is only replaced by --overwrite", function()
    local path = support.tmp "there.gguf"
    support.spit(path, "x")
    local status, _, err = run("quantize", DEMO, path, "Q8_0")
    assert.equals(1, status)
    assert.matches("exists %(%-%-overwrite replaces it%)", err)
    assert.equals("x", support.slurp(path))
    os.remove(path)
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
