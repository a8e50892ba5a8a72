--- Learned numbers: blocks that move against a gradient in every format, files
--- that come nearer to their source and are never worse than they were, runs that
--- go on.
local core = require "wane.core"
local support = require "spec.support"
local tiny = require "spec.support.tiny"
local wane = require "wane"

local TYPES = {
  "q1_0", "q2_0", "tq1_0", "tq2_0", "mxfp4", "nvfp4", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_K", "q3_K", "q4_K", "q5_K", "q6_K",
  "iq4_nl", "iq4_xs", "iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs", "iq3_s",
}

local ROWS, COLS = 3, 512

-- Weights without much order.
local function weights()
  local list, x = {}, 12345
  for i = 1, ROWS * COLS do
    local sum = 0
    for _ = 1, 3 do
      x = (x * 1103515245 + 12345) % 2147483648
      sum = sum + x / 1073741824 - 1
    end
    list[i] = sum
  end
  return core.quant.buffer(ROWS, COLS, list)
end

-- Blocks of w and a learner of them.
local function learner(kind, w)
  local ones = core.quant.buffer(1, COLS)
  ones:fill(1)
  local q = assert(core.quant.encode(kind, w, ones))
  local bytes = q:bytes()
  q:close()
  ones:close()
  return assert(core.learn.open(kind, bytes, w)), bytes
end

local function decoded(kind, bytes)
  local q = assert(core.quant.blocks(kind, bytes, ROWS, COLS))
  local v = q:decode()
  q:close()
  return v
end

-- Sums of 32 neighbours are to be less by 1: their errors may cancel. The blocks at
-- the end, the loss of the first and the least one.
local function descend(kind, w, threads)
  local l = learner(kind, w)
  local function pass(rate)
    local v, g, sum = l:values(threads), {}, 0
    for i = 1, #v, 32 do
      local e = 1
      for k = i, i + 31 do e = e + v[k] - w[k] end
      for k = i, i + 31 do g[k] = e end
      sum = sum + e * e
    end
    v:close()
    local grad = core.quant.buffer(ROWS, COLS, g)
    l:step(grad, rate, threads)
    grad:close()
    return sum
  end
  local rate = kind == "q8_0" and 0.04 or 0.01 -- many small steps are a long way
  local first, least = pass(rate), math.huge
  for k = 1, 20 do least = math.min(least, pass(rate * (1 - k / 21))) end
  local bytes = l:bytes(threads)
  l:close()
  return bytes, first, least
end

