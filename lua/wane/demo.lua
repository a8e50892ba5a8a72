--- A model and a text to try things on: `wane.demo`.
---
---     local path, text = assert(wane.demo())
---     local m = assert(wane.load(path))
---
--- The model has 7.3 million weights in F16 and was trained on public-domain
--- children's books; the text is of the same kind and was not shown to it. Both
--- come with wane: a checkout has them under examples/, an installation beside
--- these Lua files.
local file = require "wane.file"

-- The folder of these files, with "/" at its end.
local function here()
  local source = debug and debug.getinfo(1, "S").source or ""
  return source:match "^@(.*)demo%.lua$" or "lua/wane/"
end

local PLACES = { -- model and text, seen from here
  { "demo/demo-f16.gguf", "demo/heldout.txt" },
  { "../../examples/models/demo-f16.gguf", "../../examples/text/heldout.txt" },
}

-- A path without the steps that it takes back: "lua/wane/../../x" is "x".
local function tidy(path)
  local n
  repeat path, n = path:gsub("[^/.][^/]*/%.%./", "", 1) until n == 0
  return path
end

--- The path of the demo model, and a text.
---
---     local path, text = assert(wane.demo())
---     print(path:match "[^/]+$", #text)      --> demo-f16.gguf  242936
---@return string|nil path    of a GGUF file
---@return string text        242,936 bytes of prose; or a message
---@return string? code       "ENOENT" where the files were not installed
return function()
  local base, message, code = here(), nil, nil
  for _, place in ipairs(PLACES) do
    local text
    text, message, code = file.read(base .. place[2])
    if text then return tidy(base .. place[1]), text end
  end
  return nil, message, code
end
