--- Quality at equal size: wane's files against llama.cpp's imatrix-quantized
--- ones, on the demo model, calibrated on calib.txt, judged on heldout.txt.
---
---     make bench-quality [ARGS="--quick"]
---     --chunks N       chunks of held-out text (default: all)
---     --calib N        chunks of calibration text for gptq (default: all)
---     --only MIX       one size
---     --quick          --chunks 20 --calib 24
---     --keep DIR       where the files stay (default build/tmp, removed)
---     --markdown       the table as Markdown
---
--- For each mix: llama.cpp's own library makes the file to beat from the same
--- importance matrix. Then each ingredient alone, with the same types, and all
--- together with types chosen by the solver; no file is larger than
--- llama.cpp's. KLD is against the F16 model, all files in lock-step; +- is
--- its standard error. At the end llama.cpp runs wane's best files too.
local ffi = require "ffi"
local peer = require "spec.support.peer"
local report = require "wane.report"
local wane = require "wane"

ffi.cdef [[ typedef struct { const char *name; const float *data; size_t n; } peer_importance; ]]

local source = "examples/models/demo-f16.gguf"
local mixes = { { "Q4_K_M", 15 }, { "Q3_K_M", 12 }, { "IQ3_XXS", 23 }, { "Q2_K", 10 } }

local o = { dir = "build/tmp" }
do
  local i = 1
  while arg[i] do
    local a = arg[i]
    if a == "--quick" then
      o.chunks, o.calib = o.chunks or 20, o.calib or 24
    elseif a == "--markdown" then
      o.markdown = true
    elseif a == "--chunks" or a == "--calib" then
      o[a:sub(3)] = assert(tonumber(arg[i + 1]), a .. " wants a number")
      i = i + 1
    elseif a == "--only" or a == "--keep" then
      o[a:sub(3)] = assert(arg[i + 1], a .. " wants a value")
      i = i + 1
    else
      error("unknown option " .. a)
    end
    i = i + 1
  end
  o.dir = o.keep or o.dir
  os.execute("mkdir -p " .. o.dir)
end

local function slurp(path)
  local f = assert(io.open(path, "rb"))
  local s = f:read "*a"
  f:close()
  return s
end

local function note(...) io.stderr:write(table.concat({ ... }, " "), "\n") end

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

local function bytes_of(path)
  local f = assert(io.open(path, "rb"))
  local n = f:seek "end"
  f:close()
  return n
end

local calib, heldout = slurp "examples/text/calib.txt", slurp "examples/text/heldout.txt"
local model = assert(wane.load(source, { context = 512 }))
note "importance of calib.txt ..."
local im = assert(wane.calibrate.imatrix(model, calib, { dataset = "calib.txt" }))
note "sensitivity ..."
local sens = assert(wane.eval.sensitivity(model, calib, { chunks = 4, error_chunks = 24 }))
note(("  rank correlation of the cheap proxy with the measured loss: %.3f"):format(sens.correlation))

