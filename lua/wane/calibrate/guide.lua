--- What the end of the model says about the errors of a matrix: gradients of the
--- loss at its outputs, from one pass backwards over a few chunks.
---
--- Targets are drawn from the model itself, so that squared gradients are the
--- curvature of the KL divergence from the model as it is: an error D of matrix W
--- costs about half the mean of (g D x)^2, with x an input and g the gradient at
--- the output, over draws and tokens.
---
--- Two uses. `weigh` scales the rows that a Hessian is made of by the length of
--- their g, so that GPTQ minds the tokens that matter at the end (wane.calibrate.gptq
--- { guide = true }). `sensitivity` prices every tensor in every type.
local core = require "wane.core"
local options = require "wane.options"

local M = {}
local Guide = {}
Guide.__index = Guide

-- One chunk forwards and backwards; visit(weight name, rows(): inputs, gradients).
local function chunk_back(t, chunk, seed, visit)
  local ok, message, code = t:forward(chunk)
  if ok then ok, message, code = t:sample(seed) end
  if not ok then return nil, message, code end
  while true do
    local more
    more, message, code = t:back()
    if more == nil then return nil, message, code end
    if not more then return true end
    for k, p in ipairs(t:products()) do
      local x, g = t:rows(k)
      if not x then return nil, g, message end
      local fine, why, kind = visit(p, x, g)
      x:close()
      g:close()
      if fine == nil then return nil, why, kind end
    end
  end
end

local function open(model, n, o)
  return core.train.open(model.handle, { tokens = n, outputs = true, threads = o.threads, max_bytes = o.max_bytes })
end

