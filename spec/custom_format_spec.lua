--- Formats defined in Lua: define, codebook, uniform, presets.
local quant = require "wane.quant"
local rows = require "spec.support.rows"
local support = require "spec.support"

local function weights(kind, n_rows, n_cols, seed)
  return quant.buffer(n_rows, n_cols, rows.make(rows.kinds[kind], seed or 5, n_rows, n_cols))
end

local function sign(name, calls)
  return {
    name = name, block = 32, bits = 2,
    encode = function(row, importance)
      if calls then calls[#calls + 1] = { n = #row, importance = importance } end
      local sum = 0
      for i = 1, #row do sum = sum + math.abs(row[i]) end
      local code = { scale = sum / #row }
      for i = 1, #row do code[i] = row[i] < 0 and -1 or 1 end
      return code
    end,
    decode = function(code, n)
      local out = {}
      for i = 1, n do out[i] = code[i] * code.scale end
      return out
    end,
  }
end

describe("quant.define", function()
  support.check_leaks()
  after_each(function()
    for _, name in ipairs { "sign", "broken" } do quant.undefine(name) end
  end)

  it("gives a format that measures by name or by value", function()
    local f = quant.define(sign "sign")
    local w = weights(1, 3, 64)
    local q = assert(quant.encode("SIGN", w))
    local d = q:decode()
    for r = 1, 3 do
      for b = 0, 1 do
        local sum = 0
        for i = 1, 32 do sum = sum + math.abs(w[(r - 1) * 64 + 32 * b + i]) end
        local i = (r - 1) * 64 + 32 * b + 7
        assert.near((w[i] < 0 and -1 or 1) * sum / 32, d[i], 1e-7)
      end
    end
    assert.near(q:error(w).rmse, quant.distance(w, d).rmse, 0)
    assert.equal(q:error(w).rmse, w:error(f).rmse)
    assert.same(d:rows(2):table(), q:decode(2):table())
    assert.equal(6, q:count())
    assert.equal(2, q:bits_per_weight())
    assert.equal("custom", quant.type("sign").class)
    local text = q:explain(4)
    assert.truthy(text:find("sign, block 4 of 6: row 2, columns 33-64, 2 bits per weight", 1, true), text)
    assert.truthy(text:find("rms error", 1, true))
  end)

  it("hands over one block at a time, with its importance", function()
    local calls, imp = {}, {}
    quant.define(sign("sign", calls))
    for i = 1, 64 do imp[i] = i end
    assert(quant.encode("sign", weights(1, 1, 64), { importance = imp }))
    assert.equal(2, #calls)
    assert.equal(32, calls[2].n)
    assert.equal(33, calls[2].importance[1])
    assert.equal(64, calls[2].importance[32])
  end)

  it("refuses to be written, and says what to do", function()
    quant.define(sign "sign")
    local q = quant.encode("sign", weights(1, 1, 32))
    local bytes, msg, code = q:bytes()
    assert.is_nil(bytes)
    assert.equal("EUNSUP", code)
    assert.truthy(msg:find("'sign' is defined in Lua", 1, true))
    assert.is_nil((quant.blocks("sign", "", 1, 32)))
    local types = require "wane.recipe.types"
    local t, why = types.writable "sign"
    assert.is_nil(t)
    assert.truthy(why:find("defined in Lua", 1, true))
  end)

  it("checks definitions", function()
    local good = sign "sign"
    for key, bad in pairs {
      name = 5, block = 0, encode = "f", decode = false, bits = {}, prepare = 1,
    } do
      local def = {}
      for k, v in pairs(good) do def[k] = v end
      def[key] = bad
      assert.is_false((pcall(quant.define, def)), key)
    end
    assert.has_error(function() quant.define { name = "sign", encode = print } end, "wane: quant.define: option 'decode' is missing: want a function")
    assert.has_error(function() quant.define { name = "Q4_k", encode = print, decode = print } end,
      "wane: quant.define: option 'name': 'Q4_k' is the name of a built-in format")
    assert.error_matches(function() quant.define { name = "x", blocks = 32, encode = print, decode = print } end,
      "unknown option 'blocks'")
    assert.error_matches(function() quant.define "sign" end, 'quant%.define: definition: want a table, got "sign"')
  end)

  it("checks data as built-in formats do", function()
    quant.define(sign "sign")
    local w = weights(1, 2, 64)
    assert.equal("EFORMAT", select(3, quant.encode("sign", quant.buffer(1, 33))))
    w[70] = 0 / 0
    local _, msg, code = quant.encode("sign", w)
    assert.equal("EDATA", code)
    assert.truthy(msg:find("row 2, column 6 is", 1, true))
    assert(quant.encode("sign", w, { nonfinite = "zero" }))
    local imp = {}
    for i = 1, 64 do imp[i] = 1 end
    imp[3] = -1
    assert.equal("EFORMAT", select(3, quant.encode("sign", weights(1, 1, 64), { importance = imp })))
    assert.error_matches(function() quant.encode("sign", w, { importance = { 1 } }) end,
      "the importance vector has 1 values, want one for each of 64 columns")
  end)

  it("reports functions that return nonsense", function()
    local w = weights(1, 1, 32)
    quant.define { name = "broken", block = 32, encode = function() end, decode = function() return {} end }
    assert.has_error(function() quant.encode("broken", w) end, "wane: format 'broken': encode returned nil")
    quant.define { name = "broken", block = 32, encode = function() return 1 end, decode = function() return {} end }
    assert.has_error(function() quant.encode("broken", w):decode() end,
      "wane: format 'broken': decode returned 0 values, want 32 numbers")
    quant.define { name = "broken", block = 32, encode = function() error "mine" end, decode = print }
    local ok, err = pcall(quant.encode, "broken", w)
    assert.is_false(ok)
    assert.truthy(err:find "mine")
  end)
end)

describe("quant.uniform", function()
  support.check_leaks()

  it("symmetric: every error is at most half a step", function()
    local w = weights(1, 4, 64)
    for _, per in ipairs { "block", "channel", "tensor" } do
      local f = quant.uniform { bits = 4, symmetric = true, per = per, block = per == "block" and 32 or nil }
      local q = assert(quant.encode(f, w))
      local d = q:decode()
      for i = 1, #w do
        local n = ({ block = 32, channel = 64, tensor = 256 })[per]
        local from, m = i - (i - 1) % n, 0
        for k = from, from + n - 1 do m = math.max(m, math.abs(w[k])) end
        assert.is_true(math.abs(d[i] - w[i]) <= m / 7 / 2 * 1.000001, per)
      end
      quant.undefine(f.name)
    end
  end)

  it("affine: zero is exact and the range is used", function()
    local f = quant.uniform { bits = 4, block = 32 }
    local list = {}
    for i = 1, 32 do list[i] = (i - 1) / 31 * 3 end
    local w = quant.buffer(1, 32, list)
    local q = quant.encode(f, w)
    assert.equal(0, q:decode()[1])
    assert.is_true(q:error(w).max <= 0.1 * 1.000001)
    assert.is_true(q:error(w).rmse < quant.encode(quant.uniform { bits = 4, block = 32, symmetric = true }, w)
      :error(w).rmse)
    for i = 1, 32 do w[i] = 2 end
    assert.near(2, quant.encode(f, w):decode()[5], 1e-6)
    w:fill(0)
    assert.equal(0, quant.encode(f, w):error(w).max)
    assert.near(4 + 36 / 32, f.bits, 1e-12)
    assert.truthy(quant.encode(f, w):explain(1):find("zero point = 0", 1, true))
  end)

  it("raises on nonsense", function()
    for _, o in ipairs {
      { bits = 1 }, { bits = 4.5 }, { bits = 4, per = "row" }, { bits = 4, group = 32 }, { bits = 4, block = 0 },
      { bits = 4, per = "tensor", block = 32 },
    } do
      assert.is_false((pcall(quant.uniform, o)))
    end
  end)
end)

describe("quant.codebook", function()
  support.check_leaks()

  --- Mean squared distance of a list to its nearest of `levels`.
  local function cost(list, levels)
    local sum = 0
    for _, v in ipairs(list) do
      local least = math.huge
      for _, l in ipairs(levels) do least = math.min(least, (v - l) ^ 2) end
      sum = sum + least
    end
    return sum
  end

  it("finds separated clusters exactly", function()
    local list = {}
    for i = 1, 120 do list[i] = ({ -3, -1, 0.5, 2 })[i % 4 + 1] + (i % 3 - 1) * 0.01 end
    local w = quant.buffer(1, 120, list)
    for _, fit in ipairs { "kmeans", "lloyd" } do
      local f = quant.codebook { levels = 4, per = "tensor", scale = "none", fit = fit }
      local e = w:error(f)
      assert.is_true(e.max < 0.0101, fit .. " " .. e.max)
      assert.near(0.01 * math.sqrt(2 / 3), e.rmse, 1e-4)
      quant.undefine(f.name)
    end
  end)

  it("kmeans is never worse than lloyd, and better than even levels", function()
    for seed = 1, 6 do
      local w = weights(2, 2, 512, seed)
      local function err(o) return w:error(quant.codebook(o)).rmse end
      local best = err { levels = 8, per = "tensor", fit = "kmeans", name = "fitted" }
      assert.is_true(best <= err { levels = 8, per = "tensor", fit = "lloyd", name = "fitted" } * 1.001)
      local even = {}
      for i = 1, 8 do even[i] = (i - 4.5) / 3.5 end
      assert.is_true(best < err { levels = even, per = "tensor", name = "fitted" })
      -- moving any one level makes it worse: a local optimum at least
      local q = quant.encode("fitted", w)
      quant.undefine "fitted"
      assert.is_true(q:error(w).rmse > 0)
      assert.is_true(cost(w:table(), w:table()) == 0)
    end
  end)

  it("weighs by importance", function()
    local w = quant.buffer(1, 64, rows.make(rows.kinds[1], 9, 1, 64))
    local imp = {}
    for i = 1, 64 do imp[i] = i <= 8 and 1000 or 0.001 end
    local f = quant.codebook { levels = 8, per = "tensor", scale = "none" }
    local with = quant.encode(f, w, { importance = imp }):error(w, imp).weighted
    local without = quant.encode(f, w):error(w, imp).weighted
    quant.undefine(f.name)
    assert.is_true(with < 0.2 * without, with .. " " .. without)
  end)

  it("takes given levels and fewer values than levels", function()
    local w = quant.buffer(1, 6, { -1, 0.2, 0.8, 0, 0.5, 1 })
    local three = quant.codebook { levels = { 1, -1, 0 }, block = 6, name = "three" }
    assert.same({ -1, 0, 1, 0 }, quant.encode(three, w):decode():table(1, 4))
    local many = quant.codebook { levels = 16, block = 6, name = "three" }
    assert.is_true(w:error(many).max < 1e-6)
    w:fill(0)
    assert.equal(0, w:error(many).max)
    quant.undefine "three"
    for _, o in ipairs {
      { levels = 1 }, { levels = { 0, 0 } }, { levels = { 1 } }, { levels = { 1, 0 / 0 } }, { fit = "best" },
      { levels = { 1, 2 }, fit = "lloyd" }, { clusters = 16 },
    } do
      assert.is_false((pcall(quant.codebook, o)))
    end
  end)
end)

describe("quant presets", function()
  support.check_leaks()

  it("are there by name and ordered by error as their bits say", function()
    local w = weights(1, 4, 256)
    local e = {}
    for _, name in ipairs { "nf4", "fp8_e4m3", "fp8_e5m2", "int8", "int4" } do
      assert.equal("custom", quant.type(name).class)
      e[name] = assert(w:error(name)).relative
    end
    assert.is_true(e.int8 < e.fp8_e4m3 and e.fp8_e4m3 < e.fp8_e5m2)
    assert.is_true(e.fp8_e5m2 < e.nf4 and e.fp8_e5m2 < e.int4)
    assert.is_true(e.nf4 < 0.12 and e.int4 < 0.12)
  end)

  it("fp8 rounds to the nearest number, halves to even", function()
    -- the largest magnitude sets the scale: 448 and 57344 make it 1
    local w = quant.buffer(1, 8, { 448, 1.0625, 1.1875, -1.0626, 0.001, 2 ^ -9, 2 ^ -10, 17 })
    assert.same({ 448, 1, 1.25, -1.125, 2 ^ -9, 2 ^ -9, 0, 16 }, quant.roundtrip("fp8_e4m3", w):table())
    w = quant.buffer(1, 4, { -57344, 1.125, 1.375, 2 ^ -16 })
    assert.same({ -57344, 1, 1.5, 2 ^ -16 }, quant.roundtrip("fp8_e5m2", w):table())
  end)
end)
