-- Keys and values of the cache in other types than F16: near what F16 gives,
-- or refused by name.
local S = require "spec.support"
local wane = require "wane"

local DEMO = "examples/models/demo-f16.gguf"
-- Largest difference of a logit from F16's that is allowed; measured on the
-- demo model: 0.0011, 0.012, 0.034, 0.54.
local MOST = { f32 = 0.01, bf16 = 0.06, q8_0 = 0.2, q4_0 = 2 }

describe("cache types", function()
  local model
  S.check_leaks(function()
    model = assert(wane.load(DEMO, { context = 64, threads = 1 }))
  end, function()
    model:close()
    model = nil
  end)

  local function logits(kind)
    local ctx = assert(model.handle:context { type_k = kind, type_v = kind, n_ctx = 64 })
    assert(ctx:step(model.vocab:encode "Once upon a time there was a king"))
    local row, bytes = ctx:logits(1):table(), ctx:info().cache_bytes
    ctx:close()
    return row, bytes
  end

  for _, kind in ipairs { "f32", "bf16", "q8_0", "q4_0" } do
    local most = MOST[kind]
    it(kind .. " agrees with f16", function()
      local want, want_bytes = logits "f16"
      local got, bytes = logits(kind)
      local diff = 0
      for i = 1, #want do diff = math.max(diff, math.abs(want[i] - got[i])) end
      assert.truthy(diff > 0 and diff <= most, ("differs by %g"):format(diff))
      local bits = { f32 = 32, bf16 = 16, q8_0 = 8.5, q4_0 = 4.5 }
      assert.near(bits[kind] / 16, bytes / want_bytes, 0.02)
    end)
  end

  it("what cannot hold them is refused by name", function()
    local c, message, code = model.handle:context { type_k = "iq2_xxs" }
    assert.is_nil(c)
    assert.truthy(message:find("iq2_xxs", 1, true), message)
    assert.equal("EUNSUP", code)
    assert.error_matches(function() model.handle:context { type_k = "nope" } end, "want a type name")
  end)
end)
