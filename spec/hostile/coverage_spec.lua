-- Which test shows which check of the hardening list: every id has at least
-- one named test, which exists. A renamed or deleted test fails here.
local S = require "spec.support"

local GEN = "spec/hostile/gen.lua" -- rows: row("ID", "what", ...)
local HOSTILE = "spec/hostile/gguf_spec.lua"
local WRITE, MAP = "spec/write_spec.lua", "spec/map_spec.lua"

--- id -> list of { file, text that the test's name or row holds }
local shown_by = {
  G1 = { { GEN, 'row("G1", "empty file"' }, { HOSTILE, "G1 every prefix of a good file" } },
  G2 = { { GEN, 'row("G2", "wrong magic"' } },
  G10 = { { HOSTILE, "G10 every single byte" } },
  G11 = { { GEN, 'place("G11", "FIFO"' }, { GEN, 'place("G11", "file larger than memory"' } },
  G12 = { { GEN, 'place("G12", "duplicate file"' } },
  T9 = { { GEN, '"T9"' } },
  T4 = { { GEN, 'row("T4"' }, { "spec/arith_spec.lua", "T4 agrees with 128-bit integers" } },
  W1 = { { WRITE, "W1 refuses an output that is its input" } },
  W2 = { { WRITE, "W2 replaces an existing file only on request" }, { WRITE, "W2 notices a file that appears" } },
  W3 = { { WRITE, "W3 survives a failure of any system call" }, { WRITE, "W3 repeats interrupted and short" } },
  W4 = {
    { WRITE, "W4 death" },
    { WRITE, "at random moments" },
    { "spec/kill_spec.lua", "leaves no or a complete output at random moments" },
  },
  M1 = { { MAP, "M1 survives a file truncated under the map" }, { MAP, "M1 reports a truncated file" } },
  M2 = { { MAP, "M2 keeps the old file" } },
  M7 = { { MAP, "M7 handles SIGBUS" }, { "spec/regress/003-sigbus-of-the-host_spec.lua", "M7 reaches a handler" } },
}
for _, id in ipairs { "G3", "G4", "G5", "G6", "G7", "G8", "G9",
  "T1", "T2", "T3", "T5", "T6", "T7", "T8" } do
  shown_by[id] = { { GEN, ('row("%s"'):format(id) } }
end

local WANTED = { "M1", "M2" }
for i = 1, 12 do WANTED[#WANTED + 1] = "G" .. i end
for i = 1, 9 do WANTED[#WANTED + 1] = "T" .. i end
for i = 1, 4 do WANTED[#WANTED + 1] = "W" .. i end

describe("every check has its test:", function()
  for _, id in ipairs(WANTED) do
    it(id, function()
      assert.truthy(shown_by[id], "no test is named")
      for _, where in ipairs(shown_by[id]) do
        assert.truthy(S.slurp(where[1]):find(where[2], 1, true), where[1] .. " has no " .. where[2])
      end
    end)
  end
end)
