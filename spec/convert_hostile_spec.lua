--- Checkpoints whose JSON and sentencepiece files were tampered with: a message
--- or a file, never a raised error, and nothing left behind.
local support = require "spec.support"
local checkpoint = require "spec.support.checkpoint"
local files = require "spec.support.checkpoint.files"
local json = require "wane.json"
local wane = require "wane"

local SEED, WIDTH, FF = 20261130, 32, 64
local TOKENS, SCORES, KINDS = { "<unk>", "<s>", "</s>", "[CLS]" }, { 0, 0, 0, 0 }, { 2, 3, 3, 3 }
for i = 5, 40 do TOKENS[i], SCORES[i], KINDS[i] = ("w%02d"):format(i), -i, i == 40 and 4 or 1 end
for i = 10, 13 do TOKENS[i], KINDS[i] = ("<0x%02X>"):format(i), 6 end

local function random(seed)
  local x = seed
  return function(n)
    x = x * 16807 % 2147483647
    return x % n + 1
  end
end

local function config()
  return {
    architectures = json.list { "LlamaForCausalLM" }, model_type = "llama", hidden_size = WIDTH, intermediate_size = FF,
    num_hidden_layers = 1, num_attention_heads = 2, num_key_value_heads = 1, max_position_embeddings = 64, rms_norm_eps = 1e-5,
    vocab_size = #TOKENS, rope_theta = 10000, rope_scaling = { rope_type = "llama3", factor = 8, low_freq_factor = 1,
      high_freq_factor = 4, original_max_position_embeddings = 32 }, eos_token_id = 2, bos_token_id = 1,
  }
end

