-- Shrinks the demo model three ways, judges each file on a text it has never
-- seen, and lets one tell a story: `make demo`.
local wane = require "wane"
local report = require "wane.report"

local SOURCE = "examples/models/demo-f16.gguf"
local TEXT = "examples/text/heldout.txt"
local OUT = "build/demo"
local CHUNKS = tonumber(os.getenv "WANE_DEMO_CHUNKS")

local function read(path)
  local f = assert(io.open(path, "rb"))
  local s = f:read "*a"
  f:close()
  return s
end

--- Weights of a file, for bits per weight.
local function n_weights(path)
  local f, n = assert(wane.gguf.open(path)), 0
  for _, t in ipairs(f.tensors) do
    local count = 1
    for _, ne in ipairs(t.shape) do
      count = count * ne
    end
    n = n + count
  end
  local bytes = f.file_bytes[1]
  f:close()
  return n, bytes
end

local text = read(TEXT)
os.execute("mkdir -p " .. OUT)

local files = { { name = "F16", path = SOURCE } }
for _, name in ipairs { "Q8_0", "Q4_K_M", "Q4_0" } do
  local path = ("%s/demo-%s.gguf"):format(OUT, name)
  assert(wane.quantize { from = SOURCE, to = path, recipe = name, overwrite = true })
  files[#files + 1] = { name = name, path = path }
end

local t = report.table {
  { key = "name", title = "type" },
  { key = "bytes", title = "bytes", format = report.count, align = "right" },
  { key = "bpw", title = "bits/weight", format = "%.2f" },
  { key = "ppl", title = "perplexity", format = "%.4f" },
  { key = "err", title = "+/-", format = "%.3f" },
  { key = "diff", title = "to F16", format = "%+.3f %%", align = "right" },
  { key = "prompt", title = "prompt tok/s", format = "%.0f" },
  { key = "decode", title = "decode tok/s", format = "%.0f" },
  { key = "peak", title = "peak memory", format = report.bytes, align = "right" },
}

local baseline
for _, file in ipairs(files) do
  wane.reset_peak()
  local model = assert(wane.load(file.path))
  local r = assert(wane.eval.perplexity(model, text, { chunks = CHUNKS }))
  local stats
  for _ in model:generate("Once upon a time", { max_tokens = 200, temperature = 0, on_end = function(s) stats = s end }) do
  end
  baseline = baseline or r.perplexity
  local n, bytes = n_weights(file.path)
  t:add {
    name = file.name,
    bytes = bytes,
    bpw = 8 * bytes / n,
    ppl = r.perplexity,
    err = r.err,
    diff = 100 * (r.perplexity / baseline - 1),
    prompt = r.tokens_per_second,
    decode = stats.n_tokens / stats.token_seconds,
    -- mapped weights are the page cache's; what a process needs is both
    peak = wane.memory().peak_bytes + bytes,
  }
  model:close()
end

local cpu = wane.cpu()
print(("%s on %s, %d threads (%s)\n"):format(SOURCE, cpu.name, cpu.threads, cpu.isa))
print(t:text())

print "\nA story by the Q4_K_M file:\n"
local model = assert(wane.load(files[3].path))
io.write "Once upon a time"
for piece in model:generate("Once upon a time", { max_tokens = 160, temperature = 0.8, seed = 7 }) do
  io.write(piece)
  io.flush()
end
print()
model:close()
