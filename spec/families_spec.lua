--- Every model of conformance/families against the peer's logits of every
--- position, its greedy tokens and its embeddings. Families that wane does not
--- have are listed as pending, by name.
local support = require "spec.support"
local data = require "spec.support.logits"
local families = require "spec.support.families"
local arch = require "wane.arch"
local model = require "wane.model"

-- WANE_FAMILIES=1 prints the largest differences.
local function say(...)
  if os.getenv "WANE_FAMILIES" then print(("%-24s %-8s %-10s %.2e"):format(...)) end
end

local function check_prompt(name, variant, m, n_ctx, p)
  local ctx = assert(m:context { context = n_ctx, kv = "f32", threads = 2 })
  local logits = assert(ctx:eval(p.tokens, { all = true }))
  local max = families.tolerance(m.hp.architecture, variant)
  local worst, bad = families.compare("families/" .. name .. "/", p, logits, max,
    m.hp.expert_count > 0)
  say(name, variant, #p.tokens .. " tokens", worst)
  assert(not bad, bad)
  if not p.dequantized_weights_logits_file then
    local n = data.greedy(ctx, logits, #p.tokens, p.greedy, p.greedy_margin, 2 * max, families.VOCAB)
    assert.equal(#p.greedy, n)
  end
  ctx:close()
end

-- Every pooling of a prompt; rows of the "none" kind come as one buffer.
local function check_embeddings(name, m, p)
  local max = families.tolerance(m.hp.architecture, "F32")
  for kind, e in pairs(p.embeddings) do
    local got = assert(m:embed(p.tokens, { pooling = kind, normalize = false }))
    local rows, cols = got:shape()
    local want = data.rows("families/" .. name .. "/" .. e.file, cols)
    assert.equal(#want, #got)
    local worst = 0
    for i = 1, rows do worst = math.max(worst, data.row_diff(got, i, want, i, cols)) end
    say(name, kind, #p.tokens .. " tokens", worst)
    assert(worst <= max, ("%s embeddings of %d tokens differ by %g, want at most %g"):format(kind, #p.tokens, worst, max))
  end
end

describe("families:", function()
  support.check_leaks()
  local index = families.index()
  it("there is data", function() support.conformance "families/index.json" end)
  for _, name in ipairs(families.names(index)) do
    local x = index[name]
    local variants = {}
    for v in pairs(x.variants) do variants[#variants + 1] = v end
    table.sort(variants)
    for _, variant in ipairs(variants) do
      local v = x.variants[variant]
      if v.prompts[1].embeddings then
        it(("%s %s has the peer's embeddings"):format(name, variant), function()
          if not arch.find(x.arch) then return support.skip("no page for " .. x.arch) end
          local m = assert(model.load(support.conformance("families/" .. name .. "/" .. v.model)))
          for _, p in ipairs(v.prompts) do check_embeddings(name, m, p) end
          m:close()
        end)
      else
        it(("%s %s agrees with the peer"):format(name, variant), function()
          if not arch.find(x.arch) then return support.skip("no page for " .. x.arch) end
          local m = assert(model.load(support.conformance("families/" .. name .. "/" .. v.model)))
          for _, p in ipairs(v.prompts) do check_prompt(name, variant, m, v.n_ctx, p) end
          m:close()
        end)
      end
    end
  end

  -- Operations that only these families use: alone, in pieces, on any number
  -- of threads, one operation a stage.
  local tokens = {}
  for i = 1, 40 do tokens[i] = i * 37 % families.VOCAB end
  local function path(name) return support.conformance(("families/%s/%s.F32.gguf"):format(name, name)) end

  for _, name in ipairs { "bailingmoe2", "mistral3", "qwen3vl", "qwen2moe", "gemma3", "muse-glimmer" } do
    it(name .. ": any cut, threads and stages give the same bits", function()
      local want
      for _, fuse in ipairs { true, false } do
        local m = assert(model.load(path(name), { fuse = fuse }))
        for _, o in ipairs { { 40, 1 }, { 40, 3 }, { 1, 1 }, { 7, 2 } } do
          local ctx = assert(m:context { kv = "f32", batch = o[1], threads = o[2] })
          local got = assert(ctx:eval(tokens, { all = true })):bytes()
          want = want or got
          assert.truthy(want == got, ("batches of %d on %d threads differ, fuse %s"):format(o[1], o[2], tostring(fuse)))
          ctx:close()
        end
        m:close()
      end
    end)
  end

  for _, name in ipairs { "modern-bert", "jina-bert-v2", "nomic-bert-moe", "gemma-embedding", "eurobert" } do
    it(name .. ": company, threads and stages do not change a bit", function()
      local texts = {}
      for i, n in ipairs { 40, 3, 17, 40, 33 } do
        texts[i] = {}
        for k = 1, n do texts[i][k] = (i * 31 + k * 37) % families.VOCAB end
      end
      local want = {}
      for _, fuse in ipairs { true, false } do
        local m = assert(model.load(path(name), { fuse = fuse }))
        for _, threads in ipairs { 1, 3 } do
          local o = { pooling = "none", threads = threads }
          local together = assert(m:embed(texts, o))
          for i, text in ipairs(texts) do
            want[i] = want[i] or assert(m:embed(text, o)):bytes()
            assert.truthy(want[i] == together[i]:bytes(), ("text %d on %d threads"):format(i, threads))
          end
        end
        m:close()
      end
    end)
  end
end)
