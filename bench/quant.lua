--- How fast wane encodes beside llama.cpp's own encoder, on the same rows in
--- the same process, and whether the bytes are equal.
---
---     make bench-quant ARGS="--types q4_K,q6_K --isa avx2,avx512 --markdown"
---
--- Each figure is the median of several runs, in million weights for each
--- second of processor time; x says how many times llama.cpp's. All take turns
--- (llama.cpp, then wane on each instruction set), so that a change of clock or
--- a busy neighbour meets everyone. The last columns say what `--threads n`
--- gain by the clock on the wall, in the same call; for this a core per thread
--- must be idle. `--short` takes fewer, shorter runs on AVX-512 alone (or the
--- best there is).
local ffi = require "ffi"
local core = require "wane.core"
local peer = require "spec.support.peer"
local report = require "wane.report"
local rows = require "spec.support.rows"

ffi.cdef [[
typedef struct { long s, ns; } bench_time;
int clock_gettime(int, bench_time *);
]]

local USAGE = [[
bench/quant.lua [--types a,b,..] [--isa a,b,..] [--threads n] [--rows n]
                [--cols n] [--runs n] [--kind gauss|heavy|..] [--short]
                [--markdown]
]]

local function usage(problem)
  io.stderr:write("bench/quant.lua: ", problem, "\n", USAGE)
  os.exit(2)
end

--- Set of the names in "a,b,c" (lower case), or nil.
local function names(list)
  if not list then return nil end
  local set = {}
  for name in list:lower():gmatch "[^,]+" do
    set[name] = true
  end
  return set
end

--- Options as a table of strings; flags are true.
local function parse(argv)
  local known, flags = names "types,isa,threads,rows,cols,runs,kind", names "short,markdown"
  local o, i = {}, 1
  while argv[i] do
    local key = argv[i]:match "^%-%-(%l+)$"
    if key and flags[key] then
      o[key] = true
      i = i + 1
    else
      if not (key and known[key]) then usage("unknown option " .. argv[i]) end
      o[key] = argv[i + 1] or usage("--" .. key .. " wants a value")
      i = i + 2
    end
  end
  return o
end

local function number(o, key, default)
  local n = o[key] and tonumber(o[key]) or default
  if n < 1 or n % 1 ~= 0 then usage("--" .. key .. " wants a whole number") end
  return n
end

local o = parse(arg)
local N_ROWS, N_COLS = number(o, "rows", 16), number(o, "cols", 4096)
local RUNS, THREADS = number(o, "runs", o.short and 3 or 5), number(o, "threads", 2)
local SLICE = o.short and 0.01 or 0.02 -- seconds of one run
local wanted, isas = names(o.types), names(o.isa)

--- Seconds of a clock: of the processor time of this process (neighbours who
--- take turns with it do not count), or of the clock on the wall.
local PROCESS, WALL = 2, 1
local stamp = ffi.new "bench_time"
local function now(clock)
  ffi.C.clock_gettime(clock or PROCESS, stamp)
  return tonumber(stamp.s) + tonumber(stamp.ns) * 1e-9
end

--- Seconds for `times` calls of f.
local function timed(f, times, clock)
  collectgarbage "stop"
  local start = now(clock)
  for _ = 1, times do
    f()
  end
  local seconds = now(clock) - start
  collectgarbage "restart"
  return seconds
end

--- How often to call f for about `seconds`.
local function calls_for(seconds, f)
  f()
  local start = now()
  f()
  return math.max(1, math.ceil(seconds / math.max(now() - start, 1e-6)))
end

