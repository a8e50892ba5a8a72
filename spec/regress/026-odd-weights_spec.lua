-- Every encoder on weights that no trained model has: constant, huge, tiny,
-- sparse, on a lattice. The fast encoders give the reference's bytes there too,
-- and neither does anything undefined (make check-asan runs this under UBSan:
-- iq3_s once read past a row of points).
local S = require "spec.support"
local core = require "wane.core"
local quant = require "wane.quant"

local N = 512
local seed = 12345
local function random()
  seed = (seed * 1103515245 + 12345) % 2147483648
  return seed / 2147483648
end
local function bell() return random() + random() + random() - 1.5 end

-- i -> the i-th weight
local KINDS = {
  { "random", bell },
  { "on a lattice", function() return math.floor(bell() * 6) / 4 end },
  { "heavy tails", function() return bell() ^ 3 * 10 end },
  { "outliers", function(i) return i % 7 == 0 and 20 * bell() or 0.01 * bell() end },
  { "sparse", function() return random() < 0.1 and 1 or bell() * 0.02 end },
  { "zero", function() return 0 end },
  { "one value", function() return 1 end },
  { "a negative value", function() return -0.3 end },
  { "one weight", function(i) return i == 300 and 2.5 or 0 end },
  { "alternating", function(i) return i % 2 == 0 and 1 or -1 end },
  { "a ramp", function(i) return (i - N / 2) / N end },
  { "huge", function() return bell() * 1e38 end },
  { "huge and constant", function() return 3.4e38 end },
  { "beyond binary16", function() return bell() * 1e6 end },
  { "tiny", function() return bell() * 1e-30 end },
  { "denormal", function() return bell() * 1e-40 end },
  { "huge beside tiny", function(i) return i % 32 == 0 and 1e37 or 1e-37 end },
}
local ROUNDS = { random = 12, ["on a lattice"] = 12, ["heavy tails"] = 12, outliers = 12, sparse = 12 }

describe("odd weights", function()
  S.check_leaks()
  local best = core.cpu().isa
  teardown(function() core.set_isa(best) end)

  for _, t in ipairs(quant.types()) do
    if t.class == "quant" then
      it("into " .. t.name, function()
        local light, even = {}, {}
        for i = 1, N do light[i], even[i] = random() ^ 4 + 1e-6, 1 end
        for _, kind in ipairs(KINDS) do
          for round = 1, os.getenv "WANE_LANE" and 1 or ROUNDS[kind[1]] or 1 do
            local w = {}
            for i = 1, N do w[i] = kind[2](i) end
            local b = core.quant.buffer(1, N, w)
            for _, importance in ipairs { even, light } do
              core.set_isa(best)
              local fast = assert(core.quant.encode(t.name, b, importance)):bytes()
              if round == 1 then
                core.set_isa "ref"
                local plain = assert(core.quant.encode(t.name, b, importance)):bytes()
                core.set_isa(best)
                assert.is_true(fast == plain, kind[1])
              end
            end
            b:close()
          end
        end
      end)
    end
  end
end)
