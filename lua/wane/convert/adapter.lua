--- LoRA adapters of PEFT (adapter_config.json, adapter_model.safetensors) to the
--- adapters of lora.lua.
---
--- An adapted matrix W gains s B A, A with `rank` rows and B with `rank` columns.
--- A family's page changes the order of W's rows: B's rows follow it, as do A's
--- columns where it changes columns. The source of rows that a page sees is B's,
--- with A's as its field `a` (rows.lua).
---
--- GGUF keeps one alpha and scales by alpha / rank. PEFT's scale may be
--- alpha / sqrt(rank) (use_rslora), and ranks and alphas may differ by module
--- (rank_pattern, alpha_pattern): the alpha that is written is right for the
--- first pair, and B is multiplied where another needs another. fan_in_fan_out
--- says how the base stores its matrix, not the adapter: nothing to do.
local M = {}

local file = require "wane.file"
local names = require "wane.convert.names"
local planner = require "wane.convert.plan"
local rows = require "wane.convert.rows"
local safetensors = require "wane.convert.safetensors"
local vocabulary = require "wane.convert.vocab"

local fail = rows.fail

--- Is the directory an adapter's?
---@param dir string
---@return boolean
function M.is(dir) return file.kind(dir .. "/adapter_config.json") ~= nil end

-- Names of PEFT: base_model.model.MODULE.lora_A[.ADAPTER].weight.
local function parse(name)
  local module, half = name:match "^base_model%.model%.(.+)%.lora_([AB])%.weight$"
  if not module then module, half = name:match "^base_model%.model%.(.+)%.lora_([AB])%.[%w_%-]+%.weight$" end
  return module, half and half:lower()
end

-- What an adapter may hold that GGUF has no place for.
local function refuse(name)
  if name:find "lora_embedding_" then fail(("tensor %s: adapters of embeddings are not supported"):format(name), "EUNSUP") end
  if name:find "lora_magnitude_vector" then fail(("tensor %s: DoRA is not supported"):format(name), "EUNSUP") end
  fail(("tensor %s is no half of an adapter (trained whole? modules_to_save is not supported)"):format(name), "EUNSUP")
end

