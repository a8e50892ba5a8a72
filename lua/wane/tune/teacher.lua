--- A model whose predictions another one is taught.
local M = {}

--- The divergence of a trainer's model from `reference` as a loss of
--- wane.tune.loop. The logits of the reference are made anew for each sequence:
--- those of a whole text would be larger than the model.
---@param reference wane.Model
---@param o { context: integer, threads: integer? }
---@return { loss: function, close: fun() }|nil
---@return string? message
---@return string? code
function M.new(reference, o)
  local ctx, message, code = reference:context { context = o.context, outputs = o.context, batch = o.context, threads = o.threads }
  if not ctx then return nil, message, code end
  return {
    close = function() ctx:close() end,
    loss = function(t, s, scale)
      local ok, why, kind = ctx:truncate(0)
      if not ok then return nil, why, kind end
      local all
      all, why, kind = ctx:eval(s.ids, { all = true })
      if not all then return nil, why, kind end
      local wanted = all:rows(s.want[1], s.want[#s.want])
      local sum
      sum, why, kind = t:kl(wanted, scale)
      wanted:close()
      all:close()
      return sum, why, kind
    end,
  }
end

return M
