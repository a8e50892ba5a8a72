--- Writes spec/golden/vocabularies.txt anew, with the peer (see make.lua).
local models = require "spec.golden.models"
local peer = require "spec.support.peer"
local vocabularies = require "spec.golden.vocabularies"

local llama
for _, d in ipairs(models.read()) do
  if d.name == "llama" then llama = d end
end
for i = #llama.meta, 1, -1 do
  if llama.meta[i][1]:find "vocab_size" then table.remove(llama.meta, i) end
end
local out = {}
for _, kind in ipairs(vocabularies.KINDS) do
  local path = "build/tmp/golden.gguf"
  local keys, n = vocabularies.tokenizer(kind)
  if keys then assert(models.write(llama, path, keys, n)) else path = vocabularies.DEMO end
  local m = peer.load(path, { context = 64, threads = 1 })
  for _, text in ipairs(vocabularies.TEXTS) do
    local ids = m:tokenize(text, false, false)
    out[#out + 1] = kind .. (#ids > 0 and " " or "") .. table.concat(ids, " ")
  end
  m:close()
end
local f = assert(io.open(vocabularies.PATH, "w"))
f:write(table.concat(out, "\n"), "\n")
f:close()
