--- `wane imatrix MODEL TEXT -o OUT`: measure an importance matrix;
--- `wane imatrix merge A B ... -o OUT`; `wane imatrix convert A -o OUT`;
--- `wane imatrix show FILE`.
local read = require "wane.cli.read"

local M = { summary = "measure, merge, convert and show importance matrices", tables = true }

function M.describe(p)
  p:argument("what", "MODEL TEXT, or merge FILE..., convert FILE, show FILE"):args "+":as "file"
  p:option("-o --output", "where the matrix goes (*.dat: the legacy format)"):as "file"
  p:option("-c --context", "tokens per chunk"):convert(tonumber):default "512"
  p:option("--chunks", "most chunks to use (default: all)"):convert(tonumber)
  p:option("--first-chunk", "number of the first chunk, from 1"):convert(tonumber)
  p:option("--resume", "matrix of the first chunks of the same text: go on after them"):as "file"
  p:option("--save-every", "write the output every N chunks (default 50)"):convert(tonumber)
  p:option("-t --threads", "threads (default: all cores)"):convert(tonumber)
  p:flag("--output-tensor", "measure output.weight too")
  p:flag("--overwrite", "replace an existing output")
end

-- What experts have seen, as a table of those tensors that need telling.
local function coverage_table(coverage, all)
  local report = require "wane.report"
  local t = report.table {
    { key = "name", title = "tensor" }, { key = "experts", title = "experts", align = "right" },
    { key = "tokens", title = "rows seen", align = "right" }, { key = "least", title = "fewest", align = "right" },
    { key = "unseen", title = "unseen", align = "right" },
  }
  for _, c in ipairs(coverage) do
    if all or c.experts > 1 then
      t:add { name = report.printable(c.name), experts = c.experts, tokens = c.tokens, least = c.least, unseen = c.unseen }
    end
  end
  return t
end

local function finish(im, args, out)
  local ok, message = im:save(args.output, { overwrite = true })
  if not ok then return nil, message end
  if not args.json then out.print(("%s: %d tensors, %d chunks"):format(args.output, #im:names(), im.chunks)) end
  return true
end

local function measure(args, out)
  local wane = require "wane"
  local text, message = read.text(args.what[2])
  if not text then return nil, message end
  local model, why = wane.load(args.what[1], { threads = args.threads, context = args.context })
  if not model then return nil, why end
  local im, coverage = wane.calibrate.imatrix(model, text, {
    context = args.context, chunks = args.chunks, first_chunk = args.first_chunk, threads = args.threads,
    resume = args.resume, output = args.output_tensor, dataset = args.what[2], save = args.output,
    save_every = args.save_every,
    progress = function(p)
      out.progress { done = p.done / p.total, n = p.done, unit = "chunks", text = ("chunk %d of %d"):format(p.done, p.total) }
    end,
  })
  model:close()
  out.progress(nil)
  if not im then return nil, coverage end
  if args.json then out.print(require("wane.report").json { chunks = im.chunks, coverage = coverage }) end
  local n_unseen, n_few = 0, 0
  for _, c in ipairs(coverage) do n_unseen, n_few = n_unseen + c.unseen, n_few + c.few end
  if n_few > 0 then
    out.warn(("%d experts saw fewer than %d tokens: calibrate with more text"):format(n_few,
      require("wane.quantize.importance").FEW))
  end
  if n_unseen > 0 then
    if not args.json then out.table(coverage_table(coverage), args) end
    out.warn(("%d experts saw nothing; their importance is 1 everywhere"):format(n_unseen))
  end
  return finish(im, args, out)
end

local function open_all(paths)
  local imatrix, list = require "wane.imatrix", {}
  for i, path in ipairs(paths) do
    local im, message = imatrix.open(path)
    if not im then return nil, message end
    list[i] = im
  end
  return list
end

local function merge(args, out)
  local paths = {}
  for i = 2, #args.what do paths[#paths + 1] = args.what[i] end
  local list, message = open_all(paths)
  if not list then return nil, message end
  if #list == 1 then return finish(list[1], args, out) end -- the other format
  local im, why = require("wane.imatrix").merge(list)
  if not im then return nil, why end
  return finish(im, args, out)
end

local function show(args, out)
  local list, message = open_all { args.what[2] }
  if not list then return nil, message end
  local im, rows = list[1], {}
  local report = require "wane.report"
  local t = report.table {
    { key = "name", title = "tensor" }, { key = "n", title = "values", align = "right" },
    { key = "mean", title = "mean", format = "%.4g" }, { key = "max", title = "max", format = "%.4g" },
    { key = "zeros", title = "zeros", align = "right" }, { key = "tokens", title = "count", align = "right" },
    { key = "unseen", title = "unseen", align = "right" },
  }
  for i, c in ipairs(require("wane.calibrate").coverage(im)) do
    local s, why = im:stats(c.name)
    if not s then return nil, why end
    rows[i] = { name = report.printable(c.name), n = s.n, mean = s.mean, max = s.max, zeros = s.zeros,
      tokens = c.tokens, unseen = c.unseen }
    t:add(rows[i])
  end
  if args.json then
    out.print(report.json { chunks = im.chunks, chunk_size = im.chunk_size, datasets = im.datasets, tensors = rows })
  else
    out.table(t, args)
  end
  return true
end

--- Runs the command.
---@param args table of argparse
---@param out wane.Out
---@return true?
---@return string? message
function M.run(args, out)
  local what, n = args.what[1], #args.what
  if what == "show" then
    if n ~= 2 then return nil, "imatrix show wants one file" end
    return show(args, out)
  end
  if not args.output then return nil, "imatrix: say where the matrix goes (-o FILE)" end
  local ok, message = read.can_write(args.output, args.overwrite or args.resume == args.output)
  if not ok then return nil, message end
  if what == "merge" or what == "convert" then
    if n < 2 then return nil, ("imatrix %s wants a file"):format(what) end
    if what == "convert" and n > 2 then return nil, "imatrix convert wants one file (merge adds up several)" end
    return merge(args, out)
  end
  if n ~= 2 then return nil, "imatrix wants a model and a text" end
  return measure(args, out)
end

return M
