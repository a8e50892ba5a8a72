--- wane beside llama.cpp on synthetic models of many types: prompt and decode
--- speed, as ratios and as shares of what the machine can do; time to the
--- first token; peak memory.
---
---     make bench ARGS="--types Q4_K_M,Q8_0 --isa avx512,avx2 --threads 1,2"
---     make bench ARGS=--short                        about a minute
---     make bench ARGS="--mode batch"                 sequences decoded together
---     make bench ARGS="--mode long --lengths 512,4096,16384"
---     make bench ARGS="--size families --types Q4_K_M"  those of bench/families.lua, or names of them
---     make bench ARGS="--mode grammar"               masks of schemas: bench/grammar.lua
---     make bench ARGS="--mode frame"                 and prefix, spec: bench/host.lua
---     make bench ARGS="--mode editor"                keys in Neovim: bench/editor.lua
---
--- Models are made under build/bench and removed after use (--keep keeps
--- them; --model FILE measures a file of yours instead). Every figure comes
--- from a process of its own (bench/engine_run.lua) in which both sides take
--- turns: medians of --runs runs, or with --best the fastest of them, which is
--- the better estimate on a machine that is not idle. The limits, bandwidth
--- with 1, 4 and 8 streams a thread (core.kern.read) and the arithmetic peak of
--- the units that a tier has (core.probe), are measured in the same run,
--- bandwidth before and after every row.
local child = require "bench.child"
local host = require "bench.host"
local core = require "wane.core"
local families = require "bench.families"
local peer = require "spec.support.peer"
local synthetic = require "bench.synthetic"

local USAGE = [[
bench/engine.lua [--mode speed|batch|long|grammar|frame|prefix|spec|editor] [--size 430m,1.1b,5m,qwen35,.. | families] [--types a,b,.. | all]
                 [--isa amx,avx512,avx2] [--threads 1,2] [--prompt 512] [--decode 32]
                 [--runs 3] [--lengths 512,4096] [--kv f16] [--peer-cpu haswell]
                 [--vocab FILE] [--tokens 400] [--blocks 5] [--keys 60]
                 [--model FILE] [--short] [--best] [--keep] [--no-peer]
                 [--markdown FILE] [--json FILE]
]]

local TYPES = {
  "F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "IQ4_XS", "MXFP4", "Q3_K_M", "IQ3_XXS", "Q2_K",
  "IQ2_XS",
}
local MORE = {
  "F32", "Q5_0", "Q5_1", "Q4_1", "Q5_K_S", "Q4_K_S", "IQ4_NL", "Q3_K_S", "IQ3_S", "IQ2_S", "IQ2_XXS", "IQ1_M", "IQ1_S",
  "TQ2_0", "TQ1_0", "NVFP4",
}

local function fail(...)
  io.stderr:write("bench/engine.lua: ", table.concat({ ... }), "\n", USAGE)
  os.exit(2)
end

-- -- options ----------------------------------------------------------------------

local valued = {}
for name in ("mode size types isa threads prompt decode runs lengths kv peer-cpu model markdown json vocab tokens blocks keys"):gmatch "%S+" do
  valued[name] = true
end
local flags = { short = true, best = true, keep = true, ["no-peer"] = true }

local function parse(argv)
  local o, i = {}, 1
  while argv[i] do
    local key = argv[i]:match "^%-%-(%l[%l-]*)$"
    if key and flags[key] then
      o[key] = true
    elseif key and valued[key] then
      i = i + 1
      o[key] = argv[i] or fail("--", key, " wants a value")
    else
      fail("unknown option ", argv[i])
    end
    i = i + 1
  end
  return o
end

