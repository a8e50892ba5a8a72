--- `wane embed MODEL TEXT...`: vectors of texts.
local read = require "wane.cli.read"

local M = { summary = "print embeddings of texts, or how alike they are", tables = true }

function M.describe(p)
  p:argument("model", "GGUF file"):as "model"
  p:argument("texts", "the texts; - for lines of standard input"):args "*"
  p:option("-f --file", "a text a line, from a file"):as "file"
  p:option("--pooling", "how tokens become one vector (default: the file's, or mean)"):offer { "cls", "last", "mean", "none", "rank" }
  p:option("--dimensions", "keep so many numbers of each"):convert(tonumber)
  p:option("-t --threads", "threads (default: all cores)"):convert(tonumber)
  p:flag("--raw", "do not divide by the length")
  p:flag("--similarity", "a table of the cosines instead of the vectors")
end

-- Cosines of all pairs, as a table with a column for each text.
local function alike(vectors, texts)
  local report = require "wane.report"
  local columns = { { key = "text", title = "text" } }
  for i in ipairs(vectors) do columns[i + 1] = { key = tostring(i), title = tostring(i), format = "%.3f", align = "right" } end
  local t = report.table(columns)
  local function dot(a, b)
    local sum = 0
    for k = 1, #a do sum = sum + a[k] * b[k] end
    return sum
  end
  for i, a in ipairs(vectors) do
    local row = { text = ("%d %s"):format(i, report.clip(report.printable(texts[i]), 40)) }
    for k, b in ipairs(vectors) do row[tostring(k)] = dot(a, b) / math.sqrt(dot(a, a) * dot(b, b)) end
    t:add(row)
  end
  return t
end

-- A buffer as rows of numbers.
local function rows_of(v)
  local n_rows, n_cols = v:shape()
  local rows = {}
  for r = 1, n_rows do rows[r] = v:rows(r):table(1, n_cols) end
  return rows
end

--- Runs the command.
---@param args table of argparse
---@param out wane.Out
---@return true?
---@return string? message
function M.run(args, out)
  local json = require "wane.json"
  local texts, why = read.lines(args.texts, args.file)
  if not texts then return nil, why end
  if #texts == 0 then return nil, "embed: want a text, - or -f FILE" end
  if args.similarity and args.pooling == "none" then return nil, "embed: --similarity wants one vector a text" end
  local model
  model, why = require("wane").load(args.model, { threads = args.threads })
  if not model then return nil, why end
  local pooling = args.pooling or (model.hp.pooling == "none" and "mean" or nil) -- a vector a text
  local ok, vectors, message = pcall(model.embed, model, texts, { pooling = pooling, dimensions = args.dimensions,
    normalize = not args.raw, threads = args.threads })
  model:close()
  if not ok then return nil, vectors end
  if not vectors then return nil, message end
  if args.similarity then
    local t = alike(vectors, texts)
    if args.json then out.print(t:json()) else out.table(t, args) end
    return true
  end
  for i, v in ipairs(vectors) do
    local rows = rows_of(v)
    if args.json then
      out.print(json.encode { text = texts[i], embedding = json.list(args.pooling == "none" and rows or rows[1]) })
    else
      for _, row in ipairs(rows) do
        for k, x in ipairs(row) do row[k] = ("%.6g"):format(x) end
        out.print(table.concat(row, " "))
      end
    end
  end
  return true
end

return M
