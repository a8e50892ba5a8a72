--- Calibration of families with shared experts, groups and windows: every
--- matrix is seen, experts as often as they are chosen, and error feedback
--- makes each of them better.
local support = require "spec.support"
local core = require "wane.core"
local wane = require "wane"

local N = 512
local ids = {}
for i = 1, N do ids[i] = (i * 37 + i * i) % 288 end

-- name -> tensors of block 1 that must be seen, and how often all experts of one together
local FAMILIES = {
  qwen2moe = { dense = { "attn_q", "attn_output", "ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp" }, used = 2 },
  bailingmoe2 = { dense = { "attn_qkv", "attn_output", "ffn_gate_shexp", "ffn_down_shexp" }, used = 2 },
  gemma3 = { dense = { "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down" } },
}

local function path(name) return support.conformance(("families/%s/%s.F32.gguf"):format(name, name)) end

local function total(bytes)
  local sum = 0
  for _, v in ipairs(core.imatrix.floats(bytes)) do sum = sum + v end
  return sum
end

for name, want in pairs(FAMILIES) do
  describe("calibrating " .. name, function()
    support.check_leaks()

    it("sees every matrix, and experts as often as they are chosen", function()
      local m = assert(wane.load(path(name)))
      local im = assert(wane.calibrate.imatrix(m, ids, { context = 64 }))
      for _, what in ipairs(want.dense) do
        local e = im.entries["blk.1." .. what .. ".weight"]
        assert(e, what .. " is missing")
        assert.equal(N, total(e.counts), what)
      end
      for _, what in ipairs(want.used and { "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps" } or {}) do
        assert.equal(N * want.used, total(im.entries["blk.1." .. what .. ".weight"].counts), what)
      end
      m:close()
    end)

    it("error feedback makes matrices better, and the file loads", function()
      local to = support.tmp(name .. ".gguf")
      local r = assert(wane.calibrate.gptq { from = path(name), to = to, recipe = "Q4_0", text = ids, context = 64 })
      local better, n = 0, 0
      for _, t in pairs(r.rebuilt) do
        n = n + 1
        if t.after < t.before then better = better + 1 end
      end
      assert(n >= 7 and better >= n * 0.8, ("%d of %d matrices are better"):format(better, n))
      local m = assert(wane.load(to))
      m:close()
      os.remove(to)
    end)
  end)
end
