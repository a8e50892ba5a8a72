--- The documentation: every Lua block of README.md and docs/ runs, in an empty
--- folder, pasted into an interactive Lua, and prints what it says; links
--- lead somewhere.
local support = require "spec.support"

local function lines_of(command)
  local p, list = assert(io.popen(command)), {}
  for line in p:lines() do list[#list + 1] = line end
  p:close()
  return list
end

local here = lines_of("pwd")[1]
local pages = lines_of "ls README.md CONTRIBUTING.md SECURITY.md docs/*.md"

local function absolute(path)
  return (path:gsub("[^;]+", function(entry)
    return entry:sub(1, 1) == "/" and entry or here .. "/" .. entry:gsub("^%./", "")
  end))
end

-- Runs a shell command in a new empty folder; returns what it says.
local function in_empty(command)
  local dir = here .. "/" .. support.tmp "docs"
  local said = table.concat(lines_of(("mkdir %s && cd %s && export LUA_PATH='%s' LUA_CPATH='%s' && { %s; } 2>&1; cd / && rm -rf %s"):format(
    dir, dir, absolute(package.path), absolute(package.cpath), command, dir)), "\n")
  return said
end

describe("documentation:", function()
  local lua = os.getenv "WANE_LUA" or "lua5.4"
  local runner = here .. "/spec/support/docs_run.lua"
  local function guard()
    if os.getenv "WANE_LANE" then support.skip "not under a sanitizer" end
  end

  -- Pastes a page into an interactive Lua; returns what it said and whether all was as promised.
  local function paste(page)
    return in_empty(("%s %s --paste %s > blocks && %s -i < blocks && %s %s --check %s said"):format(lua, runner, page, lua, lua, runner, page))
  end

  for _, page in ipairs(pages) do
    it(page .. " runs, pasted", function()
      guard()
      local said = paste(here .. "/" .. page)
      assert(said:find "fine$" and not said:find "stdin:%d+:", said)
    end)

    it(page .. " has links that lead somewhere", function()
      local folder = page:match "^(.*/)" or ""
      for to in support.slurp(page):gmatch "%]%(([^)#]+)" do
        if not to:find "^%a+://" then assert(support.exists(folder .. to), page .. ": no " .. to) end
      end
    end)
  end

  it("README begins with ten lines that run, and is short", function()
    local text = support.slurp "README.md"
    local block = text:match "^```lua\n(.-)```"
    assert.equal(10, select(2, block:gsub("\n", "")))
    assert.is_true(select(2, text:gsub("\n", "")) <= 80)
  end)

  it("a page that does not run, or prints something else, is noticed", function()
    guard()
    local page = here .. "/" .. support.tmp "wrong.md"
    support.spit(page, "```lua\nprint(1)   --> 2\n```\n")
    assert.matches("want the line '2'", paste(page))
    support.spit(page, "```lua\nlocal x = 1\nprint(x.y.z)\n```\n")
    assert.matches("stdin:%d+:", paste(page))
    os.remove(page)
  end)
end)