-- The pairs of the file by module, and the modules in order.
local function read_pairs(checkpoint)
  local found, order = {}, {}
  for _, name in ipairs(checkpoint.names) do
    local module, half = parse(name)
    if not module then refuse(name) end
    if not found[module] then found[module], order[#order + 1] = {}, module end
    if found[module][half] then fail(("tensor %s is there twice"):format(name)) end
    found[module][half] = checkpoint.tensors[name]
  end
  for _, module in ipairs(order) do
    local p = found[module]
    if not (p.a and p.b) then fail(("%s: lora_%s is missing"):format(module, p.a and "B" or "A")) end
    if #p.a.shape ~= 2 or #p.b.shape ~= 2 or p.a.shape[1] ~= p.b.shape[2] or p.a.n == 0 or p.b.n == 0 then
      fail(("%s: lora_A of %s and lora_B of %s make no matrix"):format(module, table.concat(p.a.shape, "x"),
        table.concat(p.b.shape, "x")))
    end
  end
  return found, order
end

-- The value of a pattern for a module: keys are ends of names, or Lua has no say:
-- PEFT takes them as regular expressions; plain names are what files hold.
local function of_pattern(patterns, module, default)
  if type(patterns) ~= "table" then return default end
  local best
  for key in pairs(patterns) do -- the longest that fits
    local ends = module == key or module:sub(-#key - 1) == "." .. key
    if ends and (not best or #key > #best) then best = key end
    if key:find "[%^%$%*%+%?%(%)%[%]\\|]" then
      fail(("adapter_config.json: the pattern %s is not a plain name"):format(key), "EUNSUP")
    end
  end
  return best and patterns[best] or default
end

-- What the product B A of a module is multiplied by.
local function scale_of(config, module, rank)
  local alpha = of_pattern(config.alpha_pattern, module, config.lora_alpha)
  local r = of_pattern(config.rank_pattern, module, config.r)
  if type(alpha) ~= "number" or alpha ~= alpha or alpha == 0 or math.abs(alpha) > 1e6 then
    fail(("adapter_config.json: lora_alpha is %s, want a number other than 0"):format(tostring(alpha)))
  end
  if r ~= nil and r ~= rank then fail(("%s: rank %d, adapter_config.json says %s"):format(module, rank, tostring(r))) end
  return alpha / (config.use_rslora == true and math.sqrt(rank) or rank)
end

-- A buffer times a number, or nothing for 1.
local function times(x)
  if math.abs(x - 1) < 1e-7 then return nil end
  return function(buffer)
    for i = 1, #buffer do buffer[i] = buffer[i] * x end
  end
end

-- The two tensors of one of the page's outputs.
local function halves(t, rank, factor)
  local b, n = t[2], t.matrices
  local a = b and b.a
  if not a or t.f then fail(("%s: this matrix is changed in a way that an adapter cannot follow"):format(t[1]), "EUNSUP") end
  if a.rows ~= rank * (n or 1) then fail(("%s: parts of different adapters are joined"):format(t[1]), "EUNSUP") end
  local function shape(s) return n and { s.cols, s.rows / n, n } or { s.cols, s.rows } end
  return { t[1] .. ".lora_a", a, shape = shape(a), matrices = n },
    { t[1] .. ".lora_b", b, shape = shape(b), matrices = n, f = times(factor) }
end

-- The conversion of the base, with low-rank sources for its matrices.
local function conversion(o, config)
  local base = o.base or config.base_model_name_or_path
  if type(base) ~= "string" or file.kind(base .. "/config.json") ~= "file" then
    fail(("%s: the base model's config.json is needed: give its directory as base"):format(o.from), "ENOENT")
  end
  local c = planner.bare(base)
  c.checkpoint = rows.check(safetensors.open(o.from, "adapter_model.safetensors"))
  return c
end

--- Plans an adapter: metadata and tensors for write.lua.
---@param o { from: string, base: string?, name: string? }
---@return table conversion
function M.plan(o)
  local config = vocabulary.json(o.from, "adapter_config.json")
  if config.peft_type ~= nil and config.peft_type ~= "LORA" then
    fail(("%s/adapter_config.json: adapters of kind %s are not supported"):format(o.from, tostring(config.peft_type)), "EUNSUP")
  end
  if config.use_dora == true then fail(o.from .. "/adapter_config.json: DoRA is not supported", "EUNSUP") end
  local c = conversion(o, config)
  local done, message = pcall(function()
    local found, order = read_pairs(c.checkpoint)
    local by_name, list = {}, {}
    for _, module in ipairs(order) do
      local p, name = found[module], module .. ".weight"
      name = c.family.rename and c.family.rename(name, c.class, c.params) or name
      if names.is_other_sense(name) then fail(module .. ": adapters of images or sound are not supported", "EUNSUP") end
      local b = rows.of(c.checkpoint, p.b)
      b.a, b.name = rows.of(c.checkpoint, p.a), name
      by_name[name] = { source = b, rank = p.a.shape[1], scale = scale_of(config, module, p.a.shape[1]) }
      list[#list + 1] = name
    end
    function c.source(_, name)
      if not by_name[name] then fail(("%s: the other experts' adapters are missing"):format(name)) end
      return by_name[name].source
    end
    if #list == 0 then fail(o.from .. ": an adapter without tensors") end
    local first = by_name[list[1]]
    local alpha = first.scale * first.rank
    c.out = {}
    for _, name in ipairs(list) do
      local layer, rest = name:match "^model%.layers%.(%d+)%.(.+)$"
      local s = by_name[name].source
      for _, t in ipairs(c.family.make and c.family.make(c, name, tonumber(layer), rest, s) or { { c:name(name), s } }) do
        for _, half in ipairs { halves(t, by_name[name].rank, by_name[name].scale * by_name[name].rank / alpha) } do
          c.out[#c.out + 1] = half
        end
      end
    end
    local p = c.params
    p.list, p.index = {}, {}
    p:set("general.architecture", "string", c.family.arch)
    p:set("general.type", "string", "adapter")
    p:set("adapter.type", "string", "lora")
    p:set("general.name", "string", o.name or o.from:gsub("/+$", ""):match "([^/]+)$" or o.from)
    p:number("adapter.lora.alpha", alpha)
    if type(config.alora_invocation_tokens) == "table" then
      p:count("adapter.alora.invocation_tokens", config.alora_invocation_tokens)
    end
  end)
  if not done then
    c.checkpoint:close()
    error(message, 0)
  end
  return c
end

return M
