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
local function exhaustive(table, bytes)
  local by, order = {}, {}
  for _, r in ipairs(table.rows) do
    if not by[r.tensor] then
      by[r.tensor], order[#order + 1] = {}, r.tensor
    end
    local list = by[r.tensor]
    list[#list + 1] = r
  end
  local best = math.huge
  local function try(i, left, loss)
    if left < 0 or loss >= best then return end
    if i > #order then
      best = loss
      return
    end
    for _, r in ipairs(by[order[i]]) do try(i + 1, left - r.bytes, loss + r.kld) end
  end
  try(1, bytes - table.fixed_bytes, 0)
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
      { {}, "want one of bpw, bytes and kld" }, { { bpw = 4, kld = 1 }, "want one of bpw, bytes and kld" },
      { { bpw = 0 / 0 }, "option 'bpw': want a positive number, got nan" },
      { { bpw = -1 }, "option 'bpw': want a positive number, got %-1" }, { { bpw = 4, colour = 1 }, "unknown option 'colour'" },
    } do
      local bad = case[1]
      bad.table = made_up(5)
      assert.error_matches(function() wane.recipe.solve(bad) end, case[2])
    end
  end)
end)

describe("eval.sensitivity", function()
  support.check_leaks()
  local tokens = tiny.tokens(256, 80)
  local options = { types = { "q4_0", "q5_0", "q8_0" }, context = 64, chunks = 2, error_chunks = 2, anchor = "q4_0" }

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
    assert.truthy(message:find("the smallest mix has", 1, true), message)
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