describe("core.learn", function()
  support.check_leaks()

  for _, kind in ipairs(TYPES) do
    it("begins with the blocks it was given, and decodes to its values: " .. kind, function()
      local w = weights()
      local l, bytes = learner(kind, w)
      assert.is_true(bytes == l:bytes())
      l:step(w, 0.3)
      local after = l:bytes()
      assert.is_false(bytes == after)
      local want, v = decoded(kind, after), l:values()
      for i = 1, #v do assert.is_true(math.abs(v[i] - want[i]) <= 1e-6 * (1 + math.abs(v[i])), i) end
      l:close()
      w:close()
    end)

    it("lowers a loss: " .. kind, function()
      local w = weights()
      local _, first, least = descend(kind, w, 1)
      assert.is_true(least < 0.8 * first, ("%g -> %g"):format(first, least))
      w:close()
    end)
  end

  it("does not depend on the number of threads", function()
    local w = weights()
    for _, kind in ipairs { "q2_K", "iq3_xxs" } do
      assert.is_true(descend(kind, w, 1) == descend(kind, w, 2), kind)
    end
    w:close()
  end)

  it("gives back and takes what changes", function()
    local w = weights()
    local l, bytes = learner("q3_K", w)
    local twins = l:twins()
    l:step(w, 0.5)
    assert.is_false(bytes == l:bytes())
    l:twins(twins)
    assert.is_true(bytes == l:bytes())
    assert.is_true(l:size() > 4 * #w)
    l:close()
    w:close()
  end)

  it("refuses what does not fit", function()
    local w = weights()
    local l, bytes = learner("q4_K", w)
    assert.has_error(function() core.learn.open("q4_K", bytes:sub(2), w) end,
      "bad argument #2 to 'open' (want the blocks of as many rows as w has)")
    local none, message, code = core.learn.open("iq1_s", bytes, w)
    assert.is_nil(none)
    assert.are.equal("learn: the numbers of iq1_s cannot be chosen", message)
    assert.are.equal("EUNSUP", code)
    local narrow = core.quant.buffer(2, 4)
    narrow:fill(1)
    assert.has_error(function() l:step(narrow, 0.1) end)
    assert.has_error(function() l:step(w, -1) end)
    assert.has_error(function() l:twins(narrow) end)
    l:close()
    assert.has_error(function() l:bytes() end, "wane: learn is closed")
    w:close()
  end)
end)

-- Ids with a rule: each is the one before plus 3, modulo 80.
local function rule(n, first)
  local t = { first or 5 }
  for i = 2, n do t[i] = (t[i - 1] + 3) % 80 end
  return t
end

local function quantized(source, kind)
  local path = support.tmp(kind .. ".gguf")
  assert(wane.quantize { from = source, to = path, recipe = wane.recipe(function() return kind end), threads = 1 })
  return path
end

local function options(source, over)
  local o = {
    from = source, to = support.tmp "learned.gguf", text = rule(192), context = 16, steps = 6, batch = 1, rate = 0.02, threads = 1,
    check_every = 2,
  }
  for k, v in pairs(over) do o[k] = v end
  return o
end

describe("wane.calibrate.learn", function()
  support.check_leaks()

  it("brings a file nearer to its source, in the matrices of its layers alone", function()
    local source = tiny.write {}
    local o = options(source, { start = quantized(source, "q4_0") })
    local r = assert(wane.calibrate.learn(o))
    assert.is_true(r.before > 0)
    assert.is_true(r.after < r.before, ("%g -> %g"):format(r.before, r.after))
    assert.are.equal(14, r.tensors)
    assert.are.equal(1, #r.groups)
    assert.are.equal(6, #r.groups[1].losses)
    assert.are.equal(4, #r.groups[1].held)
    assert.is_false(support.exists(o.to .. ".calibration"))
    assert.is_false(support.exists(o.to .. ".learning"))
    local a, b = assert(wane.gguf.open(o.start)), assert(wane.gguf.open(o.to))
    for i, t in ipairs(a.tensors) do
      local same = t:raw() == b.tensors[i]:raw()
      assert.are.equal(t.type, b.tensors[i].type)
      assert.are.equal(not (t.name:find "^blk" and t.type == "q4_0"), same, t.name)
    end
    a:close()
    b:close()
  end)

  it("learns layers in groups, each on top of those before", function()
    local source = tiny.write {}
    local r = assert(wane.calibrate.learn(options(source, { start = quantized(source, "q4_0"), blocks = 1 })))
    assert.are.equal(2, #r.groups)
    local first, second = r.groups[1], r.groups[2]
    local best = math.huge
    for _, h in ipairs(first.held) do best = math.min(best, h.loss) end
    assert.is_true(math.abs(second.held[1].loss - best) < 1e-6 * best + 1e-9, ("%g, %g"):format(second.held[1].loss, best))
    assert.is_true(r.after <= best)
  end)

  it("goes back to the best check, and on at half the rate, when one is worse", function()
    local source = tiny.write {}
    local r = assert(wane.calibrate.learn(options(source, { start = quantized(source, "q8_0"), rate = 0.5, steps = 24, check_every = 2 })))
    local held, worse = r.groups[1].held, 0
    for i = 2, #held do worse = worse + (held[i].loss > held[1].loss and 1 or 0) end
    assert.is_true(held[2].loss > 10 * held[1].loss, ("%g -> %g"):format(held[1].loss, held[2].loss))
    assert.is_true(held[#held].loss < 0.5 * held[2].loss, ("%g -> %g"):format(held[2].loss, held[#held].loss))
    assert.is_true(worse > 1)
  end)

  it("keeps the file as it was when nothing is better", function()
    local source = tiny.write {}
    local o = options(source, { start = quantized(source, "q8_0"), rate = 1, steps = 2 })
    local r = assert(wane.calibrate.learn(o))
    assert.are.equal(0, r.groups[1].best_step)
    assert.are.equal(r.before, r.after)
    assert.is_true(support.slurp(o.start) == support.slurp(o.to))
  end)

  it("gives the same file when it was interrupted and went on, in a group and between groups", function()
    local source = tiny.write {}
    local start = quantized(source, "q4_0")
    local whole = options(source, { start = start, blocks = 1 })
    assert(wane.calibrate.learn(whole))
    for _, at in ipairs { 3, 9 } do
      local parts = options(source, { start = start, blocks = 1, save_every = 2, to = support.tmp "parts.gguf" })
      parts.progress = function(p) return (p.group - 1) * p.total + p.done < at end
      local r, message, code = wane.calibrate.learn(parts)
      assert.is_nil(r)
      assert.are.equal("cancelled", message)
      assert.are.equal("ECANCEL", code)
      assert.is_false(support.exists(parts.to))
      parts.progress = nil
      r = assert(wane.calibrate.learn(parts))
      assert.are.equal(at == 3 and 2 or 1 + 2, r.resumed)
      assert.is_true(support.slurp(whole.to) == support.slurp(parts.to))
      os.remove(parts.to)
    end
  end)

  it("tells misuse and what the world says", function()
    local source = tiny.write {}
    local start = quantized(source, "q4_0")
    assert.has_error(function() wane.calibrate.learn { from = source, to = "x" } end,
      "wane: calibrate.learn: option 'start' is missing: want a path (a string, not empty, without NUL)")
    assert.has_error(function() wane.calibrate.learn(options(source, { start = start, layers = 3 })) end)
    local _, message, code = wane.calibrate.learn(options(source, { start = source }))
    assert.are.equal(source .. ": no matrix of a layer whose numbers can be chosen", message)
    assert.are.equal("EDATA", code)
    _, message, code = wane.calibrate.learn(options(source, { start = start, text = rule(16) }))
    assert.are.equal("text: too short to hold a part out: give more, or option 'held'", message)
    assert.are.equal("EDATA", code)
    _, message, code = wane.calibrate.learn(options(source, { start = start, max_bytes = 1000 }))
    assert.are.equal("ENOMEM", code)
    assert.matches("max_bytes is 1000", message)
    local o = options(source, { start = start })
    support.spit(o.to, "mine")
    _, _, code = wane.calibrate.learn(o)
    assert.are.equal("EEXIST", code)
    assert.are.equal("mine", support.slurp(o.to))
    _, message, code = wane.calibrate.learn(options(source, { start = start, to = start .. "2", from = start .. "3" }))
    assert.matches("No such file", message)
    assert.are.equal("ENOENT", code)
  end)

  it("lowers the divergence of the demo model in three bits within a few steps", function()
    local source = wane.demo()
    local text = support.slurp "examples/text/calib.txt"
    local o = options(source, {
      start = support.tmp "q3.gguf", text = text:sub(1, 24000), context = 128, steps = 5, batch = 1, rate = 0.005, threads = 1, check_every = 5,
    })
    assert(wane.quantize { from = source, to = o.start, recipe = "Q3_K_S", threads = 1 })
    local r = assert(wane.calibrate.learn(o))
    assert.is_true(r.after < 0.9 * r.before, ("%g -> %g"):format(r.before, r.after))
  end)
end)
