-- Crash-safe writing: whatever fails or dies, the final name is absent, the
-- old file, or the complete new one.
local S = require "spec.support"
local B = require "spec.hostile.build"
local core = require "wane.core"
local gguf = require "wane.gguf"

local dir = S.tmp "write"
assert(os.execute("mkdir -p " .. dir))
local function path(name) return dir .. "/" .. name end

local OLD = B.file {}
local tensors = {
  { name = "a", type = "f32", shape = { 100 }, data = ("a"):rep(400) },
  { name = "b", type = "q8_0", shape = { 64, 3 }, data = ("b"):rep(204) },
}
local function spec_of(to, overwrite)
  return { path = to, meta = { { "x", "u32", 1 } }, tensors = tensors, overwrite = overwrite }
end
assert(gguf.write(spec_of(path "ref.gguf")))
local NEW = S.slurp(path "ref.gguf")

local CALLS = {
  "open", "close", "pread", "write", "fsync", "ftruncate", "fallocate", "flock", "fchmod", "stat", "fstat",
  "statvfs", "rename", "unlink",
}

--- How often each call is used by one run of fn.
local function uses(fn)
  local before, n = {}, {}
  for _, c in ipairs(CALLS) do before[c] = core.gguf.os_uses(c) end
  fn()
  for _, c in ipairs(CALLS) do n[c] = core.gguf.os_uses(c) - before[c] end
  return n
end

--- "absent", "old", "new" or "broken".
local function state(p)
  if not S.exists(p) then return "absent" end
  local bytes = S.slurp(p)
  return bytes == OLD and "old" or bytes == NEW and "new" or "broken"
end

--- Runs a Lua script in a child with our paths; returns its output.
local function child(script, prefix)
  local file = S.tmp "child.lua"
  S.spit(file, script)
  local lua = jit and "luajit" or "lua5.4"
  local cmd = ("LUA_PATH='%s' LUA_CPATH='%s' exec %s %s %s 2>&1"):format(
    package.path, package.cpath, prefix or "", lua, file)
  local p = io.popen("exec 2>/dev/null; (" .. cmd .. ")") -- no "Killed" on our terminal
  local out = p:read "*a"
  p:close()
  os.remove(file)
  return out
end

--- The same model as `tensors`, written by a child.
local CHILD = [[
  local gguf, core = require "wane.gguf", require "wane.core"
  local function save(to, overwrite)
    return gguf.write { path = to, meta = { { "x", "u32", 1 } }, overwrite = overwrite, tensors = {
      { name = "a", type = "f32", shape = { 100 }, data = ("a"):rep(400) },
      { name = "b", type = "q8_0", shape = { 64, 3 }, data = ("b"):rep(204) } } }
  end
]]

