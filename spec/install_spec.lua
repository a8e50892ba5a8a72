-- `make install` into a folder of its own, for the Lua that runs the specs:
-- the program starts from anywhere, by its own interpreter and its own files.
local support = require "spec.support"

local LUA = os.getenv "WANE_LUA" or (jit and "luajit" or "lua5.4")
local BUILD = os.getenv "WANE_BUILD" or "build"
local OTHER = jit and "lua5.4" or "luajit"
local CLEAN = "env -u LUA_PATH -u LUA_CPATH " -- what a user's shell has

local function sh(command)
  local p = assert(io.popen("(" .. command .. ") 2>&1; echo \" status $?\""))
  local text = p:read "*a"
  p:close()
  local out, status = text:match "^(.*) status (%d+)%s*$"
  return (out:gsub("%s+$", "")), tonumber(status)
end

local function absolute(path)
  return (sh "pwd") .. "/" .. path
end

local function has(program)
  return select(2, sh("command -v " .. program)) == 0
end

local function make(target, prefix, lua)
  return sh(("MAKEFLAGS= make --no-print-directory %s B=%s LUA=%s PREFIX='%s'"):format(target, BUILD, lua, prefix))
end

describe("make install", function()
  local prefix
  local function installed()
    if os.getenv "WANE_WRAP" then support.skip "the library of this lane wants a preloaded runtime" end
    if not has "make" then support.skip "make is absent" end
    if prefix then return end
    prefix = absolute(support.tmp "an prefix") -- with a space
    local out, status = make("install", prefix, LUA)
    assert.equal(0, status, out)
  end
  teardown(function()
    if prefix then sh(("rm -rf '%s'"):format(prefix)) end
  end)

  local function wane(arguments, from)
    return sh(("cd %s && %s '%s/bin/wane' %s"):format(from or "/", CLEAN, prefix, arguments))
  end

  it("gives a program that starts anywhere", function()
    installed()
    local out, status = wane "--version"
    assert.equal("wane " .. require("wane").version, out)
    assert.equal(0, status)
    local model = absolute "examples/models/demo-f16.gguf"
    out = wane(("generate '%s' 'Once upon' -n 2 --temperature 0"):format(model))
    assert.matches("^Once upon", out)
  end)

  it("brings the manual page and completions", function()
    installed()
    for _, path in ipairs { "man/man1/wane.1", "bash-completion/completions/wane", "zsh/site-functions/_wane",
      "fish/vendor_completions.d/wane.fish" } do
      assert.is_true(support.exists(prefix .. "/share/" .. path), path)
    end
  end)

  it("strips the library", function()
    installed()
    local out = sh(("nm '%s'/lib/lua/*/wane/core.so"):format(prefix))
    assert.matches("no symbols", out)
  end)

  it("is found by the interpreter too, and before a stale ./wane/core.so", function()
    installed()
    local dir = absolute(support.tmp "stale")
    sh(("mkdir -p '%s/wane' && echo rubbish > '%s/wane/core.so'"):format(dir, dir))
    local version = jit and "5.1" or "5.4"
    local path = ("%s/share/lua/%s/?.lua;%s/share/lua/%s/?/init.lua;;"):format(prefix, version, prefix, version)
    local code = "print(type(require([[wane]]).cpu()), type(require([[wane.quant]]).types))"
    local out = sh(("cd '%s' && env -u LUA_CPATH LUA_PATH='%s' %s -e '%s'"):format(dir, path, LUA, code))
    assert.matches("^table%s+function$", out)
    out = wane("--version", "'" .. dir .. "'")
    assert.matches("^wane %d", out)
    sh(("rm -rf '%s'"):format(dir))
  end)

  it("tells another Lua which one it was built for", function()
    installed()
    if not has(OTHER) then support.skip(OTHER .. " is absent") end
    local version = jit and "5.1" or "5.4"
    local path = ("%s/share/lua/%s/?.lua;%s/share/lua/%s/?/init.lua;;"):format(prefix, version, prefix, version)
    local out, status = sh(("cd / && env -u LUA_CPATH LUA_PATH='%s' %s -e 'require [[wane]]'"):format(path, OTHER))
    assert.are_not.equal(0, status)
    local mine, other = jit and "LuaJIT" or "Lua 5.4", jit and "Lua 5.4" or "LuaJIT"
    assert.truthy(out:find(("core.so was built for %s, this is %s: run it with %s"):format(mine, other, LUA), 1, true), out)
    -- and so does a checkout's build
    out = sh(("LUA_PATH='./lua/?.lua;./lua/?/init.lua' LUA_CPATH='%s/%s/?.so' %s -e 'require [[wane]]'"):format(
      BUILD, jit and "luajit" or "lua5.4", OTHER))
    assert.truthy(out:find(("was built for %s, this is %s"):format(mine, other), 1, true), out)
  end)

  it("refuses an interpreter that is no Lua", function()
    installed()
    local out, status = make("install", prefix, "/bin/false")
    assert.are_not.equal(0, status)
    assert.truthy(out:find("/bin/false is no Lua; wane runs on Lua 5.4 and LuaJIT", 1, true), out)
    out, status = make("install", prefix, "no-such-lua")
    assert.are_not.equal(0, status)
    assert.truthy(out:find("no interpreter 'no-such-lua'", 1, true), out)
  end)

  it("takes everything away again", function()
    installed()
    local out, status = make("uninstall", prefix, LUA)
    assert.equal(0, status, out)
    out = sh(("find '%s' -mindepth 1"):format(prefix))
    assert.equal("", out)
    prefix = nil
  end)

  it("LuaRocks: a rock goes into an empty tree, the checkout stays clean", function()
    if os.getenv "WANE_WRAP" then support.skip "the library of this lane wants a preloaded runtime" end
    if not has "luarocks" then support.skip "luarocks is absent" end
    if os.getenv "WANE_SLOW" == "0" then support.skip "LuaRocks compiles everything once more" end
    local version = jit and "5.1" or "5.4"
    local dir = absolute(support.tmp "rocks")
    local listing = "git status --porcelain --ignored 2>/dev/null || find . -path ./build -prune -o -print | sort"
    local before = sh(listing)
    local out, status = sh(("MAKEFLAGS= make --no-print-directory rocks LUAS='%s' ROCKS='%s'"):format(LUA, dir))
    assert.equal(0, status, out)
    assert.equal(before, (sh(listing)))
    local rocks = dir .. "/" .. LUA:match "[^/]+$"
    -- an installation knows nothing of the checkout
    local tree = dir .. "/tree"
    out, status = sh(("cd / && LUAROCKS_CONFIG='%s/luarocks.lua' luarocks --lua-version %s install --deps-mode none --tree '%s' '%s'/*.rock")
      :format(rocks, version, tree, rocks))
    assert.equal(0, status, out)
    out = sh(("cd / && %s '%s/bin/wane' --version"):format(CLEAN, tree))
    assert.equal("wane " .. require("wane").version, out)
    local path = ("LUA_PATH='%s/share/lua/%s/?.lua;%s/share/lua/%s/?/init.lua' LUA_CPATH='%s/lib/lua/%s/?.so'"):format(tree, version,
      tree, version, tree, version)
    out = sh(("cd / && %s %s -e 'local wane = require [[wane]] print(wane.load((wane.demo())):generate([[Once]], { max_tokens = 1 })())'"):format(
      path, LUA))
    assert.matches("^%C+$", out) -- one token's text
    assert.matches("no symbols", (sh(("nm '%s/lib/lua/%s/wane/core.so'"):format(tree, version))))
    sh(("rm -rf '%s'"):format(dir))
  end)
end)
