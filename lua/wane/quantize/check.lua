--- The options of wane.quantize, checked before any file is opened: types,
-- ranges, and combinations that could have no effect.
local options = require "wane.options"

local M = {}

local pair = options.type("a list of { pattern, type }", function(v)
  if type(v) ~= "table" then return false end
  for _, p in ipairs(v) do
    if type(p) ~= "table" then return false end
  end
  return true
end)

local check = options.checker("quantize", {
  from = options.required "path", to = "path", recipe = "any", imatrix = "any", include = options.list("string", 1),
  exclude = options.list("string", 1), threads = options.threads, progress = "function", fallback = "string",
  nonfinite = options.one_of { "error", "zero" }, dry_run = "boolean", overwrite = "boolean", resume = "boolean",
  pure = "boolean", output_tensor_type = "string", token_embedding_type = "string", leave_output_tensor = "boolean",
  tensor_types = pair, only_copy = "boolean", prune_layers = options.list(options.integer(0, 1023)),
  allow_requantize = "boolean", metadata = "table", keep_split = "boolean", split = options.integer(1, 65534),
  shard = options.list(options.integer(1, 65534)), reuse = "path", provenance = "boolean", tensors = "path",
})

-- What chooses types: nothing of it can have an effect on a copy.
local choosing = {
  "recipe", "tensor_types", "output_tensor_type", "token_embedding_type", "leave_output_tensor", "imatrix", "include",
  "exclude", "pure", "fallback", "nonfinite", "allow_requantize", "reuse", "tensors",
}

-- Pairs that cannot both be meant.
local exclusive = {
  { "keep_split", "split" }, { "keep_split", "shard" }, { "split", "shard" }, { "include", "exclude" },
  { "tensors", "reuse" }, { "leave_output_tensor", "output_tensor_type" },
}

local function check_together(o)
  for _, p in ipairs(exclusive) do
    if o[p[1]] and o[p[2]] then
      options.misuse(("quantize: option '%s' and option '%s' exclude each other"):format(p[1], p[2]))
    end
  end
  if o.only_copy then
    for _, name in ipairs(choosing) do
      if o[name] then
        options.misuse(("quantize: option 'only_copy' changes no type: option '%s' cannot be used with it"):format(name))
      end
    end
  elseif o.recipe == nil then
    options.misuse "quantize: option 'recipe' is missing: want a mix, a recipe or a function"
  end
  if (o.include or o.exclude) and o.imatrix == nil then
    options.misuse(("quantize: option '%s' chooses tensors of an imatrix: want option 'imatrix' too"):format(
      o.include and "include" or "exclude"))
  end
end

--- A checked copy of the options; `prune` is their list of layers, sorted,
-- without doubles.
---@param o wane.QuantizeOptions
---@return wane.QuantizeOptions
---@return integer[] prune
function M.options(o)
  o = check(o)
  check_together(o)
  if o.shard and (#o.shard ~= 2 or o.shard[1] > o.shard[2]) then
    options.fail("quantize", "shard", "{ i, n } with i from 1 to n", o.shard)
  end
  local prune, seen = {}, {}
  for _, layer in ipairs(o.prune_layers or {}) do
    if not seen[layer] then prune[#prune + 1], seen[layer] = layer, true end
  end
  table.sort(prune)
  return o, prune
end

return M
