--- How fast a model reads and writes, and what memory it takes meanwhile.
local core = require "wane.core"

local M = {}

local PROMPT, DECODE = 256, 32

-- Seconds of the best of a few runs of f: noise only ever adds.
local function best_of(n, f)
  local best = math.huge
  for _ = 1, n do
    local start = core.now()
    local ok, message, code = f()
    if not ok then return nil, message, code end
    best = math.min(best, core.now() - start)
  end
  return best
end

---@class wane.Speed
---@field prompt number        tokens a second, many at a time
---@field decode number        tokens a second, one at a time
---@field context_bytes integer  cache and buffers of the context used

--- Measures a model on some token ids.
---@param model wane.Model
---@param ids integer[]
---@param opts { context?: integer, threads?: integer, repeats?: integer }
---@return wane.Speed|nil
---@return string? message
---@return string? code
function M.measure(model, ids, opts)
  local ctx, message, code = model:context { context = opts.context, threads = opts.threads }
  if not ctx then return nil, message, code end
  local info = ctx:info()
  local n = math.min(PROMPT, #ids, info.n_batch, info.n_ctx - DECODE)
  local piece = {}
  for i = 1, n do piece[i] = ids[i] end
  local prompt, decode
  prompt, message, code = best_of(opts.repeats or 2, function()
    ctx:truncate(0)
    return ctx:step(piece, { want = "last" })
  end)
  if prompt then
    decode, message, code = best_of(opts.repeats or 2, function()
      ctx:truncate(n)
      for i = 1, DECODE do
        local ok, why, kind = ctx:step { piece[(i - 1) % n + 1] }
        if not ok then return nil, why, kind end
      end
      return true
    end)
  end
  ctx:close()
  if not decode then return nil, message, code end
  return { prompt = n / prompt, decode = DECODE / decode, context_bytes = info.bytes }
end

return M
