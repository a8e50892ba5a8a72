--- How far correlations are trusted: powerful rows count less, strength is
--- chosen on the half that was not fitted on.
local support = require "spec.support"
local core = require "wane.core"
local trust = require "wane.calibrate.trust"

-- Park and Miller's generator, around 0.
local function random(seed)
  local x = seed
  return function()
    x = x * 16807 % 2147483647
    return x / 2147483647 - 0.5
  end
end

-- n rows of `cols` values: a few common factors and noise.
local function rows(n, cols, noise, seed, factors)
  local next_value, mix, list = random(seed), random(factors), {}
  local weights = {}
  for f = 1, 4 do
    weights[f] = {}
    for c = 1, cols do weights[f][c] = mix() end
  end
  for _ = 1, n do
    local z = { next_value(), next_value(), next_value(), next_value() }
    for c = 1, cols do
      local v = noise * next_value()
      for f = 1, 4 do v = v + z[f] * weights[f][c] end
      list[#list + 1] = v
    end
  end
  return core.quant.buffer(n, cols, list)
end

local function hessian(x, cols)
  local h = assert(core.calib.hessian(cols))
  h:add(x)
  x:close()
  return h
end

describe("trust in correlations", function()
  support.check_leaks()

  it("scales rows of unusual power down to the cap, and no others", function()
    local list = {}
    for r = 1, 9 do
      for c = 1, 32 do list[#list + 1] = (r == 4 and 100 or 1) * (c % 2 == 0 and 1 or -1) end
    end
    local x, item = core.quant.buffer(9, 32, list), {}
    local y = trust.tame(item, x)
    assert.equal(trust.CAP, item.limit)
    assert.equal(1, math.abs(y[1]))
    local power = 0
    for c = 1, 32 do power = power + y[3 * 32 + c] ^ 2 / 32 end
    assert.is_true(math.abs(power - trust.CAP) < 1e-3, power)
    y:close()
    local plain = core.quant.buffer(1, 32, { 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8 })
    assert.equal(plain, trust.tame({}, plain))
    plain:close()
    x:close()
  end)

  it("shrinks what is off the diagonal alone", function()
    local h = hessian(rows(64, 32, 0.1, 3, 5), 32)
    local before = h:matrix()
    h:shrink(0.25)
    local after = h:matrix()
    for i = 1, 32 do
      for j = 1, 32 do
        local at = (i - 1) * 32 + j
        assert.is_true(math.abs(after[at] - before[at] * (i == j and 1 or 0.75)) < 1e-4)
      end
    end
    before:close()
    after:close()
    h:close()
    assert.has_error(function()
      local g = assert(core.calib.hessian(4))
      local fine, why = pcall(g.shrink, g, 2)
      g:close()
      if not fine then error("refused", 0) end
      return why
    end, "refused")
  end)

  it("holds back where the halves have nothing in common", function()
    local next_value, list = random(17), {}
    for i = 1, 32 * 64 do list[i] = next_value() end
    local w = core.quant.buffer(32, 64, list)
    local function choose(factors)
      local halves = { hessian(rows(256, 64, 0.05, 21, 7), 64), hessian(rows(256, 64, 0.05, 23, factors), 64) }
      local s, sums = trust.choose(halves, 64, { { w = w, type = "q4_0" } })
      for _, h in ipairs(halves) do h:close() end
      return s, sums
    end
    local same, sums = choose(7)
    assert.is_true(same ~= nil and same < 1, tostring(same))
    assert.is_true(sums[1] < sums.plain)
    local other = choose(900001)
    assert.is_true(other == nil or other > same, tostring(other))
    w:close()
  end)
end)
