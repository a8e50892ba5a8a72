--- A checkpoint larger than memory: converted and quantized where the address
--- space holds a third of it. The weights are a hole in a file, so that making
--- it costs nothing.
local support = require "spec.support"
local checkpoint = require "spec.support.checkpoint"
local files = require "spec.support.checkpoint.files"
local json = require "wane.json"
local wane = require "wane"

local LUA = os.getenv "WANE_LUA" or (jit and "luajit" or "lua5.4")
local WIDTH, FF, VOCAB, LAYERS = 1024, 8192, 512, 4

-- Names and shapes of a llama's tensors.
local function shapes()
  local list = { { "model.embed_tokens.weight", VOCAB, WIDTH }, { "model.norm.weight", WIDTH } }
  for i = 0, LAYERS - 1 do
    local at = ("model.layers.%d."):format(i)
    for _, t in ipairs {
      { "input_layernorm.weight", WIDTH }, { "post_attention_layernorm.weight", WIDTH },
      { "self_attn.q_proj.weight", WIDTH, WIDTH }, { "self_attn.k_proj.weight", WIDTH, WIDTH },
      { "self_attn.v_proj.weight", WIDTH, WIDTH }, { "self_attn.o_proj.weight", WIDTH, WIDTH },
      { "mlp.gate_proj.weight", FF, WIDTH }, { "mlp.up_proj.weight", FF, WIDTH }, { "mlp.down_proj.weight", WIDTH, FF },
    } do list[#list + 1] = { at .. t[1], t[2], t[3] } end
  end
  return list
end

-- Writes the checkpoint; returns the bytes of its weights.
local function write(dir)
  local header, at = {}, 0
  for i, t in ipairs(shapes()) do
    local bytes = t[2] * (t[3] or 1) * 2
    header[i] = { t[1], { dtype = "BF16", shape = json.list { t[2], t[3] }, data_offsets = { at, at + bytes } } }
    at = at + bytes
  end
  local path = dir .. "/model.safetensors"
  checkpoint.safetensors(path, {})
  local text = json.encode(json.ordered(header))
  local n, length = #text, {}
  for i = 1, 8 do
    length[i] = string.char(n % 256)
    n = math.floor(n / 256)
  end
  local f = assert(io.open(path, "wb"))
  f:write(table.concat(length), text)
  f:seek("set", 8 + #text + at - 1)
  f:write "\0"
  f:close()
  local tokens, scores, kinds = { "<unk>", "<s>", "</s>" }, { 0, 0, 0 }, { 2, 3, 3 }
  for i = 4, VOCAB do tokens[i], scores[i], kinds[i] = "w" .. i, -i, 1 end
  checkpoint.write(dir .. "/tokenizer.model", files.sentencepiece(tokens, scores, kinds))
  checkpoint.write(dir .. "/config.json", json.encode {
    architectures = { "LlamaForCausalLM" }, model_type = "llama", hidden_size = WIDTH, intermediate_size = FF,
    num_hidden_layers = LAYERS, num_attention_heads = 16, num_key_value_heads = 16, max_position_embeddings = 64,
    rms_norm_eps = 1e-5, vocab_size = VOCAB,
  })
  return at
end

describe("convert: memory", function()
  it("is that of a few rows, not of the checkpoint", function()
    if os.getenv "WANE_WRAP" then return support.skip "a wrapped process has another address space" end
    local dir = support.tmp "large"
    os.execute("mkdir -p " .. dir)
    local bytes = write(dir)
    local limit = math.floor(bytes / 3 / 1024) -- KiB
    local script = dir .. "/run.lua"
    checkpoint.write(script, ([[
      local r, message = require("wane").convert { from = %q, to = %q, type = "q4_0" }
      if not r then io.stderr:write(message, "\n") os.exit(1) end
    ]]):format(dir, dir .. "/out.gguf"))
    local ok = os.execute(("ulimit -v %d; WANE_THREADS=1 %s %s 2> %s/err"):format(limit, LUA, script, dir))
    local why = support.slurp(dir .. "/err")
    local f = wane.gguf.open(dir .. "/out.gguf")
    local type_of = f and f:tensor("blk.3.ffn_down.weight").type
    if f then f:close() end
    os.execute("rm -rf " .. dir)
    assert(ok == true or ok == 0, why)
    assert.equal("q4_0", type_of)
  end)
end)
