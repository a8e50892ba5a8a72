--- Will it fit: estimates against measured peaks, imagined models against
--- known ones, and the choice of a level.
local core = require "wane.core"
local demo = require "spec.support.demo"
local support = require "spec.support"
local tiny = require "spec.support.tiny"
local wane = require "wane"

-- Bytes that loading and a full context really took: the library's peak, and
-- the mapped file.
local function measured(path, opts)
  support.collect()
  core.reset_peak()
  local before = core.memory().bytes
  local model = assert(wane.load(path))
  local ctx = assert(model:context(opts))
  local n = math.min(opts.context or 512, opts.batch or 200)
  assert(ctx:step(tiny.tokens(n, model:info().n_vocab)))
  local peak = core.memory().peak_bytes - before
  for _, b in ipairs(model.gguf:info().file_bytes) do peak = peak + b end
  ctx:close()
  model:close()
  return peak
end

local function near(want, got, share)
  assert.is_true(math.abs(got / want - 1) <= share, ("%d, want %d within %g %%"):format(got, want, 100 * share))
end

describe("fit", function()
  support.check_leaks()

  it("is within 5 % of the measured peak, for cache types, contexts and sequences", function()
    for _, o in ipairs {
      { context = 512 }, { context = 128, kv = "q8_0" }, { context = 512, kv = "f32", sequences = 3 },
      { context = 256, batch = 32 }, { context = 512, kv = { k = "q8_0", v = "f16" }, threads = 1 },
    } do
      local f = assert(wane.fit { model = demo.path, context = o.context, kv = o.kv, sequences = o.sequences,
        batch = o.batch, threads = o.threads })
      near(measured(demo.path, o), f.need.total, 0.05)
    end
  end)

  it("is within 5 % for a recipe, before the file exists", function()
    for _, recipe in ipairs { "Q4_K_M", "Q8_0", "IQ3_S" } do
      local path = support.tmp "fit.gguf"
      local report = assert(wane.quantize { from = demo.path, to = path, recipe = recipe })
      local f = assert(wane.fit { model = demo.path, recipe = recipe, context = 256 })
      near(report.file_bytes, f.need.weights, 0.001)
      near(measured(path, { context = 256 }), f.need.total, 0.05)
      os.remove(path)
    end
  end)

  it("is within 5 % for mixtures of experts", function()
    local path = tiny.write { width = 256, ff = 512, heads = 8, kv = 2, experts = 8, used = 2, layers = 3, vocab = 512, context = 512 }
    near(measured(path, { context = 512 }), assert(wane.fit { model = path, context = 512 }).need.total, 0.05)
    os.remove(path)
  end)

  it("knows what windows look at", function()
    local path = support.shared .. "conformance/logits/gemma2/gemma2-F32.gguf"
    if not support.exists(path) then
      local index = support.exists(support.shared .. "conformance/logits/index.json")
        and require("cjson").decode(support.slurp(support.shared .. "conformance/logits/index.json"))
      if not index then support.skip "no conformance data" end
      for _, v in pairs(index.gemma2.variants) do path = support.shared .. "conformance/logits/gemma2/" .. v.model end
    end
    local f = assert(wane.fit { model = path, context = 256 })
    assert.is_true(f.need.cache_windowed < f.need.cache)
    near(measured(path, { context = 256 }), f.need.total, 0.05)
  end)

  it("grows as it should", function()
    local function need(o)
      o.model = o.model or { params = "8B" }
      return assert(wane.fit(o)).need
    end
    local a, b = need { context = 4096 }, need { context = 8192 }
    assert.equals(2 * a.cache, b.cache)
    assert.equals(2 * a.cache, need { context = 4096, sequences = 2 }.cache)
    near(a.cache * 34 / 64, need { context = 4096, kv = "q8_0" }.cache, 0.001)
    assert.is_true(need { recipe = "Q4_K_M", context = 512 }.weights < need { recipe = "Q6_K", context = 512 }.weights)
  end)

  it("imagines models that are like the real ones", function()
    local llama8 = assert(wane.fit { model = { layers = 32, width = 4096, heads = 32, kv_heads = 8, ff = 14336, vocab = 128256 },
      context = 8192 })
    assert.equals(8030261248, llama8.params) -- Llama 3 8B
    assert.equals(2 * 32 * 8 * 128 * 8192 * 2, llama8.need.cache)
    near(16060522496, llama8.need.weights, 0.002)
    local mixtral = assert(wane.fit { model = { layers = 32, width = 4096, heads = 32, kv_heads = 8, ff = 14336, vocab = 32000,
      experts = 8, used = 2 }, context = 512 })
    assert.equals(46702792704, mixtral.params)
    local guessed = assert(wane.fit { model = { params = "70B", layers = 80 }, context = 512 })
    near(70e9, guessed.params, 0.01)
    assert.equals(8192, guessed.shape.width)
    for _, params in ipairs { "0.5B", "1B", "3B", "8B", "14B", "32B", "123B", "405B" } do
      near(tonumber((params:gsub("B", ""))) * 1e9, assert(wane.fit { model = { params = params }, context = 512 }).params, 0.05)
    end
  end)

  it("picks a level that fits, with reasons", function()
    for _, task in ipairs { "classification", "chat", "writing", "code" } do
      local f = assert(wane.fit { model = { params = "8B" }, context = 8192, ram = "16G", task = task })
      assert.is_true(f.pick.total <= f.room)
      assert.is_true(#f.reasons >= 2)
      for _, l in ipairs(f.levels) do assert.equals(l.total <= f.room, l.fits) end
      assert.matches("<%- for " .. task, f:text())
    end
    local function bits(task, ram)
      return assert(wane.fit { model = { params = "8B" }, context = 4096, ram = ram, task = task }).pick.bpw
    end
    assert.is_true(bits("classification", "64G") < bits("chat", "64G"))
    assert.is_true(bits("chat", "64G") < bits("code", "64G"))
    assert.is_true(bits("chat", "6G") < bits("chat", "16G"))
    local none = assert(wane.fit { model = { params = "70B" }, context = 512, ram = "8G" })
    assert.is_nil(none.pick)
    assert.matches("nothing fits", none:text())
  end)

  it("picks what really fits, and the next larger level really does not", function()
    -- room is put between two neighbours of what is made and measured
    for _, o in ipairs { { context = 512, larger = "Q5_K_M", pick = "Q4_K_M" }, { context = 64, kv = "q8_0", larger = "IQ4_XS", pick = "Q3_K_M" } } do
      local took = {}
      for _, name in ipairs { o.larger, o.pick } do
        local path = support.tmp "fit.gguf"
        assert(wane.quantize { from = demo.path, to = path, recipe = name })
        took[name] = measured(path, { context = o.context, kv = o.kv })
        os.remove(path)
      end
      local room = math.floor((took[o.larger] + took[o.pick]) / 2)
      local f = assert(wane.fit { model = demo.path, context = o.context, kv = o.kv, ram = room + 1024, reserve = 1024 })
      local largest
      for _, l in ipairs(f.levels) do largest = largest or l.fits and l end
      assert.equals(largest, f.pick)
      assert.is_true(took[f.pick.name] == nil or took[f.pick.name] <= room, f.pick.name)
      assert.is_true(f.pick.bytes < wane.fit { model = demo.path, recipe = o.larger }.need.weights, f.pick.name)
    end
  end)

  it("takes a quantized file as it is, or what is smaller", function()
    local path = support.tmp "fit.gguf"
    assert(wane.quantize { from = demo.path, to = path, recipe = "Q5_K_M" })
    local function picks(context, ram)
      local f = assert(wane.fit { model = path, context = context, ram = ram, reserve = 1024 })
      for i, l in ipairs(f.levels) do assert.is_true(i == 1 or l.bytes < f.levels[1].bytes, l.name) end
      return f.pick.name, f:text()
    end
    assert.equals("this file", (picks(256, "16G")))
    local whole = wane.fit({ model = path, context = 256 }).need.total
    local name, text = picks(256, whole - 1)
    assert.equals("Q5_K_S", name)
    assert.truthy(text:find("Q5_K_S loses less when it is made from what this one was made from", 1, true))
    os.remove(path)
  end)

  it("fits the terminal", function()
    for _, room in ipairs { 60, 80 } do
      for line in wane.fit({ model = demo.path, ram = "16G" }):text(room):gmatch "[^\n]+" do assert.is_true(#line <= room, line) end
    end
  end)

  it("says with which context or cache a level would do, where none does", function()
    local f = assert(wane.fit { model = { params = "8B" }, ram = "8G" }) -- 131072 tokens
    assert.is_nil(f.pick)
    local tokens, name = f:text():match "with a context of ([%d,]+) tokens ([%w_]+) fits"
    tokens = tonumber((tokens:gsub(",", "")))
    assert.is_true(tokens >= 4096)
    assert.equals(name, wane.fit({ model = { params = "8B" }, ram = "8G", context = tokens }).pick.name)
    f = assert(wane.fit { model = { params = "70B" }, ram = "64G" }) -- something fits, but it is no good
    assert.equals("IQ1_M", f.pick.name)
    name = f:text():match "with the cache in q8_0 ([%w_]+) fits"
    assert.equals(name, wane.fit({ model = { params = "70B" }, ram = "64G", kv = "q8_0" }).pick.name)
    assert.is_nil(wane.fit({ model = { params = "8B" }, ram = "64G" }):text():find "with a context of")
  end)

  it("guesses shapes that models have: 8 key/value heads, whole super-blocks", function()
    for params, kib in pairs { ["1B"] = 64, ["8B"] = 128, ["14B"] = 160, ["32B"] = 240, ["70B"] = 320, ["405B"] = 504 } do
      local f = assert(wane.fit { model = { params = params }, context = 1024 })
      assert.equals(kib * 1024, f.bytes_per_token)
      assert.equals(0, f.shape.width % 256)
    end
  end)

  it("names of machines that are alike the smallest", function()
    local f = assert(wane.fit { model = { params = "8B" }, context = 8192 })
    local names = {}
    for i, row in ipairs(f:machines_table().rows) do names[i] = row.name end
    assert.same({ "Q4_K_M", "Q5_K_M" }, names)
    assert.equals(12, #f.machines)
  end)

  it("finds the longest context: one step more does not fit", function()
    local o = { model = { params = "8B", context = 65536 }, context = 2048, ram = "8G", task = "chat" }
    local f = assert(wane.fit(o))
    local n = f.pick.max_context
    assert.is_true(n > 2048 and n < 65536)
    local function total(context)
      return assert(wane.fit { model = o.model, context = context, recipe = f.pick.name }).need.total
    end
    assert.is_true(total(n) <= f.room)
    assert.is_true(total(n + 256) > f.room)
  end)

  it("surveys a machine", function()
    local t = assert(wane.fit.survey { ram = "16G" })
    assert.equals(6, #t.rows)
    assert.is_nil(t.rows[6].bpw) -- 70B
    assert.is_true(t.rows[1].bpw > 4)
  end)

  it("prints tables and JSON", function()
    local f = assert(wane.fit { model = demo.path, ram = "32M", reserve = 0x100000 })
    local j = require("cjson").decode(f:json())
    assert.equals(f.need.total, j.need.total)
    assert.equals(12, #j.machines)
    assert.equals(18, #j.levels)
    assert.matches("KV cache", tostring(f))
  end)

  it("knows the weights of a model whose architecture it does not", function()
    local path = require("spec.support.tiny").write(nil, function(meta)
      for _, e in ipairs(meta) do
        if e[1] == "general.architecture" then e[3] = "flubber" end
        e[1] = e[1]:gsub("^llama%.", "flubber.")
      end
    end)
    local f = assert(wane.fit { model = path, ram = "1G" })
    assert.equals('unknown architecture "flubber"', f.partial)
    assert.equals(2, f.layers)
    assert.equals(f.need.weights + f.need.overhead, f.need.total)
    assert.matches("keys, values and buffers come on top", tostring(f))
    local m, message, code = wane.load(path)
    assert.is_nil(m)
    assert.equals("EUNSUP", code)
    assert.matches('unknown architecture "flubber": known are .*arcee, .*llama.*; docs/adding%-an%-architecture.md', message)
    os.remove(path)
  end)

  it("says what is wrong", function()
    for _, case in ipairs {
      { { model = demo.path, ram = "much" }, "option 'ram': want bytes, or a text" },
      { { model = demo.path, task = "poetry" }, "option 'task': want \"classification\"" },
      { { model = demo.path, kv = "q9" }, "option 'kv': want the name of a type" }, { { modl = demo.path }, "unknown option 'modl'" },
      { {}, "'model' is missing" }, { { model = { params = "many" } }, "option 'params': want a number like" },
      { { model = { layers = 3 } }, "want params, or layers, width and ff" }, { { model = { params = "8B", depth = 3 } }, "unknown option 'depth'" },
      { { model = { params = "8B", heads = 32, kv_heads = 5 } }, "not a multiple of 5" },
      { { model = { params = "10M", layers = 80 } }, "do not fit" },
      { { model = demo.path, recipe = "Q9" }, "unknown mix 'Q9'" },
    } do
      assert.error_matches(function() wane.fit(case[1]) end, case[2])
    end
    local f, message, code = wane.fit { model = "absent.gguf" }
    assert.is_nil(f)
    assert.matches("absent.gguf", message)
    assert.equals("ENOENT", code)
    f, message = wane.fit { model = demo.path, context = 512, kv = "iq2_xxs" }
    assert.is_nil(f)
    assert.matches("cannot hold keys and values", message)
  end)
end)
