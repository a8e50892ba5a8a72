-- A family of models that wane has never heard of, with a memory of its own,
-- in one page and without touching C. `lua examples/architecture.lua` writes a
-- small random model of it, runs it, and shows that what the model keeps of a
-- text is handled: any cut of the text gives the same, and a copy goes on.
local wane = require "wane"
local core = require "wane.core"
local gguf = require "wane.gguf"
local arch = require "wane.arch"
local model = require "wane.model"

-- 1. What the family computes. Each block looks at the last three tokens
-- through a convolution, and at everything before through a matrix that fades:
-- both are states, declared by the operations that keep them.
arch.register("pond", function(m)
  local hp, heads, size = m.hp, 4, 8
  m:use { norm = "rms" }
  local x = m:embed "token_embd"
  for i = 0, hp.block_count - 1 do
    local b = m:block(i)
    local a = b:conv(b:norm(x, "mix_norm"), "mix_conv", 3)
    local qkv = b:act("silu", b:linear(a, "mix_in", { out = 3 * heads * size }))
    local decay = b:scale(b:act("softplus", b:linear(a, "mix_decay", { out = heads })), -1)
    local beta = b:act("sigmoid", b:linear(a, "mix_beta", { out = heads }))
    local o = b:delta(qkv, decay, beta, { keys = heads, values = heads, head = size, eps = 1e-6, kind = "tiled" })
    x = x + b:linear(o, "mix_out", { out = hp.embedding_length })
    x = x + b:ffn(b:norm(x, "ffn_norm"), "silu")
  end
  return m:linear(m:norm(x, "output_norm"), "output", { tied = "token_embd" })
end)

-- 2. A file of it, with random numbers.
local WIDTH, FF, VOCAB = 32, 64, 96
local meta = {
  { "general.architecture", "string", "pond" }, { "pond.block_count", "u32", 2 },
  { "pond.context_length", "u32", 4096 }, { "pond.embedding_length", "u32", WIDTH },
  { "pond.feed_forward_length", "u32", FF }, { "pond.attention.head_count", "u32", 0 },
  { "pond.attention.layer_norm_rms_epsilon", "f32", 2 ^ -17 }, { "pond.vocab_size", "u32", VOCAB },
}
local shapes = { ["token_embd.weight"] = { WIDTH, VOCAB }, ["output_norm.weight"] = { WIDTH } }
for i = 0, 1 do
  for name, shape in pairs {
    mix_norm = { WIDTH }, mix_conv = { 3, WIDTH }, mix_in = { WIDTH, 96 }, mix_decay = { WIDTH, 4 },
    mix_beta = { WIDTH, 4 }, mix_out = { WIDTH, WIDTH }, ffn_norm = { WIDTH }, ffn_gate = { WIDTH, FF },
    ffn_up = { WIDTH, FF }, ffn_down = { FF, WIDTH },
  } do shapes[("blk.%d.%s.weight"):format(i, name)] = shape end
end
local tensors, x = {}, 1
for name, shape in pairs(shapes) do
  local n, t = shape[1] * (shape[2] or 1), {}
  for k = 1, n do
    x = x * 16807 % 2147483647
    t[k] = name:find "norm" and 1 or x / 2147483647 - 0.5
  end
  tensors[#tensors + 1] = { name = name, type = "f32", shape = shape, data = core.quant.buffer(1, n, t):bytes() }
end
table.sort(tensors, function(a, b) return a.name < b.name end)
local path = os.tmpname()
assert(gguf.write { path = path, meta = meta, tensors = tensors, overwrite = true })

-- 3. It runs like any other.
local m = assert(model.load(path))
os.remove(path)
local ids = {}
for i = 1, 200 do ids[i] = i * 37 % VOCAB end
local function logits(batch)
  local ctx = assert(m:context { batch = batch })
  local row = assert(ctx:eval(ids)):bytes()
  ctx:close()
  return row
end
print("200 tokens at once and one by one: " .. (logits(200) == logits(1) and "the same bits" or "different"))
for _, n in ipairs { 512, 4096 } do
  print(("a context of %4d tokens keeps %d bytes"):format(n, assert(m:estimate { context = n, marks = 0 }).cache))
end
print(wane.version and "wane " .. wane.version or "done")
m:close()
