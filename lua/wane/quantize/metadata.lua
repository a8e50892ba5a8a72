--- The metadata of an output: edits that keep the types of keys, and arrays by
-- layer that follow the layers.
local options = require "wane.options"

local M = {}

-- Integer types and their ranges; 64 bits: what a double holds, or decimal text.
local ranges = {
  u8 = { 0, 2 ^ 8 - 1 }, u16 = { 0, 2 ^ 16 - 1 }, u32 = { 0, 2 ^ 32 - 1 }, u64 = { 0, 2 ^ 64 },
  i8 = { -2 ^ 7, 2 ^ 7 - 1 }, i16 = { -2 ^ 15, 2 ^ 15 - 1 }, i32 = { -2 ^ 31, 2 ^ 31 - 1 }, i64 = { -2 ^ 63, 2 ^ 63 },
}
local floats = { f32 = true, f64 = true }

-- What a value is: "int", "float", "bool", "str", or nil.
local function kind_of(v)
  if type(v) == "boolean" then return "bool" end
  if type(v) == "string" then return "str" end
  if type(v) == "number" then return v == math.floor(v) and "int" or "float" end
end

-- Whole numbers may come as decimal text, which is longer than a double's 53 bits.
local function whole(v)
  if type(v) == "number" then return v == math.floor(v) and v end
  return type(v) == "string" and v:match "^%-?%d+$" and tonumber(v)
end

-- The type of a key that is new. Negative numbers are signed.
local function new_type(kind, v)
  if kind == "bool" then return "bool" end
  if kind == "str" then return "string" end
  if kind == "float" then return "f32" end
  local n = whole(v)
  if n < 0 then return n >= -2 ^ 31 and "i32" or "i64" end
  return n < 2 ^ 32 and "u32" or "u64"
end

-- Whether a value of a kind fits a type; nil and why not.
local function fits(kind, v, to)
  if to == "string" then return kind == "str", "a string" end
  if to == "bool" then return kind == "bool", "true or false" end
  if floats[to] then return (kind == "float" or kind == "int") and tonumber(v) ~= nil, "a number" end
  local r = ranges[to]
  if not r then return false, "nothing: say the type to replace it" end
  local n = (kind == "int" or kind == "float") and whole(v)
  return n and n >= r[1] and n <= r[2], ("an integer from %.0f to %.0f"):format(r[1], r[2])
end

local kinds = { int = true, float = true, bool = true, str = true }

-- One edit with its type: the key's own, when the file has it.
local function edit(i, e, key_type)
  local function wrong(what) options.misuse(("quantize: metadata[%d]: %s"):format(i, what)) end
  if type(e) ~= "table" or type(e.key) ~= "string" or e.key == "" or e.value == nil then
    wrong "want { key =, value = [, type =] }"
  end
  if e.type ~= nil and not kinds[e.type] then -- the user's own word
    return { key = e.key, value = e.value, type = e.type, elem = e.elem }
  end
  local kind = e.type or kind_of(e.value)
  if not kind then wrong(("key '%s': say the type of a %s"):format(e.key, type(e.value))) end
  if (kind == "int" and not whole(e.value)) or (kind == "float" and not tonumber(e.value)) then
    wrong(("key '%s': want %s, got %s"):format(e.key, kind == "int" and "an integer" or "a number", options.shown(e.value)))
  end
  local to = key_type(e.key)
  if not to then return { key = e.key, value = e.value, type = new_type(kind, e.value) } end
  local ok, want = fits(kind, e.value, to)
  if not ok then
    return nil, ("metadata: key '%s' is %s: want %s, got %s"):format(e.key, to, want, options.shown(e.value)), "EFORMAT"
  end
  local value = e.value
  if type(value) == "string" and kind ~= "str" and to:sub(2) ~= "64" then value = tonumber(value) end
  return { key = e.key, value = value, type = to }
end

--- The edits of option `metadata` with types filled in: a key that is present
-- keeps its type, and a value that does not fit it is refused.
---@param list table[]?  { key =, value = [, type = a GGUF type, or int, float, bool, str] }
---@param g userdata     the source
---@return table[]?
---@return string? message
---@return string? code
function M.edits(list, g)
  local function key_type(key)
    local i = g:find_kv(key)
    return i and (select(2, g:key(i)))
  end
  local out = {}
  for i, e in ipairs(list or {}) do
    local message, code
    out[i], message, code = edit(i, e, key_type)
    if not out[i] then return nil, message, code end
  end
  return out
end

-- Arrays whose length says nothing about layers.
local not_by_layer = {
  "%.rope%.dimension_sections$", "%.rope%.scaling%.", "%.classifier%.", "_sections$", "%.vocab", "_token_ids?$",
  "%.wavtokenizer%.", "%.posnet%.", "%.convnext%.", "%.vision%.", "%.audio%.", "layer_ids$", "_indices$",
}

-- Does an array of n elements have one for each layer? Lists of layer numbers
-- ("..._layers") are integers, marks for each layer are booleans. Layers that
-- predict more tokens may have none.
local function is_by_layer(key, elem, n, model)
  if n ~= model.n_layers and n ~= model.n_layers - model.n_nextn then return false end
  if key:sub(1, #model.arch + 1) ~= model.arch .. "." and not key:find "^xielu%." then return false end
  for _, pattern in ipairs(not_by_layer) do
    if key:find(pattern) then return false end
  end
  return elem == "bool" or not key:find "layers$"
end

-- Counts of layers at one end: leading dense ones, and those that predict more
-- tokens, which are the last.
local function counted(model, prune, get)
  local edits = {}
  local function cut(name, from, to)
    local key = ("%s.%s"):format(model.arch, name)
    local n = tonumber(get(key))
    if not n or n <= 0 then return end
    local gone = 0
    for _, layer in ipairs(prune) do
      if layer >= from(n) and layer < to(n) then gone = gone + 1 end
    end
    if gone > 0 then edits[#edits + 1] = { key = key, value = n - gone } end
  end
  cut("leading_dense_block_count", function() return 0 end, function(n) return n end)
  cut("nextn_predict_layers", function(n) return model.n_layers - n end, function() return model.n_layers end)
  return edits
end

--- What pruning layers does to the metadata: arrays with one value a layer lose
-- those of the layers that go, counts of layers shrink. Types stay.
---@param model wane.ModelDesc
---@param prune integer[]  layers, sorted
---@param g userdata
---@param get fun(key: string): any
---@return table[] edits  { key =, type =, value =, elem = }
function M.by_layer(model, prune, g, get)
  local edits, gone = {}, {}
  for _, layer in ipairs(prune) do gone[layer] = true end
  for i = 1, g:info().n_kv do
    local key, kind, elem, n = g:key(i)
    if kind == "array" and is_by_layer(key, elem, n, model) then
      local _, _, values = g:kv(i)
      local kept = {}
      for layer = 0, n - 1 do
        if not gone[layer] then kept[#kept + 1] = values[layer + 1] end
      end
      edits[#edits + 1] = { key = key, type = "array", elem = elem, value = kept }
    end
  end
  for _, e in ipairs(counted(model, prune, get)) do
    e.type = select(2, g:key(g:find_kv(e.key)))
    edits[#edits + 1] = e
  end
  return edits
end

return M
