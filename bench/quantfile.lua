--- How long wane and llama.cpp take to quantize a whole file, in how much
--- memory, and whether the tensors they write are equal.
---
---     make bench-quantfile ARGS="--rounds 3 --markdown"
---
--- The source is a model of 430 million random F16 weights (24 layers, 1024
--- wide, tied embeddings), made once under build/bench. Every run is a process
--- of its own, so that its peak memory is its own; runs of the two take turns,
--- wane first and last, so that a busy neighbour meets both; one more of wane
--- on a single thread shows what threads gain. Times are medians
--- of the work itself, from opening the source to the finished file; the ratio
--- of processor times stands beside that of times, which neighbours disturb.
local ffi = require "ffi"
local core = require "wane.core"
local gguf = require "wane.gguf"
local imatrix = require "wane.imatrix"
local peer = require "spec.support.peer"
local report = require "wane.report"
local rows = require "spec.support.rows"

local USAGE = [[
bench/quantfile.lua [--mixes Q4_K_M,IQ3_XXS] [--threads n] [--rounds n]
                    [--layers n] [--vocab n] [--keep] [--markdown]
]]

-- llama.cpp's numbers of the mixes, and whether they want importance here.
local MIXES = {
  Q8_0 = { 7 }, Q4_0 = { 2 }, Q4_K_M = { 15 }, Q5_K_M = { 17 }, Q6_K = { 18 },
  Q2_K = { 10, true }, IQ4_XS = { 30, true }, IQ3_XXS = { 23, true }, IQ2_XS = { 20, true },
}

local function usage(problem)
  io.stderr:write("bench/quantfile.lua: ", problem, "\n", USAGE)
  os.exit(2)
end

local function parse(argv)
  local o = { mixes = "Q4_K_M,IQ3_XXS", threads = 2, rounds = 1, layers = 24, vocab = 143360 }
  local i = 1
  while argv[i] do
    local key = argv[i]:match "^%-%-(%l+)$"
    if key == "keep" or key == "markdown" then
      o[key] = true
      i = i + 1
    else
      if not (key and o[key]) then usage("unknown option " .. argv[i]) end
      local v = argv[i + 1] or usage("--" .. key .. " wants a value")
      o[key] = key == "mixes" and v:upper() or tonumber(v) or usage("--" .. key .. " wants a number")
      i = i + 2
    end
  end
  return o
end

-- The source ------------------------------------------------------------------

local WIDTH, FF, KV = 1024, 3072, 128

