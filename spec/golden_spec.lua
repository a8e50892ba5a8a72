--- What a clone alone can prove: tiny models of every family, vocabularies,
--- block formats, mixes and templates against what llama.cpp's library (and
--- jinja2) made of them; see spec/golden/*.lua for how.
local arch = require "wane.arch"
local blocks = require "spec.golden.blocks"
local core = require "wane.core"
local families = require "spec.support.families"
local model = require "wane.model"
local models = require "spec.golden.models"
local support = require "spec.support"
local template = require "wane.template"
local vocab = require "wane.vocab"
local vocabularies = require "spec.golden.vocabularies"
local gguf = require "wane.gguf"
local quant = require "wane.quant"
local quantize = require "wane.quantize"

-- The greatest distance from a row that was kept.
local function distance(row, get)
  local worst, scale, cols = 0, 1, models.columns(row.n)
  for i, c in ipairs(cols) do
    worst = math.max(worst, math.abs(row[i] - get(c)))
    scale = math.max(scale, math.abs(row[i]) / 4)
  end
  return worst / scale
end

describe("golden models:", function()
  support.check_leaks()
  local described = {}
  for _, d in ipairs(models.read()) do
    described[d.arch] = true
    it(d.name, function()
      local path = support.tmp "golden.gguf"
      assert(models.write(d, path))
      local m = assert(model.load(path))
      local ids = models.prompt(d)
      local ctx, got, n
      if m:info().result == "embeddings" then
        got = assert(m:embed(ids, { pooling = "none", normalize = false }))
        n = select(2, got:shape())
      else
        ctx = assert(m:context { context = 64, kv = "f32", threads = 1 })
        got, n = assert(ctx:eval(ids, { all = true })), models.vocab(d)
      end
      assert.equals(2, #d.rows)
      for _, row in ipairs(d.rows) do
        row.n = n
        local worst = distance(row, function(c) return got[(row.at - 1) * n + c] end)
        -- what we made ourselves is the same but for the last digits written
        local most = row.who == "wane" and 2e-5 or families.tolerance(d.arch, "F32")
        assert(worst <= most, ("%s at %d: %g from %s's, want at most %g"):format(d.name, row.at, worst, row.who, most))
      end
      if ctx then ctx:close() end
      m:close()
      os.remove(path)
    end)
  end

  it("every family has one", function()
    local missing = {}
    for _, name in ipairs(arch.names()) do
      if not described[name] then missing[#missing + 1] = name end
    end
    -- a family that was added since: spec/golden/make.lua (OWN) wants its shapes
    if #missing > 0 then support.skip("no golden model of " .. table.concat(missing, ", ")) end
    for _, name in ipairs { "llama", "nanbeige", "jamba", "rwkv7", "bert" } do assert.is_true(described[name], name) end
  end)
end)

describe("golden vocabularies:", function()
  support.check_leaks()
  local kept = vocabularies.read()
  for _, kind in ipairs(vocabularies.KINDS) do
    it(kind, function()
      local path, keys = vocabularies.DEMO, vocabularies.tokenizer(kind)
      if keys then
        path = support.tmp "vocab.gguf"
        table.insert(keys, 1, { "general.architecture", "string", "llama" })
        assert(gguf.write { path = path, meta = keys, tensors = {} })
      end
      local v = assert(vocab.open(path, { exact = "llama.cpp" }))
      assert.equals(#vocabularies.TEXTS, #kept[kind])
      for i, text in ipairs(vocabularies.TEXTS) do
        assert.same(kept[kind][i], v:encode(text), ("%s: %q"):format(kind, text))
      end
      v:close()
      if keys then os.remove(path) end
    end)
  end
end)

describe("golden blocks:", function()
  support.check_leaks()
  local rows, mixes = blocks.read()

  it("every format has the peer's bytes", function()
    local b = quant.buffer(blocks.ROWS, blocks.COLS, blocks.rows())
    local weights = blocks.weights()
    local missing = {}
    for _, t in ipairs(core.quant.types()) do missing[t.name] = t.encodable and t.class ~= "act" or nil end
    for _, row in ipairs(rows) do
      local q = assert(quant.encode(row[1], b, { importance = row[2] == "given" and weights or nil }))
      assert.equals(row[3], blocks.hex(q:bytes()), row[1] .. ", importance " .. row[2])
      q:close()
      missing[row[1]] = nil
    end
    b:close()
    assert.same({}, missing)
  end)

  it("every mix has the peer's types", function()
    for _, mix in ipairs(mixes) do
      local plan, types = assert(quantize.plan { from = blocks.DEMO, recipe = mix[1] }), {}
      for i, t in ipairs(plan.tensors) do types[i] = t.to end
      assert.equals(mix[2], blocks.runs(types), mix[1])
    end
    assert.is_true(#mixes > 20)
  end)
end)

describe("golden renders:", function()
  it("templates write what jinja2 writes, and are refused as there", function()
    local vars, n, wrong = nil, 0, {}
    for line in io.lines "spec/golden/renders.jsonl" do
      local row = assert(template.json(line))
      if not vars then
        vars = {}
        for _, p in ipairs(row) do vars[p[1]] = p[2] end
      else
        local source, want = row[1], row[2]
        local text, message = template.render(source, vars)
        if want == template.null then want = nil end
        if text ~= want then wrong[#wrong + 1] = ("%s: %s, want %s"):format(source, text or message, tostring(want)) end
        n = n + 1
      end
    end
    assert.same({}, wrong)
    assert.is_true(n > 500)
  end)
end)
