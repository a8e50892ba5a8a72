-- Mapped files that change under us: no crash, zeros, and a clear error.
local S = require "spec.support"
local B = require "spec.hostile.build"
local core = require "wane.core"

local dir = S.tmp "map"
assert(os.execute("mkdir -p " .. dir))
local function path(name) return dir .. "/" .. name end

local N = 1048576
--- A model with one tensor of 1 MiB of 0x11.
local function model(name)
  local p = path(name)
  S.spit(p, B.file { tensors = { { name = "w", dims = { N / 4 } } }, data = ("\17"):rep(N) })
  return p
end

local function sh(cmd) assert(os.execute(cmd)) end

--- True while this process has a handler for SIGBUS.
local function sigbus_caught()
  local f = io.open "/proc/self/status"
  if not f then return nil end
  local mask = f:read("*a"):match "SigCgt:%s*(%x+)"
  f:close()
  -- signal 7 is bit 6: in the second hexadecimal digit from the right
  return tonumber(mask:sub(-2, -2), 16) % 8 >= 4
end

describe("mapping", function()
  S.check_leaks()
  teardown(function() os.execute("rm -rf " .. dir) end)

  it("gives the same bytes as reading", function()
    local g = assert(core.gguf.open(model "same.gguf"))
    assert.is_nil(g:mapped(1, 0, 4))
    assert(g:map())
    assert(g:map())
    assert.equal(g:read(1, 0, N), g:mapped(1, 0, N))
    assert.is_true(g:check(true))
    g:close()
  end)

  it("M1 survives a file truncated under the map, and says so", function()
    local p = model "cut.gguf"
    local g, other = assert(core.gguf.open(p)), assert(core.gguf.open(model "other.gguf"))
    assert(g:map())
    assert(other:map())
    assert.equal("\17", g:mapped(1, N - 1, 1))
    sh("truncate -s 65536 " .. p)
    assert.equal(("\0"):rep(1000), g:mapped(1, 500000, 1000))
    assert.equal("\17", g:mapped(1, 0, 1))
    local ok, msg, code = g:check()
    assert.same({ nil, "ECHANGED" }, { ok, code })
    assert.truthy(msg:find "cut%.gguf: changed on disk at byte %d+", msg)
    local at = tonumber(msg:match "at byte (%d+)")
    assert.truthy(at >= 65536 and at <= 500000 + 4096 + 64, msg)
    -- the other model does not notice
    assert.is_true(other:check(true))
    assert.equal("\17", other:mapped(1, N - 1, 1))
    g:close()
    other:close()
  end)

  it("M1 reports a truncated file to readers, too", function()
    local p = model "read.gguf"
    local g = assert(core.gguf.open(p))
    sh("truncate -s 1000 " .. p)
    local bytes, msg, code = g:read(1, 0, N)
    assert.same({ nil, "ETRUNC" }, { bytes, code })
    assert.truthy(msg:find "read%.gguf: ends at byte 1000", msg)
    local ok
    ok, msg, code = g:check(true)
    assert.same({ nil, "ECHANGED" }, { ok, code })
    assert.truthy(msg:find "at byte 1000", msg)
    g:close()
  end)

  it("M2 keeps the old file when its name is replaced", function()
    local p = model "renamed.gguf"
    local g = assert(core.gguf.open(p))
    assert(g:map())
    S.spit(path "new.gguf", "something else")
    sh(("mv %s %s"):format(path "new.gguf", p))
    assert.equal("\17\17", g:mapped(1, N - 2, 2))
    assert.equal("\17\17", g:read(1, 0, 2))
    assert.is_true(g:check(true))
    g:close()
  end)

  it("M3 notices a file rewritten in place", function()
    local p = model "rewritten.gguf"
    local g = assert(core.gguf.open(p))
    assert.is_true(g:check(true))
    sh "sleep 0.02"
    local h = assert(io.open(p, "r+b"))
    h:seek("set", 2000)
    h:write "X"
    h:close()
    local ok, msg, code = g:check(true)
    assert.same({ nil, "ECHANGED" }, { ok, code })
    assert.truthy(msg:find "rewritten", msg)
    g:close()
  end)

  it("M5 reports a refused map, and reading goes on", function()
    local g = assert(core.gguf.open(model "refused.gguf"))
    for _, err in ipairs { "ENOMEM", "ENODEV" } do
      core.gguf.fail_os("mmap", 1, err)
      local ok, msg, code = g:map()
      core.gguf.fail_os("mmap", 0)
      assert.same({ nil, "EIO" }, { ok, code })
      assert.truthy(msg:find "refused%.gguf: map: ", msg)
    end
    assert.is_nil(g:mapped(1, 0, 1))
    assert.equal("\17", g:read(1, 0, 1))
    g:close()
  end)

  it("M6 opening and reading map nothing", function()
    local before = core.gguf.os_uses "mmap"
    local g = assert(core.gguf.open(model "plain.gguf"))
    g:read(1, 0, N)
    g:close()
    assert.equal(before, core.gguf.os_uses "mmap")
  end)

  it("M7 handles SIGBUS only while a map exists", function()
    if sigbus_caught() == nil then return pending "SKIPPED: no /proc" end
    local at_first = sigbus_caught()
    local a, b = assert(core.gguf.open(model "a.gguf")), assert(core.gguf.open(model "b.gguf"))
    assert(a:map())
    assert(b:map())
    assert.is_true(sigbus_caught())
    a:close()
    assert.is_true(sigbus_caught())
    b:close()
    S.collect()
    assert.equal(at_first, sigbus_caught())
  end)
end)
