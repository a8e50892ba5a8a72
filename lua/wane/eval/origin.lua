--- Where a comparison came from: what a reader needs to make it again.
local core = require "wane.core"
local provenance = require "wane.provenance"

---@class wane.Origin
---@field date string       UTC
---@field version string    of wane
---@field command string?   as it was typed, when the command line made it
---@field machine string
---@field isa string        instruction set of the kernels
---@field threads integer
---@field context integer   tokens a chunk
---@field seed integer      of the tasks that are made from one
---@field text { bytes: integer?, tokens: integer, sha256: string? }
---@field files { name: string, path: string, bytes: integer, sha256: string }[]   those that were read

--- The origin of a comparison.
---@param list wane.Entry[]   what was compared, the reference first
---@param o wane.CompareOptions
---@param tokens integer      tokens scored
---@return wane.Origin|nil
---@return string? message
---@return string? code
return function(list, o, tokens)
  local cpu = core.cpu()
  local made = {
    date = os.date "!%Y-%m-%d %H:%M UTC", version = require("wane").version, command = o.command, machine = cpu.name,
    isa = cpu.isa, threads = o.threads or cpu.threads, context = o.context or 512, seed = 1, files = {},
    text = { tokens = tokens },
  }
  if type(o.text) == "string" then
    made.text.bytes, made.text.sha256 = #o.text, core.stream.sha256_hex(core.stream.sha256(nil, o.text))
  end
  if o.hashes == false then return made end
  local seen = {}
  for _, e in ipairs(list) do
    local model = e.model.gguf:info()
    for i, path in ipairs(not e.in_memory and model.shards or {}) do
      if not seen[path] then
        local sum, message, code = provenance.file_sha256(path)
        if not sum then return nil, message, code end
        seen[path] = true
        made.files[#made.files + 1] = { name = e.name, path = path, bytes = model.file_bytes[i], sha256 = sum }
      end
    end
  end
  return made
end
