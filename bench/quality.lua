--- Quality at equal size: wane's files against llama.cpp's imatrix-quantized
--- ones, on the demo model, calibrated on calib.txt, judged on heldout.txt.
---
---     make bench-quality [ARGS="--quick"]
---     --chunks N       chunks of held-out text (default: all)
---     --calib N        chunks of calibration text for gptq (default: 64)
---     --only MIX       one size
---     --quick          --chunks 16 --calib 16
---     --keep DIR       where files and results stay (default build/quality)
---     --fresh          start over, else what a former run finished is taken
---     --markdown       the table as Markdown
---     --tune           choose the settings of gptq instead, on calib.txt alone
---
--- For each mix: llama.cpp's own library makes the file to beat from the same
--- importance matrix. Then each ingredient alone, with the same types, and all
--- together with types chosen by the solver; no file is larger than
--- llama.cpp's. KLD is against the F16 model, all files in lock-step; +- is
--- its standard error over tokens. The difference to llama.cpp is of the means,
--- its error that of the ratio over chunks of text (both saw the same ones).
--- At the end llama.cpp runs wane's best files too.
local ffi = require "ffi"
local core = require "wane.core"
local peer = require "spec.support.peer"
local report = require "wane.report"
local wane = require "wane"

ffi.cdef [[ typedef struct { const char *name; const float *data; size_t n; } peer_importance; ]]

local source = "examples/models/demo-f16.gguf"
local mixes = { { "Q4_K_M", 15 }, { "Q3_K_M", 12 }, { "IQ3_XXS", 23 }, { "Q2_K", 10 } }

local flags = { quick = true, markdown = true, fresh = true, tune = true }
local o = {}
do
  local i = 1
  while arg[i] do
    local key = arg[i]:match "^%-%-(%a+)$"
    if flags[key] then
      o[key] = true
    elseif key == "chunks" or key == "calib" then
      o[key] = assert(tonumber(arg[i + 1]), arg[i] .. " wants a number")
      i = i + 1
    elseif key == "only" or key == "keep" then
      o[key] = assert(arg[i + 1], arg[i] .. " wants a value")
      i = i + 1
    else
      error("unknown option " .. arg[i])
    end
    i = i + 1
  end
  if o.quick then o.chunks, o.calib = o.chunks or 16, o.calib or 16 end
  o.calib = o.calib or 64
  o.dir = ("%s/%d-%s"):format(o.keep or "build/quality", o.calib, o.chunks or "all")
  if o.fresh then os.execute("rm -rf " .. o.dir) end
  os.execute("mkdir -p " .. o.dir)
end

local function slurp(path)
  local f = assert(io.open(path, "rb"))
  local s = f:read "*a"
  f:close()
  return s
end

local function exists(path)
  local f = io.open(path, "rb")
  if f then f:close() end
  return f ~= nil
end

local function bytes_of(path)
  local f = assert(io.open(path, "rb"))
  local n = f:seek "end"
  f:close()
  return n
end

local function note(...) io.stderr:write(table.concat({ ... }, " "), "\n") end

-- Seconds and memory of every step, for the last table; those of former runs
-- come from a file.
local spent = {}
local function spend(what, seconds, peak)
  local s = spent[what] or { seconds = 0, n = 0, peak = 0 }
  spent[what] = s
  s.seconds, s.n, s.peak = s.seconds + seconds, s.n + 1, math.max(s.peak, peak)
end
for line in (exists(o.dir .. "/times") and slurp(o.dir .. "/times") or ""):gmatch "[^\n]+" do
  local what, seconds, peak = line:match "^([^\t]+)\t(%S+)\t(%S+)$"
  spend(what, tonumber(seconds), tonumber(peak))
end

local function timed(what, f)
  collectgarbage()
  core.reset_peak()
  local start, before = core.now(), core.memory().bytes
  local a, b, c = f()
  local seconds, peak = core.now() - start, core.memory().peak_bytes - before
  note(("  %-48s %6.1f s"):format(what, seconds))
  if a then
    spend(what, seconds, peak)
    local log = assert(io.open(o.dir .. "/times", "ab"))
    log:write(("%s\t%.3f\t%d\n"):format(what, seconds, peak))
    log:close()
  end
  return a, b, c
