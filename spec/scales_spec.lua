--- NAME.scale tensors: a matrix times 4 with a scale of 1/4 is the matrix, to
--- the bit, for every matrix of a dense model and of experts, before the bias.
local support = require "spec.support"
local tiny = require "spec.support.tiny"
local core = require "wane.core"
local model = require "wane.model"

local ids = tiny.tokens(15, 80)

-- Logits of a tiny model as `edit` changes it.
local function logits(over, edit)
  local path = tiny.write(over, edit)
  local m = assert(model.load(path))
  local ctx = assert(m:context { kv = "f32" })
  local bytes = assert(ctx:eval(ids, { all = true })):bytes()
  ctx:close()
  m:close()
  os.remove(path)
  return bytes
end

local function times(bytes, factor)
  local b = core.quant.buffer(1, #bytes / 4, bytes)
  for k = 1, #b do b[k] = b[k] * factor end
  return b:bytes()
end

-- Every matrix of the blocks whose name has `what` times 4, and n scales of `value`.
local function scaled(what, n, value)
  return function(_, tensors)
    for i = #tensors, 1, -1 do
      local t = tensors[i]
      if t.name:find(what .. ".weight", 1, true) then
        t.data = times(t.data, 4)
        tensors[#tensors + 1] = { name = t.name:gsub("weight$", "scale"), type = "f32", shape = { n },
          data = times(core.quant.buffer(1, n):fill(1):bytes(), value) }
      end
    end
  end
end

local function biased(edit)
  return function(meta, tensors)
    for _, name in ipairs { "attn_q", "ffn_down" } do
      tensors[#tensors + 1] = { name = "blk.1." .. name .. ".bias", type = "f32", shape = { 64 },
        data = core.quant.buffer(1, 64):fill(0.3):bytes() }
    end
    if edit then edit(meta, tensors) end
  end
end

describe("scales of products", function()
  support.check_leaks()

  for _, what in ipairs { "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down" } do
    it(what .. ".scale multiplies before the bias", function()
      local want = logits(nil, biased())
      assert.truthy(want == logits(nil, biased(scaled(what, 1, 0.25))))
      assert.falsy(want == logits(nil, biased(scaled(what, 1, 0.5))))
    end)
  end

  for _, what in ipairs { "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps" } do
    it(what .. ".scale has a value for each expert", function()
      local over = { experts = 6, used = 2, ff = 33 }
      local want = logits(over)
      assert.truthy(want == logits(over, scaled(what, 6, 0.25)))
      assert.falsy(want == logits(over, scaled(what, 6, 0.5)))
    end)
  end

  it("must have the shape of their use", function()
    local path = tiny.write(nil, scaled("ffn_up", 2, 0.25))
    local m, msg, code = model.load(path)
    assert.is_nil(m)
    assert.equal("EFORMAT", code)
    assert.truthy(msg:find("ffn_up.scale is 2, want 1", 1, true), msg)
    os.remove(path)
  end)
end)
