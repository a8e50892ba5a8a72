-- A sweep over recipes and formats with a report page, no file of a model
-- written: lua examples/sweep.lua [report.html]
local wane = require "wane"

local SOURCE = "examples/models/demo-f16.gguf"
local REPORT = arg and arg[1] or "build/sweep.html"

local f = assert(io.open("examples/text/heldout.txt", "rb"))
local text = f:read "*a"
f:close()

local comparison = assert(wane.eval.compare {
  reference = SOURCE,
  candidates = {
    "Q8_0", "Q5_K_M", "Q4_K_M", "Q3_K_M",
    -- a recipe of one's own: cheap, but careful at both ends of the model
    { name = "careful", recipe = wane.recipe "Q3_K_M":layers(0, 0, "q5_K"):layers(7, 7, "q5_K") },
  },
  text = text,
  chunks = 2,
  heat = { context = 64 },
})

print(comparison)
print "\nNothing beats these in both size and divergence:"
for _, row in ipairs(comparison:pareto()) do
  print(("  %-10s %5.2f bits per weight, KLD %.5f +/- %.5f"):format(row.name, row.bpw, row.kld, row.kld_err))
end

os.execute "mkdir -p build"
assert(comparison:save(REPORT))
print("\nreport: " .. REPORT)
