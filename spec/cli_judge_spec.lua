--- The commands that judge: compare, tasks, fit, explain.
local cli = require "wane.cli"
local demo = require "spec.support.demo"
local support = require "spec.support"

-- Runs a command line; returns status, output, notes.
local function run(...)
  if not pcall(require, "argparse") then support.skip "argparse is absent" end
  local lines, notes = {}, {}
  local status = cli.main({ ... }, {
    print = function(s) lines[#lines + 1] = tostring(s) end, write = function(s) lines[#lines + 1] = s end,
    note = function(s) notes[#notes + 1] = s end, progress = function() end,
  })
  return status, table.concat(lines, "\n"), table.concat(notes, "\n")
end

describe("the command line", function()
  support.check_leaks()

  it("compares, and writes reports", function()
    local page, md = support.tmp "x.html", support.tmp "x.md"
    local status, out, notes = run("compare", demo.path, "Q8_0", "q4_0", "--text", demo.text_path, "--chunks", "1", "-c", "64",
      "--no-speed", "-o", page, "-o", md, "--tensor", "output.weight")
    assert.equals(0, status, notes)
    assert.matches("Q8_0 +7,88%d,%d%d%d", out)
    assert.matches("q4_0", out)
    assert.matches("Weights and grid", support.slurp(page))
    assert.matches("^| model", support.slurp(md))
    os.remove(page)
    os.remove(md)
  end)

  it("runs tasks", function()
    local path = support.tmp "q.jsonl"
    support.spit(path, '{"ctx":"Once upon a","endings":["time","banana"],"label":0}\n')
    local status, out = run("tasks", demo.path, path, "--json")
    assert.equals(0, status)
    local r = require("cjson").decode(out)
    assert.equals(1, r[1].n)
    assert.equals(1, r[1].score)
    os.remove(path)
  end)

  it("fits files, machines and imagined models", function()
    local status, out = run("fit", demo.path, "--ram", "32M", "--reserve", "1M")
    assert.equals(0, status)
    assert.matches("take Q6_K", out)
    status, out = run("fit", "--ram", "16G")
    assert.equals(0, status)
    assert.matches("\n70B +%-", out)
    status, out = run("fit", "--params", "70B", "--layers", "80", "--ram", "64G", "--json")
    assert.equals(0, status)
    assert.equals(80, require("cjson").decode(out).layers)
    local notes
    status, out, notes = run "fit"
    assert.equals(1, status)
    assert.equals("", out)
    assert.matches("want a GGUF file", notes)
  end)

  it("explains", function()
    local status, out = run("explain", "IQ3_XXS", demo.path)
    assert.equals(0, status)
    assert.matches("in examples/models/demo%-f16.gguf", out)
    local notes
    status, out, notes = run("explain", "nonsense")
    assert.equals(1, status)
    assert.equals("", out)
    assert.matches("^wane: no type and no label 'nonsense'", notes)
  end)

  it("says what is wrong in a sentence", function()
    local status, _, notes = run("compare", demo.path, "Q9", "--text", demo.text_path)
    assert.equals(1, status)
    assert.matches("^wane: compare: candidate 1: 'Q9' is no file", notes)
    status, _, notes = run("compare", demo.path, "Q8_0", "--text", "absent.txt")
    assert.equals(1, status)
    assert.matches("absent.txt", notes)
    status, _, notes = run("compare", demo.path, "Q8_0")
    assert.equals(2, status)
    assert.matches("text", notes)
  end)
end)
