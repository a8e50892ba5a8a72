--- Adapters and control vectors in llama.cpp and in wane: the same logits of the
--- demo model, in float32, alone and several at once.
if not (jit and os.getenv "WANE_PEER") then return end
local adapters = require "spec.support.adapters"
local ffi = require "ffi"
local peer = require "spec.support.peer"
local support = require "spec.support"
local wane = require "wane"

local DEMO, VOCAB, WIDTH, LAYERS = "examples/models/demo-f16.gguf", 2048, 256, 8
local IDS = { 1, 40, 77, 300, 12, 9, 1500 }

ffi.cdef [[
void *llama_adapter_lora_init(void *model, const char *path);
int32_t llama_set_adapters_lora(void *ctx, void **adapters, size_t n, float *scales);
int32_t llama_set_adapter_cvec(void *ctx, const float *data, size_t len, int32_t n_embd, int32_t from, int32_t to);
]]

-- The last row of logits, as a list.
local function last_row(p, first)
  local t = {}
  for i = 1, VOCAB do t[i] = p[first + i] end
  return t
end

local function farthest(a, b)
  local d = 0
  for i = 1, VOCAB do d = math.max(d, math.abs(a[i] - b[i])) end
  return d
end

local function ours(path, lora)
  local m = assert(wane.load(path, { context = 64, threads = 1, lora = lora }))
  local ctx = assert(m:context { kv = "f32" })
  local row = last_row(assert(ctx:eval(IDS)), 0)
  ctx:close()
  m:close()
  return row
end

describe("peer: adapters", function()
  local f32, llama, theirs
  setup(function()
    f32 = support.tmp "f32.gguf"
    assert(wane.quantize { from = DEMO, to = f32, recipe = "F32", overwrite = true })
    llama = peer.open()
  end)
  before_each(function() theirs = peer.load(f32, { context = 64, kv = "f32", threads = 1, flash = false }) end)
  after_each(function() theirs:close() end)
  teardown(function() os.remove(f32) end)

  local function their_row()
    theirs:clear()
    return last_row(theirs:eval(IDS), -1)
  end

  -- Applies { path, scale } in the peer.
  local function set(list)
    local n = #list
    local handles, scales = ffi.new("void *[?]", n), ffi.new("float[?]", n)
    for i, a in ipairs(list) do
      handles[i - 1] = llama.llama_adapter_lora_init(theirs.model, a.path)
      assert(handles[i - 1] ~= nil, "the peer cannot load " .. a.path)
      scales[i - 1] = a.scale
    end
    assert.equals(0, llama.llama_set_adapters_lora(theirs.ctx, handles, n, scales))
  end

  it("change logits alike", function()
    local plain = their_row()
    assert.is_true(farthest(plain, ours(f32)) < 1e-3)
    local one, two = adapters.lora(), adapters.lora { seed = 5, rank = 2, alpha = 3 }
    for _, list in ipairs {
      { { path = one, scale = 1 } }, { { path = one, scale = -0.5 } }, { { path = two, scale = 1 } },
      { { path = one, scale = 1 }, { path = two, scale = 0.5 } },
    } do
      set(list)
      local want, got = their_row(), ours(f32, list)
      assert.is_true(farthest(plain, want) > 0.1, "the adapter does nothing in the peer")
      local d = farthest(want, got)
      assert.is_true(d < 1e-3 * (1 + farthest(plain, want)), ("%g, and the adapter's effect is %g"):format(d, farthest(plain, want)))
    end
    os.remove(one)
    os.remove(two)
  end)

  it("that were trained on a quantized base change logits alike", function()
    local base, path = support.tmp "base.gguf", support.tmp "trained.gguf"
    assert(wane.quantize { from = DEMO, to = base, recipe = "Q4_K_M" })
    assert(wane.tune {
      model = base, to = path, text = support.slurp("docs/judging.md"):sub(1, 3000), context = 64, steps = 8, batch = 1, rate = 0.02, threads = 1,
    })
    local plain = their_row()
    set { { path = path, scale = 1 } }
    local want, got = their_row(), ours(f32, { path })
    local effect, d = farthest(plain, want), farthest(want, got)
    assert.is_true(effect > 0.1, "the adapter does nothing in the peer")
    assert.is_true(d < 1e-3 * (1 + effect), ("%g, and the adapter's effect is %g"):format(d, effect))
    os.remove(base)
    os.remove(path)
  end)

  it("that are control vectors change logits alike", function()
    local plain, path, list = their_row(), support.tmp "cvec.gguf", {}
    local data = ffi.new("float[?]", WIDTH * (LAYERS - 1)) -- from layer 1 on
    for layer = 1, LAYERS - 1 do
      local v = adapters.numbers(WIDTH, layer, 0.5)
      for i = 1, WIDTH do data[(layer - 1) * WIDTH + i - 1] = v[i] end
      list[layer] = { name = "direction." .. layer, type = "f32", shape = { WIDTH }, data = adapters.floats(v) }
    end
    assert(wane.gguf.write { path = path, tensors = list, meta = {
      { "general.architecture", "string", "controlvector" }, { "controlvector.model_hint", "string", "llama" } } })
    assert.equals(0, llama.llama_set_adapter_cvec(theirs.ctx, data, WIDTH * (LAYERS - 1), WIDTH, 1, LAYERS - 1))
    local want, got = their_row(), ours(f32, { path })
    assert.is_true(farthest(plain, want) > 0.1, "the vector does nothing in the peer")
    assert.is_true(farthest(want, got) < 1e-3 * (1 + farthest(plain, want)), ("%g of %g"):format(farthest(want, got), farthest(plain, want)))
    os.remove(path)
  end)
end)