--- Weights of the tokens of `chunks` (lists of ids, of one length) for every
--- matrix of `model`.
---@param model wane.Model   unquantized
---@param chunks integer[][]
---@param o? table   threads, seed, progress, max_bytes
---@return table|nil guide
---@return string? message
---@return string? code
function M._of(model, chunks, o)
  o = o or {}
  local t, message, code = open(model, #chunks[1], o)
  if not t then return nil, message, code end
  local self = setmetatable({ powers = {}, n = #chunks[1] }, Guide)
  for c, chunk in ipairs(chunks) do
    local ok
    ok, message, code = chunk_back(t, chunk, (o.seed or 1) + c, function(p, _, g)
      local by = self.powers[p.weight] or {}
      self.powers[p.weight] = by
      local b = core.calib.powers(g)
      local sums = by[c] or {}
      for i = 1, #b do sums[i] = (sums[i] or 0) + b[i] end -- parts of a matrix add up
      b:close()
      by[c] = sums
      return true
    end)
    if not ok then
      t:close()
      return nil, message, code
    end
    if o.progress and o.progress { done = c, total = #chunks, what = "guide" } == false then
      t:close()
      return nil, "cancelled", "ECANCEL"
    end
  end
  t:close()
  for _, by in pairs(self.powers) do -- any order: each by itself
    local sum, n = 0, 0
    for _, list in ipairs(by) do
      for _, p in ipairs(list) do sum, n = sum + p, n + 1 end
    end
    by.mean = n > 0 and sum / n or 0
  end
  return self
end

-- No token counts more than this many times the mean: a gradient that long says
-- more about its own token than about others.
local CAP = 8

--- A copy of `rows`, the inputs that `item` shares from token first + 1 on of chunk c,
--- each times the root of what its token weighs; nil when nothing is known.
---@param item { weights: string[] }
function Guide:weigh(item, rows, c, first)
  local n = (rows:shape())
  local factors, known = {}, 0
  for i = 1, n do factors[i] = 0 end
  for _, name in ipairs(item.weights) do
    local by = self.powers[name]
    local list = by and by.mean > 0 and by[c]
    if list and list[first + n] then
      known = known + 1
      for i = 1, n do factors[i] = factors[i] + math.min(list[first + i] / by.mean, CAP) end
    end
  end
  if known == 0 then return nil end
  for i = 1, n do factors[i] = math.sqrt(factors[i] / known) end
  local f = core.quant.buffer(1, n, factors)
  local out = core.calib.scaled_rows(rows, f)
  f:close()
  return out
end

-- -- sensitivities -------------------------------------------------------------

---@class wane.GradientRow
---@field tensor string
---@field type string
---@field bytes integer
---@field error number   relative squared error of the weights
---@field kld number     estimated loss, nats per token

local check = options.checker("calibrate.sensitivity", {
  model = options.required "table", text = options.required(options.either("string", options.token_ids)),
  by = options.one_of { "gradient" }, types = options.list("string", 1), tensors = options.list("string", 1),
  context = options.integer(4, 16777216), chunks = options.integer(1), draws = options.integer(1), imatrix = "any",
  threads = options.threads, seed = options.integer(0), progress = "function", max_bytes = options.bytes,
}, { by = "gradient", context = 256, chunks = 4, draws = 1, seed = 1 })

-- Candidate types of a matrix.
local function candidates(types, list, cols, has_importance)
  local out = {}
  for _, name in ipairs(list) do
    local f = types.find(name)
    if f and cols % f.block == 0 and (has_importance or not f.needs_importance) then out[#out + 1] = f end
  end
  return out
end

-- Prices one matrix in every type on one chunk: adds to its rows.
local function price(st, p, x, g)
  local at = st.model.gguf:find_tensor(p.weight)
  if not at or (st.wanted and not st.wanted[p.weight]) then return true end
  local cols = p.width
  local importance = st.im and st.im:width(p.weight) and core.quant.buffer(1, cols, st.im:values(p.weight)) or nil
  local w, message, code = core.quant.read(st.model.gguf, at, p.first, p.first + p.rows - 1)
  if not w then return nil, message, code end
  local list = st.o.types or (cols % 256 == 0 and st.cost.default_types or st.cost.narrow_types)
  for _, f in ipairs(candidates(st.types, list, cols, importance)) do
    local key = p.weight .. " " .. f.name
    local r = st.by[key]
    if not r then
      r = { tensor = p.weight, type = f.name, bytes = 0, error = 0, sum = 0, tokens = 0, parts = {} }
      st.by[key], st.rows[#st.rows + 1] = r, r
    end
    local q
    q, message, code = core.quant.encode(f.name, w, importance)
    if not q then return nil, message, code end
    local plain = q:decode()
    local _, squares = core.train.effect(x, g, w, plain)
    r.sum = r.sum + squares
    if not r.parts[p.first] then
      r.parts[p.first] = true
      r.bytes = r.bytes + st.types.bytes_of(f.name, cols, p.rows)
      r.error = r.error + core.calib.error(w, plain) / core.calib.error(w)
    end
    if p.first == 1 then r.tokens = r.tokens + p.tokens end
    q:close()
    plain:close()
  end
  w:close()
  if importance then importance:close() end
  return true
end

--- What each matrix would cost in each type, from a few chunks run forwards and
--- backwards once: no run of the model for each tensor. `kld` is an estimate in nats
--- per token: half the mean of (g (W - Q) x)^2; errors of tokens are taken to be
--- independent, so sums over long texts are under-estimated, while the order of
--- tensors is what it is good for.
---
---     local s = assert(wane.calibrate.sensitivity { model = m, text = text, by = "gradient" })
---     for _, r in ipairs(s.rows) do print(r.tensor, r.type, r.kld) end
---@param o { model: wane.Model, text: string|integer[], by: "gradient"?, types: string[]?, tensors: string[]?,
---  context: integer?, chunks: integer?, draws: integer?, imatrix: wane.Imatrix?, threads: integer?, seed: integer?,
---  progress: (fun(p: table): boolean?)?, max_bytes: integer? }   context: 256 tokens of a chunk; chunks: 4, spread over
---  the text; draws of targets for each: 1; imatrix: for the encoder, and for types that need one
---@return { rows: wane.GradientRow[], tokens: integer, seconds: number }|nil
---@return string? message
---@return string? code
function M.sensitivity(o)
  o = check(o)
  local start = core.now()
  local all, message, code = require("wane.calibrate.pass").chunks(o.model, o.text, o.context)
  if not all then return nil, message, code end
  local t
  t, message, code = open(o.model, o.context, o)
  if not t then return nil, message, code end
  local st = {
    o = o, model = o.model, by = {}, rows = {}, im = o.imatrix, types = require "wane.recipe.types",
    cost = require "wane.search.sensitivity",
  }
  if o.tensors then
    st.wanted = {}
    for _, name in ipairs(o.tensors) do st.wanted[name] = true end
  end
  local n = math.min(o.chunks, #all)
  for c = 1, n do
    local chunk = all[math.floor((c - 1) * #all / n) + 1]
    for d = 1, o.draws do
      local ok
      ok, message, code = chunk_back(t, chunk, o.seed + c * 1000 + d, function(p, x, g) return price(st, p, x, g) end)
      if not ok then
        t:close()
        return nil, message, code
      end
    end
    if o.progress and o.progress { done = c, total = n } == false then
      t:close()
      return nil, "cancelled", "ECANCEL"
    end
  end
  t:close()
  for _, r in ipairs(st.rows) do
    r.kld = 0.5 * r.sum / r.tokens
    r.sum, r.tokens, r.parts = nil, nil, nil
  end
  return { rows = st.rows, tokens = n * o.draws * o.context, seconds = core.now() - start }
end

return M
