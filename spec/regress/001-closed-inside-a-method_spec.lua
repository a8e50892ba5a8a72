-- A finalizer or a metamethod that runs inside one of our methods closes the
-- handle that the method works with. The method must finish on live memory
-- (run under AddressSanitizer to see it), and the handle is closed afterwards.
local S = require "spec.support"
local core = require "wane.core"

-- An object whose finalizer calls f, dead at once.
local function doom(f)
  if jit or not rawget(_G, "utf8") then
    local p = rawget(_G, "newproxy")(true)
    getmetatable(p).__gc = f
  else
    setmetatable({}, { __gc = f })
  end
end

-- Calls `method` of fresh handles with collection due after 1, 2, ... more
-- allocations, until the finalizer has run inside of it often enough.
local function closed_within(make, method)
  local hits = 0
  collectgarbage()
  for step = 1, 40 do
    local h, during = make(), false
    local inside = false
    doom(function()
      if inside then
        during = true
        h:close()
      end
    end)
    collectgarbage "stop"
    collectgarbage "restart"
    collectgarbage("setpause", 0)
    collectgarbage("setstepmul", 1e6)
    inside = true
    pcall(method, h, step)
    inside = false
    collectgarbage("setpause", 200)
    collectgarbage("setstepmul", 200)
    if during then
      hits = hits + 1
      assert.is_false(pcall(h.shape or h.info or h.stats, h))
    end
    h:close()
  end
  return hits
end

describe("a handle closed inside of its own method", function()
  S.check_leaks()

  local function buffer()
    return core.quant.buffer(4, 32, ("\0\0\128\63"):rep(128))
  end

  it("a buffer made into a table, string, statistics", function()
    closed_within(buffer, function(b) b:table() end)
    closed_within(buffer, function(b) b:bytes() end)
    closed_within(buffer, function(b) b:stats() end)
    closed_within(buffer, function(b) b:copy() end)
  end)

  it("blocks explained and compared", function()
    local function blocks() return (core.quant.encode("q8_0", buffer())) end
    closed_within(blocks, function(q) q:explain(2) end)
    closed_within(blocks, function(q) q:bytes() end)
    local w = buffer()
    closed_within(blocks, function(q) q:error(w, ("1 "):rep(3) and { 1, 2 }) end)
  end)

  it("by a metamethod of an option table: the method goes on", function()
    local q = core.calib.hessian(32)
    local w = buffer()
    assert(q:factor(0.1) or true)
    local opts = setmetatable({}, { __index = function(_, key)
      if key == "importance" then
        q:close()
        w:close()
      end
    end })
    pcall(core.calib.rebuild, "q4_K", w, q, opts)
    pcall(core.calib.rebuild, "q8_0", w, q, opts)
    assert.error_matches(function() w:shape() end, "buffer is closed")
    assert.error_matches(function() q:diagonal() end, "hessian is closed")
  end)

  it("an ordinary close frees at once, in a coroutine and under pcall too", function()
    S.collect()
    local before = core.memory().blocks
    buffer():close()
    assert.equal(before, core.memory().blocks)
    local b = buffer()
    assert(pcall(b.close, b))
    assert.equal(before, core.memory().blocks)
    b = buffer()
    coroutine.wrap(function() b:close() end)()
    assert.equal(before, core.memory().blocks)
    b = buffer()
    assert(xpcall(function() return b:close() end, print))
    assert.equal(before, core.memory().blocks)
  end)
end)
