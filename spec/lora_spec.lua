--- Adapters: what they add at run time is what merging them into the weights
--- gives; they are switched for each text; files that lie are refused.
local adapters = require "spec.support.adapters"
local support = require "spec.support"
local wane = require "wane"

local DEMO = "examples/models/demo-f16.gguf"
local WIDTH, adapter = 256, adapters.lora
local numbers, floats = adapters.numbers, adapters.floats

local function logits(model, ids)
  local ctx = assert(model:context { context = 32 })
  local row = assert(ctx:eval(ids))
  local out = {}
  for i = 1, 2048 do out[i] = row[i] end
  ctx:close()
  return out
end

local function farthest(a, b)
  local d = 0
  for i = 1, #a do d = math.max(d, math.abs(a[i] - b[i])) end
  return d
end

local function whole(it)
  local parts = {}
  for text in it do parts[#parts + 1] = text end
  return table.concat(parts)
end

describe("an adapter", function()
  support.check_leaks()
  local ids = { 1, 40, 77, 300, 12 }

  it("adds at run time what merging adds to the weights", function()
    local path, f32_model, to = adapter(), support.tmp "f32.gguf", support.tmp "merged.gguf"
    assert(wane.quantize { from = DEMO, to = f32_model, recipe = "F32", overwrite = true, progress = function() end })
    for _, scale in ipairs { 1, -0.5 } do
      assert(wane.lora.merge { from = f32_model, lora = { path = path, scale = scale }, to = to, overwrite = true })
      local merged = assert(wane.load(to, { context = 64, threads = 1 }))
      local adapted = assert(wane.load(f32_model, { context = 64, threads = 1, lora = { { path = path, scale = scale } } }))
      local plain = assert(wane.load(f32_model, { context = 64, threads = 1 }))
      local a, b, c = logits(merged, ids), logits(adapted, ids), logits(plain, ids)
      assert.is_true(farthest(a, c) > 0.1, "the adapter does nothing")
      assert.is_true(farthest(a, b) < 1e-2 * farthest(a, c), ("%g of %g"):format(farthest(a, b), farthest(a, c)))
      for _, m in ipairs { merged, adapted, plain } do m:close() end
    end
    -- the file keeps all else
    local x, y = assert(wane.gguf.open(f32_model)), assert(wane.gguf.open(to))
    assert.equals(#x.tensors, #y.tensors)
    assert.is_true(x:tensor("blk.1.attn_q.weight"):raw() == y:tensor("blk.1.attn_q.weight"):raw())
    assert.is_true(x:tensor("blk.0.attn_q.weight"):raw() ~= y:tensor("blk.0.attn_q.weight"):raw())
    x:close()
    y:close()
    for _, p in ipairs { path, f32_model, to } do os.remove(p) end
  end)

  it("is switched for each text, several at once, in one context", function()
    local one, two = adapter(), adapter { seed = 5, rank = 2, alpha = 3 }
    local function alone(list)
      local m = assert(wane.load(DEMO, { context = 64, threads = 1, lora = list }))
      local text = whole(m:generate("Once upon a time", { max_tokens = 12, temperature = 0 }))
      m:close()
      return text
    end
    local want = {
      alone(nil), alone { one }, alone { two }, alone { one, { path = two, scale = 0.5 } },
    }
    assert.is_true(want[1] ~= want[2] and want[2] ~= want[3], "they do nothing")
    local m = assert(wane.load(DEMO, { context = 64, threads = 1, lora = { one, two } }))
    local ctx = assert(m:context { sequences = 3 })
    local batch, gens = ctx:batch(), {}
    for round = 1, 2 do -- the second time over what the first left: nothing foreign is taken over
      for i, scales in ipairs { {}, { 1 }, { 0, 1 }, { 1, 0.5 } } do
        gens[i] = assert(batch:add("Once upon a time", { max_tokens = 12, temperature = 0, lora = scales }))
      end
      while batch:step() > 0 do end
      for i, gen in ipairs(gens) do
        local text = ""
        repeat
          local piece, running = gen:take()
          text = text .. assert(piece)
        until not running
        assert.equals(want[i], text, round .. "/" .. i)
        gen:close()
      end
    end
    -- a saved sequence keeps its scales
    ctx:truncate(0)
    ctx.handle:gains({ 0.25, 2 }, 1)
    assert(ctx:eval(ids))
    local bytes, other = assert(ctx:save(nil, { seq = 1 })), assert(m:context())
    assert(other:load(bytes, { seq = 1 }))
    assert.is_true(assert(ctx:eval { 9 }):bytes() == assert(other:eval { 9 }):bytes())
    other:close()
    ctx:close()
    assert.error_matches(function() m:generate("x", { lora = { 1, 1, 1 } }) end, "no adapter 3, the model has 2")
    assert.error_matches(function() m:generate("x", { lora = { "a" } }) end, "a list of scales")
    m:close()
    os.remove(one)
    os.remove(two)
  end)

  it("leaves every bit alone when it is off", function()
    local path = adapter()
    local m, plain = assert(wane.load(DEMO, { threads = 1, lora = path })), assert(wane.load(DEMO, { threads = 1 }))
    local a, b = assert(m:context { context = 32 }), assert(plain:context { context = 32 })
    a.handle:gains { 0 }
    assert.is_true(assert(a:eval(ids)):bytes() == assert(b:eval(ids)):bytes())
    for _, x in ipairs { a, b, m, plain } do x:close() end
    os.remove(path)
  end)

  it("may be a control vector", function()
    local path, layers = support.tmp "control.gguf", {}
    for _, layer in ipairs { 2, 5, 7 } do
      layers[#layers + 1] = {
        name = "direction." .. layer, type = "f32", shape = { WIDTH }, data = floats(numbers(WIDTH, layer, 0.5)),
      }
    end
    assert(wane.gguf.write { path = path, overwrite = true, tensors = layers, meta = { { "general.architecture", "string", "controlvector" } } })
    local m, plain = assert(wane.load(DEMO, { threads = 1, lora = path })), assert(wane.load(DEMO, { threads = 1 }))
    assert.is_true(farthest(logits(m, ids), logits(plain, ids)) > 0.1)
    local n = select(2, m:program():gsub("control%.1%.%d+ ", ""))
    assert.is_true(n >= 3, m:program())
    local ctx, other = assert(m:context { context = 32 }), assert(plain:context { context = 32 })
    ctx.handle:gains { 0 }
    assert.is_true(assert(ctx:eval(ids)):bytes() == assert(other:eval(ids)):bytes())
    local ok, message, code = wane.lora.merge { from = DEMO, to = support.tmp "x.gguf", lora = path }
    assert.is_nil(ok)
    assert.matches("cannot be merged", message)
    assert.equals("EUNSUP", code)
    for _, x in ipairs { ctx, other, m, plain } do x:close() end
    os.remove(path)
  end)

  it("is refused with a reason", function()
    local function refused(opts, pattern, want)
      local path = type(opts) == "string" and opts or adapter(opts)
      local m, message, code = wane.load(DEMO, { lora = path })
      assert.is_nil(m)
      assert.matches(pattern, message)
      assert.equals(want, code)
      os.remove(path)
    end
    local function edit(f) return { edit = f } end
    refused(edit(function(t) table.remove(t, 1) end), "lora_a is missing", "EFORMAT")
    refused(edit(function(t) t[1].name = "blk.0.nothing" end), "no half of an adapter", "EFORMAT")
    refused(edit(function(t) t[1].name, t[2].name = "blk.99.attn_q.weight.lora_a", "blk.99.attn_q.weight.lora_b" end),
      "no such matrix", "EUNSUP")
    refused(edit(function(t) t[1].shape, t[1].data = { 256, 3 }, floats(numbers(768, 3, 1)) end), "has 3 rows, lora_b 4", "EFORMAT")
    refused(edit(function(t) t[1].shape, t[1].data = { 128, 4 }, floats(numbers(512, 3, 1)) end), "is for a blk%.0%.attn_q%.weight of", "EFORMAT")
    refused(edit(function(t) t[2].shape, t[2].data = { 4, 100 }, floats(numbers(400, 3, 1)) end), "is for a blk%.0%.attn_q%.weight of", "EFORMAT")
    refused({ meta = { { "general.architecture", "string", "llama" } } }, "neither an adapter", "EFORMAT")
    local m, message, code = wane.load(DEMO, { lora = "/nowhere.gguf" })
    assert.is_nil(m)
    assert.matches("nowhere", message)
    assert.equals("ENOENT", code)
    assert.error_matches(function() wane.load(DEMO, { lora = 5 }) end, "lora: want a path")
    assert.error_matches(function() wane.load(DEMO, { lora = { { path = "x", size = 1 } } }) end, "unknown option 'size'")
    assert.error_matches(function() wane.lora.merge { from = DEMO, to = 5, lora = "x" } end, "option 'to'")
  end)
end)
