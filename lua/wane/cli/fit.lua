--- `wane fit MODEL`: what a model will take, before it is loaded;
--- `wane fit --ram 16G`: what fits a machine.
local M = { summary = "will a model fit? memory from its header alone", tables = true }

function M.describe(p)
  p:argument("model", "GGUF file; leave it out for a model that does not exist (--params)"):args "?":as "model"
  p:option("-c --context", "tokens (default: the model's)"):convert(tonumber)
  p:option("--kv", "type of the KV cache"):default "f16":as "cache"
  p:option("--sequences", "sequences at once"):convert(tonumber)
  p:option("--recipe", "as if shrunk by this mix or type"):as "mix"
  p:option("--ram", "memory of the machine: 16G")
  p:option("--reserve", "what the system and other programs keep")
  p:option("--task", "classification, chat, writing or code"):default "chat":offer { "classification", "chat", "writing", "code" }
  p:option("--params", "parameters of a model that does not exist: 70B")
  for _, name in ipairs { "layers", "width", "heads", "kv-heads", "ff", "vocab", "experts", "used" } do
    p:option("--" .. name, "of such a model"):convert(tonumber)
  end
  p:option("-t --threads", "threads (default: all cores)"):convert(tonumber)
  p:flag("--max-context", "the longest context for every level")
end

-- The model that the options describe, or nil.
local function imagined(args)
  if not (args.params or args.layers) then return nil end
  return { params = args.params, layers = args.layers, width = args.width, heads = args.heads,
    kv_heads = args.kv_heads, ff = args.ff, vocab = args.vocab, experts = args.experts, used = args.used }
end

--- Runs the command.
---@param args table of argparse
---@param out wane.Out
---@return true?
---@return string? message
function M.run(args, out)
  local model = args.model or imagined(args)
  if not model and args.ram then
    local t, why = require("wane.fit").survey { ram = args.ram, context = args.context, kv = args.kv, task = args.task,
      reserve = args.reserve }
    if not t then return nil, why end
    if args.json then out.print(t:json()) else out.table(t, args) end
    return true
  end
  if not model then return nil, "fit: want a GGUF file, --params, or --ram alone" end
  local f, message = require "wane.fit" {
    model = model, context = args.context, kv = args.kv, sequences = args.sequences, recipe = args.recipe,
    ram = args.ram, reserve = args.reserve, task = args.task, threads = args.threads,
    max_context = args.max_context or false,
  }
  if not f then return nil, message end
  if args.json then out.print(f:json()) else out.table(f, args) end
  return true
end

return M
