--- What a token costs in time, tensor by tensor: bytes it reads over the rate at
--- which this machine multiplies with blocks of a type.
---
--- A token reads all of a matrix, of experts as many as it is sent to, of
--- embeddings one row. Rates are those of single products with matrices that
--- together are as large as a small file of the model, at most CAP bytes. What is
--- left of a token that the model takes as it is (attention over a short
--- context, norms, threads that wait for each other) is one number, `seconds`.
local core = require "wane.core"
local cost = require "wane.calibrate.cost"
local options = require "wane.options"
local roles = require "wane.recipe.roles"
local types = require "wane.recipe.types"

local M = {}

-- Matrices that are timed: WIDTH x WIDTH, together CAP bytes at most.
local WIDTH, CAP, SECONDS, TOKENS = 1024, 2 ^ 27, 0.15, 8

---@class wane.TokenRates
---@field bytes table<string, number>   bytes a second, by type
---@field shares table<string, number>  of a tensor's bytes, what a token reads; 1 for those that are not named
---@field seconds number                of a token, beside the tensors whose type is to be chosen

-- Bytes a second of products with one column.
local function rate_of(name, w, ones, working, threads)
  local q = assert(core.quant.encode(name, w, ones))
  local bytes = q:bytes()
  q:close()
  local tiers, each = core.kern.tiers(), types.bytes_of(name, WIDTH, WIDTH)
  local seconds, message, code = core.kern.time {
    tier = tiers[#tiers], type = name, weights = bytes, rows = WIDTH, k = WIDTH, n = 1, threads = threads,
    copies = math.max(1, math.floor(working / each)), seconds = SECONDS,
  }
  if not seconds then return nil, message, code end
  return each / seconds
end

-- Seconds of a token of the model as it is: the best of a few.
local function token_seconds(model, threads)
  local ctx, message, code = model:context { context = 2 * TOKENS, threads = threads }
  if not ctx then return nil, message, code end
  local best = math.huge
  for i = 1, TOKENS do
    local start = core.now()
    local ok, why, kind = ctx:step { i % model:info().n_vocab }
    if not ok then
      ctx:close()
      return nil, why, kind
    end
    best = math.min(best, core.now() - start)
  end
  ctx:close()
  return best
end

-- What a token reads of each tensor where that is not all of it.
local function shares_of(model, tensors)
  local shares, tied = {}, not model.gguf:find_tensor "output.weight"
  local used = tonumber(model:meta(model:info().architecture .. ".expert_used_count"))
  for _, t in ipairs(tensors) do
    if roles.is_expert(t.name) and used then
      shares[t.name] = math.min(1, used / t.experts)
    elseif roles.of(t.name) == "token_embd" and not (tied and t.name == "token_embd.weight") then
      shares[t.name] = 1 / t.rows
    end
  end
  return shares
end

local check = options.checker("recipe.rates", { types = options.list("string", 1), threads = options.threads })

--- Measures what tokens cost on this machine: a few seconds.
---
---     local r = assert(wane.recipe.rates(model, { types = { "q4_K", "q8_0" } }))
---     print(r.bytes.q4_K, r.seconds)
---@param model wane.Model  unquantized
---@param opts? { types: string[]?, threads: integer? }  types: those to measure (the solver's candidates)
---@return wane.TokenRates|nil
---@return string? message
---@return string? code
function M.measure(model, opts)
  options.argument("recipe.rates", "model", model, options.model)
  opts = check(opts)
  local tensors = require("wane.search.sensitivity").candidates(model)
  local threads = opts.threads or core.cpu().threads
  local sum, wanted, seen = 0, {}, {}
  local function want(name)
    if not seen[name] then wanted[#wanted + 1], seen[name] = name, true end
  end
  for _, t in ipairs(tensors) do
    sum = sum + t.bytes
    want(t.type)
    for _, name in ipairs(require("wane.search.sensitivity").types_for(t, opts.types)) do want(name) end
  end
  local r, w = { bytes = {}, shares = shares_of(model, tensors) }, cost.noise(16, WIDTH)
  local list = {}
  for i = 1, WIDTH do list[i] = 1 end
  local ones = core.quant.buffer(1, WIDTH, list)
  local message, code
  for _, name in ipairs(wanted) do
    r.bytes[name], message, code = rate_of(name, w, ones, math.min(CAP, sum / 4), threads)
    if not r.bytes[name] then break end
  end
  w:close()
  ones:close()
  if message then return nil, message, code end
  r.seconds, message, code = token_seconds(model, threads)
  if not r.seconds then return nil, message, code end
  for _, t in ipairs(tensors) do r.seconds = r.seconds - M.seconds(r, t.name, t.type, t.bytes) end
  r.seconds = math.max(0, r.seconds)
  return r
end

--- Seconds that a token spends on `bytes` bytes of a tensor in a type.
function M.seconds(rates, tensor, type_name, bytes)
  local rate = rates.bytes[type_name]
  if not rate then options.misuse(("recipe.solve: option 'rates': no rate of type %s"):format(type_name)) end
  return bytes * (rates.shares[tensor] or 1) / rate
end

return M
