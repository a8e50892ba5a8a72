--- Gradients against central differences, and what holds a step together: layers
--- computed again or kept, threads, losses, AdamW.
local support = require "spec.support"
local core = require "wane.core"
local families = require "spec.support.families"
local gradients = require "spec.support.gradients"
local tiny = require "spec.support.tiny"
local wane = require "wane"

local DEMO = "examples/models/demo-f16.gguf"

-- What has no gradient: factors of rotations, factors of whole experts, and
-- biases that only say
-- which experts are chosen.
local function fixed(role) return role:find "^rope_f" or role:find "exp_probs_b" or role:find "exps%.scale" end

local function open(path, opts)
  local m = assert(wane.load(path))
  opts.tokens, opts.threads = opts.tokens or 16, opts.threads or 1
  return assert(core.train.open(m.handle, opts)), m
end

local function loss(t, ids, targets)
  assert(t:forward(ids))
  return (assert(t:ce(targets)))
end

-- The gradient of one weight as a list.
local function gradient(t, name)
  local b, list = t:get(name, "grad"), {}
  for i = 1, #b do list[i] = b[i] end
  b:close()
  return list
end

describe("a gradient", function()
  support.check_leaks()

  it("is the slope of the loss, for every weight of a llama, layers kept or computed again", function()
    local path = tiny.write {}
    for _, split in ipairs { true, false } do
      local m = assert(wane.load(path))
      local worst, whose, n = gradients.of_model(m, { split = split, threads = 1 })
      m:close()
      assert.is_true(n >= 10, n .. " kinds of weights")
      assert.is_true(worst < 1e-3, ("%s: %.2e"):format(whose, worst))
    end
  end)

  it("is that of the decoded weights where the model is quantized", function()
    local path = support.tmp "q4.gguf"
    assert(wane.quantize { from = DEMO, to = path, recipe = "Q4_K_M" })
    local names = { "blk.1.attn_q.weight", "blk.0.attn_norm.weight", "output_norm.weight" }
    local t, m = open(path, { train = names, threads = 1 })
    local ids, targets = gradients.tokens(m)
    loss(t, ids, targets)
    gradients.back(t)
    local groups = {}
    for i, name in ipairs(names) do groups[i] = { name } end
    local worst, whose = gradients.check(t, groups, function() return loss(t, ids, targets) end)
    assert.is_true(worst < 1e-3, ("%s: %.2e"):format(whose, worst))
    t:close()
    m:close()
  end)

  it("does not depend on threads, on keeping layers, or on what else is asked for", function()
    local path, name = tiny.write { layers = 3 }, "blk.0.attn_k.weight"
    local first
    for _, o in ipairs {
      { threads = 1, split = false, train = { name } }, { threads = 4, split = true, train = { name } },
      { threads = 3, split = true, train = { name, "token_embd.weight", "blk.2.ffn_down.weight" } },
    } do
      local t, m = open(path, o)
      local ids, targets = gradients.tokens(m)
      loss(t, ids, targets)
      gradients.back(t)
      local g = gradient(t, name)
      first = first or g
      assert.are.same(first, g)
      t:close()
      m:close()
    end
  end)

  it("adds up over steps, and rows without a target add nothing", function()
    local t, m = open(tiny.write {}, { train = { "output_norm.weight" } })
    local ids, targets = gradients.tokens(m)
    loss(t, ids, targets)
    gradients.back(t)
    local once = gradient(t, "output_norm.weight")
    loss(t, ids, targets)
    gradients.back(t)
    for i, v in ipairs(gradient(t, "output_norm.weight")) do assert.is_true(math.abs(2 * once[i] - v) < 1e-5) end
    t:zero()
    -- the same rows, wanted alone
    local rows, some, masked = { 3, 7, 8 }, {}, {}
    for i = 1, #ids do masked[i] = -1 end
    for i, r in ipairs(rows) do some[i], masked[r] = targets[r], targets[r] end
    assert(t:forward(ids, { want = rows }))
    local a, n = t:ce(some)
    assert.are.equal(3, n)
    gradients.back(t)
    local wanted = gradient(t, "output_norm.weight")
    t:zero()
    local b = loss(t, ids, masked)
    gradients.back(t)
    assert.is_true(math.abs(a - b) < 1e-4)
    for i, v in ipairs(gradient(t, "output_norm.weight")) do assert.is_true(math.abs(v - wanted[i]) < 1e-4) end
    t:close()
    m:close()
  end)

  it("of a divergence is zero where both are the same, and the slope elsewhere", function()
    local path, name = tiny.write {}, "blk.1.ffn_up.weight"
    local t, m = open(path, { train = { name } })
    local ids = gradients.tokens(m)
    assert(t:forward(ids))
    local same = t:logits()
    assert.is_true(math.abs(assert(t:kl(same))) < 1e-5)
    gradients.back(t)
    for _, v in ipairs(gradient(t, name)) do assert.is_true(math.abs(v) < 1e-5) end
    t:zero()
    local other = same:copy()
    for i = 1, #other do other[i] = 0.5 * same[i] + (i % 7) * 0.2 end
    local function divergence()
      assert(t:forward(ids))
      return (assert(t:kl(other)))
    end
    divergence()
    gradients.back(t)
    local worst = gradients.check(t, { { name } }, divergence)
    assert.is_true(worst < 1e-3, ("%.2e"):format(worst))
    t:close()
    m:close()
  end)

  it("shows the inputs and output gradients of every product, whose sum of products it is", function()
    local name = "blk.1.ffn_up.weight"
    local t, m = open(tiny.write {}, { train = { name }, outputs = true })
    local ids, targets = gradients.tokens(m)
    loss(t, ids, targets)
    local seen, found = {}, nil
    while t:back() do
      for k, p in ipairs(t:products()) do
        seen[p.weight] = true
        if p.weight == name then
          local x, g = t:rows(k)
          local sum = 0
          for r = 1, p.tokens do sum = sum + x[(r - 1) * p.width + 2] * g[(r - 1) * p.rows + 5] end
          found = sum
        end
      end
    end
    for _, want in ipairs { "blk.0.attn_q.weight", "blk.1.attn_output.weight", "blk.0.ffn_down.weight" } do
      assert.is_true(seen[want], want)
    end
    local g = t:get(name, "grad")
    assert.is_true(math.abs(g[4 * 64 + 2] - found) < 1e-5 * math.max(1, math.abs(found)))
    t:close()
    m:close()
  end)

  it("of drawn targets has on average the length that the divergence curves with", function()
    local name = "output_norm.weight"
    local t, m = open(tiny.write {}, { train = { name } })
    local ids = gradients.tokens(m)
    local w = t:get(name)
    assert(t:forward(ids))
    local before = t:logits()
    local d, h, squares = {}, 0.02, 0
    for i = 1, #w do d[i] = (i * 37 % 17 - 8) / 8 end
    local DRAWS = 300
    for seed = 1, DRAWS do
      assert(t:forward(ids))
      assert(t:sample(seed))
      gradients.back(t)
      local g, dot = t:get(name, "grad"), 0
      for i = 1, #g do dot = dot + g[i] * d[i] end
      squares = squares + dot * dot
      t:zero()
    end
    local x = w:copy()
    for i = 1, #x do x[i] = w[i] + h * d[i] end
    assert(t:put(name, x))
    assert(t:forward(ids))
    local kl = assert(t:kl(before))
    local told = 0.5 * h * h * squares / DRAWS
    assert.is_true(told > 0.75 * kl and told < 1.33 * kl, ("%g, %g"):format(told, kl))
    t:close()
    m:close()
  end)
end)

