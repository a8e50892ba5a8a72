--- Random rows of many distributions, the same for a seed on every machine:
--- what encoders are compared on.
local M = {}

--- A small generator of its own (xorshift, 32 bit, by doubles): 0 <= r < 1.
function M.random(seed)
  local state = (seed * 2654435761 + 12345) % 4294967296
  if state == 0 then state = 1 end
  local a, b = state % 65536 + 1, math.floor(state / 65536) + 1
  return function()
    -- two multiply-with-carry generators (Marsaglia), exact in doubles
    a = 36969 * (a % 65536) + math.floor(a / 65536)
    b = 18000 * (b % 65536) + math.floor(b / 65536)
    return ((a % 65536) * 65536 + b % 65536) / 4294967296
  end
end

local function gauss(r)
  return math.sqrt(-2 * math.log(1 - r())) * math.cos(2 * math.pi * r())
end

--- name -> function(r, i, row) -> value
M.kinds = {
  { "gauss", function(r) return 0.02 * gauss(r) end },
  { "heavy", function(r) return 0.01 * gauss(r) / math.max(1e-3, math.abs(gauss(r))) end },
  { "tiny", function(r, _, row) return gauss(r) * 2 ^ (-8 - 3 * row) end },
  { "const", function(_, _, row) return 0.125 * row - 0.3 end },
  { "zeros", function() return 0 end },
  { "alternating", function(r, i) return (i % 2 == 0 and 1 or -1) * (r() < 0.05 and 100 or 1) end },
  { "onesided", function(r) return math.abs(gauss(r)) + 0.5 end },
  { "ties", function(r) return math.floor(r() * 64 - 32) / 8 end },
  { "spike", function(r, i) return i % 16 == 3 and 7 * gauss(r) or 0 end },
  { "wide", function(r) return gauss(r) * 10 ^ (r() * 12 - 6) end },
  { "negzero", function(r) return r() < 0.7 and -0.0 or gauss(r) end },
}

--- kinds of importance: name -> function(r, i) -> weight, nil for none
M.importances = {
  { "none", nil },
  { "lognormal", function(r) return math.exp(gauss(r)) end },
  { "spiky", function(r)
    local x = r()
    return x < 0.02 and 1e4 or x < 0.1 and 1e-6 or 1
  end },
  { "ones", function() return 1 end },
  { "zeros", function(r, i) return (i > 64 and i <= 96 or r() < 0.15) and 0 or math.exp(gauss(r)) end },
  { "small", function(r) return 3e-7 * r() end },
}

--- rows * cols values of a kind, as a flat list.
function M.make(kind, seed, rows, cols)
  local r, out = M.random(seed), {}
  for row = 1, rows do
    for i = 1, cols do
      out[(row - 1) * cols + i] = kind[2](r, i, row)
    end
  end
  return out
end

return M
