--- Perplexity and divergence: the definition, the numbers of llama.cpp, and
--- bad input.
local core = require "wane.core"
local demo = require "spec.support.demo"
local gguf = require "wane.gguf"
local support = require "spec.support"
local tiny = require "spec.support.tiny"
local wane = require "wane"

local function load(path, opts) return assert(wane.load(path or demo.path, opts)) end

-- The demo model with another last token.
local function other_tokens(at)
  local f = assert(gguf.open(demo.path))
  local changed = {}
  for i, t in ipairs(f.meta["tokenizer.ggml.tokens"]) do changed[i] = t end
  changed[at] = "other"
  local path = support.tmp "vocab.gguf"
  assert(f:write(path, { set = { ["tokenizer.ggml.tokens"] = changed } }))
  f:close()
  return path
end

describe("eval", function()
  support.check_leaks()

  it("scores the second half of each chunk after BOS, as llama.cpp does", function()
    local m = load()
    local ids = m.vocab:encode(demo.text():sub(1, 4000), { special = true })
    local r = assert(wane.eval.perplexity(m, ids, { context = 64, chunks = 3 }))
    -- by hand: one token after another
    local sum, n = 0, 0
    local ctx = assert(m:context { context = 64 })
    for c = 0, 2 do
      ctx:truncate(0)
      for i = 1, 63 do
        local id = i == 1 and m.vocab.bos or ids[c * 64 + i]
        local logits = assert(ctx:eval { id })
        if i > 32 then
          local top, all, target = -math.huge, 0, ids[c * 64 + i + 1]
          for k = 1, m.vocab.n do top = math.max(top, logits[k]) end
          for k = 1, m.vocab.n do all = all + math.exp(logits[k] - top) end
          sum, n = sum - (logits[target + 1] - top - math.log(all)), n + 1
        end
      end
    end
    assert.equals(n, r.tokens)
    assert.near(sum / n, r.nll, 2e-3)
    assert.near(math.exp(r.nll), r.perplexity, 1e-9)
    ctx:close()
    m:close()
  end)

  it("finds no divergence of a model from itself, and some from a shrunk one", function()
    local a, b = load(), load()
    local c = assert(wane.eval.shrink(demo.path, "Q4_0"))
    local d = assert(wane.eval.divergence(a, { b, c }, demo.text(), { context = 128, chunks = 2, positions = true }))
    assert.equals(0, d[1].kld.max)
    assert.equals(1, d[1].same_top)
    assert.equals(1, d[1].ratio)
    assert.is_true(d[2].kld.mean > 1e-3 and d[2].kld.mean < 0.1)
    assert.is_true(d[2].kld.min > -1e-5)
    assert.is_true(d[2].same_top < 1 and d[2].rms_dp > 0)
    assert.equals(#d[2].positions.kld, #d[2].positions.target)
    -- the ratio is that of the two perplexities
    assert.near(d[2].perplexity / d[2].reference_perplexity, d[2].ratio, 1e-9)
    for _, m in ipairs { a, b, c } do m:close() end
  end)

  it("tells the loss of weights from that of activations", function()
    local a, q4 = load(), assert(wane.eval.shrink(demo.path, "Q4_0"))
    -- the same weights as numbers: what float activations must come to
    local small, plain = support.tmp "q4.gguf", support.tmp "q4-f32.gguf"
    assert(wane.quantize { from = demo.path, to = small, recipe = "Q4_0" })
    assert(wane.quantize { from = small, to = plain, recipe = "F32", allow_requantize = true })
    local numbers = assert(wane.load(plain))
    local function kld(reference, candidate, kind)
      local d = assert(wane.eval.divergence(reference, { candidate }, demo.text(), { context = 64, chunks = 2, activations = kind }))
      return d[1].kld.mean
    end
    assert(kld(numbers, q4) > 1e-5)
    assert(kld(numbers, q4, "float") < 1e-7, kld(numbers, q4, "float"))
    local rounded = {}
    for _, kind in ipairs { "float", "int8", "fp8" } do
      local m = assert(wane.load(demo.path, { activations = kind }))
      rounded[kind] = kld(a, m)
      m:close()
    end
    assert(rounded.float < 1e-7 and rounded.int8 > 1e-4 and rounded.fp8 > rounded.int8 and rounded.fp8 < 0.01)
    -- perplexity has it, too, and all threads agree
    local one = assert(wane.eval.perplexity(q4, demo.text(), { context = 64, chunks = 1, activations = "int8", threads = 1 }))
    local two = assert(wane.eval.perplexity(q4, demo.text(), { context = 64, chunks = 1, activations = "int8", threads = 2 }))
    assert.equals(one.nll, two.nll)
    assert.error_matches(function() a:context { activations = "int4" } end, "option 'activations': want")
    for _, m in ipairs { a, q4, numbers } do m:close() end
    os.remove(small)
    os.remove(plain)
  end)

  it("rounds what meets experts, too", function()
    local path = tiny.write { experts = 4, used = 2 }
    local m, last = assert(wane.load(path)), 0
    for _, kind in ipairs { "float", "int8", "fp8" } do
      local v = assert(wane.load(path, { activations = kind }))
      local d = assert(wane.eval.divergence(m, { v }, tiny.tokens(256, 80), { context = 64, chunks = 2, threads = 1 }))
      assert(d[1].kld.mean >= last - 1e-9 and d[1].kld.mean < 0.01, kind)
      last = d[1].kld.mean
      v:close()
    end
    assert(last > 0)
    m:close()
    os.remove(path)
  end)

  it("says the same whatever the number of threads", function()
    local m = load()
    local one = assert(wane.eval.perplexity(m, demo.text(), { context = 64, chunks = 2, threads = 1 }))
    local two = assert(wane.eval.perplexity(m, demo.text(), { context = 64, chunks = 2, threads = 2 }))
    assert.equals(one.nll, two.nll)
    m:close()
  end)

  it("refuses a text shorter than a chunk", function()
    local m = load()
    local r, message, code = wane.eval.perplexity(m, "Too short.", { context = 512 })
    assert.is_nil(r)
    assert.matches("fewer than one chunk of 512", message)
    assert.equals("EDATA", code)
    m:close()
  end)

  it("refuses models of another vocabulary", function()
    local m = load()
    local path = tiny.write { vocab = 80 }
    local other = load(path)
    local r, message, code = wane.eval.divergence(m, { other }, demo.text(), { context = 64, chunks = 1 })
    assert.is_nil(r)
    assert.matches("different vocabularies: .* 2048 tokens, .* 80", message)
    assert.equals("EDATA", code)
    other:close()
    m:close()
    os.remove(path)
  end)

  it("refuses a model whose tokens differ", function()
    for _, at in ipairs { 2048, 1236 } do -- whichever it is
      local path = other_tokens(at)
      local a, b = load(), load(path)
      local r, message, code = wane.eval.divergence(a, { b }, demo.text(), { context = 64, chunks = 1 })
      assert.is_nil(r)
      assert.equals("EDATA", code)
      assert.matches(("different vocabularies: token %d is "):format(at - 1), message)
      a:close()
      b:close()
      os.remove(path)
    end
  end)

  it("raises for unknown options and nonsense", function()
    local m = load()
    assert.error_matches(function() wane.eval.perplexity(m, "x", { contxt = 3 }) end, "unknown option 'contxt'")
    assert.error_matches(function() wane.eval.perplexity(m, "x", { context = 2.5 }) end, "option 'context': want an integer from 4")
    assert.error_matches(function() wane.eval.perplexity(m, 12) end, "text: want a string, or a list of integers, got 12")
    assert.error_matches(function() wane.eval.divergence(m, {}, "x") end, "candidates: want a list")
    m:close()
  end)

  it("agrees with llama.cpp's figures for the demo model", function()
    if os.getenv "WANE_SLOW" == "0" or jit then support.skip "40 chunks are run under Lua 5.4 only" end
    local index = require("cjson").decode(support.slurp(support.conformance "eval/index.json"))
    local names, models = { "Q8_0", "Q4_K_M" }, {}
    for i, name in ipairs(names) do models[i] = assert(wane.eval.shrink(demo.path, name)) end
    local reference = load()
    local d = assert(wane.eval.divergence(reference, models, demo.text(), { context = index.context, chunks = index.chunks }))
    assert.near(index.f16.ppl, d[1].reference_perplexity, 1e-3 * index.f16.ppl)
    assert.near(index.f16.ppl_err, d[1].reference_perplexity_err, 1e-2 * index.f16.ppl_err)
    for i, name in ipairs(names) do
      local want = index.results[name].none
      assert.near(want.ppl[1], d[i].perplexity, 1e-3 * want.ppl[1])
      -- its own kernels round activations differently, which is part of small divergences
      local slack = name == "Q8_0" and 0.7 or 0.12
      assert.near(want.kld_mean[1], d[i].kld.mean, slack * want.kld_mean[1])
      assert.near(want.same_top_percent[1], 100 * d[i].same_top, 0.6)
    end
    reference:close()
    for _, m in ipairs(models) do m:close() end
  end)
end)

describe("eval.shrink", function()
  support.check_leaks()

  it("computes exactly what the quantized file does", function()
    local path = support.tmp "shrunk.gguf"
    assert(wane.quantize { from = demo.path, to = path, recipe = "Q4_K_M" })
    local file, memory = load(path), assert(wane.eval.shrink(demo.path, "Q4_K_M"))
    local d = assert(wane.eval.divergence(file, { memory }, demo.text(), { context = 128, chunks = 1 }))
    assert.equals(0, d[1].kld.max)
    assert.equals(file:info().weight_bytes, memory:info().weight_bytes)
    file:close()
    memory:close()
    os.remove(path)
  end)

  it("uses formats defined in Lua, alone and in recipes", function()
    local small = tiny.write { vocab = 64, width = 64, ff = 64 }
    local reference = load(small)
    wane.quant.define {
      name = "spec-zero", block = 32, bits = 0,
      encode = function() return true end,
      decode = function(_, n)
        local out = {}
        for i = 1, n do out[i] = 0 end
        return out
      end,
    }
    local all = assert(wane.eval.shrink(small, "spec-zero"))
    local ctx = assert(all:context { context = 8 })
    local logits = assert(ctx:eval { 1, 2, 3 })
    for i = 1, 64 do assert.equals(0, logits[i]) end
    ctx:close()
    local recipe = wane.recipe "Q8_0":when("ffn_down", "spec-zero")
    local some = assert(wane.eval.shrink(small, recipe))
    for _, t in ipairs(some.plan.tensors) do
      local want = t.name:find "ffn_down" and "spec-zero" or t.name:find "norm" and "f32" or "q8_0"
      assert.equals(want, t.to)
    end
    local r, message, code = wane.quantize { from = small, to = support.tmp "no.gguf", recipe = recipe }
    assert.is_nil(r)
    assert.matches("defined in Lua", message)
    assert.equals("EUNSUP", code)
    wane.quant.undefine "spec-zero"
    for _, m in ipairs { reference, all, some } do m:close() end
    os.remove(small)
  end)

  it("gives each expert its own importance", function()
    local path = tiny.write { experts = 4, used = 2, width = 256, ff = 256, heads = 4, kv = 2, layers = 1 }
    local importance, cols = {}, 256
    local f = assert(gguf.open(path))
    for _, t in ipairs(f.tensors) do
      if t.name:find "exps" then
        local v = {}
        for i = 1, cols * 4 do v[i] = 1 + (i * 7919 % 101) end
        importance[t.name] = v
      end
    end
    f:close()
    local out = support.tmp "moe.gguf"
    assert(wane.quantize { from = path, to = out, recipe = "Q4_K_S", imatrix = importance })
    local file, memory = load(out), assert(wane.eval.shrink(path, "Q4_K_S", { imatrix = importance }))
    local ids = tiny.tokens(40, 80)
    local d = assert(wane.eval.divergence(file, { memory }, ids, { context = 32 }))
    assert.equals(0, d[1].kld.max)
    for _, m in ipairs { file, memory } do m:close() end
    os.remove(path)
    os.remove(out)
  end)

  it("says when importance is missing", function()
    local m, message, code = wane.eval.shrink(demo.path, "IQ2_XXS")
    assert.is_nil(m)
    assert.matches("needs an importance matrix", message)
    assert.equals("EDATA", code)
  end)

  it("refuses replacements of another shape or name", function()
    local b = core.quant.buffer(1, 2)
    assert.error_matches(function() wane.load(demo.path, { replace = { ["token_embd.weight"] = b } }) end,
      "1 rows of 2, want 2048 of 256")
    assert.error_matches(function() wane.load(demo.path, { replace = { nothing = b } }) end, "uses no tensor nothing")
    assert.error_matches(function() wane.load(demo.path, { replace = { ["token_embd.weight"] = "text" } }) end,
      "option 'replace': want buffers or blocks by tensor name, got a table")
    assert.error_matches(function() wane.load(demo.path, { replace = { [1] = b } }) end,
      "option 'replace': want buffers or blocks by tensor name, got a table")
    b:close()
  end)
end)
