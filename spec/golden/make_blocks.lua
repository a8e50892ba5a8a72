--- Writes spec/golden/blocks.txt anew, with the peer (see make.lua).
local ffi = require "ffi"
local core = require "wane.core"
local blocks = require "spec.golden.blocks"
local gguf = require "wane.gguf"
local mixes = require "wane.recipe.mixes"
local peer = require "spec.support.peer"

local function cdata(list)
  local c = ffi.new("float[?]", #list)
  for i, v in ipairs(list) do c[i - 1] = v end
  return c
end

local out = {}
local values, weights = cdata(blocks.rows()), cdata(blocks.weights())
for _, t in ipairs(core.quant.types()) do
  local n = blocks.ROWS * blocks.COLS / t.block * t.bytes
  for _, w in ipairs { "none", "given" } do
    local given = w == "given"
    if t.encodable and t.class ~= "act" and (given and t.uses_importance or not given and not t.needs_importance) and n % 1 == 0 then
      local bytes = peer.quantize_chunk(t.id, values, blocks.ROWS, blocks.COLS, given and weights or nil, n)
      out[#out + 1] = ("block %s %s %s"):format(t.name, w, blocks.hex(bytes))
    end
  end
end
for _, name in ipairs(mixes.names) do
  local mix, to = mixes.mixes[name], "build/tmp/golden.gguf"
  if not os.getenv "NO_MIXES" and peer.quantize_file(blocks.DEMO, to, mix.id, { threads = 2 }) == 0 then
    local f, types = assert(gguf.open(to)), {}
    for i, t in ipairs(f.tensors) do types[i] = t.type end
    f:close()
    out[#out + 1] = ("mix %s %s"):format(name, blocks.runs(types))
  else
    io.stderr:write(name, ": refused\n")
  end
end
local f = assert(io.open(blocks.PATH, "w"))
f:write(table.concat(out, "\n"), "\n")
f:close()
