--- The bytes of every format against llama.cpp's own encoder, on fresh random
--- input of many distributions, for every instruction set of this machine.
if not (jit and os.getenv "WANE_PEER") then return end
local ffi = require "ffi"
local core = require "wane.core"
local peer = require "spec.support.peer"
local rows = require "spec.support.rows"
local support = require "spec.support"

local seed = tonumber(os.getenv "WANE_SEED") or os.time()
local N_ROWS, N_COLS = 4, 768

local function cdata(list)
  local c = ffi.new("float[?]", #list)
  for i, v in ipairs(list) do
    c[i - 1] = v
  end
  return c
end

describe("peer: bytes of the block formats (seed " .. seed .. ")", function()
  support.check_leaks()
  local best = core.cpu().best
  after_each(function() core.set_isa(best) end)

  for _, t in ipairs(core.quant.types()) do
    if t.encodable and t.class ~= "act" then
      it(t.name .. " equals llama.cpp", function()
        for k, kind in ipairs(rows.kinds) do
          local list = rows.make(kind, seed + k, N_ROWS, N_COLS)
          local src = cdata(list)
          local buffer = core.quant.buffer(N_ROWS, N_COLS, list)
          for m, imp in ipairs(rows.importances) do
            local weights = imp[2] and rows.make(imp, seed + 100 * m, 1, N_COLS)
            if (weights or not t.needs_importance) and (not weights or t.uses_importance or m == 2) then
              local n = N_ROWS * N_COLS / t.block * t.bytes
              local want = peer.quantize_chunk(t.id, src, N_ROWS, N_COLS, weights and cdata(weights) or nil, n)
              for _, isa in ipairs { "ref", "avx2", "avx512" } do
                if core.set_isa(isa) then
                  local imp_buffer = weights and core.quant.buffer(1, N_COLS, weights)
                  local blocks = assert(core.quant.encode(t.name, buffer, imp_buffer))
                  local got = blocks:bytes()
                  assert(got == want, ("%s, %s, importance %s: bytes differ"):format(isa, kind[1], imp[1]))
                end
              end
            end
          end
        end
      end)
    end
  end
end)
