--- `wane convert DIR OUT`: a Hugging Face checkpoint, or a LoRA adapter of PEFT,
--- as a GGUF file.
local M = { summary = "make a GGUF file of a Hugging Face checkpoint or adapter" }

function M.describe(p)
  p:argument("from", "directory of the checkpoint or adapter"):as "dir"
  p:argument("to", "GGUF file to write"):as "file"
  p:option("--type", "f16 (default; adapters: f32), bf16, f32, q8_0, or a mix such as Q4_K_M"):as "mix"
  p:option("--base", "adapters: directory with the base model's config.json"):as "dir"
  p:option("-i --imatrix", "importance matrix, for mixes that want one"):as "file"
  p:option("--name", "the model's name (default: the directory's)")
  p:flag("-f --overwrite", "replace an existing output")
end

--- Runs the command.
---@param args table of argparse
---@param out wane.Out
---@return true?
---@return string? message
function M.run(args, out)
  local r, message = require("wane").convert {
    from = args.from, to = args.to, type = args.type, imatrix = args.imatrix, name = args.name, base = args.base,
    overwrite = args.overwrite or false,
    progress = function(p) out.progress { done = p.done / p.total, text = p.tensor } end,
  }
  out.progress(nil)
  if not r then return nil, message end
  if args.json then
    out.print(require("wane.report").json {
      to = r.to, architecture = r.architecture, tensors = r.n_tensors, bytes = r.file_bytes, seconds = r.seconds,
    })
  else
    for _, w in ipairs(r.warnings) do out.warn(require("wane.report").printable(w)) end
    out.print(("%s: %s, %d tensors, %s bytes, %.1f s"):format(args.to, r.architecture, r.n_tensors,
      require("wane.report").count(r.file_bytes), r.seconds))
  end
  return true
end

return M
