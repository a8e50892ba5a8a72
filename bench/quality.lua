--- Quality at equal size: wane's files against llama.cpp's imatrix-quantized
--- ones, calibrated on wane's mixed text, judged on four texts of other origin.
---
---     make bench-quality [MODEL=demo|smollm2|FILE] [ARGS="--quick"]
---     --chunks N       chunks of each text to judge on (default 8)
---     --calib N        chunks of calibration text (default: all)
---     --only MIX       one size
---     --plain          without the solver, whose measurements take longest
---     --without LABEL  leaves out a kind of file: none, imatrix, awq or gptq
---     --quick          --chunks 2 --calib 8 --plain, two sizes, GPTQ alone
---     --keep DIR       where files and results stay (default build/quality)
---     --fresh          start over, else what a former run finished is taken
---     --markdown       the tables as Markdown
---
--- For each mix: llama.cpp's own library makes the file to beat from the same
--- importance matrix. Then each ingredient alone, with the same types, and all
--- together with types chosen by the solver; no file is larger than
--- llama.cpp's. KLD is against the unquantized model, all files in lock-step.
--- The first line of a size has llama.cpp's KLD on each text, the others their
--- difference from it in percent, +- the standard error of the ratio over
--- chunks (both saw the same ones). At the end llama.cpp runs wane's best files.
local ffi = require "ffi"
local core = require "wane.core"
local inputs = require "bench.quality_inputs"
local peer = require "spec.support.peer"
local report = require "wane.report"
local wane = require "wane"

ffi.cdef [[ typedef struct { const char *name; const float *data; size_t n; } peer_importance; ]]

-- Goal: the mean over texts, llama.cpp's being 1.
local mixes = {
  { "Q4_K_M", 15, goal = 0.7 }, { "Q3_K_M", 12, goal = 0.7 }, { "IQ3_XXS", 23, goal = 0.7 }, { "Q2_K", 10, goal = 0.6 },
}

local flags = { quick = true, markdown = true, fresh = true, plain = true }
local o = { model = "demo" }
do
  local i = 1
  while arg[i] do
    local key = arg[i]:match "^%-%-(%a+)$"
    if flags[key] then
      o[key] = true
    elseif key == "chunks" or key == "calib" then
      o[key] = assert(tonumber(arg[i + 1]), arg[i] .. " wants a number")
      i = i + 1
    elseif key == "only" or key == "without" or key == "keep" or key == "model" then
      o[key] = assert(arg[i + 1], arg[i] .. " wants a value")
      i = i + 1
    else
      error("unknown option " .. arg[i])
    end
    i = i + 1
  end
  if o.quick then
    o.chunks, o.calib, o.plain = o.chunks or 2, o.calib or 8, true
    mixes = { mixes[1], mixes[4] }
  end
  o.chunks = o.chunks or 8
  local base = o.keep or "build/quality"
  o.dir = ("%s/%s-%s-%d"):format(base, o.model:match "([^/]+)$", o.calib or "all", o.chunks)
  if o.fresh then os.execute("rm -rf " .. o.dir) end
  os.execute("mkdir -p " .. o.dir)
  local message
  o.source, message = inputs.model(o.model, base)
  if not o.source then
    print("SKIPPED: " .. message)
    os.exit(0)
  end
end

local slurp, exists = inputs.slurp, inputs.exists

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

local model = assert(wane.load(o.source, { context = 512 }))
local texts = inputs.texts(model, o.chunks, note)
local calib = require("wane.calibrate.mixed").text(model)

local im_path = o.dir .. "/imatrix.gguf"
if not exists(im_path) then
  timed("importance matrix", function()
    return assert(wane.calibrate.imatrix(model, calib, { dataset = "wane's mixed text", chunks = o.calib, save = im_path }))
  end)
end
local im = assert(wane.imatrix.open(im_path))
local sens = not o.plain and timed(exists(o.dir .. "/losses") and "sensitivity, losses measured already" or "sensitivity", function()
  return assert(wane.eval.sensitivity(model, calib, { chunks = 4, error_chunks = 24, save = o.dir .. "/losses" }))
end)

