-- Which tensor deserves how many bits? `lua examples/sensitivity.lua` measures
-- it on the demo model, prints the best mixes from 2.5 to 6 bits per weight,
-- and the tensors that matter most.
local wane = require "wane"

local function read(path)
  local f = assert(io.open(path, "rb"))
  local s = f:read "*a"
  f:close()
  return s
end

local m = assert(wane.load("examples/models/demo-f16.gguf", { context = 512 }))
local text = read "examples/text/calib.txt"
local s = assert(wane.eval.sensitivity(m, text, {
  types = { "iq2_xs", "q3_K", "iq4_xs", "q5_K", "q6_K" }, chunks = 1, error_chunks = 4, rows = 16, rebuild = false,
}))
print(("%d choices; rank correlation of the cheap proxy with the measured loss: %.2f"):format(#s.rows, s.correlation))
for _, bpw in ipairs { 2.5, 3, 3.5, 4.25, 5, 6 } do
  local plan, why = wane.recipe.solve { table = s, bpw = bpw }
  print(plan and ("%.2f bits per weight: estimated loss %.4f"):format(plan.bpw, plan.kld) or why)
end

local measured = {}
for _, r in ipairs(s.rows) do
  if r.measured then measured[#measured + 1] = r end
end
table.sort(measured, function(a, b) return a.kld > b.kld end)
print "tensors that lose most:"
for i = 1, 5 do print(("  %-28s %s  %.5f +- %.5f"):format(measured[i].tensor, measured[i].type, measured[i].kld, measured[i].kld_err)) end
m:close()
