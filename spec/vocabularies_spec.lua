-- Real vocabularies (../shared/conformance/vocabularies): the ids that the
-- models were trained on, and llama.cpp's; the rules themselves on the demo
-- vocabulary.
local S = require "spec.support"
local W = require "spec.support.words"
local cjson = require "cjson"
local gguf = require "wane.gguf"
local vocab = require "wane.vocab"

local from = S.shared .. "conformance/vocabularies/"
local dir = S.tmp "vocabularies"
local NAMES = { "deepseek_v4", "gpt2", "gpt4o", "minilm", "mistral_nemo", "mistral_v1", "mistral_v3", "qwen3",
  "xlm_roberta" }

-- More files, made by the scripts of ../shared/conformance/vocabularies: NAME.gguf in this folder.
local more = os.getenv "WANE_VOCABULARIES"

-- What differs has its reason in the file: the scores of baichuan2 are made up (in the order of the ids, the
-- merges are not), command_r_plus was given no pre-tokenizer (with "command-r" none differs), internlm2's
-- tokenizer.json calls no token special, and nobody recorded Hugging Face's ids for lc-bert-bge and lc-mpt
-- (accents and NFC).
local APART = { baichuan2 = 3, command_r_plus = 70, internlm2 = 1, ["lc-bert-bge"] = 14, ["lc-mpt"] = 15 }

local function rows(path)
  local t = {}
  for line in io.lines(path) do t[#t + 1] = cjson.decode(line) end
  return t
end

local function same(a, b)
  for i = 1, math.max(#a, #b) do
    if a[i] ~= b[i] then return false end
  end
  return true
end

describe("vocabularies", function()
  S.check_leaks()
  setup(function() assert(os.execute("mkdir -p " .. dir)) end)
  teardown(function() os.execute("rm -rf " .. dir) end)

  if not S.exists(from .. "battery.jsonl") then
    pending("../shared/conformance/vocabularies is absent")
  else
    local texts = rows(from .. "battery.jsonl")
    local function check(name, path)
      it("of " .. name .. ": trained and llama.cpp's ids of all texts", function()
        if not path then
          path = dir .. "/" .. name .. ".gguf"
          assert(os.execute(("gunzip -c %svocabs/%s.gguf.gz > %s"):format(from, name, path)))
        end
        local ours = assert(vocab.open(path))
        local peer = assert(vocab.open(path, { exact = "llama.cpp" }))
        assert.equal("trained", ours.exact)
        local n, apart = 0, 0
        for i, r in ipairs(rows(from .. "ids/" .. name .. ".jsonl")) do
          local text, parse = texts[i].text, { parse_special = true }
          W.same_ids(r.ids, peer:encode(text, parse), name .. " llama.cpp: " .. text)
          W.same_ids(r.plain or r.ids, peer:encode(text), name .. " llama.cpp, plain: " .. text)
          local got, want = ours:encode(text, parse), r.hf or r.ids
          if not APART[name] then W.same_ids(want, got, name .. ": " .. text) end
          apart = apart + (same(want, got) and 0 or 1)
          if i % 10 == 0 then assert.equal(#got, ours:count(text, parse)) end
          n = n + 1
        end
        assert.equal(300, n)
        assert.equal(APART[name] or 0, apart)
        ours:close()
        peer:close()
      end)
    end
    for _, name in ipairs(NAMES) do check(name) end
    if more then
      local list = assert(io.popen("ls " .. more))
      for file in list:lines() do
        local name = file:match "^(.*)%.gguf$"
        if name and S.exists(from .. "ids/" .. name .. ".jsonl") then check(name, more .. "/" .. file) end
      end
      list:close()
    end
  end

  --- The demo vocabulary with another pre-tokenizer.
  local function demo(pre, opts)
    local f = assert(gguf.open "examples/models/demo-f16.gguf")
    local to = dir .. "/demo.gguf"
    assert(f:write(to, { set = { ["tokenizer.ggml.pre"] = pre }, overwrite = true }))
    f:close()
    return assert(vocab.open(to, opts))
  end

  it("compose where the model's tokenizer does (NFC), and only there", function()
    local e, f = "e\204\129", "\195\169" -- e and an acute accent; é
    local v = demo "qwen2"
    assert.same(v:encode(f), v:encode(e))
    -- marks are put in order, then composed: a, acute above, dot below
    assert.same(v:encode "\225\186\161\204\129", v:encode "a\204\129\204\163")
    -- Hangul by arithmetic; singletons; exclusions stay apart
    assert.same(v:encode "\234\176\129", v:encode "\225\132\128\225\133\161\225\134\168")
    assert.same(v:encode "K", v:encode "\226\132\170")
    assert.same(v:encode "\224\164\149\224\164\188", v:encode "\224\165\152")
    -- long runs of marks, both orders; across the stretches that are normalised apart
    local up, down = "\204\129", "\204\163"
    assert.same(v:encode("a" .. down:rep(500) .. up:rep(500)), v:encode("a" .. (up .. down):rep(500)))
    for k = 4090, 4100 do
      assert.same(v:encode(("x"):rep(k) .. f .. "y"), v:encode(("x"):rep(k) .. e .. "y"))
    end
    v:close()
    for _, other in ipairs { demo "llama-bpe", demo("qwen2", { exact = "llama.cpp" }) } do
      assert.are_not.same(other:encode(f), other:encode(e))
      other:close()
    end
  end)

  it("are chosen when a model is loaded", function()
    local model = require "wane.model"
    for _, exact in ipairs { "trained", "llama.cpp" } do
      local m = assert(model.load("examples/models/demo-f16.gguf", { exact = exact }))
      assert.equal(exact, m.vocab.exact)
      m:close()
    end
    local m = assert(model.load "examples/models/demo-f16.gguf")
    assert.equal("trained", m.vocab.exact)
    m:close()
    assert.has_error(function() model.load("x.gguf", { exact = "peer" }) end,
      [[wane: load: option 'exact': want "trained" or "llama.cpp", got "peer"]])
  end)
end)
