--- The reference is what the comments give now: `make reference` was run.
local support = require "spec.support"
local reference = require "spec.support.reference"

describe("reference:", function()
  for path, text in pairs(reference.files()) do
    it(path .. " is up to date (make reference)", function()
      assert(support.slurp(path) == text, path .. " differs from what the comments say: run make reference")
    end)
  end

  it("has every part of wane", function()
    local text = support.slurp "docs/reference.md"
    for name in support.slurp("lua/wane/init.lua"):gmatch "\n  (%w+) = { \"wane" do
      assert(text:find("wane." .. name, 1, true), name)
    end
    for _, how in ipairs { "wane.load(path, opts)", "model:context(opts)", "recipe:when(pattern, to)", "wane.gguf.open(path, opts)",
      "chat:ask(message)", "wane.sample.new(model, opts)", "generation:step(budget)", "wane.eval.perplexity(model, text, opts)" } do
      assert(text:find("### " .. how .. "\n", 1, true), how)
    end
  end)

  it("has types and results of what a function takes and gives", function()
    local text = support.slurp("docs/reference.md"):match "### wane.eval.perplexity%(.-\n### "
      or support.slurp("docs/reference.md"):match "### wane.eval.perplexity%(.-\n## "
    assert.truthy(text:find("* `model` `wane.Model`", 1, true))
    assert.truthy(text:find("* `text` `string|integer[]` text, or token ids", 1, true))
    assert.truthy(text:find("* `wane.Perplexity|nil` result", 1, true))
  end)

  it("misuse raises in words", function()
    local wane = require "wane"
    assert.error_matches(function() wane.answer.detect(5) end, "answer.detect: t: want a compiled template, got 5")
    assert.error_matches(function() wane.template.float "x" end, "template.float: n: want a number, got \"x\"")
    assert.error_matches(function() wane.template.integer "1.5" end, "template.integer: digits: want decimal digits in a string")
    assert.error_matches(function() wane.report.clip(5, 3) end, "report.clip: s: want a string, got 5")
    assert.error_matches(function() wane.explain("q4_K"):table() end, "explain:table: 'q4_K' is a type: only a mix has a table")
  end)

  it("says of every function what it takes and how it fails", function()
    assert.same({}, reference.without_types())
    assert.same({}, reference.without_errors())
  end)

  it("types every method of the C handles", function()
    local types = support.slurp "lua/wane/types.lua"
    local buffer = require("wane.quant").buffer(2, 3)
    for _, name in ipairs { "shape", "rows", "copy", "set", "fill", "bytes", "table", "stats" } do
      assert.is_function(buffer[name])
      assert.truthy(types:find("function Buffer:" .. name .. "(", 1, true), name)
    end
    assert.truthy(types:find("function Buffer:rows(first, last) end", 1, true))
  end)

  it("Neovim takes the help file", function()
    if os.execute "command -v nvim > /dev/null 2>&1" ~= 0 and os.execute "command -v nvim > /dev/null 2>&1" ~= true then
      support.skip "Neovim is not installed"
    end
    local dir = support.tmp "help"
    local p = assert(io.popen(("mkdir -p %s/doc && cp doc/wane.txt %s/doc && timeout 60 nvim --headless -u NONE -c 'helptags %s/doc' "
      .. "-c 'set rtp+=%s' -c 'help wane.load()' -c 'echo expand(\"%%:t\")' -c 'qa!' 2>&1; wc -l < %s/doc/tags; rm -rf %s"):format(
      dir, dir, dir, dir, dir, dir)))
    local said = p:read "*a"
    p:close()
    assert.is_nil(said:find "E%d+:", said)
    assert.truthy(said:find("wane.txt", 1, true), said)
    assert.is_true(tonumber(said:match "(%d+)%s*$") > 200, said)
  end)
end)
