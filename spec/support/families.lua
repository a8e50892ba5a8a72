--- Reading the conformance data of families/, and how far from the peer's
--- numbers ours may be.
--
-- The peer rounds in places where we do not (activations of F16 matrices to
-- half, those of quantized ones to 8 bits in other blocks), so tolerances are
-- what it differs from itself by on other processors, rounded up: F32 2e-4,
-- with GELU (through halves in the peer) 1e-2, F16 0.06. Quantized files come
-- with two references: a row must be about as near to one of them as they are
-- to each other over the prompt, which is what one activation costs that is
-- rounded to 8 bits the other way (the peer's processors differ by up to 1.07
-- times that); in a mixture, where a rounding can choose another expert, at
-- that very row, but for one row of twenty, which may be one where ours did.
local M = {}

local support = require "spec.support"
local data = require "spec.support.logits"

M.VOCAB = 288

local GELU = {
  gemma = true, gemma3 = true, starcoder2 = true, phi2 = true, gptneox = true, bert = true, ["nomic-bert-moe"] = true,
  ["jina-bert-v2"] = true, ["jina-bert-v3"] = true, ["modern-bert"] = true, ["gemma-embedding"] = true,
}
local SLACK = 1.25
local F32 = { plain = 2e-4, gelu = 1e-2, gemma4 = 3e-2 }

--- The index, or an empty table where the data is absent.
function M.index()
  local path = "families/index.json"
  if not support.exists(support.shared .. "conformance/" .. path) then return {} end
  return data.json(path)
end

--- Names in order.
function M.names(index)
  local names = {}
  for name in pairs(index) do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- What the peer's activations in halves cost at single rows: with the F16
-- weights of qwen35 written as F32, nothing else changed, the peer differs from
-- its own F16 run by 0.098 and from us by 0.0025 (lfm2: 0.030 and 0.0044);
-- deepseek2's compressed keys carry such an error into every head.
local F16 = { qwen35 = 0.12, deepseek2 = 0.3 }

--- The largest difference that order of operations explains.
function M.tolerance(arch, variant)
  if variant == "F16" then return F16[arch] or 0.06 end
  if variant ~= "F32" then return 0.05 end
  return arch == "gemma4" and F32.gemma4 or GELU[arch] and F32.gelu or F32.plain
end

-- How far a row is from the nearer reference, and these from each other.
local function row_distance(logits, row, refs, i)
  local near = math.huge
  for _, ref in ipairs(refs) do near = math.min(near, data.row_diff(logits, row, ref, i, M.VOCAB)) end
  return near, refs[2] and data.row_diff(refs[1], i, refs[2], i, M.VOCAB) or 0
end

-- The most that the peer's processors differed by on a prompt (with a cache
-- of halves they differ more: that is not ours to do).
local function peer_spread(p)
  local worst = 0
  for cpu, d in pairs(p.other_cpu_max_abs_diff or {}) do
    if not cpu:find "f16_kv" then worst = math.max(worst, d) end
  end
  return worst
end

--- Compares all rows of a prompt; returns the largest difference, and a
--- message when one is too large. `mixture`: rows are judged one by one.
function M.compare(folder, p, logits, max, mixture)
  local refs = { data.rows(folder .. p.logits_file, M.VOCAB) }
  if p.dequantized_weights_logits_file then
    refs[2] = data.rows(folder .. p.dequantized_weights_logits_file, M.VOCAB)
    if not mixture then max = math.max(max, SLACK * p.dequantized_weights_max_abs_diff) end
  else
    max = math.max(max, 2 * peer_spread(p))
  end
  local all = p.positions == "all"
  local n = all and #p.tokens or #p.positions
  local worst, bad, odd = 0, nil, mixture and refs[2] and math.floor(n / 20) or 0
  for i = 1, n do
    local row = all and i or p.positions[i] + 1
    local d, apart = row_distance(logits, row, refs, i)
    local most = math.max(max, mixture and SLACK * apart or 0)
    worst = math.max(worst, d)
    if d > most and odd > 0 and d <= SLACK * p.dequantized_weights_max_abs_diff then
      odd = odd - 1
    elseif (d > most or d ~= d) and not bad then
      bad = ("row %d of %d tokens differs by %g, want at most %g"):format(row, #p.tokens, d, most)
    end
  end
  return worst, bad
end

return M
