--- The k formats: the fast encoders and decoders of each instruction set give
--- the bytes of the scalar ones, on every kind of input and importance.
local core = require "wane.core"
local rows = require "spec.support.rows"
local support = require "spec.support"
local tiers = require "spec.support.tiers"

local fast_tiers, encode, decode, float_bytes = tiers.fast, tiers.encode, tiers.decode, tiers.float_bytes

local TYPES = { "q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "q8_K" }
-- one super-block, a part of a batch, more than a batch (and a rest)
local SHAPES = { { 3, 256 }, { 2, 768 }, { 1, 256 * 37 } }
local seed = tonumber(os.getenv "WANE_SEED") or 20240501

describe("k formats (seed " .. seed .. ")", function()
  support.check_leaks()
  after_each(function() core.set_isa(tiers.best) end)

  for _, name in ipairs(TYPES) do
    it(name .. ": fast encoders equal the reference", function()
      if #fast_tiers() == 0 then support.skip "no vector tier here" end
      for k, kind in ipairs(rows.kinds) do
        local shape = SHAPES[k % #SHAPES + 1]
        local r, c = shape[1], shape[2]
        local values = core.quant.buffer(r, c, rows.make(kind, seed + k, r, c))
        for m, imp in ipairs(rows.importances) do
          local weights = imp[2] and core.quant.buffer(1, c, rows.make(imp, seed + 50 * m, 1, c))
          local want = encode("ref", name, values, weights)
          for _, isa in ipairs(fast_tiers()) do
            local got = encode(isa, name, values, weights)
            assert.is_true(got == want, ("%s %s, %s, importance %s"):format(name, isa, kind[1], imp[1]))
          end
        end
      end
    end)

    it(name .. ": fast decoders equal the reference on any bytes", function()
      if #fast_tiers() == 0 then support.skip "no vector tier here" end
      local n_bytes = #encode("ref", name, core.quant.buffer(1, 256), nil)
      local r = rows.random(seed)
      for _ = 1, 20 do
        local bytes = {}
        for i = 1, 3 * n_bytes do
          bytes[i] = string.char(math.floor(r() * 256))
        end
        bytes = table.concat(bytes)
        local want = float_bytes(decode("ref", name, bytes, 1, 768))
        for _, isa in ipairs(fast_tiers()) do
          assert.is_true(float_bytes(decode(isa, name, bytes, 1, 768)) == want, name .. " " .. isa)
        end
      end
    end)
  end

  it("keep more of a Gaussian the more bits they have", function()
    local values = core.quant.buffer(4, 1024, rows.make(rows.kinds[1], seed, 4, 1024))
    -- relative errors that these formats reach on Gaussian values, rounded up
    local limit = { q2_K = 0.31, q3_K = 0.17, q4_K = 0.083, q5_K = 0.043, q6_K = 0.022, q8_K = 0.009 }
    local last = 1
    for _, name in ipairs(TYPES) do
      local e = assert(core.quant.encode(name, values)):error(values).relative
      assert.is_true(e < limit[name] and e < last, name .. " " .. e)
      last = e
    end
  end)

  it("give zeros for zeros and refuse rows that do not fit", function()
    for _, name in ipairs(TYPES) do
      local zeros = core.quant.buffer(2, 512)
      for i = 1, 1024 do zeros[i] = 0 end
      local back = assert(core.quant.encode(name, zeros)):decode()
      for i = 1, 1024 do assert.equal(0, back[i]) end
      local q, _, code = core.quant.encode(name, core.quant.buffer(1, 300))
      assert.is_nil(q)
      assert.equal("EFORMAT", code)
    end
  end)

  it("put more precision where importance says so", function()
    local list = rows.make(rows.kinds[1], seed + 7, 8, 512)
    local w = {}
    for i = 1, 512 do w[i] = i % 4 == 0 and 100 or 1 end
    local values = core.quant.buffer(8, 512, list)
    for _, name in ipairs { "q2_K", "q3_K", "q4_K", "q5_K" } do
      local plain = assert(core.quant.encode(name, values)):error(values, w).weighted
      local weighed = assert(core.quant.encode(name, values, w)):error(values, w).weighted
      assert.is_true(weighed < plain, ("%s: %g, %g"):format(name, weighed, plain))
    end
  end)
end)
