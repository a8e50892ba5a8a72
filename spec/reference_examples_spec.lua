--- The examples in the comments of public functions: every public function has
--- one, all are Lua, and all run with a model, a file and the like at hand; what
--- they say they print (`--> text`) is printed.
local reference = require "spec.support.reference"
local support = require "spec.support"

-- Examples that are shown and not run, and why: by tag, or all of a page.
local SHOWN = {
  ["wane.arch.graph"] = "pieces of an architecture's page: spec/families_spec runs those",
  ["the tensor that a recipe sees"] = "inside of a recipe file: spec/recipe_spec runs those",
  ["wane.tune"] = "minutes: docs/tuning.md runs them", ["wane.serve"] = "waits for clients: spec/serve_spec runs them",
  ["wane.sweep"] = "folders of the reader's: spec/sweep_spec runs them",
  ["wane.chat.new"] = "tools want a template, which the demo model has not: spec/chat_spec runs it",
  ["wane.template.compile"] = "of a model with a template",
  ["wane.recipe.load"] = "a file of the reader's", ["wane.provenance.verify"] = "files of the reader's",
  ["wane.imatrix.open"] = "a file of the reader's", ["imatrix:also"] = "of a mixture of experts", ["wane.lora.open"] = "a file of the reader's",
  ["wane.vocab.open"] = "a file of the reader's",
  ["wane.lora.merge"] = "files of the reader's",
  ["model:rank"] = "of a model that ranks",
  ["wane.embed.rank"] = "of a model that ranks",
  ["context:embed"] = "of a model that makes embeddings",
  ["wane.calibrate.gptq"] = "seconds: spec/calibrate_spec runs it", ["wane.calibrate.awq"] = "seconds: spec/calibrate_spec runs it",
  ["wane.calibrate.learn"] = "a file to start from: spec/learn_spec runs it",
  ["wane.calibrate.sensitivity"] = "seconds: docs/tuning.md runs it",
  ["wane.eval.sensitivity"] = "seconds: spec/search_spec runs it", ["wane.eval.sensitivity.measure"] = "seconds: spec/search_spec runs it",
  ["sensitivity:table"] = "seconds: spec/search_spec runs it", ["wane.recipe.solve"] = "seconds: spec/search_spec runs it",
  ["wane.recipe.front"] = "seconds: spec/search_spec runs it",
}

local function compile(text, name, env)
  if rawget(_G, "setfenv") then
    local chunk, why = rawget(_G, "loadstring")(text, "=" .. name)
    return chunk and rawget(_G, "setfenv")(chunk, env or _G), why
  end
  return load(text, "=" .. name, "t", env or _G)
end

local jobs = 0
local function n_jobs()
  jobs = jobs + 1
  return jobs
end