--- The files of one mix, { label, what, path }, and the bytes of llama.cpp's.
local function make_files(mix, ftype)
  local files = {}
  local function path(label) return ("%s/%s-%s.gguf"):format(o.dir, mix, label) end
  local function add(label, what, make)
    if label == o.without then return end
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
    local rc = peer.quantize_file(o.source, path "peer.part", ftype, { imatrix = for_peer(im, keep) })
    assert(rc == 0 and os.rename(path "peer.part", path "peer"), "the peer cannot make " .. mix)
    return true
  end)
  local limit = bytes_of(files[1].path)
  local function plain(label, what, recipe, with)
    add(label, what, function()
      return wane.quantize { from = o.source, to = path(label), recipe = recipe, imatrix = with }
    end)
  end
  local function gptq(label, what, recipe, awq)
    add(label, what, function()
      return wane.calibrate.gptq { from = o.source, to = path(label), recipe = recipe, text = calib, model = model,
        imatrix = im, chunks = o.calib, awq = awq }
    end)
  end
  if not o.quick then
    plain("none", "no calibration", mix, nil)
    plain("imatrix", "imatrix", mix, im)
    add("awq", "AWQ, imatrix", function()
      return wane.calibrate.awq { from = o.source, to = path "awq", recipe = mix, text = calib, model = model,
        imatrix = im, chunks = o.calib }
    end)
  end
  gptq("gptq", "GPTQ", mix)
  if sens then
    local solution, message = wane.recipe.solve { table = sens, bytes = limit }
    if solution then
      plain("solver", "solver, imatrix", solution.recipe, im)
      gptq("all", "solver, GPTQ", solution.recipe)
      gptq("all-awq", "solver, AWQ, GPTQ", solution.recipe, true)
    else
      note("  solver: " .. message)
    end
  end
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

local fields = { "kld", "err", "ratio", "ratio_err", "ppl", "top" }

-- What a former run found for one text: label -> fields.
local function read_results(path)
  local have = {}
  for line in (exists(path) and slurp(path) or ""):gmatch "[^\n]+" do
    local label, rest = line:match "^(%S+)\t(.*)$"
    local k = 0
    have[label] = {}
    for x in rest:gmatch "%S+" do
      k = k + 1
      have[label][fields[k]] = tonumber(x)
    end
  end
  return have
end

-- Judges files on one text; the first is the one to beat.
local function judge_text(files, models, text)
  local d = timed("judging", function()
    return assert(wane.eval.divergence(model, models, text.ids, { positions = true }))
  end)
  local have, base = {}, chunk_means(d[1].positions.kld, text.chunks)
  for i, f in ipairs(files) do
    local r, err = ratio(chunk_means(d[i].positions.kld, text.chunks), base)
    have[f.label] = { kld = d[i].kld.mean, err = d[i].kld.err, ratio = r, ratio_err = err, ppl = d[i].ratio,
      top = 100 * d[i].same_top }
  end
  return have
end