describe("writing", function()
  S.check_leaks()
  teardown(function() os.execute("rm -rf " .. dir) end)

  describe("W1 refuses an output that is its input", function()
    local from = path "in.gguf"
    for what, make in pairs {
      ["by the same path"] = function() return from end,
      ["by another spelling"] = function() return dir .. "/./in.gguf" end,
      ["by a symbolic link"] = function()
        os.execute(("ln -sf in.gguf %s/link.gguf"):format(dir))
        return path "link.gguf"
      end,
      ["by a hard link"] = function()
        os.execute(("ln -f %s/in.gguf %s/hard.gguf"):format(dir, dir))
        return path "hard.gguf"
      end,
    } do
      it(what, function()
        S.spit(from, NEW)
        local f = assert(gguf.open(from))
        local ok, msg, code = f:write(make(), { overwrite = true })
        assert.same({ nil, "EEXIST" }, { ok, code })
        assert.truthy(msg:find "one of the inputs", msg)
        assert.equal("new", state(from))
        f:close()
      end)
    end

    it("by /proc/self/fd", function()
      S.spit(from, NEW)
      local f = assert(gguf.open(from))
      local fd
      for i = 3, 20 do
        local p = io.popen(("readlink /proc/$PPID/fd/%d"):format(i))
        if p:read "*a":find("in.gguf", 1, true) then fd = i end
        p:close()
      end
      local ok, msg = f:write("/proc/self/fd/" .. assert(fd), { overwrite = true })
      assert.is_nil(ok)
      assert.truthy(msg:find "one of the inputs", msg)
      f:close()
    end)

    it("when the .part is the input", function()
      S.spit(path "o.gguf.part", NEW)
      local f = assert(gguf.open(path "o.gguf.part"))
      local ok, msg = f:write(path "o.gguf")
      assert.is_nil(ok)
      assert.truthy(msg:find "one of the inputs", msg)
      assert.equal("new", state(path "o.gguf.part"))
      f:close()
      os.remove(path "o.gguf.part")
    end)
  end)

  it("W2 replaces an existing file only on request", function()
    local to = path "exists.gguf"
    S.spit(to, OLD)
    local ok, msg, code = gguf.write(spec_of(to))
    assert.same({ nil, "EEXIST" }, { ok, code })
    assert.truthy(msg:find(to, 1, true))
    assert.equal("old", state(to))
    assert(gguf.write(spec_of(to, true)))
    assert.equal("new", state(to))
    assert.falsy(S.exists(to .. ".part"))
  end)

  it("W2 notices a file that appears meanwhile", function()
    local to = path "race.gguf"
    local m = core.gguf.meta()
    local l = assert(core.gguf.layout(m, {}))
    local w = assert(core.gguf.writer(l, 1, to))
    S.spit(to, OLD)
    local ok, msg, code = w:commit()
    assert.same({ nil, "EEXIST" }, { ok, code })
    assert.truthy(msg:find "appeared", msg)
    assert.equal("old", state(to))
    assert.falsy(S.exists(to .. ".part"))
  end)

  it("W2 refuses what is not a regular file", function()
    local ok, _, code = gguf.write(spec_of(dir, true))
    assert.same({ nil, "EIO" }, { ok, code })
    os.execute("mkfifo " .. path "fifo.gguf")
    ok, _, code = gguf.write(spec_of(path "fifo.gguf", true))
    assert.same({ nil, "EIO" }, { ok, code })
  end)

  -- W3, W7: the n-th use of each call fails with each error
  for _, old in ipairs { false, true } do
    it("W3 survives a failure of any system call" .. (old and ", replacing" or ""), function()
      local to, n_failed = path "fault.gguf", 0
      local function reset()
        os.remove(to)
        os.remove(to .. ".part")
        if old then S.spit(to, OLD) end
      end
      reset()
      local n = uses(function() assert(gguf.write(spec_of(to, old))) end)
      for _, call in ipairs(CALLS) do
        for _, err in ipairs { "EIO", "ENOSPC", "EDQUOT", "EFBIG", "EROFS" } do
          for nth = 1, n[call] do
            reset()
            core.gguf.fail_os(call, nth, err)
            local ok, msg, code = gguf.write(spec_of(to, old))
            core.gguf.fail_os(call, 0)
            local where = ("%s %d %s: %s"):format(call, nth, err, tostring(msg))
            local after = state(to)
            if ok then
              assert.equal("new", after, where)
            else
              n_failed = n_failed + 1
              assert.truthy(msg:find(to, 1, true) and code, where)
              if err == "ENOSPC" then assert.equal("ENOSPC", code, where) end
              -- the rename may already have happened
              assert.truthy(after == "new" or after == (old and "old" or "absent"), where .. " " .. after)
            end
            assert.falsy(S.exists(to .. ".part"), where)
          end
        end
      end
      assert.truthy(n_failed > 50)
      reset()
      assert(gguf.write(spec_of(to, old)))
    end)
  end

  it("W3 repeats interrupted and short writes", function()
    local to = path "short.gguf"
    for _, call in ipairs { "write", "pread" } do
      for _, err in ipairs { "EINTR", "short" } do
        for nth = 1, 8 do
          core.gguf.fail_os(call, nth, err)
          assert(gguf.write(spec_of(to, true)))
          core.gguf.fail_os(call, 0)
          assert.equal("new", state(to))
        end
      end
    end
  end)

  it("W3 says how much is needed and how much is free", function()
    core.gguf.fail_os("write", 1, "ENOSPC")
    local _, msg, code = gguf.write(spec_of(path "full.gguf"))
    core.gguf.fail_os("write", 0)
    assert.equal("ENOSPC", code)
    assert.truthy(msg:find "full%.gguf: write: No space left on device %(needs %S+ %S+, %S+ %S+ free%)", msg)
  end)

  it("W3 respects the limit on file size instead of dying of SIGXFSZ", function()
    local to = path "limit.gguf"
    local script = S.tmp "limit.lua"
    S.spit(script, CHILD .. ("print(save(%q))"):format(to))
    local p = io.popen(("(ulimit -f 0; LUA_PATH='%s' LUA_CPATH='%s' exec %s %s 2>&1)"):format(
      package.path, package.cpath, jit and "luajit" or "lua5.4", script))
    local out = p:read "*a"
    p:close()
    os.remove(script)
    assert.truthy(out:find "this process may write files of 0", out)
    assert.equal("absent", state(to))
  end)

  it("W7 never retries a failed flush", function()
    local to = path "flush.gguf"
    local before = core.gguf.os_uses "fsync"
    core.gguf.fail_os("fsync", 1, "EIO")
    local ok, msg = gguf.write(spec_of(to))
    core.gguf.fail_os("fsync", 0)
    assert.is_nil(ok)
    assert.truthy(msg:find "flush %(fsync%): Input/output error", msg)
    assert.equal(1, core.gguf.os_uses "fsync" - before)
    assert.equal("absent", state(to))
  end)

  it("W7 flushes the directory after the rename, and says when that failed", function()
    local to = path "dir.gguf"
    assert.equal(2, uses(function() assert(gguf.write(spec_of(to))) end).fsync)
    core.gguf.fail_os("fsync", 2, "EIO")
    local ok, msg, code = gguf.write(spec_of(to, true))
    core.gguf.fail_os("fsync", 0)
    assert.same({ nil, "EIO" }, { ok, code })
    assert.truthy(msg:find "flush directory %(fsync%): Input/output error", msg)
    assert.equal("new", state(to))
  end)

  describe("W4 death", function()
    local to = path "kill.gguf"
    local function check(old, where)
      local s = state(to)
      assert.truthy(s == "new" or s == (old and "old" or "absent"), where .. " leaves " .. s)
      -- the next run takes over what is left
      assert(gguf.write(spec_of(to, true)))
      assert.equal("new", state(to))
      assert.falsy(S.exists(to .. ".part"))
    end

    local deadly = { "open", "flock", "ftruncate", "fallocate", "write", "fchmod", "fsync", "rename",
      "close" }
    for _, call in ipairs(deadly) do
      it("before and after each " .. call, function()
        for _, old in ipairs { false, true } do
          os.remove(to)
          if old then S.spit(to, OLD) end
          local n = uses(function() assert(gguf.write(spec_of(to, old))) end)[call]
          for nth = 1, n do
            for _, how in ipairs { "kill", "kill_after" } do
              os.remove(to)
              if old then S.spit(to, OLD) end
              local run = "core.gguf.fail_os(%q, %d, %q); save(%q, %s); print 'alive'"
              local out = child(CHILD .. run:format(call, nth, how, to, tostring(old)))
              assert.falsy(out:find "alive", ("%s %d %s: %s"):format(call, nth, how, out))
              check(old, ("%s %d %s"):format(call, nth, how))
            end
          end
        end
      end)
    end

    it("at random moments", function()
      local kills = tonumber(os.getenv "WANE_KILLS" or 12)
      for i = 1, kills do
        os.remove(to)
        local old = i % 2 == 0
        if old then S.spit(to, OLD) end
        local after = ("timeout -s KILL %.4f"):format(0.005 + 0.04 * (i * 7 % 12) / 12)
        child(CHILD .. ("while true do assert(save(%q, true)) end"):format(to), after)
        check(old, "random " .. i)
      end
    end)
  end)

  it("W5 resumes: keeps a .part on request and goes on from it", function()
    local to = path "resume.gguf"
    local m = core.gguf.meta()
    assert(m:set("x", "u32", 1))
    local l = assert(core.gguf.layout(m, tensors))
    local w = assert(core.gguf.writer(l, 1, to))
    assert(w:put(tensors[1].data))
    assert(w:put "bbb")
    assert.same({ 2, 3 }, { w:tell() })
    w:abort(true)
    assert.error_matches(function() w:put "x" end, "writer is closed")
    assert.truthy(S.exists(to .. ".part"))
    w = assert(core.gguf.writer(l, 1, to, { resume = true }))
    assert.equal(1, w:had())
    assert(w:skip(2))
    assert.error_matches(function() w:seal() end, "1 tensors were not written")
    assert(w:put(tensors[2].data))
    assert.error_matches(function() w:put "x" end, "more than the tensors hold")
    assert(w:commit())
    assert.equal("new", state(to))
    -- another header: nothing of the old .part counts
    os.remove(to)
    S.spit(to .. ".part", ("z"):rep(5000))
    w = assert(core.gguf.writer(l, 1, to, { resume = true }))
    assert.equal(0, w:had())
    assert.error_matches(function() w:skip(2) end, "does not hold tensor 1")
    assert(w:put(tensors[1].data))
    assert(w:put(tensors[2].data))
    assert(w:commit())
    assert.equal("new", state(to))
  end)

  describe("W6 two writers of one file", function()
    local to = path "busy.gguf"

    it("in one process", function()
      local l = assert(core.gguf.layout(core.gguf.meta(), {}))
      local w = assert(core.gguf.writer(l, 1, to))
      local ok, msg, code = core.gguf.writer(l, 1, to)
      assert.same({ nil, "EBUSY" }, { ok, code })
      assert.truthy(msg:find "being written by pid %d+", msg)
      assert.truthy(S.exists(to .. ".part"), "the loser leaves the .part alone")
      w:abort()
      assert.falsy(S.exists(to .. ".part"))
    end)

    it("in two processes: names the other", function()
      local script, pidfile = S.tmp "busy.lua", S.tmp "pid"
      S.spit(script, CHILD .. ([[
        local l = assert(core.gguf.layout(core.gguf.meta(), {}))
        local w = assert(core.gguf.writer(l, 1, %q))
        local f = io.open("/proc/self/stat")
        local pid = f:read "*n"
        f:close()
        f = io.open(%q, "w")
        f:write(("%%d\n"):format(pid))
        f:close()
        local start = os.time()
        while os.time() < start + 20 do w:tell() end]]):format(to, pidfile))
      os.execute(("LUA_PATH='%s' LUA_CPATH='%s' %s %s >/dev/null 2>&1 </dev/null &"):format(
        package.path, package.cpath, jit and "luajit" or "lua5.4", script))
      local pid
      for _ = 1, 500 do
        pid = S.exists(pidfile) and S.slurp(pidfile):match "(%d+)\n"
        if pid then break end
        os.execute "sleep 0.02"
      end
      local ok, msg, code = gguf.write(spec_of(to))
      os.execute("kill -KILL " .. assert(pid))
      assert.same({ nil, "EBUSY" }, { ok, code })
      assert.truthy(msg:find("being written by pid " .. pid, 1, true), msg .. " / " .. pid)
      -- its lock died with it
      for _ = 1, 100 do
        if gguf.write(spec_of(to, true)) then break end
        os.execute "sleep 0.02"
      end
      assert.equal("new", state(to))
      os.remove(script)
      os.remove(pidfile)
    end)
  end)

  it("W8 refuses at once what cannot fit on the disk", function()
    local big = { name = "w", type = "f64", shape = { 2 ^ 24, 2 ^ 23 } }
    local l = assert(core.gguf.layout(core.gguf.meta(), { big }))
    local ok, msg, code = core.gguf.writer(l, 1, path "big.gguf")
    assert.is_nil(ok)
    assert.equal("ENOSPC", code, msg)
    assert.truthy(msg:find "needs 1024%.0 TiB, %S+ %S+ free", msg)
    assert.falsy(S.exists(path "big.gguf.part"))
  end)

  describe("W10", function()
    it("keeps the mode of a replaced file", function()
      local to = path "mode.gguf"
      S.spit(to, OLD)
      os.execute("chmod 640 " .. to)
      assert(gguf.write(spec_of(to, true)))
      local p = io.popen("stat -c %a " .. to)
      assert.equal("640", p:read "*l")
      p:close()
    end)

    it("follows the umask for a new file", function()
      local to = path "umask.gguf"
      local out = child(CHILD .. ("print(save(%q))"):format(to), "sh -c 'umask 077; exec \"$@\"' sh")
      assert.truthy(out:find "table", out)
      local p = io.popen("stat -c %a " .. to)
      assert.equal("600", p:read "*l")
      p:close()
    end)

    it("writes through a symbolic link", function()
      S.spit(path "target.gguf", OLD)
      os.execute(("ln -sf target.gguf %s"):format(path "sym.gguf"))
      assert(gguf.write(spec_of(path "sym.gguf", true)))
      assert.equal("new", state(path "target.gguf"))
      local p = io.popen("readlink " .. path "sym.gguf")
      assert.equal("target.gguf", p:read "*l")
      p:close()
    end)

    it("says what is wrong with a path", function()
      local _, msg, code = gguf.write(spec_of(path "no/such/dir.gguf"))
      assert.equal("ENOENT", code, msg)
      _, msg, code = gguf.write(spec_of(path(("x"):rep(300))))
      assert.equal("EIO", code)
      assert.truthy(msg:find "too long", msg)
      _, msg, code = gguf.write(spec_of "/proc/x.gguf")
      assert.truthy(code == "ENOENT" or code == "EIO", msg)
    end)
  end)

  it("removes the .part of a collected writer and after a raising callback", function()
    local to = path "gc.gguf"
    do
      local l = assert(core.gguf.layout(core.gguf.meta(), {}))
      assert(core.gguf.writer(l, 1, to))
    end
    S.collect()
    assert.falsy(S.exists(to .. ".part"))
    local bad = { name = "a", type = "f32", shape = { 4 }, data = function() error "boom" end }
    assert.error_matches(function() gguf.write { path = to, tensors = { bad } } end, "boom")
    assert.falsy(S.exists(to .. ".part"))
    bad.data = "short"
    assert.error_matches(function() gguf.write { path = to, tensors = { bad } } end, "not written")
    assert.falsy(S.exists(to .. ".part") or S.exists(to))
  end)

  it("fails cleanly at every allocation", function()
    local to = path "oom.gguf"
    local n, ok = 0
    local f = assert(gguf.open(path "ref.gguf"))
    repeat
      n = n + 1
      core.fail_alloc(n)
      local ran, a, _, c = pcall(f.write, f, to, { overwrite = true })
      core.fail_alloc(0)
      ok = ran and a
      if not ok then
        assert.truthy(c == "ENOMEM" or tostring(a):find "out of memory", tostring(a))
        assert.falsy(S.exists(to) or S.exists(to .. ".part"))
      end
    until ok
    f:close()
    assert.truthy(n > 8)
  end)
end)
