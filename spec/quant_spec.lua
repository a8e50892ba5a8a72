--- wane.quant: encoding, decoding, errors, explanations, hostile values, and
--- the conformance vectors of every format on every instruction set.
local core = require "wane.core"
local quant = require "wane.quant"
local rows = require "spec.support.rows"
local support = require "spec.support"

local has_json, json = pcall(require, "cjson")
local isas = {}
for _, isa in ipairs { "ref", "neon", "avx2", "avx512" } do
  local now = core.cpu().isa
  if core.set_isa(isa) then isas[#isas + 1] = isa end
  core.set_isa(now)
end

local function sha256(bytes) return core.stream.sha256_hex(core.stream.sha256(nil, bytes)) end

--- Runs f once for each instruction set of this machine.
local function each_isa(f)
  local best = core.cpu().best
  for _, isa in ipairs(isas) do
    assert(core.set_isa(isa))
    local ok, err = pcall(f, isa)
    core.set_isa(best)
    if not ok then error(err, 0) end
  end
end

local function make(kind, n_rows, n_cols, seed)
  for _, k in ipairs(rows.kinds) do
    if k[1] == kind then return core.quant.buffer(n_rows, n_cols, rows.make(k, seed or 1, n_rows, n_cols)) end
  end
  error("no kind " .. kind)
end

--- An importance vector that every type takes.
local function ones(n)
  local list = {}
  for i = 1, n do list[i] = 1 end
  return list
end

local function encodable()
  local list = {}
  for _, t in ipairs(quant.types()) do
    if t.encodable and t.class ~= "custom" then list[#list + 1] = t end
  end
  return list
end

describe("quant: buffers", function()
  support.check_leaks()

  it("hold rows x cols values, counted from 1", function()
    local b = assert(quant.buffer { { 1, 2, 3 }, { 4, 5, 6 } })
    assert.equal(6, #b)
    assert.equal(2, (b:shape()))
    assert.equal(6, b[6])
    assert.is_nil(b[0])
    assert.is_nil(b[7])
    assert.is_nil(b[1.5])
    b[6] = 7.5
    assert.equal(7.5, b[6])
    assert.error_matches(function() b[7] = 1 end, "buffer index out of range: want 1 to 6")
    assert.error_matches(function() b[1] = "x" end, "number expected, got string")
    assert.same({ 2, 3 }, b:table(2, 3))
  end)

  it("share memory with their views and keep it alive", function()
    local b = quant.buffer(3, 2, { 1, 2, 3, 4, 5, 6 })
    local v = b:rows(2, 3)
    local vv = v:rows(2)
    v[1] = 30
    assert.equal(30, b[3])
    b:close()
    assert.same({ 30, 4, 5, 6 }, v:table())
    v:close()
    assert.same({ 5, 6 }, vv:table())
    assert.has_error(function() return b:rows(1) end, "wane: buffer is closed")
    assert.error_matches(function() return vv:rows(2) end, "want an integer from 1 to 1")
  end)

  it("have statistics of their finite values", function()
    local s = quant.buffer(1, 5, { 1, -3, 1 / 0, 0 / 0, 2 }):stats()
    assert.equal(-3, s.min)
    assert.equal(2, s.max)
    assert.equal(0, s.mean)
    assert.equal(3, s.absmax)
    assert.near(math.sqrt(14 / 3), s.std, 1e-12)
    assert.equal(2, s.n_nonfinite)
  end)

  it("refuse sizes and contents that do not fit", function()
    for _, bad in ipairs {
      { -1, 4 }, { 2, 0 }, { 2.5, 1 }, { 1, "x" }, { 1, 2, { 1 } }, { 1, 2, { 1, "2" } }, { 1, 2, "1234567" },
      { 1, 2, true }, { 2 ^ 60, 2 ^ 60 },
    } do
      assert.is_false((pcall(quant.buffer, bad[1], bad[2], bad[3])))
    end
    local b, msg, code = quant.buffer(2 ^ 30, 2 ^ 30)
    assert.is_nil(b)
    assert.equal("ELIMIT", code, msg)
    assert.error_matches(function() quant.buffer { { 1, 2 }, { 3 } } end, "quant%.buffer: row 2 is not a list of 2 numbers")
  end)

  it("survive strange calls", function()
    local b = quant.buffer(1, 2)
    for _, f in ipairs { b.stats, b.rows, b.bytes, b.set, b.fill, b.table, b.close } do
      assert.is_false((pcall(f)))
      assert.is_false((pcall(f, {})))
      assert.is_false((pcall(f, io.stdout)))
    end
    assert.equal("wane.buffer", getmetatable(b))
    assert.is_true(b:close())
    assert.is_true(b:close())
    assert.has_error(function() return b[1] end, "wane: buffer is closed")
  end)
end)

describe("quant: blocks", function()
  support.check_leaks()

  it("come back as what was encoded, within the format's error", function()
    local w = make("gauss", 3, 512)
    local worst = { f32 = 0, f16 = 3e-4, bf16 = 3e-3, q8_0 = 0.01, q6_K = 0.02, q4_K = 0.09, q4_0 = 0.11 }
    for name, limit in pairs(worst) do
      local q = assert(quant.encode(name, w))
      local e = q:error(w)
      assert.is_true(e.relative <= limit, name .. " " .. e.relative)
      local d = q:decode()
      local sum, max = 0, 0
      for i = 1, #w do
        sum = sum + (d[i] - w[i]) ^ 2
        max = math.max(max, math.abs(d[i] - w[i]))
      end
      assert.near(math.sqrt(sum / #w), e.rmse, 1e-12)
      assert.equal(max, e.max)
      assert.same({ d:rows(2):table() }, { q:decode(2):table() })
      assert.equal(quant.type(name).bytes / quant.type(name).block * #w, #q:bytes())
    end
  end)

  it("can be made from bytes", function()
    local w = make("heavy", 2, 256)
    local q = quant.encode("q5_K", w)
    local p = assert(quant.blocks("Q5_K", q:bytes(), 2, 256))
    assert.equal(q:decode():bytes(), p:decode():bytes())
    assert.error_matches(function() quant.blocks("q5_K", "short", 2, 256) end,
      "the string has 5 bytes, want 352 %(2 rows of 176%)")
    local none, msg, code = quant.blocks("q5_K", "", 1, 100)
    assert.is_nil(none)
    assert.equal("EFORMAT", code, msg)
  end)

  it("tell their error, weighted when there is importance", function()
    local w = quant.buffer(1, 32, rows.make(rows.kinds[1], 3, 1, 32))
    local weights = ones(32)
    local q = quant.encode("q4_0", w)
    local plain, even = q:error(w), q:error(w, weights)
    assert.is_nil(plain.weighted)
    assert.near(plain.relative, even.weighted, 1e-12)
    for i = 2, 32 do weights[i] = 0 end
    local first = math.abs(q:decode()[1] - w[1]) / math.abs(w[1])
    assert.near(first, q:error(w, weights).weighted, 1e-9)
    assert.near(plain.relative, w:error("q4_0").relative, 1e-12)
    assert.error_matches(function() q:error(quant.buffer(2, 32)) end, "the buffer is 2 x 32, want 1 x 32")
    assert.error_matches(function() q:error(w, { 1, 2 }) end,
      "the importance vector has 2 values, want one for each of 32 columns")
  end)

  it("explain themselves, in every format", function()
    local w = make("heavy", 2, 512)
    for _, t in ipairs(encodable()) do
      local q = assert(quant.encode(t.name, w, { importance = t.needs_importance and ones(512) or nil }))
      for _, i in ipairs { 1, q:count() } do
        local b, d = q:block(i), q:decode()
        local at = (b.row - 1) * 512 + b.column - 1
        assert.equal(t.block, b.n)
        for k = 1, b.n do
          local s = math.floor((k - 1) / b.sub) + 1
          local min = b.mins and b.mins[s] or 0
          local v = b.scales[s] * b.levels[k] + min
          assert.equal(d[at + k], b.values[k])
          local slack = 1e-6 * (math.abs(min) + math.abs(b.values[k]))
          assert.is_true(math.abs(v - b.values[k]) <= slack, ("%s: %g, %g"):format(t.name, v, b.values[k]))
        end
        local text = q:explain(i)
        local _, lines = text:gsub("\n", "")
        assert.is_true(lines >= b.n, t.name)
        assert.truthy(text:find(t.name, 1, true))
        assert.truthy(text:find("rms error", 1, true))
      end
      assert.error_matches(function() q:explain(0) end, "want an integer from 1 to ")
      assert.error_matches(function() q:explain(q:count() + 1) end, "want an integer from 1 to ")
    end
  end)

  it("print a block the same on both Luas", function()
    local list = {}
    for i = 1, 32 do list[i] = (i - 9) / 8 end
    local text = quant.encode("q4_0", quant.buffer(1, 32, list)):explain(1)
    assert.truthy(text:find("q4_0, block 1 of 1: row 1, columns 1-32, 18 bytes, 4.5 bits per weight", 1, true))
    assert.truthy(text:find("d = -0.359375", 1, true))
    assert.truthy(text:find("\n +32 +2.875 +%-8 +2.875 +0\n", 1), text)
  end)
end)

describe("quant: misuse and hostile values", function()
  support.check_leaks()

  it("unknown names and options raise", function()
    local w = quant.buffer(1, 32)
    assert.has_error(function() quant.encode("q4_9", w) end, "wane: unknown type 'q4_9'")
    assert.error_matches(function() quant.encode("q4_0", w, { imatrix = {} }) end, "quant%.encode: unknown option 'imatrix'")
    assert.error_matches(function() quant.encode("q4_0", w, { nonfinite = "nan" }) end,
      'option .nonfinite.: want "error" or "zero", got "nan"')
    assert.error_matches(function() quant.encode("q4_0", { 1, 2 }) end, "wane%.buffer expected, got table")
    assert.error_matches(function() quant.encode(4, w) end, "no type has this id")
    assert.error_matches(function() quant.type(4) end, "quant%.type wants a name, found a number")
    assert.is_nil(quant.type "nothing")
    assert.equal("q4_K", quant.type("Q4_k").name)
  end)

  it("T8: rows fill blocks", function()
    for _, t in ipairs(encodable()) do
      if t.block > 1 then
        for _, n in ipairs { 1, t.block - 1, t.block + 1 } do
          local q, msg, code = quant.encode(t.name, quant.buffer(1, n), { importance = ones(n) })
          assert.is_nil(q)
          assert.equal("EFORMAT", code)
          assert.truthy(msg:find("multiple of", 1, true), msg)
        end
      end
    end
  end)

  it("integer tensors are read, not written", function()
    for _, name in ipairs { "i8", "i16", "i32", "i64", "f64" } do
      local _, _, code = quant.encode(name, quant.buffer(1, 4))
      assert.equal("EUNSUP", code)
    end
    assert.same({ 1, -2, 127, -128 }, quant.blocks("i8", "\1\254\127\128", 1, 4):decode():table())
    assert.same({ 513, -2 }, quant.blocks("i16", "\1\2\254\255", 1, 2):decode():table())
    assert.same({ -3 }, quant.blocks("i64", "\253" .. ("\255"):rep(7), 1, 1):decode():table())
    assert.same({ -1.5 }, quant.blocks("f64", "\0\0\0\0\0\0\248\191", 1, 1):decode():table())
  end)

  it("Q2: NaN and infinities are named by row and column, or zeroed", function()
    for _, t in ipairs(encodable()) do
      local opts = t.needs_importance and { importance = ones(512) } or {}
      for _, bad in ipairs { 0 / 0, 1 / 0, -1 / 0 } do
        local w = make("gauss", 3, 512)
        w[2 * 512 + 300] = bad
        local q, msg, code = quant.encode(t.name, w, opts)
        if t.class == "plain" and bad == bad then
          assert.equal(bad, q:decode()[2 * 512 + 300])
        else
          assert.is_nil(q)
          assert.equal("EDATA", code)
          assert.truthy(msg:find("row 3, column 300 is", 1, true), msg)
        end
        local zeroed = assert(quant.encode(t.name, w, { importance = opts.importance, nonfinite = "zero" }))
        w[2 * 512 + 300] = 0
        assert.equal(quant.encode(t.name, w, opts):bytes(), zeroed:bytes())
      end
    end
  end)

  it("Q2: huge, tiny, denormal and zero values always encode", function()
    local list = {}
    for _, scale in ipairs { 3e38, 1e38, 1e30, 65504, 1e-20, 1e-38, 1e-40, 1.5e-45, 0 } do
      for i = 1, 256 do list[#list + 1] = scale * math.sin(i * i) end
    end
    local w = quant.buffer(#list / 256, 256, list)
    for _, t in ipairs(encodable()) do
      local first
      each_isa(function(isa)
        for _, imp in ipairs { t.needs_importance and ones(256) or false, t.uses_importance and ones(256) or false } do
          local q = assert(quant.encode(t.name, w, { importance = imp or nil }))
          assert.equal("number", type(q:error(w).rmse))
          if not imp or t.needs_importance then
            first = first or q:bytes()
            assert.is_true(first == q:bytes(), t.name .. " differs with " .. isa)
          end
        end
      end)
    end
  end)

  it("Q3: importance is finite, at least 0, of the right length, not all zero", function()
    local w = make("gauss", 1, 256)
    for _, t in ipairs(encodable()) do
      if t.uses_importance then
        for _, case in ipairs {
          { 7, 0 / 0, "importance 7 is nan" }, { 1, 1 / 0, "importance 1 is inf" },
          { 256, -1, "importance 256 is -1" },
        } do
          local imp = ones(256)
          imp[case[1]] = case[2]
          local q, msg, code = quant.encode(t.name, w, { importance = imp })
          assert.is_nil(q)
          assert.equal("EFORMAT", code)
          assert.truthy(msg:find(case[3], 1, true), msg)
        end
        local zeros = ones(256)
        for i = 1, 256 do zeros[i] = 0 end
        local _, msg, code = quant.encode(t.name, w, { importance = zeros })
        assert.equal("EFORMAT", code)
        assert.truthy(msg:find("all zero", 1, true))
        zeros[9] = 1e-30
        assert(quant.encode(t.name, w, { importance = zeros }))
      end
      assert.error_matches(function() quant.encode(t.name, w, { importance = ones(255) }) end,
        "the importance vector has 255 values, want one for each of 256 columns")
      assert.error_matches(function() quant.encode(t.name, w, { importance = { "x" } }) end,
        "value 1 of the table is a string, want a number")
    end
  end)

  it("types that need importance say what to do", function()
    for _, name in ipairs { "iq2_xxs", "iq2_xs", "iq1_s" } do
      assert.is_true(quant.type(name).needs_importance)
      local ok, err = pcall(quant.encode, name, quant.buffer(1, 256))
      assert.is_false(ok)
      assert.truthy(err:find("needs an importance vector", 1, true), err)
      assert.truthy(err:find("pass one, or choose", 1, true), err)
    end
  end)

  it("Q5: any bytes decode, to the same values on every instruction set", function()
    local r = rows.random(77)
    for _, t in ipairs(quant.types()) do
      if t.id then
        local n_cols = 3 * 256
        local bytes = {}
        for i = 1, 2 * n_cols / t.block * t.bytes do
          local x = r()
          bytes[i] = string.char(x < 0.1 and 255 or x > 0.9 and 0 or math.floor(r() * 256))
        end
        local first
        each_isa(function(isa)
          local d = quant.blocks(t.name, table.concat(bytes), 2, n_cols):decode():table()
          if not first then first = d end
          for i = 1, #d do
            local same = d[i] == first[i] or (d[i] ~= d[i] and first[i] ~= first[i])
            assert.is_true(same, ("%s, %s, value %d: %g and %g"):format(t.name, isa, i, d[i], first[i]))
          end
        end)
      end
    end
  end)

  it("running out of memory is an error and leaks nothing", function()
    local w = make("gauss", 2, 256)
    for n = 1, 8 do
      core.fail_alloc(n)
      local ok, q, msg, code = pcall(quant.encode, "q4_K", w, { nonfinite = "zero" })
      core.fail_alloc(0)
      assert.is_true(ok, q)
      if q == nil then assert.equal("ENOMEM", code, msg) else q:close() end
    end
  end)
end)

describe("quant: every instruction set gives the same bytes", function()
  support.check_leaks()
  local seed = tonumber(os.getenv "WANE_SEED") or 20250101

  for _, t in ipairs(encodable()) do
    it(t.name .. " (seed " .. seed .. ")", function()
      for _, shape in ipairs { { 2, 768 }, { 3, 256 }, { 7, 32 }, { 3, 96 }, { 1, 2304 } } do
        local n_rows, n_cols = shape[1], shape[2]
        for k, kind in ipairs(n_cols % t.block == 0 and rows.kinds or {}) do
          local w = quant.buffer(n_rows, n_cols, rows.make(kind, seed + k, n_rows, n_cols))
          for m, imp in ipairs(t.uses_importance and rows.importances or { rows.importances[1] }) do
            local weights = imp[2] and rows.make(imp, seed + 100 * m, 1, n_cols)
            if weights or not t.needs_importance then
              if weights then weights[1] = 1 end -- never all zero
              local want
              each_isa(function(isa)
                local got = assert(quant.encode(t.name, w, { importance = weights })):bytes()
                want = want or got
                assert.is_true(got == want, ("%s %s importance %s %dx%d"):format(isa, kind[1], imp[1], n_rows, n_cols))
              end)
            end
          end
        end
      end
    end)
  end
end)

-- ---------------------------------------------------------------------------

describe("quant: conformance", function()
  support.check_leaks()
  local dir = support.shared .. "conformance/quants/"
  local index = has_json and support.exists(dir .. "index.json") and json.decode(support.slurp(dir .. "index.json"))
  if not index then
    it("needs the conformance vectors and lua-cjson", function() support.skip "no vectors, or no lua-cjson" end)
    return
  end

  local inputs = {}
  local function input(name)
    local i = index.inputs[name]
    inputs[name] = inputs[name] or support.slurp(dir .. i.file)
    return quant.buffer(i.rows, i.cols, inputs[name])
  end

  --- imatrix "lognorm" of an input with n columns is the vector lognorm_<n>.
  local function importance(name, n)
    if name == nil or name == json.null then return nil end
    local i = index.imatrices[name] or index.imatrices[name .. "_" .. n]
    return quant.buffer(1, i.n, support.slurp(dir .. i.file))
  end

  --- Bytes with every NaN as 0x7fc00000.
  local function canonical(buffer)
    local list = buffer:table()
    local has_nan = false
    for i = 1, #list do
      if list[i] ~= list[i] then has_nan = true end
    end
    local bytes = buffer:bytes()
    if not has_nan then return bytes end
    local out = {}
    for i = 1, #list do
      out[i] = list[i] ~= list[i] and "\0\0\192\127" or bytes:sub(4 * i - 3, 4 * i)
    end
    return table.concat(out)
  end

  it("knows exactly the types of the index", function()
    local n = 0
    for _, t in ipairs(index.types) do
      local own = quant.type(t.name)
      assert.same({ t.id, t.block, t.bytes }, { own.id, own.block, own.bytes })
      assert.equal(t.requires_imatrix, own.needs_importance)
      n = n + 1
    end
    for _, t in ipairs(quant.types()) do
      if t.id then n = n - 1 end
    end
    assert.equal(0, n)
  end)

  local by_type, names = {}, {}
  for _, c in ipairs(index.cases) do
    if not by_type[c.type] then
      by_type[c.type] = {}
      names[#names + 1] = c.type
    end
    table.insert(by_type[c.type], c)
  end

  for _, name in ipairs(names) do
    it(("encodes %s as llama.cpp does, %d cases"):format(name, #by_type[name]), function()
      for _, c in ipairs(by_type[name]) do
        local w, want = input(c.input), support.slurp(dir .. c.file)
        local imp = importance(c.imatrix, index.inputs[c.input].cols)
        each_isa(function(isa)
          local q = assert(quant.encode(c.type, w, { importance = imp }))
          assert.is_true(q:bytes() == want, ("%s %s %s: bytes differ"):format(isa, c.input, tostring(c.imatrix)))
          if c.deq_sha256 and c.deq_sha256 ~= json.null then
            assert.equal(c.deq_sha256, sha256(q:decode():bytes()), isa .. " " .. c.input)
          end
        end)
      end
    end)
  end

  for _, c in ipairs(index.random_blocks) do
    it("decodes random blocks of " .. c.type, function()
      local bytes = support.slurp(dir .. c.file)
      each_isa(function(isa)
        local d = assert(quant.blocks(c.type, bytes, 1, c.n_values)):decode()
        assert.equal(c.deq_sha256_nan_canonical, sha256(canonical(d)), isa)
      end)
    end)
  end
end)
