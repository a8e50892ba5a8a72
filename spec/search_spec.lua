local support = require "spec.support"
local tiny = require "spec.support.tiny"
local wane = require "wane"

--- A made-up table: a few tensors with types of 1 to 8 bits.
local function made_up(seed)
  local x = seed
  local function random()
    x = x * 16807 % 2147483647
    return x / 2147483647
  end
  local rows, kinds = {}, { "q2_K", "q3_K", "q4_K", "q6_K", "q8_0" }
  for t = 1, 5 do
    local loss = 0.5 + random()
    for k, kind in ipairs(kinds) do
      loss = loss * (0.1 + 0.5 * random())
      rows[#rows + 1] = { tensor = "t" .. t, type = kind, bytes = 100 * t * (k + math.floor(3 * random())), kld = loss }
    end
  end
  return { rows = rows, fixed_bytes = 64, n_values = 8000, file = "none" }
end

--- The least loss of all mixes within `bytes`, by trying every one.
local function exhaustive(table, bytes, speed, seconds)
  local by, order = {}, {}
  for _, r in ipairs(table.rows) do
    if not by[r.tensor] then
      by[r.tensor], order[#order + 1] = {}, r.tensor
    end
    local list = by[r.tensor]
    list[#list + 1] = r
  end
  local best = math.huge
  local function try(i, left, loss, time)
    if left < 0 or loss >= best or time < 0 then return end
    if i > #order then
      best = loss
      return
    end
    for _, r in ipairs(by[order[i]]) do
      try(i + 1, left - r.bytes, loss + r.kld, time - (speed and r.bytes * (speed.shares[r.tensor] or 1) / speed.bytes[r.type] or 0))
    end
  end
  try(1, bytes - table.fixed_bytes, 0, seconds or 0)
  return best
end

describe("recipe.solve", function()
  support.check_leaks()

  it("is the best of all mixes", function()
    for seed = 1, 20 do
      local table = made_up(seed)
      for _, bpw in ipairs { 4, 6, 8 } do
        local s = assert(wane.recipe.solve { table = table, bpw = bpw })
        local budget = math.floor(bpw * 8000 / 8)
        local best = exhaustive(table, budget)
        assert(s.bytes <= budget)
        assert(s.kld >= best - 1e-12 and s.kld <= best + 1e-9, ("%d: %g, best %g"):format(seed, s.kld, best))
      end
    end
  end)

  it("gives a front that only improves", function()
    local front = wane.recipe.front { table = made_up(3) }
    for i = 2, #front do
      assert(front[i].bytes > front[i - 1].bytes)
      assert(front[i].kld < front[i - 1].kld)
    end
  end)

  it("reaches a loss, keeps floors and pins", function()
    local table = made_up(4)
    local front = wane.recipe.front { table = table }
    local middle = front[math.floor(#front / 2)]
    local s = assert(wane.recipe.solve { table = table, kld = middle.kld })
    assert(s.kld <= middle.kld and s.bytes <= middle.bytes)
    s = assert(wane.recipe.solve { table = table, bpw = 9, floors = { { "t5", "q4_K" } }, pins = { { "t1", "q3_K" } } })
    assert.equals("q3_K", s.types.t1)
    assert(s.types.t5 ~= "q2_K" and s.types.t5 ~= "q3_K")
    assert.equals("q3_K", s.recipe._base.fn { name = "t1" })
    assert.equals("keep", s.recipe._base.fn { name = "another" })
    assert.truthy(tostring(s):find("bits per weight", 1, true))
  end)

  it("says the smallest possible when a budget cannot be met", function()
    local s, message, code = wane.recipe.solve { table = made_up(5), bpw = 0.1 }
    assert.is_nil(s)
    assert.equals("EDATA", code)
    local least = tonumber(message:match "smallest possible is ([%d.]+)")
    assert.truthy(least, message)
    assert.is_truthy(wane.recipe.solve { table = made_up(5), bpw = least + 0.001 })
    s, message = wane.recipe.solve { table = made_up(5), kld = 1e-30 }
    assert.is_nil(s)
    assert.truthy(message:find("cannot be met", 1, true))
    for _, case in ipairs {
      { {}, "want one of bpw, bytes, kld and budget" }, { { bpw = 4, kld = 1 }, "want one of bpw, bytes, kld and budget" },
      { { bpw = 0 / 0 }, "option 'bpw': want a positive number, got nan" },
      { { budget = {} }, "option 'budget': want { bytes =, tokens_per_second = }, one of them or both" },
      { { budget = { bites = 4 } }, "option 'budget': want { bytes =, tokens_per_second = }, one of them or both" },
      { { budget = { bytes = 4 }, bytes = 4 }, "want one of bpw, bytes, kld and budget" },
      { { budget = { tokens_per_second = 4 }, rates = { bytes = {}, shares = {}, seconds = 0 } }, "no rate of type q2_K" },
      { { bpw = -1 }, "option 'bpw': want a positive number, got %-1" }, { { bpw = 4, colour = 1 }, "unknown option 'colour'" },
    } do
      local bad = case[1]
      bad.table = made_up(5)
      assert.error_matches(function() wane.recipe.solve(bad) end, case[2])
    end
  end)
end)

-- Types whose bytes are not read alike, one tensor of which a quarter is read.
local speed = { bytes = { q2_K = 900, q3_K = 500, q4_K = 1200, q6_K = 1300, q8_0 = 2000 }, shares = { t4 = 0.25 }, seconds = 0.5 }

describe("recipe.solve with a limit of time", function()
  support.check_leaks()

  -- The knapsack itself: `table` has no file whose headers could be counted.
  local function both(table, bytes, seconds)
    local knapsack, by, order = require "wane.search.knapsack", {}, {}
    for _, r in ipairs(table.rows) do
      if not by[r.tensor] then by[r.tensor], order[#order + 1] = {}, r.tensor end
      r.seconds = require("wane.search.rates").seconds(speed, r.tensor, r.type, r.bytes)
      local list = by[r.tensor]
      list[#list + 1] = r
    end
    return knapsack.fill(order, by, bytes - table.fixed_bytes, seconds), knapsack.fastest(order, by, bytes - table.fixed_bytes)
  end

  it("is within a few percent of the best of all mixes under both limits", function()
    local sum, n = 0, 0
    for seed = 1, 20 do
      for _, share in ipairs { 0.1, 0.4, 0.8 } do
        local table = made_up(seed)
        local free, fastest = both(table, 6000, nil)
        local seconds = fastest + share * math.max(0, free.seconds - fastest)
        local s = assert((both(table, 6000, seconds + 1e-9)))
        assert(s.bytes + table.fixed_bytes <= 6000 and s.seconds <= seconds + 1e-9)
        local best = exhaustive(table, 6000, speed, seconds + 1e-9)
        assert(s.kld >= best - 1e-12)
        sum, n = sum + s.kld / best - 1, n + 1
      end
    end
    assert(sum / n < 0.03, sum / n)
  end)

  it("meets tokens a second alone, and tells them", function()
    local table = made_up(2)
    local s = assert(wane.recipe.solve { table = table, budget = { tokens_per_second = 0.3 }, rates = speed })
    assert(s.tokens_per_second >= 0.3)
    assert(s.kld <= 1.05 * exhaustive(table, 1e9, speed, 1 / 0.3 - 0.5))
    assert.truthy(tostring(s):find("tokens a second", 1, true))
    local slower = assert(wane.recipe.solve { table = table, budget = { tokens_per_second = 0.01 }, rates = speed })
    assert(slower.kld < s.kld)
  end)

  it("says which limit cannot be met, and by how much", function()
    local function refused(budget)
      local s, message, code = wane.recipe.solve { table = made_up(2), budget = budget, rates = speed }
      assert.is_nil(s)
      assert.equals("EDATA", code)
      return message
    end
    local message = refused { bytes = 1000, tokens_per_second = 0.1 }
    assert.truthy(message:find("1,000 bytes cannot be met: the smallest mix of these types has", 1, true), message)
    message = refused { tokens_per_second = 1.9 }
    local most, missing = message:match "1.9 tokens a second cannot be met: the fastest mix of these types makes ([%d.]+), ([%d.]+) %% too few"
    assert(most, message)
    assert(math.abs(100 * (1 - most / 1.9) - missing) < 3, message)
    local _, fastest = both(made_up(2), 1e6)
    message = refused { bytes = 3000, tokens_per_second = 0.99 / (fastest + speed.seconds) }
    assert.truthy(message:find("tokens a second cannot be met within 3,000 bytes: the fastest such mix makes", 1, true), message)
  end)

  it("measures this machine: experts and embeddings by what a token reads", function()
    local path = tiny.write()
    local m = assert(wane.load(path))
    local r = assert(wane.recipe.rates(m, { types = { "q4_0", "q8_0" }, threads = 1 }))
    assert(r.bytes.q4_0 > 0 and r.bytes.q8_0 > 0 and r.seconds >= 0)
    local embd = m.gguf:tensor(m.gguf:find_tensor "token_embd.weight")
    assert.equals(m.gguf:find_tensor "output.weight" and 1 / embd.n_rows or nil, r.shares["token_embd.weight"])
    local measured = 0
    local s, message = wane.recipe.solve { model = m, text = tiny.tokens(256, 80), types = { "q4_0", "q8_0" }, rates = r,
      budget = { tokens_per_second = 1e9 }, sensitivity = { progress = function() measured = measured + 1 end } }
    assert.is_nil(s)
    assert.truthy(message:find("cannot be met", 1, true))
    assert.equals(0, measured)
    m:close()
    os.remove(path)
    path = tiny.write { experts = 4, used = 2 }
    m = assert(wane.load(path))
    r = assert(wane.recipe.rates(m, { types = { "q8_0" }, threads = 1 }))
    assert.equals(0.5, r.shares["blk.0.ffn_up_exps.weight"])
    assert.is_nil(r.shares["blk.0.attn_q.weight"])
    m:close()
    os.remove(path)
  end)
end)

describe("eval.sensitivity", function()
  support.check_leaks()
  local tokens = tiny.tokens(256, 80)
  local options = { types = { "q4_0", "q5_0", "q8_0" }, context = 64, chunks = 2, error_chunks = 2, anchor = "q4_0", threads = 1 }

  local function with(more)
    local o = {}
    for k, v in pairs(options) do o[k] = v end
    for k, v in pairs(more or {}) do o[k] = v end
    return o
  end

  it("orders types as their bits do, and can be spent", function()
    local path = tiny.write()
    local m = assert(wane.load(path))
    local s = assert(wane.eval.sensitivity(m, tokens, with()))
    local by = {}
    for _, r in ipairs(s.rows) do
      by[r.tensor] = by[r.tensor] or {}
      by[r.tensor][r.type] = r
      assert(r.kld >= 0 and r.kld < math.huge)
    end
    for name, t in pairs(by) do
      assert(t.q8_0.error < t.q5_0.error and t.q5_0.error < t.q4_0.error, name)
      assert.is_true(t.q4_0.measured)
    end
    assert(s.correlation == s.correlation)
    local plan = assert(wane.recipe.solve { table = s, bytes = 60000 })
    assert(plan.file_bytes <= 60000)
    local to = support.tmp "solved.gguf"
    local report = assert(wane.quantize { from = path, to = to, recipe = plan.recipe })
    assert.equals(plan.file_bytes, report.file_bytes)
    local none, message, code = wane.recipe.solve { table = s, bytes = 20000 }
    assert.is_nil(none)
    assert.equals("EDATA", code)
    assert.truthy(message:find("the smallest mix of these types has", 1, true), message)
    m:close()
    os.remove(path)
    os.remove(to)
  end)

  it("measures everything when asked, and goes on from a file", function()
    local path, save = tiny.write(), support.tmp "losses"
    local m = assert(wane.load(path))
    local n = 0
    local s, _, code = wane.eval.sensitivity(m, tokens, with {
      measure = "all", save = save,
      progress = function()
        n = n + 1
        return n < 4
      end,
    })
    assert.is_nil(s)
    assert.equals("ECANCEL", code)
    s = assert(wane.eval.sensitivity(m, tokens, with { measure = "all", save = save }))
    local whole = assert(wane.eval.sensitivity(m, tokens, with { measure = "all" }))
    for i, r in ipairs(s.rows) do
      assert.is_true(r.measured)
      assert.equals(whole.rows[i].kld, r.kld)
    end
    assert.truthy(tostring(s):find("rank correlation", 1, true))
    -- the losses of another text are not taken
    local other, message
    other, message, code = wane.eval.sensitivity(m, tiny.tokens(256, 80, 5), with { measure = "all", save = save })
    assert.is_nil(other)
    assert.equals("EDATA", code)
    assert.truthy(message:find("are of another model, text or size of chunks", 1, true), message)
    m:close()
    os.remove(path)
    os.remove(save)
  end)

  it("says when a text is too short", function()
    local m = assert(wane.load(tiny.write()))
    local s, message, code = wane.eval.sensitivity(m, tiny.tokens(10, 80), with())
    assert.is_nil(s)
    assert.equals("EDATA", code)
    assert.truthy(message:find("fewer than one chunk", 1, true))
    m:close()
  end)
end)
