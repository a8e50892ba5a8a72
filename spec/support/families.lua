--- Reading the conformance data of families/, and how far from the peer's
--- numbers ours may be.
--
-- The peer rounds in places where we do not (activations of F16 matrices to
-- half, those of quantized ones to 8 bits in other blocks), so tolerances are
-- what it differs from itself by on other processors, rounded up: F32 2e-4,
-- with GELU (through halves in the peer) 1e-2, F16 0.06. Quantized files come
-- with two references, and a row must be near one of them. A rounding can
-- choose another expert in a mixture: a row may then differ as much as the
-- references of that row do, and where a variant has one reference, as much
-- as the peer's own processors did.
local M = {}

local support = require "spec.support"
local data = require "spec.support.logits"

M.VOCAB = 288

local GELU = {
  gemma = true, gemma3 = true, starcoder2 = true, phi2 = true, gptneox = true, bert = true, ["nomic-bert-moe"] = true,
  ["jina-bert-v2"] = true, ["jina-bert-v3"] = true, ["modern-bert"] = true, ["gemma-embedding"] = true,
}
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

--- The largest difference that order of operations explains.
function M.tolerance(arch, variant)
  if variant == "F16" then return 0.06 end
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
    if not mixture then max = math.max(max, p.dequantized_weights_max_abs_diff) end
  else
    max = math.max(max, 2 * peer_spread(p))
  end
  local all = p.positions == "all"
  local worst, bad = 0, nil
  for i = 1, all and #p.tokens or #p.positions do
    local row = all and i or p.positions[i] + 1
    local d, apart = row_distance(logits, row, refs, i)
    local most = math.max(max, mixture and apart or 0)
    worst = math.max(worst, d)
    if (d > most or d ~= d) and not bad then
      bad = ("row %d of %d tokens differs by %g, want at most %g"):format(row, #p.tokens, d, most)
    end
  end
  return worst, bad
end

return M
