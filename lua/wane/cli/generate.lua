--- `wane generate MODEL PROMPT`: continues a text.
local read = require "wane.cli.read"

local M = { summary = "continue a text" }

--- Flags of options whose names differ.
M.flags = { type_k = "--kv", type_v = "--kv", schema = "--json-schema" }

--- Options of generation, shared with `wane chat` (whose answers end by
--- themselves).
function M.sampling(p, talks)
  local n = p:option("-n --max-tokens", "most tokens to generate; -1: all that fit" .. (talks and " (default)" or "")):convert(tonumber)
  if not talks then n:default "256" end
  p:option("--temperature", "0 is greedy"):convert(tonumber):default "0.8"
  p:option("--top-k", "keep the k most likely tokens (0: all)"):convert(tonumber):default "40"
  p:option("--top-p", "keep the smallest set with this probability"):convert(tonumber):default "0.95"
  p:option("--min-p", "keep tokens with this share of the best one's probability"):convert(tonumber):default "0.05"
  p:option("--repeat-penalty", "above 1 discourages repetition"):convert(tonumber):default "1"
  p:option("--seed", "random seed (default: the time)"):convert(tonumber)
  p:option("--stop", "end before this text (may be given several times)"):count "*"
  p:option("--grammar", "file with a grammar (GBNF) that the text must have"):as "file"
  p:option("--json-schema", "file with a JSON schema that the text must have, or the schema itself"):as "file"
  p:option("--lora", "adapter, FILE or FILE:SCALE (may be given several times)"):count "*":as "file"
  p:option("--draft", "guess ahead: a smaller model of the same vocabulary, or 'prompt'"):as "model"
  p:option("--kv", "type of the KV cache"):as "cache"
  p:option("-c --context", "tokens of context" .. (talks and " (default: the model's, at most 8192)" or "")):convert(tonumber)
  p:option("-t --threads", "threads (default: all cores)"):convert(tonumber)
end

--- FILE:SCALE as wane.load's option lora takes it.
function M.adapter(text)
  local path, scale = text:match "^(.+):([%d.eE+-]+)$"
  if tonumber(scale) then return { path = path, scale = tonumber(scale) } end
  return text
end

--- The option table of model:generate for parsed arguments; nil, message.
function M.options(args)
  local o = {
    max_tokens = args.max_tokens ~= -1 and args.max_tokens or nil,
    temperature = args.temperature,
    top_k = args.top_k,
    top_p = args.top_p,
    min_p = args.min_p,
    repeat_penalty = args.repeat_penalty,
    seed = args.seed or os.time() % 2147483647,
    stop = args.stop and #args.stop > 0 and args.stop or nil,
  }
  local why
  if args.grammar then
    o.grammar, why = read.text(args.grammar)
    if not o.grammar then return nil, why end
  end
  if args.json_schema then
    o.schema = args.json_schema
    if not o.schema:find "^%s*{" then o.schema, why = read.text(args.json_schema) end
    if not o.schema then return nil, why end
  end
  if args.draft == "prompt" then o.draft = "prompt" end
  return o
end

--- The model of the arguments, with its adapters; nil, message.
function M.load(args)
  local lora
  for i, text in ipairs(args.lora or {}) do
    lora = lora or {}
    lora[i] = M.adapter(text)
  end
  return require("wane").load(args.model, { context = args.context, threads = args.threads, kv = args.kv, lora = lora })
end

--- The companion that --draft names, or nil; nil, message.
function M.companion(args)
  if not args.draft or args.draft == "prompt" then return nil end
  return require("wane").load(args.draft, { context = args.context, threads = args.threads })
end

function M.describe(p)
  p:argument("model", "GGUF file"):as "model"
  p:argument("prompt", "the text to continue; - for standard input"):args "?"
  p:option("-f --file", "the text to continue, from a file"):as "file"
  M.sampling(p)
end

-- The prompt that the arguments name; nil, message.
local function prompt_of(args)
  if (args.prompt ~= nil) == (args.file ~= nil) then return nil, "generate: want a text, - or -f FILE" end
  if args.file and args.file ~= "-" then return read.text(args.file) end
  if args.file == "-" or args.prompt == "-" then return io.read "*a" end
  return args.prompt
end

-- Generates; the parts of the text, stats; raises.
local function run(model, prompt, opts, args, out)
  local parts, stats = {}, nil
  opts.on_end = function(s) stats = s end
  local generation = model:generate(prompt, opts)
  if not args.json then out.write(prompt) end
  for text in generation do
    parts[#parts + 1] = text
    if not args.json then out.write(text) end
  end
  return parts, stats
end

--- Runs the command.
---@param args table of argparse
---@param out wane.Out
---@return true?
---@return string? message
function M.run(args, out)
  local report = require "wane.report"
  local prompt, why = prompt_of(args)
  if not prompt then return nil, why end
  local opts, model, companion
  opts, why = M.options(args)
  if not opts then return nil, why end
  model, why = M.load(args)
  if not model then return nil, why end
  companion, why = M.companion(args)
  opts.draft = companion or opts.draft
  local ok, parts, stats = not why, why, nil
  if ok then ok, parts, stats = pcall(run, model, prompt, opts, args, out) end
  if companion then companion:close() end
  model:close()
  if not ok then return nil, parts end
  for _, note in ipairs(stats.notes or {}) do out.warn(note) end
  if args.json then
    out.print(report.json { text = table.concat(parts), state = stats.state, tokens = stats.n_tokens,
      prompt_tokens = stats.n_prompt, prompt_seconds = stats.prompt_seconds, token_seconds = stats.token_seconds,
      drafted = stats.n_drafted, accepted = stats.n_accepted })
  else
    out.write "\n"
    out.note(out.paint("dim", ("[%d tokens, %.1f tokens/s]"):format(stats.n_tokens,
      stats.n_tokens / math.max(1e-9, stats.token_seconds)), "err"))
  end
  return true
end

return M
