--- What calibrating a model takes: time from rates measured here and now,
--- memory from what the steps are known to hold.
---
---     local cost = require "wane.calibrate.cost"
---     local rates = assert(cost.rates(model))          -- about three seconds
---     print(cost.table(rates, { { params = "8B", layers = 32, width = 4096, ff = 14336 } }))
---
--- Each step is a sum of a few kinds of work, each with one rate: multiplying
--- by all weights for each token of a text, adding up correlations (tokens x
--- width^2), factoring them (width^3), rebuilding and aiming rows (rows x
--- width^2). Small models reach lower rates than large ones, so the rates are
--- measured on matrices of WIDTH columns; passes are measured on the model.
--- Disks that cannot keep up, and files that do not fit into memory and are read
--- again in every pass, are not in it.
local core = require "wane.core"
local imagine = require "wane.fit.imagine"
local report = require "wane.report"

local M = {}

local WIDTH = 1024

---@class wane.CalibrationRates  units a second
---@field pass number       weights times tokens
---@field correlate number  tokens times width^2, both sums of a layer
---@field factor number     width^3
---@field rebuild number    rows times width^2
---@field aim number        rows times width^2
---@field encode number     weights

-- Seconds that f takes; the best of two, since noise only adds.
local function seconds_of(f)
  local best = math.huge
  for _ = 1, 2 do
    local start = core.now()
    f()
    best = math.min(best, core.now() - start)
  end
  return best
end

--- n rows of numbers without much order, to time products with.
function M.noise(n, cols)
  local list, x = {}, 12345
  for i = 1, n * cols do
    x = (x * 1103515245 + 12345) % 2147483648
    list[i] = x / 1073741824 - 1
  end
  return core.quant.buffer(n, cols, list)
end

--- Measures the rates of this machine; rebuilding for blocks of `type_name`.
---@param model wane.Model  for the rate of passes
---@param type_name string?  "q4_K"
---@return wane.CalibrationRates
function M.rates(model, type_name)
  local kind, r = type_name or "q4_K", {}
  local x, w = M.noise(256, WIDTH), M.noise(16, WIDTH)
  local h, cross = assert(core.calib.hessian(WIDTH)), core.calib.zeros(WIDTH, WIDTH)
  r.correlate = 256 * WIDTH ^ 2 / seconds_of(function()
    h:add(x)
    core.calib.cross(cross, x, x)
  end)
  r.factor = WIDTH ^ 3 / seconds_of(function() assert(h:factor(0.1)) end)
  r.aim = 16 * WIDTH ^ 2 / seconds_of(function() assert(h:aim(cross, w, 0.5)):close() end)
  r.rebuild = 16 * WIDTH ^ 2 / seconds_of(function() assert(core.calib.rebuild(kind, w, h, {})) end)
  r.encode = 16 * WIDTH / seconds_of(function() assert(core.quant.encode(kind, w, h:diagonal())):close() end)
  for _, b in ipairs { x, w, h, cross } do b:close() end
  local ids, weights = {}, 0
  for i = 1, 1024 do ids[i] = i % math.min(100, model:info().n_vocab) end
  for i = 1, model.gguf:info().n_tensors do
    local t = model.gguf:tensor(i)
    if t.name:find "%.weight$" and #t.shape > 1 and t.name ~= "token_embd.weight" then
      weights = weights + t.shape[1] * t.n_rows
    end
  end
  r.pass = 1024 * weights / seconds_of(function() assert(require "wane.eval".perplexity(model, ids, { context = 512 })) end)
  return r
end

-- Widths of the inputs of a layer and the rows of all matrices that meet each.
local function inputs_of(s)
  local heads, experts = s.heads * s.head_size, math.max(1, s.experts)
  return {
    { n = s.width, rows = heads + 2 * s.kv_heads * s.head_size },
    { n = heads, rows = s.width },
    { n = s.width, rows = 2 * s.ff, times = experts },
    { n = s.ff, rows = s.width, times = experts },
  }
end

---@class wane.CalibrationCost
---@field imatrix number      seconds
---@field sensitivity number
---@field gptq number
---@field gptq_bytes number   the most that gptq holds beside the mapped file

--- What the steps take for a model that need not exist.
---@param rates wane.CalibrationRates
---@param shape table    as for wane.fit: { params = "8B", layers =, width =, ff =, ... }
---@param o? { tokens: integer?, loss_tokens: integer? }  of the text (32768), of each measured loss (2048)
---@return wane.CalibrationCost
function M.estimate(rates, shape, o)
  local s = imagine.shape(shape)
  local tokens, loss_tokens = o and o.tokens or 32768, o and o.loss_tokens or 2048
  local active = s.experts > 0 and s.used / s.experts or 1 -- share of the experts that a token meets
  local layer_weights, all_weights, work, bytes, widest = 0, 0, 0, 0, 0
  for _, i in ipairs(inputs_of(s)) do
    local times, seen = i.times or 1, (i.times or 1) > 1 and active * i.times or 1
    layer_weights, all_weights = layer_weights + i.n * i.rows * seen, all_weights + i.n * i.rows * times
    work = work + seen * tokens * i.n ^ 2 / rates.correlate + times * i.n ^ 3 / rates.factor
      + times * i.rows * i.n ^ 2 * (1 / rates.rebuild + 1 / rates.aim)
    bytes, widest = bytes + 12 * i.n ^ 2 * times, math.max(widest, i.n)
  end
  local pass = (s.layers * layer_weights + s.width * s.vocab) / rates.pass -- seconds a token
  local n_tensors = 7 * s.layers + 2
  return {
    imatrix = tokens * pass,
    -- each loss: the model and its variant
    sensitivity = n_tensors * loss_tokens * 2 * pass + tokens * pass,
    -- twice as quantized so far, once as it was
    gptq = 3 * tokens * pass + s.layers * work + s.width * s.vocab / rates.encode,
    gptq_bytes = bytes + 8 * widest ^ 2 + 8 * tokens * s.width + all_weights,
  }
end

local function human(seconds)
  if seconds < 120 then return ("%.0f s"):format(seconds) end
  if seconds < 7200 then return ("%.0f min"):format(seconds / 60) end
  if seconds < 172800 then return ("%.0f h"):format(seconds / 3600) end
  return ("%.0f days"):format(seconds / 86400)
end

--- The models that everybody asks for.
M.usual = {
  { name = "1B", params = "1.2B", layers = 16, width = 2048, heads = 32, kv_heads = 8, ff = 8192, tied = true },
  { name = "8B", params = "8B", layers = 32, width = 4096, heads = 32, kv_heads = 8, ff = 14336 },
  { name = "70B", params = "70B", layers = 80, width = 8192, heads = 64, kv_heads = 8, ff = 28672 },
}

--- One row a model.
---@param rates wane.CalibrationRates
---@param shapes table[]?  M.usual
---@param o? table  as for M.estimate
---@return wane.Table
function M.table(rates, shapes, o)
  local t = report.table {
    { key = "name", title = "model" }, { key = "imatrix", title = "imatrix", align = "right", format = human },
    { key = "sensitivity", title = "sensitivity", align = "right", format = human },
    { key = "gptq", title = "GPTQ", align = "right", format = human },
    { key = "gptq_bytes", title = "GPTQ memory", align = "right",
      format = function(n) return ("%.1f GiB"):format(n / 2 ^ 30) end },
  }
  for _, shape in ipairs(shapes or M.usual) do
    local c = M.estimate(rates, shape, o)
    c.name = shape.name or tostring(shape.params)
    t:add(c)
  end
  return t
end

return M
