--- What a clone alone can prove: tiny models of every family, vocabularies,
--- block formats, mixes and templates against what llama.cpp's library (and
--- jinja2) made of them; see spec/golden/*.lua for how.
local arch = require "wane.arch"
local families = require "spec.support.families"
local model = require "wane.model"
local models = require "spec.golden.models"
local support = require "spec.support"

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
    assert.same({}, missing)
  end)
end)
