--- `wane quantize` and `wane inspect`, through the real command line.
local cjson = require "cjson"
local gguf = require "wane.gguf"
local sources = require "spec.support.sources"
local support = require "spec.support"

local demo = "examples/models/demo-f16.gguf"
local has_argparse = pcall(require, "argparse")

describe("command line", function()
  support.check_leaks()
  local made = {}
  local function tmp(suffix)
    local p = support.tmp(suffix or "cli.gguf")
    made[#made + 1] = p
    return p
  end
  after_each(function()
    for _, p in ipairs(made) do os.remove(p) end
    made = {}
  end)

  -- Runs a command; returns status, lines printed, notes.
  local function wane(...)
    if not has_argparse then return pending "SKIPPED: argparse is absent" end
    local printed, notes, bars = {}, {}, 0
    local out = {
      print = function(...) printed[#printed + 1] = table.concat({ ... }, "\t") end,
      write = function(s) printed[#printed + 1] = s end,
      note = function(...) notes[#notes + 1] = table.concat({ ... }, " ") end,
      progress = function(p)
        if p then
          bars = bars + 1
          assert(p.done >= 0 and p.done <= 1 and type(p.text) == "string")
        end
      end,
    }
    local status = require("wane.cli").main({ ... }, out)
    return status, table.concat(printed, "\n"), table.concat(notes, "\n"), bars
  end

  it("quantizes with a progress bar and a summary", function()
    local out = tmp()
    local status, text, notes, bars = wane("quantize", demo, out, "Q4_K_M")
    if not status then return end
    assert.equal(0, status, notes)
    assert.matches("4.92 bits per weight, 0.0 %% of the weights fell back", text)
    assert(bars > 3)
    local f = assert(gguf.open(out))
    assert.equal(15, f.meta["general.file_type"])
    f:close()
    status, text, notes = wane("quantize", demo, out, "Q4_K_M")
    assert.equal(1, status)
    assert.matches("exists", notes)
    assert.equal("", text)
  end)

  it("passes every option on", function()
    local out = tmp()
    local status, text, notes = wane("quantize", demo, out, "Q4_0", "--tensor-type", "ATTN_V=q8_0",
      "--tensor-type", "blk\\.[01]\\.ffn_down=q6_k", "--output-tensor-type", "f16", "--override-kv",
      "general.name=str:x=y", "--override-kv", "x.n=int:-3", "--threads", "1", "--json")
    if not status then return end
    assert.equal(0, status, notes)
    local r = cjson.decode(text)
    local to = {}
    for _, t in ipairs(r.tensors) do to[t.name] = t.to end
    assert.equal("q8_0", to["blk.3.attn_v.weight"])
    assert.equal("q6_K", to["blk.1.ffn_down.weight"])
    assert.equal("q4_0", to["blk.2.ffn_down.weight"])
    local f = assert(gguf.open(out))
    assert.equal("x=y", f.meta["general.name"])
    assert.equal(-3, f.meta["x.n"])
    assert.equal("i32", f:type_of "x.n")
    f:close()
  end)

  it("shows every decision on a dry run, and writes nothing", function()
    local out = tmp()
    local status, text = wane("quantize", demo, out, "IQ2_XS", "--dry-run")
    if not status then return end
    assert.equal(0, status)
    assert.matches("blk.0.attn_q.weight%s+%S+%s+f16%s+%-> iq2_xs", text)
    assert.matches("will require an imatrix", text)
    assert.is_false(support.exists(out))
  end)

  it("runs recipe files", function()
    local out, file = tmp(), tmp "recipe.lua"
    support.spit(file, 'return recipe "Q8_0":role("ffn_up", "q4_0")')
    local status, _, notes = wane("quantize", demo, out, file)
    if not status then return end
    assert.equal(0, status, notes)
    support.spit(file, "return os.exit(9)")
    status, _, notes = wane("quantize", demo, out, file)
    assert.equal(1, status)
    assert.matches("recipe.lua:1", notes)
  end)

  it("explains wrong usage", function()
    for pattern, args in pairs {
      ["want PATTERN=TYPE"] = { "--tensor-type", "x" },
      ["want KEY=TYPE:VALUE"] = { "--override-kv", "a:b" }, ["the value 'b' is not an integer"] = { "--override-kv", "a=int:b" },
      ["want numbers"] = { "--prune-layers", "1,x" }, ["want I/N"] = { "--shard", "3" },
      ["unknown type 'q9'"] = { "--fallback", "q9" },
    } do
      local status, _, notes = wane("quantize", demo, "never.gguf", "Q8_0", args[1], args[2])
      if not status then return end
      assert.equal(1, status)
      assert.matches(pattern, notes)
    end
  end)

  it("inspects files, with control characters escaped", function()
    local out = tmp()
    support.spit(out, sources.build {
      seed = 1,
      kv = { { "general.architecture", "str", "llama" }, { "general.name", "str", "evil\27[2Jname" } },
      tensors = { { "token_embd.weight", { 32, 4 }, 1 } },
    })
    local status, text, notes = wane("inspect", out)
    if not status then return end
    assert.equal(0, status, notes)
    assert.is_nil(text:find "\27")
    assert.matches("evil", text)
    assert.matches("token_embd.weight%s+f16", text)
    assert.matches("tensors %(", text)
    status, text = wane("inspect", out, "--json")
    assert.equal(0, status)
    local r = cjson.decode(text)
    assert.equal("token_embd.weight", r.tensors[1].name)
    status, text = wane("inspect", out, "--key", "general.architecture")
    assert.equal(0, status)
    assert.equal("llama", text)
    assert.equal(1, (wane("inspect", out, "--key", "no.such.key")))
    assert.equal(1, (wane("inspect", "nowhere.gguf")))
  end)

  it("inspects importance matrices", function()
    local path = support.conformance "eval/demo.imatrix.dat"
    if not path then return end
    local status, text = wane("inspect", path)
    if not status then return end
    assert.equal(0, status)
    assert.matches("56 entries", text)
  end)
end)
