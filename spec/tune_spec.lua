--- Tuning: adapters that learn, go on after an interruption and load; norms that
--- are never worse than they were; sequences and what counts in them.
local support = require "spec.support"
local data = require "wane.tune.data"
local tiny = require "spec.support.tiny"
local wane = require "wane"

-- Ids with a rule: each is the one before plus 3, modulo 80.
local function rule(n, first)
  local t = { first or 5 }
  for i = 2, n do t[i] = (t[i - 1] + 3) % 80 end
  return t
end

local function options(over)
  local o = {
    model = over.model, to = support.tmp "adapter.gguf", text = rule(96), held = rule(32, 41), context = 32, steps = 12, batch = 1,
    rate = 0.03, rank = 4, threads = 1,
  }
  for k, v in pairs(over) do o[k] = v end
  return o
end

-- Mean loss of a model on ids.
local function loss(path, adapter, ids)
  local m = assert(wane.load(path, { lora = adapter }))
  local r = assert(wane.eval.perplexity(m, ids, { context = #ids, threads = 1 }))
  m:close()
  return r.nll
end

describe("wane.tune", function()
  support.check_leaks()

  it("writes an adapter that lowers the loss of the model it is loaded with", function()
    local path = tiny.write {}
    local o = options { model = path, steps = 40 }
    local r = assert(wane.tune(o))
    assert.are.equal(40, r.steps)
    assert.are.equal(40, #r.losses)
    assert.are.equal(14, r.tensors)
    assert.are.equal(0, r.held[1].step)
    assert.is_true(r.losses[40] < 0.7 * r.losses[1], ("%g -> %g"):format(r.losses[1], r.losses[40]))
    assert.is_true(r.held[#r.held].loss < r.held[1].loss)
    local before, after = loss(path, nil, rule(32, 41)), loss(path, o.to, rule(32, 41))
    assert.is_true(after < before, ("%g -> %g"):format(before, after))
    local f = assert(wane.gguf.open(o.to))
    assert.are.equal("lora", f.meta["adapter.type"])
    assert.are.equal("adapter", f.meta["general.type"])
    assert.are.equal(8, f.meta["adapter.lora.alpha"])
    assert.are.same({ 64, 4 }, f:tensor("blk.0.attn_q.weight.lora_a").shape)
    assert.are.same({ 4, 64 }, f:tensor("blk.0.attn_q.weight.lora_b").shape)
    f:close()
  end)

  it("draws its losses on a page", function()
    local held = { { step = 0, loss = 3 }, { step = 2, loss = 2.5 }, { step = 4, loss = 2.25 } }
    local r = { losses = { 3.5, 3, 2.75, 2.5 }, held = held, tensors = 14, seconds = 61, bytes = 3 * 2 ^ 20 }
    local page = wane.tune.page(r, "A <style>")
    assert.matches("^<!doctype html>", page)
    assert.is_truthy(page:find("<h1>A &lt;style&gt;</h1>", 1, true))
    assert.is_truthy(page:find("Held out: 3.0000 nats per token before, 2.2500 after.", 1, true))
    assert.is_truthy(page:find("<title>step 2: 2.5000 nats per token held out</title>", 1, true))
    local _, points = page:match('class="run" points="([^"]*)"'):gsub(",", "")
    assert.are.equal(4, points)
    local groups = wane.tune.page { groups = { r, r }, after = 1.5, tensors = 28, seconds = 1, bytes = 1 }
    assert.is_truthy(groups:find("<h2>Losses of group 2</h2>", 1, true))
    assert.is_truthy(groups:find("1.5000 after.", 1, true))
    -- nothing held out, one step
    assert.matches("polyline", wane.tune.page { losses = { 1 }, held = {}, tensors = 1, seconds = 1, bytes = 1 })
    assert.has_error(function() wane.tune.page() end)
  end)

  it("adapts chosen matrices of a quantized file", function()
    local path = support.tmp "q.gguf"
    assert(wane.quantize { from = tiny.write {}, to = path, recipe = "Q8_0" })
    local o = options { model = path, tensors = { "attn_[qv]%." }, steps = 6 }
    local r = assert(wane.tune(o))
    assert.are.equal(4, r.tensors)
    assert.is_true(r.losses[6] < r.losses[1])
  end)

  it("gives the same adapter when it was interrupted and went on", function()
    local path = tiny.write {}
    local whole = options { model = path }
    assert(wane.tune(whole))
    local parts = options { model = path, checkpoint = support.tmp "checkpoint.gguf", save_every = 5 }
    parts.progress = function(p) return p.done < 8 end
    local r, message, code = wane.tune(parts)
    assert.is_nil(r)
    assert.are.equal("cancelled", message)
    assert.are.equal("ECANCEL", code)
    assert.is_true(support.exists(parts.checkpoint))
    parts.progress = nil
    r = assert(wane.tune(parts))
    assert.are.equal(5, r.resumed)
    assert.are.equal(12, #r.losses)
    assert.is_false(support.exists(parts.checkpoint))
    assert.are.equal(support.slurp(whole.to), support.slurp(parts.to))
  end)

  it("refuses a checkpoint of another run", function()
    local path, checkpoint = tiny.write {}, support.tmp "checkpoint.gguf"
    local o = options { model = path, checkpoint = checkpoint, save_every = 2, progress = function(p) return p.done < 3 end }
    assert.is_nil((wane.tune(o)))
    o.rate, o.progress = 0.01, nil
    local r, message, code = wane.tune(o)
    assert.is_nil(r)
    assert.are.equal(checkpoint .. ": a checkpoint of another run (other options, text or model): remove it", message)
    assert.are.equal("EFORMAT", code)
  end)

  it("tells misuse and what the world says", function()
    local path = tiny.write {}
    assert.has_error(function() wane.tune { model = path, to = "x" } end, "wane: tune: option 'text' or 'chats' is missing")
    assert.has_error(function() wane.tune(options { model = path, chats = { { { role = "user", content = "x" } } } }) end,
      "wane: tune: options 'text' and 'chats': want one of them")
    assert.has_error(function() wane.tune(options { model = path, ranks = 3 }) end)
    local _, message, code = wane.tune(options { model = path, tensors = { "nothing" } })
    assert.are.equal(path .. ": no matrix to adapt", message)
    assert.are.equal("EDATA", code)
    _, message, code = wane.tune(options { model = path, text = { 1, 2 } })
    assert.are.equal("text: 2 tokens are too few to train on", message)
    assert.are.equal("EDATA", code)
    _, message, code = wane.tune(options { model = path, max_bytes = 1000 })
    assert.are.equal("ENOMEM", code)
    assert.matches("max_bytes is 1000", message)
    local o = options { model = path }
    support.spit(o.to, "mine")
    _, _, code = wane.tune(o)
    assert.are.equal("EEXIST", code)
    assert.are.equal("mine", support.slurp(o.to))
  end)
end)

describe("wane.tune.norms", function()
  support.check_leaks()

  it("brings a quantized file nearer to its source, in the tensors it names alone", function()
    local source, path, to = tiny.write {}, support.tmp "q.gguf", support.tmp "tuned.gguf"
    assert(wane.quantize { from = source, to = path, recipe = wane.recipe(function() return "q4_0" end) })
    local r = assert(wane.tune.norms {
      model = path, reference = source, to = to, text = rule(128), context = 16, steps = 10, batch = 2, rate = 0.01, threads = 1,
    })
    assert.is_true(r.held[1].loss > 0)
    local best = math.huge
    for _, h in ipairs(r.held) do best = math.min(best, h.loss) end
    assert.is_true(best < r.held[1].loss, ("%g, %g"):format(r.held[1].loss, best))
    local a, b = assert(wane.gguf.open(path)), assert(wane.gguf.open(to))
    for i, t in ipairs(a.tensors) do
      local same = t:raw() == b.tensors[i]:raw()
      assert.are.equal(t.type, b.tensors[i].type)
      assert.are.equal(not t.name:find "norm", same, t.name)
    end
    a:close()
    b:close()
  end)

  it("keeps the file as it was when nothing is better", function()
    local source, to = tiny.write {}, support.tmp "same.gguf"
    local r = assert(wane.tune.norms {
      model = source, reference = source, to = to, text = rule(96), context = 16, steps = 2, batch = 1, rate = 50, threads = 1,
    })
    assert.are.equal(0, r.best_step)
    local a, b = assert(wane.gguf.open(source)), assert(wane.gguf.open(to))
    for i, t in ipairs(a.tensors) do assert.are.equal(t:raw(), b.tensors[i]:raw(), t.name) end
    a:close()
    b:close()
  end)
end)

describe("training data", function()
  support.check_leaks()

  it("is cut into pieces in which every token but the first counts", function()
    local list = assert(data.of_text({}, { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 }, 8))
    assert.are.equal(1, #list) -- the rest is too short to say anything
    assert.are.same({ 1, 2, 3, 4, 5, 6, 7 }, list[1].want)
    assert.are.same({ 2, 3, 4, 5, 6, 7, 8 }, list[1].targets)
  end)

  it("of conversations counts replies alone, to their end", function()
    local m = assert(wane.load "examples/models/demo-f16.gguf")
    local list = assert(data.of_chats(m, {
      { { role = "user", content = "Who is there?" }, { role = "assistant", content = "The moon." },
        { role = "user", content = "And?" }, { role = "assistant", content = "Stars." } },
    }, 128, "chatml"))
    assert.are.equal(2, #list)
    for k, reply in ipairs { "The moon.", "Stars." } do
      local ids, rows = list[k].targets, list[k].want
      assert.are.equal(reply, m.vocab:decode(ids):sub(1, #reply))
      assert.are.equal(list[k].ids[rows[1] + 1], ids[1])
    end
    m:close()
  end)
end)
