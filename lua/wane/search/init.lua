--- Which tensor deserves how many bits: measuring what each choice costs, and
--- spending a budget where it pays.
---
---     local table = assert(wane.eval.sensitivity(m, text))
---     print(table)
---     local plan = assert(wane.recipe.solve { table = table, bpw = 4.25 })
---     print(plan)                      -- and plan.recipe is a recipe
local M = {}

M.sensitivity = require("wane.search.sensitivity").measure
M.rates = require("wane.search.rates").measure
M.solve = require("wane.search.solve").solve
M.front = require("wane.search.solve").front

return M
