--- What a checkpoint of each class holds, told from the side of Hugging Face's
--- modules: names and shapes of parameters as their __init__ makes them, and the
--- settings of config.json. A layout fills h:put(name, tensor) from the tensors
--- h:take(name) of a GGUF file; every tensor of the file must be taken.
---
--- By architecture of the file: { class, kind (model_type), tokenizer, config(h),
--- tensors(h) }. `tokenizer` is how real checkpoints of the class carry theirs.
local M = {}

local json = require "wane.json"
local T = require "spec.support.checkpoint.tensors"

local function same(t) return t end

-- Moves weight and bias, where the file has them.
local function move(h, to, from, f)
  for _, suffix in ipairs { ".weight", ".bias" } do
    if h:has(from .. suffix) then h:put(to .. suffix, (f or same)(h:take(from .. suffix))) end
  end
end

-- For every layer: f(i, to, from), with move under their prefixes.
local function layers(h, f, prefix)
  for i = 0, h.n - 1 do
    local to, from = (prefix or "model.") .. ("layers.%d."):format(i), ("blk.%d."):format(i)
    f(function(a, b, g) move(h, to .. a, from .. b, g) end, i, to, from)
  end
end

local function ends(h, prefix, norm, head)
  prefix = prefix or "model."
  move(h, prefix .. "embed_tokens", "token_embd")
  move(h, prefix .. (norm or "norm"), norm and "token_embd_norm" or "output_norm", h.less_one)
  move(h, head or "lm_head", "output")
end

local function attention(m, q, k)
  m("self_attn.q_proj", "attn_q", q)
  m("self_attn.k_proj", "attn_k", k or q)
  m("self_attn.v_proj", "attn_v")
  m("self_attn.o_proj", "attn_output")
end

local function mlp(m, name, suffix)
  for _, part in ipairs { "gate", "up", "down" } do m(name .. part .. "_proj", "ffn_" .. part .. (suffix or "")) end
end

-- Experts in modules of their own: NAME.X.gate_proj and so on.
local function experts(h, to, from, name, parts)
  for _, e in ipairs(parts or { { "gate_proj", "gate" }, { "up_proj", "up" }, { "down_proj", "down" } }) do
    local t = h:take(from .. "ffn_" .. e[2] .. "_exps.weight")
    for x = 0, t.shape[1] - 1 do h:put(("%s%s.%d.%s.weight"):format(to, name, x, e[1]), T.matrix(t, x)) end
  end
end

-- ---- llama and its like -------------------------------------------------------------

local function common_config(h)
  local function first(v) return type(v) == "table" and v[1] or v end
  return {
    hidden_size = h "embedding_length", num_hidden_layers = h.n, intermediate_size = first(h "feed_forward_length"),
    num_attention_heads = h "attention.head_count", num_key_value_heads = first(h "attention.head_count_kv"),
    max_position_embeddings = h "context_length", rms_norm_eps = h "attention.layer_norm_rms_epsilon",
    rope_theta = h "rope.freq_base", head_dim = h "attention.key_length", vocab_size = h.n_vocab,
    tie_word_embeddings = not h:has "output.weight", hidden_act = "silu",
  }
end

local function with(config, more)
  for k, v in pairs(more) do config[k] = v end
  return config
end

-- Classes whose heads are always hidden_size / heads wide.
local function headless(h)
  local c = common_config(h)
  c.head_dim = nil
  return c
end

-- Llama's layers; `halves`: the file has q and k in pairs.
local function llama_like(halves, more)
  return function(h)
    ends(h)
    local heads, kv = h "attention.head_count", h "attention.head_count_kv"
    local q = halves and function(t) return T.halves(t, heads) end
    local k = halves and function(t) return T.halves(t, kv) end
    layers(h, function(m, i, to, from)
      m("input_layernorm", "attn_norm")
      attention(m, q, k)
      m("post_attention_layernorm", "ffn_norm")
      if h:has(from .. "ffn_gate.weight") then mlp(m, "mlp.") end
      if more then more(h, m, to, from, i) end
    end)
  end
end

local function head_norms(_, m)
  m("self_attn.q_norm", "attn_q_norm")
  m("self_attn.k_norm", "attn_k_norm")
end

