--- A quantizing process may be killed at any moment: the final name is
-- absent or complete, the next run goes on, and the bytes are the same.
-- WANE_KILLS sets how many random moments are tried (default 20).
local models = require "spec.support.models"
local quantize = require "wane.quantize"
local support = require "spec.support"

local from = "examples/models/demo-f16.gguf"
local kills = tonumber(os.getenv "WANE_KILLS") or 20
local lua = os.getenv "WANE_LUA" or (jit and "luajit" or "lua5.4")

-- Exit status, in both Luas.
local function run(command)
  local a, _, c = os.execute(command)
  return type(a) == "number" and a or c or (a and 0 or 1)
end

local function child(out, extra)
  return ("%s spec/support/quantize_once.lua %s %s Q4_K_M %s >%s.log 2>&1"):format(lua, from, out, extra
    or "", out)
end

local function clean(out)
  for _, suffix in ipairs { "", ".part", ".part.journal", ".log" } do os.remove(out .. suffix) end
end

describe("a killed run", function()
  support.check_leaks()
  local want

  setup(function()
    local out = support.tmp "whole.gguf"
    assert(quantize { from = from, to = out, recipe = "Q4_K_M" })
    want = models.sha256(out)
    os.remove(out)
  end)

  -- The final name holds nothing or everything.
  local function check_final(out, moment)
    if support.exists(out) then
      assert.equal(want, models.sha256(out), "incomplete output after " .. moment)
    end
  end

  local function finish(out)
    local report = assert(quantize { from = from, to = out, recipe = "Q4_K_M", overwrite = true })
    assert.equal(want, models.sha256(out))
    assert.is_false(support.exists(out .. ".part"))
    assert.is_false(support.exists(out .. ".part.journal"))
    return report
  end

  it("leaves no or a complete output at random moments", function()
    local resumed, survived = 0, 0
    for i = 1, kills do
      local out = support.tmp "kill.gguf"
      -- the first tries find the length of a run
      local delay = math.random() * 0.08
      run(("{ %s & pid=$!; sleep %.4f; kill -9 $pid; wait $pid; } 2>/dev/null"):format(child(out), delay))
      local moment = ("kill %d after %.4f s"):format(i, delay)
      check_final(out, moment)
      if support.exists(out) then survived = survived + 1 end
      if finish(out).resumed > 0 then resumed = resumed + 1 end
      clean(out)
    end
    assert(kills < 10 or survived < kills, "no run was killed in time")
    print(("(%d kills: %d resumed, %d were complete)"):format(kills, resumed, survived))
  end)

  it("resumes after a kill at any system call that changes a file", function()
    local out = support.tmp "calls.gguf"
    local resumed = 0
    for _, point in ipairs {
      { "write", 1 }, { "write", 2 }, { "write", 3 }, { "write", 10 }, { "write", 40 }, { "write", 65 },
      { "fsync", 1 }, { "fsync", 2 }, { "rename", 1 }, { "ftruncate", 1 }, { "ftruncate", 2 },
        { "unlink", 1 },
    } do
      for _, when in ipairs { "before", "after" } do
        clean(out)
        local extra = ("%s %d %s"):format(point[1], point[2], when)
        assert.not_equal(0, run(child(out, extra)), "not killed: " .. extra)
        check_final(out, extra)
        local report = finish(out)
        if report.resumed > 0 then resumed = resumed + 1 end
      end
    end
    clean(out)
    assert(resumed > 5, "hardly any run was resumed")
  end)

  it("is not resumed by another recipe, and the result is right", function()
    local out = support.tmp "other.gguf"
    run(child(out, "write 60 before"))
    assert.is_true(support.exists(out .. ".part"))
    local fresh = support.tmp "fresh.gguf"
    assert(quantize { from = from, to = fresh, recipe = "Q8_0" })
    local report = assert(quantize { from = from, to = out, recipe = "Q8_0" })
    assert.equal(0, report.resumed)
    assert.equal(models.sha256(fresh), models.sha256(out))
    os.remove(fresh)
    clean(out)
  end)

  it("is not trusted where its .part was damaged", function()
    local out = support.tmp "damaged.gguf"
    run(child(out, "write 65 before"))
    local f = assert(io.open(out .. ".part", "r+b"))
    f:seek("set", f:seek "end" > 700000 and 600000 or 100000)
    f:write "damage"
    f:close()
    local report = finish(out)
    assert(report.resumed < 20, "damaged tensors were taken over")
    clean(out)
  end)

  it("keeps its lock only while it lives", function()
    local out = support.tmp "busy.gguf"
    local job = assert(quantize.start { from = from, to = out, recipe = "Q8_0" })
    local second, msg, code = quantize { from = from, to = out, recipe = "Q8_0" }
    assert.is_nil(second)
    assert.equal("EBUSY", code)
    assert.matches("being written by pid %d+", msg)
    job:cancel()
    assert(quantize { from = from, to = out, recipe = "Q8_0" })
    clean(out)
  end)

end)
