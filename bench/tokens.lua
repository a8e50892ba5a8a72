--- Tokenizing: megabytes a second of one thread, beside llama.cpp; memory; and
--- the worst that texts can do.
---
---     make bench-tokens ARGS="--runs 3 --mb 10 --text FILE"
---
--- Times are those of the process (os.clock), wane and the peer taking turns,
--- medians, of the library's call alone: no list of ids is made in Lua. The text
--- is repeated to the size that was asked for.
--- Vocabularies: ../shared/conformance/vocabularies; without them the demo's.
local child = require "bench.child"
local core = require "wane.core"
local vocab = require "wane.vocab"

local FROM = "../shared/conformance/vocabularies/vocabs/"
local NAMES = { "gpt2", "qwen3", "gpt4o", "deepseek_v4", "mistral_nemo", "mistral_v1", "mistral_v3", "minilm", "xlm_roberta" }
local TEXTS = { "../shared/text/calib.txt", "../shared/text/heldout.txt" }
local WORST = { { "A", "A" }, { "space", " " }, { "line end", "\n" }, { ".", "." }, { "U+0301", "\204\129" },
  { "U+4E00", "\228\184\128" } }

local o = { runs = "3", mb = "10", text = "", names = table.concat(NAMES, ",") }
local i = 1
while arg[i] do
  local key = arg[i]:match "^%-%-(%l[%l-]*)$"
  if key == "no-peer" or key == "no-worst" then
    o[key] = true
  elseif o[key] and arg[i + 1] then
    i = i + 1
    o[key] = arg[i]
  else
    io.stderr:write("bench/tokens.lua: unknown option ", arg[i],
      "\nbench/tokens.lua [--names gpt2,..] [--runs 3] [--mb 10] [--text FILE] [--no-peer] [--no-worst]\n")
    os.exit(2)
  end
  i = i + 1
end

local function slurp(path)
  local f = io.open(path, "rb")
  if not f then return "" end
  local s = f:read "*a"
  f:close()
  return s
end

local function text_of(bytes)
  local one = o.text ~= "" and slurp(o.text) or slurp(TEXTS[1]) .. slurp(TEXTS[2])
  if one == "" then one = slurp "README.md" end
  return one:rep(math.ceil(bytes / #one)):sub(1, bytes)
end

local function file_of(name)
  local path = ("build/bench/vocab-%s.gguf"):format(name)
  os.execute "mkdir -p build/bench"
  return os.execute(("gunzip -c %s%s.gguf.gz > %s 2>/dev/null"):format(FROM, name, path)) and slurp(path) ~= "" and path or nil
end

--- Seconds of one call, ids of the result.
local function timed(f)
  collectgarbage()
  local t = os.clock()
  local n = f()
  return os.clock() - t, n
end

local mb = 1e6
local peer = not o["no-peer"] and os.getenv "WANE_PEER" and require "spec.support.peer" or nil

local function show_speed(text, list)
  print(("%-12s %-5s %9s %9s %7s %9s %10s"):format("vocabulary", "kind", "MB/s", "peer", "ratio", "tokens", "peak MiB"))
  for _, x in ipairs(list) do
    local v = assert(vocab.open(x.path))
    local theirs = peer and peer.vocab(x.path)
    local a, b, n, peak = {}, {}, nil, nil
    v:count(text:sub(1, 100000)) -- pages of the tables
    for run = 1, tonumber(o.runs) do
      core.reset_peak()
      local before = core.memory().bytes
      a[run], n = timed(function() return v:count(text) end)
      peak = core.memory().peak_bytes - before
      if theirs then b[run] = timed(function() return theirs:count(text) end) end
    end
    local s, p = child.median(a), theirs and child.median(b)
    print(("%-12s %-5s %9.1f %9s %7s %9d %10.1f"):format(x.name, v.kind, #text / mb / s,
      p and ("%.2f"):format(#text / mb / p) or "-", p and ("%.1f"):format(p / s) or "-", n, peak / 1048576))
    io.stdout:flush()
    if theirs then theirs:close() end
    v:close()
  end
end

local function show_worst(bytes, list)
  print(("\n%-12s %-9s %9s %10s"):format("vocabulary", "worst", "seconds", "peak MiB"))
  for _, x in ipairs(list) do
    local v = assert(vocab.open(x.path))
    for _, w in ipairs(WORST) do
      local text = w[2]:rep(math.floor(bytes / #w[2]))
      core.reset_peak()
      local before = core.memory().bytes
      local s = timed(function() return v:count(text) end)
      print(("%-12s %-9s %9.2f %10.1f"):format(x.name, w[1], s, (core.memory().peak_bytes - before) / 1048576))
      io.stdout:flush()
    end
    v:close()
  end
end

local list = {}
for name in o.names:gmatch "[^,]+" do
  local path = file_of(name)
  if path then list[#list + 1] = { name = name, path = path } end
end
if #list == 0 then list[1] = { name = "demo", path = "examples/models/demo-f16.gguf" } end
local bytes = math.floor(tonumber(o.mb) * mb)
print(("%d bytes, one thread"):format(bytes))
show_speed(text_of(bytes), list)
if not o["no-worst"] then show_worst(bytes, list) end
