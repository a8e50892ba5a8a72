-- A model file that is truncated while it is mapped must never kill the host,
-- whichever thread of ours meets the missing pages: the caller, a worker of
-- the pool, the thread of a job. Each case is a process of its own, which has
-- to end by itself and to say ECHANGED.
local S = require "spec.support"

local HEAD = [[
local wane = require "wane"
local p, how, threads = arg[1], arg[2], tonumber(arg[3])
local m = assert(wane.load(p, { context = 256, threads = threads }))
local function cut() assert(os.execute("truncate -s 65536 " .. p)) end
]]

-- What is done with the file gone; each prints the code of its failure.
local CASES = {
  eval = [[
    local c = assert(m:context { threads = threads })
    cut()
    local _, _, code = c:eval { 1, 2, 3 }
    print(code)]],
  batch = [[
    local c = assert(m:context { threads = threads })
    local ids = {}
    for i = 1, 200 do ids[i] = 3 + i end
    cut()
    local _, _, code = c:eval(ids)
    print(code)]],
  -- the prompt is read from a whole file, a token after it from what is left
  midway = [[
    local c = assert(m:context { threads = threads })
    assert(c:eval { 1, 2, 3 })
    cut()
    local _, _, code = c:eval { 4 }
    print(code)]],
  job = [[
    cut()
    local core = require "wane.core"
    local s = assert(core.sample.new { n_vocab = m.handle:info().n_vocab, temperature = 0 })
    local c = assert(m:context { threads = threads })
    local job, _, early = core.job.start(c.handle, s, { 1, 2, 3 }, { max_tokens = 3 })
    local text, running, code
    if job then
      repeat text, running, code = job:poll() until not text or not running
    end
    print(code or early)]],
  -- encoding what is mapped: the bytes are zeros then, and the file knows
  quantize = [[
    local core = require "wane.core"
    local g = assert(core.gguf.open(p))
    assert(g:map())
    cut()
    local _, _, code = wane.quantize { from = p, to = p .. ".out", recipe = "Q4_0", overwrite = true, threads = threads }
    print(code == "ETRUNC" and "ECHANGED" or code, #g:mapped(1, 0, 64) == 64)
    local _, _, changed = g:check(true)
    assert(changed == "ECHANGED")]],
}

local function run(how, threads)
  local model, script, out = S.tmp "m.gguf", S.tmp "cut.lua", S.tmp "out"
  S.spit(model, S.slurp "examples/models/demo-f16.gguf")
  S.spit(script, HEAD .. CASES[how])
  local lua = os.getenv "WANE_LUA" or (jit and "luajit" or "lua5.4")
  os.execute(("%s %s %s %s %d > %s 2>&1"):format(lua, script, model, how, threads, out))
  os.remove(model)
  os.remove(model .. ".out")
  return (S.slurp(out):gsub("%s+$", ""))
end

describe("a file truncated under its map", function()
  S.check_leaks()
  for _, how in ipairs { "eval", "batch", "midway", "job", "quantize" } do
    for _, threads in ipairs { 1, 2, 3, 8 } do
      it(("M1 is ECHANGED: %s with %d threads"):format(how, threads), function()
        assert.equal(how == "quantize" and "ECHANGED	true" or "ECHANGED", run(how, threads))
      end)
    end
  end
end)
