--- Many generations in the steps of one context: each gives the text that it
--- gives alone, whoever shares its steps, whatever is cancelled, reused, cut
--- into pieces or guessed ahead.
local core = require "wane.core"
local support = require "spec.support"
local wane = require "wane"

local DEMO = "examples/models/demo-f16.gguf"

local prompts = {
  "Once upon a time", "The King", "There was a little dog", "In the middle of the forest", "The old woman said",
  "Once upon a time there was", "The King and the Queen", "When the sun rose", "A soldier came", "Once upon",
}

-- A generator of the same numbers everywhere.
local function dice(seed)
  return function(n)
    seed = (seed * 16807) % 2147483647
    return seed % n + 1
  end
end

local function whole(it)
  local parts = {}
  for text in it do parts[#parts + 1] = text end
  return table.concat(parts)
end

describe("batch", function()
  local model
  support.check_leaks(function()
    model = assert(wane.load(DEMO, { context = 128, threads = 1 }))
  end, function()
    model:close()
    model = nil
  end)

  local function alone(prompt, opts)
    local o = {}
    for k, v in pairs(opts) do o[k] = v end
    return whole(model:generate(prompt, o))
  end

  it("gives each of many generations the text it has alone: random arrival, cancel and reuse", function()
    for seed = 1, 3 do
      local roll = dice(seed * 7919)
      local ctx = assert(model:context { sequences = 5, context = 128, batch = 48 })
      local batch, live, n_cancelled, n_reused = ctx:batch(), {}, 0, 0
      local n_added, n_checked = 0, 0
      while n_added < 16 or #live > 0 do
        if n_added < 16 and roll(3) == 1 then
          n_added = n_added + 1
          local prompt = prompts[roll(#prompts)]
          local opts = { max_tokens = 3 + roll(14), temperature = roll(2) == 1 and 0 or 0.9, seed = roll(100) }
          live[#live + 1] = { prompt = prompt, opts = opts, text = "", gen = assert(batch:add(prompt, opts)) }
        end
        assert(batch:step { tokens = 4 + roll(44), ms = roll(4) == 1 and 0.2 or nil })
        for i = #live, 1, -1 do
          local l = live[i]
          local text, running = l.gen:take()
          l.text = l.text .. assert(text)
          if not running then
            assert.equals(alone(l.prompt, l.opts), l.text)
            n_checked, n_reused = n_checked + 1, n_reused + l.gen:stats().n_reused
            l.gen:close()
            table.remove(live, i)
          elseif roll(40) == 1 then -- somebody hangs up
            local full = alone(l.prompt, l.opts)
            assert.equals(full:sub(1, #l.text), l.text)
            l.gen:close()
            n_cancelled = n_cancelled + 1
            table.remove(live, i)
          end
        end
      end
      assert.equals(16, n_checked + n_cancelled)
      assert.is_true(n_reused > 0, "nothing was reused")
      ctx:close()
    end
  end)

  it("serves loops that take turns on one context", function()
    local ctx = assert(model:context { sequences = 3 })
    local its, texts, left = {}, { "", "", "" }, 3
    for i = 1, 3 do its[i] = model:generate(prompts[i], { max_tokens = 9 + i, temperature = 0, context = ctx, seq = i }) end
    while left > 0 do
      for i = 1, 3 do
        local text = its[i] and its[i]()
        if text then
          texts[i] = texts[i] .. text
        elseif its[i] then
          its[i], left = false, left - 1
        end
      end
    end
    for i = 1, 3 do assert.equals(alone(prompts[i], { max_tokens = 9 + i, temperature = 0 }), texts[i]) end
    ctx:close()
  end)

  it("takes a sequence away from a loop that was left, and says so to it", function()
    local ctx = assert(model:context())
    local first = model:generate(prompts[1], { context = ctx, temperature = 0, max_tokens = 20 })
    assert.truthy(first())
    local second = model:generate("", { context = ctx, temperature = 0, max_tokens = 6 })
    assert.truthy(second())
    assert.error_matches(function() first() end, "sequence 1 was taken")
    assert.equals("failed", first:stats().state)
    second:close()
    ctx:close()
  end)

  it("continues a sequence where it was left, with everything that was shown", function()
    for left_after = 1, 4 do
      local ctx = assert(model:context())
      local text, gen = "", model:generate(prompts[1], { context = ctx, temperature = 0, max_tokens = 30 })
      for _ = 1, left_after do text = text .. gen() end
      local ids = gen:ids()
      gen:close()
      local more = whole(model:generate(" the end", { context = ctx, temperature = 0, max_tokens = 6 }))
      local all = model.vocab:encode(prompts[1], { special = true })
      for _, id in ipairs(ids) do all[#all + 1] = id end
      for _, id in ipairs(model.vocab:encode " the end") do all[#all + 1] = id end
      assert.equals(alone(all, { temperature = 0, max_tokens = 6 }), more)
      ctx:close()
    end
    -- going on without any prompt, and nothing to go on from
    local ctx = assert(model:context())
    local a = whole(model:generate(prompts[1], { context = ctx, temperature = 0, max_tokens = 5 }))
    local b = whole(model:generate("", { context = ctx, temperature = 0, max_tokens = 5 }))
    assert.equals(alone(prompts[1], { temperature = 0, max_tokens = 10 }), a .. b)
    ctx:truncate(0)
    assert.error_matches(function() model:generate({}, { context = ctx })() end, "the prompt has no tokens")
    ctx:close()
  end)

  it("hears of everything before in its penalties", function()
    local o = { temperature = 0, max_tokens = 12, repeat_penalty = 1.5 }
    local ctx = assert(model:context())
    local all = model.vocab:encode(prompts[2], { special = true })
    assert(ctx:eval(all))
    local more = model.vocab:encode " said: the King, the King"
    local got = whole(model:generate(more, { context = ctx, temperature = 0, max_tokens = 12, repeat_penalty = 1.5 }))
    for _, id in ipairs(more) do all[#all + 1] = id end
    assert.equals(alone(all, o), got)
    ctx:close()
  end)

  it("takes over the longest beginning that it holds", function()
    local ctx = assert(model:context { sequences = 2 })
    local o = { temperature = 0, max_tokens = 8, context = ctx, reuse = true }
    local function ask(prompt)
      local gen = model:generate(prompt, o)
      local text = whole(gen)
      assert.equals(alone(prompt, { temperature = 0, max_tokens = 8 }), text)
      return gen:stats().n_reused, gen:stats().seq
    end
    local long = "There was once a poor man who had four sons, and when they were grown up"
    local n = #model.vocab:encode(long, { special = true })
    assert.equals(0, (ask(long)))
    assert.equals(n - 1, (ask(long))) -- the same again: all but its last token
    assert.is_true(ask(long .. ", he said to them") >= n - 1)
    local reused, other = ask "There was once"
    assert.is_true(reused > 0 and reused <= 4)
    local _, third = ask "Quite another text"
    assert.is_true(other == 1 or other == 2)
    assert.is_true(third == 1 or third == 2)
    -- two at once over the same beginning: one has it, the other a copy
    local a, b = model:generate(long, o), model:generate(long, o)
    assert.truthy(a())
    assert.truthy(b())
    assert.not_equals(a:stats().seq, b:stats().seq)
    assert.is_true(b:stats().n_reused >= n - 1)
    local c = model:generate("more than there are", o)
    assert.error_matches(function() c() end, "all 2 sequences are busy")
    for _, gen in ipairs { a, b, c } do gen:close() end
    ctx:close()
  end)

  it("moves what follows a piece that was taken out", function()
    local tiny = require "spec.support.tiny"
    -- with one layer what a token keeps depends on it and its place alone
    for kv, most in pairs { f32 = 1e-4, f16 = 2e-2, q8_0 = 0.3 } do
      local path = tiny.write { layers = 1, width = 64, heads = 2, kv = 2, ff = 96, vocab = 90, context = 256 }
      local m = assert(wane.load(path, { threads = 1 }))
      local ctx = assert(m:context { sequences = 1, kv = kv })
      local ids, short = tiny.tokens(120, 90), {}
      local function run(tokens, n)
        local gen = m:generate(tokens, { context = ctx, reuse = true, cache_reuse = n, max_tokens = 1, temperature = 0,
          logprobs = 5 })
        for _ in gen do end
        return gen:stats().n_reused, assert(gen:logprobs(1))
      end
      run(ids)
      for i = 1, 120 do
        if i <= 30 or i > 50 then short[#short + 1] = ids[i] end
      end
      local reused, got = run(short, 16)
      assert.equals(99, reused) -- all but the last, whose logits are wanted
      assert(ctx:truncate(0))
      local none, want = run(short, 16)
      assert.equals(0, none)
      for i, w in ipairs(want[1].top) do
        local g
        for _, t in ipairs(got[1].top) do g = t.id == w.id and t or g end
        if i == 1 or g then assert.is_true(math.abs(g.logprob - w.logprob) < most, kv .. ": " .. g.logprob .. ", " .. w.logprob) end
      end
      assert.equals(99, (run(short, 101)))
      assert.equals(30, (run(ids, 16))) -- a piece put in is evaluated, and what follows it
      ctx:close()
      m:close()
      os.remove(path)
    end
    for _, bad in ipairs { 0, 1.5, "x" } do
      assert.has_error(function() model:generate("x", { reuse = true, context = nil, cache_reuse = bad }) end,
        "wane: generate: option 'cache_reuse': want tokens of the shortest stretch to move, 1 or more")
    end
  end)

  it("comes back in time and gives the same text however the time is cut", function()
    local long = ("The King said to the old woman that he would come. "):rep(5)
    local want = alone(long, { max_tokens = 12, seed = 4 })
    for _, ms in ipairs { 0.05, 0.4, 1000 } do
      local gen, text, n = model:generate(long, { max_tokens = 12, seed = 4 }), "", 0
      repeat
        local piece, running = gen:step { ms = ms }
        text, n = text .. assert(piece), n + 1
      until not running
      assert.equals(want, text)
      if ms < 0.1 then assert.is_true(n > 20, n .. " frames") end
      local again, running = gen:step { ms = 1 }
      assert.same({ "", false }, { again, running })
    end
  end)

  it("stops for time", function()
    local gen = model:generate(prompts[1], { max_ms = 1e-3 })
    whole(gen)
    assert.equals("time", gen:stats().state)
    gen = model:generate(prompts[1], { max_ms = { tokens = 1e-3 }, max_tokens = 100 })
    whole(gen)
    assert.equals("time", gen:stats().state)
    assert.is_true(gen:stats().n_tokens < 100)
    assert.error_matches(function() model:generate("x", { max_ms = -1 }) end, "max_ms")
    assert.error_matches(function() model:generate("x", { max_ms = { word = 1 } }) end, "max_ms")
  end)

  it("forgets the middle when asked to, and goes on", function()
    local keep = { [model.vocab.eos] = -math.huge }
    local gen = model:generate(prompts[1], { max_tokens = 300, temperature = 0, shift = { keep = 4 }, bias = keep })
    whole(gen)
    local stats = gen:stats()
    assert.equals("length", stats.state)
    assert.equals(300, stats.n_tokens)
    assert.is_true(stats.n_shifted > 100)
    -- what it chose after the first shift is what a new context would choose
    local ids = model.vocab:encode(prompts[1], { special = true })
    for _, id in ipairs(stats.ids) do ids[#ids + 1] = id end
    local kept = {}
    for i = 1, 4 do kept[i] = ids[i] end
    local tail = math.floor((128 - 4) / 2)
    for i = 129 - tail + 1, 129 do kept[#kept + 1] = ids[i] end
    local o = { max_tokens = 20, temperature = 0, bias = keep }
    local new = model:generate(kept, o)
    whole(new)
    local want, n_prompt = {}, #model.vocab:encode(prompts[1], { special = true })
    for i = 1, 20 do want[i] = stats.ids[129 - n_prompt + i] end
    assert.same(want, new:stats().ids)
  end)

  it("guesses ahead without changing a token", function()
    local prompt = "one two three four one two three four one two three"
    for _, o in ipairs { { temperature = 0 }, { temperature = 0.8, seed = 3 }, { temperature = 1.2, seed = 9, repeat_penalty = 1.2 } } do
      o.max_tokens = 40
      local want = alone(prompt, o)
      for n = 1, 9, 4 do
        o.draft, o.draft_tokens = "prompt", n
        local gen = model:generate(prompt, o)
        assert.equals(want, whole(gen))
        assert.equals(40, gen:stats().n_tokens)
      end
      o.draft, o.draft_tokens = nil, nil
    end
    assert.error_matches(function() model:generate("x", { draft_tokens = 3 }) end, "without draft")
    assert.error_matches(function() model:generate("x", { draft = 5 }) end, "draft")
  end)

  it("lets a smaller model guess without changing a token", function()
    local path = support.tmp "draft.gguf"
    assert(wane.quantize { from = DEMO, to = path, recipe = "Q4_0", overwrite = true })
    local small = assert(wane.load(path, { context = 96, threads = 1 }))
    for _, o in ipairs { { temperature = 0 }, { temperature = 0.9, seed = 5 } } do
      o.max_tokens = 40
      local want = alone(prompts[3], o)
      o.draft, o.draft_tokens = small, 5
      local gen = model:generate(prompts[3], o)
      assert.equals(want, whole(gen))
      local stats = gen:stats()
      assert.is_true(o.seed ~= nil or stats.n_accepted > 5, stats.n_accepted .. " of " .. stats.n_drafted)
      assert.is_true(stats.n_accepted <= stats.n_drafted)
      -- a context of the draft that is full guesses nothing, and is given back
      local ctx = assert(small:context { context = 16 })
      o.draft = ctx
      assert.equals(want, whole(model:generate(prompts[3], o)))
      ctx:close()
    end
    -- a job, and two at once with one draft
    local ctx = assert(model:context { sequences = 2 })
    local draft = assert(small:context { sequences = 2 })
    local job = assert(model:start(prompts[1], { context = ctx, reuse = true, max_tokens = 20, temperature = 0, draft = draft }))
    local other = assert(model:start(prompts[2], { context = ctx, reuse = true, max_tokens = 20, temperature = 0, draft = draft }))
    for i, j in ipairs { job, other } do
      local text = ""
      repeat
        local piece, running = j:poll()
        text = text .. assert(piece)
      until not running
      assert.equals(alone(prompts[i], { max_tokens = 20, temperature = 0 }), text)
      j:close()
    end
    assert(core.job.idle(ctx.handle, 10))
    for _, x in ipairs { ctx, draft, small } do x:close() end
    os.remove(path)
  end)

  it("ends the natural loop over a job that fails", function()
    local bytes = support.slurp(DEMO)
    local f = assert(wane.gguf.open(DEMO))
    local off = f:tensor("output_norm.weight").off
    f:close()
    local path = support.tmp "nan.gguf"
    support.spit(path, bytes:sub(1, off) .. "\0\0\192\127" .. bytes:sub(off + 5))
    local bad = assert(wane.load(path, { context = 64 }))
    local job = assert(bad:start("Once", { max_tokens = 32 }))
    local message, code, n = nil, nil, 0
    repeat
      local text, running, kind = job:poll()
      if not text then message, code = running, kind end
      n = n + 1
      assert.is_true(n < 1e7, "it never ends")
    until not running
    assert.matches("non%-finite logits", message)
    assert.equals("EDATA", code)
    assert.equals("failed", job:stats().state)
    assert.same({ "", false }, { job:poll() })
    job:close()
    local gen = bad:generate "Once"
    assert.error_matches(function() gen() end, "non%-finite logits")
    assert.equals("failed", gen:stats().state)
    local text, why, kind = bad:generate("Once"):step()
    assert.is_nil(text)
    assert.matches("non%-finite", why)
    assert.equals("EDATA", kind)
    bad:close()
    os.remove(path)
  end)

  it("runs jobs of one context together, beside a loop", function()
    local ctx = assert(model:context { sequences = 4 })
    local jobs, texts = {}, {}
    for i = 1, 3 do
      jobs[i] = assert(model:start(prompts[i], { context = ctx, reuse = true, max_tokens = 20, temperature = 0 }))
      texts[i] = ""
    end
    local mine = whole(model:generate(prompts[4], { context = ctx, reuse = true, max_tokens = 10, temperature = 0 }))
    for i = 1, 3 do
      repeat
        local text, running = jobs[i]:poll()
        texts[i] = texts[i] .. assert(text)
      until not running
      assert.equals(alone(prompts[i], { max_tokens = 20, temperature = 0 }), texts[i])
      jobs[i]:close()
    end
    assert.equals(alone(prompts[4], { max_tokens = 10, temperature = 0 }), mine)
    assert.is_true(core.job.idle(ctx.handle, 10))
    ctx:close()
  end)

  it("cancels in the middle of a prompt, and close waits for nothing", function()
    local ctx = assert(model:context { context = 128 })
    local long = ("word "):rep(100)
    for _ = 1, 10 do
      local job = assert(model:start(long, { context = ctx, reuse = true }))
      job:cancel()
      local code
      repeat
        local text, running, kind = job:poll()
        code = not text and kind or code
      until not running
      assert.equals("ECANCEL", code)
      assert.equals("cancelled", job:stats().state)
      job:close()
      assert(core.job.idle(ctx.handle, 10))
    end
    assert.equals(alone(prompts[1], { max_tokens = 5, temperature = 0 }),
      whole(model:generate(prompts[1], { context = ctx, reuse = true, max_tokens = 5, temperature = 0 })))
    ctx:close()
  end)

  it("costs the caller less than a millisecond to cancel and close, in the middle of a prompt", function()
    local ctx, best = assert(model:context()), math.huge
    for _ = 1, 20 do
      local job = assert(model:start(("word "):rep(100), { context = ctx, reuse = true }))
      local t0 = core.now()
      job:cancel()
      job:close()
      best = math.min(best, core.now() - t0) -- a busy machine stops anybody for longer, not always
      assert(core.job.idle(ctx.handle, 10))
      ctx:truncate(0)
    end
    assert.is_true(best < 1e-3, best .. " s")
    ctx:close()
  end)

  it("raises on misuse", function()
    local ctx = assert(model:context())
    local batch = ctx:batch()
    assert.error_matches(function() batch:add("x", { context = ctx }) end, "the batch's")
    assert.error_matches(function() batch:add(nil) end, "prompt: want a text")
    assert.error_matches(function() batch:add("x", { colour = 1 }) end, "unknown option 'colour'")
    assert.error_matches(function() batch:step { weeks = 1 } end, "unknown option 'weeks'")
    assert.error_matches(function() batch:step { ms = -1 } end, "option 'ms'")
    assert.error_matches(function() batch:add(("word "):rep(300)) end, "has room for 128")
    assert.error_matches(function() model:generate("x", { reuse = true, seq = 1, context = ctx }) end, "leave seq out")
    assert.error_matches(function() model:generate("x", { seq = 2, context = ctx })() end, "sequence 2 of 1")
    assert.error_matches(function() model:start("x", { on_end = print }) end, "on_end")
    assert.equals(0, batch:step())
    local busy
    local job = assert(model:start("Once upon a time there", { context = ctx, max_tokens = 100 }))
    busy = pcall(ctx.eval, ctx, { 1, 2 })
    assert.is_true(not busy or job:stats().state ~= "running")
    job:close()
    assert(core.job.idle(ctx.handle, 10))
    ctx:close()
  end)
end)
