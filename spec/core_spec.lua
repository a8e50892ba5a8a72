local support = require "spec.support"
local core = require "wane.core"

describe("core", function()
  support.check_leaks()

  it("says what it is running on", function()
    local cpu = core.cpu()
    assert.is_true(core.set_isa(cpu.best))
    assert.is_true(cpu.threads >= 1)
    assert.equals(cpu.isa, core.cpu().isa)
  end)

  it("refuses an instruction set it does not know", function()
    assert.error_matches(function() core.set_isa "sse9" end, "want ref, neon, avx2, avx512 or amx")
  end)

  it("lowers the tier and raises it again", function()
    local best = core.cpu().best
    assert.is_true(core.set_isa "ref")
    assert.equals("ref", core.cpu().isa)
    assert.is_true(core.set_isa(best))
  end)

  it("times barriers and empty runs", function()
    for _, n in ipairs { 1, 2, 3 } do
      local barrier, awake = core.probe.barrier(n), core.probe.run(n, 0)
      -- seconds; a machine with other work may take its time
      assert.is_true(barrier > 0 and barrier < 1, barrier)
      assert.is_true(awake > 0 and awake < 1, awake)
    end
    assert.is_true(core.probe.run(2, 0.002) > 0)
    assert.error_matches(function() core.probe.barrier(0) end, "want an integer from 1 to 256")
    assert.error_matches(function() core.probe.run(1, -1) end, "want 0 to 1 seconds")
    assert.error_matches(function() core.probe.run(1, 0 / 0) end, "want 0 to 1 seconds")
  end)

  it("shows its limits", function()
    local limits = core.limits()
    assert.equals(65536, limits.MAX_KEYS)
    assert.equals(4, limits.MAX_DIMS)
  end)

  it("counts its memory", function()
    local m = core.memory()
    assert.is_true(m.bytes >= 0 and m.blocks >= 0)
    assert.is_true(m.peak_bytes >= m.bytes)
  end)
end)
