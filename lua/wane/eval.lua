--- Judging models: how well they predict a text, how far a shrunk model has
--- moved from the one it was made from, what it still can do.
---
---     wane.eval.perplexity(model, text [, opts])
---     wane.eval.divergence(reference, { candidate, ... }, text [, opts])
---     wane.eval.compare { reference =, candidates = {...}, text =, tasks = {...} }
---     wane.eval.shrink(path, recipe_or_format [, opts])   a model in memory, no file
---     wane.eval.tasks                                     what a model can do
---
--- Parts load when first used.
---@class wane.eval
---@field perplexity fun(model: wane.Model, text: string|integer[], opts?: table): wane.Perplexity?, string?, string?
---@field divergence fun(reference: wane.Model, candidates: wane.Model[], text: string|integer[], opts?: table): wane.Divergence[]?, string?, string?
---@field compare fun(opts: wane.CompareOptions): wane.Comparison?, string?, string?
---@field shrink fun(path: string, what: any, opts?: table): wane.Model?, string?, string?
---@field heat fun(path: string, what: any, text: string, opts?: table): table?, string?, string?
---@field tasks table
local M = {}

--- What quantizing each tensor alone costs; see wane.search.
---
---     local s = assert(wane.eval.sensitivity(model, text, { types = { "q4_K", "q8_0" }, context = 64, chunks = 1 }))
---     print(s:table())
---@error as wane.eval.sensitivity.measure, which it is
function M.sensitivity(...) return require("wane.search").sensitivity(...) end

--- Parts: each is a module of the same name under wane.eval.
local parts = { perplexity = true, divergence = true, compare = true, shrink = true, heat = true, tasks = true }

return setmetatable(M, {
  __index = function(t, name)
    if not parts[name] then return nil end
    local part = require("wane.eval." .. name)
    rawset(t, name, part)
    return part
  end,
})