local function list_of(text)
  local t = {}
  for item in text:gmatch "[^,]+" do t[#t + 1] = item end
  return t
end

local o = parse(arg)
local function default(key, value, short)
  if o[key] == nil then o[key] = o.short and short or value end
end
default("mode", "speed")
default("size", "430m")
default("types", table.concat(TYPES, ","), "Q8_0,Q4_K_M,IQ3_XXS")
default("threads", "1," .. math.max(2, core.cpu().threads), tostring(core.cpu().threads))
default("prompt", "512", "128")
default("decode", "32", "12")
default("runs", "3", "2")
default("lengths", "512,2048,8192", "512,1024")
if o.size == "families" then o.size = table.concat(families.names, ",") end
local sizes = list_of(o.size)
for _, size in ipairs(sizes) do
  if not (synthetic.shapes[size] or families[size]) then fail("unknown size or family ", size) end
end
if o.types == "all" then o.types = table.concat(TYPES, ",") .. "," .. table.concat(MORE, ",") end

if host.modes[o.mode] then return host.run(o) end
if o.mode == "grammar" or o.mode == "editor" then return require("bench." .. o.mode).run(o) end

local tiers = o.isa and list_of(o.isa) or { core.cpu().best }
local threads = list_of(o.threads)
local most = tonumber(threads[#threads])

-- -- the machine ------------------------------------------------------------------

local function read_all(command)
  local p = assert(io.popen(command))
  local text = p:read "*a"
  p:close()
  return (text:gsub("%s+$", ""))
end

--- Bytes a second: [threads][streams], from memory of our own.
local function bandwidths()
  local tier, t = core.kern.tiers(), {}
  tier = tier[#tier]
  for _, n in ipairs(threads) do
    t[n] = { best = 0 }
    for _, streams in ipairs { 1, 4, 8 } do
      t[n][streams] = assert(core.kern.read(tier, 2 ^ 28, streams, tonumber(n)))
      t[n].best = math.max(t[n].best, t[n][streams])
    end
  end
  return t
end

--- Operations a second: [unit][threads].
local function peaks()
  local t = {}
  for _, unit in ipairs(core.probe.units()) do
    t[unit] = {}
    for _, n in ipairs(threads) do t[unit][n] = core.probe.peak(unit, tonumber(n)) end
  end
  return t
end

local bandwidth, peak = bandwidths(), peaks()

local rank = { avx2 = 1, avxvnni = 1, avx512 = 2, amx = 3 }
local operands = { F32 = { f32 = true }, F16 = { f32 = true, bf16 = true } }
operands.BF16 = operands.F16
local integers = { int8 = true }
--- The fastest unit that a tier may use for weights of this type, on n
--- threads: operations a second and its name. Halves in the amx tier take two
--- or three products of the unit for one that is counted here.
local function limit(tier, kind, n)
  local best, name = 0, "?"
  for unit, rates in pairs(peak) do
    local isa, operand = unit:match "^(%S+) (%S+)$"
    local fits = (operands[kind] or integers)[operand]
    if fits and rank[isa] <= (rank[tier] or 0) and rates[n] > best then best, name = rates[n], unit end
  end
  return best, name
end

local function header()
  local lines = {
    ("machine    %s, %s threads, %s"):format(core.cpu().name, core.cpu().threads, read_all "uname -srm"),
    ("commit     %s, %s"):format(read_all "git describe --always --dirty 2>/dev/null", os.date "!%Y-%m-%d %H:%M UTC"),
    ("load       %s (1, 5, 15 minutes)"):format(read_all "cut -d' ' -f1-3 /proc/loadavg"),
  }
  for _, n in ipairs(threads) do
    lines[#lines + 1] = ("bandwidth  %s thread%s: 1 stream %.1f, 4 streams %.1f, 8 streams %.1f GB/s"):format(n,
      n == "1" and "" or "s", bandwidth[n][1] / 1e9, bandwidth[n][4] / 1e9, bandwidth[n][8] / 1e9)
  end
  for _, unit in ipairs(core.probe.units()) do
    local t = {}
    for _, n in ipairs(threads) do t[#t + 1] = ("%.0f"):format(peak[unit][n] / 1e9) end
    lines[#lines + 1] = ("arithmetic %-13s %s Gop/s with %s threads"):format(unit, table.concat(t, " / "),
      table.concat(threads, " / "))
  end
  return lines
end

-- -- measuring ----------------------------------------------------------------------

--- Runs a measurement in a process of its own; a table of its results.
local function measure(tier, args)
  args.best = o.best and 1 or 0
  args.peer = o["no-peer"] and 0 or 1
  args.cpu = o["peer-cpu"]
  args.kv = o.kv
  return child.run(("WANE_ISA=%s luajit bench/engine_run.lua"):format(tier), args)
end

local function speed_of(tier, path)
  local r = measure(tier, {
    mode = "speed", path = path, threads = o.threads, prompt = o.prompt, decode = o.decode, runs = o.runs,
  })
  for _, side in ipairs { "wane", "peer" } do
    if side == "wane" or not o["no-peer"] then
      local s = measure(tier, { mode = "start", side = side, path = path, threads = most })
      for key, value in pairs(s) do r[side .. "_" .. key] = value end
    end
  end
  return r
end

-- -- tables --------------------------------------------------------------------------

local rows = {} -- for --json: flat tables

local function number(v, fmt) return v and (fmt or "%.1f"):format(v) or "-" end
local function ratio(a, b) return a and b and ("%.2f"):format(a / b) or "-" end
local function percent(a, b) return a and b and b > 0 and ("%.0f %%"):format(100 * a / b) or "-" end

--- Bytes a second on n threads: the best read before and after a row's runs,
--- since a machine that is shared may change between rows.
local function best_of(before, after, n) return math.max(before[n].best, after[n].best) end

local function speed_rows(tier, kind, r, bytes, weights, file_bytes, before, after, add)
  for _, n in ipairs(threads) do
    local prompt, decode = r["wane_prompt_" .. n], r["wane_decode_" .. n]
    local peer_prompt, peer_decode = r["peer_prompt_" .. n], r["peer_decode_" .. n]
    local top, unit = limit(tier, kind, n)
    local is_last, most_read = tonumber(n) == most, best_of(before, after, n)
    add {
      kind, tier, n, number(file_bytes / 1e6, "%.0f"),
      number(prompt, "%.0f"), number(peer_prompt, "%.0f"), ratio(prompt, peer_prompt),
      percent(prompt and 2 * weights * prompt, top),
      number(decode), number(peer_decode), ratio(decode, peer_decode),
      percent(decode and bytes * decode, most_read),
      is_last and number(r.wane_load and 1e3 * r.wane_load, "%.0f") or "",
      is_last and number(r.peer_load and 1e3 * r.peer_load, "%.0f") or "",
      is_last and number(r.wane_first and 1e3 * r.wane_first, "%.0f") or "",
      is_last and ratio(r.wane_first, r.wane_pass) or "",
      is_last and number(r.peer_first and 1e3 * r.peer_first, "%.0f") or "",
      is_last and number(r.wane_peak and r.wane_peak / 1e6, "%.0f") or "",
      is_last and number(r.peer_peak and r.peer_peak / 1e6, "%.0f") or "",
    }
    rows[#rows + 1] = {
      type = kind, isa = tier, threads = tonumber(n), file_bytes = file_bytes, peer_cpu = r.cpu,
      prompt = prompt, peer_prompt = peer_prompt, decode = decode, peer_decode = peer_decode,
      peak_unit = unit, peak_ops = top, bandwidth = most_read, bytes_per_token = bytes,
      load = is_last and r.wane_load or nil, peer_load = is_last and r.peer_load or nil,
      first = is_last and r.wane_first or nil, peer_first = is_last and r.peer_first or nil,
      pass = is_last and r.wane_pass or nil, peak_memory = is_last and r.wane_peak or nil,
      peer_peak_memory = is_last and r.peer_peak or nil,
    }
  end
end

local SPEED = {
  "type", "tier", "threads", "MB", "prompt t/s", "peer", "ratio", "of peak", "decode t/s", "peer", "ratio",
  "of bandwidth", "load ms", "peer", "first ms", "of a pass", "peer", "peak MB", "peer",
}

--- Rows of batch and long: one for each count or length.
local function series_rows(r, prefix, add)
  local keys = {}
  for name in pairs(r) do
    local n = name:match("^wane_" .. prefix .. "_(%d+)$")
    if n then keys[#keys + 1] = tonumber(n) end
  end
  table.sort(keys)
  for _, n in ipairs(keys) do add(n) end
end

local BATCH = { "type", "tier", "sequences", "t/s", "peer", "ratio", "of one sequence" }
local function batch_rows(tier, kind, r, add)
  series_rows(r, "batch", function(n)
    local ours, theirs = r["wane_batch_" .. n], r["peer_batch_" .. n]
    add { kind, tier, tostring(n), number(ours), number(theirs), ratio(ours, theirs), ratio(ours, r.wane_batch_1) }
    rows[#rows + 1] = { type = kind, isa = tier, sequences = n, rate = ours, peer_rate = theirs }
  end)
end

local LONG = { "type", "tier", "tokens held", "fill t/s", "peer", "ratio", "ms a token", "peer", "ratio" }
local function long_rows(tier, kind, r, add)
  series_rows(r, "token", function(n)
    local fill, their_fill = r["wane_fill_" .. n], r["peer_fill_" .. n]
    local token, their_token = r["wane_token_" .. n], r["peer_token_" .. n]
    add {
      kind, tier, tostring(n), number(fill, "%.0f"), number(their_fill, "%.0f"), ratio(fill, their_fill),
      number(1e3 * token, "%.2f"), number(their_token and 1e3 * their_token, "%.2f"), ratio(their_token, token),
    }
    rows[#rows + 1] = {
      type = kind, isa = tier, length = n, fill = fill, peer_fill = their_fill, token = token, peer_token = their_token,
    }
  end)
end

--- Lines of a table as they are printed: columns of fixed width.
local function plain(columns)
  return function(cells)
    local t = {}
    for i, c in ipairs(cells) do t[i] = ((i == 1 and (#sizes > 1 and "%-20s" or "%-8s") or "%" .. math.max(6, #columns[i]) .. "s")):format(c) end
    return table.concat(t, " ")
  end
end

local function json(v)
  if type(v) ~= "table" then return type(v) == "string" and ("%q"):format(v) or tostring(v) end
  local keys, t = {}, {}
  if #v > 0 then
    for i, item in ipairs(v) do t[i] = json(item) end
    return "[" .. table.concat(t, ",\n") .. "]"
  end
  for key in pairs(v) do keys[#keys + 1] = key end
  table.sort(keys)
  for i, key in ipairs(keys) do t[i] = ("%q:%s"):format(key, json(v[key])) end
  return "{" .. table.concat(t, ",") .. "}"
end

local function save(path, text)
  local f = assert(io.open(path, "w"))
  f:write(text)
  f:close()
end

-- -- all of it -------------------------------------------------------------------------

--- The file to measure: its path, bytes and weights that a token reads, and
--- whether it is ours to remove.
local function model_of(size, kind)
  if o.model then
    local g, bytes, weights = assert(core.gguf.open(o.model)), 0, 0
    for i = 1, g:info().n_tensors do
      local t = g:tensor(i)
      if #t.shape > 1 and (t.name ~= "token_embd.weight" or not g:find_tensor "output.weight") then
        bytes, weights = bytes + t.bytes, weights + t.shape[1] * t.n_rows
      end
    end
    g:close()
    return o.model, bytes, weights, false
  end
  local path = ("build/bench/%s-%s.gguf"):format(size, kind)
  local bytes, weights = synthetic.write(path, size, kind)
  return path, bytes, weights, not o.keep
end

local function file_size(path)
  local f = assert(io.open(path, "rb"))
  local n = f:seek "end"
  f:close()
  return n
end

--- The rows of one model; its size is named where there are several.
local function rows_of(size, kind, add)
  local path, bytes, weights, ours = model_of(size, kind)
  local label = #sizes > 1 and size .. " " .. kind or kind
  for _, tier in ipairs(tiers) do
    if o.mode == "speed" then
      local before = bandwidths()
      local r = speed_of(tier, path)
      speed_rows(tier, label, r, bytes, weights, file_size(path), before, bandwidths(), add)
    elseif o.mode == "batch" then
      batch_rows(tier, label, measure(tier, { mode = "batch", path = path, threads = most, runs = o.runs }), add)
    elseif o.mode == "long" then
      long_rows(tier, label, measure(tier, {
        mode = "long", path = path, threads = most, decode = o.decode, lengths = o.lengths,
      }), add)
    else
      fail("unknown mode ", o.mode)
    end
  end
  if ours then os.remove(path) end
end

local function run()
  os.execute "mkdir -p build/bench"
  local lines = header()
  print(table.concat(lines, "\n"))
  print(("model      %s; prompt %s tokens, decode %s, runs %s%s; KV %s\n"):format(o.model or o.size, o.prompt, o.decode,
    o.runs, o.best and " (fastest)" or " (median)", o.kv or "f16"))
  local columns = o.mode == "batch" and BATCH or o.mode == "long" and LONG or SPEED
  local line, markdown = plain(columns), {}
  print(line(columns))
  markdown[1] = "| " .. table.concat(columns, " | ") .. " |"
  markdown[2] = "|" .. ("---|"):rep(#columns)
  local function add(cells)
    print(line(cells))
    io.stdout:flush()
    markdown[#markdown + 1] = "| " .. table.concat(cells, " | ") .. " |"
  end
  for _, size in ipairs(o.model and { "" } or sizes) do
    for _, kind in ipairs(o.model and { "file" } or list_of(o.types)) do rows_of(size, kind, add) end
  end
  if o.markdown then
    save(o.markdown, "```\n" .. table.concat(lines, "\n") .. "\n```\n\n" .. table.concat(markdown, "\n") .. "\n")
  end
  if o.json then save(o.json, json { machine = table.concat(lines, "\n"), rows = rows } .. "\n") end
end

if o["no-peer"] == nil and not io.open(peer.dir .. "/libggml-base.so") then fail("no peer in ", peer.dir) end
run()
