--- Choosing tokens: the chain of stages between logits and the next token.
---
--- Stages have llama.cpp's names and give its candidates and draws: penalties,
--- dry, top_n_sigma, top_k, typical, top_p, min_p, xtc, temperature (this is the
--- default order), infill, adaptive_p, mirostat, mirostat_v2. A Lua function may
--- be a stage of a sampler that is used by hand:
---
---     local sample = require "wane.sample"
---     local s = assert(sample.new(model, { temperature = 0.7, sampler = {
---       "top_k", function(c) for i = 1, #c do if c:id(i) == 13 then c[i] = c[i] - 2 end end end, "temperature" } }))
---     local id = assert(s:pick(logits))
---     s:take(s:pick(logits))
local M = {}

local core = require "wane.core"
local options = require "wane.options"

--- Options of sampling, for those who pass them on.
M.OPTIONS = {}
local NUMBERS = {}
for name in ([[temperature dynatemp_range dynatemp_exponent top_k top_p min_p typical_p top_n_sigma xtc_probability
  xtc_threshold adaptive_target adaptive_decay mirostat_tau mirostat_eta repeat_penalty frequency_penalty
  presence_penalty repeat_last_n dry_multiplier dry_base dry_allowed_length dry_last_n min_keep ignore_eos
  seed]]):gmatch "%S+" do
  NUMBERS[#NUMBERS + 1] = name
  M.OPTIONS[name] = true
end
for name in ("sampler mirostat dry_breakers bias banned grammar schema grammar_root triggers after"):gmatch "%S+" do
  M.OPTIONS[name] = true
end

local ALIASES = { typ_p = "typical", typical_p = "typical", temp = "temperature", ["top-k"] = "top_k", ["top-p"] = "top_p",
  ["min-p"] = "min_p" }
local BREAKERS = { "\n", ":", '"', "*" }

local function wrong(where, name, want, got, level)
  error(("wane: %s: option '%s': want %s, got %s"):format(where, name, want, type(got) == "string" and '"' .. got .. '"' or tostring(got)),
    level + 1)
end

-- The list of stages for the core, and the functions by their places.
local function stages(opts, where, level)
  local mirostat = opts.mirostat or 0
  if mirostat ~= 0 then
    if mirostat ~= 1 and mirostat ~= 2 then wrong(where, "mirostat", "0, 1 or 2", mirostat, level + 1) end
    return { "temperature", mirostat == 1 and "mirostat" or "mirostat_v2" }, {}
  end
  local list, out, functions = opts.sampler, {}, {}
  if list == nil then return nil, functions end
  if type(list) ~= "table" then wrong(where, "sampler", "a list of stages", list, level + 1) end
  for i, stage in ipairs(list) do
    if type(stage) == "function" then
      out[i], functions[i] = true, stage
    elseif type(stage) == "string" then
      out[i] = ALIASES[stage] or stage
    else
      wrong(where, ("sampler[%d]"):format(i), "a stage's name or a function", stage, level + 1)
    end
  end
  return out, functions
end

-- Token ids and texts of `banned`; ids become biases.
local function ban(s, opts, tokens, where, level)
  local texts = {}
  if type(opts.banned) ~= "table" then wrong(where, "banned", "a list of texts and token ids", opts.banned, level + 1) end
  for i, x in ipairs(opts.banned) do
    if type(x) == "string" then
      if x == "" then wrong(where, ("banned[%d]"):format(i), "a text that is not empty", x, level + 1) end
      texts[#texts + 1] = x
    else
      local ok, message, code = s:bias(x, -math.huge)
      if not ok then return nil, message, code end
    end
  end
  if #texts == 0 then return true end
  return s:ban(tokens, texts)
end

-- The grammar of the options: a handle of theirs, or one that is shared.
local function grammar_of(model, opts, where, level)
  local text = opts.grammar
  if opts.schema ~= nil and text ~= nil then error(("wane: %s: grammar and schema together"):format(where), level + 1) end
  if text ~= nil and type(text) ~= "string" then return text end
  return require("wane.grammar").shared(model.vocab, text, opts.grammar_root, opts.schema)
end

local function constrain(s, model, opts, where, level)
  local banned, constrained = opts.banned ~= nil, opts.grammar ~= nil or opts.schema ~= nil
  if not (banned or constrained) then
    if opts.triggers or opts.after then error(("wane: %s: triggers and after need a grammar"):format(where), level + 1) end
    return true
  end
  if not model.vocab then return nil, "the model has no tokenizer, which grammars and banned texts need", "EUNSUP" end
  local tokens, message, code = require("wane.grammar").tokens(model.vocab)
  if not tokens then return nil, message, code end
  local ok = true
  if banned then ok, message, code = ban(s, opts, tokens, where, level + 1) end
  if not (ok and constrained) then return ok, message, code end
  local g, notes
  g, notes, code = grammar_of(model, opts, where, level + 1)
  if not g then return nil, notes, code end
  ok, message, code = s:constrain(g, tokens, { triggers = opts.triggers, after = opts.after })
  if not ok then return nil, message, code end
  return true, notes
end

-- Biases, in order of their ids.
local function add_biases(s, opts)
  local ids = {}
  for id in pairs(opts.bias or {}) do ids[#ids + 1] = id end
  table.sort(ids)
  for _, id in ipairs(ids) do
    local ok, message, code = s:bias(id, opts.bias[id])
    if not ok then return nil, message, code end
  end
  return true
end

-- The core's sampler for a model from options of generation, and the functions
-- among its stages by their places.
-- @return userdata|nil sampler
-- @return table|string functions   or the message
-- @return string[]|string|nil notes   of the schema; or the code
function M.core(model, opts, where, level)
  level = level + 1
  local o = { n_vocab = model:info().n_vocab, vocab = model.vocab and model.vocab.handle }
  for _, name in ipairs(NUMBERS) do o[name] = opts[name] end
  local functions
  o.stages, functions = stages(opts, where, level)
  if model.vocab and (o.dry_multiplier or 0) ~= 0 then o.dry_breakers = opts.dry_breakers or BREAKERS end
  local s, message, code = core.sample.new(o)
  if not s then return nil, message, code end
  local ok
  ok, message, code = add_biases(s, opts)
  if ok then
    local fine, a, b, c = pcall(constrain, s, model, opts, where, 1)
    if not fine then
      s:close()
      error(a, 0)
    end
    ok, message, code = a, b, c
  end
  if ok then return s, functions, message end
  s:close()
  return nil, message, code
end

---@class wane.Sampler
---@field notes? string[]   what the schema asks for and the grammar does not check
local Sampler = {}
Sampler.__index = Sampler

--- A sampler to use by hand, with logits of your own loop.
---
---     local s = assert(wane.sample.new(model, { temperature = 0 }))
---     print(vocab:piece(s:pick(logits)))
---     s:close()
---@param model wane.Model
---@param opts? table   as for model:generate: temperature 0.8, dynatemp_range 0, dynatemp_exponent 1, top_k 40, top_p
---  0.95, min_p 0.05, typical_p 1, top_n_sigma -1, xtc_probability 0, xtc_threshold 0.1, adaptive_target -1,
---  adaptive_decay 0.9, mirostat 0, mirostat_tau 5, mirostat_eta 0.1, repeat_penalty 1, frequency_penalty 0,
---  presence_penalty 0, repeat_last_n 64, dry_multiplier 0, dry_base 1.75, dry_allowed_length 2, dry_last_n 4096,
---  dry_breakers { "\n", ":", '"', "*" }, min_keep 0, ignore_eos, seed 0, sampler (stages in order), bias { [id] =
---  add }, banned (texts and ids), grammar (text or handle), grammar_root "root", schema (JSON text or table),
---  triggers, after
---@return wane.Sampler|nil
---@return string? message
---@return string? code
function M.new(model, opts)
  options.argument("sample.new", "model", model, options.model)
  opts = opts or {}
  if type(opts) ~= "table" then error("wane: sample.new: options: want a table, got a " .. type(opts), 2) end
  options.known("sample.new", opts, M.OPTIONS)
  local handle, functions, notes = M.core(model, opts, "sample.new", 2)
  if not handle then return nil, functions, notes end
  return setmetatable({ handle = handle, functions = functions, notes = notes }, Sampler)
end

--- "wane.Sampler", "wane.Sampler (closed)"
function Sampler:__tostring()
  return tostring(self.handle):find "closed" and "wane.Sampler (closed)" or "wane.Sampler"
end

--- The next token for logits (a buffer of n_vocab values). A function among the
--- stages gets the candidates: #c, c[i] (logit; may be set), c:id(i),
--- c:remove(i), c:keep(n), c:sort(), c:pointer() (for LuaJIT's ffi). They are its
--- own only until it returns.
---
---     local id = assert(s:pick(logits))
---@param logits userdata   float32 buffer of n_vocab values
---@return integer|nil id
---@return string? message
---@return string? code
function Sampler:pick(logits)
  local h = self.handle
  if next(self.functions) == nil then return h:pick(logits) end
  local ok, message, code = h:start(logits)
  if not ok then return nil, message, code end
  while true do
    local id, place
    id, place, code = h:resume()
    if id or code then return id, place, code end
    local c = h:candidates()
    local fine, why = pcall(self.functions[place], c)
    c:close()
    if not fine then error(why, 0) end
  end
end

--- The token was chosen: grammar, bans and penalties hear of it.
---
---     s:take(id)
---@param id integer   from 0
---@error after close; what the grammar does not allow gives nil, message, "EDATA"
function Sampler:take(id) return self.handle:take(id) end

--- The token is part of the prompt.
---
---     s:accept(id)
---@param id integer   from 0
---@error after close
function Sampler:accept(id) return self.handle:accept(id) end

--- Ids that the grammar leaves no choice about; each must be taken.
---
---     print(#s:forced())   --> 0
---@error after close
function Sampler:forced() return self.handle:forced() end

--- True when the grammar allows nothing but the end.
---
---     print(s:complete())
---@error after close
function Sampler:complete() return self.handle:complete() end

function Sampler:close() return self.handle:close() end
Sampler.__close = Sampler.close

--- Log probability of a token, and the n most probable: of raw logits.
---
---     local value, ids, values = sample.logprobs(logits, id, 5)
---@param logits userdata   buffer, one row or more
---@param id integer
---@param n integer         0 to 1024
---@param row? integer      1
---@return number|nil value
---@return integer[]|string ids
---@return number[]|string values
---@error an id that is no column, a row that is not there, n above 1024
function M.logprobs(logits, id, n, row) return core.sample.logprobs(logits, id, n, row) end

return M
