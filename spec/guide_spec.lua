--- The end of the model guides: weights of tokens, prices of tensors.
local support = require "spec.support"
local core = require "wane.core"
local guide = require "wane.calibrate.guide"
local tiny = require "spec.support.tiny"
local wane = require "wane"

local DEMO = "examples/models/demo-f16.gguf"

local function text() return support.slurp "examples/text/calib.txt" end

describe("the effect of an error", function()
  support.check_leaks()

  it("is the sum over tokens of g (w - q) x, and of its squares", function()
    local x = core.quant.buffer(2, 3, { 1, 2, 3, -1, 0, 2 })
    local g = core.quant.buffer(2, 2, { 0.5, -1, 2, 1 })
    local w = core.quant.buffer(2, 3, { 1, 1, 1, 2, 0, 1 })
    local q = core.quant.buffer(2, 3, { 0, 1, 2, 2, -1, 1 })
    -- rows of w - q: (1, 0, -1), (0, 1, 0); with x: (-2, 2), (-3, 0)
    local sum, squares = core.train.effect(x, g, w, q)
    assert.are.equal((0.5 * -2 - 2) + (2 * -3), sum)
    assert.are.equal(9 + 36, squares)
    assert.has_error(function() core.train.effect(x, g, w, g) end)
  end)
end)

describe("wane.calibrate.sensitivity", function()
  support.check_leaks()

  it("prices tensors from one pass: more bits cost less, and the price is near the measured loss", function()
    local m = assert(wane.load(DEMO))
    local names = { "blk.2.ffn_down.weight", "blk.6.attn_q.weight" }
    local s = assert(wane.calibrate.sensitivity {
      model = m, text = text(), by = "gradient", types = { "q2_K", "q4_K", "q8_0" }, tensors = names, context = 64, chunks = 2,
      threads = 1,
    })
    assert.are.equal(6, #s.rows)
    local by = {}
    for _, r in ipairs(s.rows) do by[r.tensor .. r.type] = r end
    for _, name in ipairs(names) do
      local two, four, eight = by[name .. "q2_K"], by[name .. "q4_K"], by[name .. "q8_0"]
      assert.is_true(two.kld > four.kld and four.kld > eight.kld and eight.kld > 0)
      assert.is_true(two.bytes < four.bytes and two.error > four.error)
      local i = m.gguf:find_tensor(name)
      local w = core.quant.read(m.gguf, i)
      local q = core.quant.encode("q2_K", w)
      local v = assert(m:variant { { name, "q2_K", q:bytes() } })
      local d = assert(wane.eval.divergence(m, { v }, text():sub(1, 3000), { context = 128, threads = 1 }))
      local ratio = two.kld / d[1].kld.mean
      assert.is_true(ratio > 0.1 and ratio < 10, ("%s: %g of %g"):format(name, two.kld, d[1].kld.mean))
      v:close()
      w:close()
      q:close()
    end
    m:close()
  end)

  it("tells misuse", function()
    assert.has_error(function() wane.calibrate.sensitivity { text = "x" } end)
    assert.has_error(function() wane.calibrate.sensitivity { model = {}, text = "x", by = "guess" } end)
  end)
end)

describe("a guide", function()
  support.check_leaks()

  it("scales rows by what their tokens weigh", function()
    local m = assert(wane.load(DEMO))
    local ids = m.vocab:encode(text():sub(1, 2000))
    local chunk = {}
    for i = 1, 32 do chunk[i] = ids[i] end
    local g = assert(guide._of(m, { chunk, chunk }, { threads = 1 }))
    local by = g.powers["blk.3.ffn_up.weight"]
    assert.are.equal(2, #by)
    assert.are.equal(32, #by[1])
    local rows = core.quant.buffer(8, 2, { 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2 })
    local item = { weights = { "blk.3.ffn_up.weight" } }
    local out = g:weigh(item, rows, 2, 8)
    for i = 1, 8 do
      local want = math.sqrt(math.min(by[2][8 + i] / by.mean, 8))
      assert.is_true(math.abs(out[2 * i - 1] - want) < 1e-5 and math.abs(out[2 * i] - 2 * want) < 1e-5)
    end
    assert.is_nil(g:weigh({ weights = { "nothing" } }, rows, 1, 0))
    assert.is_nil(g:weigh(item, rows, 1, 30)) -- beyond what was seen
    m:close()
  end)

  it("makes another file of GPTQ, of the same types", function()
    local source, ids = tiny.write { width = 128, ff = 128 }, {}
    for i = 1, 128 do ids[i] = (i * i + 7 * i) % 80 end
    local files = {}
    for k, on in ipairs { false, true } do
      local to = support.tmp "g.gguf"
      local r = assert(wane.calibrate.gptq {
        from = source, to = to, recipe = wane.recipe(function() return "q4_0" end), text = ids, context = 64, threads = 1, sweeps = 1,
        guide = on,
      })
      assert.are.equal(2, r.chunks)
      files[k] = support.slurp(to)
    end
    assert.are.equal(#files[1], #files[2])
    assert.are_not.equal(files[1], files[2])
  end)
end)
