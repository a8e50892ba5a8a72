local stats = require "wane.stats"

describe("stats", function()
  it("gives mean and standard error", function()
    local s = stats.of { 1, 2, 3, 4 }
    assert.equals(2.5, s.mean)
    assert.is_true(math.abs(s.err - math.sqrt(1.25 / 3)) < 1e-12)
    assert.equals(1, s.min)
    assert.equals(4, s.max)
    assert.equals(0, stats.of({ 7 }).err)
  end)

  it("interpolates quantiles", function()
    local q = stats.quantiles { 4, 1, 3, 2 }
    assert.equals(1, q(0))
    assert.equals(2.5, q(0.5))
    assert.equals(4, q(1))
  end)

  it("correlates ranks, ties shared", function()
    assert.equals(1, stats.spearman({ 1, 5, 9 }, { 2, 3, 100 }))
    assert.equals(-1, stats.spearman({ 1, 5, 9 }, { 3, 2, 1 }))
    assert.is_true(math.abs(stats.spearman({ 1, 1, 2, 3 }, { 1, 2, 3, 4 }) - 0.9486832980505138) < 1e-12)
  end)
end)
