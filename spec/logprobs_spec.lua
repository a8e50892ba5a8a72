--- Log probabilities of what is generated and of the prompt: those of the logits
--- that a context gives for the same tokens.
local sample = require "wane.sample"
local support = require "spec.support"
local wane = require "wane"

local DEMO = "examples/models/demo-f16.gguf"
local TEXT = "Once upon a time there was"

describe("logprobs", function()
  local model
  support.check_leaks(function()
    model = assert(wane.load(DEMO, { context = 256, threads = 1 }))
  end, function()
    model:close()
    model = nil
  end)

  -- What the logits of row `row` say of an id, against an entry.
  local function same(entry, logits, row, n)
    local value, ids, values = assert(sample.logprobs(logits, entry.id, n, row))
    assert.is_true(math.abs(value - entry.logprob) < 1e-5, ("row %d: %g and %g"):format(row, value, entry.logprob))
    assert.equals(n, #entry.top)
    for i = 1, n do
      assert.equals(ids[i], entry.top[i].id)
      assert.is_true(math.abs(values[i] - entry.top[i].logprob) < 1e-5)
    end
  end

  -- Logits behind each token of prompt and text, of a context of their own.
  local function reference(ids, made)
    local all = {}
    for _, id in ipairs(ids) do all[#all + 1] = id end
    for _, id in ipairs(made) do all[#all + 1] = id end
    local ctx = assert(model:context())
    local logits = assert(ctx:eval(all, { all = true }))
    ctx:close()
    return logits
  end

  local function run(prompt, opts)
    local stats
    opts.on_end = function(s) stats = s end
    for _ in model:generate(prompt, opts) do end -- luacheck: ignore
    return stats
  end

  it("tell of each token made, in every way to make it", function()
    local ids = model.vocab:encode(TEXT)
    for _, opts in ipairs {
      { temperature = 0 },
      { seed = 3 },
      { seed = 4, repeat_penalty = 1.3, bias = { [30] = 2 } },
      { temperature = 0, draft = "prompt" },
      { seed = 5, sampler = { "top_k", function() end, "temperature" } },
      { seed = 6, grammar = 'root ::= " happy cat and dog " [a-z]+' },
    } do
      opts.max_tokens, opts.logprobs = 12, 3
      local stats = run(ids, opts)
      assert.equals(stats.n_tokens, #stats.logprobs)
      assert.is_nil(stats.prompt_logprobs)
      local logits = reference(ids, stats.ids)
      for i, entry in ipairs(stats.logprobs) do
        assert.equals(stats.ids[i], entry.id)
        assert.equals(model.vocab:piece(entry.id, true), entry.text)
        same(entry, logits, #ids + i - 1, 3)
      end
      logits:close()
    end
  end)

  it("tell of the prompt, however few rows a step has and whatever is held", function()
    local ids = model.vocab:encode(TEXT)
    for _, o in ipairs { {}, { batch = 4 }, { batch = 8, outputs = 1 }, { batch = 8, outputs = 3, sequences = 2 } } do
      local ctx = assert(model:context(o))
      for round = 1, 2 do -- the second time all of it is held
        local stats = run(ids, { context = ctx, reuse = true, temperature = 0, max_tokens = 3, echo = true, logprobs = 2 })
        assert.equals(#ids, #stats.prompt_logprobs, "round " .. round)
        assert.equals(0, stats.n_reused)
        local logits = reference(ids, stats.ids)
        for i, entry in ipairs(stats.prompt_logprobs) do
          assert.equals(ids[i], entry.id)
          if i > 1 then same(entry, logits, i - 1, 2) end
        end
        assert.is_nil(stats.prompt_logprobs[1].logprob)
        assert.same({}, stats.prompt_logprobs[1].top)
        for i, entry in ipairs(stats.logprobs) do same(entry, logits, #ids + i - 1, 2) end
        logits:close()
      end
      ctx:close()
    end
  end)

  it("tell of what continues a sequence, and of one token", function()
    local ctx = assert(model:context())
    local first = run(TEXT, { context = ctx, temperature = 0, max_tokens = 4 })
    local more = model.vocab:encode(" a dog", { special = false })
    local before = {}
    for _, id in ipairs(model.vocab:encode(TEXT, { special = true })) do before[#before + 1] = id end
    for _, id in ipairs(first.ids) do before[#before + 1] = id end
    local stats = run(more, { context = ctx, temperature = 0, max_tokens = 2, echo = true })
    assert.equals(#more, #stats.prompt_logprobs)
    local all = {}
    for _, id in ipairs(before) do all[#all + 1] = id end
    for _, id in ipairs(more) do all[#all + 1] = id end
    local logits = reference(all, stats.ids)
    for i = 2, #more do same(stats.prompt_logprobs[i], logits, #before + i - 1, 0) end
    for i = 1, #stats.ids do same(stats.logprobs[i], logits, #all + i - 1, 0) end
    logits:close()
    ctx:close()
    stats = run({ 5 }, { max_tokens = 1, echo = true, logprobs = 1, temperature = 0 })
    assert.same({ { id = 5, text = model.vocab:piece(5, true), top = {} } }, stats.prompt_logprobs)
    assert.equals(1, #stats.logprobs[1].top)
  end)

  it("are there while it runs, in batches and jobs", function()
    local ctx = assert(model:context { sequences = 2 })
    local batch = ctx:batch()
    local a = assert(batch:add(TEXT, { max_tokens = 6, logprobs = 1, echo = true, temperature = 0 }))
    local b = assert(batch:add("The King", { max_tokens = 6, temperature = 0 }))
    repeat
      local live = assert(batch:step())
      assert.equals(#a:ids(), #a:logprobs())
    until live == 0
    assert.equals(6, #a:logprobs())
    assert.equals(4, #a:logprobs(3))
    assert.equals(#model.vocab:encode(TEXT, { special = true }), #a:prompt_logprobs())
    assert.same({}, b:logprobs())
    a:take()
    assert.equals(6, #a:stats().logprobs)
    assert.equals(2, #a:logprobs(5))
    a:close()
    b:close()
    local job = assert(model:start(TEXT, { context = ctx, max_tokens = 5, logprobs = 2, echo = true, reuse = true }))
    repeat local _, running = job:poll() until not running
    assert.equals(5, #job:logprobs())
    assert.equals(#model.vocab:encode(TEXT, { special = true }), #job:logprobs(1, true))
    job:close()
    ctx:close()
  end)

  it("refuse what they cannot do", function()
    local function refused(message, opts)
      assert.error_matches(function() model:generate("x", opts) end, message)
    end
    refused("option 'logprobs': want how many", { logprobs = -1 })
    refused("option 'logprobs': want how many", { logprobs = 1.5 })
    refused("option 'logprobs': want how many", { logprobs = 2000 })
    refused("option 'logprobs': want how many", { logprobs = "3" })
    refused("option 'echo': want true or false", { echo = 1 })
    refused("echo and shift together", { echo = true, shift = true })
  end)
end)
