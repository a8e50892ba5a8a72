local core = require "wane.core"
local rows = require "spec.support.rows"
local support = require "spec.support"

--- Correlated activations: T rows of n values that share a few directions.
local function activations(seed, t, n)
  local r = rows.random(seed)
  local function gauss() return math.sqrt(-2 * math.log(1 - r())) * math.cos(2 * math.pi * r()) end
  local mix, out = {}, {}
  for i = 1, n * 8 do
    mix[i] = gauss()
  end
  for row = 0, t - 1 do
    local z = {}
    for k = 1, 8 do
      z[k] = gauss()
    end
    for i = 1, n do
      local s = 0.5 * gauss()
      for k = 1, 8 do
        s = s + mix[(i - 1) * 8 + k] * z[k]
      end
      out[row * n + i] = s
    end
  end
  return core.quant.buffer(t, n, out)
end

--- sum over rows of (w - q)^T H (w - q), from the decoded blocks.
local function error_of(h, w, q)
  local H, e, sum = h:matrix(), {}, 0
  local n = math.floor(math.sqrt(#H) + 0.5)
  for row = 0, #w / n - 1 do
    for i = 1, n do
      e[i] = w[row * n + i] - q[row * n + i]
    end
    for i = 1, n do
      local s = 0
      for j = 1, n do
        s = s + H[(i - 1) * n + j] * e[j]
      end
      sum = sum + e[i] * s
    end
  end
  return sum
end

describe("rebuild", function()
  support.check_leaks()
  local types = {
    "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "iq4_nl", "iq4_xs",
    "iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs", "iq3_s", "q1_0", "q2_0", "tq1_0", "tq2_0", "mxfp4", "nvfp4",
  }

  for _, t in ipairs(types) do
    it("lowers the output error of " .. t, function()
      local n, n_rows = 256, 6
      local h = core.calib.hessian(n)
      h:add(activations(7, 300, n))
      assert.is_true(h:factor(0.01))
      local w = core.quant.buffer(n_rows, n, rows.make(rows.kinds[1], 3, n_rows, n))
      local bytes, before, after = core.calib.rebuild(t, w, h, {})
      local q = core.quant.blocks(t, bytes, n_rows, n):decode()
      -- what it says is what the bytes decode to, and it is much better
      local measured = error_of(h, w, q)
      assert.is_true(math.abs(measured - after) <= 1e-3 * after + 1e-12, measured .. " is not " .. after)
      assert.is_true(after < 0.75 * before, after .. " against " .. before)
    end)
  end

  it("keeps the encoder's blocks when nothing may change", function()
    local h = core.calib.hessian(256)
    h:add(activations(9, 300, 256))
    local w = core.quant.buffer(2, 256, rows.make(rows.kinds[1], 4, 2, 256))
    local bytes, before, after = core.calib.rebuild("q4_K", w, h, { feedback = false, sweeps = 0 })
    assert.equals(before, after)
    assert.is_true(core.quant.encode("q4_K", w, h:diagonal()):bytes() == bytes)
  end)

  it("gives the same bytes for any number of threads", function()
    local h = core.calib.hessian(256)
    h:add(activations(11, 300, 256))
    h:factor(0.01)
    local w = core.quant.buffer(9, 256, rows.make(rows.kinds[2], 5, 9, 256))
    local one = core.calib.rebuild("q3_K", w, h, { threads = 1 })
    for _, threads in ipairs { 2, 3, 16 } do
      assert.is_true(one == (core.calib.rebuild("q3_K", w, h, { threads = threads })))
    end
  end)

  it("rebuilds each row by itself, whoever shares its tile", function()
    local n, n_rows = 256, 71 -- tiles of 32, 32 and 7 rows with one thread
    local h = core.calib.hessian(n)
    h:add(activations(12, 300, n))
    h:factor(0.01)
    local w = core.quant.buffer(n_rows, n, rows.make(rows.kinds[1], 15, n_rows, n))
    local all = core.calib.rebuild("q4_K", w, h, { threads = 1 })
    for _, r in ipairs { 1, 33, 71 } do
      local alone = core.calib.rebuild("q4_K", w:rows(r, r), h, { threads = 1 })
      assert.is_true(alone == all:sub((r - 1) * 144 + 1, r * 144), "row " .. r)
    end
  end)

  it("sums correlations of any shape alike on every instruction set", function()
    local best = core.cpu().best
    for _, shape in ipairs { { 1, 1 }, { 3, 5 }, { 130, 75 }, { 65, 131 } } do
      local t, n = shape[1], shape[2]
      local x = activations(17, t, n)
      local first
      for _, isa in ipairs { "ref", "avx2", "avx512" } do
        if core.set_isa(isa) then
          local h = core.calib.hessian(n)
          h:add(x)
          local m = h:matrix()
          first = first or m:bytes()
          assert.is_true(first == m:bytes(), isa)
          for _, at in ipairs { { 1, n }, { n, 1 }, { n, n }, { math.ceil(n / 2), math.ceil(n / 3) } } do
            local sum, size = 0, 0
            for row = 0, t - 1 do
              local p = x[row * n + at[1]] * x[row * n + at[2]]
              sum, size = sum + p, size + math.abs(p)
            end
            assert.near(sum, m[(at[1] - 1) * n + at[2]], 1e-5 * size)
          end
        end
      end
    end
    core.set_isa(best)
  end)

  it("gives the same bytes on every instruction set", function()
    local best = core.cpu().best
    local w = core.quant.buffer(3, 256, rows.make(rows.kinds[1], 8, 3, 256))
    for _, t in ipairs { "q3_K", "iq3_xxs", "iq2_s" } do
      local first
      for _, isa in ipairs { "ref", "avx2", "avx512" } do
        if core.set_isa(isa) then
          local h = core.calib.hessian(256)
          h:add(activations(13, 200, 256))
          h:factor(0.01)
          local bytes = core.calib.rebuild(t, w, h, {})
          first = first or bytes
          assert.is_true(first == bytes, t .. " " .. isa)
        end
      end
    end
    core.set_isa(best)
  end)

  it("survives hostile statistics", function()
    local h = core.calib.hessian(256)
    local w = core.quant.buffer(1, 256, rows.make(rows.kinds[1], 6, 1, 256))
    assert.is_true(h:factor(0.01)) -- no activation at all
    local bytes = core.calib.rebuild("q4_K", w, h, {})
    assert.equals(144, #bytes)
    local bad = core.calib.hessian(256)
    local x = rows.make(rows.kinds[1], 6, 1, 256)
    x[3] = 0 / 0
    bad:add(core.quant.buffer(1, 256, x))
    local ok, message, code = bad:factor(0.01)
    assert.is_nil(ok)
    assert.equals("EDATA", code)
    assert.truthy(message:find "not positive definite")
  end)

  it("raises on misuse", function()
    local h = core.calib.hessian(256)
    local w = core.quant.buffer(1, 128, rows.make(rows.kinds[1], 6, 1, 128))
    assert.error_matches(function() core.calib.rebuild("q4_K", w, h, {}) end, "the hessian is for another width")
    assert.error_matches(function() core.calib.rebuild("q4_K", w, h, { colour = 1 }) end, "unknown option 'colour'")
    local wide = core.quant.buffer(1, 256, rows.make(rows.kinds[1], 6, 1, 256))
    assert.has_error(function() core.calib.rebuild("q4_K", wide, h, {}) end, "wane: rebuild: the Hessian is not factored")
    for _, t in ipairs { "iq1_s", "iq1_m" } do
      local _, message, code = core.calib.rebuild(t, wide, h, {})
      assert.equals("EUNSUP", code)
      assert.equals(("rebuild: blocks of %s cannot be: only its own encoder chooses points and shifts"):format(t), message)
    end
  end)
end)