local function median(list)
  table.sort(list)
  return list[math.ceil(#list / 2)]
end

--- Values of a kind, once as cdata for the peer and once as a buffer.
local function both(kind, seed, n_rows)
  local list = rows.make(kind, seed, n_rows, N_COLS)
  local c = ffi.new("float[?]", #list, list)
  return c, core.quant.buffer(n_rows, N_COLS, list)
end

local kind
for _, k in ipairs(rows.kinds) do
  if k[1] == (o.kind or "gauss") then kind = k end
end
if not kind then usage("unknown kind " .. o.kind) end
local src, buffer = both(kind, 1, N_ROWS)
local weights, weights_buffer = both(rows.importances[2], 2, 1)
-- The same rows again and again: enough for threads to share.
local long_buffer = core.quant.buffer(16 * N_ROWS, N_COLS, buffer:bytes():rep(16))

--- The tiers to measure: those asked for and there, the best first.
local function tiers()
  local wish = isas or (o.short and {}) or { avx512 = true, avx2 = true }
  local list, best = {}, core.cpu().isa
  for _, isa in ipairs { "amx", "avx512", "avx2", "neon", "ref" } do
    if wish[isa] then
      if core.set_isa(isa) then list[#list + 1] = isa else print("(this machine has no " .. isa .. ")") end
    end
  end
  if #list == 0 then list[1] = best end
  return list
end
local TIERS = tiers()

--- Rows of which one call of the peer's encoder lasts about SLICE.
local function rows_for(encode)
  local start = now()
  encode(1)
  local one = now() - start
  return math.max(1, math.min(N_ROWS, math.floor(SLICE / one)))
end

--- All who encode rows of a type: a list of { key, f, times, values }. The
--- bytes of each tier are compared with the peer's.
local function parties(t, weighed)
  local n_bytes = N_ROWS * N_COLS / t.block * t.bytes
  local dst = ffi.new("uint8_t[?]", n_bytes)
  local imatrix, importance = weighed and weights or nil, weighed and weights_buffer or nil
  local function chunk(n) peer.base.ggml_quantize_chunk(t.id, src, dst, 0, n, N_COLS, imatrix) end
  chunk(N_ROWS)
  local want, same = ffi.string(dst, n_bytes), true
  local n_rows = rows_for(chunk)
  local function theirs() chunk(n_rows) end
  local list = { { key = "peer", f = theirs, times = calls_for(SLICE, theirs), values = n_rows * N_COLS } }
  for _, isa in ipairs(TIERS) do
    core.set_isa(isa)
    same = same and assert(core.quant.encode(t.id, buffer, importance)):bytes() == want
    local function ours() assert(core.quant.encode(t.id, buffer, importance)):close() end
    local function many(n) assert(core.quant.encode(t.id, long_buffer, importance, nil, n)):close() end
    list[#list + 1] = {
      key = isa, isa = isa, f = ours, many = many, times = calls_for(SLICE, ours), values = N_ROWS * N_COLS,
    }
  end
  return list, same
end

--- Median rates by party.
local function rates_of(list)
  local seconds, rates = {}, {}
  for _, p in ipairs(list) do
    seconds[p.key] = {}
  end
  for i = 1, RUNS do
    for _, p in ipairs(list) do
      if p.isa then core.set_isa(p.isa) end
      seconds[p.key][i] = timed(p.f, p.times)
    end
  end
  for _, p in ipairs(list) do
    rates[p.key] = p.times * p.values * 1e-6 / median(seconds[p.key])
  end
  return rates
end

--- What threads gain: the shortest of many short runs with one thread over the
--- shortest with several. A neighbour who takes a core for a while spoils some
--- of them, not all; and runs of a kind follow each other, so that a thread that
--- was woken on its waker's core has time to find another. An encoding that
--- stays open keeps the pool.
local function gain_of(p)
  core.set_isa(p.isa)
  local pool = assert(core.quant.encode("q8_0", buffer, nil, nil, THREADS))
  local best = {}
  local times = math.max(1, math.floor(0.2 * SLICE * 1e6 * p.rate / (16 * p.values)))
  for i, n in ipairs { 1, THREADS } do
    best[i] = math.huge
    for _ = 1, 7 * RUNS do
      best[i] = math.min(best[i], timed(function() p.many(n) end, times, WALL))
    end
  end
  pool:close()
  return best[1] / best[2]
end

--- Measures one type: a row of the table, and whether the bytes are equal.
local function measure(t, weighed)
  local list, same = parties(t, weighed)
  local rates = rates_of(list)
  local row = { type = t.name, weighed = weighed and "yes" or "", bytes = same and "equal" or "DIFFERENT" }
  row.peer = rates.peer
  for _, p in ipairs(list) do
    if p.isa then
      row[p.isa], row[p.isa .. "x"] = rates[p.isa], rates[p.isa] / rates.peer
      p.rate = rates[p.isa]
      if THREADS > 1 then row[p.isa .. "gain"] = gain_of(p) end
    end
  end
  collectgarbage()
  return row, same
end

--- The columns: rates, then what threads gain.
local function columns()
  local list = { { key = "type", title = "type" }, { key = "weighed", title = "importance", align = "left" } }
  local function add(key, title, format) list[#list + 1] = { key = key, title = title, format = format } end
  add("peer", "llama.cpp", "%.1f")
  for _, isa in ipairs(TIERS) do
    add(isa, isa, "%.1f")
    add(isa .. "x", "x", "%.1f")
  end
  for _, isa in ipairs(THREADS > 1 and TIERS or {}) do
    add(isa .. "gain", ("%s, %d threads : 1"):format(isa, THREADS), "%.2f")
  end
  add("bytes", "bytes")
  return list
end

local function first_line(command)
  local p = io.popen(command)
  local line = p and p:read "*l"
  if p then p:close() end
  return line or "?"
end

print(("%s; commit %s; million weights a second"):format(
  core.cpu().name, first_line "git rev-parse --short HEAD 2>/dev/null"))
print(("%d x %d values (%s), median of %d runs"):format(N_ROWS, N_COLS, kind[1], RUNS))
local out, all_equal = report.table(columns()), true
for _, t in ipairs(core.quant.types()) do
  if t.encodable and t.class == "quant" and (not wanted or wanted[t.name:lower()]) then
    for _, weighed in ipairs { false, true } do
      if (weighed and t.uses_importance) or not (weighed or t.needs_importance) then
        local row, same = measure(t, weighed)
        out:add(row)
        all_equal = all_equal and same
      end
    end
  end
end
print(o.markdown and out:markdown() or out:text())
os.exit(all_equal and 0 or 1)