local function weights()
  local list = {}
  for _, t in ipairs {
    { "model.embed_tokens.weight", #TOKENS, WIDTH }, { "model.norm.weight", WIDTH },
    { "model.layers.0.input_layernorm.weight", WIDTH }, { "model.layers.0.post_attention_layernorm.weight", WIDTH },
    { "model.layers.0.self_attn.q_proj.weight", WIDTH, WIDTH }, { "model.layers.0.self_attn.k_proj.weight", WIDTH / 2, WIDTH },
    { "model.layers.0.self_attn.v_proj.weight", WIDTH / 2, WIDTH }, { "model.layers.0.self_attn.o_proj.weight", WIDTH, WIDTH },
    { "model.layers.0.mlp.gate_proj.weight", FF, WIDTH }, { "model.layers.0.mlp.up_proj.weight", FF, WIDTH },
    { "model.layers.0.mlp.down_proj.weight", WIDTH, FF },
  } do
    list[#list + 1] = { name = t[1], dtype = "F16", shape = { t[2], t[3] }, bytes = ("\0"):rep(t[2] * (t[3] or 1) * 2) }
  end
  return list
end

local MERGES = { "w 0", "w0 5", "w0 6" }
local TOKENIZERS = {
  bytes = files.byte_level(TOKENS, KINDS, MERGES), fallback = files.fallback(TOKENS, KINDS, MERGES),
  wordpiece = files.wordpiece(TOKENS, KINDS), unigram = files.unigram(TOKENS, SCORES, KINDS),
}
local POST = {
  type = "TemplateProcessing",
  single = json.list { { SpecialToken = { id = "<s>", type_id = 0 } }, { Sequence = { id = "A", type_id = 0 } },
    { SpecialToken = { id = "</s>", type_id = 0 } } },
  pair = json.list { { Sequence = { id = "A", type_id = 0 } }, { SpecialToken = { id = "</s>", type_id = 0 } },
    { Sequence = { id = "B", type_id = 0 } } },
}

-- Values that stand where others were.
local WRONG = { json.null, 0, -1, 1.5, 1e30, "", "x", true, false, {}, json.list {}, json.list { 1, "x" }, { a = { b = 1 } } }

-- A copy of decoded JSON with one value changed: the k-th met, by another.
local function tampered(v, k, by)
  local at = 0
  local function copy(x)
    at = at + 1
    if at == k then return by end
    if type(x) ~= "table" or x == json.null then return x end
    local keys, out = {}, {}
    for key in pairs(x) do keys[#keys + 1] = key end
    table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
    for _, key in ipairs(keys) do out[key] = copy(x[key]) end
    return setmetatable(out, getmetatable(x))
  end
  local made = copy(v)
  return made, at
end

describe("hostile checkpoints:", function()
  support.check_leaks()
  local dir, to
  before_each(function()
    dir = support.tmp "hostile"
    to = dir .. "/out.gguf"
    os.execute("mkdir -p " .. dir)
    checkpoint.weights(dir, weights())
    checkpoint.write(dir .. "/config.json", json.encode(config()))
    checkpoint.write(dir .. "/tokenizer_config.json", json.encode {
      bos_token = "<s>", eos_token = { content = "</s>" }, unk_token = "<unk>", add_bos_token = true, chat_template = "x",
      added_tokens_decoder = { ["3"] = { content = "[CLS]", special = true } },
    })
  end)
  after_each(function() os.execute("rm -rf " .. dir) end)

  -- Converts; a file or a message, and nothing beside.
  local function try(what)
    os.remove(to)
    local fine, ok, message, code = pcall(wane.convert, { from = dir, to = to })
    assert(fine, ("%s: raised %s"):format(what, tostring(ok)))
    if ok then return true end
    assert(type(message) == "string" and #message > 0, what)
    assert(type(code) == "string" and code:find "^E%u+$", what .. ": " .. tostring(code))
    assert(not support.exists(to) and not support.exists(to .. ".part") and not support.exists(to .. ".vocabulary"), what)
    return false, message
  end

  local function tamper(name, v, n)
    local next_value, _, count = random(SEED), tampered(v, 0)
    local refused = 0
    for i = 1, n do
      local k = next_value(count)
      local by = WRONG[next_value(#WRONG)]
      local text = json.encode((tampered(v, k, by)))
      checkpoint.write(dir .. "/" .. name, text)
      if not try(("%s, change %d: value %d is %s"):format(name, i, k, json.encode(by))) then refused = refused + 1 end
    end
    checkpoint.write(dir .. "/" .. name, json.encode(v))
    assert(try(name .. " untouched"))
    return refused
  end

  for _, kind in ipairs { "bytes", "fallback", "wordpiece", "unigram" } do
    it("tokenizer.json, " .. kind, function()
      TOKENIZERS[kind].post_processor = POST
      local t = assert(json.decode(json.encode(TOKENIZERS[kind])))
      assert(tamper("tokenizer.json", t, 100) > 5)
    end)
  end

  it("the other settings", function()
    checkpoint.write(dir .. "/tokenizer.json", json.encode(TOKENIZERS.bytes))
    assert(tamper("config.json", config(), 120) > 20)
    tamper("tokenizer_config.json", {
      bos_token = "<s>", eos_token = { content = "</s>" }, unk_token = "<unk>", add_bos_token = true,
      chat_template = json.list { { name = "default", template = "x" }, { name = "tools", template = "y" } },
      added_tokens_decoder = { ["3"] = { content = "[CLS]", special = true }, ["39"] = { content = "w", special = false } },
    }, 100)
    tamper("generation_config.json", { eos_token_id = json.list { 2, 3 }, temperature = 0.7, top_k = 20 }, 60)
    tamper("special_tokens_map.json", { bos_token = { content = "<s>" }, pad_token = "</s>" }, 40)
    tamper("added_tokens.json", { ["<x>"] = 5 }, 20)
  end)

  it("sentencepiece, byte by byte", function()
    local bytes, next_value, refused = files.sentencepiece(TOKENS, SCORES, KINDS), random(SEED), 0
    for i = 1, 100 do
      local at, by = next_value(#bytes), string.char(next_value(256) - 1)
      checkpoint.write(dir .. "/tokenizer.model", bytes:sub(1, at - 1) .. by .. bytes:sub(at + 1))
      if not try(("tokenizer.model, change %d: byte %d is %d"):format(i, at, by:byte())) then refused = refused + 1 end
    end
    for n = 0, #bytes - 1, 7 do
      checkpoint.write(dir .. "/tokenizer.model", bytes:sub(1, n))
      try("tokenizer.model cut at " .. n)
    end
    assert(refused > 10)
  end)

  it("an index that does not fit its files", function()
    os.remove(dir .. "/model.safetensors")
    checkpoint.write(dir .. "/tokenizer.json", json.encode(TOKENIZERS.bytes))
    checkpoint.weights(dir, weights(), 2)
    assert(try "two shards")
    local path = dir .. "/model.safetensors.index.json"
    local index = assert(json.decode(support.slurp(path)))
    index.weight_map["model.layers.0.lost.weight"] = index.weight_map["model.norm.weight"]
    checkpoint.write(path, json.encode(index))
    local ok, message = try "one too many"
    assert.is_false(ok)
    assert.truthy(message:find("tensor model.layers.0.lost.weight is in none of the files", 1, true), message)
    for _, text in ipairs { "", "[]", "{}", '{"weight_map": 1}', '{"weight_map": {}}', '{"weight_map": {"a": 1}}',
      '{"weight_map": {"a": ".."}}', '{"weight_map": {"a": "x/y"}}' } do
      checkpoint.write(path, text)
      assert.is_false(try("index " .. text))
    end
  end)

  it("counts beyond all bounds", function()
    checkpoint.write(dir .. "/tokenizer.json", json.encode(TOKENIZERS.bytes))
    for _, key in ipairs { "vocab_size", "num_hidden_layers", "num_attention_heads" } do
      local c = config()
      c[key] = 4e9
      checkpoint.write(dir .. "/config.json", json.encode(c))
      assert.is_false(try(key))
    end
  end)
end)
