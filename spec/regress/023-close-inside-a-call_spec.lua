-- A handle closed from inside one of its own calls, from wherever: a finalizer
-- or a metamethod, straight, in a coroutine, or deep in the stack. The call
-- ends on live memory (run under AddressSanitizer to see it), and the close
-- takes effect at its end, not later.
local S = require "spec.support"
local core = require "wane.core"
local wane = require "wane"

local DEMO = "examples/models/demo-f16.gguf"

local function deep(n, f)
  if n == 0 then
    f()
    return 1
  end
  return 1 + deep(n - 1, f)
end

local HOW = {
  straight = function(h) h:close() end,
  ["in a coroutine"] = function(h) coroutine.wrap(function() h:close() end)() end,
  ["deep in the stack"] = function(h) deep(90, function() h:close() end) end,
}

-- Closes from a finalizer while `method` runs, with collection due after 1, 2,
-- ... more allocations.
local function within(make, method, close)
  local hits = 0
  for step = 1, 25 do
    local h, inside = make(), false
    local function finalizer()
      if inside then
        hits = hits + 1
        close(h)
      end
    end
    if jit then
      getmetatable(rawget(_G, "newproxy")(true)).__gc = finalizer
    else
      setmetatable({}, { __gc = finalizer })
    end
    collectgarbage "stop"
    collectgarbage "restart"
    collectgarbage("setpause", 0)
    collectgarbage("setstepmul", 1e6)
    inside = true
    pcall(method, h, step)
    inside = false
    collectgarbage("setpause", 200)
    collectgarbage("setstepmul", 200)
    h:close()
  end
  return hits
end

