--- Programs: what the verifier refuses, that grouping into stages, threads,
--- batches and the memory plan never change a bit of the result.
local support = require "spec.support"
local tiny = require "spec.support.tiny"
local core = require "wane.core"
local model = require "wane.model"
local arch = require "wane.arch"

--- All logits of `tokens`, as bytes, with the given ways to run.
local function run(m, tokens, o)
  o = o or {}
  local ctx = assert(m:context { threads = o.threads or 1, batch = o.batch, kv = o.kv or "f32" })
  local logits = assert(ctx:eval(tokens, { all = true })):bytes()
  local regions = ctx:info().regions
  ctx:close()
  return logits, regions
end

local function load(over, opts)
  local path = tiny.write(over)
  local m = assert(model.load(path, opts))
  os.remove(path)
  return m
end

local SHAPES = {
  dense = {},
  ["one key head"] = { kv = 1, heads = 8 },
  ["a key head per query head"] = { kv = 4 },
  ["odd feed-forward"] = { ff = 75 },
  experts = { experts = 6, used = 2 },
  ["one expert of many"] = { experts = 5, used = 1, ff = 33 },
}

describe("results do not depend on how they are computed:", function()
  support.check_leaks()
  local tokens = tiny.tokens(61, 80)

  for name, over in pairs(SHAPES) do
    it(name .. ": 1, 2, 3 and 16 threads give the same bits", function()
      local m = load(over)
      local want = run(m, tokens)
      for _, n in ipairs { 2, 3, 16 } do
        assert.truthy(want == run(m, tokens, { threads = n }), n .. " threads differ")
      end
      m:close()
    end)

    it(name .. ": any cut of the prompt gives the same bits", function()
      local m = load(over)
      for _, kv in ipairs { "f32", "f16" } do
        local want = run(m, tokens, { kv = kv })
        for _, n in ipairs { 1, 2, 3, 5, 8, 17, 60 } do
          for _, threads in ipairs { 1, 3 } do
            local got = run(m, tokens, { kv = kv, batch = n, threads = threads })
            local what = ("batches of %d on %d threads differ, %s cache"):format(n, threads, kv)
            assert.truthy(want == got, what)
          end
        end
      end
      m:close()
    end)

    it(name .. ": fused and literal programs give the same bits", function()
      local path = tiny.write(over)
      local fused, literal = assert(model.load(path)), assert(model.load(path, { fuse = false }))
      assert.truthy(fused:info().stages < literal:info().stages)
      for _, threads in ipairs { 1, 2, 5 } do
        for _, n in ipairs { 1, 3, 61 } do
          local o = { threads = threads, batch = n }
          assert.truthy(run(fused, tokens, o) == run(literal, tokens, o))
        end
      end
      fused:close()
      literal:close()
      os.remove(path)
    end)
  end

  it("long contexts: parts of the attention are merged alike", function()
    local m = load { layers = 1, context = 4096 }
    local long = tiny.tokens(2500, 80)
    local want = run(m, long, { batch = 512 })
    local ctx = assert(m:context { threads = 4, kv = "f32", batch = 100 })
    local head = {}
    for i = 1, 2480 do head[i] = long[i] end
    assert(ctx:eval(head))
    for i = 2481, 2500 do
      local row = assert(ctx:eval { long[i] }):bytes()
      assert.truthy(row == want:sub((i - 1) * 80 * 4 + 1, i * 80 * 4), "token " .. i)
    end
    ctx:close()
    m:close()
  end)

  -- 330 tokens: blocks of keys that are cut by the window, by the row's own
  -- place, by the end of the cache; rows of one tile that share no key.
  it("windows, soft caps, every type of cache: any cut gives the same bits", function()
    local llama = arch.find "llama"
    local seen = {}
    for _, window in ipairs { 7, 100, 0 } do
      arch.register("llama", function(g)
        local block, attend = g.block, g.attend
        function g:block(i)
          local b = block(self, i)
          function b.attend(at, q, k, v) return attend(at, q, k, v, { window = window > 0 and window or nil, cap = 3 }) end
          return b
        end
        return llama(g)
      end)
      local m = load { layers = 1, heads = 2, kv = 1, width = 64, context = 512 }
      arch.register("llama", llama)
      local long = tiny.tokens(330, 80)
      for _, kv in ipairs { "f32", "f16", "bf16", "q8_0", "q4_0", "q5_1" } do
        local want = run(m, long, { kv = kv, batch = 330 })
        assert.falsy(seen[want], "a window that changes nothing")
        seen[want] = true
        for _, o in ipairs { { batch = 1, threads = 2 }, { batch = 1 }, { batch = 13, threads = 3 }, { batch = 100 } } do
          o.kv = kv
          local what = ("window %d, %s cache, batches of %d"):format(window, kv, o.batch)
          assert.truthy(want == run(m, long, o), what)
        end
      end
      m:close()
    end
  end)

  it("sequences in one batch do not see each other", function()
    local m = load()
    local a, b = tiny.tokens(20, 80, 3), tiny.tokens(20, 80, 4)
    local want_a, want_b = run(m, a), run(m, b)
    local ctx = assert(m:context { sequences = 2, threads = 2, kv = "f32" })
    local mixed, seq = {}, {}
    for i = 1, 20 do
      mixed[2 * i - 1], seq[2 * i - 1] = a[i], 1
      mixed[2 * i], seq[2 * i] = b[i], 2
    end
    assert(ctx:step(mixed, { seq = seq, want = "all" }))
    for i = 1, 20 do
      assert.truthy(ctx:logits(2 * i - 1):bytes() == want_a:sub((i - 1) * 320 + 1, i * 320))
      assert.truthy(ctx:logits(2 * i):bytes() == want_b:sub((i - 1) * 320 + 1, i * 320))
    end
    assert.equal(20, ctx:n_past(2))
    ctx:close()
    m:close()
  end)

  it("truncating and copying a sequence continue as if it had been so", function()
    local m = load()
    local ctx = assert(m:context { sequences = 2, kv = "f16" })
    assert(ctx:eval(tokens))
    assert(ctx:truncate(30))
    assert(ctx:copy(1, 2, 30))
    assert.equal(30, ctx:n_past(1))
    local tail = { tokens[31], tokens[32] }
    local head = {}
    for i = 1, 32 do head[i] = tokens[i] end
    local want = run(m, head, { kv = "f16" })
    for seq = 1, 2 do
      local got = assert(ctx:eval(tail, { seq = seq, all = true })):bytes()
      assert.truthy(got == want:sub(30 * 320 + 1, 32 * 320))
    end
    ctx:close()
    m:close()
  end)

  it("only the wanted rows are computed, and they are the same", function()
    local m = load()
    local want = run(m, tokens)
    local ctx = assert(m:context { kv = "f32" })
    local which = {}
    for i = 1, #tokens do which[i] = i % 7 == 3 end
    assert(ctx:step(tokens, { want = which }))
    local row = 0
    for i = 1, #tokens do
      if which[i] then
        row = row + 1
        assert.truthy(ctx:logits(row):bytes() == want:sub((i - 1) * 320 + 1, i * 320))
      end
    end
    assert.error_matches(function() ctx:logits(row + 1) end, "want an integer from 1 to 9")
    assert(ctx:truncate(0))
    assert(ctx:step(tokens, { want = "none" }))
    assert.error_matches(function() ctx:logits() end, "ctx:logits: the last step made no rows")
    ctx:close()
    m:close()
  end)
end)

