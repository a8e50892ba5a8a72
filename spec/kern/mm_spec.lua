--- The matrix multiply of every tier of this machine, for every type: random
--- weights and sizes, against `ref` on the activations as the kernels see
--- them; poisoned output; the same bits for any split and in every tier.
local support = require "spec.support"
local core = require "wane.core"

local kern, quant = core.kern, core.quant
local unpack = unpack or table.unpack -- luacheck: ignore
local WIDE = (tonumber(os.getenv "WANE_SLOW") or 1) > 0
local ROUNDS = WIDE and 4 or 1

-- A small generator of our own: the same sizes and bytes in every Lua.
local state
local function seed(n) state = n end
local function random(lo, hi)
  state = (state * 16807) % 2147483647
  return lo + math.floor(state / 2147483647 * (hi - lo + 1))
end
local function uniform() return random(0, 1000000) / 500000 - 1 end

-- Where blocks hold binary16 scales, which must be finite.
local HALVES = {
  q4_0 = { 0 }, q4_1 = { 0, 2 }, q5_0 = { 0 }, q5_1 = { 0, 2 }, q8_0 = { 0 },
  q1_0 = { 0 }, q2_0 = { 0 }, iq4_nl = { 0 }, iq4_xs = { 0 }, q2_K = { 80, 82 },
  q3_K = { 108 }, q4_K = { 0, 2 }, q5_K = { 0, 2 }, q6_K = { 208 },
  iq2_xxs = { 0 }, iq2_xs = { 0 }, iq2_s = { 0 }, iq3_xxs = { 0 }, iq3_s = { 0 },
  iq1_s = { 0 }, tq1_0 = { 52 }, tq2_0 = { 64 }, f16 = { 0 },
}

-- A positive or negative binary16 number around 2^-5, as two bytes.
local function half() return string.char(random(0, 255), random(0, 1) * 128 + random(0x24, 0x2b)) end

local PATCH = {}
function PATCH.mxfp4(b) return string.char(random(115, 130)) .. b:sub(2) end
function PATCH.nvfp4(b)
  local s = {}
  for i = 1, 4 do s[i] = string.char(random(0, 0x7e)) end
  return table.concat(s) .. b:sub(5)
end
-- The top bits of the four 16-bit words at the end are a binary16 number.
function PATCH.iq1_m(b)
  local t = { b:byte(1, -1) }
  for i, high in ipairs { random(0, 15), random(0, 15), random(0, 15), 2 } do
    local at = 48 + 2 * i
    t[at] = t[at] % 16 + 16 * high
  end
  return string.char(unpack(t))
end
function PATCH.bf16() return string.char(random(0, 255), random(0, 1) * 128 + 0x3d) end
function PATCH.f32() return string.char(random(0, 255), random(0, 255), random(0, 255), random(0, 1) * 128 + 0x3d) end

local function block(t)
  local b = {}
  for i = 1, t.bytes do b[i] = string.char(random(0, 255)) end
  b = table.concat(b)
  for _, at in ipairs(HALVES[t.name] or {}) do b = b:sub(1, at) .. half() .. b:sub(at + 3) end
  return PATCH[t.name] and PATCH[t.name](b) or b
end

-- `rows` rows of k values.
local function weights(t, rows, k)
  local s = {}
  for i = 1, rows * k / t.block do s[i] = block(t) end
  return table.concat(s)
end

local function activations(n, k)
  local v = {}
  for i = 1, n * k do v[i] = uniform() * (random(1, 40) == 1 and 8 or 1) end
  return assert(quant.buffer(n, k, v))
end

local POISON = 0 / 0
local function poisoned(n, ld)
  local v = {}
  for i = 1, n * ld do v[i] = POISON end
  return assert(quant.buffer(n, ld, v))
end