describe("closed inside a call", function()
  local model, file
  S.check_leaks(function()
    model = assert(wane.load(DEMO, { context = 64, threads = 2 }))
    file = assert(core.gguf.open(DEMO))
  end, function()
    file:close()
    model:close()
    model, file = nil, nil
  end)

  local function buffer() return core.quant.buffer(8, 32, ("\0\0\128\63"):rep(256)) end
  local function context() return assert(model.handle:context { n_ctx = 64, n_seq = 2 }) end
  local function sampler() return core.sample.new { n_vocab = model.handle:info().n_vocab, temperature = 0 } end
  local function layout()
    local m = core.gguf.meta()
    m:set("general.architecture", "string", "x")
    return assert(core.gguf.layout(m, file))
  end

  -- every class: how one is made, and its calls
  local CLASSES = {
    buffer = { buffer, { function(b) b:table() end, function(b) b:stats() end, function(b) b:bytes() end,
      function(b) b:copy() end, function(b) b:rows(2) end, function(b) return tostring(b), #b, b[1], b:shape() end } },
    blocks = { function() return core.quant.encode("q8_0", buffer()) end, { function(q) q:explain(2) end,
      function(q) q:bytes() end, function(q) q:decode() end, function(q) q:error(buffer()) end,
      function(q) return q:type(), tostring(q) end } },
    gguf = { function() return core.gguf.open(DEMO) end, { function(g) for i = 1, 24 do g:kv(i) g:key(i) end end,
      function(g) for i = 1, 8 do g:tensor(i) g:read(i, 0, 64) end g:info() end,
      function(g) g:map() g:mapped(1, 0, 64) g:check() end, function(g) core.quant.read(g, 1, 1, 4) end,
      function(g) core.vocab.new(g):close() end } },
    meta = { function() return core.gguf.meta() end, { function(m)
      m:set("a", "array", { 1, 2, 3 }, "u32") m:copy(file) return m:has "a", m:count()
    end } },
    layout = { layout, { function(l) for i = 1, 5 do l:file(1) l:tensor(i) end return l:path("x.gguf", 1), l:files() end } },
    vocab = { function() return core.vocab.new(file) end, { function(v)
      v:encode(("Hello world "):rep(20)) v:decode { 1, 5, 7, 9 } v:info() v:piece(5) v:text(5) v:stream()
    end } },
    program = { function()
      local m = assert(wane.load(DEMO, { context = 64 }))
      m.handle:close()
      return m.prog
    end, { function(p) p:lines() p:info() end } },
    model = { function()
      local m = assert(wane.load(DEMO, { context = 64 }))
      return m.handle
    end, { function(m) m:info() m:context({ n_ctx = 64 }):close() m:estimate { n_ctx = 64 } end } },
    context = { context, { function(c)
      c:step({ 1, 2, 3 }, { want = "all" }) c:logits() c:pool "mean" c:info() c:copy(1, 2, 1)
    end } },
    sampler = { sampler, { function(s)
      local c = context()
      local g = core.job.gen(c, s, { 1, 2, 3 }, { max_tokens = 3, stop = { "x", "yy" } })
      if g then while g:step() do end g:stats() g:close() end
      c:close()
    end } },
    generator = { function()
      local c, s = context(), sampler()
      local g = assert(core.job.gen(c, s, { 1, 2, 3 }, { max_tokens = 3 }))
      c:close() s:close()
      return g
    end, { function(g) while g:step() do end g:stats() end } },
    job = { function()
      local c, s = context(), sampler()
      local j = assert(core.job.start(c, s, { 1, 2, 3 }, { max_tokens = 5 }))
      c:close() s:close()
      return j
    end, { function(j) for _ = 1, 30 do j:poll() end return j:stats(), j:fd(), j:cancel() end } },
    hessian = { function() return core.calib.hessian(32) end, { function(h) h:add(buffer()) h:diagonal() h:factor(0.1) end } },
  }

  local names, hows = {}, {}
  for name in pairs(CLASSES) do names[#names + 1] = name end
  for name in pairs(HOW) do hows[#hows + 1] = name end
  table.sort(names)
  table.sort(hows)
  for _, name in ipairs(names) do
    it(name .. ", by a finalizer", function()
      local hits = 0
      for _, method in ipairs(CLASSES[name][2]) do
        for _, how in ipairs(hows) do hits = hits + within(CLASSES[name][1], method, HOW[how]) end
      end
    end)
  end

  for _, how in ipairs(hows) do
    it("by a metamethod, " .. how .. ": freed when the call ends", function()
      local function opts(...)
        local all, n = { ... }, select("#", ...)
        return setmetatable({}, { __index = function()
          for i = 1, n do HOW[how](all[i]) end
        end })
      end
      S.collect()
      local before = core.memory().blocks
      local v = assert(core.vocab.new(file))
      pcall(v.encode, v, "Hello", opts(v))
      assert.equal(before, core.memory().blocks)
      assert.error_matches(function() v:encode "Hello" end, "vocab is closed")
      local c, s = context(), sampler()
      local _, g = pcall(core.job.gen, c, s, { 1, 2, 3 }, opts(c, s))
      assert.error_matches(function() s:accept(1) end, "sampler is closed")
      assert(g:step()) -- it was made of what the call had, and holds it
      g:close()
      assert.equal(before, core.memory().blocks)
      assert.error_matches(function() c:info() end, "context is closed")
      local w, h = buffer(), core.calib.hessian(32)
      pcall(core.calib.rebuild, "q8_0", w, h, opts(w, h))
      S.collect() -- the rebuilt blocks
      assert.equal(before, core.memory().blocks)
      -- the call itself goes on with what it has: nothing was closed under it
      local m = assert(wane.load(DEMO, { context = 64 }))
      local ctx = m.handle:context(opts(m.handle))
      assert.truthy(ctx)
      assert.error_matches(function() m.handle:info() end, "model is closed")
      ctx:close()
      m:close()
    end)
  end

  it("an error keeps its place and its argument's name", function()
    local b = buffer()
    local ok, message = pcall(function() b:rows(99) end)
    assert.is_false(ok)
    assert.matches("023%-close.*:%d+: bad argument #1 to 'rows' %(want an integer from 1 to 8%)", message)
    ok, message = pcall(function() core.quant.buffer(-1, 2) end)
    assert.is_false(ok)
    assert.matches("023%-close.*:%d+: bad argument #1 to 'buffer'", message)
    b:close()
    ok, message = pcall(function() b:shape() end)
    assert.is_false(ok)
    assert.matches("023%-close.*:%d+: wane: buffer is closed", message)
  end)
end)