describe("AdamW", function()
  support.check_leaks()

  it("learns a text by heart, and clips", function()
    local t, m = open(tiny.write {}, { train = { "blk.0.ffn_up.weight", "blk.1.attn_v.weight", "output_norm.weight" } })
    local ids, targets = gradients.tokens(m)
    local first, last = loss(t, ids, targets), nil
    for step = 1, 60 do
      last = loss(t, ids, targets)
      gradients.back(t)
      assert.is_true(assert(t:adam { rate = 0.02, step = step, clip = 1 }) > 0)
    end
    assert.is_true(last < 0.2 * first, ("%g -> %g"):format(first, last))
    t:close()
    m:close()
  end)

  it("moves by the formula", function()
    local name = "output_norm.weight"
    local t, m = open(tiny.write {}, { train = { name } })
    local w = t:get(name)
    local g = core.quant.buffer(1, #w, (function()
      local list = {}
      for i = 1, #w do list[i] = (i % 5 - 2) / 4 end
      return list
    end)())
    assert(t:put(name, g, "grad"))
    local length = assert(t:adam { rate = 0.1, step = 1, decay = 0.5, clip = 0 })
    local now, sum = t:get(name), 0
    for i = 1, #w do
      sum = sum + g[i] ^ 2
      local want = w[i] - 0.1 * (g[i] / (math.abs(g[i]) + 1e-8) + 0.5 * w[i])
      assert.is_true(math.abs(now[i] - want) < 1e-5)
    end
    assert.is_true(math.abs(length - math.sqrt(sum)) < 1e-6)
    for _, v in ipairs(gradient(t, name)) do assert.are.equal(0, v) end
    t:close()
    m:close()
  end)
