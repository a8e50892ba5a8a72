--- The imatrix of the families with states, compressed keys and experts of
--- their own kind: every matrix that is multiplied is seen for every token,
--- matrices by head once a head, experts as often as they are chosen.
local support = require "spec.support"
local core = require "wane.core"
local wane = require "wane"

local N = 256
local ids = {}
for i = 1, N do ids[i] = (i * 37 + i * i) % 288 end

-- Names of block 1, or of the block that is given; `each`: matrices by head.
local FAMILIES = {
  qwen35 = { block = 0, "attn_qkv", "attn_gate", "ssm_beta", "ssm_alpha", "ssm_out", "ffn_down" },
  qwen3next = { block = 0, "ssm_ba", "ssm_out", "ffn_down_shexp", experts = { "ffn_down_exps" } },
  lfm2 = { block = 0, "shortconv.in_proj", "shortconv.out_proj", "ffn_up" },
  deepseek2 = { block = 1, "attn_q_a", "attn_q_b", "attn_kv_a_mqa", "attn_output", by_head = { "attn_k_b", "attn_v_b" },
    experts = { "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps" } },
  ["gemma4-moe"] = { block = 0, "attn_q", "attn_output", "ffn_down", experts = { "ffn_gate_up_exps", "ffn_down_exps" } },
  mamba2 = { block = 0, "ssm_in", "ssm_out" },
  mamba = { block = 0, "ssm_in", "ssm_x", "ssm_dt", "ssm_out" },
  rwkv7 = { block = 1, "time_mix_receptance", "time_mix_w2", "time_mix_output", "channel_mix_value" },
}

local function counts(im, block, name)
  local e = im.entries[("blk.%d.%s.weight"):format(block, name)]
  assert(e, name .. " is missing")
  return core.imatrix.floats(e.counts)
end

local function total(list)
  local sum = 0
  for _, v in ipairs(list) do sum = sum + v end
  return sum
end

local names = {}
for name in pairs(FAMILIES) do names[#names + 1] = name end
table.sort(names)

describe("the imatrix of", function()
  support.check_leaks()
  for _, name in ipairs(names) do
    local want = FAMILIES[name]
    it(name, function()
      local m = assert(wane.load(support.conformance(("families/%s/%s.F32.gguf"):format(name, name))))
      local im = assert(wane.calibrate.imatrix(m, ids, { context = 64 }))
      for _, what in ipairs(want) do assert.equal(N, total(counts(im, want.block, what)), what) end
      for _, what in ipairs(want.by_head or {}) do
        for _, n in ipairs(counts(im, want.block, what)) do assert.equal(N, n, what) end
      end
      for _, what in ipairs(want.experts or {}) do
        assert.equal(N * m.hp.expert_used_count, total(counts(im, want.block, what)), what)
      end
      m:close()
    end)
  end
end)
