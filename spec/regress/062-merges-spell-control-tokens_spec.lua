--- A file's merges, or a whole word, may spell a control token: plain text must
--- not become one. llama.cpp lets it, and so does `exact = "llama.cpp"`.
local S = require "spec.support"
local gguf = require "wane.gguf"
local vocab = require "wane.vocab"

local DEMO = "examples/models/demo-f16.gguf"
local dir = S.tmp "control"
assert(os.execute("mkdir -p " .. dir))

describe("a control token that merges spell", function()
  S.check_leaks()
  teardown(function() os.execute("rm -rf " .. dir) end)

  it("does not come of plain text", function()
    local v = assert(vocab.open(DEMO))
    local id = v:encode(" time")[1]
    assert.equal(" time", v:piece(id))
    v:close()
    local f = assert(gguf.open(DEMO))
    local types = {}
    for i, kind in ipairs(f.meta["tokenizer.ggml.token_type"]) do types[i] = kind end
    types[id + 1] = 3 -- control
    local path = dir .. "/control.gguf"
    assert(f:write(path, { set = { ["tokenizer.ggml.token_type"] = types }, overwrite = true }))
    f:close()
    local function count(exact)
      local w, n = assert(vocab.open(path, { exact = exact })), 0
      local ids = w:encode "a time to"
      for _, x in ipairs(ids) do n = n + (x == id and 1 or 0) end
      local text = w:decode(ids)
      w:close()
      return n, text
    end
    assert.same({ 0, "a time to" }, { count "trained" })
    assert.equal(1, (count "llama.cpp"))
  end)
end)
