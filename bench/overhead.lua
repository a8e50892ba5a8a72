--- What is not arithmetic: barriers, starting a run of the pool, the Lua around
--- a token, scoring. A model so small that these show: 5 M weights, beside
--- llama.cpp; and the demo model.
---
---     make bench-overhead ARGS="--types TQ2_0,Q8_0 --threads 1,2 --runs 3"
---
--- Half a minute. Barriers are counted in the programs themselves; a barrier
--- and an empty run are timed alone (core.probe); every model is measured in
--- processes of its own, wane and the peer taking turns (bench/engine_run.lua,
--- bench/overhead_run.lua). Figures are medians.
local child = require "bench.child"
local core = require "wane.core"
local model = require "wane.model"
local peer = require "spec.support.peer"
local synthetic = require "bench.synthetic"

local USAGE = [[
bench/overhead.lua [--types F16,Q8_0,..] [--threads 1,2] [--runs 3] [--decode 200] [--no-peer]
]]
local DEMO = "examples/models/demo-f16.gguf"

local function fail(...)
  io.stderr:write("bench/overhead.lua: ", table.concat({ ... }), "\n", USAGE)
  os.exit(2)
end

local o = { types = "F16,Q8_0,Q4_0,Q4_K_M,TQ2_0", threads = "1," .. math.max(2, core.cpu().threads), runs = "3",
  decode = "200" }
local i = 1
while arg[i] do
  local key = arg[i]:match "^%-%-(%l[%l-]*)$"
  if key == "no-peer" then
    o[key] = true
  elseif o[key] and arg[i + 1] then
    i = i + 1
    o[key] = arg[i]
  else
    fail("unknown option ", arg[i])
  end
  i = i + 1
end

local function list_of(text)
  local t = {}
  for item in text:gmatch "[^,]+" do t[#t + 1] = item end
  return t
end

local threads = list_of(o.threads)
local builds = os.getenv "WANE_BUILD" or "build"

-- -- barriers -----------------------------------------------------------------------

--- Barriers that a decoded token meets in a model of this shape.
local function count_barriers(shape)
  local path = "build/bench/barriers.gguf"
  synthetic.write(path, shape, "q8_0")
  local m = assert(model.load(path))
  os.remove(path)
  local ctx = assert(m:context { threads = 2 })
  assert(ctx:step { 1 })
  local n = ctx:info().regions
  ctx:close()
  m:close()
  return n
end

local function barriers_per_layer(experts)
  local shape = { width = 64, ff = 64, heads = 2, kv = 2, vocab = 512, experts = experts, used = experts and 2 }
  shape.layers = 1
  local one = count_barriers(shape)
  shape.layers = 5
  return (count_barriers(shape) - one) / 4
end

local function show_barriers()
  print(("barriers   a layer: %g, with experts %g"):format(barriers_per_layer(), barriers_per_layer(4)))
  for _, n in ipairs(threads) do
    local k = tonumber(n)
    print(("threads    %s: a barrier %.2f us; an empty run %.2f us, %.0f us when the threads sleep"):format(n,
      1e6 * core.probe.barrier(k), 1e6 * core.probe.run(k, 0), 1e6 * core.probe.run(k, 0.005)))
  end
end

-- -- models --------------------------------------------------------------------------

--- Lines of cells in columns.
local function row(cells, widths)
  local t = {}
  for k, c in ipairs(cells) do t[k] = (k == 1 and "%%-%ds" or "%%%ds"):format(widths[k]):format(c) end
  print(table.concat(t, " "))
  io.stdout:flush()
end

local function us(rate) return rate and ("%.1f"):format(1e6 / rate) or "-" end
local function percent(part, all) return ("%.2f %%"):format(100 * part / all) end

local function files()
  local t = {}
  for _, kind in ipairs(list_of(o.types)) do
    local path = ("build/bench/5m-%s.gguf"):format(kind)
    synthetic.write(path, "5m", kind)
    t[#t + 1] = { name = "5M " .. kind, path = path, ours = true }
  end
  t[#t + 1] = { name = "demo F16", path = DEMO }
  return t
end

local function show_decoding(list)
  local widths = { 12, 7, 10, 10, 6 }
  row({ "decoding", "threads", "us a token", "peer", "ratio" }, widths)
  for _, f in ipairs(list) do
    local r = child.run("luajit bench/engine_run.lua", {
      mode = "speed", path = f.path, threads = o.threads, prompt = 16, decode = o.decode, runs = o.runs, best = 0,
      peer = o["no-peer"] and 0 or 1,
    })
    for _, n in ipairs(threads) do
      local ours, theirs = r["wane_decode_" .. n], r["peer_decode_" .. n]
      row({ f.name, n, us(ours), us(theirs), ours and theirs and ("%.2f"):format(ours / theirs) or "-" }, widths)
    end
  end
end

--- Each Lua that was built, with the start of its command line.
local function interpreters()
  local t = {}
  for _, lua in ipairs { "lua5.4", "luajit" } do
    local f = io.open(("%s/%s/wane/core.so"):format(builds, lua))
    if f then
      f:close()
      t[#t + 1] = { name = lua, command = ("LUA_CPATH='./%s/%s/?.so;;' %s"):format(builds, lua, lua) }
    end
  end
  return t
end

local function show_share(list)
  local widths = { 12, 7, 8, 10, 14, 8 }
  row({ "generating", "threads", "Lua", "us a token", "outside C, us", "share" }, widths)
  for _, f in ipairs { list[#list - 1], list[#list] } do
    for _, n in ipairs(threads) do
      for _, lua in ipairs(interpreters()) do
        local r = child.run(lua.command .. " bench/overhead_run.lua", { mode = "share", path = f.path, threads = n, runs = 11 })
        row({ f.name, n, lua.name, us(1 / r.token), ("%.2f"):format(1e6 * r.outside), percent(r.outside, r.token) }, widths)
      end
    end
  end
end

local function show_perplexity(list)
  local widths = { 12, 7, 12, 12, 12, 10, 10 }
  row({ "perplexity", "threads", "t/s", "steps alone", "prompt", "of steps", "of prompt" }, widths)
  for _, f in ipairs { list[1], list[#list] } do
    for _, n in ipairs(threads) do
      local r = child.run("luajit bench/overhead_run.lua", { mode = "perplexity", path = f.path, threads = n, runs = 7 })
      row({ f.name, n, ("%.0f"):format(r.perplexity), ("%.0f"):format(r.steps), ("%.0f"):format(r.prompt),
        percent(r.perplexity, r.steps), percent(r.perplexity, r.prompt) }, widths)
    end
  end
end

if not o["no-peer"] and not io.open(peer.dir .. "/libggml-base.so") then fail("no peer in ", peer.dir) end
os.execute "mkdir -p build/bench"
print(("machine    %s, %s threads"):format(core.cpu().name, core.cpu().threads))
show_barriers()
local list = files()
print()
show_decoding(list)
print()
show_share(list)
print()
show_perplexity(list)
for _, f in ipairs(list) do
  if f.ours then os.remove(f.path) end
end