-- What examples find at hand: a small model and things made of it. Made on
-- first use, so that one example alone is quick; closed at the end.
local function at_hand(dir, page)
  local wane = require "wane"
  local path, text = wane.demo()
  local made = {}
  local makers = {
    model = function() return assert(wane.load(path, { context = 256, threads = 1 })) end,
    vocab = function(e) return e.model.vocab end,
    v = function(e) return e.vocab end,
    id = function(e) return e.s:pick(e.logits) end,
    ids = function(e) return e.vocab:encode "Once upon a time" end,
    ctx = function(e) return assert(e.model:context { context = 256, sequences = 2 }) end,
    logits = function(e) return assert(e.ctx:eval(e.ids)) end,
    f = function() return assert(wane.gguf.open(path)) end,
    w = function(e) return assert(e.f:tensor("blk.0.attn_q.weight"):read(1, 4)) end,
    q = function(e) return e.b end,
    b = function(e) return assert(wane.quant.encode("q4_K", e.w)) end,
    nf4 = function() return require("wane.quant.custom").find "nf4" end,
    coded = function(e) return assert(e.nf4:encode(e.w)) end,
    recipe = function() return wane.recipe "Q4_K_M" end,
    im = function(e)
      return assert(wane.calibrate.imatrix(e.model, text:sub(1, 2000), { context = 64, chunks = 2 }))
    end,
    s = function(e) return assert(wane.sample.new(e.model, { temperature = 0 })) end,
    gen = function(e) return e.model:generate("Once", { max_tokens = 4, seed = 1 }) end,
    batch = function(e) return e.ctx:batch() end,
    chat = function(e) return e.model:chat { max_tokens = 4, seed = 1, context = 128 } end,
    p = function(e) return wane.answer.parser(e.model) end,
    fit = function() return assert(wane.fit { model = path, ram = "1G" }) end,
    f16 = function(e) return e.model end,
    q4 = function() return assert(wane.eval.shrink(path, "Q4_0", { threads = 1 })) end,
    c = function() return assert(wane.eval.compare { reference = path, candidates = { "Q8_0" }, text = text, context = 64, chunks = 1,
      speed = false }) end,
    results = function(e) return assert(wane.eval.tasks.run(e.model, { wane.eval.tasks.copy { n = 1 } })) end,
    job = function()
      return assert(wane.quantize.start { from = path, to = ("%sjob%d.gguf"):format(dir, n_jobs()), recipe = "Q8_0", overwrite = true })
    end,
    t = function() return wane.report.table({ { key = "n", title = "n" } }):add { n = 1 } end,
  }
  if page == "wane.template" or page == "wane.vocab" or page == "wane.answer" then
    makers.t = function() return assert(wane.template.compile "{{ messages }}{{ name }}") end
    makers.source = function() return "{{ messages }}" end
  elseif page == "wane.quant" then
    makers.t = function(e) return assert(e.f:tensor "blk.0.attn_q.weight") end
  end
  local env = { wane = wane, path = path, text = text:sub(1, 6000), io = { write = function() end }, print = function() end, quant = wane.quant,
    sample = require "wane.sample", answer = require "wane.answer", template = require "wane.template",
    imatrix = wane.imatrix, report = wane.report, json = wane.json,
    vars = {}, messages = {} }
  setmetatable(env, { __index = function(e, key)
    if makers[key] then
      local v = makers[key](e)
      made[#made + 1] = v
      rawset(e, key, v)
      return v
    end
    return _G[key]
  end })
  return env, function()
    for i = #made, 1, -1 do
      local v = made[i]
      local has, close = pcall(function() return v.close end)
      if has and type(close) == "function" then pcall(close, v) end
    end
  end
end

-- Runs one example with fresh things at hand; what it promises is printed.
local function run(e, dir)
  local env, close = at_hand(dir, e.page)
  local said = {}
  function env.print(...)
    local t = {}
    for i = 1, select("#", ...) do t[i] = tostring((select(i, ...))) end
    said[#said + 1] = table.concat(t, " "):gsub("%s+", " ")
  end
  -- files go into the folder of this Lua: another one runs the same beside it
  local text = e.text:gsub('"([%w-]+%.gguf)"', ('"%s%%1"'):format(dir))
  local ok, why = pcall(assert(compile(text, e.tag, env)))
  close()
  assert(ok, why)
  local printed = "\n" .. table.concat(said, "\n") .. "\n"
  for want in e.text:gmatch "%-%->%s*([^\n]-)%s*%f[\n%z]" do
    local line = want:gsub("%s+", " ")
    assert(printed:find("\n" .. line .. "\n", 1, true), ("%s: want the line '%s', printed was:%s"):format(e.tag, line, printed))
  end
end

describe("examples of the reference:", function()
  it("every public function has one", function()
    local missing = reference.without_example()
    assert(#missing == 0, "no example: " .. table.concat(missing, ", "))
  end)

  it("every one is Lua", function()
    local list = reference.examples()
    assert.is_true(#list > 200)
    for _, e in ipairs(list) do assert(compile(e.text, e.tag)) end
  end)

  -- the pages in turn, so that a failure names one
  local pages, seen = {}, {}
  for _, e in ipairs(reference.examples()) do
    if not seen[e.page] and not SHOWN[e.page] then
      seen[e.page] = true
      pages[#pages + 1] = e.page
    end
  end
  for _, page in ipairs(pages) do
    it("those of " .. page .. " run, and print what they say", function()
      if os.getenv "WANE_LANE" then support.skip "not under a sanitizer" end
      local dir = support.tmp "examples"
      for _, e in ipairs(reference.examples()) do
        if e.page == page and not SHOWN[e.tag] then run(e, dir) end
      end
      os.execute("rm -f " .. dir .. "*")
    end)
  end
end)
