--- The model on the page: what is in its file, blocks of a tensor taken apart,
--- and the figures that teach quantization, computed on the loaded model.
---
--- What it guarantees: nothing is read but the model's own file; each answer is
--- made of a bounded sample (SAMPLE_ROWS rows of a tensor), so that it takes
--- moments for a large model too; figures that need what a layer sees run a
--- short text through the model, in slices between which the loop goes on.
local M = {}

local core = require "wane.core"
local cqueues = require "cqueues"
local json = require "wane.json"
local options = require "wane.options"
local quant = require "wane.quant"
local request = require "wane.serve.request"

local SAMPLE_ROWS, SAMPLE_VALUES, BINS = 32, 2 ^ 20, 64
local TYPES = { "q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "q8_0" }
local ALPHAS = { 0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1 }
local TEXT_TOKENS, SLICE = 256, 32
local MAX_HESSIAN = 16384 -- columns: the matrix has 4 bytes for each pair

-- A tensor of the file by name: its number and facts.
local function tensor_of(app, r)
  r:need("name", "the name of a tensor")
  local name = r:string("name", 256)
  local g = app.model.gguf
  local i = g:find_tensor(name)
  if not i then request.refuse(404, "there is no such tensor", "name") end
  return i, g:tensor(i), g
end

local function need(value, message, code)
  if value == nil then request.refuse((code == "EUNSUP" or code == "EARG" or code == "EFORMAT") and 400 or 500, message) end
  return value
end

-- A quantized type of the request.
local function type_of(r, default)
  local name = r:string("type", 32) or default
  local t = quant.type(name)
  if not t or t.class ~= "quant" or not t.encodable then r:wrong("type", "a block format that can be encoded (q4_K)", name) end
  return name
end

local function bits_of(name)
  local t = quant.type(name)
  return 8 * t.bytes / t.block
end

-- Some rows of a tensor as floats, from its middle.
local function sample(g, i, t)
  local n = math.max(1, math.min(SAMPLE_ROWS, t.n_rows, math.floor(SAMPLE_VALUES / t.shape[1])))
  local first = math.floor((t.n_rows - n) / 2) + 1
  return need(core.quant.read(g, i, first, first + n - 1)), first, n
end

local function numbers(b, first, last)
  local out = json.list {}
  for k = first, last do out[#out + 1] = b[k] end
  return out
end

-- A list as JSON; null for none.
local function list_of(v)
  if type(v) ~= "table" then return json.null end
  local out = json.list {}
  for k, n in ipairs(v) do out[k] = n end
  return out
end

--- GET /inspect: types, layers and tensors.
function M.model(app, x)
  local g, types, order, layers, tensors = app.model.gguf, {}, json.list {}, {}, json.list {}
  local bytes, values, deepest = 0, 0, -1
  local function count(sum, t, n) sum.tensors, sum.bytes, sum.values = sum.tensors + 1, sum.bytes + t.bytes, sum.values + n end
  for i = 1, g:info().n_tensors do
    local t = g:tensor(i)
    local n, layer = t.shape[1] * t.n_rows, tonumber(t.name:match "^blk%.(%d+)%.")
    tensors[i] = json.ordered { { "name", t.name }, { "type", t.type }, { "shape", list_of(t.shape) }, { "bytes", t.bytes }, { "values", n } }
    if not types[t.type] then
      types[t.type] = { type = t.type, tensors = 0, bytes = 0, values = 0 }
      order[#order + 1] = types[t.type]
    end
    count(types[t.type], t, n)
    if layer and layer < 4096 then
      layers[layer] = layers[layer] or { layer = layer, tensors = 0, bytes = 0, values = 0 }
      count(layers[layer], t, n)
      deepest = math.max(deepest, layer)
    end
    bytes, values = bytes + t.bytes, values + n
  end
  table.sort(order, function(a, b) return a.bytes > b.bytes end)
  local list = json.list {}
  for l = 0, deepest do list[#list + 1] = layers[l] end
  x:json(200, json.ordered { { "name", app.id }, { "architecture", app.model.hp.architecture }, { "bytes", bytes }, { "values", values },
    { "bits_per_weight", 8 * bytes / values }, { "context", app.engine.n_ctx }, { "types", order }, { "layers", list },
    { "tensors", tensors }, { "encodable", list_of(TYPES) } })
end

--- POST /inspect/tensor: { name } -> how its weights are distributed.
function M.tensor(app, x, body)
  local i, t, g = tensor_of(app, request.new(body))
  local w, first, n = sample(g, i, t)
  local s = w:stats()
  local edge, counts = math.max(4 * s.std, 1e-30), json.list {}
  for k = 1, BINS do counts[k] = 0 end
  for k = 1, n * t.shape[1] do
    local b = math.max(1, math.min(BINS, math.floor((w[k] + edge) / (2 * edge) * BINS) + 1))
    counts[b] = counts[b] + 1
  end
  w:close()
  x:json(200, { name = t.name, type = t.type, rows = t.n_rows, cols = t.shape[1], first_row = first, sampled_rows = n, mean = s.mean,
    std = s.std, min = s.min, max = s.max, edge = edge, counts = counts, quantized = quant.type(t.type).class == "quant" })
end

-- The blocks of one row: those of the file, or encoded now; and the source weights
-- where there are some.
local function blocks_of(r, g, i, t, row)
  if quant.type(t.type).class == "quant" and r:get "type" == nil then
    local row_bytes = t.bytes / t.n_rows
    return need(quant.blocks(t.type, need(g:read(i, (row - 1) * row_bytes, row_bytes)), 1, t.shape[1]))
  end
  local kind = type_of(r, "q4_K")
  local w = need(core.quant.read(g, i, row))
  local ok, q, message = pcall(quant.encode, kind, w)
  if ok and q then return q, w end
  w:close()
  request.refuse(400, ok and message or "this tensor cannot be encoded so", "type")
end

--- POST /inspect/block: { name, row, block, type } -> one block taken apart:
--- that of the file, or with `type` what this format makes of the weights.
function M.block(app, x, body)
  local r = request.new(body)
  local i, t, g = tensor_of(app, r)
  local row = r:integer("row", 1, t.n_rows) or 1
  local q, w = blocks_of(r, g, i, t, row)
  local n, block = q:count(), r:integer("block", 1) or 1
  if block > n then
    q:close()
    if w then w:close() end
    request.refuse(400, ("'block': want an integer from 1 to %d"):format(n), "block")
  end
  local b = q:block(block)
  local bytes = json.list {}
  for k = 1, #(b.bytes or "") do bytes[k] = b.bytes:byte(k) end
  local out = json.ordered { { "type", b.type }, { "row", row }, { "block", block }, { "blocks", n }, { "column", b.column }, { "n", b.n },
    { "sub", b.sub or json.null }, { "formula", b.formula or json.null }, { "d", b.d or json.null }, { "dmin", b.dmin or json.null },
    { "scale_codes", list_of(b.scale_codes) }, { "min_codes", list_of(b.min_codes) }, { "scales", list_of(b.scales) },
    { "mins", list_of(b.mins) }, { "levels", list_of(b.levels) }, { "values", list_of(b.values) }, { "bytes", bytes },
    { "source", w and numbers(w, b.column, b.column + b.n - 1) or json.null } }
  q:close()
  if w then w:close() end
  x:json(200, out)
end

-- Relative error of a type on rows and what is left of them; nil where they do
-- not fill its blocks.
local function error_of(type_name, w)
  local ok, q = pcall(core.quant.encode, type_name, w)
  if not ok or not q then return nil end
  local seen = q:decode()
  local e = core.quant.distance(w, seen).relative
  q:close()
  return e, seen
end

--- POST /inspect/layers: { role, type } -> the error of a type in each layer's
--- tensor of a role ("ffn_down").
function M.layers(app, x, body)
  local r = request.new(body)
  local role, kind = r:string("role", 64) or "ffn_down", type_of(r, "q4_K")
  local g, out = app.model.gguf, json.list {}
  for layer = 0, app.model.hp.block_count - 1 do
    local i = g:find_tensor(("blk.%d.%s.weight"):format(layer, role))
    if i then
      local w = sample(g, i, g:tensor(i))
      local e, seen = error_of(kind, w)
      if seen then seen:close() end
      w:close()
      out[#out + 1] = { layer = layer, error = e or json.null }
      cqueues.sleep(0)
      if x:gone() then return end
    end
  end
  if #out == 0 then request.refuse(404, "no layer has such a tensor", "role") end
  x:json(200, { role = role, type = kind, layers = out })
end

--- POST /inspect/rounding: { name, row, column } -> 32 neighbouring weights and
--- what each type makes of them.
function M.rounding(app, x, body)
  local r = request.new(body)
  local i, t, g = tensor_of(app, r)
  local row = r:integer("row", 1, t.n_rows) or math.floor((t.n_rows + 1) / 2)
  local column = r:integer("column", 1, t.shape[1]) or 1
  local last = math.min(t.shape[1], column + 31)
  local w, list = need(core.quant.read(g, i, row)), json.list {}
  for _, name in ipairs(TYPES) do
    local e, seen = error_of(name, w)
    if seen then
      list[#list + 1] = json.ordered { { "type", name }, { "bits", bits_of(name) }, { "error", e }, { "values", numbers(seen, column, last) } }
      seen:close()
    end
  end
  local out = { name = t.name, row = row, column = column, source = numbers(w, column, last), types = list }
  w:close()
  x:json(200, out)
end

-- ---- what needs the inputs of a matrix --------------------------------------------

local TEXT = [[The old lighthouse keeper counted the ships by their lanterns: red to port, green to starboard, and one, every autumn,
with none at all. A recipe for bread: 500 g of flour, 350 g of water, 10 g of salt, and time. For i from 1 to 10: print(i * i).
"Why," she asked, "would the sea write letters?" In 1851 the harbour froze; in 1852 it did not. Le chat dort sur la chaise. Most
numbers are small, and a few are not.]]

-- Correlations of what a tensor sees while the model reads a text.
local function inputs_of(app, x, r, t)
  if t.shape[1] > MAX_HESSIAN then
    request.refuse(501, ("%d columns: figures of outputs are made for at most %d"):format(t.shape[1], MAX_HESSIAN))
  end
  local text = (r:string("text", 16384) or TEXT):rep(3)
  local ids = need(app.model.vocab:encode(text, { special = true }))
  local slice = math.min(SLICE, app.model.hp.context_length)
  if #ids < slice then request.refuse(400, ("'text': want at least %d tokens"):format(slice), "text") end
  local ok, all, message, code = pcall(require("wane.calibrate").hessians, app.model, ids, { context = slice,
    chunks = math.min(math.floor(#ids / slice), TEXT_TOKENS / SLICE), tensors = { t.name },
    progress = function()
      cqueues.sleep(0)
      return not x:gone()
    end })
  if not ok then -- norms and tables of tokens have no inputs
    if not tostring(all):find("no matrix of these names", 1, true) then error(all, 0) end
    request.refuse(400, "this tensor multiplies nothing: it has no inputs", "name")
  end
  local h = need(all, message, code)[t.name]
  if type(h) == "table" then h = h[1] end
  return h
end

--- POST /inspect/outputs: { name, text } -> error of the weights beside the error
--- of what comes out of the matrix, for each type.
function M.outputs(app, x, body)
  local r = request.new(body)
  local i, t, g = tensor_of(app, r)
  local h, list = inputs_of(app, x, r, t), json.list {}
  local w = sample(g, i, t)
  local zero = core.calib.zeros(w:shape())
  local power = core.calib.error(w, zero, h)
  for _, name in ipairs(TYPES) do
    local e, seen = error_of(name, w)
    if seen then
      list[#list + 1] = json.ordered { { "type", name }, { "bits", bits_of(name) },
        { "weights", e }, { "outputs", math.sqrt(core.calib.error(w, seen, h) / power) } }
      seen:close()
      cqueues.sleep(0)
    end
  end
  zero:close()
  w:close()
  x:json(200, { name = t.name, types = list })
end

-- Error of the outputs when columns are scaled by s before a type encodes them,
-- and scaled back in the inputs.
local function scaled_error(kind, w, s, h)
  local scaled = core.calib.scaled(w, s)
  local importance = core.calib.scaled(core.calib.scaled(h:diagonal(), s, true), s, true)
  local q = core.quant.encode(kind, scaled, importance)
  local seen = q and q:decode()
  local back = seen and core.calib.scaled(seen, s, true)
  local e = back and core.calib.error(w, back, h)
  for _, b in ipairs { scaled, importance, q, seen, back } do b:close() end
  return e
end

--- POST /inspect/alpha: { name, type, text } -> AWQ's question: how much of the
--- inputs' size should move into the weights before they are rounded?
function M.alpha(app, x, body)
  local r = request.new(body)
  local i, t, g = tensor_of(app, r)
  local kind = type_of(r, "q4_K")
  if t.shape[1] % quant.type(kind).block ~= 0 then request.refuse(400, "the rows do not fill blocks of this type", "type") end
  local h = inputs_of(app, x, r, t)
  local w, size, sum = sample(g, i, t), {}, 0
  local d = h:diagonal()
  for k = 1, t.shape[1] do
    size[k] = math.log(math.max(d[k], 1e-20)) / 2
    sum = sum + size[k]
  end
  local zero = core.calib.zeros(w:shape())
  local mean, power, list = sum / #size, core.calib.error(w, zero, h), json.list {}
  zero:close()
  for _, alpha in ipairs(ALPHAS) do
    local s = {}
    for k, v in ipairs(size) do s[k] = math.exp(math.max(-6, math.min(6, alpha * (v - mean)))) end
    local scales = core.quant.buffer(1, #s, s)
    local e = scaled_error(kind, w, scales, h)
    scales:close()
    list[#list + 1] = { alpha = alpha, error = e and math.sqrt(e / power) or json.null }
    cqueues.sleep(0)
    if x:gone() then break end
  end
  w:close()
  x:json(200, { name = t.name, type = kind, alphas = list })
end

-- ---- fit, report ------------------------------------------------------------------

local amount = options.type("an amount of memory (16G)", function(v) return type(v) == "string" and v:find "^%d+%.?%d*[KMGT]?$" end)

--- POST /inspect/fit: { ram } -> which levels of this model a machine can hold.
function M.fit(app, x, body)
  local r = request.new(body)
  local ram = r:get "ram" or "16G"
  if not amount.test(ram) then r:wrong("ram", amount.want, ram) end
  local ok, fit, message, code = pcall(require "wane.fit", { model = app.model:info().path, ram = ram })
  if not ok then request.refuse(400, (tostring(fit):gsub("^[^\n]-:%d+: ", "")), "ram") end
  need(fit, message, code)
  local text, path = fit:text(), app.model:info().path
  if text:sub(1, #path) == path then text = app.id .. text:sub(#path + 1) end -- where files lie is told to nobody
  x:json(200, { text = text })
end

--- GET /report: the page of `wane compare` that the server was started with.
function M.report(app, x)
  if not app.opts.report then request.refuse(404, "there is no report: make one with wane compare -o, and serve it with --report") end
  x:text(200, "text/html; charset=utf-8", app.opts.report, { ["content-security-policy"] = "default-src 'none'; "
    .. "style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'" })
end

return M
