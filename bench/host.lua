--- What a host feels: the time of a frame, of a second turn, of a guess.
---
---     make bench ARGS="--mode frame"      a prompt of 1500 tokens inside a 60 Hz loop, 2 ms a frame; cancel and close
---     make bench ARGS="--mode prefix"     the second turn of a conversation, with and without what the context holds
---     make bench ARGS="--mode spec"       guessing ahead, by lookup and by a smaller companion
---
--- frame and prefix run on a synthetic model of 134 M weights in Q4_K_M (or
--- --model FILE), spec on the demo model: its texts are texts. The tables have
--- wane alone: what llama.cpp has to set beside them is its server, not its
--- library.
local core = require "wane.core"
local synthetic = require "bench.synthetic"
local wane = require "wane"

local M = {}

local DEMO, FRAME = "examples/models/demo-f16.gguf", 1 / 60
local now = core.now

-- n token ids that any vocabulary of 1024 or more has; no control tokens.
local function ids(n, seed)
  local x, t = seed, {}
  for i = 1, n do
    x = x * 16807 % 2147483647
    t[i] = 300 + x % 700
  end
  return t
end

local function sleep_until(t)
  while now() < t do end
end

local function percentile(sorted, p) return sorted[math.max(1, math.ceil(#sorted * p))] end

-- The model to measure: --model, or the synthetic one.
local function open(o, threads)
  local path = o.model
  if not path then
    os.execute "mkdir -p build/bench"
    path = "build/bench/134m-Q4_K_M.gguf"
    synthetic.write(path, "134m", "Q4_K_M")
  end
  return assert(wane.load(path, { threads = threads, context = 2048 })), path
end

--- Milliseconds of every frame that worked on a prompt, sorted, and the tokens
--- a second that the prompt came to in them.
function M.frames(model, n_prompt, ms, hz)
  local gen = model:generate(ids(n_prompt, 7), { max_tokens = 32, temperature = 0 })
  local times, start = {}, now()
  repeat
    local t0 = now()
    local text, running = gen:step { ms = ms }
    times[#times + 1] = 1e3 * (now() - t0)
    assert(text, running)
    if hz then sleep_until(start + #times * FRAME) end
  until not running
  local stats = gen:stats()
  table.sort(times)
  return times, stats
end

local function mode_frame(o, say)
  local model = open(o, o.threads)
  local warm = ids(64, 3)
  for _ in model:generate(warm, { max_tokens = 8, temperature = 0 }) do end
  say { "threads", "budget ms", "frames", "within 3 ms of it", "median ms", "99 %", "longest", "prompt t/s worked" }
  for _, ms in ipairs { 2, 4, 8 } do
    local times, stats = M.frames(model, 1500, ms, true)
    local within = 0
    for _, t in ipairs(times) do if t <= ms + 3 then within = within + 1 end end
    say {
      o.threads, ms, #times, ("%.2f %%"):format(100 * within / #times), ("%.2f"):format(percentile(times, 0.5)),
      ("%.2f"):format(percentile(times, 0.99)), ("%.2f"):format(times[#times]),
      ("%.0f"):format(stats.n_prompt / stats.prompt_seconds),
    }
  end
  local ctx, longest = assert(model:context()), 0
  for k = 1, 20 do
    local job = assert(model:start(ids(1500, k), { context = ctx, reuse = true }))
    sleep_until(now() + 0.003 * k)
    local t0 = now()
    job:cancel()
    job:close()
    longest = math.max(longest, now() - t0)
    assert(core.job.idle(ctx.handle, 30))
  end
  print(("\ncancel and close in the middle of a prompt: at most %.3f ms for the caller (20 times)"):format(1e3 * longest))
  ctx:close()
  model:close()
end

-- Seconds to the first token of a prompt on a context.
local function first_token(model, ctx, prompt, reuse)
  local t0 = now()
  local gen = model:generate(prompt, { context = ctx, reuse = reuse, max_tokens = 1, temperature = 0 })
  local text, running
  repeat text, running = gen:step() until not running
  local t = now() - t0
  assert(text, running)
  local stats = gen:stats()
  gen:close()
  return t, stats
end

local function mode_prefix(o, say)
  local model = open(o, o.threads)
  say { "held", "new", "anew ms", "second turn ms", "times faster", "taken over" }
  for _, n in ipairs { 256, 512, 1024, 1536 } do
    local turn = ids(n, n)
    local ctx = assert(model:context { sequences = 2 })
    first_token(model, ctx, turn, true)
    for _, id in ipairs(ids(32, 5)) do turn[#turn + 1] = id end
    local again, stats = first_token(model, ctx, turn, true)
    ctx:close()
    ctx = assert(model:context())
    local anew = first_token(model, ctx, turn, true)
    ctx:close()
    say {
      n, 32, ("%.0f"):format(1e3 * anew), ("%.0f"):format(1e3 * again), ("%.1f"):format(anew / again), stats.n_reused,
    }
  end
  model:close()
end

local function text_of(model, prompt, opts)
  local parts, t0 = {}, now()
  local gen = model:generate(prompt, opts)
  for text in gen do parts[#parts + 1] = text end
  return table.concat(parts), gen:stats(), now() - t0
end

local function mode_spec(o, say)
  local model = assert(wane.load(o.model or DEMO, { threads = o.threads, context = 1024 }))
  local small = "build/bench/companion.gguf"
  os.execute "mkdir -p build/bench"
  assert(wane.quantize { from = o.model or DEMO, to = small, recipe = "Q4_0", overwrite = true, progress = function() end })
  local companion = assert(wane.load(small, { threads = o.threads, context = 1024 }))
  local passage = "He said: the king of the golden mountain. She said: the king of the golden mountain. He said:"
  local cases = {
    { "story", "Once upon a time there was a miller", { temperature = 0 } },
    { "story, sampled", "Once upon a time there was a miller", { temperature = 0.8, seed = 3 } },
    { "quotation", passage, { temperature = 0 } },
  }
  say { "text", "guessed by", "t/s", "times faster", "guesses right", "same text" }
  for _, case in ipairs(cases) do
    local opts = case[3]
    opts.max_tokens = 200
    local plain, stats, seconds = text_of(model, case[2], opts)
    say { case[1], "nobody", ("%.0f"):format(stats.n_tokens / seconds), "1.00", "-", "-" }
    for _, draft in ipairs { "prompt", companion } do
      opts.draft, opts.draft_tokens = draft, 5
      local text, s, t = text_of(model, case[2], opts)
      say {
        case[1], draft == "prompt" and "lookup" or "companion", ("%.0f"):format(s.n_tokens / t),
        ("%.2f"):format(seconds / t), ("%d of %d"):format(s.n_accepted, s.n_drafted), text == plain and "yes" or "NO",
      }
    end
    opts.draft, opts.draft_tokens = nil, nil
  end
  for _, x in ipairs { companion, model } do x:close() end
  os.remove(small)
end

M.modes = { frame = mode_frame, prefix = mode_prefix, spec = mode_spec }

--- Runs one of them; options of bench/engine.lua that it understands: model,
--- threads.
function M.run(o)
  print(("machine    %s, %s threads"):format(core.cpu().name, core.cpu().threads))
  local threads = tonumber(tostring(o.threads):match "%d+$")
  M.modes[o.mode]({ model = o.model, threads = threads }, function(cells)
    local t = {}
    for i, c in ipairs(cells) do t[i] = ("%-18s"):format(tostring(c)) end
    print(table.concat(t, " "))
    io.stdout:flush()
  end)
end

return M
