--- What several threads do at once; the lane check-tsan runs it under the
--- thread sanitizer.
local core = require "wane.core"
local rows = require "spec.support.rows"
local support = require "spec.support"
local wane = require "wane"

local DEMO = "examples/models/demo-f16.gguf"

local function finish(job)
  local parts = {}
  while true do
    local text, running = job:poll()
    if not text then return table.concat(parts) end
    parts[#parts + 1] = text
    if not running and text == "" then return table.concat(parts) end
  end
end

describe("threads", function()
  support.check_leaks()

  it("run jobs on several contexts of one model", function()
    local model = assert(wane.load(DEMO, { context = 64, threads = 2 }))
    local jobs, texts = {}, {}
    for i = 1, 4 do
      jobs[i] = assert(model:start("Once upon a time", { max_tokens = 8, temperature = 0 }))
    end
    model:close() -- the jobs hold what they need
    for i, job in ipairs(jobs) do
      texts[i] = finish(job)
      job:close()
    end
    for i = 2, 4 do
      assert.equals(texts[1], texts[i])
    end
    assert.is_true(#texts[1] > 0)
  end)

  it("cancel and drop jobs while they run", function()
    local model = assert(wane.load(DEMO, { context = 64, threads = 3 }))
    for i = 1, 30 do
      local job = assert(model:start("The King", { max_tokens = 30 }))
      job:poll()
      if i % 2 == 0 then job:cancel() end
      job:close()
    end
    model:close()
  end)

  it("give the same logits, however many there are", function()
    local want
    for _, threads in ipairs { 1, 2, 3, 16 } do
      local model = assert(wane.load(DEMO, { context = 64, threads = threads }))
      local ctx = assert(model:context())
      local logits = assert(ctx:eval { 0, 5, 9, 200, 1000, 3 }):bytes()
      want = want or logits
      assert.is_true(want == logits, threads .. " threads differ")
      ctx:close()
      model:close()
    end
  end)

  it("encode the same bytes, however many there are", function()
    local n = 256 * 8
    local w = core.quant.buffer(16, n, rows.make(rows.kinds[1], 1, 16, n))
    local one = assert(core.quant.encode("q4_K", w)):bytes()
    for _ = 1, 3 do
      assert.is_true(one == assert(core.quant.encode("q4_K", w)):bytes())
    end
  end)

  it("quantize a file", function()
    local out = support.tmp "threads.gguf"
    local bytes
    for _, threads in ipairs { 1, 4 } do
      assert(wane.quantize { from = DEMO, to = out, recipe = "Q4_K_M", threads = threads, overwrite = true })
      local now = support.slurp(out)
      bytes = bytes or now
      assert.is_true(bytes == now)
    end
    os.remove(out)
  end)

  it("are gone when the last user has left", function()
    support.collect()
    assert.equals(0, core.cpu().live_threads)
  end)
end)