local function rope_scaling(h, config)
  local kind, magnitude = h "rope.scaling.type", h "rope.scaling.attn_factor"
  if kind then
    config.rope_scaling = {
      rope_type = kind, factor = h "rope.scaling.factor", -- transformers' attention_factor is the whole magnitude
      attention_factor = magnitude and magnitude * (1 + 0.1 * math.log(h "rope.scaling.factor")),
      original_max_position_embeddings = h "rope.scaling.original_context_length",
    }
  end
  return config
end

M.llama = {
  class = "LlamaForCausalLM", kind = "llama", tokenizer = "sentencepiece", tensors = llama_like(true),
  config = function(h)
    local c = rope_scaling(h, common_config(h))
    if h:has "rope_freqs.weight" then
      h:take "rope_freqs.weight" -- computed from these settings
      c.rope_scaling = h.given.rope_scaling
    end
    return c
  end,
}

M.mixtral = {
  class = "MixtralForCausalLM", kind = "mixtral", tokenizer = "sentencepiece",
  config = function(h)
    return with(common_config(h), { num_local_experts = h "expert_count", num_experts_per_tok = h "expert_used_count" })
  end,
  tensors = llama_like(true, function(h, m, to, from)
    m("block_sparse_moe.gate", "ffn_gate_inp")
    experts(h, to, from, "block_sparse_moe.experts", { { "w1", "gate" }, { "w3", "up" }, { "w2", "down" } })
  end),
}

M.mistral = { class = "MistralForCausalLM", kind = "mistral", tokenizer = "sentencepiece", tensors = M.llama.tensors,
  config = function(h) return with(common_config(h), { sliding_window = json.null }) end }
M.smollm3 = { class = "SmolLM3ForCausalLM", kind = "smollm3", tokenizer = "bytes", tensors = llama_like(true),
  config = function(h) return with(common_config(h), { no_rope_layer_interval = 4, pad_token_id = json.null }) end }
M.granite = {
  class = "GraniteForCausalLM", kind = "granite", tokenizer = "bytes", tensors = llama_like(true),
  config = function(h)
    return with(headless(h), {
      attention_multiplier = h "attention.scale", embedding_multiplier = h "embedding_scale",
      residual_multiplier = h "residual_scale", logits_scaling = h "logit_scale",
    })
  end,
}
M.qwen2 = { class = "Qwen2ForCausalLM", kind = "qwen2", tokenizer = "bytes", tensors = llama_like(false),
  config = function(h) return rope_scaling(h, common_config(h)) end }
M.qwen3 = { class = "Qwen3ForCausalLM", kind = "qwen3", tokenizer = "bytes", tensors = llama_like(false, head_norms),
  config = common_config }

local function moe_config(h)
  return with(common_config(h), {
    num_experts = h "expert_count", num_experts_per_tok = h "expert_used_count",
    moe_intermediate_size = h "expert_feed_forward_length",
    shared_expert_intermediate_size = h "expert_shared_feed_forward_length",
  })
end

