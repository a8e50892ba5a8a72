local core = require "wane.core"
local support = require "spec.support"
local tiny = require "spec.support.tiny"
local wane = require "wane"

local function floats(bytes) return core.imatrix.floats(bytes) end

local function close_to(a, b, relative)
  assert.equals(#a, #b)
  for i = 1, #a do
    local limit = relative * math.max(math.abs(a[i]), math.abs(b[i])) + 1e-12
    assert(math.abs(a[i] - b[i]) <= limit, ("value %d: %g is not %g"):format(i, a[i], b[i]))
  end
end

describe("taps", function()
  support.check_leaks()

  --- Sums of a tap over one step of n tokens, beside those of the rows kept.
  local function watch(opts, names, load)
    local m = assert(wane.load(tiny.write(opts), load))
    local ctx = assert(m:context { context = 32, batch = 32, outputs = 32, threads = opts and opts.threads })
    local tap = assert(core.tap.open(ctx.handle, names, { squares = true, sizes = true, rows = true }))
    assert(ctx:step(tiny.tokens(20, 80), { want = "all" }))
    local out = {}
    for i, item in ipairs(tap:items()) do
      local seen = { item = item, squares = floats(tap:squares(i)), sizes = floats(tap:sizes(i)), counts = tap:counts(i) }
      for x = 1, item.experts do
        local rows, sum, abs = tap:rows(i, x), {}, {}
        for c = 1, item.width do
          sum[c], abs[c] = 0, 0
          for r = 0, (rows and #rows / item.width or 0) - 1 do
            local v = rows[r * item.width + c]
            sum[c], abs[c] = sum[c] + v * v, abs[c] + math.abs(v)
          end
        end
        local at = (x - 1) * item.width
        for c = 1, item.width do
          assert(math.abs(sum[c] - seen.squares[at + c]) <= 1e-4 * sum[c] + 1e-9)
          assert(math.abs(abs[c] - seen.sizes[at + c]) <= 1e-4 * abs[c] + 1e-9)
        end
        assert.equals(rows and #rows / item.width or 0, tap:n_rows(i, x))
      end
      out[i] = seen
    end
    tap:close()
    ctx:close()
    m:close()
    return out
  end

  local names = { "blk.0.attn_q.weight", "blk.1.ffn_down.weight", "blk.1.attn_output.weight" }

  it("add up what matrices multiply", function()
    local seen = watch(nil, names)
    assert.equals(3, #seen)
    assert.same({ "blk.0.attn_k.weight", "blk.0.attn_q.weight", "blk.0.attn_v.weight" }, (function()
      table.sort(seen[1].item.weights)
      return seen[1].item.weights
    end)())
    assert.equals(20, seen[1].counts[1])
    assert.equals(96, seen[3].item.width)
  end)

  it("give the same sums without fusion and for any number of threads", function()
    local one = watch({ threads = 1 }, names)
    local other = watch({ threads = 3 }, names)
    local plain = watch({ threads = 2 }, names, { fuse = false })
    for i = 1, 3 do
      assert.same(one[i].squares, other[i].squares)
      assert.same(one[i].sizes, other[i].sizes)
    end
    local function of(list, name)
      for _, s in ipairs(list) do
        for _, w in ipairs(s.item.weights) do
          if w == name then return s.squares end
        end
      end
    end
    for _, name in ipairs(names) do assert.same(of(one, name), of(plain, name)) end
  end)

  it("count rows by expert", function()
    local seen = watch({ experts = 4, used = 2 }, { "blk.0.ffn_up_exps.weight", "blk.0.ffn_down_exps.weight" })
    assert.equals(2, #seen)
    for _, s in ipairs(seen) do
      local n = 0
      for _, c in ipairs(s.counts) do n = n + c end
      assert.equals(4, #s.counts)
      assert.equals(40, n)
    end
    assert.same(seen[1].counts, seen[2].counts)
    assert.equals(96, seen[2].item.width)
  end)

  it("refuse what has no input, and a second tap", function()
    local m = assert(wane.load(tiny.write()))
    local ctx = assert(m:context { context = 16 })
    assert.has_error(function() core.tap.open(ctx.handle, { "blk.0.attn_norm.weight" }, {}) end,
      "wane: tap: no matrix of these names has an input")
    local tap = assert(core.tap.open(ctx.handle, { "blk.0.attn_q.weight" }, {}))
    assert.has_error(function() core.tap.open(ctx.handle, { "blk.0.attn_q.weight" }, {}) end,
      "wane: the context is watched already")
    ctx:close() -- the tap holds it
    assert.equals(0, tap:counts(1)[1])
    tap:close()
    m:close()
  end)
end)

describe("edges of a tap", function()
  support.check_leaks()

  -- Rows that meet blk.1.ffn_down, with edges or without.
  local function rows_of(model, opts, edge)
    local ctx = assert(model:context { context = 16, batch = 16, outputs = 16, threads = 2, kv = "f32" })
    local o = { rows = true, stop = opts.stop, enter = opts.enter, leave = opts.leave }
    local tap = assert(core.tap.open(ctx.handle, { opts.watch or "blk.1.ffn_down.weight" }, o))
    if edge then tap:enter(edge) end
    assert(ctx:step(tiny.tokens(12, 80), { want = "all" }))
    local rows, left = tap:rows(1):bytes(), opts.leave and tap:left()
    tap:close()
    ctx:close()
    return rows, left
  end

  for _, kind in ipairs { "dense", "experts", "unfused" } do
    it("enter where a pass left off, " .. kind, function()
      local path = tiny.write(kind == "experts" and { experts = 4, used = 2 } or nil)
      local m = assert(wane.load(path, kind == "unfused" and { fuse = false } or nil))
      local watch = kind == "experts" and "blk.1.ffn_down_exps.weight" or nil
      local whole = rows_of(m, { watch = watch })
      for _, stop in ipairs { true, false } do
        local _, edge = rows_of(m, { leave = "blk.1.", watch = "blk.0.attn_q.weight", stop = stop })
        assert.equals(12 * 64, #edge)
        assert.is_true(whole == rows_of(m, { enter = "blk.1.", watch = watch, stop = stop }, edge))
        edge:close()
      end
      m:close()
      os.remove(path)
    end)
  end

  it("refuse other rows", function()
    local m = assert(wane.load(tiny.write()))
    local ctx = assert(m:context { context = 16, outputs = 16 })
    local tap = assert(core.tap.open(ctx.handle, { "blk.1.attn_q.weight" }, { rows = true, enter = "blk.1." }))
    assert.error_matches(function() tap:enter(core.quant.buffer(2, 3)) end, "these rows are not from there")
    assert.error_matches(function() tap:left() end, "the tap was not opened to leave")
    tap:enter(core.calib.zeros(5, 64))
    assert.has_error(function() ctx:step({ 1, 2, 3 }, { want = "all" }) end, "wane: 3 tokens, 5 rows to enter with")
    assert.has_error(function() ctx:step({ 1, 2, 3 }, { want = "last" }) end, "wane: a tap with edges wants all rows of a step")
    tap:close()
    assert.has_error(function() core.tap.open(ctx.handle, { "blk.1.attn_q.weight" }, { enter = "blk.9." }) end,
      "wane: tap: no stage uses weights of blk.9.")
    ctx:close()
    m:close()
  end)
end)

describe("stand-ins", function()
  support.check_leaks()

  it("replace tensors without a file", function()
    local m = assert(wane.load(tiny.write()))
    local g = m.gguf
    local w = assert(core.quant.read(g, g:find_tensor "blk.0.ffn_up.weight"))
    local q = assert(core.quant.encode("q8_0", w))
    local same = assert(m:variant { { "blk.0.ffn_up.weight", "f32", w:bytes() } })
    local other = assert(m:variant { { "blk.0.ffn_up.weight", "q8_0", q:bytes() } })
    local tokens = tiny.tokens(10, 80)
    local function run(model)
      local ctx = assert(model:context { context = 16 })
      local logits = assert(ctx:eval(tokens)):bytes()
      ctx:close()
      return logits
    end
    assert.is_true(run(m) == run(same))
    assert.is_false(run(m) == run(other))
    assert.error_matches(function() m:variant { { "blk.0.ffn_up.weight", "f32", "short" } } end,
      "the string has 5 bytes, want 24576 %(96 rows of 256%)")
    other:close()
    same:close()
    m:close()
  end)
end)

describe("calibrate.imatrix", function()
  support.check_leaks()
  local tokens = tiny.tokens(128, 80)

  it("can be cut, merged and resumed", function()
    local m = assert(wane.load(tiny.write()))
    local whole, coverage = assert(wane.calibrate.imatrix(m, tokens, { context = 32 }))
    local a = assert(wane.calibrate.imatrix(m, tokens, { context = 32, chunks = 2 }))
    local b = assert(wane.calibrate.imatrix(m, tokens, { context = 32, first_chunk = 3 }))
    local merged = assert(wane.imatrix.merge { a, b })
    local path = support.tmp "half.gguf"
    assert(a:save(path))
    local resumed = assert(wane.calibrate.imatrix(m, tokens, { context = 32, resume = path }))
    assert.equals(4, whole.chunks)
    assert.equals(4, merged.chunks)
    assert.equals(4, resumed.chunks)
    assert.equals(14, #whole:names())
    for _, name in ipairs(whole:names()) do
      close_to(floats(whole:values(name)), floats(merged:values(name)), 1e-5)
      close_to(floats(whole:values(name)), floats(resumed:values(name)), 1e-5)
    end
    assert.equals(128, coverage[1].tokens)
    assert.equals(0, coverage[1].unseen)
    resumed:close()
    m:close()
    os.remove(path)
  end)

  it("tells what experts have seen", function()
    local m = assert(wane.load(tiny.write { experts = 8, used = 1 }))
    local im, coverage = assert(wane.calibrate.imatrix(m, tiny.tokens(16, 80), { context = 16 }))
    local n_unseen = 0
    for _, c in ipairs(coverage) do
      if c.experts == 8 then
        assert.equals(16, c.tokens)
        n_unseen = n_unseen + c.unseen
      end
    end
    assert(n_unseen > 0)
    local _, unused = im:check()
    local any = next(unused)
    assert.is_truthy(any)
    m:close()
  end)

  it("says when a text is too short, and stops when told", function()
    local m = assert(wane.load(tiny.write()))
    local im, message, code = wane.calibrate.imatrix(m, tiny.tokens(20, 80), { context = 32 })
    assert.is_nil(im)
    assert.equals("text: 20 tokens are fewer than one chunk of 32: give more text or a smaller context", message)
    assert.equals("EDATA", code)
    im, message, code = wane.calibrate.imatrix(m, tokens, { context = 32, progress = function() return false end })
    assert.is_nil(im)
    assert.equals("cancelled", message)
    assert.equals("ECANCEL", code)
    for want, o in pairs {
      ["unknown option 'colour'"] = { colour = 1 }, ["option 'context': want an integer from 2 to 16777216, got 0"] = { context = 0 },
      ["option 'chunks': want an integer of at least 1, got -1"] = { chunks = -1 },
      ["option 'threads': want an integer from 1 to 4096, got \"2\""] = { threads = "2" },
      ["option 'save_every': want an integer of at least 1, got 0.5"] = { save_every = 0.5 },
    } do
      assert.error_matches(function() wane.calibrate.imatrix(m, tokens, o) end, want, nil, true)
      if not o.save_every then
        assert.error_matches(function() wane.calibrate.hessians(m, tokens, o) end, want, nil, true)
      end
    end
    local none
    none, message, code = wane.calibrate.imatrix(m, tokens, { context = 32, first_chunk = 99 })
    assert.is_nil(none)
    assert.equals("EDATA", code)
    assert.truthy(message:find("there is no chunk 99", 1, true), message)
    none, message, code = wane.calibrate.imatrix(m, tokens, { context = 32, save = "build/no/such/im.gguf" })
    assert.is_nil(none)
    assert.equals("ENOENT", code)
    assert.truthy(message:find("build/no/such/im.gguf", 1, true), message)
    assert.error_matches(function() wane.calibrate.imatrix(5, tokens) end, "model: want a model", nil, true)
    assert.error_matches(function() wane.calibrate.imatrix(m, { "a" }) end, "text: want a string, or a list of integers", nil, true)
    m:close()
  end)
end)

describe("calibration of what does not belong together", function()
  support.check_leaks()
  local tokens = tiny.tokens(128, 80)

  local function refused(pattern, result, message, code)
    assert.is_nil(result)
    assert.equals("EFORMAT", code)
    assert.matches(pattern, message)
  end

  it("an importance matrix of another model", function()
    local from, to = tiny.write(), support.tmp "other.gguf"
    local names = wane.imatrix.new { ["model.layers.0.q"] = { 1, 2, 3 } }
    local o = { from = from, to = to, recipe = "Q4_0", imatrix = names }
    refused("names no tensor of this model.*made for another model", wane.quantize(o))
    o.text, o.context = tokens, 64
    refused("made for another model", wane.calibrate.gptq(o))
    refused("made for another model", wane.calibrate.awq(o))
    assert.is_false(support.exists(to))
    os.remove(from)
  end)

  it("going on with another model's, or with other chunks", function()
    local path = tiny.write()
    local m = assert(wane.load(path))
    local im = assert(wane.calibrate.imatrix(m, tokens, { context = 32, chunks = 2 }))
    refused("chunks of 32 tokens, cannot go on with chunks of 16",
      wane.calibrate.imatrix(m, tokens, { context = 16, resume = im }))
    local values = {}
    for i = 1, 32 do values[i] = 1 end
    local other = wane.imatrix.new({ ["blk.0.attn_q.weight"] = values }, { chunk_size = 32, chunks = 1 })
    refused("blk.0.attn_q.weight does not fit", wane.calibrate.imatrix(m, tokens, { context = 32, resume = other }))
    other = wane.imatrix.new({ ["blk.77.attn_q.weight"] = values }, { chunk_size = 32, chunks = 1 })
    refused("blk.77.attn_q.weight does not fit", wane.calibrate.imatrix(m, tokens, { context = 32, resume = other }))
    m:close()
    os.remove(path)
  end)

  it("merging what is not a number", function()
    local bad = wane.imatrix.new { ["blk.0.attn_q.weight"] = { 1, 0 / 0 } }
    refused("attn_q.weight has a value that is negative or not finite", wane.imatrix.merge { bad, bad })
  end)

  it("says when a text is too short, whatever is asked", function()
    local path, to = tiny.write(), support.tmp "short.gguf"
    local m = assert(wane.load(path))
    local few, o = tiny.tokens(20, 80), { context = 32 }
    local function short(result, message, code)
      assert.is_nil(result)
      assert.equals("EDATA", code)
      assert.equals("text: 20 tokens are fewer than one chunk of 32: give more text or a smaller context", message)
    end
    short(wane.calibrate.gptq { from = path, to = to, recipe = "Q4_0", text = few, context = 32 })
    short(wane.calibrate.awq { from = path, to = to, recipe = "Q4_0", text = few, context = 32 })
    short(wane.eval.perplexity(m, few, o))
    short(wane.eval.divergence(m, { m }, few, o))
    short(wane.calibrate.hessians(m, few, o))
    m:close()
    os.remove(path)
  end)
end)

describe("calibrate.gptq", function()
  support.check_leaks()
  local tokens = tiny.tokens(256, 80)

  local function options(from, to, more)
    local o = { from = from, to = to, recipe = "Q4_0", text = tokens, context = 64, overwrite = true }
    for k, v in pairs(more or {}) do o[k] = v end
    return o
  end

  local function divergence(from, paths)
    local ref, models = assert(wane.load(from)), {}
    for i, p in ipairs(paths) do models[i] = assert(wane.load(p)) end
    local d = assert(wane.eval.divergence(ref, models, tiny.tokens(512, 80, 11), { context = 64 }))
    for _, m in ipairs(models) do m:close() end
    ref:close()
    local out = {}
    for i in ipairs(paths) do out[i] = d[i].kld.mean end
    return out
  end

  it("makes files that stay nearer to the model", function()
    local from, a, b = tiny.write(), support.tmp "plain.gguf", support.tmp "gptq.gguf"
    local plain = assert(wane.quantize { from = from, to = a, recipe = "Q4_0" })
    local function gain(report)
      local before, after, n = 0, 0, 0
      for _, s in pairs(report.rebuilt) do before, after, n = before + s.before, after + s.after, n + 1 end
      assert(n >= 14)
      return after / before
    end
    -- trusted as they are, the correlations allow more than when they are held back
    local all = gain(assert(wane.calibrate.gptq(options(from, b, { shrink = 0 }))))
    assert(all < 0.8, all)
    local report = assert(wane.calibrate.gptq(options(from, b)))
    assert.equals(plain.file_bytes, report.file_bytes)
    local held = gain(report)
    assert(held < 0.95, held)
    local d = divergence(from, { a, b })
    assert(d[2] < d[1], d[2] .. " against " .. d[1])
    for _, p in ipairs { from, a, b } do os.remove(p) end
  end)

  it("tells what it leaves to the plain encoder", function()
    local from, to = tiny.write { width = 256, ff = 256 }, support.tmp "left.gguf"
    local report = assert(wane.calibrate.gptq(options(from, to, { recipe = "IQ1_M" })))
    local n, names = 0, {}
    for _, t in ipairs(report.not_rebuilt) do
      names[t.name] = t.why
      if t.type == "iq1_m" then n = n + 1 end
    end
    assert.is_true(n > 0)
    assert.equals("iq1_m: only its own encoder chooses points and shifts", names["blk.0.ffn_up.weight"])
    assert.equals(("iq1_m cannot be rebuilt, only its own encoder chooses points and shifts: %d tensors are as without GPTQ"):format(n),
      report.warnings[#report.warnings])
    os.remove(from)
    os.remove(to)
  end)

  it("handles experts", function()
    local from, to = tiny.write { experts = 4, used = 2, ff = 64 }, support.tmp "moe.gguf"
    local report = assert(wane.calibrate.gptq(options(from, to)))
    local s = report.rebuilt["blk.1.ffn_down_exps.weight"]
    assert(s.after < s.before)
    local m = assert(wane.load(to))
    m:close()
    os.remove(from)
    os.remove(to)
  end)

  it("goes on after an interrupted run with the same bytes", function()
    local from, a, b = tiny.write(), support.tmp "whole.gguf", support.tmp "twice.gguf"
    assert(wane.calibrate.gptq(options(from, a)))
    local seen = 0
    local r, _, code = wane.calibrate.gptq(options(from, b, {
      progress = function(p)
        seen = p.done
        return p.done < 1.5
      end,
    }))
    assert.is_nil(r)
    assert.equals("ECANCEL", code)
    assert(seen >= 1)
    assert.is_true(support.exists(b .. ".calibration"))
    assert.is_false(support.exists(b))
    r = assert(wane.calibrate.gptq(options(from, b)))
    assert(r.calibration_resumed > 0)
    assert.is_true(support.slurp(a) == support.slurp(b))
    assert.is_false(support.exists(b .. ".calibration"))
    -- another text is another run
    for _, p in ipairs { from, a, b } do os.remove(p) end
  end)

  it("refuses bad importance and bad options", function()
    local from, to = tiny.write(), support.tmp "bad.gguf"
    local values = {}
    for i = 1, 64 do values[i] = i == 3 and 0 / 0 or 1 end
    local bad = wane.imatrix.new { ["blk.0.attn_q.weight"] = values }
    local r, message, code = wane.calibrate.gptq(options(from, to, { imatrix = bad }))
    assert.is_nil(r)
    assert.equals("EFORMAT", code)
    assert.truthy(message:find("value 3 is negative or not finite", 1, true), message)
    local other = wane.imatrix.new { ["blk.0.attn_q.weight"] = { 1, 2, 3 } }
    r, message, code = wane.calibrate.gptq(options(from, to, { imatrix = other }))
    assert.is_nil(r)
    assert.equals("EFORMAT", code)
    assert.truthy(message:find("attn_q", 1, true), message)
    assert.error_matches(function() wane.calibrate.gptq(options(from, to, { aim = 2 })) end,
      "calibrate%.gptq: option 'aim': want a number from 0 to 1, got 2")
    assert.error_matches(function() wane.calibrate.gptq(options(from, to, { colour = 2 })) end,
      "calibrate%.gptq: unknown option 'colour'")
    assert.error_matches(function() wane.calibrate.gptq { from = from, to = to } end,
      "calibrate%.gptq: option 'recipe' is missing: want a value")
    assert.is_false(support.exists(to))
    os.remove(from)
  end)
end)

describe("calibrate.awq", function()
  support.check_leaks()

  it("changes weights but not what the model computes", function()
    local m = assert(wane.load(tiny.write()))
    local types = {}
    for i = 1, m.gguf:info().n_tensors do
      local t = m.gguf:tensor(i)
      if #t.shape == 2 then types[t.name] = "q4_0" end -- the embedding is tied: it must stay
    end
    local chunks = { tiny.tokens(64, 80), tiny.tokens(64, 80, 3) }
    local scaled = assert(wane.calibrate.awq.scale(m, { types = types, chunks = chunks, options = { clip = false } }))
    assert.equals(6, #scaled.report)
    local n_changed = 0
    for _, s in ipairs(scaled.report) do
      assert(s.after <= s.before)
      if s.alpha > 0 then n_changed = n_changed + 1 end
    end
    assert(n_changed > 0)
    local v = assert(m:variant(scaled.stand_ins))
    local function logits(model)
      local ctx = assert(model:context { context = 64, kv = "f32" })
      local out = assert(ctx:eval(chunks[1]))
      ctx:close()
      return out
    end
    local a, b, top = logits(m), logits(v), 0
    for i = 1, #a do top = math.max(top, math.abs(a[i] - b[i])) end
    assert(top < 1e-3, top)
    v:close()
    m:close()
  end)

  it("can be cancelled anywhere and goes on with the same bytes", function()
    local from, a, b = tiny.write(), support.tmp "awq.gguf", support.tmp "again.gguf"
    local o = { from = from, to = a, recipe = "Q4_0", text = tiny.tokens(256, 80), context = 64, awq = true }
    local n = 0
    o.progress = function() n = n + 1 end
    assert(wane.calibrate.gptq(o))
    o.to = b
    for stop = 1, n, 3 do
      local seen = 0
      o.progress = function()
        seen = seen + 1
        return seen < stop
      end
      local r, message, code = wane.calibrate.gptq(o)
      if r then break end -- there was less left to do
      assert.equals("cancelled", message)
      assert.equals("ECANCEL", code)
      assert.is_false(support.exists(b))
    end
    o.progress = nil
    o.overwrite = true
    assert(wane.calibrate.gptq(o))
    assert.is_true(support.slurp(a) == support.slurp(b))
    for _, path in ipairs { from, a, b } do os.remove(path) end
  end)

  it("combines with error feedback", function()
    local from, a, b = tiny.write(), support.tmp "awq.gguf", support.tmp "both.gguf"
    local o = { from = from, to = a, recipe = "Q4_0", text = tiny.tokens(1024, 80), context = 64 }
    assert(wane.calibrate.awq(o))
    o.to, o.awq = b, true
    assert(wane.calibrate.gptq(o))
    local ref = assert(wane.load(from))
    local one, two = assert(wane.load(a)), assert(wane.load(b))
    local d = assert(wane.eval.divergence(ref, { one, two }, tiny.tokens(512, 80, 11), { context = 64 }))
    assert(d[2].kld.mean < d[1].kld.mean, d[2].kld.mean .. " against " .. d[1].kld.mean)
    for _, m in ipairs { ref, one, two } do m:close() end
    for _, path in ipairs { from, a, b } do os.remove(path) end
  end)

  it("writes stock files", function()
    local from, to = tiny.write(), support.tmp "awq.gguf"
    local r = assert(wane.calibrate.awq { from = from, to = to, recipe = "Q4_0", text = tiny.tokens(128, 80), context = 64 })
    assert(#r.scaled > 0)
    local m = assert(wane.load(to))
    m:close()
    os.remove(from)
    os.remove(to)
  end)
end)

describe("calibrate.cost", function()
  support.check_leaks()

  it("measures rates and adds up work", function()
    local cost = require "wane.calibrate.cost"
    local path = tiny.write()
    local m = assert(wane.load(path))
    local rates = cost.rates(m, "q4_0")
    for _, key in ipairs { "pass", "correlate", "factor", "rebuild", "aim", "encode" } do
      assert.is_true(rates[key] > 0 and rates[key] < math.huge, key)
    end
    local ones = { pass = 1, correlate = 1, factor = 1, rebuild = 1, aim = 1, encode = 1 }
    local shape = { layers = 2, width = 64, heads = 4, kv_heads = 2, ff = 128, vocab = 100, tied = true }
    local c = cost.estimate(ones, shape, { tokens = 10, loss_tokens = 3 })
    local layer = 64 * (64 + 2 * 32) + 64 * 64 + 3 * 64 * 128
    local pass = 2 * layer + 64 * 100
    assert.equals(10 * pass, c.imatrix)
    assert.equals(16 * 3 * 2 * pass + 10 * pass, c.sensitivity)
    local corr, rows = 3 * 64 ^ 2 + 128 ^ 2, 64 ^ 2 * (128 + 64 + 256) + 128 ^ 2 * 64
    assert.equals(3 * 10 * pass + 2 * (10 * corr + 3 * 64 ^ 3 + 128 ^ 3 + 2 * rows) + 64 * 100, c.gptq)
    assert.equals(12 * corr + 8 * 128 ^ 2 + 8 * 10 * 64 + layer, c.gptq_bytes)
    local text = cost.table(rates):text()
    for _, name in ipairs { "1B", "8B", "70B" } do assert.truthy(text:find("\n" .. name .. " ", 1, true), text) end
    m:close()
    os.remove(path)
  end)
end)
