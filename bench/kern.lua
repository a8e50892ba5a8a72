--- Micro-benchmarks of the matrix multiply: every type, one column (bound by
--- reading memory) and many (bound by arithmetic), beside what the machine
--- can do at most.
--
--   luajit bench/kern.lua [--tier avx512] [--threads 1] [--types q4_K,q8_0]
--                         [--rows 1024] [--k 1024] [--n 512] [--seconds 0.3]
local core = require "wane.core"

local kern, quant = core.kern, core.quant
local MIB = 1048576

local function options(args)
  local tiers = kern.tiers()
  local o = { tier = tiers[#tiers], threads = 1, rows = 1024, k = 1024, n = 512, seconds = 0.3 }
  for i = 1, #args, 2 do
    local name = args[i]:match "^%-%-(%a+)$"
    assert(name and args[i + 1], "usage: see the head of bench/kern.lua")
    o[name] = tonumber(args[i + 1]) or args[i + 1]
  end
  return o
end

--- A few rows of normal numbers, encoded.
local function some_rows(name, k)
  local values, importance = {}, {}
  for i = 1, 32 * k do
    local s = 0
    for _ = 1, 6 do s = s + math.random() end
    values[i] = (s - 3) * 0.03
  end
  for i = 1, k do importance[i] = 1 end
  local x = assert(quant.buffer(32, k, values))
  return assert(quant.encode(name, x, importance)):bytes()
end

local function selected(o)
  local list = {}
  for _, t in ipairs(quant.types()) do
    local fits = t.class == "quant" or t.name == "f32" or t.name == "f16" or t.name == "bf16"
    local wanted = not o.types or ("," .. o.types .. ","):find("," .. t.name .. ",", 1, true)
    if fits and wanted then list[#list + 1] = t end
  end
  return list
end

local function machine(o)
  local m = {
    float = kern.peak(o.tier, "float", o.threads), int8 = kern.peak(o.tier, "int8", o.threads), read = {},
  }
  for _, streams in ipairs { 1, 4, 8 } do
    m.read[streams] = assert(kern.read(o.tier, 256 * MIB, streams, o.threads))
    m.best = math.max(m.best or 0, m.read[streams])
  end
  return m
end

--- The unit that multiplies weights of type t with many columns: its rate.
local function peak_of(o, m, t)
  local unit = t.class == "quant" and "amx int8" or t.name ~= "f32" and "amx bf16"
  local rate = o.tier == "amx" and unit and core.probe.peak(unit, o.threads) or 0
  if rate > 0 then return rate end
  return t.class == "quant" and m.int8 or m.float
end

local function main(args)
  local o = options(args)
  assert(o.tier ~= "ref", "ref is not for speed")
  local m = machine(o)
  local cpu = core.cpu()
  print(("%s, tier %s, %d threads"):format(cpu.name, o.tier, o.threads))
  print(("at most: float %.0f, int8 %.0f Gop/s; reading %.1f GB/s in 1 stream, %.1f in 4, %.1f in 8"):format(
    m.float / 1e9, m.int8 / 1e9, m.read[1] / 1e9, m.read[4] / 1e9, m.read[8] / 1e9))
  print(("%d x %d weights; one column (cold), %d columns"):format(o.rows, o.k, o.n))
  print "type      GB/s  of read   Gop/s |  Gop/s of peak"
  for _, t in ipairs(selected(o)) do
    local bytes = o.rows * o.k / t.block * t.bytes
    local run = {
      tier = o.tier, type = t.name, weights = some_rows(t.name, o.k), rows = o.rows, k = o.k, n = 1,
      threads = o.threads, copies = math.ceil(200 * MIB / bytes), seconds = o.seconds,
    }
    local one = assert(kern.time(run))
    run.n, run.copies = o.n, 1
    local many = assert(kern.time(run))
    local ops = 2 * o.rows * o.k
    local peak = peak_of(o, m, t)
    print(("%-8s %5.1f   %3.0f %%  %6.1f | %6.1f  %3.0f %%"):format(t.name, bytes / one / 1e9,
      100 * bytes / one / m.best, ops / one / 1e9, ops * o.n / many / 1e9, 100 * ops * o.n / many / peak))
  end
end

main(arg)
