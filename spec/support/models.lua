--- Helpers of the quantizing specs: models of sources.json as descriptions,
-- hashes of files, scratch folders.
local M = {}

local core = require "wane.core"
local describe = require "wane.recipe.describe"
local types = require "wane.recipe.types"

--- A description as the planner wants it, without any file.
function M.describe(model, opts)
  local kv, tensors = {}, {}
  for _, e in ipairs(model.kv) do kv[e[1]] = e[3] end
  for i, t in ipairs(model.tensors) do
    tensors[i] = { name = t[1], shape = t[2], type = types.of_id(t[3]).name }
  end
  return assert(describe.model({ get = function(k) return kv[k] end, tensors = tensors }, opts))
end

--- What the planner asks of an importance matrix: widths only.
function M.importance_widths(model)
  local width = {}
  for _, t in ipairs(model.tensors) do
    local name, ne = t[1], t[2]
    if name:find "^blk%." and name:find "%.weight$" and #ne > 1 and not name:find "_norm"
      and not name:find "ffn_gate_inp" then
      width[name] = ne[1] * (ne[3] or 1)
    end
  end
  return { width = function(_, name) return width[name] end }
end

--- SHA-256 of a file, read in pieces.
function M.sha256(path)
  return assert(require("wane.provenance").file_sha256(path))
end

--- SHA-256 of a string.
function M.sha256_of(bytes)
  return core.stream.sha256_hex(core.stream.sha256(nil, bytes))
end

--- The options of the runs that conformance/files/llama-8L-gqa4.json calls
-- "params", by their names there.
M.params = {
  ["Q4_K_M pure"] = { pure = true },
  ["Q4_K_M quantize_output_tensor=false"] = { leave_output_tensor = true },
  ["Q4_K_M output_tensor_type=q8_0"] = { output_tensor_type = "q8_0" },
  ["Q4_K_M token_embedding_type=q5_K"] = { token_embedding_type = "q5_K" },
  ["Q4_K_M tensor types attn_v=q8_0, blk\\.[0-2]\\.ffn_down=q6_K"] = {
    tensor_types = { { "attn_v", "q8_0" }, { "blk\\.[0-2]\\.ffn_down", "q6_K" } },
  },
  ["IQ2_XXS pure + imatrix"] = { pure = true, dry_run = true, with_imatrix = true },
  ["only_copy"] = { only_copy = true },
  ["Q4_K_M prune_layers 2,5"] = { prune_layers = { 2, 5 } },
  ["Q4_K_M from the Q8_0 file, allow_requantize=false"] = { from_q8_0 = true },
  ["Q4_K_M from the Q8_0 file, allow_requantize=true"] = { from_q8_0 = true, allow_requantize = true },
}

--- The sentence of llama.cpp that an error of ours must contain.
function M.essence(errors)
  local text = errors[#errors]
  return text:match "requires an imatrix!" or text:match "invalid output file type 39"
    or text:match "no tensor type fallback is defined for type [%w_]+"
    or text:match "requantizing from type [%w_]+ is disabled"
    or error("no known error in " .. text)
end

return M