end)

describe("misuse of a trainer", function()
  support.check_leaks()

  it("is told", function()
    local t, m = open(tiny.write {}, { train = { "output_norm.weight" } })
    assert.has_error(function() t:back() end, "wane: train: there is no loss yet")
    assert.has_error(function() t:ce {} end)
    assert.has_error(function() t:forward { 1 } end, "wane: train: a step of 1 tokens, want 2 to 16")
    assert.has_error(function() t:forward { 1, 99 } end, "wane: train: token 2 is 99, want 0 to 79")
    assert.has_error(function() t:forward({ 1, 2 }, { want = {} }) end, "wane: train: no row is wanted")
    assert.has_error(function() t:forward({ 1, 2 }, { want = { 3 } }) end, "wane: option 'want': row 3 of 2")
    assert.are.equal(2, t:forward { 1, 2 })
    assert.has_error(function() t:ce { 80, 1 } end, "wane: train: target 1 is 80, want less than 80")
    assert.has_error(function() t:get "blk.0.attn_q.weight" end, "wane: train: weight blk.0.attn_q.weight is not trained")
    local function opening(o) return function() core.train.open(m.handle, o) end end
    assert.has_error(opening { tokens = 4, train = { "x" } }, "wane: train: the model uses no weight x")
    assert.has_error(opening { tokens = 4 }, "wane: train: no weight of the model is asked for")
    assert.error_matches(opening { tokens = 4, steps = 1 }, "wane: unknown option 'steps': want one of ")
    local _, message, code = core.train.open(m.handle, { tokens = 8, train = { "output_norm.weight" }, max_bytes = 1000 })
    assert.are.equal("ENOMEM", code)
    assert.matches("^train: %d+ bytes, max_bytes is 1000$", message)
    t:close()
    assert.has_error(function() t:zero() end, "wane: train is closed")
    m:close()
  end)
end)

-- Families that have every operation and kind between them; with WANE_SLOW=1 all
-- that make logits, and weights of each name alone.
local FEW = {
  apertus = true, deepseek2 = true, ["falcon-h1"] = true, ["gemma4-e"] = true,
  ["gemma4-moe"] = true, lfm2moe = true, llama4 = true, mamba = true,
  ["nemotron_h_moe"] = true, phi2 = true, qwen3next = true, rwkv7 = true, starcoder2 = true,
}
local ALL = os.getenv "WANE_SLOW" == "1"

describe("every operation's gradient", function()
  support.check_leaks()
  local index = families.index()
  for _, name in ipairs(families.names(index)) do
    if ALL or FEW[name] then
      it("is the slope of the loss: " .. name, function()
        local m = assert(wane.load(support.conformance(("families/%s/%s.F32.gguf"):format(name, name))))
        if m.handle:info().result == "logits" then
          local worst, whose = gradients.of_model(m, { skip = fixed, threads = 1, most = ALL and 99 or 3 })
          assert.is_true(worst < 1e-3, ("%s: %.2e"):format(whose, worst))
        end
        m:close()
      end)
    end
  end
end)
