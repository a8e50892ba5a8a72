local core = require "wane.core"
local support = require "spec.support"
local wane = require "wane"

local DEMO = "examples/models/demo-f16.gguf"

local function collect(model, prompt, opts)
  local parts, stats = {}, nil
  opts.on_end = function(s) stats = s end
  for text in model:generate(prompt, opts) do
    parts[#parts + 1] = text
  end
  return table.concat(parts), stats
end

--- Runs a job to its end, sleeping on nothing but polls.
local function drain(job)
  local parts = {}
  while true do
    local text, running, code = job:poll()
    if not text then return table.concat(parts), running, code end
    parts[#parts + 1] = text
    if not running and text == "" then return table.concat(parts) end
  end
end

describe("generate", function()
  local model
  support.check_leaks(function()
    model = assert(wane.load(DEMO, { context = 256, threads = 2 }))
  end, function()
    model:close()
    model = nil
  end)

  it("streams text and tells how it ended", function()
    local text, stats = collect(model, "Once upon a time", { max_tokens = 24, temperature = 0 })
    assert.equals(24, stats.n_tokens)
    assert.equals("length", stats.state)
    assert.equals(text, model.vocab:decode(stats.ids))
    assert.is_true(stats.n_prompt > 0)
  end)

  it("makes nothing when it may make 0 tokens, and has evaluated the prompt", function()
    local ids = model.vocab:encode("Once upon a time", { special = true })
    for _, draft in ipairs { false, "prompt" } do
      local ctx = assert(model:context())
      local text, stats = collect(model, ids, { max_tokens = 0, context = ctx, logprobs = 0, echo = true, draft = draft or nil })
      assert.equals("", text)
      assert.equals("length", stats.state)
      assert.equals(0, stats.n_tokens)
      assert.equals(0, #stats.logprobs)
      assert.equals(#ids, #stats.prompt_logprobs)
      assert.equals(#ids, ctx:n_past())
      assert.equals((collect(model, "Once upon a time", { max_tokens = 9, temperature = 0 })),
        (collect(model, {}, { max_tokens = 9, temperature = 0, context = ctx })))
      ctx:close()
    end
    local asked = 0
    assert.equals("", (collect(model, "The King", { max_tokens = 0, sampler = { function() asked = asked + 1 end } })))
    assert.equals(0, asked)
    local job = assert(model:start("The King", { max_tokens = 0 }))
    assert.equals("", (drain(job)))
    job:close()
    assert.equals("", model:chat({ max_tokens = 0 }):ask "Hello")
  end)

  it("repeats itself for a seed, whatever the threads and batches", function()
    local first = collect(model, "The King", { max_tokens = 24, seed = 11 })
    assert.equals(first, (collect(model, "The King", { max_tokens = 24, seed = 11 })))
    local other = assert(wane.load(DEMO, { context = 256, threads = 1, batch = 3 }))
    assert.equals(first, (collect(other, "The King", { max_tokens = 24, seed = 11 })))
    other:close()
    assert.not_equals(first, (collect(model, "The King", { max_tokens = 24, seed = 12 })))
  end)

  it("ends before a stop string, even across pieces", function()
    local whole = collect(model, "Once upon a time", { max_tokens = 40, temperature = 0 })
    local stop = whole:sub(15, 21)
    local text, stats = collect(model, "Once upon a time", { max_tokens = 40, temperature = 0, stop = stop })
    assert.equals(whole:sub(1, whole:find(stop, 1, true) - 1), text)
    assert.equals("stop", stats.state)
  end)

  it("gives what it held back for a stop string that did not come", function()
    local whole, stats = collect(model, "Once upon a time", { max_tokens = 12, temperature = 0 })
    assert.equals("length", stats.state)
    for n = 1, 3 do
      local stop = whole:sub(-n) .. "\1never"
      assert.equals(whole, (collect(model, "Once upon a time", { max_tokens = 12, temperature = 0, stop = stop })))
    end
  end)

  it("shows nothing of a stop string that begins in one piece and ends in another", function()
    local options = { max_tokens = 24, temperature = 0 }
    local whole, at, tried = collect(model, "Once upon a time", options), 0, 0
    for text in model:generate("Once upon a time", options) do
      at = at + #text
      local stop = whole:sub(at, at + 1) -- one byte of this piece, one of the next
      if at < #whole and whole:find(stop, 1, true) == at then
        tried = tried + 1
        local o = { max_tokens = 24, temperature = 0, stop = stop }
        assert.equals(whole:sub(1, at - 1), (collect(model, "Once upon a time", o)), stop)
      end
      if tried == 3 then break end
    end
    assert.is_true(tried > 0)
  end)

  it("goes on behind the model's end with ignore_eos", function()
    local o = { max_tokens = 5, temperature = 0, bias = { [model.vocab.eos] = 1e9 }, ignore_eos = true }
    local _, stats = collect(model, "Once", o)
    assert.equals("length", stats.state)
    assert.equals(5, stats.n_tokens)
  end)

  it("ends where the context does", function()
    local _, stats = collect(model, "Once upon a time", { temperature = 0, bias = { [model.vocab.eos] = -math.huge } })
    assert.equals("context", stats.state)
    assert.is_true(stats.n_prompt + stats.n_tokens >= 256)
  end)

  it("ends at the model's own end", function()
    local _, stats = collect(model, "Once", { max_tokens = 9, temperature = 0, bias = { [model.vocab.eos] = 1e9 } })
    assert.equals("eog", stats.state)
    assert.equals(0, stats.n_tokens)
  end)

  it("emits whole characters only", function()
    -- byte tokens: force a two-byte character, then an ending
    local first, second = model.vocab:find "Ã", model.vocab:find "©"
    assert.truthy(first and second)
    local sampler = require("wane.sample").core(model, { temperature = 0 }, "spec", 1)
    sampler:bias(first, 1e6)
    local ctx = assert(model:context())
    local gen = assert(core.job.gen(ctx.handle, sampler, model.vocab:encode "x", { max_tokens = 2 }))
    assert.same({ true, "" }, { gen:step() }) -- the prompt, and half a character
    sampler:bias(first, -2e6)
    sampler:bias(second, 1e6)
    assert.same({ false, "\195\169" }, { gen:step() })
    gen:close()
    sampler:close()
    ctx:close()
  end)

  it("emits no half of a surrogate pair", function()
    local id = {}
    for i = 0, model.vocab.n - 1 do id[model.vocab:piece(i)] = id[model.vocab:piece(i)] or i end
    local bytes = { "\237", "\160", "\128" } -- U+D800, as three bytes
    for raw, want in pairs { [false] = "\239\191\189", [true] = table.concat(bytes) } do
      local sampler = require("wane.sample").core(model, { temperature = 0 }, "spec", 1)
      local ctx = assert(model:context())
      local gen = assert(core.job.gen(ctx.handle, sampler, model.vocab:encode "x", { max_tokens = 3, bytes = raw }))
      local text = ""
      for i, byte in ipairs(bytes) do
        if i > 1 then sampler:bias(id[bytes[i - 1]], -2e6) end
        sampler:bias(id[byte], 1e6)
        local _, part = gen:step()
        text = text .. part
      end
      assert.equals(want, text)
      gen:close()
      sampler:close()
      ctx:close()
    end
  end)

  it("can be left in the middle", function()
    local next_piece = model:generate("Once", { max_tokens = 50, seed = 1 })
    assert.truthy(next_piece())
    local co = coroutine.wrap(function()
      for text in model:generate("Once", { max_tokens = 50, seed = 1 }) do
        coroutine.yield(text)
      end
    end)
    assert.truthy(co())
  end)

  it("surfaces errors of user code between steps", function()
    local ok, why = pcall(function()
      for _ in model:generate("Once", { max_tokens = 50 }) do
        error "mine"
      end
    end)
    assert.is_false(ok)
    assert.matches("mine$", tostring(why))
    assert.truthy((collect(model, "Once", { max_tokens = 3 })))
  end)

  it("raises on misuse", function()
    assert.error_matches(function() model:generate("x", { colour = 1 }) end, "generate: unknown option 'colour'")
    assert.error_matches(function() model:generate({}, {}) end, "generate: the prompt has no tokens")
    assert.error_matches(function() model:generate({ 1e9 }, {}) end, "generate: token 1 is 1000000000, want 0 to 2047")
    assert.error_matches(function() model:generate(("word "):rep(400), {}) end,
      "generate: the prompt has 403 tokens, the context has room for 256")
  end)

  it("runs in the background", function()
    local whole = collect(model, "Once upon a time", { max_tokens = 30, temperature = 0 })
    local job = assert(model:start("Once upon a time", { max_tokens = 30, temperature = 0 }))
    assert.is_true(job:fd() >= 0)
    assert.equals(whole, (drain(job)))
    assert.equals("length", job:stats().state)
    assert.equals(30, job:stats().n_tokens)
    job:close()
    assert.has_error(function() job:poll() end, "wane: job is closed")
  end)

  it("keeps its context for itself while it runs", function()
    local ctx = assert(model:context())
    local job = assert(model:start("Once upon a time", { context = ctx, max_tokens = 100, temperature = 0 }))
    local _, message, code = model:start("x", { context = ctx })
    local busy = code == "EBUSY" or not select(2, job:poll())
    assert.is_true(busy, tostring(message))
    job:cancel()
    local _, why, kind = drain(job)
    assert.is_true(kind == "ECANCEL" or job:stats().state == "length", tostring(why))
    job:close()
    assert.truthy(ctx:eval { 1, 2, 3 })
    ctx:close()
  end)

  it("can be dropped while it runs", function()
    for _ = 1, 5 do
      assert(model:start("Once", { max_tokens = 200 }))
      support.collect()
    end
  end)
end)
