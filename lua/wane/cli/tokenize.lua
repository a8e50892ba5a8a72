--- `wane tokenize MODEL TEXT`: the ids that a model reads.
local M = { summary = "print the tokens of a text", tables = true }

function M.describe(p)
  p:argument("model", "GGUF file; its vocabulary is all that is read"):as "model"
  p:argument("text", "the text, or - for standard input")
  p:flag("--special", "add what the vocabulary wants around a text (BOS, ...)")
  p:flag("--parse-special", "texts of control tokens become those tokens")
end

--- Runs the command.
---@param args table of argparse
---@param out wane.Out
---@return true?
---@return string? message
function M.run(args, out)
  local vocab, message = require("wane.vocab").open(args.model)
  if not vocab then return nil, message end
  local text = args.text == "-" and io.read "*a" or args.text
  local ids, why = vocab:encode(text, { special = args.special or false, parse_special = args.parse_special or false })
  if not ids then return nil, why end
  if args.json then
    out.print(require("wane.json").encode(require("wane.json").list(ids)))
    return true
  end
  local report = require "wane.report"
  local t = report.table { { key = "id", title = "id", align = "right" }, { key = "text", title = "text" } }
  for _, id in ipairs(ids) do t:add { id = id, text = report.printable(vocab:piece(id)) } end
  out.table(t, args)
  return true
end

return M
