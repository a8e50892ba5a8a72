--- Fields of a request that say how to generate, as options of
--- model:generate: OpenAI's names, and those that local servers add (top_k,
--- min_p, grammar, ...).
local M = {}

local json = require "wane.json"
local request = require "wane.serve.request"

-- name of the field, option (when it differs), least, most
local NUMBERS = {
  { "temperature", nil, 0, 100 }, { "top_p", nil, 0, 1 }, { "min_p", nil, 0, 1 }, { "typical_p", nil, 0, 1 },
  { "repeat_penalty", nil, 0, 100 }, { "frequency_penalty", nil, -100, 100 }, { "presence_penalty", nil, -100, 100 },
  { "xtc_probability", nil, 0, 1 }, { "xtc_threshold", nil, 0, 1 }, { "dynatemp_range", nil, 0, 100 },
  { "dynatemp_exponent", nil, 0, 100 }, { "dry_multiplier", nil, 0, 100 }, { "dry_base", nil, 0, 100 },
  { "mirostat_tau", nil, 0, 1000 }, { "mirostat_eta", nil, 0, 1000 }, { "top_n_sigma", nil, -1, 1000 },
}
local INTEGERS = {
  { "top_k", nil, 0, 2 ^ 31 - 1 }, { "repeat_last_n", nil, -1, 2 ^ 20 }, { "mirostat", nil, 0, 2 },
  { "dry_allowed_length", nil, 0, 2 ^ 20 }, { "dry_penalty_last_n", "dry_last_n", -1, 2 ^ 20 },
}

local function stops(r)
  local v = r:get "stop"
  if v == nil then return nil end
  if type(v) == "string" then v = json.list { v } end
  local list = {}
  if not request.is_list(v) then r:wrong("stop", "a text or a list of texts", v) end
  if #v > 16 then request.refuse(400, ("'stop': %d elements, want at most 16"):format(#v), "stop") end
  for i = 1, #v do
    if type(v[i]) ~= "string" or #v[i] > 1024 then r:wrong("stop", "texts of at most 1024 bytes", v[i]) end
    if v[i] ~= "" then list[#list + 1] = v[i] end
  end
  return #list > 0 and list or nil
end

-- { "50256": -100 } as { [50256] = -inf }: OpenAI's -100 and 100 are a ban and a must.
local function biases(r, n_vocab)
  local v = r:get "logit_bias"
  if v == nil then return nil end
  if not request.is_object(v) then r:wrong("logit_bias", "an object of token ids and numbers", v) end
  local out, n = {}, 0
  for key, add in pairs(v) do
    local id = key:find "^%d+$" and #key <= 9 and tonumber(key)
    if not id or id >= n_vocab then request.refuse(400, ("'logit_bias': no token '%s'"):format(key:sub(1, 20)), "logit_bias") end
    if type(add) ~= "number" or math.abs(add) > 1e6 then r:wrong("logit_bias", "numbers", add) end
    out[id], n = add <= -100 and -math.huge or add, n + 1
    if n > 4096 then request.refuse(400, "'logit_bias': want at most 4096 tokens", "logit_bias") end
  end
  return n > 0 and out or nil
end

-- Numbers of our own for ids and seeds: the host's math.random is its own, and
-- the same after each start in some Luas. Lehmer's generator.
local state = (os.time() * 7919 + math.floor(os.clock() * 1e6) + (tonumber(tostring({}):match "0x(%x+)" or "1", 16) or 1)) % 2147483646 + 1

--- A number from 1 to n.
---@param n integer
---@return integer
function M.draw(n)
  state = state * 16807 % 2147483647
  return math.floor(state / 2147483647 * n) + 1
end

--- The schema of 'response_format' or 'json_schema' as JSON text, or nil.
local function schema_of(r)
  local f = r:get "response_format"
  if f == nil then
    local s = r:ordered "json_schema"
    return s ~= nil and json.encode(s) or nil
  end
  if not request.is_object(f) then r:wrong("response_format", "an object", f) end
  if f.type == "text" then return nil end
  local ordered = {}
  for _, pair in ipairs(r:ordered "response_format") do ordered[pair[1]] = pair[2] end
  if f.type == "json_object" then return json.encode(ordered.schema or json.object { type = "object" }) end
  if f.type ~= "json_schema" then
    request.refuse(400, "'response_format': want the type text, json_object or json_schema", "response_format")
  end
  local inner = type(f.json_schema) == "table" and f.json_schema.schema or f.schema
  if not request.is_object(inner) and type(inner) ~= "boolean" then
    request.refuse(400, "'response_format': want json_schema = { schema = { ... } }", "response_format")
  end
  for _, pair in ipairs(type(f.json_schema) == "table" and ordered.json_schema or {}) do
    if pair[1] == "schema" then return json.encode(pair[2]) end
  end
  return json.encode(ordered.schema)
end

--- The options of a generation.
---@param r wane.serve.Request
---@param n_vocab integer
---@return table
function M.options(r, n_vocab)
  local o = {}
  for _, f in ipairs(NUMBERS) do o[f[2] or f[1]] = r:number(f[1], f[3], f[4]) end
  for _, f in ipairs(INTEGERS) do o[f[2] or f[1]] = r:integer(f[1], f[3], f[4]) end
  o.ignore_eos = r:boolean "ignore_eos"
  local seed = r:integer("seed")
  o.seed = seed and seed >= 0 and seed % 4294967296 or M.draw(2147483647) - 1
  o.max_tokens = r:integer("max_completion_tokens", 0, 2 ^ 31 - 1) or r:integer("max_tokens", 0, 2 ^ 31 - 1)
    or r:integer("n_predict", -1, 2 ^ 31 - 1)
  if o.max_tokens == -1 then o.max_tokens = nil end
  o.stop = stops(r)
  o.bias = biases(r, n_vocab)
  o.grammar = r:string("grammar", 256 * 1024)
  o.schema = schema_of(r)
  if o.grammar and o.schema then request.refuse(400, "a grammar and a schema together: want one of them", "grammar") end
  return o
end

--- Options of choice number i (from 1) of a request: its seed differs.
function M.choice(opts, i)
  local o = {}
  for key, v in pairs(opts) do o[key] = v end
  o.seed = (opts.seed + i - 1) % 4294967296
  return o
end

return M