local function shapes(o)
  local list = {}
  local function add(name, ...) list[#list + 1] = { name = name .. ".weight", shape = { ... } } end
  add("token_embd", WIDTH, o.vocab)
  for i = 0, o.layers - 1 do
    local b = ("blk.%d."):format(i)
    add(b .. "attn_norm", WIDTH)
    add(b .. "attn_q", WIDTH, WIDTH)
    add(b .. "attn_k", WIDTH, KV)
    add(b .. "attn_v", WIDTH, KV)
    add(b .. "attn_output", WIDTH, WIDTH)
    add(b .. "ffn_norm", WIDTH)
    add(b .. "ffn_gate", WIDTH, FF)
    add(b .. "ffn_up", WIDTH, FF)
    add(b .. "ffn_down", FF, WIDTH)
  end
  add("output_norm", WIDTH)
  return list
end

--- A function that gives n bytes of `pool` in chunks, from another place for
--- every tensor; the pool is long, and its length odd against any row.
local function feeder(pool, n, start)
  local at = start % (#pool / 2) * 2
  return function()
    if n == 0 then return nil end
    local some = math.min(n, #pool - at, 2 ^ 21)
    local chunk = pool:sub(at + 1, at + some)
    at, n = (at + some) % #pool, n - some
    return chunk
  end
end

--- Gaussian values as F16, all one string.
local function f16_pool()
  local list = rows.make(rows.kinds[1], 1, 1, 2 ^ 22 - 6)
  return core.quant.encode("f16", core.quant.buffer(1, #list, list)):bytes()
end

--- Writes the source unless it is there; returns its path and its weights.
local function make_source(o)
  local path = ("build/bench/source-%d-%d.gguf"):format(o.layers, o.vocab)
  local tensors, n_weights = shapes(o), 0
  for _, t in ipairs(tensors) do
    t.n = t.shape[1] * (t.shape[2] or 1)
    n_weights = n_weights + t.n
  end
  local there = io.open(path)
  if there then
    there:close()
    return path, n_weights
  end
  local pool, norm = f16_pool(), { "norm", function(r) return 0.9 + 0.2 * r() end }
  for i, t in ipairs(tensors) do
    local n = t.n
    t.n = nil
    if t.shape[2] then
      t.type, t.data = "f16", feeder(pool, 2 * n, i * 77773)
    else
      t.type, t.data = "f32", core.quant.buffer(1, n, rows.make(norm, i, 1, n)):bytes()
    end
  end
  assert(gguf.write { path = path, tensors = tensors, meta = {
    { "general.architecture", "string", "llama" },
    { "llama.block_count", "u32", o.layers },
    { "llama.context_length", "u32", 4096 },
    { "llama.embedding_length", "u32", WIDTH },
    { "llama.feed_forward_length", "u32", FF },
    { "llama.attention.head_count", "u32", WIDTH / 64 },
    { "llama.attention.head_count_kv", "u32", KV / 64 },
    { "llama.attention.layer_norm_rms_epsilon", "f32", 2 ^ -17 },
    { "llama.vocab_size", "u32", o.vocab },
  } })
  return path, n_weights
end

--- An importance matrix for all matrices of the source.
local function make_imatrix(o)
  local path, entries = "build/bench/imatrix.gguf", {}
  for i, t in ipairs(shapes(o)) do
    if t.shape[2] then entries[t.name] = rows.make({ "w", rows.importances[2][2] }, i, 1, t.shape[1]) end
  end
  assert(imatrix.new(entries):save(path, { overwrite = true }))
  return path
end

-- Child processes -------------------------------------------------------------

ffi.cdef [[ typedef struct { const char *name; const float *data; size_t size; } bench_importance; ]]

local children = {}

function children.wane(from, to, mix, threads, matrix)
  assert(require "wane.quantize" {
    from = from, to = to, recipe = mix, threads = threads, imatrix = matrix, overwrite = true, resume = false,
  })
end

function children.peer(from, to, mix, threads, matrix)
  local list, kept
  if matrix then
    local im = assert(imatrix.open(matrix))
    local names = im:names()
    list, kept = ffi.new("bench_importance[?]", #names + 1), {}
    for i, name in ipairs(names) do
      kept[i] = { name, assert(im:values(name)) }
      list[i - 1] = { name, ffi.cast("const float *", kept[i][2]), #kept[i][2] / 4 }
    end
  end
  local rc = peer.quantize_file(from, to, MIXES[mix][1], { threads = threads, imatrix = list })
  assert(rc == 0 and (kept or true), "llama.cpp failed")
end

--- A run in this process: prints seconds, processor seconds and the peak
--- of its memory in KiB.
local function child(who, from, to, mix, threads, matrix)
  if who == "peer" then peer.open() end
  local start, cpu = core.stream.now(), os.clock()
  children[who](from, to, mix, tonumber(threads), matrix)
  local seconds = core.stream.now() - start
  local status = assert(io.open "/proc/self/status")
  local peak = status:read("*a"):match "VmHWM:%s*(%d+)"
  status:close()
  print(("seconds %.3f cpu %.3f peak %s"):format(seconds, os.clock() - cpu, peak))
end

--- Runs a child; seconds, bytes of memory, processor seconds.
local function run(who, from, to, mix, o, matrix)
  os.remove(to)
  local p = io.popen(("luajit bench/quantfile.lua --child %s %s %s %s %d %s"):format(
    who, from, to, mix, o.threads, matrix or ""))
  local said = p:read "*a"
  p:close()
  local seconds, cpu, peak = said:match "seconds (%S+) cpu (%S+) peak (%d+)"
  assert(seconds, who .. " failed: " .. said)
  return tonumber(seconds), tonumber(peak) * 1024, tonumber(cpu)
end

-- Comparing -------------------------------------------------------------------

--- True when both files hold the same tensors with the same bytes.
local function same_tensors(a, b)
  local f, g = assert(gguf.open(a)), assert(gguf.open(b))
  local same, n = true, 0
  for i = 1, f._n_tensors do
    local t = f._g:tensor(i)
    local j = g._g:find_tensor(t.name)
    local u = j and g._g:tensor(j)
    if not u or u.type ~= t.type or u.bytes ~= t.bytes then same = false break end
    for off = 0, t.bytes - 1, 2 ^ 22 do
      local some = math.min(2 ^ 22, t.bytes - off)
      if f._g:read(i, off, some) ~= g._g:read(j, off, some) then same = false end
    end
    n = n + 1
  end
  same = same and n == g._n_tensors and n > 0
  f:close()
  g:close()
  return same
end

local function median(list)
  table.sort(list)
  return (list[math.floor((#list + 1) / 2)] + list[math.ceil((#list + 1) / 2)]) / 2
end

--- One mix: a row of the table.
local function measure(mix, source, n_weights, o)
  if not MIXES[mix] then usage("unknown mix " .. mix) end
  local matrix = MIXES[mix][2] and make_imatrix(o) or nil
  local ours, theirs = "build/bench/wane.gguf", "build/bench/peer.gguf"
  local a, b, our_peak, peer_peak = { cpu = {} }, { cpu = {} }, 0, 0
  local function turn(who, to, list, peak)
    local seconds, bytes, cpu = run(who, source, to, mix, o, matrix)
    list[#list + 1] = seconds
    list.cpu[#list.cpu + 1] = cpu
    return math.max(peak, bytes)
  end
  our_peak = turn("wane", ours, a, our_peak)
  for _ = 1, o.rounds do
    peer_peak = turn("peer", theirs, b, peer_peak)
    our_peak = turn("wane", ours, a, our_peak)
  end
  local alone = run("wane", source, ours, mix, { threads = 1 }, matrix)
  local same = same_tensors(ours, theirs)
  if not o.keep then
    os.remove(ours)
    os.remove(theirs)
  end
  local t, u = median(a), median(b)
  return {
    mix = mix .. (matrix and " with importance" or ""), peer = u, wane = t, ratio = u / t,
    gain = alone / t, cpu_ratio = median(b.cpu) / median(a.cpu),
    rate = n_weights / t * 1e-6, peer_peak = peer_peak / 2 ^ 20, our_peak = our_peak / 2 ^ 20,
    bytes = same and "equal" or "DIFFERENT",
  }, same
end

if arg[1] == "--child" then
  child(arg[2], arg[3], arg[4], arg[5], arg[6], arg[7])
  os.exit(0)
end

local o = parse(arg)
os.execute "mkdir -p build/bench"
local source, n_weights = make_source(o)
local t = report.table {
  { key = "mix", title = "mix" },
  { key = "peer", title = "llama.cpp s", format = "%.1f" },
  { key = "wane", title = "wane s", format = "%.1f" },
  { key = "ratio", title = "times", format = "%.1f" },
  { key = "cpu_ratio", title = "times (CPU)", format = "%.1f" },
  { key = "gain", title = "threads gain", format = "%.2f" },
  { key = "rate", title = "Mweights/s", format = "%.0f" },
  { key = "peer_peak", title = "llama.cpp MiB", format = "%.0f" },
  { key = "our_peak", title = "wane MiB", format = "%.0f" },
  { key = "bytes", title = "tensors" },
}
local all_equal = true
for mix in o.mixes:gmatch "[^,]+" do
  local row, same = measure(mix, source, n_weights, o)
  t:add(row)
  all_equal = all_equal and same
end
print(("%s; %d M weights (F16), %d threads, %d round%s"):format(
  core.cpu().name, n_weights / 1e6, o.threads, o.rounds, o.rounds == 1 and "" or "s"))
print(o.markdown and t:markdown() or t:text())
os.exit(all_equal and 0 or 1)
