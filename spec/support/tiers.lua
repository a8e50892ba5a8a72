--- Blocks made and read under a chosen instruction set.
local core = require "wane.core"

local M = { best = core.cpu().best }

--- The fast tiers of this machine.
function M.fast()
  local list = {}
  for _, isa in ipairs { "avx2", "avx512" } do
    if core.set_isa(isa) then list[#list + 1] = isa end
  end
  core.set_isa(M.best)
  return list
end

--- Bytes of `values` as blocks, encoded under tier `isa`.
function M.encode(isa, type_name, values, importance)
  assert(core.set_isa(isa))
  return assert(core.quant.encode(type_name, values, importance)):bytes()
end

--- The values of blocks, decoded under tier `isa`.
function M.decode(isa, type_name, bytes, n_rows, n_cols)
  assert(core.set_isa(isa))
  return core.quant.blocks(type_name, bytes, n_rows, n_cols):decode()
end

--- Bytes of decoded floats, with every NaN written alike.
function M.float_bytes(b)
  local out = {}
  for i = 1, #b do
    out[i] = b[i] ~= b[i] and "nan" or ("%a"):format(b[i])
  end
  return table.concat(out, " ")
end

return M
