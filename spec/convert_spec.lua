--- Checkpoints to GGUF: a file turned into a checkpoint and back is the same
--- file, tensor by tensor; vocabularies; types; hostile checkpoints.
local support = require "spec.support"
local checkpoint = require "spec.support.checkpoint"
local core = require "wane.core"
local gguf = require "wane.gguf"
local wane = require "wane"

local DEMO = "examples/models/demo-f16.gguf"

local function temp_dir()
  local dir = os.tmpname()
  os.remove(dir)
  assert(os.execute("mkdir " .. dir))
  return dir
end

local function remove(dir) os.execute("rm -rf " .. dir) end

-- Tensors of two files are equal, but for those that `except` names.
local function same_tensors(a, b)
  local f, g = assert(gguf.open(a)), assert(gguf.open(b))
  local n = 0
  for _, t in ipairs(f.tensors) do
    local u = g:tensor(t.name)
    assert.truthy(u, t.name .. " is missing")
    assert.same(t.shape, u.shape, t.name)
    if t.type == u.type then
      assert.truthy(t:raw() == u:raw(), t.name .. " differs")
      n = n + 1
    end
  end
  assert.equal(#f.tensors, #g.tensors)
  f:close()
  g:close()
  return n
end

describe("convert", function()
  support.check_leaks()
  local dir, to
  before_each(function()
    dir = temp_dir()
    to = dir .. "/out.gguf"
  end)
  after_each(function() remove(dir) end)

  it("gives the demo model back, whole and from shards", function()
    for _, shards in ipairs { 1, 3 } do
      checkpoint.from_gguf(DEMO, dir, { shards = shards, template = "{{ messages[0].content }}" })
      local r = assert(wane.convert { from = dir, to = to, overwrite = true })
      assert.equal("llama", r.architecture)
      assert.is_true(same_tensors(DEMO, to) == r.n_tensors)
      os.remove(dir .. "/model.safetensors")
    end
    local f, g = assert(gguf.open(DEMO)), assert(gguf.open(to))
    for _, key in ipairs { "llama.block_count", "llama.embedding_length", "llama.attention.head_count",
      "llama.attention.head_count_kv", "llama.feed_forward_length", "llama.attention.layer_norm_rms_epsilon" } do
      assert.equal(f.meta[key], g.meta[key], key)
    end
    assert.same(f.meta["tokenizer.ggml.tokens"], g.meta["tokenizer.ggml.tokens"])
    assert.same(f.meta["tokenizer.ggml.merges"], g.meta["tokenizer.ggml.merges"])
    assert.equal("{{ messages[0].content }}", g.meta["tokenizer.chat_template"])
    f:close()
    g:close()
  end)

  it("makes the same logits as the file that the checkpoint came from", function()
    checkpoint.from_gguf(DEMO, dir)
    assert(wane.convert { from = dir, to = to })
    local logits = {}
    for i, path in ipairs { DEMO, to } do
      local m = assert(wane.load(path, { context = 64 }))
      local ctx = assert(m:context { kv = "f32" })
      logits[i] = assert(ctx:eval({ 5, 17, 300, 42 }, { all = true })):bytes()
      ctx:close()
      m:close()
    end
    assert.is_true(logits[1] == logits[2])
  end)

  it("quantizes on the way to the bytes of two steps", function()
    checkpoint.from_gguf(DEMO, dir)
    local r = assert(wane.convert { from = dir, to = to, recipe = "Q4_K_M" })
    assert.is_true(r.plan.bpw < 6)
    local two = dir .. "/two.gguf"
    assert(wane.quantize { from = DEMO, to = two, recipe = "Q4_K_M" })
    assert.equal(r.n_tensors, same_tensors(two, to))
  end)

  it("writes f32, bf16 and q8_0", function()
    checkpoint.from_gguf(DEMO, dir)
    for _, kind in ipairs { "f32", "bf16", "q8_0" } do
      assert(wane.convert { from = dir, to = to, type = kind, overwrite = true })
      local g = assert(gguf.open(to))
      assert.equal(kind, g:tensor("blk.0.attn_q.weight").type)
      assert.equal("f32", g:tensor("blk.0.attn_norm.weight").type)
      g:close()
    end
  end)

  it("reads FP8 with scales of blocks", function()
    local config = checkpoint.from_gguf(DEMO, dir)
    local shape = { config.hidden_size, config.hidden_size }
    local list = {}
    local f = assert(require("wane.convert.safetensors").open(dir))
    for _, name in ipairs(f.names) do
      local t = f.tensors[name]
      list[#list + 1] = { name = name, dtype = t.dtype, shape = t.shape, bytes = assert(f:read(t, 0, t.bytes)) }
    end
    f:close()
    for _, t in ipairs(list) do
      if t.name == "model.layers.0.self_attn.o_proj.weight" then
        t.dtype, t.shape, t.bytes = "F8_E4M3", shape, ("\56"):rep(shape[1] * shape[2]) -- 0x38: one
      end
    end
    local n = math.ceil(shape[1] / 128)
    local scales = {}
    for i = 1, n * n do scales[i] = i / 4 end
    list[#list + 1] = {
      name = "model.layers.0.self_attn.o_proj.weight_scale_inv", dtype = "F32", shape = { n, n },
      bytes = core.quant.buffer(1, n * n, scales):bytes(),
    }
    checkpoint.safetensors(dir .. "/model.safetensors", list)
    config.quantization_config = { weight_block_size = { 128, 128 } }
    checkpoint.write(dir .. "/config.json", require("wane.json").encode(config))
    assert(wane.convert { from = dir, to = to, type = "f32" })
    local g = assert(gguf.open(to))
    local w = g:tensor("blk.0.attn_output.weight"):read()
    assert.equal(0.25, w[1])
    assert.equal(n * n / 4, w[#w])
    w:close()
    g:close()
  end)

  it("repacks MXFP4 as its values say", function()
    local packed, scales = {}, { 127, 128 }
    for i = 1, 32 do packed[i] = string.char((i * 37) % 256) end
    local bytes = core.foreign.mxfp4(table.concat(packed), string.char(scales[1], scales[2]))
    local q = core.quant.blocks("mxfp4", bytes, 2, 32)
    local v, levels = q:decode(), { 0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6 }
    for b = 0, 1 do
      for i = 0, 31 do
        local byte = packed[b * 16 + math.floor(i / 2) + 1]:byte()
        local code = i % 2 == 0 and byte % 16 or math.floor(byte / 16)
        assert.equal(levels[code + 1] * 2 ^ (scales[b + 1] - 127), v[b * 32 + i + 1])
      end
    end
    v:close()
    q:close()
  end)

  it("repacks NVFP4: what a tensor's scales and factor say", function()
    local rows, cols, factor = 256, 256, 0.25
    local packed, scales, levels = {}, {}, { 0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6 }
    for i = 1, rows * cols / 2 do packed[i] = string.char(i * 37 % 256) end
    for i = 1, rows * cols / 16 do scales[i] = string.char(0x30 + i * 5 % 16) end -- 0.5 .. 1.875
    local config = checkpoint.from_gguf(DEMO, dir)
    local list, f = {}, assert(require("wane.convert.safetensors").open(dir))
    local at = "model.layers.0.self_attn.o_proj.weight"
    for _, name in ipairs(f.names) do
      local t = f.tensors[name]
      if name ~= at then list[#list + 1] = { name = name, dtype = t.dtype, shape = t.shape, bytes = assert(f:read(t, 0, t.bytes)) } end
    end
    f:close()
    local function one(v)
      local b = core.quant.buffer(1, 1, { v })
      local bytes = b:bytes()
      b:close()
      return bytes
    end
    for _, t in ipairs {
      { name = at, dtype = "U8", shape = { rows, cols / 2 }, bytes = table.concat(packed) },
      { name = at .. "_scale", dtype = "F8_E4M3", shape = { rows, cols / 16 }, bytes = table.concat(scales) },
      { name = at .. "_scale_2", dtype = "F32", shape = {}, bytes = one(factor) },
      { name = at:gsub("weight$", "input_scale"), dtype = "F32", shape = {}, bytes = one(3) },
    } do list[#list + 1] = t end
    checkpoint.safetensors(dir .. "/model.safetensors", list)
    config.quantization_config = { quant_method = "modelopt", quant_algo = "NVFP4" }
    checkpoint.write(dir .. "/config.json", require("wane.json").encode(config))
    assert(wane.convert { from = dir, to = to })
    local g = assert(gguf.open(to))
    local t, scale = g:tensor "blk.0.attn_output.weight", g:tensor("blk.0.attn_output.scale"):read()
    assert.equal("nvfp4", t.type)
    assert.equal(factor, scale[1])
    local w = t:read()
    for _, i in ipairs { 1, 2, 16, 17, 63, 64, 65, 256, 257, 4242, rows * cols } do
      local byte = packed[math.floor((i - 1) / 2) + 1]:byte()
      local code = i % 2 == 1 and byte % 16 or math.floor(byte / 16)
      local s = scales[math.floor((i - 1) / 16) + 1]:byte()
      local want = levels[code + 1] * (1 + s % 8 / 8) * 2 ^ (math.floor(s / 8) - 7)
      assert.equal(want, w[i], i)
    end
    w:close()
    scale:close()
    g:close()
    assert(wane.load(to, { context = 16 })):close()
  end)

  it("tekken.json: ranks become ids, splits merges", function()
    local vocab, base = {}, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    local function base64(s)
      local out = {}
      for i = 1, #s, 3 do
        local a, b, c = s:byte(i, i + 2)
        local v = a * 65536 + (b or 0) * 256 + (c or 0)
        for k = 3, 0, -1 do
          local d = math.floor(v / 64 ^ k) % 64
          out[#out + 1] = (k == 0 and not c or k == 1 and not b) and "=" or base:sub(d + 1, d + 1)
        end
      end
      return table.concat(out)
    end
    local function token(bytes) vocab[#vocab + 1] = { rank = #vocab, token_bytes = base64(bytes), token_str = bytes } end
    for b = 0, 255 do token(string.char(b)) end
    for _, s in ipairs { "th", "he", "the", " the" } do token(s) end
    token "left out" -- behind the size that the file gives
    checkpoint.from_gguf(DEMO, dir)
    os.remove(dir .. "/tokenizer.json")
    local json = require "wane.json"
    local function write(t) checkpoint.write(dir .. "/tekken.json", json.encode(t)) end
    local config = { default_vocab_size = 264, default_num_special_tokens = 4, version = "v3" }
    local tekken = { config = config, vocab = json.list(vocab) }
    write(tekken)
    assert(wane.convert { from = dir, to = to })
    local g = assert(gguf.open(to))
    local tokens = g.meta["tokenizer.ggml.tokens"]
    assert.equal(264, #tokens)
    assert.same({ "<unk>", "<s>", "</s>", "[INST]" }, { tokens[1], tokens[2], tokens[3], tokens[4] })
    assert.equal("\196\160the", tokens[264])
    assert.equal("\196\128", tokens[5])
    assert.same({ "t h", "h e", "t he", "th e", "\196\160 the" }, g.meta["tokenizer.ggml.merges"])
    assert.equal("tekken", g.meta["tokenizer.ggml.pre"])
    assert.equal(1, g.meta["tokenizer.ggml.bos_token_id"])
    g:close()
    local v = assert(wane.vocab.open(to))
    assert.same({ 263 }, v:encode " the")
    v:close()
    local function refused(pattern)
      write(tekken)
      local ok, message, code = wane.convert { from = dir, to = to, overwrite = true }
      assert.is_nil(ok)
      assert.truthy(message:find(pattern), message)
      assert.equal("EFORMAT", code)
    end
    tekken.special_tokens = json.list { { rank = 9, token_str = "x" } }
    refused "special token 0 has no rank below 4"
    tekken.special_tokens = nil
    vocab[258].token_bytes = base64 "th"
    refused "token 257: want its rank and bytes that are no other token's"
    vocab[258].token_bytes = base64 "zq"
    vocab[259].token_bytes = base64 "xyz"
    refused "token 258 cannot be put together from others"
    config.default_vocab_size = 300
    vocab[259].token_bytes = base64 "the"
    refused "261 tokens, want 296"
    config.default_vocab_size = -1
    refused "default_vocab_size is %-1, want a count"
  end)

  it("a directory is taken where a file is", function()
    checkpoint.from_gguf(DEMO, dir)
    local m = assert(wane.load(dir, { context = 32 }))
    local path = m:info().path
    assert.truthy(support.exists(path), path)
    local same = assert(gguf.open(path))
    assert.equal("f16", same:tensor("blk.0.attn_q.weight").type)
    same:close()
    m:close()
    assert.is_false(support.exists(path))
    local r = assert(wane.quantize { from = dir, to = to, recipe = "Q4_0" })
    local two = dir .. "/two.gguf"
    assert(wane.quantize { from = DEMO, to = two, recipe = "Q4_0" })
    assert.is_true(r.bpw < 5)
    same_tensors(two, to)
    local c = assert(wane.eval.compare {
      reference = dir, candidates = { to }, text = support.slurp("examples/text/heldout.txt"):sub(1, 4000), context = 128,
      chunks = 1, speed = false,
    })
    assert.equal(2, #c.rows)
    assert.is_true(c.rows[2].kld > 0 and c.rows[2].kld < 1)
    local none, message, code = wane.load(dir .. "/nothing")
    assert.is_nil(none)
    assert.equal("ENOENT", code)
    assert.truthy(message)
    checkpoint.write(dir .. "/config.json", "{")
    none, message, code = wane.load(dir)
    assert.is_nil(none)
    assert.truthy(message:find("config.json", 1, true), message)
    assert.equal("EFORMAT", code)
  end)

  it("FP8 values are those of the format", function()
    local all = {}
    for i = 0, 255 do all[i + 1] = string.char(i) end
    local b = core.foreign.decode("f8_e4m3", table.concat(all), 1, 256)
    assert.equal(0, b[1])
    assert.equal(2 ^ -9, b[2])
    assert.equal(448, b[0x7e + 1])
    assert.equal(-448, b[0xfe + 1])
    assert.is_true(b[0x7f + 1] ~= b[0x7f + 1])
    b:close()
    b = core.foreign.decode("f8_e5m2", table.concat(all), 1, 256)
    assert.equal(57344, b[0x7b + 1])
    b:close()
  end)
end)

describe("hostile checkpoints", function()
  support.check_leaks()
  local dir
  before_each(function()
    dir = temp_dir()
    checkpoint.from_gguf(DEMO, dir)
  end)
  after_each(function() remove(dir) end)

  local function refused(pattern, code)
    local ok, message, kind = wane.convert { from = dir, to = dir .. "/out.gguf" }
    assert.is_nil(ok)
    assert.truthy(message:find(pattern), message)
    assert.equal(code, kind)
    assert.is_nil(io.open(dir .. "/out.gguf"))
    assert.is_nil(io.open(dir .. "/out.gguf.part"))
    assert.is_nil(io.open(dir .. "/out.gguf.vocabulary"))
  end
  local function header(text)
    local n = #text
    checkpoint.write(dir .. "/model.safetensors", string.char(n % 256, math.floor(n / 256), 0, 0, 0, 0, 0, 0) .. text .. ("\0"):rep(64))
  end

  it("weights: headers that lie", function()
    checkpoint.write(dir .. "/model.safetensors", "\1\2\3")
    refused("the file ends at byte 3", "ETRUNC")
    checkpoint.write(dir .. "/model.safetensors", ("\255"):rep(8))
    refused("header: longer than", "EFORMAT")
    checkpoint.write(dir .. "/model.safetensors", "\200\0\0\0\0\0\0\0{}")
    refused("header: wants 200 bytes", "ETRUNC")
    header "{"
    refused("header:", "EFORMAT")
    header '{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 400]}}'
    refused("tensor a: data_offsets lie outside", "EFORMAT")
    header '{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 12]}}'
    refused("tensor a: 12 bytes for 4 values of F32", "EFORMAT")
    header '{"a": {"dtype": "F31", "shape": [4], "data_offsets": [0, 16]}}'
    refused("tensor a: dtype F31 is not known", "EFORMAT")
    header '{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}, "b": {"dtype": "F32", "shape": [2], "data_offsets": [12, 20]}}'
    refused("tensors a and b overlap", "EFORMAT")
    header '{"a": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}}'
    refused("dimension 1 is not a count", "EFORMAT")
    header '{"a": {"dtype": "F32", "shape": [65536, 65536, 65536, 65536], "data_offsets": [0, 0]}}'
    refused("too many values", "EFORMAT")
    header '{"nobody.knows": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}'
    refused("tensor nobody.knows is not known in llama", "EUNSUP")
  end)

  it("an index that names files elsewhere", function()
    checkpoint.write(dir .. "/model.safetensors.index.json", '{"weight_map": {"a": "../../etc/passwd"}}')
    refused("is not the name of a file of the directory", "EFORMAT")
    checkpoint.write(dir .. "/model.safetensors.index.json", '{"weight_map": {"a": "gone.safetensors"}}')
    refused("no such file", "ENOENT")
  end)

  it("a config that is absent, damaged or of nobody", function()
    os.remove(dir .. "/config.json")
    refused("config.json: no such file", "ENOENT")
    checkpoint.write(dir .. "/config.json", "{")
    refused("config.json:", "EFORMAT")
    checkpoint.write(dir .. "/config.json", '{"architectures": ["NobodyForCausalLM"]}')
    refused("NobodyForCausalLM is not a known class of models; known are .*LlamaForCausalLM", "EUNSUP")
    checkpoint.write(dir .. "/config.json", '{"architectures": ["LlamaForCausalLM"], "num_hidden_layers": -1}')
    refused("block_count is %-1, want a count", "EFORMAT")
  end)

  it("values that are not finite name their tensor", function()
    local f = assert(require("wane.convert.safetensors").open(dir))
    local list = {}
    for _, name in ipairs(f.names) do
      local t = f.tensors[name]
      list[#list + 1] = { name = name, dtype = t.dtype, shape = t.shape, bytes = assert(f:read(t, 0, t.bytes)) }
    end
    f:close()
    for _, t in ipairs(list) do
      if t.name == "model.layers.1.mlp.up_proj.weight" then t.bytes = ("\0\124"):rep(#t.bytes / 2) end
    end
    checkpoint.safetensors(dir .. "/model.safetensors", list)
    local ok, message = wane.convert { from = dir, to = dir .. "/out.gguf", recipe = "Q4_0" }
    assert.is_nil(ok)
    assert.truthy(message:find("tensor blk.1.ffn_up.weight", 1, true), message)
  end)

  it("sentencepiece files: damaged ones are refused, good ones read", function()
    local sp = require "wane.convert.sentencepiece"
    local function piece(text, score, kind) -- score: 4 bytes
      local body = "\10" .. string.char(#text) .. text .. "\21" .. score .. (kind and "\24" .. string.char(kind) or "")
      return "\10" .. string.char(#body) .. body
    end
    local bytes = piece("<unk>", "\0\0\0\0", 2) .. piece("a", "\0\0\128\191") .. piece("<0x41>", "\0\0\0\0", 6)
    local m = assert(sp.parse(bytes))
    assert.same({ { text = "<unk>", score = 0, kind = "unknown" }, { text = "a", score = -1, kind = "normal" },
      { text = "<0x41>", score = 0, kind = "byte" } }, m.pieces)
    for n = 1, #bytes - 1 do sp.parse(bytes:sub(1, n)) end -- nothing raises
    assert.is_nil(sp.parse "\10\255\255\255\255\15")
    local none, why, code = sp.parse(("\255"):rep(20))
    assert.is_nil(none)
    assert.equal("byte 0 begins no field", why)
    assert.equal("EFORMAT", code)
  end)

  it("misuse names the option", function()
    assert.has_error(function() wane.convert { to = "x" } end, "wane: convert: option 'from' is missing")
    assert.error_matches(function() wane.convert { from = dir, to = "x", typ = "f16" } end, "convert: unknown option 'typ'")
  end)
end)
