--- Jobs that share one context come, are polled, cancelled and closed at random
--- moments, beside a loop that pulls: what the thread sanitizer looks at, and
--- whether what is left gives the text it gives alone.
local support = require "spec.support"
local wane = require "wane"

local DEMO = "examples/models/demo-f16.gguf"
local PROMPTS = { "Once upon a time", "The King", "There was a little dog", "The old woman said", "Once upon" }

-- A generator of the same numbers everywhere.
local function dice(seed)
  return function(n)
    seed = (seed * 16807) % 2147483647
    return seed % n + 1
  end
end

local function whole(it)
  local parts = {}
  for text in it do parts[#parts + 1] = text end
  return table.concat(parts)
end

-- What a job may want beside its text, each with paths of its own.
local KINDS = {
  {}, { draft = "prompt" }, { logprobs = 3 }, { stop = { "the" } }, { temperature = 0.9, seed = 3 },
  { grammar = 'root ::= [a-z ]+' }, { sampler = { "top_k", "temperature" }, top_k = 5, temperature = 0.7, seed = 5 },
}

local function options(kind, more)
  local o = { max_tokens = 12, temperature = 0 }
  for k, v in pairs(kind) do o[k] = v end
  for k, v in pairs(more or {}) do o[k] = v end
  return o
end

describe("jobs of one context", function()
  support.check_leaks()

  it("come and go at any moment", function()
    local model = assert(wane.load(DEMO, { context = 128, threads = 2 }))
    local want = {}
    for k, kind in ipairs(KINDS) do
      for p, prompt in ipairs(PROMPTS) do want[k * 10 + p] = whole(model:generate(prompt, options(kind))) end
    end
    local ctx, roll = assert(model:context { sequences = 4, context = 128, batch = 16 }), dice(4711)
    local live, n_whole, n_gone = {}, 0, 0
    for round = 1, 400 do
      if #live < 4 then
        local k, p = roll(#KINDS), roll(#PROMPTS)
        local more = { context = ctx, reuse = true }
        local job, message, code = model:start(PROMPTS[p], options(KINDS[k], more))
        if job then
          live[#live + 1] = { job = job, want = want[k * 10 + p], text = "" }
        else
          assert.equals("EBUSY", code, message)
        end
      end
      local at = roll(#live)
      local l = live[at]
      local luck = roll(12)
      if luck == 1 then l.job:cancel() end
      if luck <= 2 then -- closed while it runs, cancelled or not
        l.job:close()
        table.remove(live, at)
        n_gone = n_gone + 1
      elseif l then
        local text, running, code = l.job:poll()
        if text then l.text = l.text .. text end
        if not running then
          assert.is_nil(not text and code or nil)
          assert.equals(l.want, l.text)
          l.job:close()
          table.remove(live, at)
          n_whole = n_whole + 1
        end
      end
      if round % 50 == 0 then -- a loop between them
        local got = whole(model:generate(PROMPTS[1], options({}, { context = ctx, reuse = true })))
        assert.equals(want[11], got)
      end
    end
    for _, l in ipairs(live) do l.job:close() end
    assert.is_true(n_whole > 0 and n_gone > 5, n_whole .. " whole, " .. n_gone .. " gone")
    ctx:close()
    model:close()
  end)
end)