-- Judges the files of one mix on all texts: f.on[text name] = fields.
local function judge(mix, files)
  local made, models = {}, {}
  for _, f in ipairs(files) do
    f.on = {}
    if not f.missing then made[#made + 1] = f end
  end
  for _, text in ipairs(texts) do
    local saved = ("%s/%s-%s.results"):format(o.dir, mix, text.name:gsub(" ", "-"))
    local have = read_results(saved)
    if not next(have) then
      for i, f in ipairs(made) do models[i] = models[i] or assert(wane.load(f.path, { context = 512 })) end
      have = judge_text(made, models, text)
      local out = assert(io.open(saved, "wb"))
      for _, f in ipairs(made) do
        local words = {}
        for k, name in ipairs(fields) do words[k] = ("%.17g"):format(have[f.label][name]) end
        out:write(f.label, "\t", table.concat(words, " "), "\n")
      end
      out:close()
    end
    for _, f in ipairs(made) do f.on[text.name] = have[f.label] end
  end
  for _, m in ipairs(models) do m:close() end
end

-- Over the texts: mean ratio, the worst, geometric mean of perplexity against
-- the reference's, mean of same top.
local function summary(f)
  local sum, worst, ppl, top, n = 0, 0, 0, 0, 0
  for _, text in ipairs(texts) do
    local r = f.on[text.name]
    if not r then return nil end
    sum, worst, ppl, top, n = sum + r.ratio, math.max(worst, r.ratio), ppl + math.log(r.ppl), top + r.top, n + 1
  end
  return { mean = sum / n, worst = worst, ppl = math.exp(ppl / n), top = top / n }
end

local columns = {
  { key = "mix", title = "size of" }, { key = "what", title = "made with" },
  { key = "bytes", title = "bytes", align = "right", format = report.count },
}
for i, text in ipairs(texts) do
  columns[#columns + 1] = { key = "text" .. i, title = ("%s (%d)"):format(text.name, text.chunks), align = "right" }
end
columns[#columns + 1] = { key = "mean", title = "mean", align = "right" }
columns[#columns + 1] = { key = "ppl", title = "perplexity", align = "right" }
columns[#columns + 1] = { key = "top", title = "same top %", align = "right", format = "%.2f" }
local out = report.table(columns)

-- One line of the table.
local function add_row(mix, f, s, is_base)
  local row = { mix = mix, what = f.what, bytes = bytes_of(f.path), top = s.top,
    mean = is_base and "" or ("%+.1f %%"):format(100 * (s.mean - 1)), ppl = ("%+.2f %%"):format(100 * (s.ppl - 1)) }
  for k, text in ipairs(texts) do
    local r = f.on[text.name]
    row["text" .. k] = is_base and ("%.5f +- %.5f"):format(r.kld, r.err)
      or ("%+.1f %%"):format(100 * (r.ratio - 1)) .. (text.chunks > 1 and (" +- %.1f"):format(100 * r.ratio_err) or "")
  end
  out:add(row)
end

local best_files, failures = {}, {}
for _, m in ipairs(mixes) do
  if not o.only or o.only == m[1] then
    note(m[1])
    local files, limit = make_files(m[1], m[2])
    judge(m[1], files)
    local best
    for i, f in ipairs(files) do
      local s = summary(f)
      if s then
        add_row(m[1], f, s, i == 1)
        if bytes_of(f.path) <= limit and i > 1 and (not best or s.mean < best.mean) then
          best = { mix = m[1], what = f.what, path = f.path, mean = s.mean }
        end
        if f.label == "gptq" and s.worst > 1 then
          failures[#failures + 1] = ("%s: GPTQ is worse than llama.cpp on one of the texts"):format(m[1])
        end
      else
        out:add { mix = m[1], what = f.what, mean = f.missing }
      end
    end
    best_files[#best_files + 1] = best
    if best and best.mean > m.goal then
      failures[#failures + 1] = ("%s: %.1f %% lower is short of %.0f %%"):format(m[1], 100 * (1 - best.mean), 100 * (1 - m.goal))
    end
    note(tostring(out))
  end
end
print(o.markdown and out:markdown() or out:text())

--- llama.cpp on wane's best files: they load, and predict the same.
print ""
local ids, n = texts[1].ids, texts[1].chunks
for _, b in ipairs(best_files) do
  local theirs = peer.load(b.path, { context = 512, kv = "f16" })
  local ppl = theirs:perplexity(ids, 512, n)
  theirs:close()
  local ours = assert(wane.load(b.path, { context = 512 }))
  local r = assert(wane.eval.perplexity(ours, ids, { chunks = n }))
  ours:close()
  local off = r.perplexity / ppl - 1
  print(("%-8s %-20s KLD %.1f %% lower; perplexity over %d chunks %.4f in wane, %.4f in llama.cpp (%+.3f %%)"):format(
    b.mix, b.what, 100 * (1 - b.mean), n, r.perplexity, ppl, 100 * off))
  if math.abs(off) > 0.001 then failures[#failures + 1] = b.mix .. ": llama.cpp finds another perplexity" end
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
local n_tokens = im.chunks * 512
local estimates = cost.table(cost.rates(model), nil, { tokens = n_tokens })
print(("\nby measured rates, %d tokens of text:"):format(n_tokens))
print(o.markdown and estimates:markdown() or estimates:text())
model:close()
for _, f in ipairs(failures) do print("FAILED: " .. f) end
if #failures > 0 then os.exit(1) end
