--- /v1/embeddings and /v1/rerank.
---
--- Texts are read one after the other, and the loop goes on between two.
local M = {}

local cqueues = require "cqueues"
local json = require "wane.json"
local request = require "wane.serve.request"

local DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

--- Bytes as base64 (RFC 4648).
---
---     print(vectors.base64 "wane")   --> d2FuZQ==
---@param s string
---@return string
function M.base64(s)
  local out, floor = {}, math.floor
  for i = 1, #s, 3 do
    local a, b, c = s:byte(i, i + 2)
    local v = a * 65536 + (b or 0) * 256 + (c or 0)
    for k = 0, 3 do
      local d = floor(v / 64 ^ (3 - k)) % 64 + 1
      out[#out + 1] = (k == 2 and not b or k == 3 and not c) and "=" or DIGITS:sub(d, d)
    end
  end
  return table.concat(out)
end

-- A failure of the library: the client's doing, or not.
local function refuse(message, code, param)
  local status = code == "EUNSUP" and 501 or (code == "EARG" or code == "ELIMIT" or code == "EFORMAT") and 400 or 500
  request.refuse(status, message, param)
end

-- The inputs of a request as texts and lists of ids.
local function inputs_of(app, r)
  local v, n_vocab = r:need("input", "a text, token ids, or a list of either"), app.model.hp.vocab_size
  if type(v) == "string" or request.is_ids(v, n_vocab) then v = json.list { v } end
  if not request.is_list(v) or #v == 0 then r:wrong("input", "a text, token ids, or a list of either", v) end
  if #v > 2048 then request.refuse(400, ("'input': %d inputs, want at most 2048"):format(#v), "input") end
  for i = 1, #v do
    if type(v[i]) ~= "string" and not request.is_ids(v[i], n_vocab) then
      request.refuse(400, ("'input': input %d: want a text or ids from 0 to %d"):format(i - 1, n_vocab - 1), "input")
    end
    if v[i] == "" then request.refuse(400, ("'input': input %d is empty"):format(i - 1), "input") end
  end
  return v
end

local function count(app, input)
  if type(input) == "table" then return #input end
  return #assert(app.model.vocab:encode(input, { special = true }))
end

-- What pools a model's rows when its file does not say.
local function pooling_of(app)
  if app.opts.pooling then return app.opts.pooling end
  local own = app.model.hp.pooling
  if own and own ~= "none" and own ~= "rank" then return own end
  return app.model:info().causal == false and "mean" or "last"
end

--- POST /v1/embeddings
function M.embeddings(app, x, body)
  local r = request.new(body)
  local format, dimensions = r:string "encoding_format" or "float", r:integer("dimensions", 1, 2 ^ 24)
  if format ~= "float" and format ~= "base64" then r:wrong("encoding_format", '"float" or "base64"') end
  local inputs, data, tokens, model = inputs_of(app, r), {}, 0, app:model_of(r)
  for i = 1, #inputs do
    if x:gone() then return end
    local v, message, code = app.model:embed(inputs[i], { pooling = pooling_of(app), dimensions = dimensions })
    if not v then refuse(message, code, "input") end
    data[i] = json.ordered { { "object", "embedding" }, { "index", i - 1 },
      { "embedding", format == "base64" and M.base64(v:bytes()) or json.list(v:table(1, #v)) } }
    v:close()
    tokens = tokens + count(app, inputs[i])
    cqueues.sleep(0)
  end
  x:json(200, json.ordered { { "object", "list" }, { "data", data }, { "model", model },
    { "usage", { prompt_tokens = tokens, total_tokens = tokens } } })
end

-- The texts of 'documents': texts, or { text }.
local function documents_of(r)
  r:need("documents", "a list of texts")
  local list = r:list("documents", "a text", function(v)
    return type(v) == "string" or request.is_object(v) and type(v.text) == "string"
  end, 2048)
  if #list == 0 then request.refuse(400, "'documents': want at least one", "documents") end
  local out = {}
  for i = 1, #list do out[i] = type(list[i]) == "string" and list[i] or list[i].text end
  return out
end

--- POST /v1/rerank
function M.rerank(app, x, body)
  local r = request.new(body)
  r:need("query", "a text")
  local query, documents = r:string "query", documents_of(r)
  local top, with_text, model = r:integer("top_n", 1), r:boolean "return_documents", app:model_of(r)
  local list, tokens = {}, 0
  for i, document in ipairs(documents) do
    if x:gone() then return end
    local scores, message, code = app.model:rank(query, { document })
    if not scores then refuse(message, code) end
    list[i] = { index = i - 1, relevance_score = scores[1], document = with_text and { text = document } or nil }
    tokens = tokens + count(app, query) + count(app, document)
    cqueues.sleep(0)
  end
  table.sort(list, function(a, b)
    if a.relevance_score ~= b.relevance_score then return a.relevance_score > b.relevance_score end
    return a.index < b.index
  end)
  for i = #list, (top or #list) + 1, -1 do list[i] = nil end
  x:json(200, json.ordered { { "object", "list" }, { "model", model }, { "results", list },
    { "usage", { prompt_tokens = tokens, total_tokens = tokens } } })
end

return M
