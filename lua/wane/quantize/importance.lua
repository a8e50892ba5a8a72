--- The importance matrix of a run: opened, checked, fitted to the names of the
-- model, and what must be said about it.
local account = require "wane.recipe.account"
local imatrix = require "wane.imatrix"
local options = require "wane.options"

local M = {}

--- Rows below which the importance of an expert is noise.
M.FEW = 64

-- Matrices that meet the same input under other names: what one file calls
-- gate_up, another has as gate and up. Any of a row stands for any other.
local same_input = {
  { "ffn_gate_up_exps", "ffn_up_exps", "ffn_gate_exps" },
  { "ffn_gate_up_shexp", "ffn_up_shexp", "ffn_gate_shexp" },
  { "ffn_gate_up", "ffn_up", "ffn_gate" },
  { "attn_qkv", "attn_q", "attn_k", "attn_v" },
}

local relatives = {}
for _, row in ipairs(same_input) do
  for _, name in ipairs(row) do relatives[name] = row end
end

-- The entry of another name that a tensor may use: of the same width.
local function stand_in(im, t)
  local before, part, after = t.source_name:match "^(.*%.)([%w_]+)(%.weight)$"
  for _, other in ipairs(relatives[part] or {}) do
    local name = before .. other .. after
    if other ~= part and im:width(name) == t.n_cols * (t.shape[3] or 1) then return name end
  end
end

-- Tensor -> entry for those that have none of their own name.
local function stand_ins(im, model)
  local map, list = {}, {}
  for _, t in ipairs(model.tensors) do
    if t.quantizable and not im:width(t.source_name) then
      local name = stand_in(im, t)
      if name then
        map[t.source_name] = name
        list[#list + 1] = ("%s from %s"):format(t.source_name, name)
      end
    end
  end
  return map, list
end

local function opened(im)
  if type(im) == "string" then return imatrix.open(im) end
  if imatrix.is(im) then return im end
  if type(im) == "table" then return imatrix.new(im) end
  options.fail("quantize", "imatrix", "a file, an importance matrix, or values by tensor name", im)
end

-- The names of option include or exclude that nothing matches.
local function idle_parts(im, parts)
  local idle = {}
  for _, part in ipairs(parts) do
    if im:unmatched { part } then idle[#idle + 1] = part end
  end
  return idle
end

--- Opens option `imatrix` into the state: imatrix, owned_imatrix (to be
-- closed), imatrix_digest, unused_experts, and notes (warnings).
---@return true?
---@return string? message
---@return string? code
function M.open(o, state)
  if o.imatrix == nil then return true end
  local im, msg, code = opened(o.imatrix)
  if not im then return nil, msg, code end
  if type(o.imatrix) == "string" then state.owned_imatrix = im end
  local whole = im
  local parts = o.include or o.exclude
  if parts then
    local idle = idle_parts(im, parts)
    if #idle > 0 then
      return nil, ("%s: '%s' matches no tensor of the imatrix"):format(o.include and "include" or "exclude",
        table.concat(idle, "', '")), "EFORMAT"
    end
    im = im:filter(o.include, o.exclude)
  end
  local map, list = stand_ins(im, state.model)
  if #list > 0 then im = im:also(map) end
  local digest, unused = im:check()
  if not digest then return nil, unused, "EFORMAT" end
  state.imatrix, state.imatrix_whole, state.imatrix_digest, state.unused_experts = im, whole, digest, unused
  state.notes = {}
  if #list > 0 then
    state.notes[1] = ("%d tensors use the importance of others with the same input: %s"):format(#list, table.concat(list, ", "))
  end
  return true
end

--- Packed values for a planned tensor; experts that nobody used have ones, also
-- those of legacy files, which say it by zeros.
function M.values(state, d)
  return state.imatrix:values(d.source_name, d.shape[3] or 1)
end

-- Experts without data: how many of how many, over the planned tensors.
local function unseen(state, plan)
  local names, n, all = {}, 0, 0
  for _, d in ipairs(plan.tensors) do
    local experts = d.shape[3] or 1
    if d.importance and experts > 1 then
      local count = state.imatrix:unseen(d.source_name, experts) or 0
      if count > 0 then
        names[#names + 1] = d.source_name
        n, all = n + count, all + experts
      end
    end
  end
  return names, n, all
end

-- Experts that saw a few rows only.
local function rarely_seen(state, plan)
  local names, n, least = {}, 0, math.huge
  for _, d in ipairs(plan.tensors) do
    local counts = d.importance and (d.shape[3] or 1) > 1 and state.imatrix:counts(d.source_name) or {}
    local here = 0
    for _, c in ipairs(#counts > 1 and counts or {}) do
      if c > 0 and c < M.FEW then here, least = here + 1, math.min(least, c) end
    end
    if here > 0 then names[#names + 1], n = d.source_name, n + here end
  end
  return names, n, least
end

-- Does any tensor of the plan have a use for importance?
local function is_used(plan)
  local types = require "wane.recipe.types"
  for _, d in ipairs(plan.tensors) do
    if d.from ~= d.to and types.find(d.to).uses_importance then return true end
  end
  return false
end

--- Adds what must be said about the matrix to the warnings of a plan.
---@param state table
---@param plan wane.Plan
function M.warn(state, plan)
  local function warn(fmt, ...) plan.warnings[#plan.warnings + 1] = fmt:format(...) end
  for _, note in ipairs(state.notes) do plan.warnings[#plan.warnings + 1] = note end
  local names, n, all = unseen(state, plan)
  if n > 0 then
    warn("%d of %d experts were never seen by the imatrix, their importance is 1 everywhere: %s", n, all,
      account.names(names))
  end
  local least
  names, n, least = rarely_seen(state, plan)
  if n > 0 then
    warn("%d experts were seen by fewer than %d tokens (the fewest: %d), calibrate with more text: %s", n, M.FEW, least,
      account.names(names))
  end
  if not is_used(plan) then warn "the imatrix is given and no chosen type uses importance" end
end

--- Keys by which llama-quantize records the matrix it used.
---@return table[] edits
function M.recorded(o, state)
  local im, list = state.imatrix_whole, {}
  local path = type(o.imatrix) == "string" and o.imatrix or im.path
  if path then list[1] = { key = "quantize.imatrix.file", type = "string", value = path } end
  if im.datasets[1] then
    list[#list + 1] = { key = "quantize.imatrix.dataset", type = "string", value = im.datasets[1] }
  end
  list[#list + 1] = { key = "quantize.imatrix.entries_count", type = "u32", value = #im:names() }
  if im.chunks > 0 then list[#list + 1] = { key = "quantize.imatrix.chunks_count", type = "u32", value = im.chunks } end
  return list
end

return M
