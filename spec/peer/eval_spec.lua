--- Perplexity and KL divergence beside llama.cpp itself, on the same files.
---
--- Kernels differ in how they round activations to 8 bits, which is part of
--- small divergences. The definition is therefore compared on float32 weights,
--- where both engines agree to five digits, and perplexity on quantized files.
if not (jit and os.getenv "WANE_PEER") then return end
local demo = require "spec.support.demo"
local peer = require "spec.support.peer"
local support = require "spec.support"
local wane = require "wane"

local N_CTX, CHUNKS = 256, 4

-- log-softmax of a row of logits, as a Lua list, with its largest entry.
local function log_softmax(row, n)
  local top, at, sum, out = -math.huge, 0, 0, {}
  for v = 0, n - 1 do
    if row[v] > top then top, at = row[v], v end
  end
  for v = 0, n - 1 do sum = sum + math.exp(row[v] - top) end
  local log_sum = math.log(sum)
  for v = 0, n - 1 do out[v] = row[v] - top - log_sum end
  return out, at
end

-- Chunks as llama.cpp's tool cuts them.
local function chunks_of(ids, bos)
  local list = {}
  for c = 0, CHUNKS - 1 do
    list[c + 1] = {}
    for i = 1, N_CTX do list[c + 1][i] = ids[c * N_CTX + i] end
    list[c + 1][1] = bos
  end
  return list
end

-- All that divergence reports, from the peer's logits.
local function peer_divergence(p_path, q_path)
  local p = peer.load(p_path, { context = N_CTX, kv = "f32", flash = false })
  local q = peer.load(q_path, { context = N_CTX, kv = "f32", flash = false })
  local d = { nll_p = 0, nll_q = 0, kld = 0, same = 0, dp2 = 0, n = 0, max = 0 }
  for _, t in ipairs(chunks_of(p:tokenize(demo.text(), true), p.bos)) do
    p:clear()
    q:clear()
    local lp, lq = p:eval(t, true), q:eval(t, true)
    for i = N_CTX / 2, N_CTX - 2 do
      local a, top_a = log_softmax(lp + i * p.n_vocab, p.n_vocab)
      local b, top_b = log_softmax(lq + i * q.n_vocab, q.n_vocab)
      local kld, target = 0, t[i + 2]
      for v = 0, p.n_vocab - 1 do kld = kld + math.exp(a[v]) * (a[v] - b[v]) end
      d.kld, d.max, d.n = d.kld + kld, math.max(d.max, kld), d.n + 1
      d.nll_p, d.nll_q = d.nll_p - a[target], d.nll_q - b[target]
      d.dp2 = d.dp2 + (math.exp(b[target]) - math.exp(a[target])) ^ 2
      if top_a == top_b then d.same = d.same + 1 end
    end
  end
  p:close()
  q:close()
  return d
end

local function near(want, got, share)
  assert.is_true(math.abs(got / want - 1) <= share, ("%.8g, the peer says %.8g"):format(got, want))
end

describe("peer: perplexity and divergence", function()
  support.check_leaks()
  local made = {}
  local function tmp(name)
    made[#made + 1] = support.tmp(name)
    return made[#made]
  end
  after_each(function()
    for _, path in ipairs(made) do os.remove(path) end
    made = {}
  end)

  it("are the same on float32 weights, to 0.1 %", function()
    local f32, quantized, decoded = tmp "f32.gguf", tmp "q.gguf", tmp "decoded.gguf"
    assert(wane.quantize { from = demo.path, to = f32, recipe = "F32" })
    assert(wane.quantize { from = demo.path, to = quantized, recipe = "Q3_K_M" })
    assert(wane.quantize { from = quantized, to = decoded, recipe = "F32", allow_requantize = true })
    local want = peer_divergence(f32, decoded)
    local a, b = assert(wane.load(f32, { kv = "f32" })), assert(wane.load(decoded, { kv = "f32" }))
    local d = assert(wane.eval.divergence(a, { b }, demo.text(), { context = N_CTX, chunks = CHUNKS }))[1]
    a:close()
    b:close()
    assert.equals(want.n, d.tokens)
    near(math.exp(want.nll_p / want.n), d.reference_perplexity, 1e-3)
    near(math.exp(want.nll_q / want.n), d.perplexity, 1e-3)
    near(want.kld / want.n, d.kld.mean, 1e-3)
    near(want.max, d.kld.max, 1e-3)
    near(math.sqrt(want.dp2 / want.n), d.rms_dp, 1e-3)
    assert.near(want.same / want.n, d.same_top, 1 / want.n)
  end)

  for _, recipe in ipairs { "Q8_0", "Q4_K_M", "Q3_K_M", "Q2_K" } do
    it("perplexity of " .. recipe .. " agrees, but for activations in 8 bits", function()
      local path = tmp "q.gguf"
      assert(wane.quantize { from = demo.path, to = path, recipe = recipe })
      local p = peer.load(path, { context = N_CTX, kv = "f32", flash = false })
      local want = p:perplexity(p:tokenize(demo.text(), true), N_CTX, 16)
      p:close()
      local m = assert(wane.load(path, { kv = "f32" }))
      local got = assert(wane.eval.perplexity(m, demo.text(), { context = N_CTX, chunks = 16 })).perplexity
      m:close()
      -- 16 chunks: what rounding activations costs does not average out yet
      near(want, got, recipe == "Q2_K" and 3e-3 or 1.5e-3)
    end)
  end
end)
