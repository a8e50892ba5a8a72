--- The i-quants: the fast encoders and decoders of each instruction set give
--- the bytes of the scalar ones, on every kind of input and importance.
local core = require "wane.core"
local rows = require "spec.support.rows"
local support = require "spec.support"
local tiers = require "spec.support.tiers"

local fast_tiers, encode, decode, float_bytes = tiers.fast, tiers.encode, tiers.decode, tiers.float_bytes

-- name, values of a block, needs importance, relative error on Gaussian values
-- with importance 1 (what they reach, rounded up)
local TYPES = {
  { "iq1_s", 256, true, 0.59 },
  { "iq1_m", 256, false, 0.55 },
  { "iq2_xxs", 256, true, 0.48 },
  { "iq2_xs", 256, true, 0.43 },
  { "iq2_s", 256, false, 0.37 },
  { "iq3_xxs", 256, false, 0.26 },
  { "iq3_s", 256, false, 0.22 },
  { "iq4_xs", 256, false, 0.098 },
  { "iq4_nl", 32, false, 0.096 },
}
local seed = tonumber(os.getenv "WANE_SEED") or 20240501
-- Beside the common kinds: what the short cuts of the fast encoders look at.
local KINDS = {
  -- numbers that overflow or lose bits when squared
  { "huge", function(r) return (r() - 0.5) * 1e18 end },
  { "denormal", function(r) return (r() - 0.5) * 1e-40 end },
  -- values on the borders between levels, where roundings are ties
  { "borders", function(r) return (math.floor(r() * 17) - 8) / 5 end },
  { "halves", function(r, i) return i % 32 == 0 and 15 or math.floor(r() * 31 - 15) + 0.5 end },
  -- whole sub-blocks of zeros, as in padded matrices
  { "padded", function(r, i) return (i - 1) % 64 < 40 and r() - 0.5 or 0 end },
  { "few", function(r) return math.floor(r() * 3) - 1 end },
  { "scales", function(r, i) return (r() - 0.5) * 10 ^ -(math.floor((i - 1) / 16) % 12) end },
}
for _, kind in ipairs(rows.kinds) do KINDS[#KINDS + 1] = kind end

local function ones(n)
  local t = {}
  for i = 1, n do t[i] = 1 end
  return t
end

describe("i-quants (seed " .. seed .. ")", function()
  support.check_leaks()
  after_each(function() core.set_isa(tiers.best) end)

  for _, t in ipairs(TYPES) do
    local name, block, needs = t[1], t[2], t[3]
    -- one block, a part of a batch, more than a batch (and a rest)
    local shapes = { { 3, block }, { 2, 3 * block }, { 1, 256 * 19 } }

    it(name .. ": fast encoders equal the reference", function()
      if #fast_tiers() == 0 then support.skip "no vector tier here" end
      for k, kind in ipairs(KINDS) do
        local shape = shapes[k % #shapes + 1]
        local r, c = shape[1], shape[2]
        local values = core.quant.buffer(r, c, rows.make(kind, seed + k, r, c))
        for m, imp in ipairs(rows.importances) do
          if imp[2] or not needs then
            local weights = imp[2] and core.quant.buffer(1, c, rows.make(imp, seed + 50 * m, 1, c))
            local want = encode("ref", name, values, weights)
            for _, isa in ipairs(fast_tiers()) do
              local got = encode(isa, name, values, weights)
              assert.is_true(got == want, ("%s %s, %s, importance %s"):format(name, isa, kind[1], imp[1]))
            end
          end
        end
      end
    end)

    it(name .. ": fast decoders equal the reference on any bytes", function()
      if #fast_tiers() == 0 then support.skip "no vector tier here" end
      local n_bytes = #encode("ref", name, core.quant.buffer(1, block, ones(block)), ones(block))
      local r = rows.random(seed)
      for _ = 1, 20 do
        local bytes = {}
        for i = 1, 3 * n_bytes do
          bytes[i] = string.char(math.floor(r() * 256))
        end
        bytes = table.concat(bytes)
        local want = float_bytes(decode("ref", name, bytes, 1, 3 * block))
        for _, isa in ipairs(fast_tiers()) do
          assert.is_true(float_bytes(decode(isa, name, bytes, 1, 3 * block)) == want, name .. " " .. isa)
        end
      end
    end)
  end

  it("keep more of a Gaussian the more bits they have", function()
    local values = core.quant.buffer(4, 1024, rows.make(rows.kinds[1], seed, 4, 1024))
    local last = 1
    for _, t in ipairs(TYPES) do
      local e = assert(core.quant.encode(t[1], values, ones(1024))):error(values).relative
      assert.is_true(e < t[4] and e < last, t[1] .. " " .. e)
      last = e
    end
  end)

  it("give zeros for zeros and refuse rows that do not fit", function()
    for _, t in ipairs(TYPES) do
      local zeros = core.quant.buffer(2, 512)
      for i = 1, 1024 do zeros[i] = 0 end
      local back = assert(core.quant.encode(t[1], zeros, ones(512))):decode()
      for i = 1, 1024 do assert.equal(0, back[i]) end
      local q, _, code = core.quant.encode(t[1], core.quant.buffer(1, 300), ones(300))
      assert.is_nil(q)
      assert.equal("EFORMAT", code)
    end
  end)

  it("put more precision where importance says so", function()
    local w = {}
    for i = 1, 512 do w[i] = i % 4 == 0 and 100 or 1 end
    local values = core.quant.buffer(8, 512, rows.make(rows.kinds[1], seed + 7, 8, 512))
    for _, t in ipairs(TYPES) do
      local flat = assert(core.quant.encode(t[1], values, ones(512))):error(values, w).weighted
      local weighed = assert(core.quant.encode(t[1], values, w)):error(values, w).weighted
      assert.is_true(weighed < flat, ("%s: %g, %g"):format(t[1], weighed, flat))
    end
  end)

  it("iq3_s closes up sub-blocks of zeros, as llama.cpp does", function()
    -- 8 sub-blocks of 32 values; the second is zero: the index bytes and signs
    -- of those after it move up by one sub-block, and the last ones are 0
    local list = rows.make(rows.kinds[1], seed, 1, 256)
    for i = 33, 64 do list[i] = 0 end
    local bytes = encode(tiers.best, "iq3_s", core.quant.buffer(1, 256, list))
    assert.equal(110, #bytes)
    assert.equal(("\0"):rep(8), bytes:sub(3 + 56, 2 + 64)) -- qs of sub-block 8
    assert.equal(("\0"):rep(4), bytes:sub(3 + 72 + 28, 2 + 72 + 32)) -- its signs
    assert.equal(0, bytes:byte(3 + 64 + 1)) -- qh of the zero one stays in place
  end)
end)
