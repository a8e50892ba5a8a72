--- `wane chat MODEL`: a conversation on the terminal.
local generate = require "wane.cli.generate"

local M = { summary = "talk to a model" }

function M.describe(p)
  p:argument("model", "GGUF file")
  p:option("-s --system", "system message")
  generate.sampling(p)
end

function M.run(args, out)
  local wane = require "wane"
  local model, why = wane.load(args.model, { context = args.context, threads = args.threads })
  if not model then return nil, why end
  local opts = generate.options(args)
  opts.system = args.system
  local chat = model:chat(opts)
  out.note "Empty line or end of input ends the conversation."
  while true do
    out.write "> "
    local line = io.read "*l"
    if not line or line == "" then break end
    for text in chat:stream(line) do
      out.write(text)
    end
    out.write "\n"
  end
  chat:close()
  model:close()
  return true
end

return M
