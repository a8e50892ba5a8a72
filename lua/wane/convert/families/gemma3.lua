--- Gemma 3, the text part of models that also see.
local gemma2 = require "wane.convert.families.gemma2"

local M = { arch = "gemma3", names = gemma2.names }

local rows = require "wane.convert.rows"
local common = require "wane.convert.families.common"

function M.rename(name)
  return (name:gsub("^language_model%.", ""):gsub("^model%.language_model%.", "model."))
end

-- Every how many layers one is full, where it is not every sixth: by layer_types,
-- or sliding_window_pattern. llama.cpp's converter drops it.
local function pattern(p)
  local types, n = p:get "layer_types", p:get("sliding_window_pattern", "_sliding_window_pattern")
  for i, t in ipairs(types or {}) do
    if t == "full_attention" then
      n = i
      break
    end
  end
  if n and n ~= 1 and n ~= 6 then p:count(".attention.sliding_window_pattern", n) end
end

function M.params(p)
  local r = p:rope()
  p:count(".context_length", p:get "max_position_embeddings" or 131072)
  p:count(".attention.head_count", p:get "num_attention_heads" or 8)
  p:number(".attention.layer_norm_rms_epsilon", p:get "rms_norm_eps" or 1e-6)
  p:count(".attention.key_length", p:get "head_dim" or 256)
  p:count(".attention.value_length", p:get "head_dim" or 256)
  p:number(".rope.freq_base", (r.full_attention or r).rope_theta or 1000000)
  p:number(".final_logit_softcapping", p:get "final_logit_softcapping")
  if p:get "sliding_window_pattern" ~= 1 then p:count(".attention.sliding_window", p:need "sliding_window") end
  pattern(p)
  p:count(".attention.head_count_kv", p:get "num_key_value_heads" or 4)
end

function M.vocab(p, _, src)
  if src.sentencepiece then p:set("tokenizer.ggml.add_space_prefix", "bool", false) end
end

function M.make(c, name, _, _, s)
  if name == "lm_head.weight" then return {} end
  if name == "model.embed_tokens.weight" and s.rows > c.n_vocab then
    return { { "token_embd.weight", rows.slice(s, 1, c.n_vocab) } }
  end
  if name:find "norm%.weight$" then return { { c:name(name), s, f = common.plus_one } } end
end

return M
