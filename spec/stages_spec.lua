--- Lua functions among the stages of a generation's sampler.
local support = require "spec.support"
local wane = require "wane"

local DEMO = "examples/models/demo-f16.gguf"
local TEXT = "Once upon a time"

describe("a stage that is a function", function()
  local model
  support.check_leaks(function()
    model = assert(wane.load(DEMO, { context = 256, threads = 1 }))
  end, function()
    model:close()
    model = nil
  end)

  local function run(opts)
    local parts, stats = {}, nil
    opts.max_tokens = opts.max_tokens or 16
    opts.on_end = function(s) stats = s end
    for text in model:generate(TEXT, opts) do parts[#parts + 1] = text end
    return table.concat(parts), stats
  end

  it("changes nothing when it does nothing", function()
    for seed = 1, 4 do
      local plain, a = run { seed = seed, sampler = { "top_k", "temperature" }, top_k = 20 }
      local text, b = run { seed = seed, sampler = { "top_k", function() end, "temperature", function() end }, top_k = 20 }
      assert.equals(plain, text)
      assert.same(a.ids, b.ids)
      assert.equals(a.state, b.state)
    end
  end)

  it("bans a token by its logit, and by dropping it", function()
    local _, plain = run { temperature = 0 }
    local banned = plain.ids[3]
    local function by_logit(c)
      for i = 1, #c do
        if c:id(i) == banned then c[i] = -math.huge end
      end
    end
    local function by_dropping(c)
      for i = #c, 1, -1 do
        if c:id(i) == banned then c:remove(i) end
      end
    end
    local _, expected = run { temperature = 0, banned = { banned } }
    for _, ban in ipairs { by_logit, by_dropping } do
      local _, stats = run { temperature = 0, sampler = { "top_k", ban, "temperature" } }
      assert.same(expected.ids, stats.ids)
    end
  end)

  it("chooses by itself, under a grammar and before a stop string", function()
    local asked = 0
    local function last(c)
      asked = asked + 1
      c:sort()
      while #c > 1 do c:remove(1) end
    end
    local text, stats = run { sampler = { last }, grammar = 'root ::= ("a" | "b") [xyz] "!"', max_tokens = 99 }
    assert.matches("^[ab][xyz]!$", text)
    assert.equals("eog", stats.state)
    assert.is_true(asked > 0)
    local whole = run { temperature = 0 }
    text, stats = run { temperature = 0, sampler = { "top_k", function() end, "temperature" }, stop = whole:sub(9, 12) }
    assert.equals(whole:sub(1, whole:find(whole:sub(9, 12), 1, true) - 1), text)
    assert.equals("stop", stats.state)
  end)

  it("raises through the pull, and the generation is over", function()
    local n, stats = 0, nil
    local gen = model:generate(TEXT, { max_tokens = 9, on_end = function(s) stats = s end, sampler = { function()
      n = n + 1
      if n == 3 then error({ "mine" }) end
    end } })
    local ok, why = true, nil
    while ok do ok, why = pcall(gen) end
    assert.same({ "mine" }, why)
    assert.equals("failed", stats.state)
    assert.equals(2, stats.n_tokens)
    assert.is_nil(gen())
    assert.same({ "", false }, { gen:step() })
  end)

  it("leaves no choice, or no number: the generation fails and says why", function()
    for message, stage in pairs {
      ["a stage left no candidate"] = function(c) c:keep(0) end,
      ["a stage gave token %d+ the logit nan"] = function(c) c[1] = 0 / 0 end,
    } do
      local gen = model:generate(TEXT, { sampler = { "top_k", stage } })
      local text, why
      repeat text, why = gen:step() until not text or not why
      assert.is_nil(text)
      assert.matches(message, why)
      assert.equals("failed", gen:stats().state)
    end
  end)

  it("closes what it runs in", function()
    local ctx = assert(model:context())
    local gen
    gen = model:generate(TEXT, { context = ctx, max_tokens = 8, sampler = { function() ctx:close() end } })
    for _ in gen do end -- luacheck: ignore
    assert.equals(8, gen:stats().n_tokens) -- it holds the context itself
    gen = model:generate(TEXT, { max_tokens = 8, sampler = { function() gen:close() end } })
    for _ in gen do end -- luacheck: ignore
    assert.equals(0, gen:stats().n_tokens)
  end)

  it("is refused a second turn, and its candidates afterwards", function()
    local gen, kept
    gen = model:generate(TEXT, { max_tokens = 3, sampler = { function(c)
      kept = c
      assert.error_matches(function() gen() end, "generation is busy")
      assert.error_matches(function() gen:step() end, "generation is busy")
      assert.error_matches(function() gen:take() end, "generation is busy")
    end } })
    for _ in gen do end -- luacheck: ignore
    assert.error_matches(function() return #kept end, "candidates is closed")
    assert.equals("length", gen:stats().state)
  end)

  it("cancels from inside", function()
    local gen, n = nil, 0
    gen = model:generate(TEXT, { max_tokens = 30, sampler = { function()
      n = n + 1
      if n == 4 then gen:cancel() end
    end } })
    local text, why, code
    repeat text, why, code = gen:step() until not text or not why
    assert.is_nil(text)
    assert.equals("ECANCEL", code)
    assert.equals(3, gen:stats().n_tokens)
  end)

  it("works in batches and beside a job, and not in a job", function()
    local ctx = assert(model:context { sequences = 3 })
    local plain, stats = run { seed = 2, sampler = { "top_k", "temperature" } }
    local batch = ctx:batch()
    local opts = { seed = 2, max_tokens = 16, sampler = { "top_k", function() end, "temperature" } }
    local a, b = assert(batch:add(TEXT, opts)), assert(batch:add(TEXT, { max_tokens = 20, seed = 9 }))
    repeat until assert(batch:step()) == 0
    assert.equals(plain, (a:take()))
    assert.same(stats.ids, a:ids())
    b:close()
    assert.error_matches(function() model:start(TEXT, opts) end, "a stage of the sampler is a Lua function")
    local job = assert(model:start("The King", { context = ctx, seq = 2, max_tokens = 60 }))
    opts.context, opts.seq = ctx, 3
    local parts = {}
    for text in model:generate(TEXT, opts) do parts[#parts + 1] = text end
    assert.equals(plain, table.concat(parts))
    repeat local _, running = job:poll() until not running
    job:close()
    ctx:close()
  end)
end)