describe("every tier", function()
  support.check_leaks()
  it("gives nearly the same logits", function()
    local m = load { ff = 75 }
    local tokens, best = tiny.tokens(40, 80), core.cpu().isa
    local want
    for _, isa in ipairs { "ref", "avx2", "avx512", "amx" } do
      if core.set_isa(isa) then
        local ctx = assert(m:context { kv = "f32" })
        local got = assert(ctx:eval(tokens, { all = true }))
        want = want or got
        for k = 1, #got do assert.near(want[k], got[k], 2e-5) end
        ctx:close()
      end
    end
    assert(core.set_isa(best))
    m:close()
  end)
end)

describe("regions", function()
  support.check_leaks()
  -- A decoded token: at most 6 barriers for a layer, 2 for what is around them.
  for name, over in pairs(SHAPES) do
    it("are at most 6 for a layer: " .. name, function()
      local counts = {}
      for _, layers in ipairs { 1, 5 } do
        local shape = { layers = layers }
        for k, v in pairs(over) do shape[k] = v end
        local m = load(shape)
        local _, regions = run(m, { 1 }, { threads = 2 })
        counts[#counts + 1] = regions
        m:close()
      end
      local per_layer = (counts[2] - counts[1]) / 4
      assert(per_layer <= 6, per_layer .. " regions for a layer")
      assert(counts[1] <= 8, counts[1] .. " regions for a model of one layer")
    end)
  end
end)

-- ---- the verifier ----------------------------------------------------------

--- A program under construction with a few values of known widths.
local function fresh()
  local p = assert(core.prog.new())
  local w = {
    embd = assert(p:weight("embd", { 8, 10 }, true)),
    sq = assert(p:weight("sq", { 8, 8 }, true)),
    up = assert(p:weight("up", { 8, 12 }, true)),
    vec = assert(p:weight("vec", { 8 }, false)),
    four = assert(p:weight("four", { 4 }, false)),
    gate = assert(p:weight("gate", { 8, 6, 3 }, true)),
    down = assert(p:weight("down", { 6, 8, 3 }, true)),
    router = assert(p:weight("router", { 8, 3 }, true)),
  }
  local x = assert(p:op("embed", "token", "x", {}, { w.embd }, {}, {}))
  local wide = assert(p:op("linear", nil, "wide", { x }, { w.up }, { 0, 12 }, {}))
  return p, w, x, wide
end

local NAN, INF = 0 / 0, math.huge
local YARN = { 10000, 0.25, 1, 1, 32, 1 }

-- { what, reason, build(p, w, x, wide) -> value }
local REFUSED = {
  { "an input that does not exist", "input 1 is value 99",
    function(p) return p:op("act", "silu", "a", { 99 }, {}, {}, {}) end },
  { "an input of its own", "input 1 is value 2",
    function(p) return p:op("act", "silu", "a", { 2 }, {}, {}, {}) end },
  { "a missing input", "input 2 is value",
    function(p, _, x) return p:op("add", nil, "a", { x }, {}, {}, {}) end },
  { "an input too many", "takes 1 inputs",
    function(p, _, x) return p:op("act", "silu", "a", { x, x }, {}, {}, {}) end },
  { "a weight that does not exist", "weight 1 is number 77",
    function(p, _, x) return p:op("linear", nil, "a", { x }, { 77 }, { 0, 1 }, {}) end },
  { "a missing weight", "weight 1 is missing",
    function(p, _, x) return p:op("linear", nil, "a", { x }, {}, { 0, 8 }, {}) end },
  { "a weight that is not used", "weight 1 is set",
    function(p, w, x) return p:op("add", nil, "a", { x, x }, { w.vec }, {}, {}) end },
  { "widths that differ", "widths 8 and 12",
    function(p, _, x, wide) return p:op("add", nil, "a", { x, wide }, {}, {}, {}) end },
  { "a gate of another width", "widths 8 and 12",
    function(p, _, x, wide) return p:op("glu", "silu", "a", { x, wide }, {}, {}, {}) end },
  { "a matrix of another width", "declared 8 x 8",
    function(p, w, _, wide) return p:op("linear", nil, "a", { wide }, { w.sq }, { 0, 8 }, {}) end },
  { "rows beyond the matrix", "rows 4 to 12 of 8",
    function(p, w, x) return p:op("linear", nil, "a", { x }, { w.sq }, { 4, 8 }, {}) end },
  { "rows that wrap", "rows 4294967295",
    function(p, w, x) return p:op("linear", nil, "a", { x }, { w.sq }, { 2 ^ 32 - 1, 2 }, {}) end },
  { "no rows", "rows 0 to 0",
    function(p, w, x) return p:op("linear", nil, "a", { x }, { w.sq }, { 0, 0 }, {}) end },
  { "a vector as a matrix", "declared as a vector",
    function(p, w, x) return p:op("linear", nil, "a", { x }, { w.vec }, { 0, 1 }, {}) end },
  { "a matrix as a vector", "declared as a matrix",
    function(p, w, x) return p:op("norm", "rms", "a", { x }, { w.sq }, {}, { 1e-5 }) end },
  { "a bias of another length", "four has 4 values",
    function(p, w, x) return p:op("linear", nil, "a", { x }, { w.sq, w.four }, { 0, 8 }, {}) end },
  { "eps 0", "eps 0", function(p, w, x) return p:op("norm", "rms", "a", { x }, { w.vec }, {}, { 0 }) end },
  { "eps NaN", "not finite",
    function(p, w, x) return p:op("norm", "rms", "a", { x }, { w.vec }, {}, { NAN }) end },
  { "eps infinite", "not finite",
    function(p, w, x) return p:op("norm", "rms", "a", { x }, { w.vec }, {}, { INF }) end },
  { "eps beyond float32", "not finite",
    function(p, w, x) return p:op("norm", "rms", "a", { x }, { w.vec }, {}, { 1e300 }) end },
  { "groups that do not divide", "not a multiple of the group, 3",
    function(p, _, x) return p:op("norm", "rms", "a", { x }, {}, { 3 }, { 1e-5 }) end },
  { "a norm weight of no length that fits", "four has 4 values",
    function(p, w, x) return p:op("norm", "rms", "a", { x }, { w.four }, {}, { 1e-5 }) end },
  { "heads of no values", "heads of 0",
    function(p, _, x) return p:op("rope", "neox", "a", { x }, {}, { 0, 2 }, { 10000, 1, 0, 1 }) end },
  { "heads that do not divide", "heads of 5",
    function(p, _, x) return p:op("rope", "neox", "a", { x }, {}, { 5, 2 }, { 10000, 1, 0, 1 }) end },
  { "an odd rotation", "rotates 3",
    function(p, _, x) return p:op("rope", "neox", "a", { x }, {}, { 4, 3 }, { 10000, 1, 0, 1 }) end },
  { "a rotation beyond the head", "rotates 6",
    function(p, _, x) return p:op("rope", "neox", "a", { x }, {}, { 4, 6 }, { 10000, 1, 0, 1 }) end },
  { "base 0", "base 0",
    function(p, _, x) return p:op("rope", "neox", "a", { x }, {}, { 4, 4 }, { 0, 1, 0, 1 }) end },
  { "scale -1", "scale %-1",
    function(p, _, x) return p:op("rope", "neox", "a", { x }, {}, { 4, 4 }, { 10000, -1, 0, 1 }) end },
  { "YaRN without a context", "YaRN",
    function(p, _, x) return p:op("rope", "neox", "a", { x }, {}, { 4, 4, 0 }, YARN) end },
  { "long factors alone", "long factors",
    function(p, w, x)
      return p:op("rope", "neox", "a", { x }, { false, w.four }, { 8, 8 }, { 10000, 1, 0, 1 })
    end },
  { "factors of another length", "four has 4 values",
    function(p, w, x) return p:op("rope", "neox", "a", { x }, { w.four }, { 4, 4 }, { 10000, 1, 0, 1 }) end },
  { "no heads", "0 query heads",
    function(p, _, x) return p:op("attend", "causal", "a", { x, x, x }, {}, { 0, 0, 1 }, { 1 }) end },
  { "heads that key heads do not divide", "4 query heads over 3",
    function(p, _, x) return p:op("attend", "causal", "a", { x, x, x }, {}, { 0, 4, 3 }, { 1 }) end },
  { "heads of different widths", "widths 8, 8, 8",
    function(p, _, x) return p:op("attend", "causal", "a", { x, x, x }, {}, { 0, 4, 2 }, { 1 }) end },
  { "a slot out of order", "cache slot 3, want 0",
    function(p, _, x) return p:op("attend", "causal", "a", { x, x, x }, {}, { 3, 2, 2 }, { 1 }) end },
  { "a scale of 0", "scale 0",
    function(p, _, x) return p:op("attend", "causal", "a", { x, x, x }, {}, { 0, 2, 2 }, { 0 }) end },
  { "a negative cap", "cap %-1",
    function(p, _, x) return p:op("attend", "causal", "a", { x, x, x }, {}, { 0, 2, 2 }, { 1, -1 }) end },
  { "a window beyond any context", "window 4294967295",
    function(p, _, x) return p:op("attend", "full", "a", { x, x, x }, {}, { 0, 2, 2, 4294967295 }, { 1 }) end },
  { "a bias by distance and a cap", "bias 8 by distance with cap 2",
    function(p, _, x) return p:op("attend", "full", "a", { x, x, x }, {}, { 0, 2, 2 }, { 1, 2, 8 }) end },
  { "a negative bias", "bias %-8",
    function(p, _, x) return p:op("attend", "full", "a", { x, x, x }, {}, { 0, 2, 2 }, { 1, 0, -8 }) end },
  { "axes without sections", "sections 0",
    function(p, _, x) return p:op("rope", "imrope", "a", { x }, {}, { 4, 4 }, { 10000, 1, 0, 1 }) end },
  { "sections without axes", "sections 0x10101",
    function(p, _, x) return p:op("rope", "neox", "a", { x }, {}, { 4, 4, 0, 65793 }, { 10000, 1, 0, 1 }) end },
  { "growth without steps", "steps of 0 positions",
    function(p, _, x) return p:op("scale", "position", "a", { x }, {}, { 0, 3 }, { 1 }) end },
  { "steps of a constant", "steps of 5 positions",
    function(p, _, x) return p:op("scale", "constant", "a", { x }, {}, { 5 }, { 1 }) end },
  { "a scale of more than one value", "vec has 8 values, want 1",
    function(p, w, x) return p:op("linear", nil, "a", { x }, { w.router, false, w.vec }, { 0, 3 }, {}) end },
  { "experts in groups that do not divide", "3 in 1 of 2 groups",
    function(p, w, x)
      local r = p:op("linear", nil, "r", { x }, { w.router }, { 0, 3 }, {})
      return p:op("moe", "silu", "a", { x, r }, { w.gate, w.gate, w.down }, { 2, 0, 1, 6, 2, 1 }, { 1 })
    end },
  { "groups too few for the choice", "chooses 2 of 3 in 1 of 3",
    function(p, w, x)
      local r = p:op("linear", nil, "r", { x }, { w.router }, { 0, 3 }, {})
      return p:op("moe", "silu", "a", { x, r }, { w.gate, w.gate, w.down }, { 2, 0, 1, 6, 3, 1 }, { 1 })
    end },
  { "a gate's act without gates", "no gate, but what belongs to one",
    function(p, w, x)
      local r = p:op("linear", nil, "r", { x }, { w.router }, { 0, 3 }, {})
      return p:op("moe", "swiglu_oai", "a", { x, r }, { false, w.gate, w.down }, { 2, 0, 1, 6 }, { 1, 1.7, 7 })
    end },
  { "sinks of another number", "four has 4 values",
    function(p, w, x) return p:op("attend", "causal", "a", { x, x, x }, { w.four }, { 0, 2, 2 }, { 1 }) end },
  { "a gate's act without a gate", "kind",
    function(p, _, x) return p:op("act", "swiglu_oai", "a", { x }, {}, {}, {}) end },
  { "a limit of 0", "limit 0",
    function(p, _, x) return p:op("glu", "swiglu_oai", "a", { x, x }, {}, {}, { 1.7, 0 }) end },
  { "a cap of 0", "cap 0", function(p, _, x) return p:op("softcap", nil, "a", { x }, {}, {}, { 0 }) end },
  { "an integer that is not used", "integer 1 is set",
    function(p, _, x) return p:op("act", "silu", "a", { x }, {}, { 1 }, {}) end },
  { "a number that is not used", "number 1 is set",
    function(p, _, x) return p:op("act", "silu", "a", { x }, {}, {}, { 1 }) end },
  { "a row beyond the embedding", "row 10 of 10",
    function(p, w) return p:op("embed", "row", "a", {}, { w.embd }, { 10 }, {}) end },
  { "more experts used than there are", "uses 4 of 3",
    function(p, w, x)
      local r = p:op("linear", nil, "r", { x }, { w.router }, { 0, 3 }, {})
      return p:op("moe", "silu", "a", { x, r }, { w.gate, w.gate, w.down }, { 4, 0, 1, 6 }, { 1 })
    end },
  { "experts of another width", "gate is declared",
    function(p, w, x)
      local r = p:op("linear", nil, "r", { x }, { w.router }, { 0, 3 }, {})
      return p:op("moe", "silu", "a", { x, r }, { w.gate, w.gate, w.down }, { 2, 0, 1, 5 }, { 1 })
    end },
  { "groups of rows that do not divide", "8 rows in groups of 3",
    function(p, w, x) return p:op("linear", nil, "a", { x }, { w.sq }, { 0, 8, 3, 3 }, {}) end },
  { "groups of rows beyond the matrix", "8 rows in groups of 2, 3 apart",
    function(p, w, x) return p:op("linear", nil, "a", { x }, { w.sq }, { 0, 8, 2, 3 }, {}) end },
  { "groups of rows that wrap", "in groups of 1, 4294967295 apart",
    function(p, w, x) return p:op("linear", nil, "a", { x }, { w.sq }, { 0, 8, 1, 4294967295 }, {}) end },
  { "a stride without groups", "groups of 0 rows",
    function(p, w, x) return p:op("linear", nil, "a", { x }, { w.sq }, { 0, 8, 0, 3 }, {}) end },
  { "an act's bias of another length", "four has 4 values",
    function(p, w, x) return p:op("act", "silu", "a", { x }, { w.four }, {}, {}) end },
  { "a factor of another length", "four has 4 values",
    function(p, w, x) return p:op("scale", "constant", "a", { x }, { w.four }, {}, { 1 }) end },
  { "a product of rows that do not divide", "widths 8 and 12",
    function(p, _, x, wide) return p:op("mul", nil, "a", { x, wide }, {}, {}, {}) end },
  { "a clamp upside down", "from 2 to 1",
    function(p, _, x) return p:op("clamp", nil, "a", { x }, {}, {}, { 2, 1 }) end },
  { "an infinite clamp", "not finite",
    function(p, _, x) return p:op("clamp", nil, "a", { x }, {}, {}, { 0, INF }) end },
  { "xielu with NaN", "not finite",
    function(p, _, x) return p:op("xielu", nil, "a", { x }, {}, {}, { NAN }) end },
  { "a part of nothing", "values 0 to 0",
    function(p, _, x) return p:op("part", nil, "a", { x }, {}, { 0, 0 }, {}) end },
  { "a part beyond the row", "values 4 to 12 of 8",
    function(p, _, x) return p:op("part", nil, "a", { x }, {}, { 4, 8 }, {}) end },
  { "a part that wraps", "of 8",
    function(p, _, x) return p:op("part", nil, "a", { x }, {}, { 2 ^ 32 - 1, 2 }, {}) end },
  { "heads of a join that do not fit", "in heads of 4 and 3",
    function(p, _, x, wide) return p:op("join", nil, "a", { x, wide }, {}, { 4, 3 }, {}) end },
  { "a join of no values", "in heads of 0 and 8",
    function(p, _, x) return p:op("join", nil, "a", { x, x }, {}, { 0, 8 }, {}) end },
  { "a matrix for other heads", "gate is declared 8 x 6 x 3",
    function(p, w, x) return p:op("heads", nil, "a", { x }, { w.gate }, { 2 }, {}) end },
  { "no heads of matrices", "in 0 heads",
    function(p, w, x) return p:op("heads", nil, "a", { x }, { w.gate }, { 0 }, {}) end },
  { "a chunk of no size", "window 0",
    function(p, _, x) return p:op("attend", "chunked", "a", { x, x, x }, {}, { 0, 2, 2, 0 }, { 1 }) end },
  { "attention over a slot that nobody fills", "cache slot 0 of 0",
    function(p, _, x) return p:op("attend", "causal", "a", { x }, {}, { 0, 2, 2 }, { 1 }) end },
  { "attention over another's keys of another width", "cache slot 0 has 2 heads of 4",
    function(p, _, x, wide)
      p:op("attend", "causal", "a", { x, x, x }, {}, { 0, 2, 2 }, { 1 })
      return p:op("attend", "causal", "b", { wide }, {}, { 0, 2, 2 }, { 1 })
    end },
  { "attention over a state", "cache slot 0 has 0 heads",
    function(p, _, x)
      p:op("conv", "shift", "a", { x }, {}, { 0, 2 }, {})
      return p:op("attend", "causal", "b", { x }, {}, { 0, 2, 2 }, { 1 })
    end },
  { "values without keys", "values without keys",
    function(p, _, x)
      p:op("attend", "causal", "a", { x, x, x }, {}, { 0, 2, 2 }, { 1 })
      return p:op("attend", "causal", "b", { x, false, x }, {}, { 0, 2, 2 }, { 1 })
    end },
  { "values longer than the keys that hold them", "values are the first 5 of 4",
    function(p, _, x) return p:op("attend", "causal", "a", { x, x }, {}, { 0, 2, 2, 0, 5 }, { 1 }) end },
  { "keys without values", "values are the first 0 of 4",
    function(p, _, x) return p:op("attend", "causal", "a", { x, x }, {}, { 0, 2, 2, 0, 0 }, { 1 }) end },
  { "a convolution of one tap", "1 taps",
    function(p, w, x) return p:op("conv", "conv", "a", { x }, { w.vec }, { 0, 1 }, {}) end },
  { "a convolution of many taps", "17 taps",
    function(p, w, x) return p:op("conv", "conv", "a", { x }, { w.vec }, { 0, 17 }, {}) end },
  { "a convolution without weights", "a shift has no weights",
    function(p, _, x) return p:op("conv", "conv", "a", { x }, {}, { 0, 2 }, {}) end },
  { "taps of another number", "vec has 8 values, want 16",
    function(p, w, x) return p:op("conv", "conv", "a", { x }, { w.vec }, { 0, 2 }, {}) end },
  { "a state out of order", "cache slot 1, want 0",
    function(p, _, x) return p:op("conv", "shift", "a", { x }, {}, { 1, 2 }, {}) end },
  { "a delta rule without heads", "0 value heads over 0 key heads",
    function(p, _, x) return p:op("delta", "tiled", "a", { x, x, x }, {}, { 0, 0, 0, 2 }, { 1e-5 }) end },
  { "a delta rule of other widths", "widths 8, 8, 8, want 6, 1, 1",
    function(p, _, x) return p:op("delta", "tiled", "a", { x, x, x }, {}, { 0, 1, 1, 2 }, { 1e-5 }) end },
  { "a delta rule of endless heads", "heads of 4294967295 values",
    function(p, _, x) return p:op("delta", "tiled", "a", { x, x, x }, {}, { 0, 1, 1, 4294967295 }, { 1e-5 }) end },
  { "a delta rule with eps 0", "eps 0",
    function(p, w, x)
      local one = p:op("linear", nil, "one", { x }, { w.sq }, { 0, 1 }, {})
      local six = p:op("linear", nil, "six", { x }, { w.sq }, { 0, 6 }, {})
      return p:op("delta", "tiled", "a", { six, one, one }, {}, { 0, 1, 1, 2 }, { 0 })
    end },
  { "a scan without channels", "0 channels in 0 heads",
    function(p, w, x) return p:op("scan", "heads", "a", { x, x }, { w.vec, w.vec, w.vec }, { 0, 0, 1, 1, 0 }, {}) end },
  { "a scan of other widths", "inputs of 8 and 8 values for 4 channels in 2 heads",
    function(p, w, x) return p:op("scan", "heads", "a", { x, x }, { w.vec, w.vec, w.vec }, { 0, 2, 2, 1, 4 }, {}) end },
  { "a scan of an endless state", "4294967295 values of state",
    function(p, w, x)
      return p:op("scan", "heads", "a", { x, x }, { w.vec, w.vec, w.vec }, { 0, 2, 4294967295, 1, 4 }, {})
    end },
  { "a scan of channels without B and C", "input 3 belongs to channels",
    function(p, w, x) return p:op("scan", "channels", "a", { x, x }, { w.vec, w.vec, w.vec }, { 0, 8, 2, 1, 8 }, {}) end },
  { "a recurrence of other widths", "width 8, want 48",
    function(p, _, x) return p:op("wkv", nil, "a", { x }, {}, { 0, 2, 4 }, {}) end },
  { "a recurrence without heads", "0 heads of 4",
    function(p, _, x) return p:op("wkv", nil, "a", { x }, {}, { 0, 0, 4 }, {}) end },
  { "experts with a flag that does not exist", "flags 4",
    function(p, w, x)
      local r = p:op("linear", nil, "r", { x }, { w.router }, { 0, 3 }, {})
      return p:op("moe", "silu", "a", { x, r }, { w.gate, w.gate, w.down }, { 2, 0, 1, 6, 0, 0, 4 }, { 1 })
    end },
  { "merged experts with up apart", "gate and up in one matrix",
    function(p, w, x)
      local r = p:op("linear", nil, "r", { x }, { w.router }, { 0, 3 }, {})
      return p:op("moe", "silu", "a", { x, r }, { w.gate, w.gate, w.down }, { 2, 0, 1, 3, 0, 0, 1 }, { 1 })
    end },
  { "experts with nothing to multiply", "gate and up apart",
    function(p, w, x)
      local r = p:op("linear", nil, "r", { x }, { w.router }, { 0, 3 }, {})
      return p:op("moe", "silu", "a", { x, r }, { w.gate, false, w.down }, { 2, 0, 1, 6 }, { 1 })
    end },
  { "unknown gating", "gating 9",
    function(p, w, x)
      local r = p:op("linear", nil, "r", { x }, { w.router }, { 0, 3 }, {})
      return p:op("moe", "silu", "a", { x, r }, { w.gate, w.gate, w.down }, { 2, 9, 1, 6 }, { 1 })
    end },
}

describe("the verifier refuses", function()
  support.check_leaks()
  for _, row in ipairs(REFUSED) do
    it(row[1], function()
      local p, w, x, wide = fresh()
      local v = assert(row[3](p, w, x, wide))
      local ok, msg, code = p:finish(v)
      assert.is_nil(ok)
      assert.equal("EFORMAT", code)
      assert.truthy(msg:find "^program: op %d+ %(", msg)
      assert.truthy(msg:find(row[2]), msg .. "\n  want " .. row[2])
      assert.is_false(p:info().finished)
    end)
  end

  it("a result that does not exist, and a program without tokens", function()
    local p = fresh()
    local _, msg = p:finish(50)
    assert.truthy(msg:find "result is value 50")
    local q = assert(core.prog.new())
    local v = assert(q:weight("v", { 4, 4 }, true))
    local row = assert(q:op("embed", "row", "r", {}, { v }, { 1 }, {}))
    _, msg = q:finish(row)
    assert.truthy(msg:find "no token embedding")
  end)

  it("weights of no size or too large", function()
    for _, ne in ipairs { { 0 }, { 8, 0 }, { 2 ^ 25 }, { 2 ^ 24, 2 ^ 24, 2 ^ 20 } } do
      local p, _, x = fresh()
      assert(p:weight("bad", ne, true))
      local ok, msg = p:finish(x)
      assert.is_nil(ok)
      assert.truthy(msg:find "weight bad is", msg)
    end
  end)

  it("names with NUL or too long, changes after the end", function()
    local p, w, x = fresh()
    assert.is_nil((p:weight("a\0b", { 1 }, false)))
    assert.is_nil((p:op("act", "silu", ("n"):rep(256), { x }, {}, {}, {})))
    assert(p:finish(x))
    assert.error_matches(function() p:op("act", "silu", "a", { x }, {}, {}, {}) end,
      "program is finished: nothing can be added")
    assert.error_matches(function() p:weight("late", { 1 }, false) end, "program is finished: nothing can be added")
    assert.error_matches(function() p:finish(x) end, "program is finished already")
    assert.truthy(w.vec)
  end)

  it("more than a million operations", function()
    local p, _, x = fresh()
    local id, msg, code
    for _ = 1, 1000001 do
      id, msg, code = p:op("act", "silu", "", { x }, {}, {}, {})
      if not id then break end
    end
    assert.equal("ELIMIT", code)
    assert.truthy(msg:find "1000000")
  end)
end)

describe("the builder", function()
  support.check_leaks()
  local path
  before_each(function() path = tiny.write() end)
  after_each(function()
    arch.register("llama", require "wane.arch.llama")
    os.remove(path)
  end)

  local function build(describe)
    arch.register("llama", describe)
    local m = assert(model.load(path, { unused = "ignore" }))
    m:close()
  end
  local function raises(pattern, describe)
    local ok, msg = pcall(build, describe)
    assert.is_false(ok)
    assert.truthy(tostring(msg):find(pattern), tostring(msg) .. "\n  want " .. pattern)
  end

  it("refuses a value of another graph, another kind, another time", function()
    local other
    build(function(m)
      other = m:embed "token_embd"
      return m:linear(m:norm(other, "output_norm"), "output", { tied = "token_embd" })
    end)
    raises("value of another graph", function(m) return m:norm(other, "output_norm") end)
    raises("input 1 is a number", function(m) return m:norm(3, "output_norm") end)
    raises("input 2 is a nil", function(m) return m:swiglu(m:embed "token_embd", nil) end)
    raises("the program is finished", function() return other + other end)
  end)

  it("refuses unknown options, names and kinds", function()
    raises("unknown option 'widow'", function(m)
      local x = m:embed "token_embd"
      return m:attend(x, x, x, { widow = 3 })
    end)
    raises("say how many rows", function(m) return m:linear(m:embed "token_embd", "mystery") end)
    raises("has no kind 'gloo'", function(m) return m:act("gloo", m:embed "token_embd") end)
  end)

  it("says which tensor is missing or has another shape", function()
    arch.register("llama", function(m) return m:linear(m:embed "token_embd", "head", { out = 5 }) end)
    local m, msg, code = model.load(path)
    assert.is_nil(m)
    assert.equal("EFORMAT", code)
    assert.truthy(msg:find "tensor head.weight is missing, want 64 x 5", msg)
    arch.register("llama", function(g)
      return g:linear(g:embed("token_embd", { rows = 7 }), "output", { out = 7 })
    end)
    m, msg = model.load(path)
    assert.is_nil(m)
    assert.truthy(msg:find "tensor token_embd.weight is 64 x 80, want 64 x 7", msg)
  end)

  it("prints a program", function()
    local m = assert(model.load(path))
    local text = m:program()
    assert.truthy(text:find("%0[64] = embed.token token_embd.weight", 1, true), text)
    assert.truthy(text:find "attend%.causal %%%d+ %%%d+ %%%d+")
    m:close()
  end)
end)
