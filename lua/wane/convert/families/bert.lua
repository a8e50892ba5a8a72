--- BERT sentence encoders and rerankers.
local M = { arch = "bert" }

M.top = {
  ["embeddings.word_embeddings"] = "token_embd", ["embeddings.position_embeddings"] = "position_embd",
  ["embeddings.token_type_embeddings"] = "token_types", ["embeddings.LayerNorm"] = "token_embd_norm",
  ["classifier.dense"] = "cls", ["classifier.out_proj"] = "cls.output", ["pooler.dense"] = "cls",
}
M.names = {
  ["attention.self.query"] = "attn_q", ["attention.self.key"] = "attn_k", ["attention.self.value"] = "attn_v",
  ["attention.output.dense"] = "attn_output", ["attention.output.LayerNorm"] = "attn_output_norm",
  ["intermediate.dense"] = "ffn_up", ["output.dense"] = "ffn_down", ["output.LayerNorm"] = "layer_output_norm",
}

function M.rename(name)
  name = name:gsub("^bert%.", ""):gsub("^roberta%.", ""):gsub("%.gamma$", ".weight"):gsub("%.beta$", ".bias")
  name = name:gsub("^classifier%.(%a+)$", "classifier.out_proj.%1")
  return (name:gsub("^encoder%.layer%.", "model.layers."))
end

--- Not needed for embeddings. A classifier of BERT's sees its first token
--- through the pooler (a matrix and tanh): llama.cpp's converter drops that too.
function M.ignore(name, class)
  if name:find "^pooler%." then return class ~= "BertForSequenceClassification" end
  return name == "embeddings.position_ids" or name:find "^cls%.predictions" ~= nil
    or name:find "^cls%.seq_relationship" ~= nil or name:find "^lm_head%." ~= nil
end

-- Names of the classes of a reranker or classifier, unless they are dummies.
local function labels(p)
  local map, list = p:get "id2label", {}
  if type(map) ~= "table" then return nil end
  for i = 0, 4095 do
    local name = map[tostring(i)] or map[i]
    if type(name) ~= "string" then break end
    list[i + 1] = name
  end
  if #list == 0 or (#list == 2 and list[1] == "LABEL_0") then return nil end
  return list
end

function M.params(p, c)
  p:flag(".attention.causal", false)
  c:pooling(p)
  local list = c.class:find "ForSequenceClassification" and labels(p)
  if list then
    p:set(".classifier.output_labels", "array", list, "string")
    p:count(".pooling_type", 4)
  end
end

return M
