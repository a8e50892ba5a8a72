-- What users do with recipe files and importance, and what they were told:
-- a file that returns a function of the tensor was refused; a rule that matches
-- nothing was placed in a file of wane's own; include and exclude that match
-- nothing (or have no imatrix to choose from) passed in silence, and so did an
-- imatrix that knows no tensor of the model; a run that
-- finds too little space left an empty .part behind.
local S = require "spec.support"
local quantize = require "wane.quantize"
local recipe = require "wane.recipe"
local imatrix = require "wane.imatrix"

local DEMO = "examples/models/demo-f16.gguf"

local function recipe_file(text)
  local path = S.tmp ".lua"
  S.spit(path, text)
  return path
end

describe("mistakes with recipes and importance", function()
  S.check_leaks()

  it("a file may return a function of the tensor", function()
    local r = assert(recipe.load(recipe_file 'return function(t) return t.layer == 0 and "q8_0" or "q4_0" end'))
    local plan = assert(quantize { from = DEMO, recipe = r, dry_run = true })
    local types = {}
    for _, t in ipairs(plan.tensors) do types[t.name] = t.to end
    assert.equals("q8_0", types["blk.0.ffn_up.weight"])
    assert.equals("q4_0", types["blk.1.ffn_up.weight"])
  end)

  it("a rule is named by its line of the recipe file", function()
    local path = recipe_file '\nreturn recipe "Q4_K_M":when("no such tensor", "q8_0")'
    local plan, message = quantize { from = DEMO, recipe = assert(recipe.load(path)), dry_run = true }
    assert.is_nil(plan)
    assert.matches("no such tensor", message)
    assert.truthy(message:find(path:match "[^/]+$", 1, true), message)
    path = recipe_file '\nlocal r = recipe "Q4_K_M"\nr = r:when("no such tensor", "q8_0")\nreturn r'
    plan, message = quantize { from = DEMO, recipe = assert(recipe.load(path)), dry_run = true }
    assert.is_nil(plan)
    assert.truthy(message:find(path:match "[^/]+$" .. ":3", 1, true), message)
  end)

  it("include and exclude must match something", function()
    local values = {}
    for i = 1, 256 do values[i] = 1 + i % 3 end
    local im = imatrix.new { ["blk.0.ffn_up.weight"] = values }
    for _, option in ipairs { "include", "exclude" } do
      local o = { from = DEMO, recipe = "Q4_K_M", imatrix = im, dry_run = true }
      o[option] = { "ffn_up", "fnf_up" }
      local plan, message, code = quantize(o)
      assert.is_nil(plan)
      assert.equals("EFORMAT", code)
      assert.matches(option .. ": 'fnf_up' matches no tensor", message)
      o[option] = { "ffn_up" }
      assert(quantize(o))
      o.imatrix = nil
      assert.is_false((pcall(quantize, o)))
    end
    im:close()
  end)

  it("an imatrix of another model is refused", function()
    local plan, message, code = quantize { from = DEMO, recipe = "Q4_K_M", dry_run = true,
      imatrix = { ["encoder.0.ffn.weight"] = { 1, 2, 3 } } }
    assert.is_nil(plan)
    assert.equals("EFORMAT", code)
    assert.matches("'encoder.0.ffn.weight'.*made for another", message)
  end)

  it("a format defined in Lua says why no file can hold it", function()
    local report, message, code = quantize { from = DEMO, to = S.tmp ".gguf", recipe = "Q4_K_M",
      tensor_types = { { "ffn_down", "nf4" } } }
    assert.is_nil(report)
    assert.equals("EUNSUP", code)
    assert.matches("defined in Lua", message)
  end)

  it("no space leaves nothing behind", function()
    local to = S.tmp ".gguf"
    local p = io.popen(("sh -c 'ulimit -f 1; exec %s spec/support/quantize_once.lua %s %s Q8_0' 2>&1"):format(
      os.getenv "WANE_LUA" or "luajit", DEMO, to))
    local said = p:read "*a"
    p:close()
    assert.matches("may write files of", said)
    assert.is_false(S.exists(to) or S.exists(to .. ".part"))
  end)
end)
