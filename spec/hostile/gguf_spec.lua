-- Every hostile GGUF file gives its exact error, quickly and without traces.
local S = require "spec.support"
local B = require "spec.hostile.build"
local rows = require "spec.hostile.gen"
local core = require "wane.core"

local dir = S.tmp "hostile"
assert(os.execute("mkdir -p " .. dir))
local good = dir .. "/good.gguf"
S.spit(good, B.good())

--- The promise: a good file still loads after whatever happened.
local function good_file_loads()
  local g = assert(core.gguf.open(good))
  assert.equal(2, g:info().n_tensors)
  assert.equal(("\1"):rep(32), g:read(1, 0, 32))
  g:close()
end

--- Opens `path` and checks the whole property P for one row.
local function check(row, path)
  local before = core.memory()
  core.reset_peak()
  local t0 = os.clock()
  local g, msg, code = core.gguf.open(path)
  local took = os.clock() - t0
  if row.code == "OK" then
    assert(g, msg)
    g:close()
  else
    assert.is_nil(g)
    assert.equal(row.code, code, msg)
    assert.truthy(msg:find(row.msg), msg .. "\n  want " .. row.msg)
    assert.truthy(msg:find(dir, 1, true) or msg:find("/dev/", 1, true), "names the file: " .. msg)
    assert.falsy(msg:find "[%c\128-\255]", "message is printable")
    assert.equal(before.blocks, core.memory().blocks)
  end
  assert.truthy(took < row.seconds, ("took %.3f s"):format(took))
  assert.truthy(core.memory().peak_bytes - before.bytes < 64 * 2 ^ 20 + 3 * (row.n or 0))
  good_file_loads()
end

describe("hostile GGUF files", function()
  S.check_leaks()
  local fds
  setup(function()
    S.collect()
    fds = S.fds()
  end)

  for _, row in ipairs(rows) do
    it(row.id .. " " .. row.what, function()
      if row.place then return check(row, row.place(dir)) end
      local path, bytes = dir .. "/h.gguf", row.make()
      row.n = #bytes
      S.spit(path, bytes)
      check(row, path)
      assert.truthy(S.slurp(path) == bytes, "input unchanged")
    end)
  end

  it("G1 every prefix of a good file is refused, or lacks only padding", function()
    local bytes, path = B.good(), dir .. "/prefix.gguf"
    for n = 0, #bytes - 1 do
      S.spit(path, bytes:sub(1, n))
      local g, msg, code = core.gguf.open(path)
      if n >= #bytes - 30 then
        assert(g, msg):close()
      else
        assert.is_nil(g)
        assert.equal("ETRUNC", code, msg)
        assert.truthy(msg:find "ends at byte %d" or msg:find "room for", msg)
      end
    end
  end)

  --- Reads all that can be read; nothing may raise.
  local function exercise(g)
    local info = g:info()
    for i = 1, info.n_kv do g:kv(i) end
    for i = 1, info.n_tensors do
      local t = g:tensor(i)
      assert.equal(t.bytes, #g:read(i, 0, t.bytes))
    end
  end

  it("G10 every single byte set to 0, 1, 0x7f, 0x80, 0xff: loads or errors", function()
    local path, n_ok, n_bad = dir .. "/sweep.gguf", 0, 0
    for _, version in ipairs { 2, 3 } do
      local bytes = B.good { version = version }
      for at = 1, #bytes do
        for _, v in ipairs { 0, 1, 0x7f, 0x80, 0xff } do
          S.spit(path, bytes:sub(1, at - 1) .. string.char(v) .. bytes:sub(at + 1))
          local g, msg, code = core.gguf.open(path)
          if g then
            exercise(g)
            g:close()
            n_ok = n_ok + 1
          else
            assert.truthy(#msg > #path and code:find "^E", msg)
            n_bad = n_bad + 1
          end
        end
      end
    end
    assert.truthy(n_ok > 100 and n_bad > 100)
    good_file_loads()
  end)

  it("survives random damage", function()
    local bytes, path, seed = B.good(), dir .. "/random.gguf", 12345
    local function rand(n)
      seed = (seed * 16807) % 2147483647
      return seed % n
    end
    for _ = 1, 2000 do
      local s = bytes
      for _ = 1, 1 + rand(6) do
        local at = 1 + rand(#s)
        s = s:sub(1, at - 1) .. string.char(rand(256)) .. s:sub(at + 1)
      end
      S.spit(path, s)
      local g = core.gguf.open(path)
      if g then
        exercise(g)
        g:close()
      end
    end
    good_file_loads()
  end)

  it("leaves no descriptor open", function()
    S.collect()
    assert.equal(fds, S.fds())
  end)

  it("prints nothing", function()
    local script = S.tmp "quiet.lua"
    S.spit(script, ([[
      local core = require "wane.core"
      for _, row in ipairs(require "spec.hostile.gen") do
        local path = row.place and row.place(%q)
        if not path then
          path = %q
          local f = io.open(path, "wb")
          f:write(row.make())
          f:close()
        end
        core.gguf.open(path)
      end]]):format(dir, dir .. "/quiet.gguf"))
    local lua = jit and "luajit" or "lua5.4"
    local env = ("LUA_PATH='%s' LUA_CPATH='%s' "):format(package.path, package.cpath)
    local p = io.popen(env .. lua .. " " .. script .. " 2>&1; echo end $?")
    assert.equal("end 0\n", p:read "*a")
    p:close()
    os.remove(script)
  end)

  it("fails cleanly at every allocation", function()
    local n, g = 0
    repeat
      n = n + 1
      core.fail_alloc(n)
      local code
      g, code = (function()
        local handle, _, c = core.gguf.open(good)
        return handle, c
      end)()
      core.fail_alloc(0)
      if not g then assert.equal("ENOMEM", code) end
    until g
    g:close()
    assert.truthy(n > 5)
  end)

  it("fails cleanly at every system call", function()
    for _, call in ipairs { "open", "fstat", "pread" } do
      core.gguf.fail_os(call, 1, "EIO")
      local g, msg, code = core.gguf.open(good)
      core.gguf.fail_os(call, 0)
      assert.is_nil(g)
      assert.equal("EIO", code)
      assert.truthy(msg:find "Input/output error", msg)
    end
    for _, err in ipairs { "EINTR", "short" } do
      core.gguf.fail_os("pread", 1, err)
      assert(core.gguf.open(good)):close()
      core.gguf.fail_os("pread", 0)
    end
    good_file_loads()
  end)

  teardown(function() os.execute("rm -rf " .. dir) end)
end)
