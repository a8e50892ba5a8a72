--- A family without a file in ../shared: a tiny jamba of random weights, written
--- here, has the same logits in llama.cpp and in wane.
if not (jit and os.getenv "WANE_PEER") then return end
local core = require "wane.core"
local gguf = require "wane.gguf"
local peer = require "spec.support.peer"
local support = require "spec.support"
local wane = require "wane"

local W, INNER, STATE, RANK, FF, VOCAB, EXPERTS = 64, 128, 16, 8, 96, 288, 4

local seed = 77
local function random()
  seed = seed * 16807 % 2147483647
  return seed / 2147483647 * 2 - 1
end

local function tensor(list, name, shape, f)
  local n, v = 1, {}
  for _, d in ipairs(shape) do n = n * d end
  for i = 1, n do v[i] = f and f(i) or random() * 1.6 / math.sqrt(shape[1]) end
  list[#list + 1] = { name = name, type = "f32", shape = shape, data = core.quant.buffer(1, n, v):bytes() }
end

local function near_one() return 1 + 0.2 * random() end

local function write(path)
  local list, kvs = {}, { 0, 2, 0, 2 }
  tensor(list, "token_embd.weight", { W, VOCAB }, random)
  tensor(list, "output_norm.weight", { W }, near_one)
  tensor(list, "output.weight", { W, VOCAB })
  for i = 0, 3 do
    local function add(name, shape, f) tensor(list, ("blk.%d.%s"):format(i, name), shape, f) end
    add("attn_norm.weight", { W }, near_one)
    if kvs[i + 1] == 0 then
      add("ssm_in.weight", { W, 2 * INNER })
      add("ssm_conv1d.weight", { 4, INNER })
      add("ssm_conv1d.bias", { INNER }, random)
      add("ssm_x.weight", { INNER, RANK + 2 * STATE })
      add("ssm_dt_norm.weight", { RANK }, near_one)
      add("ssm_b_norm.weight", { STATE }, near_one)
      add("ssm_c_norm.weight", { STATE }, near_one)
      add("ssm_dt.weight", { RANK, INNER })
      add("ssm_dt.bias", { INNER }, random)
      add("ssm_a", { STATE, INNER }, function(k) return -1 - k % STATE / 4 end)
      add("ssm_d", { INNER }, near_one)
      add("ssm_out.weight", { INNER, W })
    else
      add("attn_q.weight", { W, W })
      add("attn_k.weight", { W, 32 })
      add("attn_v.weight", { W, 32 })
      add("attn_output.weight", { W, W })
    end
    add("ffn_norm.weight", { W }, near_one)
    if i % 2 == 1 then
      add("ffn_gate_inp.weight", { W, EXPERTS })
      add("ffn_gate_exps.weight", { W, FF, EXPERTS })
      add("ffn_up_exps.weight", { W, FF, EXPERTS })
      add("ffn_down_exps.weight", { FF, W, EXPERTS })
    else
      add("ffn_gate.weight", { W, FF })
      add("ffn_up.weight", { W, FF })
      add("ffn_down.weight", { FF, W })
    end
  end
  local tokens, scores, kinds = { "<unk>", "<s>", "</s>" }, {}, { 2, 3, 3 }
  for b = 0, 255 do tokens[#tokens + 1], kinds[#kinds + 1] = ("<0x%02X>"):format(b), 6 end
  for i = #tokens, VOCAB - 1 do tokens[#tokens + 1], kinds[#kinds + 1] = "w" .. i, 1 end
  for i = 1, VOCAB do scores[i] = -i end
  local function key(name, kind, v, elem) return { "jamba." .. name, kind, v, elem } end
  assert(gguf.write { path = path, tensors = list, meta = {
    { "general.architecture", "string", "jamba" }, key("block_count", "u32", 4), key("context_length", "u32", 256),
    key("embedding_length", "u32", W), key("feed_forward_length", "u32", FF), key("attention.head_count", "u32", 4),
    key("attention.head_count_kv", "array", kvs, "i32"), key("attention.layer_norm_rms_epsilon", "f32", 1e-5),
    key("ssm.conv_kernel", "u32", 4), key("ssm.inner_size", "u32", INNER), key("ssm.state_size", "u32", STATE),
    key("ssm.time_step_rank", "u32", RANK), key("expert_count", "u32", EXPERTS), key("expert_used_count", "u32", 2),
    key("vocab_size", "u32", VOCAB), { "tokenizer.ggml.model", "string", "llama" },
    { "tokenizer.ggml.tokens", "array", tokens, "string" }, { "tokenizer.ggml.scores", "array", scores, "f32" },
    { "tokenizer.ggml.token_type", "array", kinds, "i32" } } })
end

describe("peer: jamba", function()
  it("has the same logits", function()
    local path, ids = support.tmp "jamba.gguf", {}
    write(path)
    for i = 1, 50 do ids[i] = math.floor((random() + 1) / 2 * 280) + 3 end
    local theirs = peer.load(path, { context = 64, kv = "f32", threads = 1, flash = false })
    local ours = assert(wane.load(path, { context = 64, threads = 1 }))
    local ctx = assert(ours:context { kv = "f32" })
    local got, want = assert(ctx:eval(ids, { all = true })), theirs:eval(ids, true)
    local worst, spread = 0, 0
    for i = 1, 50 * VOCAB do
      worst, spread = math.max(worst, math.abs(got[i] - want[i - 1])), math.max(spread, math.abs(want[i - 1]))
    end
    assert.is_true(spread > 1, "the peer's logits say nothing: " .. spread)
    assert.is_true(worst < 2e-4, worst .. " apart")
    ctx:close()
    ours:close()
    theirs:close()
    os.remove(path)
  end)
end)
