--- One measurement of bench/overhead.lua, in a process of its own. Runs under
--- any Lua; prints lines "name value" for the parent.
---
---     lua5.4 bench/overhead_run.lua mode=share path=x.gguf threads=2 runs=15
---
--- mode  share       what a token generated through the Lua face takes outside
---                   the C core, beside all it takes
---       perplexity  tokens a second of wane.eval.perplexity, of the same
---                   steps alone, and of prompts as long
local child = require "bench.child"
local core = require "wane.core"
local wane = require "wane"

local o = child.args(arg)
local now = core.now
local median = child.median

local function say(name, value) print(("%s %.6g"):format(name, value)) end

--- n token ids that any vocabulary of 1024 or more has; no control tokens.
local function ids(n)
  local x, t = 7, {}
  for i = 1, n do
    x = x * 16807 % 2147483647
    t[i] = 300 + x % 700
  end
  return t
end

--- Seconds of a token, and those of them outside the core, of one text.
local function generate(model, seed)
  local ctx, stats = assert(model:context { context = 512 }), nil
  local start
  local opts = { max_tokens = 256, temperature = 0, seed = seed, context = ctx, on_end = function(s) stats = s end }
  for _ in model:generate(ids(4), opts) do
    start = start or now() -- the prompt is behind us
  end
  local seconds = now() - start
  ctx:close()
  -- the core's own clock counts the first token too
  local inside = stats.token_seconds * (stats.n_tokens - 1) / stats.n_tokens
  return seconds / (stats.n_tokens - 1), (seconds - inside) / (stats.n_tokens - 1)
end

local function mode_share()
  local model, all, outside = assert(wane.load(o.path, { threads = o.threads })), {}, {}
  for run = 0, o.runs do
    local token, lua = generate(model, run)
    if run > 0 then all[run], outside[run] = token, lua end
    collectgarbage()
  end
  say("token", median(all))
  say("outside", median(outside))
  model:close()
end

local CONTEXT, CHUNKS = 512, 4

local function mode_perplexity()
  local model = assert(wane.load(o.path, { threads = o.threads }))
  local all = ids(CONTEXT * CHUNKS)
  local ctx = assert(model:context { context = CONTEXT, batch = CONTEXT })
  local prompt, scored, want = {}, {}, {}
  for i = 1, CONTEXT do prompt[i] = all[i] end
  for i = 1, CONTEXT - 1 do scored[i], want[i] = all[i], i > CONTEXT / 2 end
  local seconds = { prompt = {}, steps = {}, perplexity = {} }
  local function time(name, f)
    local start = now()
    f()
    table.insert(seconds[name], now() - start)
  end
  local function steps(tokens, wanted)
    for _ = 1, CHUNKS do
      ctx:truncate(0)
      assert(ctx:step(tokens, wanted))
    end
  end
  for run = 0, o.runs do
    if run == 1 then seconds = { prompt = {}, steps = {}, perplexity = {} } end -- run 0 warms up
    time("prompt", function() steps(prompt) end)
    time("steps", function() steps(scored, { want = want }) end)
    time("perplexity", function() assert(wane.eval.perplexity(model, all, { context = CONTEXT, threads = o.threads })) end)
  end
  for name, list in pairs(seconds) do say(name, #all / median(list)) end
  ctx:close()
  model:close()
end

local modes = { share = mode_share, perplexity = mode_perplexity }
assert(modes[o.mode], "unknown mode")()
