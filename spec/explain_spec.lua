--- What types and labels are: the layouts add up, and what a label gives to
--- the tensors of a file is what quantizing gives them.
local demo = require "spec.support.demo"
local layouts = require "wane.explain.layouts"
local support = require "spec.support"
local wane = require "wane"

describe("explain", function()
  support.check_leaks()

  it("draws every type, and its fields add up to the block", function()
    for _, t in ipairs(wane.quant.types()) do
      if t.id then
        local e = assert(wane.explain(t.name))
        local sum, at = 0, e:text()
        for _, f in ipairs(e.fields) do
          sum = sum + f.bytes
          assert.truthy(at:find(("  %-9s %3d bytes  %s"):format(f.name, f.bytes, f.content), 1, true))
        end
        assert.equals(t.bytes, sum, t.name)
        assert.near(8 * t.bytes / t.block, e.bits_per_weight, 1e-12)
        if t.class == "quant" then assert.is_table(layouts.of[t.name]) end
      end
    end
  end)

  it("fits the terminal, as far as the names of fields allow", function()
    for _, what in ipairs { "q4_K", "iq4_xs", "Q4_K_M", "IQ4_XS" } do
      for _, room in ipairs { 60, 80 } do
        for line in wane.explain(what):text(room):gmatch "[^\n]+" do assert.is_true(#line <= room, line) end
      end
    end
    assert.truthy(tostring(wane.explain "q4_K"):find("+---+------+--------+-", 1, true))
  end)

  it("draws bars of equal length", function()
    local lines = layouts.draw(assert(wane.explain "q4_K").fields)
    assert.equals(#lines[1], #lines[2])
    assert.matches("^0 +2 +4 +16 +144$", lines[4])
  end)

  it("explains every label in a usual model", function()
    for _, name in ipairs(wane.recipe.names()) do
      local e = assert(wane.explain(name))
      assert.is_table(e.mix)
      assert.truthy(e:text():find(name .. ": ", 1, true))
      if e.mix.base then assert.is_true(e.plan.bpw > 1 and #e:table().rows > 5) end
    end
  end)

  it("tells what gets what in a file, as quantizing does", function()
    local e = assert(wane.explain("Q4_K_M", demo.path))
    local path = support.tmp "explained.gguf"
    assert(wane.quantize { from = demo.path, to = path, recipe = "Q4_K_M" })
    local f = assert(wane.gguf.open(path))
    local of = {}
    for _, d in ipairs(e.plan.tensors) do of[d.name] = d.to end
    for _, t in ipairs(f.tensors) do assert.equals(t.type, of[t.name]) end
    f:close()
    os.remove(path)
    local bytes, n = 0, 0
    for _, row in ipairs(e:table().rows) do bytes, n = bytes + row.bytes, n + row.n end
    assert.equals(e.plan.bytes, bytes)
    assert.equals(#e.plan.tensors, n)
    assert.matches("attn_v +q6_K +0, 3, 6%-7 +4", e:text())
    local j = require("cjson").decode(e:json())
    assert.equals(n, #j.tensors)
  end)

  it("knows formats defined in Lua, and names that are both", function()
    assert.matches("defined in Lua", assert(wane.explain "nf4"):text())
    assert.equals("type and mix", assert(wane.explain "Q8_0").kind)
    assert.equals("type", assert(wane.explain "q4_K").kind)
    assert.equals("mix", assert(wane.explain "Q4_K_M").kind)
  end)

  it("says what is wrong", function()
    local e, message, code = wane.explain "Q4_K_XXL"
    assert.is_nil(e)
    assert.matches("no type and no label 'Q4_K_XXL'", message)
    assert.equals("ENOENT", code)
    assert.error_matches(function() wane.explain(4) end, "explain: what: want a string, got 4")
    assert.error_matches(function() wane.explain("q4_K", { file = "x" }) end, "explain: unknown option 'file'")
    e, message = wane.explain("Q4_K_M", "absent.gguf")
    assert.is_nil(e)
    assert.matches("absent.gguf", message)
  end)
end)
