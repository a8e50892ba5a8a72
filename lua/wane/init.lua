--- wane: load, shrink, judge and run GGUF language models from Lua.
---
---     local wane = require "wane"
---     local m = assert(wane.load "model.gguf")
---     for text in m:generate "Once upon a time" do io.write(text) end
---
--- Modules load when first used: `wane.quant`, `wane.eval`, ... What the world
--- does wrong (files, disks) comes back as nil, message, code; misuse raises.
---@class wane
---@field gguf table        wane.gguf: files
---@field quant table       wane.quant: block formats
---@field recipe table|fun(...): table   wane.recipe: which type for which tensor
---@field quantize fun(opts: table): table?, string?, string?
---@field eval table        wane.eval: perplexity and divergence
---@field imatrix table     wane.imatrix: importance matrices
---@field lora table        wane.lora: adapters
---@field calibrate table   wane.calibrate: importance, correlations, GPTQ and AWQ
---@field fit table|fun(opts: wane.FitOptions): wane.Fit?, string?, string?   wane.fit: what a model takes
---@field explain fun(what: string, file?: any): wane.Explanation?, string?, string?
---@field vocab table       wane.vocab: tokenizers
---@field report table      wane.report: tables
---@field verify fun(path: string, opts: table): table?, string?, string?
---@field load fun(path: string, opts?: table): wane.Model?, string?, string?
---@field sample table      wane.sample: samplers to use by hand
---@field grammar table     wane.grammar: GBNF
---@field schema table      wane.schema: JSON schemas as grammars
---@field template table    wane.template: chat templates
---@field answer table      wane.answer: reasoning and tool calls read back
---@field json table        wane.json
---@field arch table        wane.arch: architectures, and adding one
---@field demo fun(): string?, string, string?   a model's path and a text to try things on
local wane = { version = "0.2.0" }

require "wane.native" -- the C half, or an error that says why it is not to be had

--- name -> module, and the field of it that `wane.name` is
local parts = {
  gguf = { "wane.gguf" },
  quant = { "wane.quant" },
  recipe = { "wane.recipe" },
  imatrix = { "wane.imatrix" },
  eval = { "wane.eval" },
  calibrate = { "wane.calibrate" },
  fit = { "wane.fit" },
  explain = { "wane.explain" },
  vocab = { "wane.vocab" },
  report = { "wane.report" },
  quantize = { "wane.quantize" },
  convert = { "wane.convert" },
  lora = { "wane.lora" },
  tune = { "wane.tune" },
  verify = { "wane.provenance", "verify" },
  load = { "wane.model", "load" },
  demo = { "wane.demo" },
  sample = { "wane.sample" },
  grammar = { "wane.grammar" },
  schema = { "wane.schema" },
  template = { "wane.template" },
  answer = { "wane.answer" },
  json = { "wane.json" },
  arch = { "wane.arch" },
}

--- The limits on what comes from outside (HARDENING): name -> number.
---
---     print(wane.limits().MAX_KEYS)
---@return table<string, integer>
---@error none
function wane.limits() return require("wane.core").limits() end

--- The machine: instruction sets in force and available, name, threads.
---
---     print(wane.cpu().name, wane.cpu().isa, wane.cpu().threads)
---@return table
---@error none
function wane.cpu() return require("wane.core").cpu() end

--- Live memory of the library, by owner.
---
---     print(wane.memory().bytes, wane.memory().peak_bytes)
---@return table
---@error none
function wane.memory() return require("wane.core").memory() end

--- Starts a new measurement of the peak that wane.memory() reports.
---
---     wane.reset_peak()
---     wane.load(path):close()
---     print(wane.memory().peak_bytes)
---@error none
function wane.reset_peak() require("wane.core").reset_peak() end

-- Recipes know nothing of the search that makes them: it is joined to them here.
local function with_search(recipe)
  recipe.solve = recipe.solve or function(o) return require("wane.search").solve(o) end
  recipe.rates = recipe.rates or function(...) return require("wane.search").rates(...) end
  recipe.front = recipe.front or function(o) return require("wane.search").front(o) end
  return recipe
end

return setmetatable(wane, {
  __index = function(t, name)
    local part = parts[name]
    if not part then return nil end
    local value = require(part[1])
    if part[2] then value = value[part[2]] end
    if name == "recipe" then value = with_search(value) end
    rawset(t, name, value)
    return value
  end,
  __tostring = function(t) return "wane " .. t.version end,
})
