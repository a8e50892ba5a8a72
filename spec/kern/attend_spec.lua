--- The pieces of attention in every tier: random sizes, types and ranges; the
--- bits of `ref`, which must agree with plain arithmetic in doubles; poisoned
--- output and scratch.
local support = require "spec.support"
local tiers = require "spec.support.tiers"
local core = require "wane.core"

local kern, quant = core.kern, core.quant
local WIDE = (tonumber(os.getenv "WANE_SLOW") or 1) > 0
local PANEL, WEIGHTED, POISON = 64, 32, 0 / 0

local state
local function random(lo, hi)
  state = (state * 16807) % 2147483647
  return lo + math.floor(state / 2147483647 * (hi - lo + 1))
end
local function uniform() return random(0, 1000000) / 500000 - 1 end

local function buffer(rows, cols, value)
  local v = {}
  for i = 1, rows * cols do v[i] = value(i) end
  return assert(quant.buffer(rows, cols, v))
end

--- Rows of a type, and what they stand for.
local function stored(type, rows, cols)
  local b = buffer(rows, cols, uniform)
  local blocks = assert(quant.encode(type, b))
  return blocks:bytes(), blocks:decode()
end

--- A random case; `group` queries see the same keys.
local function case(type)
  local block = (type == "q8_0" or type == "q4_0") and 32 or 1
  local group, rows, n = random(1, 9), random(1, 4), random(1, PANEL)
  local c = {
    type = type, group = group, n_queries = group * rows, n = n, width = block * random(1, block > 1 and 5 or 150),
    wide = block * random(1, block > 1 and 5 or 150), scale = 0.3, cap = random(0, 2) == 0 and 2.5 or 0, ranges = {},
  }
  for i = 1, rows do
    local first = random(1, n)
    c.ranges[2 * i - 1], c.ranges[2 * i] = first, random(first, n)
  end
  if random(0, 1) == 0 then
    for i = 1, rows do c.ranges[2 * i - 1], c.ranges[2 * i] = 1, n end
  end
  c.queries = buffer(c.n_queries, c.width, uniform)
  c.keys, c.key_values = stored(type, n, c.width)
  c.values, c.value_values = stored(type, n, c.wide)
  -- a running softmax, or an empty one; behind it one value that nobody writes
  c.cols = WEIGHTED + c.wide + 1
  local started = random(0, 1) == 1
  c.states = {}
  for i = 1, c.n_queries * c.cols do
    local at = (i - 1) % c.cols
    c.states[i] = not started and (at == 0 and -math.huge or 0) or at == 0 and uniform() or math.abs(uniform())
    if at == c.cols - 1 or at > 0 and at < 16 then c.states[i] = 7.5 end
  end
  return c
end

local function run(c, isa)
  assert(core.set_isa(isa))
  local scores = buffer(c.n_queries, PANEL, function() return POISON end)
  local states = assert(quant.buffer(c.n_queries, c.cols, c.states))
  kern.attend(c.type, c.queries, c.keys, c.values, c.ranges, c.group, c.scale, c.cap, scores, states)
  return scores, states
end

local function tanh(x)
  local e = math.exp(2 * x)
  return (e - 1) / (e + 1)
end

--- One query in doubles: weights of the keys, maximum, sum and weighted values.
local function expected(c, i)
  local x, top, first = {}, c.states[(i - 1) * c.cols + 1], (i - 1) * c.cols
  local r = math.floor((i - 1) / c.group)
  for j = c.ranges[2 * r + 1], c.ranges[2 * r + 2] do
    local dot = 0
    for d = 1, c.width do dot = dot + c.queries[(i - 1) * c.width + d] * c.key_values[(j - 1) * c.width + d] end
    x[j] = c.scale * dot
    if c.cap > 0 then x[j] = c.cap * tanh(x[j] / c.cap) end
    top = math.max(top, x[j])
  end
  local keep, sum, weighted = math.exp(c.states[first + 1] - top), 0, {}
  for k = 1, 16 do sum = sum + keep * c.states[first + 16 + k] end
  for d = 1, c.wide do weighted[d] = keep * c.states[first + WEIGHTED + d] end
  for j = 1, c.n do
    x[j] = x[j] and math.exp(x[j] - top) or 0
    sum = sum + x[j]
    for d = 1, c.wide do weighted[d] = weighted[d] + x[j] * c.value_values[(j - 1) * c.wide + d] end
  end
  return x, top, sum, weighted
end

local function close(got, want, size, what)
  if got ~= got or math.abs(got - want) > 2e-5 * size then error(("%s: %.9g, want %.9g"):format(what, got, want), 2) end
end

local function check(c, scores, states)
  for i = 1, c.n_queries do
    local x, top, sum, weighted = expected(c, i)
    local at, got = (i - 1) * c.cols, 0
    close(states[at + 1], top, 10, "maximum")
    for k = 1, 16 do got = got + states[at + 16 + k] end
    close(got, sum, sum + 1, "sum")
    for j = 1, c.n do close(scores[(i - 1) * PANEL + j], x[j], 5, "weight") end
    for d = 1, c.wide do close(states[at + WEIGHTED + d], weighted[d], sum + 1, "value") end
    assert.equal(7.5, states[at + c.cols])
    for k = 2, 16 do assert.equal(7.5, states[at + k]) end
  end
end

describe("attention", function()
  support.check_leaks()
  after_each(function() core.set_isa(tiers.best) end)

  for _, type in ipairs { "f32", "f16", "bf16", "q8_0", "q4_0" } do
    it("over " .. type .. ": every tier has the bits of ref, ref is right", function()
      state = 2024 + #type
      for round = 1, WIDE and 24 or 6 do
        local c = case(type)
        local scores, states = run(c, "ref")
        check(c, scores, states)
        for _, isa in ipairs(core.cpu().best == "neon" and { "neon" } or tiers.fast()) do
          local s, t = run(c, isa)
          assert.truthy(s:bytes() == scores:bytes(), ("%s, round %d: weights differ"):format(isa, round))
          assert.truthy(t:bytes() == states:bytes(), ("%s, round %d: states differ"):format(isa, round))
        end
      end
    end)
  end

  it("refuses sizes that do not fit", function()
    state = 5
    local c = case "f32"
    local scores, states = buffer(c.n_queries, PANEL, uniform), assert(quant.buffer(c.n_queries, c.cols, c.states))
    local function try(ranges, values, s, t)
      return pcall(kern.attend, "f32", c.queries, c.keys, values or c.values, ranges or c.ranges, c.group, 1, 0,
        s or scores, t or states)
    end
    assert.truthy(try())
    assert.falsy(try { 0, 1 })
    assert.falsy(try { c.n + 1, c.n + 1 })
    assert.falsy(try(nil, c.values .. "x"))
    assert.falsy(try(nil, nil, states))
    assert.falsy(try(nil, nil, nil, scores))
  end)
end)