end

--- An importance matrix as the peer wants it; `keep` holds the memory.
local function for_peer(im, keep)
  local names = im:names()
  local list = ffi.new("peer_importance[?]", #names + 1)
  for i, name in ipairs(names) do
    local values = assert(im:values(name))
    keep[#keep + 1], keep[#keep + 2] = name, values
    list[i - 1].name, list[i - 1].data = name, ffi.cast("const float *", values)
    list[i - 1].n = #values / 4
  end
  keep[#keep + 1] = list
  return list
end

local calib, heldout = slurp "examples/text/calib.txt", slurp "examples/text/heldout.txt"
local model = assert(wane.load(source, { context = 512 }))

--- Settings of gptq, chosen on calib.txt alone: fitted on its first two thirds,
--- judged on the rest.
local function tune()
  local ids = model.vocab:encode(calib, { special = true })
  local n = math.floor(#ids / 512)
  local cut = math.floor(n * 2 / 3)
  local fit, rest = {}, {}
  for i, id in ipairs(ids) do
    local list = i <= cut * 512 and fit or rest
    list[#list + 1] = id
  end
  local out = report.table {
    { key = "mix", title = "types of" }, { key = "setting", title = "setting" },
    { key = "kld", title = "mean KLD", align = "right", format = "%.6f" },
    { key = "err", title = "+-", align = "right", format = "%.6f" },
  }
  local im = assert(wane.calibrate.imatrix(model, fit))
  local tries = {
    { aim = 0 }, { aim = 0.25 }, { aim = 0.5 }, { aim = 0.75 }, { aim = 1 },
    { damp = 0.003 }, { damp = 0.03 }, { sweeps = 16 },
  }
  for _, mix in ipairs { "Q3_K_M", "Q4_K_M", "Q2_K" } do
    if not o.only or o.only == mix then
      local models, labels = {}, {}
      for i, t in ipairs(tries) do
        local key, value = next(t)
        labels[i] = key .. " = " .. value
        local to = ("%s/tune-%s-%d.gguf"):format(o.dir, mix, i)
        timed(mix .. " " .. labels[i], function()
          return exists(to) or assert(wane.calibrate.gptq { from = source, to = to, recipe = mix, text = fit,
            model = model, imatrix = im, chunks = o.calib, [key] = value })
        end)
        models[i] = assert(wane.load(to, { context = 512 }))
      end
      local d = assert(wane.eval.divergence(model, models, rest, { chunks = o.chunks }))
      for i, m in ipairs(models) do
        out:add { mix = mix, setting = labels[i], kld = d[i].kld.mean, err = d[i].kld.err }
        m:close()
      end
      note(out:text())
    end
  end
  print(o.markdown and out:markdown() or out:text())
end

if o.tune then
  tune()
  os.exit(0)
end

local im_path = o.dir .. "/imatrix.gguf"
if not exists(im_path) then
  timed("importance matrix", function()
    return assert(wane.calibrate.imatrix(model, calib, { dataset = "calib.txt", save = im_path }))
  end)
end
local im = assert(wane.imatrix.open(im_path))
local sens = timed(exists(o.dir .. "/losses") and "sensitivity, losses measured already" or "sensitivity", function()
  return assert(wane.eval.sensitivity(model, calib, { chunks = o.quick and 2 or 4,
    error_chunks = o.quick and 8 or 24, save = o.dir .. "/losses" }))
end)
note(("  rank correlation of the cheap proxy with the measured loss: %.3f"):format(sens.correlation))

--- The files of one mix, { label, what, path }, and the bytes of llama.cpp's.
local function make_files(mix, ftype)
  local files = {}
  local function path(label) return ("%s/%s-%s.gguf"):format(o.dir, mix, label) end
  local function add(label, what, make)
    local f = { label = label, what = what, path = path(label) }
    if not exists(f.path) then
      local r, message = timed(what, make)
      if not r then
        note(("  %s %s: %s"):format(mix, label, message))
        f.missing = "needs importance"
      end
    end
    files[#files + 1] = f
  end
  local keep = {}
  add("peer", "llama.cpp, imatrix", function()
    -- under another name first: it is not written in one piece
    local rc = peer.quantize_file(source, path "peer.part", ftype, { imatrix = for_peer(im, keep) })
    assert(rc == 0 and os.rename(path "peer.part", path "peer"), "the peer cannot make " .. mix)
    return true
  end)
  local limit = bytes_of(files[1].path)
  local function plain(label, what, recipe, with)
    add(label, what, function()
      return wane.quantize { from = source, to = path(label), recipe = recipe, imatrix = with }
    end)
  end
  local function gptq(label, what, recipe, awq)
    add(label, what, function()
      return wane.calibrate.gptq { from = source, to = path(label), recipe = recipe, text = calib, model = model,
        imatrix = im, chunks = o.calib, awq = awq }
    end)
  end
  plain("none", "no calibration", mix, nil)
  plain("imatrix", "imatrix", mix, im)
  add("awq", "AWQ, imatrix", function()
    return wane.calibrate.awq { from = source, to = path "awq", recipe = mix, text = calib, model = model,
      imatrix = im, chunks = o.calib }
  end)
  gptq("gptq", "GPTQ", mix)
  local solution = assert(wane.recipe.solve { table = sens, bytes = limit })
  plain("solver", "solver, imatrix", solution.recipe, im)
  gptq("all", "solver, GPTQ", solution.recipe)
  gptq("all-awq", "solver, AWQ, GPTQ", solution.recipe, true)
  return files, limit
end

-- Mean of each chunk of a list of numbers.
local function chunk_means(list, n)
  local means, per = {}, #list / n
  for c = 1, n do
    local sum = 0
    for i = (c - 1) * per + 1, c * per do sum = sum + list[i] end
    means[c] = sum / per
  end
  return means
end

-- mean(a) / mean(b) of paired lists, and its standard error.
local function ratio(a, b)
  local n, sa, sb = #a, 0, 0
  for i = 1, n do sa, sb = sa + a[i], sb + b[i] end
  local r, squares = sa / sb, 0
  for i = 1, n do squares = squares + (a[i] - r * b[i]) ^ 2 end
  return r, n > 1 and math.sqrt(squares / (n - 1) / n) / (sb / n) or 0
end

local n_chunks = math.min(o.chunks or math.huge, math.floor(#model.vocab:encode(heldout, { special = true }) / 512))

-- Judges the files of one mix: adds kld, err, ratio, ratio_err, ppl, top.
local function judge(mix, files)
  local saved = ("%s/%s.results"):format(o.dir, mix)
  local fields = { "kld", "err", "ratio", "ratio_err", "ppl", "top" }
  local have = {}
  for line in (exists(saved) and slurp(saved) or ""):gmatch "[^\n]+" do
    local label, rest = line:match "^(%S+)\t(.*)$"
    local k = 0
    have[label] = {}
    for x in rest:gmatch "%S+" do
      k = k + 1
      have[label][fields[k]] = tonumber(x)
    end
  end
  if not next(have) then
    local models, judged = {}, {}
    for _, f in ipairs(files) do
      if not f.missing then
        judged[#judged + 1] = f
        models[#models + 1] = assert(wane.load(f.path, { context = 512 }))
      end
    end
    local d = timed("judging", function()
      return assert(wane.eval.divergence(model, models, heldout, { chunks = o.chunks, positions = true }))
    end)
    local out, base = assert(io.open(saved, "wb")), chunk_means(d[1].positions.kld, n_chunks)
    for i, f in ipairs(judged) do
      local r, err = ratio(chunk_means(d[i].positions.kld, n_chunks), base)
      have[f.label] = { kld = d[i].kld.mean, err = d[i].kld.err, ratio = r, ratio_err = err, ppl = d[i].perplexity,
        top = 100 * d[i].same_top }
      local words = {}
      for k, name in ipairs(fields) do words[k] = ("%.17g"):format(have[f.label][name]) end
      out:write(f.label, "\t", table.concat(words, " "), "\n")
      models[i]:close()
    end
    out:close()
  end
  for _, f in ipairs(files) do
    for k, v in pairs(have[f.label] or {}) do f[k] = v end
  end
end

local out = report.table {
  { key = "mix", title = "size of" }, { key = "what", title = "made with" },
  { key = "bytes", title = "bytes", align = "right", format = report.count },
  { key = "kld", title = "mean KLD", align = "right", format = "%.5f" },
  { key = "err", title = "+-", align = "right", format = "%.5f" },
  { key = "less", title = "KLD against llama.cpp", align = "right" },
  { key = "ppl", title = "perplexity", align = "right", format = "%.4f" },
  { key = "top", title = "same top %", align = "right", format = "%.2f" },
}

local best_files, failed = {}, false
for _, m in ipairs(mixes) do
  if not o.only or o.only == m[1] then
    note(m[1])
    local files, limit = make_files(m[1], m[2])
    judge(m[1], files)
    local best
    for i, f in ipairs(files) do
      if f.kld then
        local bytes = bytes_of(f.path)
        out:add { mix = m[1], what = f.what, bytes = bytes, kld = f.kld, err = f.err, ppl = f.ppl, top = f.top,
          less = i > 1 and ("%+.1f %% +- %.1f"):format(100 * (f.ratio - 1), 100 * f.ratio_err) or "" }
        if bytes <= limit and (not best or f.kld < best.kld) then best = f end
      else
        out:add { mix = m[1], what = f.what, less = f.missing }
      end
    end
    best.mix = m[1]
    best_files[#best_files + 1] = best
    if best.ratio > 0.7 then failed = "less than 30 % lower at one of the sizes" end
    note(tostring(out))
  end
end
print(o.markdown and out:markdown() or out:text())

--- llama.cpp on wane's best files: they load, and predict the same.
print ""
local ids = model.vocab:encode(heldout, { special = true })
local n = math.min(o.chunks or math.huge, 20)
for _, b in ipairs(best_files) do
  local theirs = peer.load(b.path, { context = 512, kv = "f16" })
  local ppl = theirs:perplexity(ids, 512, n)
  theirs:close()
  local ours = assert(wane.load(b.path, { context = 512 }))
  local r = assert(wane.eval.perplexity(ours, heldout, { chunks = n }))
  ours:close()
  local off = r.perplexity / ppl - 1
  print(("%-8s %-20s KLD %.1f %% lower; perplexity over %d chunks %.4f in wane, %.4f in llama.cpp (%+.3f %%)"):format(
    b.mix, b.what, 100 * (1 - b.ratio), n, r.perplexity, ppl, 100 * off))
  if math.abs(off) > 0.001 then failed = "llama.cpp finds another perplexity" end
end

--- What it took here.
local times, order = report.table {
  { key = "what", title = "step" }, { key = "n", title = "times", align = "right" },
  { key = "each", title = "seconds each", align = "right", format = "%.1f" },
  { key = "peak", title = "peak MiB over the model", align = "right", format = "%.0f" },
}, {}
for what in pairs(spent) do order[#order + 1] = what end
table.sort(order)
for _, what in ipairs(order) do
  local s = spent[what]
  times:add { what = what, n = s.n, each = s.seconds / s.n, peak = s.peak / 2 ^ 20 }
end
print("\n" .. (o.markdown and times:markdown() or times:text()))
--- And what it would take for larger models, at the rates of this machine.
local cost = require "wane.calibrate.cost"
local estimates = cost.table(cost.rates(model), nil, { tokens = o.calib * 512 })
print(("\nby measured rates, %d tokens of text:"):format(o.calib * 512))
print(o.markdown and estimates:markdown() or estimates:text())
model:close()
if failed then
  print("FAILED: " .. failed)
  os.exit(1)
end