local function shared_expert(h, m, to, from)
  if not h:has(from .. "ffn_up_shexp.weight") then return end
  mlp(m, "mlp.shared_expert.", "_shexp")
  local g = h:take(from .. "ffn_gate_inp_shexp.weight")
  h:put(to .. "mlp.shared_expert_gate.weight", T.shaped(g, 1, #T.bytes(g) / 4))
end

M.qwen2moe = {
  class = "Qwen2MoeForCausalLM", kind = "qwen2_moe", tokenizer = "bytes", config = moe_config,
  tensors = llama_like(false, function(h, m, to, from)
    m("mlp.gate", "ffn_gate_inp")
    experts(h, to, from, "mlp.experts")
    shared_expert(h, m, to, from)
  end),
}
M.qwen3moe = {
  class = "Qwen3MoeForCausalLM", kind = "qwen3_moe", tokenizer = "bytes",
  config = function(h) return with(moe_config(h), { norm_topk_prob = true }) end,
  tensors = llama_like(false, function(h, m, to, from)
    head_norms(h, m)
    m("mlp.gate", "ffn_gate_inp")
    experts(h, to, from, "mlp.experts")
  end),
}

M.olmo2 = {
  class = "Olmo2ForCausalLM", kind = "olmo2", tokenizer = "bytes",
  config = headless,
  tensors = function(h)
    ends(h)
    layers(h, function(m)
      attention(m)
      head_norms(h, m)
      m("post_attention_layernorm", "post_attention_norm")
      m("post_feedforward_layernorm", "post_ffw_norm")
      mlp(m, "mlp.")
    end)
  end,
}
M.olmo3 = {
  class = "Olmo3ForCausalLM", kind = "olmo3", tokenizer = "bytes", tensors = M.olmo2.tensors,
  config = function(h)
    local types = {}
    for i = 1, h.n do types[i] = i % 4 == 0 and "full_attention" or "sliding_attention" end
    return with(rope_scaling(h, M.olmo2.config(h)), { sliding_window = h "attention.sliding_window", layer_types = types })
  end,
}

M.phi3 = {
  class = "Phi3ForCausalLM", kind = "phi3", tokenizer = "sentencepiece",
  config = function(h)
    local c = with(headless(h), {
      pad_token_id = json.null, original_max_position_embeddings = h "rope.scaling.original_context_length" or h "context_length",
    })
    if h:has "rope_factors_long.weight" then
      local function list(name)
        local core, t = require "wane.core", h:take(name)
        local b, v = core.quant.buffer(1, t.shape[1], T.bytes(t)), {}
        for i = 1, #b do v[i] = b[i] end
        b:close()
        return v
      end
      c.rope_scaling = { type = "longrope", long_factor = list "rope_factors_long.weight", short_factor = list "rope_factors_short.weight" }
    end
    return c
  end,
  tensors = function(h)
    ends(h)
    layers(h, function(m)
      m("input_layernorm", "attn_norm")
      m("self_attn.qkv_proj", "attn_qkv")
      m("self_attn.o_proj", "attn_output")
      m("post_attention_layernorm", "ffn_norm")
      m("mlp.gate_up_proj", "ffn_up")
      m("mlp.down_proj", "ffn_down")
    end)
  end,
}

-- ---- gemma --------------------------------------------------------------------------

local function gemma_norms(m, f)
  m("input_layernorm", "attn_norm", f)
  m("post_attention_layernorm", "post_attention_norm", f)
  m("pre_feedforward_layernorm", "ffn_norm", f)
  m("post_feedforward_layernorm", "post_ffw_norm", f)
  m("self_attn.q_norm", "attn_q_norm", f)
  m("self_attn.k_norm", "attn_k_norm", f)
end

local function gemma_tensors(h)
  ends(h)
  layers(h, function(m)
    gemma_norms(m, T.less_one)
    attention(m)
    mlp(m, "mlp.")
  end)
end

M.gemma2 = {
  class = "Gemma2ForCausalLM", kind = "gemma2", tokenizer = "sentencepiece", less_one = T.less_one, tensors = gemma_tensors,
  config = function(h)
    return with(common_config(h), {
      attn_logit_softcapping = h "attn_logit_softcapping", final_logit_softcapping = h "final_logit_softcapping",
      sliding_window = h "attention.sliding_window", query_pre_attn_scalar = h "attention.key_length",
      hidden_activation = "gelu_pytorch_tanh",
    })
  end,
}
M.gemma3 = {
  class = "Gemma3ForCausalLM", kind = "gemma3_text", tokenizer = "sentencepiece", less_one = T.less_one, tensors = gemma_tensors,
  config = function(h)
    return with(common_config(h), {
      sliding_window = h "attention.sliding_window", final_logit_softcapping = h "final_logit_softcapping",
      sliding_window_pattern = h "attention.sliding_window_pattern" or 6, rope_local_base_freq = h "rope.freq_base_swa",
      rope_scaling = h "rope.scaling.type" and { rope_type = h "rope.scaling.type", factor = h "rope.scaling.factor" } or nil,
      query_pre_attn_scalar = h "attention.key_length", hidden_activation = "gelu_pytorch_tanh",
    })
  end,
}

-- The text model inside of one that sees: config.text_config and longer names.
M.gemma4 = {
  class = "Gemma4ForConditionalGeneration", kind = "gemma4", text_kind = "gemma4_text", tokenizer = "fallback",
  config = function(h)
    local types, pattern = {}, h "attention.sliding_window_pattern"
    for i = 1, h.n do types[i] = pattern[i] and "sliding_attention" or "full_attention" end
    local kv, kv_full = h "attention.head_count_kv", nil
    for i = 1, h.n do
      if not pattern[i] then kv_full = kv[i] end
    end
    local divisors, n = T.bytes(h:take "rope_freqs.weight"), 0
    while divisors:sub(4 * n + 1, 4 * n + 4) == "\0\0\128\63" do n = n + 1 end -- ones: pairs that are rotated
    local shared, ff = h "attention.shared_kv_layers" or 0, h "feed_forward_length"
    return with(common_config(h), {
      head_dim = h "attention.key_length_swa", global_head_dim = h "attention.key_length", layer_types = types,
      num_key_value_heads = kv[1], num_global_key_value_heads = kv_full, attention_k_eq_v = not h:has "blk.2.attn_v.weight",
      num_kv_shared_layers = shared, hidden_size_per_layer_input = h "embedding_length_per_layer_input",
      vocab_size_per_layer_input = h.n_vocab, sliding_window = h "attention.sliding_window",
      final_logit_softcapping = h "final_logit_softcapping", enable_moe_block = h "expert_count" ~= nil,
      num_experts = h "expert_count", top_k_experts = h "expert_used_count",
      moe_intermediate_size = h "expert_feed_forward_length" or json.null,
      use_double_wide_mlp = type(ff) == "table" and ff[h.n] == 2 * ff[1],
      hidden_activation = "gelu_pytorch_tanh", rope_theta = json.null,
      rope_parameters = {
        full_attention = {
          rope_type = "proportional", rope_theta = h "rope.freq_base", partial_rotary_factor = 2 * n / h "attention.key_length",
        },
        sliding_attention = { rope_type = "default", rope_theta = h "rope.freq_base_swa" },
      },
    })
  end,
  tensors = function(h)
    local top = "model.language_model."
    ends(h, top)
    move(h, top .. "embed_tokens_per_layer", "per_layer_token_embd")
    move(h, top .. "per_layer_model_projection", "per_layer_model_proj")
    move(h, top .. "per_layer_projection_norm", "per_layer_proj_norm")
    layers(h, function(m, _, to, from)
      gemma_norms(m)
      attention(m)
      mlp(m, "mlp.")
      m("per_layer_input_gate", "inp_gate")
      m("per_layer_projection", "proj")
      m("post_per_layer_input_norm", "post_norm")
      local function plain(a, b)
        if h:has(from .. b) then h:put(to .. a, h:take(from .. b)) end
      end
      plain("layer_scalar", "layer_output_scale.weight")
      if not h:has(from .. "ffn_gate_inp.weight") then return end
      m("router.proj", "ffn_gate_inp")
      plain("router.scale", "ffn_gate_inp.scale")
      plain("router.per_expert_scale", "ffn_down_exps.scale")
      plain("experts.gate_up_proj", "ffn_gate_up_exps.weight")
      plain("experts.down_proj", "ffn_down_exps.weight")
      m("post_feedforward_layernorm_1", "post_ffw_norm_1")
      m("post_feedforward_layernorm_2", "post_ffw_norm_2")
      m("pre_feedforward_layernorm_2", "pre_ffw_norm_2")
    end, top)
  end,
}

-- ---- delta rule ---------------------------------------------------------------------

local function next_config(h)
  return with(moe_config(h), {
    linear_conv_kernel_dim = h "ssm.conv_kernel", linear_key_head_dim = h "ssm.state_size",
    linear_value_head_dim = h "ssm.inner_size" / h "ssm.time_step_rank", linear_num_key_heads = h "ssm.group_count",
    linear_num_value_heads = h "ssm.time_step_rank", full_attention_interval = h "full_attention_interval",
    partial_rotary_factor = h "rope.dimension_count" / h "attention.key_length",
  })
end

-- Rows of q, k, v, z from all heads of one kind to head by head.
local function by_key_head(qkv, z, nk, dk, per)
  local list = {}
  for k = 0, nk - 1 do
    local v = 2 * nk * dk + k * per
    list[#list + 1] = T.part(qkv, k * dk + 1, (k + 1) * dk)
    list[#list + 1] = T.part(qkv, (nk + k) * dk + 1, (nk + k + 1) * dk)
    list[#list + 1] = T.part(qkv, v + 1, v + per)
    list[#list + 1] = T.part(z, k * per + 1, (k + 1) * per)
  end
  return T.join(list)
end

-- Parts of both kinds of layers that are alike.
local function next_layer(h, m)
  m("input_layernorm", "attn_norm", T.less_one)
  m("post_attention_layernorm", "post_attention_norm", T.less_one)
  attention(m)
  m("self_attn.q_norm", "attn_q_norm", T.less_one)
  m("self_attn.k_norm", "attn_k_norm", T.less_one)
  m("linear_attn.norm", "ssm_norm")
  if h "expert_count" then m("mlp.gate", "ffn_gate_inp") else mlp(m, "mlp.") end
end

local function conv(t) return T.shaped(t, #t.rows, 1, t.shape[2]) end

M.qwen3next = {
  class = "Qwen3NextForCausalLM", kind = "qwen3_next", tokenizer = "bytes", config = next_config, less_one = T.less_one,
  tensors = function(h)
    ends(h)
    local nk, dk = h "ssm.group_count", h "ssm.state_size"
    layers(h, function(m, _, to, from)
      next_layer(h, m)
      experts(h, to, from, "mlp.experts")
      shared_expert(h, m, to, from)
      if not h:has(from .. "ssm_a") then return end
      h:put(to .. "linear_attn.in_proj_qkvz.weight",
        by_key_head(h:take(from .. "attn_qkv.weight"), h:take(from .. "attn_gate.weight"), nk, dk, h "ssm.inner_size" / nk))
      m("linear_attn.in_proj_ba", "ssm_ba")
      m("linear_attn.conv1d", "ssm_conv1d", conv)
      h:put(to .. "linear_attn.A_log", T.log_of_minus(h:take(from .. "ssm_a")))
      h:put(to .. "linear_attn.dt_bias", h:take(from .. "ssm_dt.bias"))
      m("linear_attn.out_proj", "ssm_out")
    end)
  end,
}

local function qwen35_tensors(h)
  local top = "model.language_model."
  ends(h, top)
  local nk, nv, dk = h "ssm.group_count", h "ssm.time_step_rank", h "ssm.state_size"
  local dv = h "ssm.inner_size" / nv
  layers(h, function(m, _, to, from)
    next_layer(h, m)
    if h "expert_count" then
      h:put(to .. "mlp.experts.gate_up_proj",
        T.over(h:take(from .. "ffn_gate_exps.weight"), h:take(from .. "ffn_up_exps.weight")))
      h:put(to .. "mlp.experts.down_proj", h:take(from .. "ffn_down_exps.weight"))
      shared_expert(h, m, to, from)
    end
    if not h:has(from .. "ssm_a") then return end
    local function heads(n, first) return function(t) return T.grouped(t, nk, nv, n, first) end end
    local function column(t) return T.shaped(T.grouped(T.shaped(t, nv, 1), nk, nv, 1, 0), nv) end
    m("linear_attn.in_proj_qkv", "attn_qkv", heads(dv, 2 * nk * dk))
    m("linear_attn.in_proj_z", "attn_gate", heads(dv, 0))
    m("linear_attn.in_proj_b", "ssm_beta", heads(1, 0))
    m("linear_attn.in_proj_a", "ssm_alpha", heads(1, 0))
    m("linear_attn.conv1d", "ssm_conv1d", function(t) return conv(T.grouped(t, nk, nv, dv, 2 * nk * dk)) end)
    h:put(to .. "linear_attn.A_log", column(T.log_of_minus(h:take(from .. "ssm_a"))))
    h:put(to .. "linear_attn.dt_bias", column(h:take(from .. "ssm_dt.bias")))
    m("linear_attn.out_proj", "ssm_out", function(t) return T.grouped_columns(t, nk, nv, dv) end)
  end, top)
end

local function qwen35_config(h)
  local c, sections = next_config(h), {}
  for i, n in ipairs(h "rope.dimension_sections") do
    if n > 0 then sections[i] = n end
  end
  local types = {}
  for i = 1, h.n do types[i] = i % h "full_attention_interval" == 0 and "full_attention" or "linear_attention" end
  c.layer_types = types
  c.rope_parameters = {
    rope_type = "default", rope_theta = c.rope_theta, mrope_section = sections, mrope_interleaved = true,
    partial_rotary_factor = c.partial_rotary_factor,
  }
  c.rope_theta, c.partial_rotary_factor = nil, nil
  return c
end

M.qwen35 = { class = "Qwen3_5ForConditionalGeneration", kind = "qwen3_5", text_kind = "qwen3_5_text", tokenizer = "bytes",
  config = qwen35_config, tensors = qwen35_tensors, less_one = T.less_one }
M.qwen35moe = { class = "Qwen3_5MoeForConditionalGeneration", kind = "qwen3_5_moe", text_kind = "qwen3_5_moe_text",
  tokenizer = "bytes", config = qwen35_config, tensors = qwen35_tensors, less_one = T.less_one }

-- ---- others -------------------------------------------------------------------------

M.glm4moe = {
  class = "Glm4MoeForCausalLM", kind = "glm4_moe", tokenizer = "bytes",
  specials = { "[gMASK]", "<|user|>", "<|endoftext|>", "<|observation|>" },
  config = function(h)
    return with(common_config(h), {
      n_routed_experts = h "expert_count", num_experts_per_tok = h "expert_used_count", n_group = 1, topk_group = 1,
      moe_intermediate_size = h "expert_feed_forward_length", n_shared_experts = h "expert_shared_count",
      first_k_dense_replace = h "leading_dense_block_count", routed_scaling_factor = h "expert_weights_scale",
      norm_topk_prob = h "expert_weights_norm", attention_bias = true, use_qk_norm = true,
      partial_rotary_factor = h "rope.dimension_count" / h "attention.key_length",
    })
  end,
  tensors = function(h)
    ends(h)
    layers(h, function(m, i, to, from)
      m("input_layernorm", "attn_norm")
      attention(m)
      head_norms(h, m)
      m("post_attention_layernorm", "post_attention_norm")
      if i < h "leading_dense_block_count" then return mlp(m, "mlp.") end
      m("mlp.gate", "ffn_gate_inp")
      h:put(to .. "mlp.gate.e_score_correction_bias", h:take(from .. "exp_probs_b.bias"))
      experts(h, to, from, "mlp.experts")
      mlp(m, "mlp.shared_experts.", "_shexp")
    end)
  end,
}

M["gpt-oss"] = {
  class = "GptOssForCausalLM", kind = "gpt_oss", tokenizer = "bytes",
  config = function(h)
    return with(rope_scaling(h, common_config(h)), {
      num_local_experts = h "expert_count", num_experts_per_tok = h "expert_used_count", attention_bias = true,
      sliding_window = h "attention.sliding_window",
    })
  end,
  tensors = function(h)
    ends(h)
    layers(h, function(m, _, to, from)
      m("input_layernorm", "attn_norm")
      attention(m)
      h:put(to .. "self_attn.sinks", h:take(from .. "attn_sinks.weight"))
      m("post_attention_layernorm", "post_attention_norm")
      m("mlp.router", "ffn_gate_inp")
      local function take(name) return h:take(from .. name) end
      h:put(to .. "mlp.experts.gate_up_proj", T.turned(T.in_turns(take "ffn_gate_exps.weight", take "ffn_up_exps.weight")))
      h:put(to .. "mlp.experts.down_proj", T.turned(take "ffn_down_exps.weight"))
      local gate, up = take "ffn_gate_exps.bias", take "ffn_up_exps.bias"
      local n, f = gate.shape[1], gate.shape[2]
      h:put(to .. "mlp.experts.gate_up_proj_bias",
        T.shaped(T.in_turns(T.shaped(gate, n, f, 1), T.shaped(up, n, f, 1)), n, 2 * f))
      h:put(to .. "mlp.experts.down_proj_bias", take "ffn_down_exps.bias")
    end)
  end,
}

local function lfm2_config(h)
  local types, kv = {}, nil
  for i, n in ipairs(h "attention.head_count_kv") do
    types[i] = n > 0 and "full_attention" or "conv"
    if n > 0 then kv = n end
  end
  return with(headless(h), {
    num_key_value_heads = kv, layer_types = types, conv_L_cache = h "shortconv.l_cache", conv_bias = false,
    norm_eps = h "attention.layer_norm_rms_epsilon", block_auto_adjust_ff_dim = false, block_ffn_dim_multiplier = 1.0,
    block_multiple_of = 256,
  })
end

local w123 = { { "w1", "gate" }, { "w3", "up" }, { "w2", "down" } }

local function lfm2_tensors(h)
  ends(h, nil, "embedding_norm")
  layers(h, function(m, _, to, from)
    m("operator_norm", "attn_norm")
    m("self_attn.q_proj", "attn_q")
    m("self_attn.k_proj", "attn_k")
    m("self_attn.v_proj", "attn_v")
    m("self_attn.out_proj", "attn_output")
    m("self_attn.q_layernorm", "attn_q_norm")
    m("self_attn.k_layernorm", "attn_k_norm")
    m("conv.in_proj", "shortconv.in_proj")
    m("conv.out_proj", "shortconv.out_proj")
    m("conv.conv", "shortconv.conv", conv)
    m("ffn_norm", "ffn_norm")
    for _, e in ipairs(w123) do m("feed_forward." .. e[1], "ffn_" .. e[2]) end
    if not h:has(from .. "ffn_gate_inp.weight") then return end
    m("feed_forward.gate", "ffn_gate_inp")
    h:put(to .. "feed_forward.expert_bias", h:take(from .. "exp_probs_b.bias"))
    experts(h, to, from, "feed_forward.experts", w123)
  end)
end

M.lfm2 = { class = "Lfm2ForCausalLM", kind = "lfm2", tokenizer = "bytes", config = lfm2_config, tensors = lfm2_tensors }
M.lfm2moe = {
  class = "Lfm2MoeForCausalLM", kind = "lfm2_moe", tokenizer = "bytes", tensors = lfm2_tensors,
  config = function(h)
    return with(lfm2_config(h), {
      num_experts = h "expert_count", num_experts_per_tok = h "expert_used_count", norm_topk_prob = true, use_expert_bias = true,
      moe_intermediate_size = h "expert_feed_forward_length", num_dense_layers = h "leading_dense_block_count",
    })
  end,
}

-- ---- encoders -----------------------------------------------------------------------

local function bert_config(h)
  return {
    hidden_size = h "embedding_length", num_hidden_layers = h.n, intermediate_size = h "feed_forward_length",
    num_attention_heads = h "attention.head_count", max_position_embeddings = h "context_length",
    layer_norm_eps = h "attention.layer_norm_epsilon", vocab_size = h.n_vocab, type_vocab_size = 2, hidden_act = "gelu",
    pad_token_id = 0, position_embedding_type = "absolute",
  }
end

local function bert_tensors(h, prefix)
  local top = (prefix or "") .. "embeddings."
  move(h, top .. "word_embeddings", "token_embd")
  move(h, top .. "position_embeddings", "position_embd", h.shift_positions)
  move(h, top .. "token_type_embeddings", "token_types")
  move(h, top .. "LayerNorm", "token_embd_norm")
  for i = 0, h.n - 1 do
    local to, from = ("%sencoder.layer.%d."):format(prefix or "", i), ("blk.%d."):format(i)
    for a, b in pairs { query = "attn_q", key = "attn_k", value = "attn_v" } do
      move(h, to .. "attention.self." .. a, from .. b)
    end
    move(h, to .. "attention.output.dense", from .. "attn_output")
    move(h, to .. "attention.output.LayerNorm", from .. "attn_output_norm")
    move(h, to .. "intermediate.dense", from .. "ffn_up")
    move(h, to .. "output.dense", from .. "ffn_down")
    move(h, to .. "output.LayerNorm", from .. "layer_output_norm")
  end
end

local bert_specials = { "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]" }

M.bert = { specials = bert_specials, class = "BertModel", kind = "bert", tokenizer = "wordpiece", config = bert_config, tensors = bert_tensors }

--- A cross encoder: BertPooler (dense, tanh) and one linear layer.
M["bert-rank"] = {
  specials = bert_specials,
  class = "BertForSequenceClassification", kind = "bert", tokenizer = "wordpiece",
  config = function(h) return with(bert_config(h), { id2label = { ["0"] = "score" }, label2id = { score = 0 } }) end,
  tensors = function(h)
    bert_tensors(h, "bert.")
    move(h, "bert.pooler.dense", "cls")
    move(h, "classifier", "cls.output")
  end,
}

--- XLM-R: two positions in front that are never used (padding_idx + 1 = 2).
M["xlmr-rank"] = {
  class = "XLMRobertaForSequenceClassification", kind = "xlm-roberta", tokenizer = "unigram",
  shift_positions = function(t)
    return T.join { T.new({ 2, t.shape[2] }, ("\0"):rep(8 * t.shape[2])), t }
  end,
  config = function(h)
    return with(M["bert-rank"].config(h), { pad_token_id = 1, max_position_embeddings = h "context_length" + 2 })
  end,
  tensors = function(h)
    bert_tensors(h, "roberta.")
    move(h, "classifier.dense", "cls")
    move(h, "classifier.out_proj", "cls.output")
  end,
}

return M
