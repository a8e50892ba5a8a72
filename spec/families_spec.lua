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
      if not v.prompts[1].embeddings then
        it(("%s %s agrees with the peer"):format(name, variant), function()
          if not arch.find(x.arch) then return support.skip("no page for " .. x.arch) end
          local m = assert(model.load(support.conformance("families/" .. name .. "/" .. v.model)))
          for _, p in ipairs(v.prompts) do check_prompt(name, variant, m, v.n_ctx, p) end
          m:close()
        end)
      end
    end
  end
end)
