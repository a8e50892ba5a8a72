--- Tasks: the same questions everywhere, likelihoods that add up, files of
--- multiple choice, functions of the user.
local demo = require "spec.support.demo"
local probes = require "wane.eval.tasks.probe"
local random = require "wane.eval.tasks.random"
local support = require "spec.support"
local wane = require "wane"
local tasks = wane.eval.tasks

local function write(text)
  local path = support.tmp "questions.jsonl"
  support.spit(path, text)
  return path
end

describe("tasks", function()
  local model, probe
  support.check_leaks(function()
    model = assert(wane.load(demo.path))
    probe = assert(probes.new(model))
  end, function()
    probe:close()
    model:close()
    model, probe = nil, nil
  end)

  it("draws the same numbers on every Lua", function()
    local r, list = random.new(7), {}
    for i = 1, 8 do list[i] = r:integer(0, 99) end
    assert.same({ 43, 83, 63, 77, 3, 54, 38, 52 }, list)
    local counts = {}
    for _ = 1, 6000 do
      local v = r:integer(1, 6)
      counts[v] = (counts[v] or 0) + 1
    end
    for v = 1, 6 do assert.is_true(counts[v] > 850 and counts[v] < 1150) end
    assert.is_nil(counts[0])
    assert.is_nil(counts[7])
  end)

  it("gives an answer the likelihood of its tokens", function()
    local a = assert(probe:score("Once upon a", " time there was"))
    local ids, first = probe:tokens("Once upon a", " time there was")
    local nlls = assert(probe:tail(ids, first))
    local sum = 0
    for _, v in ipairs(nlls) do sum = sum + v end
    assert.near(sum, a.nll, 1e-9)
    assert.equals(#ids - first + 1, a.tokens)
    -- chain rule: two parts make the whole
    local head = assert(probe:score("Once upon a", " time"))
    local rest = assert(probe:score("Once upon a time", " there was"))
    assert.near(a.nll, head.nll + rest.nll, 2e-3)
    assert.is_true(head.exact == (head.hits == head.tokens))
  end)

  it("gets the same from what the context already holds", function()
    local prompt = demo.text():sub(1, 600)
    local fresh = assert(probe:score(prompt, " and then"))
    assert(probe:score(prompt, " but not"))
    local again = assert(probe:score(prompt, " and then"))
    assert.near(fresh.nll, again.nll, 2e-3)
  end)

  it("generates what is likeliest", function()
    local text = assert(probe:generate("Once upon a", 1))
    assert.is_true(assert(probe:score("Once upon a", text)).exact)
  end)

  it("makes the same questions from the same seed", function()
    local opts = { seed = 3, n = 2, steps = 2 }
    local a = assert(tasks.run(model, { tasks.arithmetic(opts) }))[1]
    local b = assert(tasks.run(model, { tasks.arithmetic(opts) }))[1]
    opts.seed = 4
    local c = assert(tasks.run(model, { tasks.arithmetic(opts) }))[1]
    assert.equals(a.nll, b.nll)
    assert.not_equals(a.nll, c.nll)
    assert.equals(2, a.n)
    assert.equals(0.25, a.chance)
  end)

  it("hides the pass key at every depth and length", function()
    local r = assert(tasks.run(model, { tasks.passkey { tokens = { 40, 90 }, depths = { 0, 1 }, n = 1 } }))[1]
    assert.equals(4, r.n)
    assert.equals(4, #r.groups)
    assert.equals("40 tokens, depth 0 %", r.groups[1].name)
    assert.is_true(r.nll > 0 and r.nll < 20)
  end)

  it("asks every made question with its right answer first and wrong ones that differ", function()
    local asked = {}
    local fake = setmetatable({ n_ctx = 200, model = model, choose = function(_, prompt, choices)
      asked[#asked + 1] = { prompt = prompt, choices = choices }
      local answers = {}
      for i = 1, #choices do answers[i] = { nll = i, tokens = 1, bytes = 1, exact = false } end
      return 1, 1, answers
    end }, { __index = probe })
    local arithmetic = assert(tasks.arithmetic { n = 30 }.run(fake))
    assert.equals(1, arithmetic.score)
    for _, q in ipairs(asked) do
      -- recompute the last sum from the question
      local a, sign, b = q.prompt:match "(%d+) ([+-]) (%d+) =$"
      local want = sign == "+" and a + b or a - b
      assert.equals(" " .. ("%d"):format(want), q.choices[1])
      for i = 2, 4 do assert.not_equals(q.choices[1], q.choices[i]) end
    end
    asked = {}
    assert(tasks.passkey { n = 3, tokens = { 60 } }.run(fake))
    for _, q in ipairs(asked) do
      assert.truthy(q.prompt:find("The pass key is" .. q.choices[1] .. ".", 1, true))
      for i = 2, 4 do assert.is_nil(q.prompt:find(q.choices[i], 1, true)) end
    end
  end)

  it("copies and induces", function()
    local r = assert(tasks.run(model, { tasks.copy { n = 2 }, tasks.induction { n = 2, tokens = 16 } }))
    assert.is_true(r[1].score > 0 and r[1].score <= 1)
    assert.equals(2 * 15, r[2].n)
    assert.is_true(r[2].first_nll > 1)
  end)

  it("weighs rare tokens apart: buckets add up to the whole", function()
    local r = assert(tasks.run(model, { tasks.rare { text = demo.text(), chunks = 2, context = 128, buckets = 3 } }))[1]
    local p = assert(wane.eval.perplexity(model, demo.text(), { chunks = 2, context = 128 }))
    local sum, n = 0, 0
    for _, g in ipairs(r.groups) do sum, n = sum + g.nll * g.n, n + g.n end
    assert.equals(p.tokens, n)
    assert.near(p.nll, sum / n, 1e-6)
    assert.is_true(r.groups[1].nll > r.groups[3].nll)
    assert.equals("lower", r.better)
  end)

  it("reads HellaSwag, ARC and MMLU lines", function()
    local items = assert(require("wane.eval.tasks.choice").parse(table.concat({
      '{"ctx":"Once upon a","endings":["time","banana hat","x","y"],"label":0}',
      '{"question":{"stem":"Who?","choices":[{"text":"the cat","label":"A"},{"text":"the sun","label":"B"}]},"answerKey":"B"}',
      "", '{"question":"What?","choices":{"text":["p","q","r"],"label":["1","2","3"]},"answerKey":"3"}',
      '{"question":"Why?","choices":["p","q","r","s"],"answer":2}', '{"question":"Why?","choices":["p","q"],"answer":"A"}',
    }, "\n"), "x.jsonl"))
    local right = {}
    for i, item in ipairs(items) do right[i] = item.right end
    assert.same({ 1, 2, 3, 3, 1 }, right)
    assert.equals("Once upon a", items[1].prompt)
    assert.equals("Question: Who?\nAnswer:", items[2].prompt)
  end)

  it("names the line that is wrong", function()
    local bad = {
      ['{"ctx":"a","endings":["b","c"],"label":0}\n{"ctx":'] = "line 2",
      ['{"ctx":"a","endings":["b"],"label":0}'] = "line 1: no list of choices",
      ['{"ctx":"a","endings":["b","c"],"label":7}'] = "line 1: no answer among",
      ['{"endings":["b","c"],"label":0}'] = "line 1: no question",
      ['{"ctx":"a","endings":["b",3],"label":0}'] = "line 1: a choice is not a text",
      ["[1]"] = "line 1: no question", ["12"] = "line 1: want an object", [""] = "no questions",
    }
    for text, want in pairs(bad) do
      local path = write(text)
      local r, message = tasks.run(model, { path })
      assert.is_nil(r)
      assert.truthy(message:find(want, 1, true), message)
      os.remove(path)
    end
    local r, message, code = tasks.run(model, { "absent.jsonl" })
    assert.is_nil(r)
    assert.matches("absent.jsonl", message)
    assert.equals("ENOENT", code)
  end)

  it("scores choices by likelihood per byte, and plainly", function()
    local path = write '{"ctx":"Once upon a","endings":["time","time there was a banana hat"],"label":0}'
    local r = assert(tasks.run(model, { path }))[1]
    local a, b = probe:score("Once upon a", " time"), probe:score("Once upon a", " time there was a banana hat")
    assert.equals(a.nll / a.bytes < b.nll / b.bytes and 1 or 0, r.score)
    assert.equals(1, r.plain)
    assert.equals(0.5, r.chance)
    os.remove(path)
  end)

  it("runs functions of the user", function()
    local r = assert(tasks.run(model, {
      function(p) return p:score("Once upon a", " time").nll end,
      { name = "mine", run = function() return { score = 1, better = "lower", unit = "x" } end },
    }))
    assert.equals("task 1", r[1].name)
    assert.equals("mine", r[2].name)
    assert.matches("mine", tasks.table(r):text())
    assert.error_matches(function() tasks.run(model, { function() return "text" end }) end, "want a number")
    local none, message = tasks.run(model, { function() return nil, "no data" end })
    assert.is_nil(none)
    assert.matches("no data", message)
    assert.error_matches(function() tasks.run(model, { "passkeys" }) end, "no task 'passkeys'")
    assert.error_matches(function() tasks.copy { word = 3 } end, "unknown option 'word'")
  end)

  it("says when a question does not fit the context", function()
    local small = assert(probes.new(model, { context = 16 }))
    local r, message, code = small:score(demo.text():sub(1, 500), " end")
    assert.is_nil(r)
    assert.matches("the context has 16", message)
    assert.equals("EDATA", code)
    small:close()
  end)
end)
