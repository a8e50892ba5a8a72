--- Rows of every block format and the types that mixes choose, as llama.cpp's
--- library writes them: spec/golden/blocks.txt. Lines:
---
---     block TYPE WEIGHTS HEX      2 rows of 256 (rows()); WEIGHTS: none or given (weights())
---     mix NAME TYPE N TYPE N ...  runs of equal types, tensors of the demo model in its order
local M = {}

M.PATH = "spec/golden/blocks.txt"
M.DEMO = "examples/models/demo-f16.gguf"
M.ROWS, M.COLS = 2, 256

-- Park and Miller's generator, as a bell of four draws.
local function bells(n, seed, value)
  local t, x = {}, seed
  local function draw()
    x = x * 16807 % 2147483647
    return x / 2147483647 - 0.5
  end
  for i = 1, n do t[i] = value(draw() + draw() + draw() + draw(), i) end
  return t
end

--- The values, row after row: a bell with one outlier in 97.
function M.rows()
  return bells(M.ROWS * M.COLS, 4711, function(v, i) return v * (i % 97 == 0 and 0.5 or 0.04) end)
end

--- The weight of each column.
function M.weights()
  return bells(M.COLS, 1234, function(v) return v * v + 0.01 end)
end

function M.hex(bytes) return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end

--- Types in runs: "q4_K 3 f32 1".
function M.runs(types)
  local out, n = {}, 0
  for i, t in ipairs(types) do
    n = n + 1
    if types[i + 1] ~= t then
      out[#out + 1] = t .. " " .. n
      n = 0
    end
  end
  return table.concat(out, " ")
end

--- Lists of { "block", type, weights, hex } and { "mix", name, runs }.
function M.read()
  local blocks, mixes = {}, {}
  for line in io.lines(M.PATH) do
    local kind, rest = line:match "^(%a+) (.*)$"
    if kind == "block" then
      local t, w, hex = rest:match "^(%S+) (%S+) (%x+)$"
      blocks[#blocks + 1] = { t, w, hex }
    else
      local name, runs = rest:match "^(%S+) (.*)$"
      mixes[#mixes + 1] = { name, runs }
    end
  end
  return blocks, mixes
end

return M
