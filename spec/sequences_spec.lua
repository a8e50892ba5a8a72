-- Several sequences in one context, their copies and cuts, with keys and
-- values of equal and of different types: always the bits that a context of
-- its own gives.
local S = require "spec.support"
local wane = require "wane"

local DEMO = "examples/models/demo-f16.gguf"
local A = { 5, 9, 200, 1000, 3, 77, 12, 8 }
local B = { 700, 41, 6, 6, 90, 1500 }

describe("sequences", function()
  local model
  S.check_leaks(function()
    model = assert(wane.load(DEMO, { context = 64, threads = 2 }))
  end, function()
    model:close()
    model = nil
  end)

  local function context(kinds, n_seq)
    return assert(model.handle:context { n_ctx = 64, n_seq = n_seq or 1, n_out = 16,
      type_k = kinds[1], type_v = kinds[2] })
  end

  --- Bytes of the logits after `ids` in a context of their own.
  local function alone(kinds, ids)
    local c = context(kinds)
    assert(c:step(ids))
    local bytes = c:logits(1):bytes()
    c:close()
    return bytes
  end

  local function joined(a, n, b)
    local t = {}
    for i = 1, n or #a do t[i] = a[i] end
    for _, id in ipairs(b or {}) do t[#t + 1] = id end
    return t
  end

  for _, kinds in ipairs { { "f16", "f16" }, { "f16", "q8_0" }, { "q8_0", "f32" }, { "q4_0", "bf16" } } do
    local title = ("keys %s, values %s: "):format(kinds[1], kinds[2])

    it(title .. "two in one step, whatever their order", function()
      local c = context(kinds, 3)
      local ids, seq, want = {}, {}, {}
      for i = 1, math.max(#A, #B) do
        for s, list in pairs { [1] = A, [3] = B } do
          if list[i] then
            ids[#ids + 1], seq[#seq + 1], want[#want + 1] = list[i], s, i == #list
          end
        end
      end
      assert(c:step(ids, { seq = seq, want = want }))
      local row = {}
      for i = 1, #ids do
        if want[i] then row[#row + 1] = seq[i] end
      end
      for i = 1, 2 do
        assert.is_true(alone(kinds, row[i] == 1 and A or B) == c:logits(i):bytes(), "sequence " .. row[i])
      end
      assert.same({ #A, 0, #B }, { c:n_past(1), c:n_past(2), c:n_past(3) })
      c:close()
    end)

    it(title .. "a copy goes its own way", function()
      local c = context(kinds, 3)
      assert(c:step(A, { seq = 1 }))
      assert(c:step(B, { seq = 2 })) -- what a copy replaces
      assert(c:copy(1, 2, 5))
      assert.equal(5, c:n_past(2))
      assert(c:step({ 300, 301 }, { seq = 2 }))
      assert.is_true(alone(kinds, joined(A, 5, { 300, 301 })) == c:logits(1):bytes(), "the copy")
      assert(c:step({ 300, 301 }, { seq = 1 }))
      assert.is_true(alone(kinds, joined(A, nil, { 300, 301 })) == c:logits(1):bytes(), "the origin")
      assert(c:copy(2, 3, 6)) -- of the copy, with the step after it
      assert(c:step({ 9 }, { seq = 3 }))
      assert.is_true(alone(kinds, joined(A, 5, { 300, 9 })) == c:logits(1):bytes(), "the copy's copy")
      c:close()
    end)

    it(title .. "cut and gone on with", function()
      local c = context(kinds, 2)
      assert(c:step(A, { seq = 2 }))
      assert(c:truncate(3, 2))
      assert.equal(3, c:n_past(2))
      assert(c:step(B, { seq = 2 }))
      assert.is_true(alone(kinds, joined(A, 3, B)) == c:logits(1):bytes())
      c:close()
    end)
  end

  it("out of range are refused by number", function()
    local c = context({ "f16", "f16" }, 2)
    assert(c:step(A))
    assert.error_matches(function() c:step({ 1 }, { seq = 3 }) end, "sequence 3 of 2")
    assert.error_matches(function() c:step({ 1, 2 }, { seq = { 1, 4294967295 } }) end, "token 2 is for sequence 4294967295 of 2")
    for _, case in ipairs {
      { { 1 }, { seq = 0 }, "ctx:step: option 'seq': item 1: want an integer from 1 to 4294967295, got 0" },
      { { 1, 2 }, { seq = { 1, 0 } }, "ctx:step: option 'seq': item 2: want an integer from 1 to 4294967295, got 0" },
      { { 1, 2 }, { seq = { 1, "x" } }, "ctx:step: option 'seq': item 2: want an integer from 1 to 4294967295, got string" },
      { { 1, 2 }, { seq = { 1 } }, "ctx:step: option 'seq': 2 tokens, 1 sequences" },
      { { 1 }, { seq = "1" }, "ctx:step: option 'seq': want a number or a list with one for each token, got a string" },
      { { 1 }, { want = 5 }, "ctx:step: option 'want': want \"last\", \"none\"" },
      { { 1, {} }, {}, "ctx:step: tokens: item 2: want an integer from -2147483648 to 2147483647, got table" },
    } do
      local ok, why = pcall(c.step, c, case[1], case[2])
      assert.is_false(ok)
      assert.truthy(why:find(case[3], 1, true), why)
    end
    assert.error_matches(function() c:truncate(0, 3) end, "sequence 3 of 2")
    assert.error_matches(function() c:copy(3, 1, 0) end, "sequence 3 of 2")
    assert.error_matches(function() c:copy(1, 3, 0) end, "sequence 3 of 2")
    assert.error_matches(function() c:copy(1, 2, #A + 1) end, "9 tokens of a sequence of 8")
    assert.equal(0, c:n_past(3))
    assert.equal(#A, c:n_past(1)) -- nothing of it changed anything
    c:close()
  end)
end)
