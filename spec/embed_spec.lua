--- Embeddings and ranking: the same bits alone and in company, poolings that
--- agree with each other, lengths, dimensions, and what is refused.
local support = require "spec.support"
local tiny = require "spec.support.tiny"
local core = require "wane.core"
local gguf = require "wane.gguf"
local model = require "wane.model"

local VOCAB, WIDTH = 80, 64

local function load(over, edit, opts)
  local path = tiny.write(over, edit)
  local m = assert(model.load(path, opts))
  os.remove(path)
  return m
end

local function length(v)
  local sum = 0
  for k = 1, #v do sum = sum + v[k] ^ 2 end
  return math.sqrt(sum)
end

local function family(name)
  return assert(model.load(support.conformance(("families/%s/%s.F32.gguf"):format(name, name))))
end

describe("embeddings of a causal model", function()
  support.check_leaks()

  it("are what goes into the output matrix", function()
    local m = load()
    local ids = tiny.tokens(21, VOCAB)
    local rows = assert(m:embed(ids, { pooling = "none" }))
    assert.same({ 21, WIDTH }, { rows:shape() })
    local ctx = assert(m:context { kv = "f32" })
    local logits = assert(ctx:eval(ids))
    local out = core.quant.read(m.gguf, m.gguf:find_tensor "token_embd.weight")
    local product = core.vector.times(out, rows:rows(21):copy())
    for k = 1, VOCAB do assert(math.abs(product[k] - logits[k]) < 1e-4) end
    ctx:close()
    m:close()
  end)

  it("pool as the rows say", function()
    local m = load()
    local ids = tiny.tokens(9, VOCAB)
    local rows = assert(m:embed(ids, { pooling = "none" }))
    local mean = assert(m:embed(ids, { pooling = "mean", normalize = false }))
    for k = 1, WIDTH do
      local sum = 0
      for i = 0, 8 do sum = sum + rows[i * WIDTH + k] end
      assert(math.abs(mean[k] - sum / 9) < 1e-6)
    end
    assert.equal(rows:rows(1):bytes(), m:embed(ids, { pooling = "cls", normalize = false }):bytes())
    assert.equal(rows:rows(9):bytes(), m:embed(ids, { pooling = "last", normalize = false }):bytes())
    assert(math.abs(length(m:embed(ids, { pooling = "last" })) - 1) < 1e-6)
    m:close()
  end)

  it("have the same bits alone, in company, in any order and in pieces of a prompt", function()
    local m = load { context = 2048 }
    local texts, alone = {}, {}
    for i, n in ipairs { 1, 40, 700, 5, 33, 64, 1300, 2, 31 } do
      texts[i] = tiny.tokens(n, VOCAB, i)
      alone[i] = assert(m:embed(texts[i], { pooling = "mean" })):bytes()
    end
    for _, threads in ipairs { 1, 3 } do
      local together = assert(m:embed(texts, { pooling = "mean", threads = threads }))
      assert.equal(#texts, #together)
      for i = 1, #texts do assert.truthy(alone[i] == together[i]:bytes(), "text " .. i) end
    end
    m:close()
  end)

  it("keep the first numbers, then normalise", function()
    local m = load()
    local ids = tiny.tokens(7, VOCAB)
    local all = assert(m:embed(ids, { pooling = "last", normalize = false }))
    local part = assert(m:embed(ids, { pooling = "last", dimensions = 16 }))
    local n = length(all:table(1, 16))
    assert.equal(16, #part)
    for k = 1, 16 do assert(math.abs(part[k] - all[k] / n) < 1e-6) end
    local _, msg, code = m:embed(ids, { pooling = "last", dimensions = 65 })
    assert.equal("option 'dimensions' is 65, the model gives 64", msg)
    assert.equal("EARG", code)
    m:close()
  end)

  it("without the output matrix: embeddings = true", function()
    local m = load(nil, nil, { embeddings = true })
    local ids = tiny.tokens(12, VOCAB)
    local ctx = assert(m:context { kv = "f32", batch = 5 })
    local rows = assert(ctx:embed(ids, "none"))
    assert.equal(assert(m:embed(ids, { pooling = "none" })):bytes(), rows:bytes())
    assert.equal(rows:rows(12):bytes(), assert(ctx:embed(ids, "last")):bytes())
    ctx:close()
    m:close()
  end)

  it("are never logits", function()
    local m = load()
    local ctx = assert(m:context())
    assert.has_error(function() ctx:embed { 1, 2 } end,
      "wane: ctx:embed: this model makes logits: use model:embed, or load it with embeddings = true")
    ctx:close()
    m:close()
  end)
end)

describe("embed and rank refuse", function()
  support.check_leaks()

  it("what is no text, unknown options, texts that are too long", function()
    local m = load { context = 64 }
    local ids = tiny.tokens(65, VOCAB)
    assert.has_error(function() m:embed(5) end, "wane: model:embed: texts: want a string or a list of strings, got 5")
    assert.has_error(function() m:embed { "a", true } end, "wane: model:embed: text 2: want a string or token ids, got true")
    assert.has_error(function() m:embed { { 1 }, { 1, 80 } } end, "wane: model:embed: text 2: token 2 is 80, want 0 to 79")
    assert.has_error(function() m:embed(ids, { pooling = "max" }) end,
      'wane: model:embed: option \'pooling\': want "none", "mean", "cls", "last" or "rank", got "max"')
    assert.has_error(function() m:embed(ids, { size = 1 }) end,
      "wane: model:embed: unknown option 'size': want one of dimensions, normalize, parse_special, pooling, threads")
    assert.has_error(function() m:rank("q", "d") end, 'wane: model:rank: documents: want a list of strings, got "d"')
    local _, msg, code = m:embed { { 1, 2 }, ids }
    assert.equal("text 2 has 65 tokens, the model takes at most 64", msg)
    assert.equal("ELIMIT", code)
    _, msg, code = m:embed "a text"
    assert.equal("no tokenizer: the file has no vocabulary", msg)
    assert.equal("EUNSUP", code)
    _, msg, code = m:embed({ 1, 2 }, { pooling = "rank" })
    assert.equal("the file has no tensors cls or cls.output to rank with", msg)
    assert.equal("EUNSUP", code)
    assert.equal("table", type(m:embed { { 1, 2 } })) -- and the model works on
    m:close()
  end)

  it("a classifier of the wrong shape", function()
    for name, shape in pairs { ["cls.weight"] = { 32, 64 }, ["cls.output.weight"] = { 63, 2 } } do
      local m = load(nil, function(_, tensors)
        local n = shape[1] * shape[2]
        tensors[#tensors + 1] = { name = name, type = "f32", shape = shape, data = ("\0"):rep(4 * n) }
      end)
      local _, msg, code = m:embed({ 1, 2 }, { pooling = "rank" })
      assert.truthy(msg:find(name .. " has rows of " .. shape[1] .. " values, want 64", 1, true), msg)
      assert.equal("EFORMAT", code)
      m:close()
    end
  end)
end)

describe("tensors that a model does not use", function()
  support.check_leaks()
  local function with(name)
    return tiny.write(nil, function(_, tensors)
      tensors[#tensors + 1] = { name = name, type = "f32", shape = { 4 }, data = ("\0"):rep(16) }
    end)
  end

  it("are an error that names them, and the caller's choice", function()
    local path = with "blk.0.surprise"
    local m, msg, code = model.load(path)
    assert.is_nil(m)
    assert.equal("EUNSUP", code)
    assert.equal(path .. ': 1 tensors that llama does not use: blk.0.surprise (unused = "ignore" loads it without them)', msg)
    m = assert(model.load(path, { unused = "ignore" }))
    assert.same({ "blk.0.surprise" }, m:info().unused)
    m:close()
    assert.has_error(function() model.load(path, { unused = "drop" }) end,
      'wane: load: option \'unused\': want "ignore" or "error", got "drop"')
    os.remove(path)
  end)

  it("are no error when they are meant for something else", function()
    for _, name in ipairs { "v.patch_embd.weight", "mm.0.weight", "cls.weight", "blk.0.attn_q.input_scale" } do
      local path = with(name)
      local m = assert(model.load(path))
      assert.same({ name }, m:info().unused)
      m:close()
      os.remove(path)
    end
  end)

  it("draft heads behind the trunk are left out", function()
    local path = tiny.write { layers = 3 }
    local whole = assert(gguf.open(path))
    local want = tiny.write({ layers = 3 }, function(meta, tensors)
      for i = #tensors, 1, -1 do
        if tensors[i].name:find "^blk%.2%." then table.remove(tensors, i) end
      end
      for _, e in ipairs(meta) do
        if e[1] == "llama.block_count" then e[3] = 2 end
      end
    end)
    local drafted = tiny.write({ layers = 3 }, function(meta, tensors)
      meta[#meta + 1] = { "llama.nextn_predict_layers", "u32", 1 }
      tensors[#tensors + 1] = { name = "blk.2.nextn.eh_proj.weight", type = "f32", shape = { 128, 64 },
        data = ("\0"):rep(4 * 128 * 64) }
    end)
    local ids = tiny.tokens(8, VOCAB)
    local function logits(file)
      local m = assert(model.load(file))
      local ctx = assert(m:context())
      local l = assert(ctx:eval(ids)):bytes()
      ctx:close()
      m:close()
      return l
    end
    assert.truthy(logits(want) == logits(drafted))
    assert.falsy(logits(want) == logits(path))
    whole:close()
    for _, p in ipairs { path, want, drafted } do os.remove(p) end
  end)
end)

describe("rerankers", function()
  support.check_leaks()

  it("score documents in order, best first in `order`, the same in any company", function()
    local m = family "bert-rank"
    local documents = { "Owls hunt at night.", "The bank opens at nine.", "An owl" }
    local scores = assert(m:rank("owls", documents))
    assert.equal(3, #scores)
    local best = scores.order[1]
    for i = 1, 3 do
      assert(scores[best] >= scores[i])
      assert.equal(scores[i], assert(m:rank("owls", { documents[i] }))[1])
    end
    assert.same({ order = {} }, assert(m:rank("owls", {})))
    m:close()
  end)

  it("a pair is query and document with the vocabulary's marks between", function()
    local m = family "bert-rank"
    local ids = { m.vocab.bos }
    for _, text in ipairs { "owls", "at night" } do
      for _, id in ipairs(m.vocab:encode(text)) do ids[#ids + 1] = id end
    end
    local want = assert(m:embed(ids, { pooling = "rank" }))[1]
    assert.equal(want, assert(m:rank("owls", { "at night" }))[1])
    m:close()
  end)

  it("by template: what it writes is template, what is put in is text", function()
    local path = support.tmp "rank.gguf"
    local f = assert(gguf.open(support.conformance "families/qwen3-rank/qwen3-rank.F32.gguf"))
    assert(f:write(path, { set = { ["tokenizer.chat_template.rerank"] = "<s>{query} {other} {document}</s>" } }))
    f:close()
    local m = assert(model.load(path))
    local v = m.vocab
    local ids = assert(v:encode({
      { text = "<s>", input = false }, { text = "a</s>", input = true }, { text = " {other} ", input = false },
      { text = "{query}", input = true }, { text = "</s>", input = false },
    }, { parse_special = true }))
    local want = assert(m:embed(ids, { pooling = "rank" }))[1]
    assert.equal(want, assert(m:rank("a</s>", { "{query}" }))[1])
    assert(want > 0 and want < 1)
    m:close()
    os.remove(path)
  end)

  it("texts and their ids give the same vector", function()
    local m = family "nomic-bert"
    local ids = assert(m.vocab:encode("the owl", { special = true }))
    local v = assert(m:embed "the owl")
    assert.equal(assert(m:embed(ids)):bytes(), v:bytes())
    assert(math.abs(length(v) - 1) < 1e-6)
    m:close()
  end)
end)
