-- What gradients are worth on the demo model:
--   luajit bench/gradients.lua lora     an adapter to the style of docs/, one page held out
--   luajit bench/gradients.lua prices   prices of tensors beside measured losses: rank correlation
--   luajit bench/gradients.lua guide    guided GPTQ beside plain: divergence on texts not calibrated on
--   luajit bench/gradients.lua norms    norms of a quantized file, taught by the F16 model
--   luajit bench/gradients.lua learn [recipe [steps]]   learned numbers on top of GPTQ over the same text
--   luajit bench/gradients.lua step [tokens]   time of a step of random models of real shapes, beside the float limit
-- (LUA_PATH and LUA_CPATH as `make repl` sets them.)
local wane = require "wane"
local stats = require "wane.stats"

local DEMO = "examples/models/demo-f16.gguf"
local TMP = os.getenv "WANE_TMP" or "build/tmp"
local what = arg[1]

local function slurp(path)
  local f = assert(io.open(path, "rb"))
  local s = f:read "*a"
  f:close()
  return s
end

local function say(...)
  io.write(string.format(...), "\n")
  io.flush()
end

-- Spearman's coefficient.
local function ranks(list)
  local index, rank = {}, {}
  for i = 1, #list do index[i] = i end
  table.sort(index, function(a, b) return list[a] < list[b] end)
  for k, i in ipairs(index) do rank[i] = k end
  return rank
end
local function correlation(a, b)
  local ra, rb, sum, n = ranks(a), ranks(b), 0, #a
  for i = 1, n do sum = sum + (ra[i] - rb[i]) ^ 2 end
  return 1 - 6 * sum / (n * (n * n - 1))
end

local HELD_PAGE = "docs/judging.md"

