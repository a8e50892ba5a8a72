--- What the program asks a terminal and the system: Ctrl-C, widths, tables and
--- the progress bar in them.
local core = require "wane.core"
local out = require "wane.cli.out"
local report = require "wane.report"
local support = require "spec.support"

-- Ctrl-C for this process. (os.execute would ignore it meanwhile.)
local function press()
  local p = assert(io.popen "kill -INT $PPID")
  p:close()
end

describe("Ctrl-C", function()
  after_each(function()
    core.terminal.taken()
    core.terminal.unwatch()
  end)

  it("is noted, once, and ends a wait", function()
    assert.is_true(core.terminal.watch "note")
    assert.is_false(core.terminal.watch "note") -- it is watched already
    assert.is_false(core.terminal.taken())
    press()
    assert.equal("interrupt", core.terminal.wait(60000))
    assert.is_true(core.terminal.taken())
    assert.is_false(core.terminal.taken())
    assert.not_equal("interrupt", core.terminal.wait(0))
  end)

  it("raises where it is asked to, also in the middle of a loop", function()
    core.terminal.watch "raise"
    local ok, message = pcall(function()
      press()
      for _ = 1, 1e9 do tostring(1) end
    end)
    assert.is_false(ok)
    assert.matches("wane: interrupted", message)
    assert.is_true(core.terminal.taken())
    for _ = 1, 1000 do tostring(1) end -- and only once
  end)

  it("is the host's again after unwatch, and a second one ends the process", function()
    local lua = os.getenv "WANE_LUA" or "lua5.4"
    if os.getenv "WANE_WRAP" then support.skip "the library of this lane wants a preloaded runtime" end
    local function status(code)
      local p = assert(io.popen(("LUA_CPATH='%s' %s -e '%s' > /dev/null 2>&1; echo $?"):format(package.cpath, lua, code)))
      local n = tonumber(p:read "*l")
      p:close()
      return n
    end
    local kill = 'local p = io.popen "kill -INT $PPID" p:close() '
    local watch = 'local t = require "wane.core".terminal t.watch "note" '
    assert.equal(0, status(watch .. kill .. "os.exit(t.taken() and 0 or 1)"))
    assert.equal(130, status(watch .. kill .. kill .. "os.exit(0)"))
    assert.equal(0, status(watch .. kill .. "t.taken() " .. kill .. "os.exit(t.taken() and 0 or 1)"))
    assert.equal(1, status(watch .. "t.unwatch() " .. kill .. "os.exit(0)")) -- the interpreter's own: an error
  end)

  it("refuses nonsense", function()
    assert.has_error(function() core.terminal.watch "shout" end)
    assert.has_error(function() core.terminal.wait "long" end)
    assert.is_nil(core.terminal.width(1048576))
  end)

  it("ends a verb with status 130, and leaves nothing behind", function()
    local lua = os.getenv "WANE_LUA" or "lua5.4"
    if os.getenv "WANE_WRAP" then support.skip "the library of this lane wants a preloaded runtime" end
    local dir = support.tmp "stopped"
    -- the progress of the verb tells when it works; then Ctrl-C is pressed
    local code = ([[
      local cli, core = require "wane.cli", require "wane.core"
      local terminal = require("wane.cli.out").terminal
      require("wane.cli.out").terminal = function()
        local out = terminal()
        local n = 0
        out.progress = function(p)
          n = n + (p and 1 or 0)
          if p and n == 3 then local k = io.popen "kill -INT $PPID" k:close() end
        end
        return out
      end
      os.exit(cli.main { "quantize", "examples/models/demo-f16.gguf", "%s", "Q8_0", "--threads", "1" }, true)]]):format(dir .. ".gguf")
    support.spit(dir, code)
    local p = assert(io.popen(("LUA_PATH='%s' LUA_CPATH='%s' %s %s 2>&1; echo status $?"):format(package.path, package.cpath, lua, dir)))
    local said = p:read "*a"
    p:close()
    assert.matches("status 130", said)
    assert.matches("wane: interrupted", said)
    assert.is_false(support.exists(dir .. ".gguf"))
    os.execute(("rm -f %s %s.gguf*"):format(dir, dir))
  end)
end)

