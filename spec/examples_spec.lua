--- The examples run as they are, each in under a minute on a quiet machine.
local support = require "spec.support"
local wane = require "wane"

-- Runs an example with the interpreter and paths of this run.
local function run(command)
  local lua = os.getenv "WANE_LUA" or "lua5.4"
  local p = assert(io.popen(("LUA_PATH='%s' LUA_CPATH='%s' %s %s 2>&1; echo \"status $?\""):format(
    package.path, package.cpath, lua, command)))
  local text = p:read "*a"
  p:close()
  assert(text:match "status 0%s*$", text)
  return text
end

describe("examples", function()
  local function slow()
    if os.getenv "WANE_SLOW" == "0" then support.skip "examples take a while" end
  end

  it("sweep: a table, a front, a report page", function()
    slow()
    local page = support.tmp "sweep.html"
    local text = run("examples/sweep.lua " .. page)
    assert.matches("careful +%d,%d%d%d,%d%d%d", text)
    assert.matches("Nothing beats these", text)
    local html = support.slurp(page)
    assert.matches("</html>%s*$", html)
    assert.equals(5, select(2, html:gsub('class="pane"', "")))
    os.remove(page)
  end)

  it("recipe: twenty lines from scratch", function()
    local lines = 0
    for _ in io.lines "examples/recipe.lua" do lines = lines + 1 end
    assert.is_true(lines <= 20)
    local to = support.tmp "recipe.gguf"
    local text = run("examples/recipe.lua examples/models/demo-f16.gguf " .. to)
    local bytes = tonumber(text:match ": (%d+) bytes, %d+%.%d+ bits per weight")
    assert.equals(bytes, #support.slurp(to))
    local m = assert(wane.load(to))
    m:close()
    os.remove(to)
  end)

  it("sensitivity: what each tensor costs, and the best mixes", function()
    slow()
    local text = run "examples/sensitivity.lua"
    assert.is_true(tonumber(text:match "measured loss: (%-?%d+%.%d+)") > 0.6, text)
    local last, n = math.huge, 0
    for loss in text:gmatch "estimated loss (%d+%.%d+)" do
      assert.is_true(tonumber(loss) < last, text)
      last, n = tonumber(loss), n + 1
    end
    assert.is_true(n >= 5, text)
    assert.equals(5, select(2, text:gsub("\n  %S+%.weight +q3_K", "")))
  end)

  it("gameloop: words a few milliseconds at a time", function()
    local text = run "examples/gameloop.lua"
    local tokens, frames = text:match "(%d+) tokens in (%d+) frames"
    assert.equals("48", tokens, text)
    assert.is_true(tonumber(frames) > 3, text) -- it came back in between
  end)

  it("architecture: a made-up family with a state of its own", function()
    local text = run "examples/architecture.lua"
    assert.matches("the same bits", text)
    local small, large = text:match "512 tokens keeps (%d+) bytes.-4096 tokens keeps (%d+) bytes"
    assert.equals(small, large)
  end)

  it("task: a custom task on three levels", function()
    local text = run "examples/task.lua"
    assert.equals(3, select(2, text:gsub("\nsense +[01]%.%d+", "")))
  end)

  it("codebook: k-means beats Q4_0 where both shrink the same matrices", function()
    slow()
    local text = run "examples/codebook.lua"
    local function kld(name) return tonumber(text:match("\n" .. name .. " [^\n]- [%+%-]%d+%.%d+ %% +(0%.%d+)")) end
    local q4, book = kld "Q4_0", kld "k%-means codebook"
    assert.is_true(q4 > 0 and book > 0 and book < q4, text)
  end)
end)
