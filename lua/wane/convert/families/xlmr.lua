--- XLM-RoBERTa encoders and rerankers (E5, BGE-M3): BERT's graph, positions that
--- begin behind the padding, a unigram vocabulary.
local bert = require "wane.convert.families.bert"
local rows = require "wane.convert.rows"

local M = {}
for k, v in pairs(bert) do M[k] = v end

--- The first positions are never used.
function M.config(config)
  if type(config.pad_token_id) == "number" and type(config.max_position_embeddings) == "number" then
    config.position_offset = 1 + config.pad_token_id
    config.max_position_embeddings = config.max_position_embeddings - config.position_offset
  end
end

function M.make(c, name, _, _, s)
  local skip = c.params.config.position_offset
  if name == "embeddings.position_embeddings.weight" and skip then
    return { { "position_embd.weight", rows.slice(s, skip + 1, s.rows - skip) } }
  end
end

return M
