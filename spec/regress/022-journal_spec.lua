-- The journal of a killed run with two records swapped, or with one of
-- another place: what follows the first wrong record is not taken, and the
-- file that is finished is right.
local models = require "spec.support.models"
local quantize = require "wane.quantize"
local support = require "spec.support"

local FROM = "examples/models/demo-f16.gguf"
local RECORD = 32

describe("a journal", function()
  support.check_leaks()
  local want, out
  setup(function()
    out = support.tmp "journal.gguf"
    assert(quantize { from = FROM, to = out, recipe = "Q8_0" })
    want = models.sha256(out)
    os.remove(out)
  end)

  --- A run killed in the middle: its journal's head and records.
  local function killed()
    local lua = os.getenv "WANE_LUA" or (jit and "luajit" or "lua5.4")
    for _, s in ipairs { "", ".part", ".part.journal" } do os.remove(out .. s) end
    os.execute(("%s spec/support/quantize_once.lua %s %s Q8_0 write 60 before > %s.log 2>&1"):format(lua, FROM, out, out))
    os.remove(out .. ".log")
    local bytes, t = support.slurp(out .. ".part.journal"), {}
    for at = RECORD + 1, #bytes - RECORD + 1, RECORD do t[#t + 1] = bytes:sub(at, at + RECORD - 1) end
    return bytes:sub(1, RECORD), t
  end

  local function finish(head, records)
    support.spit(out .. ".part.journal", head .. table.concat(records))
    local report = assert(quantize { from = FROM, to = out, recipe = "Q8_0" })
    assert.equal(want, models.sha256(out))
    os.remove(out)
    return report.resumed
  end

  it("whole is gone on from", function()
    local head, t = killed()
    assert(#t >= 5, "the run was killed too early")
    local resumed = finish(head, t) -- as far as the data was written as well
    assert.is_true(resumed >= 5 and resumed <= #t, resumed .. " of " .. #t)
  end)

  it("with two records swapped counts up to them", function()
    local head, t = killed()
    t[3], t[4] = t[4], t[3]
    assert.equal(2, finish(head, t))
  end)

  it("with a record repeated counts up to it", function()
    local head, t = killed()
    t[4] = t[3]
    assert.equal(3, finish(head, t))
  end)

  it("does not vouch for data that changed since", function()
    local head, t = killed()
    local part = support.slurp(out .. ".part")
    local at = math.floor(#part / 2)
    support.spit(out .. ".part", part:sub(1, at) .. string.char((part:byte(at + 1) + 1) % 256) .. part:sub(at + 2))
    assert.is_true(finish(head, t) < #t) -- and the file is right: finish compares
  end)

  it("of another run counts for nothing", function()
    local head, t = killed()
    assert.equal(0, finish(head:sub(1, 8) .. ("x"):rep(16) .. head:sub(25), t))
  end)
end)
