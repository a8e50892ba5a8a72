--- Llama, Mistral, Mixtral: heads in pairs, llama 3's frequencies as a tensor.
local common = require "wane.convert.families.common"

local M = { arch = "llama", prefix_space_flag = true }

function M.params(p, c)
  p:count(".vocab_size", p:need "vocab_size")
  p:count(".rope.dimension_count", p:head_size())
  if c and (c.class == "LlamaForCausalLM" or c.class == "MistralForCausalLM") then -- whose settings fill it in
    p:count(".attention.key_length", p:head_size())
    p:count(".attention.value_length", p:head_size())
  end
end

function M.vocab(p, t)
  if t.n == 49152 then p:set("tokenizer.ggml.add_bos_token", "bool", false) end
end

-- Divisors of the angles as llama 3.1 scales them by wavelength.
local function frequencies(p)
  local r = p:rope()
  r = r.full_attention or r
  if type(r.rope_type) ~= "string" or r.rope_type:lower() ~= "llama3" then return nil end
  local base, dim = r.rope_theta or 10000, p:head_size()
  local factor, low, high = r.factor or 8, r.low_freq_factor or 1, r.high_freq_factor or 4
  local original = r.original_max_position_embeddings or 8192
  local list = {}
  for i = 0, dim / 2 - 1 do
    local length = 2 * math.pi * base ^ (2 * i / dim)
    if length < original / high then
      list[i + 1] = 1
    elseif length > original / low then
      list[i + 1] = factor
    else
      local smooth = (original / length - low) / (high - low)
      list[i + 1] = 1 / ((1 - smooth) / factor + smooth)
    end
  end
  return list
end

function M.extra(c)
  local list = frequencies(c.params)
  return list and { { "rope_freqs.weight", values = list } } or {}
end

function M.make(c, name, layer, rest, s)
  local p = c.params
  if not layer then return nil end
  local heads = p:need("num_attention_heads", "n_heads")
  local kv = p:get("num_key_value_heads", "n_kv_heads") or heads
  if rest == "self_attn.q_proj.weight" then return { { c:name(name), common.unrotated(s, heads) } } end
  if rest == "self_attn.k_proj.weight" then return { { c:name(name), common.unrotated(s, kv) } } end
  if rest == "self_attn.q_proj.bias" then return { { c:name(name), common.unrotated_bias(s, heads) } } end
  if rest == "self_attn.k_proj.bias" then return { { c:name(name), common.unrotated_bias(s, kv) } } end
  return common.experts(c, layer, rest, common.mixtral_names)
end

return M
