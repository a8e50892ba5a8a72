--- `wane compare REFERENCE CANDIDATE... --text FILE`: what shrinking cost.
local M = { summary = "compare models with the one they were made from", tables = true }

function M.describe(p)
  p:argument("reference", "GGUF file that the others are compared with"):as "model"
  p:argument("candidates", "GGUF files, mixes (Q4_K_M), types (q4_K) or formats (nf4): those are made in memory"):args "+":as "model"
  p:option("--text", "text file, UTF-8"):count "1":as "file"
  p:option("-c --context", "tokens per chunk"):convert(tonumber):default "512"
  p:option("--chunks", "most chunks (default: all)"):convert(tonumber)
  p:option("--tasks", "tasks too: names or files of JSON lines, separated by commas")
  p:option("-i --imatrix", "importance matrix, for mixes and types"):as "file"
  p:option("-o --output", "also write a report: .html, .md, .csv, .json or .txt"):count "*":as "file"
  p:option("--tensor", "whose weights to draw in the HTML report")
  p:option("-t --threads", "threads (default: all cores)"):convert(tonumber)
  p:flag("--heat", "measure each tensor alone, for the HTML report")
  p:flag("--no-speed", "do not measure speed")
  p:flag("--no-hashes", "do not read the files once more for their SHA-256 in the report")
end

local function split(text)
  local list = {}
  for part in (text or ""):gmatch "[^,]+" do list[#list + 1] = part end
  return list
end

--- Runs the command.
---@param args table of argparse
---@param out wane.Out
---@return true?
---@return string? message
function M.run(args, out)
  local read, report = require "wane.cli.read", require "wane.report"
  local text, message = read.text(type(args.text) == "table" and args.text[1] or args.text)
  if not text then return nil, message end
  for _, path in ipairs(args.output) do -- names and directories first, then the hours
    if not report.name.test(path) then return nil, ("--output %s: want %s"):format(path, report.name.want) end
    local ok, why = read.can_write(path, true)
    if not ok then return nil, why end
  end
  local c
  c, message = require("wane.eval").compare {
    reference = args.reference, candidates = args.candidates, text = text, context = args.context,
    chunks = args.chunks, tasks = split(args.tasks), imatrix = args.imatrix, threads = args.threads,
    speed = not args.no_speed, heat = args.heat or false, tensor = args.tensor, hashes = not args.no_hashes,
    command = out.command, progress = read.progress(out),
  }
  if not c then return nil, message end
  out.progress(nil)
  if args.json then out.print(c:json()) else out.table(c, args) end -- first: it must not be lost when a disk is full
  local failed
  for _, path in ipairs(args.output) do
    local ok, why = c:save(path)
    if not ok then failed = failed or why end
  end
  if failed then return nil, failed end
  return true
end

return M
