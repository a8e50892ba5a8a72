--- Checkpoints for specs: the inverse of wane.convert for a few families, so that
--- a GGUF file can be turned into a checkpoint and back.
local M = {}

local json = require "wane.json"
local gguf = require "wane.gguf"

local DTYPE = { f32 = "F32", f16 = "F16", bf16 = "BF16" }

local function u64(n)
  local s = {}
  for i = 1, 8 do
    s[i] = string.char(n % 256)
    n = math.floor(n / 256)
  end
  return table.concat(s)
end

--- Writes a safetensors file of { name, dtype, shape, bytes }.
function M.safetensors(path, tensors)
  local header, parts, at = {}, {}, 0
  for i, t in ipairs(tensors) do
    header[i] = { t.name, { dtype = t.dtype, shape = json.list(t.shape), data_offsets = { at, at + #t.bytes } } }
    parts[i] = t.bytes
    at = at + #t.bytes
  end
  local text = json.encode(json.ordered(header))
  local f = assert(io.open(path, "wb"))
  f:write(u64(#text), text, table.concat(parts))
  f:close()
end

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
end
M.write = write

-- Rows of a matrix in another order: row i of the result is row map(i).
local function permute(bytes, rows, map)
  local n, parts = #bytes / rows, {}
  for i = 1, rows do
    local k = map(i)
    parts[i] = bytes:sub((k - 1) * n + 1, k * n)
  end
  return table.concat(parts)
end

-- The inverse of GGUF's pair order of q and k.
local function rotated(bytes, rows, heads)
  local size = rows / heads
  return permute(bytes, rows, function(i)
    local head, k = math.floor((i - 1) / size), (i - 1) % size
    local half = size / 2
    return head * size + (k % half) * 2 + math.floor(k / half) + 1
  end)
end

local common = {
  token_embd = "model.embed_tokens", output_norm = "model.norm", output = "lm_head",
  attn_norm = "input_layernorm", ffn_norm = "post_attention_layernorm", attn_q = "self_attn.q_proj",
  attn_k = "self_attn.k_proj", attn_v = "self_attn.v_proj", attn_output = "self_attn.o_proj",
  attn_q_norm = "self_attn.q_norm", attn_k_norm = "self_attn.k_norm", ffn_gate = "mlp.gate_proj",
  ffn_up = "mlp.up_proj", ffn_down = "mlp.down_proj", ffn_gate_inp = "mlp.gate",
}
local post = { post_attention_norm = "post_attention_layernorm", post_ffw_norm = "post_feedforward_layernorm" }

local function with(...)
  local t = {}
  for _, list in ipairs { common, ... } do
    for k, v in pairs(list) do t[k] = v end
  end
  return t
end

local lfm2 = {
  token_embd_norm = "model.embedding_norm", attn_norm = "operator_norm", ffn_norm = "ffn_norm",
  attn_output = "self_attn.out_proj", attn_q_norm = "self_attn.q_layernorm", attn_k_norm = "self_attn.k_layernorm",
  ["shortconv.in_proj"] = "conv.in_proj", ["shortconv.out_proj"] = "conv.out_proj", ["shortconv.conv"] = "conv.conv",
  ffn_gate = "feed_forward.w1", ffn_up = "feed_forward.w3", ffn_down = "feed_forward.w2",
}

--- By architecture: class, names, minus_one (norms), rotated (q and k), experts
--- (name of the three), config(get, config).
M.families = {
  llama = { class = "LlamaForCausalLM", names = common, rotated = true },
  smollm3 = { class = "SmolLM3ForCausalLM", names = common, rotated = true },
  granite = {
    class = "GraniteForCausalLM", names = common, rotated = true,
    config = function(get, c)
      c.attention_multiplier, c.embedding_multiplier = get "attention.scale", get "embedding_scale"
      c.residual_multiplier, c.logits_scaling = get "residual_scale", get "logit_scale"
      c.head_dim = nil
    end,
  },
  qwen2 = { class = "Qwen2ForCausalLM", names = common },
  qwen3 = { class = "Qwen3ForCausalLM", names = common },
  qwen3moe = {
    class = "Qwen3MoeForCausalLM", names = common, experts = "mlp.experts.%d.%s_proj.weight",
    config = function(get, c) c.moe_intermediate_size = get "expert_feed_forward_length" end,
  },
  olmo2 = { class = "Olmo2ForCausalLM", names = with(post) },
  gemma2 = {
    class = "Gemma2ForCausalLM", names = with(post, { ffn_norm = "pre_feedforward_layernorm" }), minus_one = true,
    config = function(get, c)
      c.attn_logit_softcapping, c.final_logit_softcapping = get "attn_logit_softcapping", get "final_logit_softcapping"
      c.sliding_window = get "attention.sliding_window"
    end,
  },
  gemma3 = {
    class = "Gemma3ForCausalLM", names = with(post, { ffn_norm = "pre_feedforward_layernorm" }), minus_one = true,
    config = function(get, c)
      c.sliding_window, c.sliding_window_pattern = get "attention.sliding_window", 6
    end,
  },
  lfm2 = {
    class = "Lfm2ForCausalLM", names = with(lfm2),
    config = function(get, c)
      local kv, types = get "attention.head_count_kv", {}
      for i, n in ipairs(kv) do
        types[i] = n > 0 and "full_attention" or "conv"
        if n > 0 then c.num_key_value_heads = n end
      end
      c.layer_types, c.conv_L_cache = types, get "shortconv.l_cache"
      c.block_auto_adjust_ff_dim, c.norm_eps = false, get "attention.layer_norm_rms_epsilon"
    end,
  },
}

local function config_of(f, family)
  local arch = f.meta["general.architecture"]
  local function get(key) return f.meta[arch .. "." .. key] end
  local function first(v) return type(v) == "table" and v[1] or v end
  local c = {
    architectures = { family.class }, num_hidden_layers = get "block_count", hidden_size = get "embedding_length",
    intermediate_size = first(get "feed_forward_length"), num_attention_heads = first(get "attention.head_count"),
    num_key_value_heads = first(get "attention.head_count_kv"), max_position_embeddings = get "context_length",
    rms_norm_eps = get "attention.layer_norm_rms_epsilon", rope_theta = get "rope.freq_base",
    head_dim = get "attention.key_length", num_experts = get "expert_count", num_experts_per_tok = get "expert_used_count",
    vocab_size = #f.meta["tokenizer.ggml.tokens"],
  }
  if family.config then family.config(get, c) end
  return c
end

-- A byte-level tokenizer.json with the file's tokens.
local function tokenizer_of(f)
  local tokens, kinds = f.meta["tokenizer.ggml.tokens"], f.meta["tokenizer.ggml.token_type"] or {}
  local vocab, added = {}, {}
  for i, text in ipairs(tokens) do
    if kinds[i] == 3 then
      added[#added + 1] = { id = i - 1, content = text, special = true }
    else
      vocab[#vocab + 1] = { text, i - 1 }
    end
  end
  return {
    model = { type = "BPE", vocab = json.ordered(vocab), merges = json.list(f.meta["tokenizer.ggml.merges"] or {}) },
    added_tokens = json.list(added), pre_tokenizer = { type = "ByteLevel", use_regex = true },
  }
end

-- One tensor of the file as tensors of a checkpoint.
local function unconvert(family, config, t, out)
  local core = require "wane.core"
  local layer, stem, suffix = t.name:match "^blk%.(%d+)%.(.+)(%.%a+)$"
  if not layer then stem, suffix = t.name:match "^(.+)(%.%a+)$" end
  local bytes = assert(t:raw())
  local shape = {}
  for i = #t.shape, 1, -1 do shape[#shape + 1] = t.shape[i] end
  local what = stem:match "^ffn_(%a+)_exps$"
  if what then
    local n = #bytes / shape[1]
    for x = 0, shape[1] - 1 do
      out[#out + 1] = {
        name = ("model.layers.%s."):format(layer) .. family.experts:format(x, what), dtype = DTYPE[t.type],
        shape = { shape[2], shape[3] }, bytes = bytes:sub(x * n + 1, (x + 1) * n),
      }
    end
    return
  end
  if family.rotated and (stem == "attn_q" or stem == "attn_k") then
    bytes = rotated(bytes, shape[1], stem == "attn_q" and config.num_attention_heads or config.num_key_value_heads)
  end
  if family.minus_one and stem:find "_norm$" then
    local b = core.quant.buffer(1, shape[1], bytes)
    for i = 1, #b do b[i] = b[i] - 1 end
    bytes = b:bytes()
    b:close()
  end
  local to = assert(family.names[stem], stem)
  if stem == "shortconv.conv" then table.insert(shape, 2, 1) end
  out[#out + 1] = {
    name = (layer and ("model.layers.%s."):format(layer) or "") .. to .. suffix, dtype = DTYPE[t.type], shape = shape,
    bytes = bytes,
  }
end

--- Makes a checkpoint of a float GGUF file in a directory.
---@param path string
---@param dir string  exists
---@param opts { shards: integer? }?
---@return table config
function M.from_gguf(path, dir, opts)
  local f = assert(gguf.open(path))
  local family = assert(M.families[f.meta["general.architecture"]])
  local config, out = config_of(f, family), {}
  for _, t in ipairs(f.tensors) do
    if t.name ~= "rope_freqs.weight" then unconvert(family, config, t, out) end
  end
  local n = opts and opts.shards or 1
  if n == 1 then
    M.safetensors(dir .. "/model.safetensors", out)
  else
    local map, lists = {}, {}
    for i, t in ipairs(out) do
      local name = ("model-%05d-of-%05d.safetensors"):format((i - 1) % n + 1, n)
      lists[name] = lists[name] or {}
      table.insert(lists[name], t)
      map[#map + 1] = { t.name, name }
    end
    for name, list in pairs(lists) do M.safetensors(dir .. "/" .. name, list) end
    write(dir .. "/model.safetensors.index.json", json.encode { weight_map = json.ordered(map) })
  end
  write(dir .. "/config.json", json.encode(config))
  write(dir .. "/tokenizer.json", json.encode(tokenizer_of(f)))
  write(dir .. "/tokenizer_config.json", json.encode { bos_token = nil, eos_token = nil, chat_template = "{{ messages[0].content }}" })
  f:close()
  return config
end

return M
