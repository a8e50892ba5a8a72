--- Saved states: exact to the bit, transactional, refused with a reason.
local stream = require("wane.core").stream
local support = require "spec.support"
local wane = require "wane"

local DEMO = "examples/models/demo-f16.gguf"

-- The digest that ends a state: two 8-byte numbers, least byte first.
local function seal(bytes)
  local hex = stream.digest_hex(stream.digest(nil, bytes))
  local half = function(digits)
    local out = {}
    for i = 15, 1, -2 do out[#out + 1] = string.char(tonumber(digits:sub(i, i + 1), 16)) end
    return table.concat(out)
  end
  return half(hex:sub(17, 32)) .. half(hex:sub(1, 16))
end

local function whole(it)
  local parts = {}
  for text in it do parts[#parts + 1] = text end
  return table.concat(parts)
end

-- n as bytes, least first.
local function le(n, bytes)
  local out = {}
  for i = 1, bytes do
    out[i] = string.char(n % 256)
    n = (n - n % 256) / 256
  end
  return table.concat(out)
end

describe("a saved state", function()
  local model
  support.check_leaks(function()
    model = assert(wane.load(DEMO, { context = 96, threads = 1 }))
  end, function()
    model:close()
    model = nil
  end)

  local ids = { 0, 5, 9, 200, 100, 3, 77, 31 }

  it("goes on with the same bits, in another context and after the model was loaded again", function()
    for _, kv in ipairs { "f16", "f32", "q8_0", { k = "q8_0", v = "f16" } } do
      local a = assert(model:context { kv = kv, sequences = 2 })
      assert(a:eval(ids, { seq = 2 }))
      assert(a:eval { 1, 2, 3 })
      local bytes = assert(a:save())
      local want = assert(a:eval({ 42 }, { seq = 2 })):bytes()
      local other = assert(wane.load(DEMO, { context = 96, threads = 1 }))
      local b = assert(other:context { kv = kv, sequences = 3, context = 64 })
      assert(b:eval({ 7, 7 }, { seq = 3 }))
      assert(b:load(bytes))
      assert.same({ 3, 8, 0 }, { b:n_past(1), b:n_past(2), b:n_past(3) })
      assert.same(ids, b:held(2))
      assert.is_true(want == assert(b:eval({ 42 }, { seq = 2 })):bytes())
      assert.is_true(bytes ~= assert(b:save()))
      for _, x in ipairs { a, b, other } do x:close() end
    end
  end)

  it("is one sequence, put where it is wanted, through a file", function()
    local path = support.tmp "one.state"
    local a = assert(model:context { sequences = 2 })
    assert(a:eval(ids, { seq = 2 }))
    assert.is_true(a:save(path, { seq = 2 }))
    local nothing, _, code = a:save(path)
    assert.is_nil(nothing)
    assert.equals("EEXIST", code)
    assert.is_true(a:save(path, { seq = 2, overwrite = true }))
    assert.is_true(a:load(path, { seq = 1 }))
    assert.same(ids, a:held(1))
    assert.is_true(assert(a:eval({ 4 }, { seq = 1 })):bytes() == assert(a:eval({ 4 }, { seq = 2 })):bytes())
    local missing, message, kind = a:load(path .. ".absent")
    assert.is_nil(missing)
    assert.matches("absent", message)
    assert.equals("ENOENT", kind)
    a:close()
    os.remove(path)
  end)

  it("carries a conversation", function()
    local o = { temperature = 0, max_tokens = 8 }
    local a = assert(model:context())
    o.context = a
    local first = whole(model:generate("Once upon a time", o))
    local bytes = assert(a:save())
    local b = assert(model:context())
    assert(b:load(bytes))
    o.context = b
    local gen = model:generate(" there", o)
    local second = whole(gen)
    o.context = a
    assert.equals(second, whole(model:generate(" there", o)))
    assert.equals(1, gen:stats().n_prompt)
    assert.is_true(#first > 0)
    a:close()
    b:close()
  end)

  -- Tries to load; the context must be what it was.
  local function refused(ctx, before, bytes, pattern, codes, opts)
    local ok, message, code = ctx:load(bytes, opts)
    assert.is_nil(ok)
    assert.matches(pattern, message)
    assert.is_true((" " .. codes .. " "):find(" " .. code .. " ", 1, true) ~= nil, code .. ": " .. message)
    assert.is_true(before == assert(ctx:save()), "the context has changed")
  end

  it("is refused when it is damaged anywhere, and nothing has changed", function()
    local a = assert(model:context { sequences = 2 })
    assert(a:eval { 9, 8 })
    assert(a:eval({ 1, 2, 3 }, { seq = 2 }))
    local good = assert(a:save())
    local b = assert(model:context { sequences = 2 })
    assert(b:eval { 5, 6, 7 })
    local before = assert(b:save())
    local n = #good
    for cut = 0, n - 1, math.max(1, math.floor(n / 400)) do
      refused(b, before, good:sub(1, cut), "saved state: ", "EFORMAT")
    end
    for at = 1, n, math.max(1, math.floor(n / 300)) do
      local byte = (good:byte(at) + 1) % 256
      refused(b, before, good:sub(1, at - 1) .. string.char(byte) .. good:sub(at + 1), "saved state: ", "EFORMAT")
    end
    refused(b, before, good .. "x", "damaged or ends too early", "EFORMAT")
    refused(b, before, "\0nothing of ours", "this is none", "EFORMAT")
    refused(b, before, good, "it has 2 sequences, wanted one", "EUNSUP", { seq = 1 })
    a:close()
    b:close()
  end)

  it("is refused when its numbers lie, though its digest does not", function()
    local a = assert(model:context())
    assert(a:eval { 9, 8, 7 })
    local good = assert(a:save())
    local before = good
    local head, first = 8 + 16 + 16, 16
    local function forged(at, bytes)
      local body = good:sub(1, at) .. bytes .. good:sub(at + 1 + #bytes, -17)
      return body .. seal(body)
    end
    assert.is_true(a:load(forged(head, le(0, 4)))) -- the forger knows its trade
    refused(a, before, forged(head, le(4294967295, 4)), "it has sequence", "EUNSUP")
    refused(a, before, forged(head, le(1, 4)), "it has sequence 2, this context 1", "EUNSUP")
    refused(a, before, forged(head + 4, le(4294967295, 4)), "room for 96", "EUNSUP")
    refused(a, before, forged(head + 4, le(97, 4)), "room for 96", "EUNSUP")
    refused(a, before, forged(head + 4, le(4, 4)), "another size than its tokens", "EFORMAT")
    refused(a, before, forged(head + 8, ("\255"):rep(8)), "another size than its tokens", "EFORMAT")
    refused(a, before, forged(head + first, ("\255"):rep(4)), "not of the vocabulary", "EFORMAT")
    refused(a, before, forged(head - 4, le(2, 4)), "sequence is missing", "EFORMAT")
    refused(a, before, forged(head - 4, le(0, 4)), "too long", "EFORMAT")
    refused(a, before, forged(head - 4, le(4294967295, 4)), "sequence is missing", "EFORMAT")
    refused(a, before, forged(7, "\2"), "another version", "EFORMAT")
    refused(a, before, forged(8, "\1\2\3"), "another model", "EUNSUP")
    refused(a, before, forged(24, le(99, 4)), "other types", "EUNSUP")
    -- anything goes in the keys and values: what comes of it is a later error
    assert.is_true(a:load(forged(#good - 16 - 64, ("\255"):rep(64))))
    a:close()
  end)

  it("is refused by another model, by another cache, and where there is no room", function()
    local a = assert(model:context { sequences = 2 })
    assert(a:eval(ids))
    assert(a:eval(ids, { seq = 2 }))
    local bytes = assert(a:save())
    local function by(m, opts, pattern)
      local ctx = assert(m:context(opts))
      local before = assert(ctx:save())
      refused(ctx, before, bytes, pattern, "EUNSUP")
      ctx:close()
    end
    by(model, { kv = "f32" }, "other types")
    by(model, { sequences = 1 }, "it has sequence 2, this context 1")
    by(model, { sequences = 2, context = 4 }, "a sequence of 8 tokens")
    -- a relative: the same file with one weight changed
    local data, path = support.slurp(DEMO), support.tmp "relative.gguf"
    local f = assert(wane.gguf.open(DEMO))
    local off = f:tensor("blk.0.attn_norm.weight").off
    f:close()
    support.spit(path, data:sub(1, off) .. "\0\0\0\64" .. data:sub(off + 5))
    local relative = assert(wane.load(path, { context = 96 }))
    by(relative, { sequences = 2 }, "another model")
    relative:close()
    os.remove(path)
    a:close()
  end)

  it("is a consistent cut between steps, and refused while somebody runs there", function()
    local a = assert(model:context())
    local gen = model:generate("Once upon a time", { context = a, temperature = 0, max_tokens = 20 })
    for _ = 1, 3 do gen() end
    local bytes = assert(a:save())
    assert.equals(a:n_past(), #a:held())
    local ok, _, code = a:load(bytes)
    assert.is_nil(ok)
    assert.equals("EBUSY", code)
    local rest = whole(gen)
    assert.is_true(#rest > 0)
    assert.is_true(a:load(bytes))
    a:close()
  end)

  it("raises on misuse", function()
    local a = assert(model:context())
    assert.error_matches(function() a:load(5) end, "want a path or saved bytes")
    assert.error_matches(function() a:save(5) end, "path: want a string")
    assert.error_matches(function() a:save(nil, { seq = 2 }) end, "sequence 2 of 1")
    assert.error_matches(function() a:save(nil, { seq = 0 }) end, "option 'seq'")
    assert.error_matches(function() a:save(nil, { colour = 1 }) end, "unknown option 'colour'")
    a:close()
  end)
end)
