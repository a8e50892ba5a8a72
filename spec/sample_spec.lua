local core = require "wane.core"
local support = require "spec.support"

local function sampler(opts)
  opts.n_vocab = opts.n_vocab or 5
  for key, off in pairs { temperature = 1, top_k = 0, top_p = 1, min_p = 0 } do
    if opts[key] == nil then opts[key] = off end
  end
  return assert(core.sample.new(opts))
end

local function logits(list) return core.quant.buffer(1, #list, list) end

--- Frequencies of n draws.
local function draws(s, l, n)
  local count = {}
  for _ = 1, n do
    local id = assert(s:pick(l))
    count[id] = (count[id] or 0) + 1
  end
  return count
end

describe("sampler", function()
  support.check_leaks()

  it("is greedy at temperature 0, lowest id first", function()
    assert.equals(3, sampler({ temperature = 0 }):pick(logits { 1, 0, 2, 9, 9 }))
  end)

  it("draws in proportion to the softmax", function()
    local l = logits { math.log(0.5), math.log(0.3), math.log(0.2), -1e30, -math.huge }
    local count = draws(sampler { seed = 5 }, l, 20000)
    assert.is_true(math.abs(count[0] / 20000 - 0.5) < 0.02)
    assert.is_true(math.abs(count[1] / 20000 - 0.3) < 0.02)
    assert.is_true(math.abs(count[2] / 20000 - 0.2) < 0.02)
    assert.is_nil(count[3])
    assert.is_nil(count[4])
  end)

  it("sharpens with temperature", function()
    local l = logits { 0, 1, 0, 0, 0 }
    local cold, hot = draws(sampler { temperature = 0.25, seed = 1 }, l, 4000), draws(sampler { temperature = 2, seed = 1 }, l, 4000)
    local p = math.exp(4) / (math.exp(4) + 4)
    assert.is_true(math.abs(cold[1] / 4000 - p) < 0.03)
    assert.is_true(hot[1] < cold[1])
  end)

  it("repeats itself for a seed and only for it", function()
    local l = logits { 1, 1, 1, 1, 1 }
    local function run(seed)
      local s, ids = sampler { seed = seed }, {}
      for i = 1, 50 do
        ids[i] = s:pick(l)
      end
      return table.concat(ids, " ")
    end
    assert.equals(run(3), run(3))
    assert.not_equals(run(3), run(4))
  end)

  it("keeps the top k", function()
    local count = draws(sampler { top_k = 2, seed = 2 }, logits { 1, 3, 2, 1.5, 0 }, 500)
    assert.is_true(count[1] > 0 and count[2] > 0)
    assert.is_nil(count[0])
    assert.is_nil(count[3])
  end)

  it("keeps the smallest set with mass p", function()
    local l = logits { math.log(0.05), math.log(0.5), math.log(0.3), math.log(0.1), math.log(0.05) }
    local count = draws(sampler { top_p = 0.75, seed = 2 }, l, 800)
    assert.is_true(count[1] > 0 and count[2] > 0)
    assert.is_nil(count[0])
    assert.is_nil(count[3])
    -- one token alone already has the mass
    assert.same({ [1] = 300 }, draws(sampler { top_p = 0.4, seed = 2 }, l, 300))
  end)

  it("keeps what has a share of the best", function()
    local l = logits { math.log(0.05), math.log(0.5), math.log(0.3), math.log(0.1), math.log(0.05) }
    local count = draws(sampler { min_p = 0.5, seed = 2 }, l, 800)
    assert.is_true(count[1] > 0 and count[2] > 0)
    assert.is_nil(count[3])
  end)

  it("keeps a share of the best, whatever its logit and what was cut before", function()
    for _, off in ipairs { -10, 10 } do
      local list = {}
      for i, p in ipairs { 0.05, 0.5, 0.3, 0.1, 0.05 } do list[i] = off + math.log(p) end
      local count = draws(sampler { top_k = 4, min_p = 0.5, seed = 2 }, logits(list), 800)
      assert.is_true((count[1] or 0) > 0 and (count[2] or 0) > 0, "logits around " .. off)
      assert.is_nil(count[3])
      assert.is_nil(count[0])
    end
  end)

  -- Penalties work on all logits, or on a list that another stage has left.
  for _, stages in ipairs { { "penalties", "temperature" }, { "top_k", "penalties", "temperature" } } do
    local title = " (" .. table.concat(stages, ", ") .. ")"

    local function after(opts, accepted, list)
      opts.temperature, opts.stages, opts.top_k = 0, stages, 5
      local s = sampler(opts)
      for _, id in ipairs(accepted) do s:accept(id) end
      return s:pick(logits(list))
    end

    it("takes presence off once, frequency for each time" .. title, function()
      assert.equals(1, after({ presence_penalty = 1, repeat_last_n = 8 }, { 1, 1, 1 }, { 0.5, 2, 0, 0, 0 }))
      assert.equals(0, after({ presence_penalty = 1.6, repeat_last_n = 8 }, { 1, 1, 1 }, { 0.5, 2, 0, 0, 0 }))
      assert.equals(1, after({ frequency_penalty = 0.4, repeat_last_n = 8 }, { 1, 1, 1 }, { 0.5, 2, 0, 0, 0 }))
      assert.equals(0, after({ frequency_penalty = 0.6, repeat_last_n = 8 }, { 1, 1, 1 }, { 0.5, 2, 0, 0, 0 }))
    end)

    it("forgets tokens behind the window" .. title, function()
      assert.equals(1, after({ presence_penalty = 1.5, repeat_last_n = 2 }, { 1, 0, 2 }, { 0, 2, 0, 1, 0 }))
      assert.equals(3, after({ presence_penalty = 1.5, repeat_last_n = 3 }, { 1, 0, 2 }, { 0, 2, 0, 1, 0 }))
      -- it comes back: once in the window, not twice
      assert.equals(1, after({ frequency_penalty = 0.7, repeat_last_n = 2 }, { 1, 0, 2, 1 }, { 0, 2, 0, 1, 0 }))
    end)
  end

  it("cuts large vocabularies as it cuts small ones", function()
    local n, list = 3000, {}
    for i = 1, n do
      list[i] = -math.abs((i * 7919) % n) / 50
    end
    local s = sampler { n_vocab = n, top_p = 0.9, seed = 8 }
    -- the reference: sort everything
    local order, total = {}, 0
    for i = 1, n do
      order[i] = i
      total = total + math.exp(list[i])
    end
    table.sort(order, function(a, b) return list[a] > list[b] or (list[a] == list[b] and a < b) end)
    local allowed, mass = {}, 0
    for _, i in ipairs(order) do
      allowed[i - 1] = true
      mass = mass + math.exp(list[i])
      if mass >= 0.9 * total then break end
    end
    local n_allowed = 0
    for _ in pairs(allowed) do
      n_allowed = n_allowed + 1
    end
    assert.is_true(n_allowed > 64) -- more than one chunk of pops
    for id in pairs(draws(s, logits(list), 5000)) do
      assert.is_true(allowed[id], "token " .. id .. " is outside the mass")
    end
  end)

  -- Ids that a sampler draws when all it keeps are about as likely.
  local function kept(opts, l, n)
    opts.temperature, opts.seed = 1e6, 4
    local ids = {}
    for id in pairs(draws(sampler(opts), l, n)) do ids[#ids + 1] = id end
    table.sort(ids)
    return ids
  end

  it("keeps the same of any vocabulary as sorting all of it does, in every tier", function()
    local best, x = core.cpu().isa, 5
    for _, n in ipairs { 2, 16, 17, 255, 257, 700, 3000 } do
      local list, order = {}, {}
      for i = 1, n do
        x = x * 16807 % 2147483647
        list[i], order[i] = x % 97 / 8, i - 1 -- many are equal
      end
      if n > 20 then list[n - 3] = -math.huge end
      table.sort(order, function(a, b)
        local la, lb = list[a + 1], list[b + 1]
        return la > lb or (la == lb and a < b)
      end)
      local l, k = logits(list), math.min(12, n - 1)
      local top, near = {}, {}
      for i = 1, k do top[i] = order[i] end
      for i = 1, n do
        if list[order[i] + 1] >= list[order[1] + 1] - 0.5 then near[#near + 1] = order[i] end
      end
      table.sort(top)
      table.sort(near)
      for _, isa in ipairs { "ref", "avx2", "avx512", "neon" } do
        if core.set_isa(isa) then
          assert.same(order[1], sampler({ n_vocab = n, temperature = 0 }):pick(l))
          assert.same(top, kept({ n_vocab = n, top_k = k }, l, 1000))
          -- e^-0.5 is 0.607: half a step below what differs by 0.5
          assert.same(near, kept({ n_vocab = n, min_p = 0.57 }, l, #near * 40))
        end
      end
      assert(core.set_isa(best))
    end
  end)

  it("finds what is not a number wherever it is", function()
    local best = core.cpu().isa
    for _, isa in ipairs { "ref", "avx2", "avx512", "neon" } do
      if core.set_isa(isa) then
        for _, at in ipairs { 1, 2, 256, 257, 512, 690, 700 } do
          for _, bad in ipairs { 0 / 0, -(0 / 0), math.huge } do
            local list = {}
            for i = 1, 700 do list[i] = i == at and bad or i % 7 end
            for _, t in ipairs { 0, 1 } do
              local id, message = sampler({ n_vocab = 700, temperature = t, top_k = 5 }):pick(logits(list))
              assert.is_nil(id)
              assert.truthy(message:find(("token %d has"):format(at - 1), 1, true))
            end
          end
        end
      end
    end
    assert(core.set_isa(best))
  end)

  it("penalises tokens it has seen", function()
    local l = logits { 2, 1.9, -1, -1, -1 }
    local s = sampler { temperature = 0, repeat_penalty = 1.5 }
    assert.equals(0, s:pick(l))
    s:accept(0)
    assert.equals(1, s:pick(l))
    s:accept(1)
    assert.equals(0, s:pick(l)) -- 2 / 1.5 against 1.9 / 1.5
    s:accept(1) -- each token once, however often it was seen
    s:accept(0)
    assert.equals(0, s:pick(l))
    local f = sampler { temperature = 0, presence_penalty = 0.05, frequency_penalty = 0.06 }
    f:accept(0)
    assert.equals(1, f:pick(l))
  end)

  it("forgets what left the window", function()
    local s = sampler { temperature = 0, repeat_penalty = 2, repeat_last_n = 2 }
    local l = logits { 2, 1.5, -9, -9, -9 }
    s:accept(0)
    assert.equals(1, s:pick(l))
    s:accept(3)
    s:accept(4)
    assert.equals(0, s:pick(l))
  end)

  it("adds biases", function()
    local s = sampler { temperature = 0 }
    s:bias(4, 100)
    s:bias(0, -math.huge)
    assert.equals(4, s:pick(logits { 50, 1, 1, 1, 1 }))
  end)

  it("refuses logits without a defined choice", function()
    for _, bad in ipairs { { 1, 0 / 0, 1, 1, 1 }, { 1, math.huge, 1, 1, 1 } } do
      local id, message, code = sampler({}):pick(logits(bad))
      assert.is_nil(id)
      assert.equals("EDATA", code)
      assert.truthy(message:find "non%-finite logits: token 1")
    end
    local inf = -math.huge
    local _, message = sampler({}):pick(logits { inf, inf, inf, inf, inf })
    assert.truthy(message:find "every token has %-inf")
  end)

  it("raises on misuse", function()
    assert.error_matches(function() sampler { top_p = 2 } end, "option 'top_p': want a number from 0 to 1")
    assert.error_matches(function() sampler { temperature = 0 / 0 } end, "option 'temperature': want a number from 0 to 1e%+06")
    assert.error_matches(function() sampler { colour = 1 } end, "unknown option 'colour'")
    assert.error_matches(function() sampler({}):pick(logits { 1, 2 }) end, "want one logit per token of the vocabulary")
    assert.error_matches(function() sampler({}):bias(5, 1) end, "logit bias: token 5 is not in 0%.%.4")
    local s = sampler {}
    s:close()
    assert.has_error(function() s:pick(logits { 1, 2, 3, 4, 5 }) end, "wane: sampler is closed")
  end)

  it("survives tiny temperatures and k beyond the vocabulary", function()
    assert.equals(1, sampler({ temperature = 1e-30 }):pick(logits { 1, 2, 1, 1, 1 }))
    assert.truthy(sampler({ top_k = 1000 }):pick(logits { 1, 2, 1, 1, 1 }))
    assert.equals(1, sampler({ top_p = 0 }):pick(logits { 1, 2, 1, 1, 1 }))
  end)
end)
