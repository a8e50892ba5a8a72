--- `wane generate MODEL PROMPT`: continues a text.
local M = { summary = "continue a text" }

--- Options of generation, shared with `wane chat`.
function M.sampling(p)
  p:option("-n --max-tokens", "most tokens to generate"):convert(tonumber):default "256"
  p:option("--temperature", "0 is greedy"):convert(tonumber):default "0.8"
  p:option("--top-k", "keep the k most likely tokens (0: all)"):convert(tonumber):default "40"
  p:option("--top-p", "keep the smallest set with this probability"):convert(tonumber):default "0.95"
  p:option("--min-p", "keep tokens with this share of the best one's probability"):convert(tonumber):default "0.05"
  p:option("--repeat-penalty", "above 1 discourages repetition"):convert(tonumber):default "1"
  p:option("--seed", "random seed (default: the time)"):convert(tonumber)
  p:option("-c --context", "tokens of context"):convert(tonumber)
  p:option("-t --threads", "threads (default: all cores)"):convert(tonumber)
end

--- The option table of model:generate for parsed arguments.
function M.options(args)
  return {
    max_tokens = args.max_tokens,
    temperature = args.temperature,
    top_k = args.top_k,
    top_p = args.top_p,
    min_p = args.min_p,
    repeat_penalty = args.repeat_penalty,
    seed = args.seed or os.time() % 2147483647,
  }
end

function M.describe(p)
  p:argument("model", "GGUF file")
  p:argument("prompt", "the text to continue")
  M.sampling(p)
end

function M.run(args, out)
  local wane = require "wane"
  local report = require "wane.report"
  local model, why = wane.load(args.model, { context = args.context, threads = args.threads })
  if not model then return nil, why end
  local parts, stats = {}, nil
  local ok, message = pcall(function()
    local opts = M.options(args)
    opts.on_end = function(s) stats = s end
    if not args.json then out.write(args.prompt) end
    for text in model:generate(args.prompt, opts) do
      parts[#parts + 1] = text
      if not args.json then out.write(text) end
    end
  end)
  model:close()
  if not ok then return nil, message end
  if args.json then
    out.print(report.json { text = table.concat(parts), state = stats.state, tokens = stats.n_tokens,
      prompt_tokens = stats.n_prompt, prompt_seconds = stats.prompt_seconds, token_seconds = stats.token_seconds })
  else
    out.write "\n"
    out.note(("[%d tokens, %.1f tokens/s]"):format(stats.n_tokens, stats.n_tokens / math.max(1e-9, stats.token_seconds)))
  end
  return true
end

return M