describe("tables on a terminal", function()
  local wane = require "wane"

  local function widest(text)
    local most = 0
    for line in text:gmatch "[^\n]+" do
      local _, rest = line:gsub("[\128-\191]", "")
      most = math.max(most, #line - rest)
    end
    return most
  end

  local made
  local function tables()
    if made then return made end
    local t = report.table {
      { key = "a", title = "model" }, { key = "b", title = "bytes", format = report.count, align = "right", drop = 1 },
      { key = "c", title = "a long title of a column", drop = 9 }, { key = "d", title = "kld", format = "%.4f", drop = 0 },
    }
    t:add { a = ("a name that is long "):rep(6), b = 123456789, c = "remark", d = 0.25 }
    t:add { a = "kurz, aber mit Ümläuten", b = 1, c = "x", d = 0.5 }
    local demo = "examples/models/demo-f16.gguf"
    made = { t, wane.fit { model = demo, ram = "16G" }, wane.explain("Q4_K_M", { model = demo }),
      wane.quantize { from = demo, to = "-", recipe = "Q4_K_M", dry_run = true } }
    return made
  end

  for _, width in ipairs { 60, 80, 120 } do
    it(("fit %d columns"):format(width), function()
      for i, t in ipairs(tables()) do
        for line in t:text(width):gmatch "[^\n]+" do
          local is_row = i == 1 or line:find "^%S+  " or line:find "^%-"
          if is_row then assert(widest(line) <= width, ("table %d at %d: '%s'"):format(i, width, line)) end
        end
      end
    end)
  end

  it("leave out columns by their order, say so, and never the first or those that stay", function()
    local t = tables()[1]
    local text = t:text(60)
    assert.is_nil(text:find("a long title", 1, true))
    assert.truthy(text:find("kld", 1, true))
    assert.truthy(text:find("0.2500", 1, true))
    assert.matches("%(2 columns left out: %-%-wide%)$", text)
    assert.truthy(text:find("a name that is long", 1, true))
    assert.truthy(text:find("...", 1, true))
    assert.truthy(t:text():find("a long title", 1, true)) -- a pipe has all
    assert.equal(t:text(), t:text(100000))
  end)

  it("texts are cut between characters", function()
    assert.equal("Übe...", report.clip("Übermut", 6))
    assert.equal("Übermut", report.clip("Übermut", 7))
    assert.equal("Üb", report.clip("Übermut", 2))
    assert.equal("", report.clip("Übermut", 0))
  end)

  it("--wide shows all on a narrow terminal", function()
    local function shown(...)
      local got = {}
      local o = out.complete { write = function(s) got[#got + 1] = s end, note = function() end, progress = function() end, width = 50 }
      assert.equal(0, require("wane.cli").main({ ... }, o))
      return table.concat(got)
    end
    local narrow, wide = shown("fit", "--ram", "16G"), shown("fit", "--ram", "16G", "--wide")
    assert.is_nil(narrow:find("longest context", 1, true))
    assert.matches("left out", narrow)
    assert.truthy(wide:find("longest context", 1, true))
    assert.is_nil(wide:find("left out", 1, true))
  end)
end)

describe("the progress bar", function()
  it("tells rate and time left, within the terminal", function()
    local began = { time = 0, done = 0, n = 0 }
    local line = out.bar({ done = 0.25, n = 5, unit = "chunks", text = "chunk 5 of 20" }, began, 10, 80)
    assert.truthy(line:find(" 25%", 1, true))
    assert.truthy(line:find("0.5 chunks/s", 1, true))
    assert.truthy(line:find("30.0 s left", 1, true))
    assert.truthy(line:find("chunk 5 of 20", 1, true))
    for _, width in ipairs { 20, 40, 60, 80 } do
      assert.is_true(#out.bar({ done = 0.5, text = ("long "):rep(50) }, began, 10, width) < width)
    end
    assert.truthy(out.bar({ done = 2, text = "" }, began, 10, 80):find("[##############################]", 1, true))
    assert.truthy(out.bar({ done = 0.1, pace = "3 MiB/s", text = "x\27[2J" }, began, 10, 120):find("3 MiB/s  x\\x1b", 1, true))
  end)

  it("starts anew: what was done before the first call is not in the rate", function()
    local line = out.bar({ done = 0.75, n = 15, unit = "chunks" }, { time = 0, done = 0.5, n = 10 }, 10, 80)
    assert.truthy(line:find("0.5 chunks/s", 1, true))
    assert.truthy(line:find("10.0 s left", 1, true))
  end)
end)
