--- How fast wane encodes beside llama.cpp's own encoder, on the same rows in
--- the same process, and whether the bytes are equal.
---
---     make bench-quant ARGS="--types q4_K,q6_K --isa avx2,avx512 --threads 2"
---
--- Each figure is the median of several runs; the two take turns, so that a
--- change of clock or a busy neighbour meets both. One call encodes all rows.
--- With `--threads n`, n copies of this process encode at once.
local ffi = require "ffi"
local core = require "wane.core"
local peer = require "spec.support.peer"
local rows = require "spec.support.rows"

ffi.cdef [[
typedef struct { long s, ns; } bench_time;
int clock_gettime(int, bench_time *);
int fork(void);
int waitpid(int, int *, int);
void _exit(int);
]]

local USAGE = [[
bench/quant.lua [--types a,b,..] [--isa a,b,..] [--threads n] [--rows n]
                [--cols n] [--runs n] [--kind gauss|heavy|..]
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

--- Options as a table of strings.
local function parse(argv)
  local known = names "types,isa,threads,rows,cols,runs,kind"
  local o, i = {}, 1
  while argv[i] do
    local key = argv[i]:match "^%-%-(%l+)$"
    if not (key and known[key]) then usage("unknown option " .. argv[i]) end
    o[key] = argv[i + 1] or usage("--" .. key .. " wants a value")
    i = i + 2
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
local RUNS, THREADS = number(o, "runs", 7), number(o, "threads", 1)
local wanted, isas = names(o.types), names(o.isa)

local stamp = ffi.new "bench_time"
local function now()
  ffi.C.clock_gettime(1, stamp)
  return tonumber(stamp.s) + tonumber(stamp.ns) * 1e-9
end

--- Seconds of `times` calls of f by each of THREADS processes at once.
local function timed(f, times)
  collectgarbage "stop"
  local start, children = now(), {}
  for i = 2, THREADS do
    local pid = ffi.C.fork()
    assert(pid >= 0, "cannot fork")
    if pid == 0 then
      for _ = 1, times do
        f()
      end
      ffi.C._exit(0)
    end
    children[i] = pid
  end
  for _ = 1, times do
    f()
  end
  for i = 2, THREADS do
    ffi.C.waitpid(children[i], nil, 0)
  end
  local seconds = now() - start
  collectgarbage "restart"
  collectgarbage()
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

--- Measures one type: prints a line.
local function measure(t, isa, weighed)
  local n_bytes = N_ROWS * N_COLS / t.block * t.bytes
  local dst = ffi.new("uint8_t[?]", n_bytes)
  local imatrix, importance = weighed and weights or nil, weighed and weights_buffer or nil
  local function theirs() peer.base.ggml_quantize_chunk(t.id, src, dst, 0, N_ROWS, N_COLS, imatrix) end
  local function encode() return assert(core.quant.encode(t.id, buffer, importance)) end
  local function ours() encode():close() end
  theirs()
  local same = encode():bytes() == ffi.string(dst, n_bytes)
  local n_theirs, n_ours = calls_for(0.03, theirs), calls_for(0.03, ours)
  local a, b = {}, {}
  for i = 1, RUNS do
    a[i] = timed(theirs, n_theirs) / n_theirs
    b[i] = timed(ours, n_ours) / n_ours
  end
  local m = N_ROWS * N_COLS * THREADS * 1e-6
  local peer_rate, our_rate = m / median(a), m / median(b)
  print(("%-8s %-7s %-11s %12.1f %12.1f %8.1f  %s"):format(
    t.name, isa, weighed and "importance" or "-", peer_rate, our_rate,
    our_rate / peer_rate, same and "equal" or "DIFFERENT BYTES"))
  return same
end

--- The tiers to measure: those asked for, else the one in force.
local function tiers()
  local list = {}
  if not isas then return { core.cpu().isa } end
  for _, isa in ipairs { "ref", "neon", "avx2", "avx512", "amx" } do
    if isas[isa] then
      if core.set_isa(isa) then list[#list + 1] = isa else print("(this machine has no " .. isa .. ")") end
    end
  end
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
print(("%d x %d values (%s), %d at once, median of %d runs"):format(
  N_ROWS, N_COLS, kind[1], THREADS, RUNS))
print(("%-8s %-7s %-11s %12s %12s %8s  %s"):format(
  "type", "isa", "weighed by", "llama.cpp", "wane", "ratio", "bytes"))
local all_equal = true
for _, isa in ipairs(tiers()) do
  core.set_isa(isa)
  for _, t in ipairs(core.quant.types()) do
    if t.encodable and t.class == "quant" and (not wanted or wanted[t.name:lower()]) then
      if not t.needs_importance then all_equal = measure(t, isa, false) and all_equal end
      if t.uses_importance then all_equal = measure(t, isa, true) and all_equal end
    end
  end
end
os.exit(all_equal and 0 or 1)
