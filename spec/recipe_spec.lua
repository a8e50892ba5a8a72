--- wane.recipe: mixes against llama.cpp's own choices, recipes as programs.
local models = require "spec.support.models"
local plan = require "wane.recipe.plan"
local recipe = require "wane.recipe"
local regex = require "wane.recipe.regex"
local sandbox = require "wane.recipe.sandbox"
local sources = require "spec.support.sources"
local support = require "spec.support"

local function dense(n_layers, n_cols)
  local kv = {
    { "general.architecture", "str", "llama" }, { "llama.block_count", "u32", n_layers },
    { "llama.attention.head_count", "u32", 8 }, { "llama.attention.head_count_kv", "u32", 8 },
  }
  local tensors = { { "output.weight", { n_cols, 512 }, 0 }, { "token_embd.weight", { n_cols, 512 }, 0 } }
  for i = 0, n_layers - 1 do
    for _, part in ipairs { "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down" } do
      tensors[#tensors + 1] = { ("blk.%d.%s.weight"):format(i, part), { n_cols, 256 }, 0 }
    end
    tensors[#tensors + 1] = { ("blk.%d.attn_norm.weight"):format(i), { n_cols }, 0 }
  end
  return models.describe { kv = kv, tensors = tensors }
end

local function type_of(p, name)
  for _, d in ipairs(p.tensors) do
    if d.name == name then return d.to, d end
  end
  error("no tensor " .. name)
end

describe("mixes of llama.cpp", function()
  support.check_leaks()

  -- Compares one recorded run; returns a line per difference.
  local function compare(model, desc, mix, with, run)
    local opts = { imatrix = with == "imatrix" and models.importance_widths(model) or nil }
    if run.rc == 0 then opts.dry_run = run.requires_imatrix ~= nil end
    local p, msg = plan.make(desc, recipe(mix), opts)
    if run.rc ~= 0 then
      if p then return "made a plan, want an error" end
      if not msg:find(models.essence(run.error), 1, true) then return "another error: " .. msg end
      if not run.dry_run_types then return nil end
      opts.dry_run = true
      p = assert(plan.make(desc, recipe(mix), opts))
      if not p.requires_imatrix then return "does not say that it needs an imatrix" end
    end
    if not p then return msg end
    if run.requires_imatrix ~= nil
      and p.requires_imatrix ~= run.requires_imatrix then return "requires_imatrix" end
    local fell = {}
    for i, want in ipairs(run.types or run.dry_run_types) do
      local d = p.tensors[i]
      if d.to ~= want then return ("%s: %s, want %s"):format(d.name, d.to, want) end
      if d.fell_back then fell[#fell + 1] = d end
    end
    for i, want in ipairs(run.fallback or {}) do
      local d = fell[i]
      if not d or d.name ~= want[1] or d.n_cols ~= want[2] or d.wanted ~= want[3] or d.to ~= want[4] then
        return "fallback " .. want[1]
      end
    end
    if #fell ~= #(run.fallback or {}) then return "number of fallbacks" end
  end

  it("choose the type of every tensor as llama.cpp does", function()
    local all = sources.all()
    if not all then return end
    local n, wrong = 0, {}
    for name, model in pairs(all) do
      local expected, desc = sources.expected(name), models.describe(model)
      for i, want in ipairs(expected.order) do assert.equal(want, desc.tensors[i].name) end
      for mix, runs in pairs(expected.results) do
        for with, run in pairs(runs) do
          n = n + 1
          local difference = compare(model, desc, mix, with, run)
          if difference then wrong[#wrong + 1] = ("%s %s %s: %s"):format(name, mix, with, difference) end
        end
      end
    end
    assert.same({}, wrong)
    assert(n > 1000, "too few runs were compared")
  end)

  it("obey llama.cpp's parameters", function()
    local all = sources.all()
    if not all then return end
    local model, expected = all["llama-8L-gqa4"], sources.expected "llama-8L-gqa4"
    for name, run in pairs(expected.params) do
      local given = assert(models.params[name], name)
      if run.types and not given.from_q8_0 then
        local opts = {}
        for k, v in pairs(given) do opts[k] = v end
        opts.imatrix = opts.with_imatrix and models.importance_widths(model) or nil
        local p = assert(plan.make(models.describe(model, opts), recipe(name:match "^I?Q[%w_]+"
          or "F16"), opts))
        for i, want in ipairs(run.types) do assert.equal(want, p.tensors[i].to, name .. " " .. i) end
        for i, want in ipairs(run.order or expected.order) do assert.equal(want, p.tensors[i].name) end
      end
    end
  end)

  it("have names, aliases and numbers", function()
    assert.equal("Q4_K_M", recipe("q4_k"):mix_name())
    assert.equal("Q4_K_M", recipe("15"):mix_name())
    assert.equal("IQ2_XXS", recipe("iq2_xxs"):mix_name())
    assert.error_matches(function() recipe "Q9_Z" end, "unknown mix 'Q9_Z'")
    assert.error_matches(function() recipe {} end, "recipe wants the name of a mix or a function")
  end)
end)

describe("recipes as programs", function()
  support.check_leaks()

  it("let the last matching rule decide", function()
    local r = recipe "Q4_K_M":when("ffn_down", "q6_K"):layers(0, 1, "q8_0"):role("output", "f16")
    local p = assert(plan.make(dense(8, 256), r, {}))
    assert.equal("q8_0", type_of(p, "blk.0.ffn_down.weight"))
    assert.equal("q6_K", type_of(p, "blk.4.ffn_down.weight"))
    assert.equal("q8_0", type_of(p, "blk.1.attn_q.weight"))
    assert.equal("q4_K", type_of(p, "blk.4.attn_q.weight"))
    assert.equal("f16", type_of(p, "output.weight"))
    assert.equal("f32", type_of(p, "blk.0.attn_norm.weight"))
  end)

  it("never change an existing recipe", function()
    local a = recipe "Q4_K_M"
    local b = a:when("ffn_down", "q8_0")
    assert.equal("q4_K", type_of(assert(plan.make(dense(16, 256), a, {})), "blk.4.attn_q.weight"))
    assert.not_equal(tostring(a), tostring(b))
  end)

  it("are functions of the tensor", function()
    local seen = {}
    local r = recipe(function(t)
      seen[t.name] = t.role
      if t.layer == 0 then return "q8_0" end
      return t.role == "ffn_down" and "Q6_k" or "q4_K"
    end)
    local p = assert(plan.make(dense(4, 256), r, {}))
    assert.equal("q8_0", type_of(p, "blk.0.attn_q.weight"))
    assert.equal("q6_K", type_of(p, "blk.2.ffn_down.weight"))
    assert.equal("output", seen["output.weight"])
    assert.is_nil(seen["blk.0.attn_norm.weight"])
    assert.equal(15, p.file_type)
  end)

  it("tell experts, their shared neighbour and dense layers apart", function()
    local list = {
      { name = "token_embd.weight", shape = { 256, 512 }, type = "f32" },
      { name = "blk.0.ffn_down.weight", shape = { 256, 256 }, type = "f32" },
      { name = "blk.1.ffn_down_exps.weight", shape = { 256, 256, 4 }, type = "f32" },
      { name = "blk.1.ffn_down_shexp.weight", shape = { 256, 256 }, type = "f32" },
      { name = "blk.1.ffn_gate_up_exps.weight", shape = { 256, 512, 4 }, type = "f32" },
    }
    local meta = { ["general.architecture"] = "glm4moe", ["glm4moe.block_count"] = 2, ["glm4moe.expert_count"] = 4 }
    local function model() return assert(require("wane.recipe.describe").model { get = function(k) return meta[k] end, tensors = list }) end
    local seen = {}
    assert(plan.make(model(), recipe(function(t)
      seen[t.name] = { t.role, t.is_expert, t.is_shared }
      return "q4_K"
    end), {}))
    assert.same({ "ffn_down", false, false }, seen["blk.0.ffn_down.weight"])
    assert.same({ "ffn_down_exps", true, false }, seen["blk.1.ffn_down_exps.weight"])
    assert.same({ "ffn_down_shexp", false, true }, seen["blk.1.ffn_down_shexp.weight"])
    assert.same({ "ffn_gate_up_exps", true, false }, seen["blk.1.ffn_gate_up_exps.weight"])
    local p = assert(plan.make(model(), recipe "Q4_K_M":role("ffn_down", "q6_K"):role("ffn_down_exps", "q3_K"), {}))
    assert.equal("q6_K", type_of(p, "blk.0.ffn_down.weight"))
    assert.equal("q3_K", type_of(p, "blk.1.ffn_down_exps.weight"))
    assert.equal("q6_K", type_of(p, "blk.1.ffn_down_shexp.weight"))
  end)

  it("print themselves and their plan as tables", function()
    local r = recipe "Q4_K_M":when("ffn_down", "q6_K")
    assert.matches("q4_K", tostring(r), 1, true)
    assert.matches('1%. when%("ffn_down", q6_K%)', tostring(r))
    local p = assert(plan.make(dense(2, 256), r, {}))
    assert.matches("blk.0.ffn_down.weight%s+256x256%s+f32%s+%-> q6_K", p:text())
    assert.matches("bits per weight", p:text())
    local short = tostring(p)
    assert.matches('blk.%*.ffn_down.weight%s+256x256%s+f32%s+%-> q6_K%s+%S+ KiB%s+when%("ffn_down", q6_K%)%s+0%-1', short)
    assert.matches("bits per weight", short)
    local bytes = 0
    for _, row in ipairs(p:groups().rows) do bytes = bytes + row.bytes end
    assert.equal(p.bytes, bytes)
    assert.is_true(#p:groups().rows < #p:table().rows)
  end)

  it("refuse unknown types, roles and methods at once", function()
    assert.error_matches(function() recipe "Q4_K_M":when("x", "q9_K") end, "unknown type 'q9_K'")
    assert.error_matches(function() recipe "Q4_K_M":when("x", "q8_K") end, "cannot be made")
    assert.error_matches(function() recipe "Q4_K_M":role("attn", "q8_0") end, "unknown role")
    assert.error_matches(function() recipe "Q4_K_M":layers(3, 1, "q8_0") end, "layers wants")
    assert.error_matches(function() recipe "Q4_K_M":when("[", "q8_0") end, "bad pattern")
    assert.error_matches(function() recipe("Q4_K_M"):wenn("x", "q8_0") end, "no method 'wenn'")
  end)

  it("refuse rules that match nothing, never decide or contradict", function()
    local model = dense(4, 256)
    local p, msg = plan.make(model, recipe "Q4_K_M":when("ffn_dwn", "q6_K"), {})
    assert.is_nil(p)
    assert.matches("matches no tensor", msg)
    assert.matches("recipe_spec.lua:%d+", msg)
    p, msg = plan.make(model, recipe "Q4_K_M":layers(9, 12, "q6_K"), {})
    assert.is_nil(p)
    assert.matches("layers%(9, 12", msg)
    p, msg = plan.make(model, recipe "Q4_K_M":when("ffn_down", "q6_K"):when("ffn_", "q8_0"), {})
    assert.is_nil(p)
    assert.matches("never decides", msg)
    assert.error_matches(function() recipe "Q4_K_M":when("a", "q6_K"):when("a", "q8_0") end, "contradicts")
    p, msg = plan.make(model, recipe "Q4_K_M", { tensor_types = { { "nothing", "q6_K" } } })
    assert.is_nil(p)
    assert.matches("'nothing' matches no tensor", msg)
  end)

  it("refuse fields that a tensor does not have", function()
    local ok, msg = pcall(plan.make, dense(1, 256), recipe(function(t) return t.rolle end), {})
    assert.is_false(ok)
    assert.matches("no field 'rolle'", msg)
    ok, msg = pcall(plan.make, dense(1, 256), recipe(function(t) t.layer = 3 end), {})
    assert.is_false(ok)
    assert.matches("read%-only", msg)
    local p
    p, msg = plan.make(dense(1, 256), recipe(function() end), {})
    assert.is_nil(p)
    assert.matches("chose nothing", msg)
  end)

  it("keep the source's type on request", function()
    local p = assert(plan.make(dense(2, 256), recipe "Q4_0":role("attn_v", "keep"), {}))
    assert.equal("f32", type_of(p, "blk.0.attn_v.weight"))
  end)
end)

describe("fallbacks", function()
  local model = dense(2, 288) -- 288 = 9 x 32: no blocks of 256

  it("follow llama.cpp, and are counted", function()
    local p = assert(plan.make(model, recipe "Q4_K_M", { fallback = "llama.cpp" }))
    assert.equal("q5_0", type_of(p, "blk.0.attn_q.weight"))
    assert(p.n_fallback > 0 and p.fallback_share > 0.5 and p.fallback_share <= 1)
    assert.matches("fell back", table.concat(p.warnings, "\n"))
  end)

  it("are refused on request, naming the tensor", function()
    local p, msg = plan.make(model, recipe "Q4_K_M", { fallback = "error" })
    assert.is_nil(p)
    assert.matches("token_embd.weight: rows of 288 values do not fill the blocks of 256", msg)
  end)

  it("use a type of the user's choice", function()
    local p = assert(plan.make(model, recipe "Q4_K_M", { fallback = "q8_0" }))
    assert.equal("q8_0", type_of(p, "blk.0.attn_q.weight"))
    local none, msg = plan.make(model, recipe "Q4_K_M", { fallback = "q6_K" })
    assert.is_nil(none)
    assert.matches("fallback type q6_K", msg)
  end)
end)

describe("tensor name patterns", function()
  it("are regular expressions", function()
    local cases = {
      { "blk\\.[0-2]\\.ffn_down", "blk.1.ffn_down.weight", true },
      { "blk\\.[0-2]\\.ffn_down", "blk.3.ffn_down.weight", false },
      { "attn_(k|v)\\.", "blk.1.attn_v.weight", true }, { "attn_(k|v)\\.", "blk.1.attn_q.weight", false },
      { "^output", "x.output", false }, { "weight$", "output.weight", true },
      { "blk\\.(1?[0-9])\\.", "blk.17.x", true }, { "^blk\\.\\d{2}\\.", "blk.7.x", false },
      { "(?:ab){2,3}c", "ababc", true }, { "(a*)*c", "aaaaab", false }, { "a.+?c$", "abcbc", true },
      { "[^.]+$", "a.b", true }, { "\\bffn", "x.ffn", true }, { "\\Bfn", "x.ffn", true }, { "", "x", true },
    }
    for _, c in ipairs(cases) do assert.equal(c[3], assert(regex.compile(c[1]))(c[2]), c[1]) end
  end)

  it("explain what is wrong with them", function()
    for pattern, why in pairs {
      ["("] = "never closed", ["[a"] = "never closed", ["*a"] = "nothing to repeat",
        ["\\1"] = "back references",
      ["(?=a)"] = "look%-ahead", ["a{3,1}"] = "repeat count", ["x)"] = "unexpected",
        ["a\\"] = "ends the pattern",
    } do
      local f, msg = regex.compile(pattern)
      assert.is_nil(f)
      assert.matches(why, msg)
    end
  end)

  it("cannot hang", function()
    local search = assert(regex.compile "(a|a)*(a|a)*(a|a)*$b")
    local ok, why = pcall(search, ("a"):rep(40))
    assert.is_false(ok)
    assert.matches("^the pattern takes too many steps", why.regex)
  end)
end)

describe("recipe files", function()
  local function run(text) return sandbox.run(text, "r.lua", recipe) end

  it("make recipes", function()
    local r = assert(run [[
      local function first(t) return t.layer == 0 and "q8_0" or nil end
      return recipe "Q4_K_M":when("ffn_down", first)]])
    local p = assert(plan.make(dense(4, 256), r, {}))
    assert.equal("q8_0", type_of(p, "blk.0.ffn_down.weight"))
  end)

  it("see nothing of the world", function()
    for _, name in ipairs { "os", "io", "require", "debug", "load", "loadstring", "getmetatable", "_G",
      "pcall", "rawset" } do
      local r, msg = run("return " .. name .. ".x")
      assert.is_nil(r)
      assert.matches("nil value", msg)
    end
    assert.equal(string.rep, ("").rep)
  end)

  it("end in bounded time and memory", function()
    local r, msg = run "while true do end"
    assert.is_nil(r)
    assert.matches("10 million steps", msg)
    r, msg = run "return (('x'):rep(1e9))"
    assert.is_nil(r)
    assert.matches("1 MiB", msg)
    r = assert(run "return recipe(function(t) while true do end end)")
    local ok, why = pcall(plan.make, dense(1, 256), r, {})
    assert.is_false(ok)
    assert.matches("10 million steps", why)
  end)

  it("are text, and say where they are wrong", function()
    local _, msg = run(string.dump(function() end))
    assert.matches("text chunks only", msg)
    _, msg = run "return recipe 'Q4_K_M':when('x', 'q9')"
    assert.matches("unknown type 'q9'", msg)
    _, msg = run "x x x"
    assert.matches("r.lua:1", msg)
    _, msg = run "return 3"
    assert.matches("returns no recipe", msg)
  end)
end)
