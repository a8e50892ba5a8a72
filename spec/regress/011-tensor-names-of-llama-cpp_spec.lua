-- llama.cpp reads tensor names of up to 63 bytes; wane wrote longer ones, and
-- with them files that llama.cpp refuses.
local S = require "spec.support"
local gguf = require "wane.gguf"

local function write(name)
  return gguf.write { path = S.tmp ".gguf", tensors = {
    { name = name, type = "f32", shape = { 2 }, data = ("\0"):rep(8) },
  }, meta = { { "general.architecture", "string", "llama" } } }
end

describe("names of written tensors", function()
  S.check_leaks()

  it("have at most 63 bytes", function()
    local ok, message, code = write(("n"):rep(64))
    assert.is_nil(ok)
    assert.matches("tensor name", message)
    assert.matches("63", message)
    assert.equals("ELIMIT", code)
    assert(write(("n"):rep(63)))
  end)
end)