local function lora()
  local pages, p = {}, assert(io.popen "ls docs/*.md")
  for page in p:lines() do
    if page ~= HELD_PAGE and page ~= "docs/reference.md" then pages[#pages + 1] = slurp(page) end
  end
  p:close()
  local base = TMP .. "/tune-base.gguf"
  assert(wane.quantize { from = DEMO, to = base, recipe = "Q4_K_M", overwrite = true })
  local held, to = slurp(HELD_PAGE), TMP .. "/tune-style.gguf"
  local steps = tonumber(arg[2]) or 100
  local start = os.clock()
  local r = assert(wane.tune {
    model = base, to = to, text = table.concat(pages, "\n"), held = held:sub(1, 4000), context = 256, steps = steps, batch = 1,
    rank = 8, rate = 3e-3, check_every = math.ceil(steps / 4), overwrite = true,
    progress = function(q) if q.done % 10 == 0 then say("  step %d: %.3f", q.done, q.loss) end end,
  })
  say("%d steps of 256 tokens, %d values in %d matrices: %.0f s by the clock, %.0f s of processors, %.1f MiB",
    r.steps, r.values, r.tensors, r.seconds, os.clock() - start, r.bytes / 2 ^ 20)
  for _, h in ipairs(r.held) do say("  held out at step %d: %.4f nats", h.step, h.loss) end
  for _, adapter in ipairs { false, to } do
    local m = assert(wane.load(base, { lora = adapter or nil }))
    local a = assert(wane.eval.perplexity(m, held, { context = 256 }))
    local b = assert(wane.eval.perplexity(m, slurp "examples/text/heldout.txt", { context = 256, chunks = 20 }))
    say("%-12s perplexity of %s %.2f +/- %.2f, of heldout.txt %.2f +/- %.2f", adapter and "with" or "without", HELD_PAGE,
      a.perplexity, a.err, b.perplexity, b.err)
    m:close()
  end
end

local function prices()
  local m, calib, kind = assert(wane.load(DEMO)), slurp "examples/text/calib.txt", arg[2] or "q3_K"
  local im = assert(wane.calibrate.imatrix(m, calib, { chunks = 8 }))
  local by = {}
  for _, chunks in ipairs { 1, 4 } do
    local s = assert(wane.calibrate.sensitivity { model = m, text = calib, types = { kind }, chunks = chunks, imatrix = im })
    say("gradient, %d chunks of 256: %.1f s", chunks, s.seconds)
    for _, r in ipairs(s.rows) do
      by[r.tensor] = by[r.tensor] or {}
      by[r.tensor][chunks] = r.kld
    end
  end
  local s = assert(wane.eval.sensitivity(m, calib, { types = { kind }, anchor = kind, measure = "all", chunks = 2, error_chunks = 4,
    rebuild = false, save = TMP .. "/losses-" .. kind }))
  local measured, proxy, one, four = {}, {}, {}, {}
  for _, r in ipairs(s.rows) do
    local p = by[r.tensor]
    if p then measured[#measured + 1], proxy[#proxy + 1], one[#one + 1], four[#four + 1] = r.plain_kld, r.proxy, p[1], p[4] end
  end
  say("%s, %d tensors, rank correlation with the measured loss: proxy %.3f, gradient %.3f (1 chunk), %.3f (4 chunks)", kind,
    #measured, correlation(proxy, measured), correlation(one, measured), correlation(four, measured))
  local ratios = {}
  for i = 1, #measured do ratios[i] = four[i] / measured[i] end
  table.sort(ratios)
  say("price over loss: median %.2f, quartiles %.2f and %.2f", ratios[math.ceil(#ratios / 2)], ratios[math.ceil(#ratios / 4)],
    ratios[math.ceil(#ratios * 3 / 4)])
end

local function divergences(f16, paths, chunks)
  local held, candidates = slurp "examples/text/heldout.txt", {}
  for i, path in ipairs(paths) do candidates[i] = assert(wane.load(path)) end
  local d = assert(wane.eval.divergence(f16, candidates, held, { chunks = chunks or 20 }))
  for i, path in ipairs(paths) do
    say("%-28s KLD %.5f +/- %.5f", path:match "[^/]+$", d[i].kld.mean, d[i].kld.err)
    candidates[i]:close()
  end
end

local function guide()
  local m, calib = assert(wane.load(DEMO)), slurp "examples/text/calib.txt"
  for _, recipe in ipairs(arg[2] and { arg[2] } or { "Q3_K_M", "Q2_K" }) do
    local paths = {}
    for i, on in ipairs { false, true } do
      paths[i] = ("%s/%s-%s.gguf"):format(TMP, recipe, on and "guided" or "plain")
      assert(wane.calibrate.gptq { from = DEMO, model = m, to = paths[i], recipe = recipe, text = calib, chunks = 24, guide = on, overwrite = true })
    end
    divergences(m, paths)
  end
end

local function norms()
  local m, calib, base, to = assert(wane.load(DEMO)), slurp "examples/text/calib.txt", TMP .. "/norms-base.gguf", TMP .. "/norms-tuned.gguf"
  local recipe = arg[2] or "Q2_K"
  local im = assert(wane.calibrate.imatrix(m, calib, { chunks = 8 }))
  assert(wane.quantize { from = DEMO, to = base, recipe = recipe, imatrix = im, overwrite = true })
  local r = assert(wane.tune.norms { model = base, reference = DEMO, to = to, text = calib:sub(1, 120000), steps = 40, batch = 2, rate = 3e-3,
    overwrite = true })
  say("%s: %d steps, %d vectors, %.0f s, best at step %d", recipe, r.steps, r.tensors, r.seconds, r.best_step)
  divergences(m, { base, to })
end

-- Settings were chosen by what is held out of calib.txt; heldout.txt has no part in it.
local function learn()
  local m, calib = assert(wane.load(DEMO)), slurp "examples/text/calib.txt"
  for _, recipe in ipairs(arg[2] and { arg[2] } or { "Q3_K_M", "IQ3_XXS", "Q2_K" }) do
    local start, to = ("%s/%s-gptq.gguf"):format(TMP, recipe), ("%s/%s-learned.gguf"):format(TMP, recipe)
    assert(wane.calibrate.gptq { from = DEMO, model = m, to = start, recipe = recipe, text = calib, overwrite = true })
    local began = os.clock()
    local r = assert(wane.calibrate.learn {
      from = DEMO, start = start, to = to, text = calib, steps = tonumber(arg[3]), threads = 1, overwrite = true,
    })
    say("%s: %d steps, %.0f s of a processor, %.1f MiB; held out of the calibration text %.5f -> %.5f, best at step %d", recipe,
      #r.groups[1].losses, os.clock() - began, r.bytes / 2 ^ 20, r.before, r.after, r.groups[1].best_step)
    divergences(m, { start, to }, 40)
  end
end

-- Forwards, forwards again but for the end, gradients of inputs: multiplications and
-- additions with the weights of Q4_K_M files, decoded as they are met. Times are of the one thread's processor.
local function step()
  package.path = "./?.lua;" .. package.path
  local core, synthetic = require "wane.core", require "bench.synthetic"
  local n, unit = tonumber(arg[2]) or 128, nil
  for _, u in ipairs(core.probe.units()) do unit = u:find "f32" and u or unit end -- the widest comes last
  local limit = core.probe.peak(unit, 1)
  for _, size in ipairs { "134m", "430m" } do
    local path = ("%s/step-%s.gguf"):format(TMP, size)
    synthetic.write(path, size, "Q4_K_M")
    local m, f, all, last = assert(wane.load(path, { threads = 1 })), assert(wane.gguf.open(path)), 0, 0
    for _, t in ipairs(f.tensors) do
      if #t.shape == 2 and t.name ~= "token_embd.weight" then all = all + t.shape[1] * t.shape[2] end
      if t.name == "output.weight" then last = t.shape[1] * t.shape[2] end
    end
    local t = assert(core.train.open(m.handle, { tokens = n, train = { "blk.0.attn_norm.weight" }, threads = 1 }))
    local ids, targets = {}, {}
    for i = 1, n do ids[i], targets[i] = i * 37 % 1000, i * 91 % 1000 end
    local marks = { os.clock() }
    assert(t:forward(ids))
    marks[2] = os.clock()
    assert(t:ce(targets))
    marks[3] = os.clock()
    repeat
      local more = t:back()
      assert(more ~= nil)
    until not more
    marks[4] = os.clock()
    local work = 2 * n * (3 * all - last)
    local seconds = marks[4] - marks[1]
    say("%s, %d tokens: forward %.2f s, loss %.2f s, backward %.2f s, %.0f MiB; %.1f GFLOPS, %.0f %% of the float limit of one thread (%.0f)",
      size, n, marks[2] - marks[1], marks[3] - marks[2], marks[4] - marks[3], t:info().bytes / 2 ^ 20, work / seconds / 1e9,
      100 * work / seconds / limit, limit / 1e9)
    t:close()
    m:close()
    f:close()
    os.remove(path)
  end
end

local runs = { lora = lora, prices = prices, guide = guide, norms = norms, learn = learn, step = step }
if not runs[what] then error "usage: gradients.lua lora | prices | guide | norms | learn | step" end
os.execute("mkdir -p " .. TMP)
say("%s", stats and wane.cpu().name or "")
runs[what]()
