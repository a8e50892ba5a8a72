--- One measurement of bench/engine.lua, in a process of its own: a model in
--- wane and in the peer, taking turns, so that a change of clock or a busy
--- neighbour meets both. Prints lines "name value" for the parent.
---
---     luajit bench/engine_run.lua mode=speed path=x.gguf threads=2 prompt=512 decode=32 runs=3
---
--- mode  speed  prompt and decode, tokens a second
---       batch  several sequences decoded together
---       long   time per token against the length of the context
---       start  side=wane|peer: load to first token, peak memory
--- best=1: the fastest run instead of the median, for a busy machine.
local child = require "bench.child"
local core = require "wane.core"
local wane = require "wane"

local o = child.args(arg)

local now = core.now

local function say(name, value) print(("%s %.6g"):format(name, value)) end

--- The middle, or the smallest, of a list of seconds.
local function typical(list)
  local middle = child.median(list)
  return o.best == 1 and list[1] or middle
end

--- n token ids that any vocabulary of 1024 or more has; no control tokens.
local function ids(n, seed)
  local x, t = seed or 7, {}
  for i = 1, n do
    x = x * 16807 % 2147483647
    t[i] = 300 + x % 700
  end
  return t
end

-- -- the two sides, one face ---------------------------------------------------

--- wane: clear(), feed(tokens), feed_all(token, n) for n sequences, rest().
local function open_wane(opts)
  local m = assert(wane.load(o.path, { threads = opts.threads, context = opts.context, kv = o.kv }))
  local batch = opts.batch or math.min(512, opts.context)
  local ctx = assert(m:context { batch = batch, sequences = opts.sequences })
  local h = ctx.handle
  local side = { name = "wane", model = m, ctx = ctx }
  function side.clear()
    for s = 1, opts.sequences or 1 do h:truncate(0, s) end
  end
  function side.keep(n) h:truncate(n) end
  function side.feed(tokens)
    for first = 1, #tokens, batch do
      local part, last = tokens, math.min(#tokens, first + batch - 1)
      if first > 1 or last < #tokens then
        part = {}
        for i = first, last do part[#part + 1] = tokens[i] end
      end
      assert(h:step(part))
    end
  end
  function side.feed_seq(tokens, seq) assert(h:step(tokens, { seq = seq })) end
  function side.feed_all(token, n)
    local t, s = {}, {}
    for i = 1, n do t[i], s[i] = token, i end
    assert(h:step(t, { seq = s, want = "all" }))
  end
  function side.rest() end
  function side.close()
    ctx:close()
    m:close()
  end
  return side
end

local function open_peer(opts)
  local peer = require "spec.support.peer"
  local m = peer.load(o.path, {
    threads = opts.threads, context = opts.context, cpu = o.cpu, pool = opts.threads > 1,
    batch = opts.batch, sequences = opts.sequences, kv = o.kv,
  })
  local llama = peer.open(o.cpu)
  local memory = llama.llama_get_memory(m.ctx)
  local side = { name = "peer", model = m, past = {} }
  function side.clear()
    m:clear()
    side.past = {}
  end
  function side.keep(n)
    assert(llama.llama_memory_seq_rm(memory, 0, n, -1))
    m.n_past = n
  end
  function side.feed(tokens)
    for first = 1, #tokens, 512 do m:eval(tokens, false, first, math.min(#tokens, first + 511)) end
  end
  local function decode(n)
    m.batch.n = n
    assert(llama.llama_decode(m.ctx, m.batch) == 0, "the peer's decode failed")
    assert(llama.llama_get_logits(m.ctx) ~= nil)
  end
  local function put(i, token, seq, want)
    local b, past = m.batch, side.past[seq] or 0
    b.token[i], b.pos[i], b.n_seq[i], b.want[i] = token, past, 1, want and 1 or 0
    b.seq[i][0] = seq - 1
    side.past[seq] = past + 1
  end
  function side.feed_seq(tokens, seq)
    for i, t in ipairs(tokens) do put(i - 1, t, seq, i == #tokens) end
    decode(#tokens)
  end
  function side.feed_all(token, n)
    for i = 1, n do put(i - 1, token, i, true) end
    decode(n)
  end
  function side.rest()
    if m.rest then m.rest() end
  end
  function side.close() m:close() end
  return side
end

local function sides(opts)
  local list = { open_wane(opts) }
  if o.peer ~= 0 then list[2] = open_peer(opts) end
  return list
end

local function close(list)
  for _, side in ipairs(list) do side.close() end
end

--- Seconds of f(side).
local function timed(side, f)
  local start = now()
  f(side)
  local seconds = now() - start
  side.rest()
  return seconds
end

-- -- modes -----------------------------------------------------------------------

local function mode_speed()
  local prompt, n = ids(o.prompt), o.decode
  for threads in tostring(o.threads):gmatch "%d+" do
    local list = sides { threads = tonumber(threads), context = math.max(o.prompt, n + 1) + 64 }
    local prompts, tokens = { {}, {} }, { {}, {} }
    local function one_prompt(side) side.feed(prompt) end
    for run = 0, o.runs do -- run 0 warms up
      for k, side in ipairs(list) do
        side.clear()
        local t = timed(side, one_prompt)
        if run > 0 then table.insert(prompts[k], t) end
      end
    end
    local next_id = ids(n + 1, 11)
    for run = 0, o.runs do
      for k, side in ipairs(list) do
        side.clear()
        side.feed { 1 }
        for i = 1, run == 0 and 2 or n do
          local start = now()
          side.feed { next_id[i] }
          if run > 0 then table.insert(tokens[k], now() - start) end
        end
        side.rest()
      end
    end
    for k, side in ipairs(list) do
      say(side.name .. "_prompt_" .. threads, #prompt / typical(prompts[k]))
      say(side.name .. "_decode_" .. threads, 1 / typical(tokens[k]))
    end
    close(list)
  end
end

local function mode_batch()
  local counts = { 1, 2, 4, 8, 16 }
  local threads = tonumber(tostring(o.threads):match "%d+$")
  local list = sides { threads = threads, context = 2048, sequences = 16 }
  for _, n in ipairs(counts) do
    local seconds = { {}, {} }
    for k, side in ipairs(list) do
      side.clear()
      for s = 1, n do side.feed_seq(ids(8, s), s) end
      side.rest()
      seconds[k] = {}
    end
    for i = 0, o.runs * 4 do
      for k, side in ipairs(list) do
        local t = timed(side, function(s) s.feed_all(300 + i, n) end)
        if i > 0 then table.insert(seconds[k], t) end
      end
    end
    for k, side in ipairs(list) do say(("%s_batch_%d"):format(side.name, n), n / typical(seconds[k])) end
  end
  close(list)
end

local function mode_long()
  local threads = tonumber(tostring(o.threads):match "%d+$")
  local lengths, last = {}, 0
  for n in tostring(o.lengths):gmatch "%d+" do
    lengths[#lengths + 1] = tonumber(n)
    last = math.max(last, tonumber(n))
  end
  local list = sides { threads = threads, context = last + 64, batch = 512 }
  local at = 0
  for _, n in ipairs(lengths) do
    for _, side in ipairs(list) do
      local t = timed(side, function(s) s.feed(ids(n - at, n)) end)
      say(("%s_fill_%d"):format(side.name, n), (n - at) / t)
      local tokens = {}
      for i = 1, o.decode do
        local start = now()
        side.feed { 300 + i }
        tokens[i] = now() - start
      end
      side.rest()
      side.keep(n)
      say(("%s_token_%d"):format(side.name, n), typical(tokens))
    end
    at = n
  end
  close(list)
end

--- A line "Name:   123 kB" of /proc/self/status, in bytes.
local function status(name)
  for line in io.lines "/proc/self/status" do
    local kb = line:match("^" .. name .. ":%s*(%d+)")
    if kb then return tonumber(kb) * 1024 end
  end
  return 0
end

local function mode_start()
  local threads = tonumber(tostring(o.threads):match "%d+$")
  local open = o.side == "peer" and open_peer or open_wane
  local prompt = ids(16)
  if o.side == "peer" then require("spec.support.peer").open(o.cpu) end
  local start = now()
  local side = open { threads = threads, context = 512 }
  say("load", now() - start)
  side.feed(prompt)
  say("first", now() - start)
  local passes = {}
  for i = 1, 5 do
    side.clear()
    passes[i] = timed(side, function(s) s.feed(prompt) end)
  end
  say("pass", typical(passes))
  say("peak", status "VmHWM")
  say("anon", status "RssAnon")
  side.close()
end

local modes = { speed = mode_speed, batch = mode_batch, long = mode_long, start = mode_start }
assert(modes[o.mode], "unknown mode")()
if o.mode ~= "start" and o.peer ~= 0 then print("cpu " .. require("spec.support.peer").cpu_name()) end
