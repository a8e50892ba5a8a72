--- `wane perplexity MODEL TEXT`: how well a model predicts a text.
local M = { summary = "measure the perplexity of a model on a text" }

function M.describe(p)
  p:argument("model", "GGUF file"):as "model"
  p:argument("text", "text file, UTF-8"):as "file"
  p:option("-c --context", "tokens per chunk"):convert(tonumber):default "512"
  p:option("--chunks", "most chunks to score (default: all)"):convert(tonumber)
  p:option("-t --threads", "threads (default: all cores)"):convert(tonumber)
end

function M.run(args, out)
  local wane = require "wane"
  local report = require "wane.report"
  local text, message = require("wane.cli.read").text(args.text)
  if not text then return nil, message end
  local model, why = wane.load(args.model, { threads = args.threads })
  if not model then return nil, why end
  local r, failed = wane.eval.perplexity(model, text, {
    context = args.context,
    chunks = args.chunks,
    threads = args.threads,
    progress = function(p)
      out.progress { done = p.done / p.total, n = p.done, unit = "chunks", text = ("chunk %d of %d, %.4f"):format(p.done, p.total, p.perplexity) }
    end,
  })
  model:close()
  if not r then return nil, failed end
  out.progress(nil)
  if args.json then
    out.print(report.json {
      perplexity = r.perplexity, err = r.err, nll = r.nll, tokens = r.tokens,
      chunks = r.chunks, seconds = r.seconds,
    })
  else
    out.print(("perplexity %.4f +/- %.4f  (%d tokens scored in %d chunks of %d, %.0f tokens/s)"):format(
      r.perplexity, r.err, r.tokens, r.chunks, args.context, r.tokens_per_second))
  end
  return true
end

return M