--- The files of one mix: { label, path }.
local function make_files(mix, ftype)
  local files = {}
  local function path(label) return ("%s/quality-%s-%s.gguf"):format(o.dir, mix, label) end
  local function add(label, what, ...)
    local r, message = ...
    if not r then
      note(("  %s %s: %s"):format(mix, label, message))
      return
    end
    files[#files + 1] = { label = label, what = what, path = path(label) }
    note(("  %s %s done"):format(mix, label))
  end
  local keep = {}
  local rc = peer.quantize_file(source, path "peer", ftype, { imatrix = for_peer(im, keep) })
  assert(rc == 0, "the peer cannot make " .. mix)
  files[1] = { label = "llama.cpp", what = "llama.cpp, imatrix", path = path "peer" }
  local limit = bytes_of(path "peer")
  local function plain(label, what, recipe, with)
    add(label, what, wane.quantize { from = source, to = path(label), recipe = recipe, imatrix = with, overwrite = true,
      resume = false })
  end
  local function gptq(label, what, recipe, awq)
    add(label, what, wane.calibrate.gptq { from = source, to = path(label), recipe = recipe, text = calib, model = model,
      imatrix = im, chunks = o.calib, awq = awq, overwrite = true, resume = false })
  end
  plain("none", "same types, no calibration", mix, nil)
  plain("imatrix", "imatrix", mix, im)
  add("awq", "AWQ", wane.calibrate.awq { from = source, to = path "awq", recipe = mix, text = calib, model = model,
    imatrix = im, chunks = o.calib, overwrite = true })
  gptq("gptq", "GPTQ and descent", mix)
  local solution = assert(wane.recipe.solve { table = sens, bytes = limit })
  plain("solver", "solver, imatrix", solution.recipe, im)
  gptq("all", "solver, GPTQ and descent", solution.recipe)
  gptq("all-awq", "solver, AWQ, GPTQ and descent", solution.recipe, true)
  return files, limit
end

local out = report.table {
  { key = "mix", title = "size of" }, { key = "what", title = "made with" },
  { key = "bytes", title = "bytes", align = "right", format = report.count },
  { key = "kld", title = "mean KLD", align = "right", format = "%.5f" },
  { key = "err", title = "+-", align = "right", format = "%.5f" },
  { key = "less", title = "against llama.cpp", align = "right" },
  { key = "ppl", title = "perplexity", align = "right", format = "%.4f" },
  { key = "top", title = "same top %", align = "right", format = "%.2f" },
}

local best_files, failed = {}, false
for _, m in ipairs(mixes) do
  if not o.only or o.only == m[1] then
    local files, limit = make_files(m[1], m[2])
    local models = {}
    for i, f in ipairs(files) do models[i] = assert(wane.load(f.path, { context = 512 })) end
    local d = assert(wane.eval.divergence(model, models, heldout, { chunks = o.chunks }))
    local best
    for i, f in ipairs(files) do
      local bytes = bytes_of(f.path)
      out:add {
        mix = m[1], what = f.what, bytes = bytes, kld = d[i].kld.mean, err = d[i].kld.err,
        less = i == 1 and "" or ("%+.1f %%"):format(100 * (d[i].kld.mean / d[1].kld.mean - 1)),
        ppl = d[i].perplexity, top = 100 * d[i].same_top,
      }
      if bytes <= limit and (not best or d[i].kld.mean < best.kld) then
        best = { path = f.path, what = f.what, kld = d[i].kld.mean, ratio = d[i].kld.mean / d[1].kld.mean }
      end
      models[i]:close()
    end
    best.mix = m[1]
    best_files[#best_files + 1] = best
    if best.ratio > 0.7 then failed = true end
    note(tostring(out))
  end
end
print(o.markdown and out:markdown() or out:text())

--- llama.cpp on wane's best files: they load, and predict the same.
local ids = model.vocab:encode(heldout, { special = true })
local n = math.min(o.chunks or math.huge, 20)
for _, b in ipairs(best_files) do
  local theirs = peer.load(b.path, { context = 512, kv = "f16" })
  local ppl = theirs:perplexity(ids, 512, n)
  theirs:close()
  local ours = assert(wane.load(b.path, { context = 512 }))
  local r = assert(wane.eval.perplexity(ours, heldout, { chunks = n }))
  ours:close()
  print(("%-8s %-32s KLD %.1f %% lower; perplexity over %d chunks %.4f in wane, %.4f in llama.cpp (%+.3f %%)"):format(
    b.mix, b.what, 100 * (1 - b.ratio), n, r.perplexity, ppl, 100 * (r.perplexity / ppl - 1)))
end
model:close()
if not o.keep then os.execute("rm -f " .. o.dir .. "/quality-*.gguf") end
if failed then
  print "FAILED: less than 30 % lower at one of the sizes"
  os.exit(1)
end
