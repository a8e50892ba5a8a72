--- Shapes of today's families for bench/synthetic.lua, about half a billion
--- weights each (with a vocabulary of 32,000, so that layers decide): layers
--- that forget by a window, short convolutions, the gated delta rule, Mamba2,
--- compressed keys, experts. Widths and ratios are those of the family's small
--- models; names and shapes as in the files that people download.
--
-- A family is { meta = { key = value }, tensors = { { name, shape, value? } } }:
-- keys are written behind the architecture's name, whole numbers as u32, others
-- as f32, lists of numbers as i32; a tensor with a value is float32 and filled
-- with it, one without gets random rows of the type that the recipe chooses.
local M = {}

local VOCAB = 32000

--- A list of tensors under construction: add(name, shape, value).
local function collector()
  local list = {}
  local function add(name, shape, value) list[#list + 1] = { name = name, shape = shape, value = value } end
  return list, add
end

local function feed_forward(add, p, width, ff)
  add(p .. "ffn_gate.weight", { width, ff })
  add(p .. "ffn_up.weight", { width, ff })
  add(p .. "ffn_down.weight", { ff, width })
end

local function experts(add, p, width, ff, n)
  add(p .. "ffn_gate_inp.weight", { width, n }, 0.01)
  add(p .. "ffn_gate_exps.weight", { width, ff, n })
  add(p .. "ffn_up_exps.weight", { width, ff, n })
  add(p .. "ffn_down_exps.weight", { ff, width, n })
end

local function attention(add, p, width, q, kv)
  add(p .. "attn_q.weight", { width, q })
  add(p .. "attn_k.weight", { width, kv })
  add(p .. "attn_v.weight", { width, kv })
  add(p .. "attn_output.weight", { q, width })
end

--- Norms with gain 1.
local function norms(add, p, names, n)
  for name in names:gmatch "%S+" do add(p .. name .. ".weight", { n }, 1) end
end

local function ends(add, width, norm, output)
  add("token_embd.weight", { width, VOCAB })
  norms(add, "", norm, width)
  if output then add("output.weight", { width, VOCAB }) end
end

-- Five layers of six see a window of 512 tokens.
M["gemma3"] = function()
  local width, ff, d, heads, layers = 1152, 6912, 256, 4, 18
  local list, add = collector()
  ends(add, width, "output_norm")
  for i = 0, layers - 1 do
    local p = ("blk.%d."):format(i)
    norms(add, p, "attn_norm post_attention_norm ffn_norm post_ffw_norm", width)
    norms(add, p, "attn_q_norm attn_k_norm", d)
    attention(add, p, width, heads * d, d)
    feed_forward(add, p, width, ff)
  end
  return { tensors = list, meta = {
    block_count = layers, embedding_length = width, feed_forward_length = ff, ["attention.head_count"] = heads,
    ["attention.head_count_kv"] = 1, ["attention.key_length"] = d, ["attention.value_length"] = d,
    ["attention.layer_norm_rms_epsilon"] = 2 ^ -20, ["attention.sliding_window"] = 512, ["rope.freq_base"] = 1e6 } }
end

-- Every other layer sees 128 tokens; 8 experts, of which a token uses 2.
M["gpt-oss"] = function()
  local width, ff, d, heads, kv, layers, n = 1024, 1024, 64, 16, 4, 16, 8
  local list, add = collector()
  ends(add, width, "output_norm", true)
  for i = 0, layers - 1 do
    local p = ("blk.%d."):format(i)
    norms(add, p, "attn_norm post_attention_norm", width)
    attention(add, p, width, heads * d, kv * d)
    for name, size in pairs { q = heads * d, k = kv * d, v = kv * d, output = width } do
      add(p .. "attn_" .. name .. ".bias", { size }, 0.01)
    end
    add(p .. "attn_sinks.weight", { heads }, 0)
    experts(add, p, width, ff, n)
    add(p .. "ffn_gate_inp.bias", { n }, 0)
    add(p .. "ffn_gate_exps.bias", { ff, n }, 0.01)
    add(p .. "ffn_up_exps.bias", { ff, n }, 0.01)
    add(p .. "ffn_down_exps.bias", { width, n }, 0.01)
  end
  return { tensors = list, meta = {
    block_count = layers, embedding_length = width, feed_forward_length = ff, ["attention.head_count"] = heads,
    ["attention.head_count_kv"] = kv, ["attention.key_length"] = d, ["attention.value_length"] = d,
    ["attention.layer_norm_rms_epsilon"] = 2 ^ -17, ["attention.sliding_window"] = 128, ["rope.freq_base"] = 150000,
    expert_count = n, expert_used_count = 2, expert_feed_forward_length = ff } }
end

-- Three layers of four are gated delta nets with 16 heads of 128.
M["qwen35"] = function()
  local width, ff, d, heads, kv, layers = 1024, 3584, 256, 8, 2, 24
  local state, keys, values = 128, 16, 16
  local inner = state * values
  local mixed = 2 * state * keys + inner
  local list, add = collector()
  ends(add, width, "output_norm")
  for i = 0, layers - 1 do
    local p = ("blk.%d."):format(i)
    norms(add, p, "attn_norm post_attention_norm", width)
    feed_forward(add, p, width, ff)
    if i % 4 == 3 then
      norms(add, p, "attn_q_norm attn_k_norm", d)
      add(p .. "attn_q.weight", { width, 2 * heads * d })
      add(p .. "attn_k.weight", { width, kv * d })
      add(p .. "attn_v.weight", { width, kv * d })
      add(p .. "attn_output.weight", { heads * d, width })
    else
      add(p .. "attn_qkv.weight", { width, mixed })
      add(p .. "attn_gate.weight", { width, inner })
      add(p .. "ssm_a", { values }, -1)
      add(p .. "ssm_alpha.weight", { width, values })
      add(p .. "ssm_beta.weight", { width, values })
      add(p .. "ssm_conv1d.weight", { 4, mixed }, 0.25)
      add(p .. "ssm_dt.bias", { values }, 1)
      norms(add, p, "ssm_norm", state)
      add(p .. "ssm_out.weight", { inner, width })
    end
  end
  return { tensors = list, meta = {
    block_count = layers, embedding_length = width, feed_forward_length = ff, ["attention.head_count"] = heads,
    ["attention.head_count_kv"] = kv, ["attention.key_length"] = d, ["attention.value_length"] = d,
    ["attention.layer_norm_rms_epsilon"] = 2 ^ -20, ["rope.freq_base"] = 1e7, ["rope.dimension_count"] = 64,
    ["rope.dimension_sections"] = { 11, 11, 10, 0 }, full_attention_interval = 4, ["ssm.conv_kernel"] = 4,
    ["ssm.inner_size"] = inner, ["ssm.state_size"] = state, ["ssm.time_step_rank"] = values, ["ssm.group_count"] = keys } }
end

-- Ten layers of sixteen are short convolutions.
M["lfm2"] = function()
  local width, ff, d, heads, kv, layers = 1280, 5120, 64, 20, 4, 16
  local list, add = collector()
  ends(add, width, "token_embd_norm")
  local kvs = {}
  for i = 0, layers - 1 do
    local p = ("blk.%d."):format(i)
    kvs[i + 1] = ("-2-5-8-10-12-14-"):find("-" .. i .. "-", 1, true) and kv or 0
    norms(add, p, "attn_norm ffn_norm", width)
    feed_forward(add, p, width, ff)
    if kvs[i + 1] > 0 then
      norms(add, p, "attn_q_norm attn_k_norm", d)
      attention(add, p, width, heads * d, kv * d)
    else
      add(p .. "shortconv.conv.weight", { 3, width }, 0.3)
      add(p .. "shortconv.in_proj.weight", { width, 3 * width })
      add(p .. "shortconv.out_proj.weight", { width, width })
    end
  end
  return { tensors = list, meta = {
    block_count = layers, embedding_length = width, feed_forward_length = ff, ["attention.head_count"] = heads,
    ["attention.head_count_kv"] = kvs, ["attention.layer_norm_rms_epsilon"] = 2 ^ -17, ["rope.freq_base"] = 1e6,
    ["rope.dimension_count"] = d, ["shortconv.l_cache"] = 3 } }
end

-- Nine layers of ten are Mamba2 with heads of 64 and a state of 128.
M["granitehybrid"] = function()
  local width, ff, d, heads, kv, layers = 1024, 2560, 64, 16, 4, 30
  local state, inner = 128, 2048
  local n = inner / 64
  local mixed = inner + 2 * state
  local list, add = collector()
  ends(add, width, "output_norm")
  local kvs = {}
  for i = 0, layers - 1 do
    local p = ("blk.%d."):format(i)
    kvs[i + 1] = i % 10 == 5 and kv or 0
    norms(add, p, "attn_norm ffn_norm", width)
    feed_forward(add, p, width, ff)
    if kvs[i + 1] > 0 then
      attention(add, p, width, heads * d, kv * d)
    else
      add(p .. "ssm_a", { 1, n }, -1)
      add(p .. "ssm_d", { 1, n }, 1)
      add(p .. "ssm_conv1d.weight", { 4, mixed }, 0.25)
      add(p .. "ssm_conv1d.bias", { mixed }, 0)
      add(p .. "ssm_dt.bias", { n }, 1)
      add(p .. "ssm_in.weight", { width, inner + mixed + n })
      norms(add, p, "ssm_norm", inner)
      add(p .. "ssm_out.weight", { inner, width })
    end
  end
  return { tensors = list, meta = {
    block_count = layers, embedding_length = width, feed_forward_length = ff, ["attention.head_count"] = heads,
    ["attention.head_count_kv"] = kvs, ["attention.key_length"] = d, ["attention.value_length"] = d,
    ["attention.layer_norm_rms_epsilon"] = 2 ^ -17, ["rope.freq_base"] = 10000, ["rope.dimension_count"] = d,
    logit_scale = 8.5, residual_scale = 0.35, embedding_scale = 6.5, ["attention.scale"] = 0.125,
    ["ssm.conv_kernel"] = 4, ["ssm.inner_size"] = inner, ["ssm.state_size"] = state, ["ssm.time_step_rank"] = n,
    ["ssm.group_count"] = 1 } }
end

-- Keys and values of all heads in 512 + 64 numbers; 8 experts, 2 of them used,
-- and one that all tokens share.
M["deepseek2"] = function()
  local width, ff, heads, layers, n, each = 1024, 2816, 16, 14, 8, 1024
  local rank, rope, nope, value, q_rank = 512, 64, 64, 64, 768
  local list, add = collector()
  ends(add, width, "output_norm", true)
  for i = 0, layers - 1 do
    local p = ("blk.%d."):format(i)
    norms(add, p, "attn_norm ffn_norm", width)
    add(p .. "attn_q_a.weight", { width, q_rank })
    norms(add, p, "attn_q_a_norm", q_rank)
    add(p .. "attn_q_b.weight", { q_rank, heads * (nope + rope) })
    add(p .. "attn_kv_a_mqa.weight", { width, rank + rope })
    norms(add, p, "attn_kv_a_norm", rank)
    add(p .. "attn_k_b.weight", { nope, rank, heads })
    add(p .. "attn_v_b.weight", { rank, value, heads })
    add(p .. "attn_output.weight", { heads * value, width })
    if i == 0 then
      feed_forward(add, p, width, ff)
    else
      experts(add, p, width, each, n)
      add(p .. "exp_probs_b.bias", { n }, 0)
      for name, shape in pairs { gate = { width, each }, up = { width, each }, down = { each, width } } do
        add(p .. "ffn_" .. name .. "_shexp.weight", shape)
      end
    end
  end
  return { tensors = list, meta = {
    block_count = layers, embedding_length = width, feed_forward_length = ff, ["attention.head_count"] = heads,
    ["attention.head_count_kv"] = 1, ["attention.layer_norm_rms_epsilon"] = 2 ^ -20, ["rope.freq_base"] = 10000,
    ["rope.dimension_count"] = rope, expert_count = n, expert_used_count = 2, expert_feed_forward_length = each,
    expert_shared_count = 1, leading_dense_block_count = 1, expert_weights_norm = true, expert_weights_scale = 2.5,
    expert_gating_func = 2, ["attention.q_lora_rank"] = q_rank, ["attention.kv_lora_rank"] = rank,
    ["attention.key_length"] = rank + rope, ["attention.value_length"] = rank,
    ["attention.key_length_mla"] = nope + rope, ["attention.value_length_mla"] = value } }
end

M.names = { "gemma3", "gpt-oss", "qwen35", "lfm2", "granitehybrid", "deepseek2" }
M.vocab = VOCAB

return M
