--- `wane quantize FROM TO RECIPE`: shrink a model. RECIPE is a mix of
-- llama.cpp (Q4_K_M, ...), COPY, or a recipe file (*.lua).
local read = require "wane.cli.read"

local M = { summary = "quantize a GGUF file", tables = true }

--- Options whose names may stand alone in messages.
M.own = { output_tensor_type = true, token_embedding_type = true, leave_output_tensor = true, prune_layers = true,
  allow_requantize = true, keep_split = true }

--- Flags of options whose names differ.
M.flags = {
  only_copy = "COPY", tensor_types = "--tensor-type", metadata = "--override-kv", include = "--include-weights",
  exclude = "--exclude-weights", resume = "--no-resume", to = "TO", from = "FROM", recipe = "RECIPE",
}

function M.describe(p)
  p:argument("from", "source GGUF file (any file of a split)"):as "model"
  p:argument("to", "output file; with --dry-run it may be '-'"):as "file"
  p:argument("recipe", "a mix (Q4_K_M, Q8_0, IQ3_XXS, ...), COPY, AUTO, or a recipe file (*.lua)"):as "mix"
  p:option("--calibrate", "text: choose the numbers in the blocks against what each layer sees"):as "file"
  p:option("--calibrate-chunks", "most chunks of it to use (default: all)"):convert(tonumber)
  p:option("--bpw", "with AUTO: the best mix of so many bits per weight"):convert(tonumber)
  p:option("--bytes", "with AUTO: the best mix in a file of so many bytes"):convert(tonumber)
  p:option("--tokens-per-second", "with AUTO: fast enough for so many on this machine; with --bytes both"):convert(tonumber)
  p:option("-i --imatrix", "importance matrix, GGUF or .dat"):as "file"
  p:option("--include-weights", "use importance only for tensors whose name contains this"):count "*"
  p:option("--exclude-weights", "do not use importance for these"):count "*"
  p:option("--output-tensor-type", "type of output.weight"):as "type"
  p:option("--token-embedding-type", "type of the token embeddings"):as "type"
  p:option("--tensor-type", "PATTERN=TYPE: regular expression and type"):count "*"
  p:option("--tensor-type-file", "file of PATTERN=TYPE, separated by white space"):as "file"
  p:option("--prune-layers", "layers to leave out: 2,5,7")
  p:option("--override-kv", "KEY=TYPE:VALUE with TYPE int, float, bool or str"):count "*"
  p:option("--fallback", "rows that do not fill blocks: llama.cpp, error, or a type")
  p:option("--nonfinite", "NaN and infinities in the source: error or zero"):offer { "error", "zero" }
  p:option("--shard", "I/N: write only file I of N")
  p:option("--split", "write N files"):convert(tonumber)
  p:option("--reuse", "copy unchanged tensors from this earlier output (made with --provenance)"):as "file"
  p:option("-t --threads", "threads (default: all cores)"):convert(tonumber)
  p:flag("--awq", "with --calibrate: scale channels by activations first")
  p:flag("--pure", "one type for everything")
  p:flag("--leave-output-tensor", "keep the type of output.weight")
  p:flag("--allow-requantize", "quantized sources may change their type (loses quality)")
  p:flag("--keep-split", "as many files as the source has")
  p:flag("--provenance", "record recipe and hashes in the output")
  p:flag("--overwrite", "replace an existing output")
  p:flag("--no-resume", "do not go on after an interrupted run")
  p:flag("--dry-run", "show what would be done")
end

-- "attn_v=q8_0" -> { "attn_v", "q8_0" }
local function pattern_and_type(text)
  local pattern, to = text:match "^(.+)=([^=]+)$"
  if not pattern then return nil, ("--tensor-type: want PATTERN=TYPE, found '%s'"):format(text) end
  -- as written, and as llama.cpp reads it: in small letters, except in classes
  local small = (" " .. pattern):gsub("([^\\])(%u+)", function(before, s) return before .. s:lower() end):sub(2)
  return { pattern, to, also = small ~= pattern and small or nil }
end