local function types()
  local list = {}
  for _, t in ipairs(quant.types()) do
    if t.class == "quant" or t.name == "f32" or t.name == "f16" or t.name == "bf16" then list[#list + 1] = t end
  end
  return list
end

local function random_case(t, round)
  local rows, n = random(1, 70), random(1, 14)
  local blocks = random(1, math.max(1, math.floor(600 / t.block)))
  if round == 1 then rows, n = random(33, 70), 1 end
  if round == 2 then n = random(26, 50) end
  local k = t.block > 1 and t.block * blocks or random(1, 600)
  return { rows = rows, n = n, k = k, w = weights(t, rows, k), x = activations(n, k) }
end

local function product(tier, t, c)
  return assert(kern.mm(tier, t.name, c.w, c.x, poisoned(c.n, c.rows)))
end

-- Largest difference relative to the largest result.
local function difference(a, b)
  local worst, max = 0, 0
  local x, y = a:table(), b:table()
  for i = 1, #x do
    local d = math.abs(x[i] - y[i])
    worst = d == d and math.max(worst, d) or math.huge
    max = math.max(max, math.abs(y[i]))
  end
  return worst / math.max(max, 1e-30)
end

-- A product made of pieces, in a buffer with room to spare: what lies outside
-- the pieces stays poisoned.
local function pieces(tier, t, c)
  local y = poisoned(c.n, c.rows + 3)
  local r, col = random(1, c.rows), random(1, c.n)
  local ranges = { { 1, r, 1, col } }
  if r < c.rows then ranges[#ranges + 1] = { r + 1, c.rows, 1, col } end
  if col < c.n then
    ranges[#ranges + 1] = { 1, c.rows, col + 1, c.n }
  end
  for _, p in ipairs(ranges) do
    assert(kern.mm(tier, t.name, c.w, c.x, y, p[1], p[2], p[3], p[4]))
  end
  return y
end

local function check_pieces(whole, cut, c)
  local a, b = whole:table(), cut:table()
  for i = 1, c.n do
    for r = 1, c.rows do
      assert.equal(a[(i - 1) * c.rows + r], b[(i - 1) * (c.rows + 3) + r])
    end
    for r = c.rows + 1, c.rows + 3 do
      local v = b[(i - 1) * (c.rows + 3) + r]
      assert.is_true(v ~= v, "wrote outside its rows")
    end
  end
end

local FLOAT = { f32 = true, f16 = true, bf16 = true }

-- How far from ref a result may be. F16 weights in tiles are high + low parts
-- times high + low parts without low times low: off by 2^-16.
local function tolerance(tier, t) return tier == "amx" and t.name == "f16" and 2e-5 or 1e-5 end

describe("matrix multiply", function()
  support.check_leaks()
  local tiers = kern.tiers()

  for number, t in ipairs(types()) do
    it("of " .. t.name .. " agrees with ref in every tier", function()
      seed(1000 + number)
      for round = 1, ROUNDS do
        local c = random_case(t, round)
        local bits
        for i = 2, #tiers do
          local y = product(tiers[i], t, c)
          local seen = assert(kern.activations(tiers[i], t.name, c.x))
          local want = assert(kern.mm("ref", t.name, c.w, seen, poisoned(c.n, c.rows)))
          local d = difference(y, want)
          assert(d < tolerance(tiers[i], t), ("%s: rows %d, k %d, n %d: off by %g"):format(tiers[i], c.rows, c.k, c.n, d))
          if not FLOAT[t.name] then
            bits = bits or y:bytes()
            assert.is_true(bits == y:bytes(), tiers[i] .. " gives other bits than " .. tiers[2])
          end
          check_pieces(y, pieces(tiers[i], t, c), c)
        end
      end
    end)
  end

  -- One column of many rows has kernels of its own, for k from some length on
  -- and whole groups of rows.
  it("gives one column the bits that it has among others", function()
    for number, t in ipairs(types()) do
      seed(2000 + number)
      for _ = 1, ROUNDS do
        local k = t.block * random(math.ceil(512 / t.block), math.ceil(1400 / t.block))
        if t.block == 1 then k = 16 * math.ceil(k / 16) end
        local c = { rows = random(8, 50), n = 3, k = k }
        c.w = weights(t, 5, k):rep(10):sub(1, c.rows * k / t.block * t.bytes)
        c.x = activations(c.n, k)
        for i = 2, #tiers do
          local all, one = product(tiers[i], t, c), poisoned(c.n, c.rows)
          for col = 1, c.n do assert(kern.mm(tiers[i], t.name, c.w, c.x, one, 1, c.rows, col, col)) end
          assert.is_true(all:bytes() == one:bytes(), ("%s %s: rows %d, k %d"):format(tiers[i], t.name, c.rows, k))
        end
      end
    end
  end)

  it("packs the same bytes in every tier", function()
    seed(7)
    for _, name in ipairs { "q8_0", "q4_K" } do
      for _ = 1, 20 do
        local x = activations(1, name == "q8_0" and 32 * random(1, 40) or 256 * random(1, 4))
        local first
        for i = 2, #tiers do
          local _, bytes = assert(kern.activations(tiers[i], name, x))
          first = first or bytes
          assert.is_true(first == bytes)
        end
      end
    end
  end)

  -- Magnitudes from below the smallest half to beyond the largest, zeros, the
  -- same magnitude with both signs, values that are not finite.
  it("packs the same bytes of odd values in every tier", function()
    seed(9)
    local odd = { 0, 1e-40, -1e-38, 3e-6, -6e-8, 7.62e-6, 0.5, -0.5, 127, -127, 8.3e6, -8.4e6, 3e38, -3e38, 1 / 0, 0 / 0 }
    for _, name in ipairs { "q8_0", "q4_K" } do
      for _ = 1, 200 do
        local t, most, first = {}, random(1, #odd), nil
        for i = 1, 512 do t[i] = odd[random(1, most)] * (random(1, 8) == 1 and 1 or uniform()) end
        local x = assert(quant.buffer(1, 512, t))
        for i = 2, #tiers do
          local _, bytes = assert(kern.activations(tiers[i], name, x))
          first = first or bytes
          assert.is_true(type(bytes) == "string" and first == bytes, tiers[i])
        end
      end
    end
  end)

  -- Weights and activations in bfloat16 parts (csrc/kern/half_amx.inc.h).
  if core.cpu().best == "amx" then
    it("has a tile unit that works", function() assert.equal("amx", tiers[#tiers]) end)

    it("splits every half exactly", function()
      local one = assert(quant.buffer(1, 1, { 1 }))
      for _, t in ipairs { { name = "f16", exponent = 1024, top = 31 }, { name = "bf16", exponent = 128, top = 255 } } do
        local w = {}
        for u = 0, 65535 do
          local e = math.floor(u / t.exponent) % (t.top + 1)
          -- The unit takes zeros for denormals; the sum of -0 alone is 0.
          local lost = t.name == "bf16" and e == 0 and u ~= 0 or u == 32768
          if e < t.top and not lost then w[#w + 1] = string.char(u % 256, math.floor(u / 256)) end
        end
        local bytes = table.concat(w)
        local want = quant.blocks(t.name, bytes, 1, #w):decode():bytes()
        local got = assert(kern.mm("amx", t.name, bytes, one, poisoned(1, #w)))
        assert.equal(#w, t.name == "f16" and 63487 or 65025)
        assert.is_true(got:bytes() == want)
      end
    end)

    it("rounds activations to 17 bits", function()
      seed(9)
      local x = {}
      for i = 1, 3000 do x[i] = uniform() * 2 ^ random(-60, 60) end
      x = assert(quant.buffer(1, #x, x))
      local seen = assert(kern.activations("amx", "f16", x))
      for i = 1, #x do assert(math.abs(seen[i] - x[i]) <= 2 ^ -17 * math.abs(x[i])) end
      -- The largest that is cut, the largest of all that stays finite, a NaN.
      local odd = assert(quant.buffer(1, 3, "\0\128\127\127" .. "\127\255\127\127" .. "\255\255\255\127"))
      seen = assert(kern.activations("amx", "f16", odd))
      for i = 1, 2 do assert(math.abs(seen[i] - odd[i]) <= 2 ^ -16 * odd[i]) end
      assert.is_true(seen[3] ~= seen[3])
    end)

    it("is as exact with halves as 17 bits allow, and in tiles as with floats", function()
      seed(10)
      for _, name in ipairs { "f16", "bf16" } do
        local t = { name = name, block = 1, bytes = 2 }
        local c = { rows = 40, n = 20, k = 1000, w = weights(t, 40, 1000), x = activations(20, 1000) }
        local function off(tier, x)
          local y = assert(kern.mm(tier, name, c.w, c.x, poisoned(c.n, c.rows))):table()
          local want, d, all = assert(kern.mm("ref", name, c.w, x, poisoned(c.n, c.rows))):table(), 0, 0
          for i = 1, #y do d, all = d + (y[i] - want[i]) ^ 2, all + want[i] ^ 2 end
          return math.sqrt(d / all)
        end
        local limit = name == "f16" and 5e-6 or 4e-6
        assert(off("amx", c.x) < limit, name .. " is off by " .. off("amx", c.x))
        local inside = off("amx", assert(kern.activations("amx", name, c.x)))
        assert(inside < (name == "f16" and 4e-6 or 4 * off("avx512", c.x)), name .. " is off by " .. inside .. " inside")
      end
    end)

    it("gives a column the same bits among any number of columns", function()
      seed(11)
      for _, name in ipairs { "f16", "bf16" } do
        local t = { name = name, block = 1, bytes = 2 }
        for _, k in ipairs { 1, 33, 272, 300 } do
          local c = { rows = 37, n = 70, k = k, w = weights(t, 37, k), x = activations(70, k) }
          local alone = poisoned(c.n, c.rows)
          for i = 1, c.n do assert(kern.mm("amx", name, c.w, c.x, alone, 1, c.rows, i, i)) end
          for n = 2, c.n do
            local first = random(1, c.n - n + 1)
            local y = poisoned(c.n, c.rows)
            assert(kern.mm("amx", name, c.w, c.x, y, 1, c.rows, first, first + n - 1))
            local from, to = (first - 1) * c.rows * 4 + 1, (first + n - 1) * c.rows * 4
            assert.is_true(y:bytes():sub(from, to) == alone:bytes():sub(from, to), name .. k .. " " .. n)
          end
        end
      end
    end)
  end

  it("shows values that are not finite", function()
    seed(8)
    for _, name in ipairs { "f16", "q8_0", "q4_K" } do
      local t
      for _, u in ipairs(types()) do t = u.name == name and u or t end
      for _, bad in ipairs { 0 / 0, 1 / 0, -1 / 0 } do
        local x = activations(1, 256):table()
        x[random(1, 256)] = bad
        local c = { rows = 1, n = 1, k = 256, w = weights(t, 1, 256), x = assert(quant.buffer(1, 256, x)) }
        for _, tier in ipairs(tiers) do
          local y = product(tier, t, c)[1]
          assert.is_true(y ~= y or y == math.huge or y == -math.huge, tier .. " hides it")
        end
      end
    end
  end)

  it("refuses what it cannot do", function()
    local x = activations(1, 33)
    assert.error_matches(function() kern.mm("avx9", "f32", ("\0"):rep(132), x, poisoned(1, 1)) end, "this machine has no such tier")
    assert.error_matches(function() kern.mm("ref", "i32", ("\0"):rep(132), x, poisoned(1, 1)) end, "want a type that can be multiplied")
    assert.error_matches(function() kern.mm("ref", "q8_0", ("\0"):rep(34), x, poisoned(1, 1)) end, "no multiple of the type's block")
    assert.error_matches(function() kern.mm("ref", "f32", ("\0"):rep(131), x, poisoned(1, 1)) end, "want whole rows")
    assert.error_matches(function() kern.mm("ref", "f32", ("\0"):rep(264), x, poisoned(1, 1)) end, "too small for the result")
    assert.error_matches(function() kern.mm("ref", "f32", ("\0"):rep(132), x, poisoned(1, 1), 2, 2) end, "want an integer from 1 to 1")
  end)

  it("measures the machine", function()
    for i = 2, #tiers do
      -- operations and bytes a second; an emulated or busy machine may take its time
      assert.is_true(kern.peak(tiers[i], "float", 1) > 1e6)
      assert.is_true(kern.peak(tiers[i], "int8", 1) > 1e6)
      assert.is_true(kern.read(tiers[i], 1048576, 4, 2) > 1e6)
      local s = kern.time {
        tier = tiers[i], type = "f32", weights = ("\0"):rep(1024), rows = 40, k = 256, n = 2, threads = 2, seconds = 0,
      }
      assert.is_true(s > 0 and s < 1)
    end
  end)
end)
