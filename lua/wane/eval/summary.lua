--- What a divergence tells of the numbers of its positions (wane.eval.divergence).
---
--- Sums run over positions in the order of the text: lists of several machines,
--- put together in that order, give the same bits as one machine's.
local M = {}

local stats = require "wane.stats"

--- Lists of a candidate, one number a scored position, beside `target`.
M.FIELDS = { "nll_p", "nll_q", "kld", "p_diff", "top_p", "top_q" }

--- The summary of lists.
---@param d table<string, number[]>
---@return wane.Divergence
function M.of(d)
  local kld, dp2, same, change = stats.of(d.kld), {}, {}, {}
  for i = 1, #d.kld do
    dp2[i] = d.p_diff[i] ^ 2
    same[i] = d.top_p[i] == d.top_q[i] and 1 or 0
    change[i] = d.nll_q[i] - d.nll_p[i]
  end
  local p, q, s, square = stats.of(d.nll_p), stats.of(d.nll_q), stats.of(same), stats.of(dp2)
  local log_ratio = stats.of(change)
  local rms = math.sqrt(square.mean)
  return {
    perplexity = math.exp(q.mean),
    perplexity_err = math.exp(q.mean) * q.err,
    reference_perplexity = math.exp(p.mean),
    reference_perplexity_err = math.exp(p.mean) * p.err,
    ratio = math.exp(log_ratio.mean),
    ratio_err = math.exp(log_ratio.mean) * log_ratio.err,
    kld = kld,
    kld_quantile = stats.quantiles(d.kld),
    same_top = s.mean,
    same_top_err = s.err,
    rms_dp = rms,
    rms_dp_err = rms > 0 and square.err / (2 * rms) or 0,
    tokens = #d.kld,
  }
end

return M