local function tensor_types(args)
  local list = {}
  local texts = {}
  for _, t in ipairs(args.tensor_type) do texts[#texts + 1] = t end
  if args.tensor_type_file then
    local all, msg = read.text(args.tensor_type_file)
    if not all then return nil, msg end
    for line in all:gmatch "[^\r\n]+" do -- "#" begins a comment
      for word in line:gsub("^#.*", ""):gsub("%s#.*", ""):gmatch "%S+" do texts[#texts + 1] = word end
    end
  end
  for _, text in ipairs(texts) do
    local entry, msg = pattern_and_type(text)
    if not entry then return nil, msg end
    list[#list + 1] = entry
  end
  return #list > 0 and list or false
end

local function metadata(args)
  local list = {}
  for _, text in ipairs(args.override_kv) do
    local key, kind, value = text:match "^([^=]+)=(%a+):(.*)$"
    if not key or not read.overrides[kind] then
      return nil, ("--override-kv: want KEY=TYPE:VALUE with TYPE int, float, bool or str, found '%s'"):format(text)
    end
    local v, why = read.override(("--override-kv: '%s'"):format(text), kind, value)
    if not v then return nil, why end
    list[#list + 1] = { key = key, type = kind, value = v.value }
  end
  return #list > 0 and list or false
end

local function layers(text)
  local list = {}
  for part in (text or ""):gmatch "[^,]+" do
    local n = part:match "^%s*(%d+)%s*$"
    if not n then return nil, ("--prune-layers: want numbers, found '%s'"):format(part) end
    list[#list + 1] = tonumber(n)
  end
  return #list > 0 and list or false
end

local function shard(text)
  if not text then return false end
  local i, n = text:match "^(%d+)/(%d+)$"
  if not i then return nil, ("--shard: want I/N, found '%s'"):format(text) end
  return { tonumber(i), tonumber(n) }
end

-- The options of wane.quantize, or nil and what is wrong.
local function options(args)
  local o = {
    from = args.from, to = args.to, imatrix = args.imatrix, threads = args.threads,
    output_tensor_type = args.output_tensor_type, token_embedding_type = args.token_embedding_type,
    fallback = args.fallback, nonfinite = args.nonfinite, split = args.split, reuse = args.reuse,
    pure = args.pure, leave_output_tensor = args.leave_output_tensor,
    allow_requantize = args.allow_requantize, keep_split = args.keep_split,
    provenance = args.provenance, overwrite = args.overwrite, dry_run = args.dry_run,
  }
  if args.no_resume then o.resume = false end
  if #args.include_weights > 0 then o.include = args.include_weights end
  if #args.exclude_weights > 0 then o.exclude = args.exclude_weights end
  local parsed = {
    { "tensor_types", tensor_types(args) }, { "metadata", metadata(args) },
    { "prune_layers", layers(args.prune_layers) }, { "shard", shard(args.shard) },
  }
  for _, p in ipairs(parsed) do
    if p[2] == nil then return nil, p[3] end
    if p[2] then o[p[1]] = p[2] end
  end
  if args.recipe:upper() == "AUTO" then
    if not args.calibrate then return nil, "AUTO wants --calibrate TEXT, and --bpw or --bytes" end
    if (args.bpw == nil) == (args.bytes == nil and args.tokens_per_second == nil) then
      return nil, "AUTO wants one of --bpw and --bytes (or --tokens-per-second, alone or beside --bytes)"
    end
    o.recipe = "AUTO"
  elseif args.recipe:upper() == "COPY" then
    o.only_copy = true
  elseif args.recipe:find "%.lua$" then
    local recipe, msg = require("wane.recipe").load(args.recipe)
    if not recipe then return nil, msg end
    o.recipe = recipe
  else
    o.recipe = args.recipe
  end
  return o
end

local function as_json(r)
  local tensors = {}
  for i, d in ipairs(r.tensors) do
    tensors[i] = {
      name = d.name, from = d.from, to = d.to, wanted = d.wanted, reason = d.reason,
      bytes = d.bytes, fell_back = d.fell_back, importance = d.importance,
    }
  end
  return {
    tensors = tensors, files = r.files, bytes = r.bytes, bytes_from = r.bytes_from, bpw = r.bpw,
    fallback_share = r.fallback_share, warnings = r.warnings, seconds = r.seconds,
    resumed = r.resumed, reused = r.reused, requires_imatrix = r.requires_imatrix,
  }
end

local function progress_bar(out, human, seconds)
  return function(p)
    local left = p.seconds_left and (", %s left"):format(seconds(p.seconds_left)) or ""
    local what = p.verifying and "checking the earlier run" or p.tensor
    out.progress { done = p.fraction, pace = ("%s/s%s"):format(human(p.rate), left), text = what }
  end
end

local function show(r, args, out, human, printable)
  out.progress(nil)
  if args.json then return out.print(require("wane.report").json(as_json(r))) end
  if args.dry_run then return out.table(r, args) end
  for _, w in ipairs(r.warnings) do out.warn(printable(w)) end
  local more = ""
  if r.resumed > 0 then more = more .. (", %d tensors resumed"):format(r.resumed) end
  if r.reused > 0 then more = more .. (", %d tensors reused"):format(r.reused) end
  out.print(("%s -> %s, %.2f bits per weight, %.1f %% of the weights fell back, %.1f s%s"):format(
    human(r.bytes_from), human(r.file_bytes), r.bpw, 100 * r.fallback_share, r.seconds, more))
end

-- Options that wane.calibrate.gptq takes itself; the others go through it.
local own = { from = true, to = true, recipe = true, imatrix = true, threads = true, overwrite = true, progress = true,
  resume = true }

-- Quantizing against a text.
local function calibrated(args, o, out)
  local wane = require "wane"
  if o.dry_run then return nil, "--dry-run and --calibrate exclude each other" end
  local text, msg = read.text(args.calibrate)
  if not text then return nil, msg end
  local ok
  ok, msg = read.can_write(o.to, o.overwrite) -- before the hours of solving
  if not ok then return nil, msg end
  local model
  model, msg = wane.load(o.from, { threads = args.threads })
  if not model then return nil, msg end
  local context = math.min(512, model.hp.context_length)
  local function progress(p) out.progress { done = p.done / p.total, text = p.tensor } end
  local recipe = o.recipe
  if recipe == "AUTO" then
    local solution
    local budget = not args.bpw and { bytes = args.bytes, tokens_per_second = args.tokens_per_second } or nil
    solution, msg = wane.recipe.solve { model = model, text = text, bpw = args.bpw, budget = budget, threads = args.threads,
      sensitivity = { context = context, threads = args.threads, progress = progress } }
    if not solution then
      model:close()
      return nil, msg
    end
    recipe = solution.recipe
  end
  local more = {}
  for k, v in pairs(o) do
    if not own[k] then more[k] = v end
  end
  local r
  r, msg = wane.calibrate.gptq { from = o.from, to = o.to, recipe = recipe, text = text, model = model,
    context = context, chunks = args.calibrate_chunks, imatrix = o.imatrix, awq = args.awq, threads = o.threads,
    overwrite = o.overwrite, resume = o.resume, quantize = more, progress = progress }
  model:close()
  return r, msg
end

--- Runs the command.
---@param args table of argparse
---@param out wane.Out
---@return true?
---@return string? message
function M.run(args, out)
  local printable = require("wane.report").printable
  local human = require("wane.recipe.plan").human
  local o, msg = options(args)
  if not o then return nil, msg end
  o.progress = progress_bar(out, human, require("wane.report").seconds)
  local r
  if args.calibrate then
    r, msg = require("wane.convert.view").around(o, "from", function(of) return calibrated(args, of, out) end)
  elseif args.awq or args.bpw or args.bytes or args.tokens_per_second or args.calibrate_chunks then
    return nil, "--awq, --bpw, --bytes, --tokens-per-second and --calibrate-chunks want --calibrate TEXT"
  else
    r, msg = require "wane.quantize"(o)
  end
  if not r then return nil, msg end
  show(r, args, out, human, printable)
  return true
end

return M
