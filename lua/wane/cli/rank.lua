--- `wane rank MODEL QUERY DOCUMENT...`: documents by how well they answer.
local read = require "wane.cli.read"

local M = { summary = "rank documents for a query, by a model made for it", tables = true }

function M.describe(p)
  p:argument("model", "GGUF file of a model that ranks"):as "model"
  p:argument("query", "what is looked for")
  p:argument("documents", "the documents; - for lines of standard input"):args "*"
  p:option("-f --file", "a document a line, from a file"):as "file"
  p:option("-n --top", "show the best N"):convert(tonumber)
  p:option("-t --threads", "threads (default: all cores)"):convert(tonumber)
end

--- Runs the command.
---@param args table of argparse
---@param out wane.Out
---@return true?
---@return string? message
function M.run(args, out)
  local report = require "wane.report"
  local documents, why = read.lines(args.documents, args.file)
  if not documents then return nil, why end
  if #documents == 0 then return nil, "rank: want a document, - or -f FILE" end
  local model
  model, why = require("wane").load(args.model, { threads = args.threads })
  if not model then return nil, why end
  local ok, scores, message = pcall(model.rank, model, args.query, documents, { threads = args.threads })
  model:close()
  if not ok then return nil, scores end
  if not scores then return nil, message end
  local t = report.table {
    { key = "score", title = "score", format = "%.4f", align = "right" }, { key = "number", title = "number", align = "right", drop = 5 },
    { key = "text", title = "document" },
  }
  for place, i in ipairs(scores.order) do
    if place > (args.top or #documents) then break end
    t:add { score = scores[i], number = i, text = args.json and documents[i]
      or report.clip(report.printable(documents[i]), math.max(20, (out.width or 120) - 24)) }
  end
  if args.json then out.print(t:json()) else out.table(t, args) end
  return true
end

return M
