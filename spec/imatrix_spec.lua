--- wane.imatrix: both file formats, experts, merging, hostile files.
local core = require "wane.core"
local imatrix = require "wane.imatrix"
local support = require "spec.support"

local function i32(v)
  v = v % 4294967296
  return string.char(v % 256, math.floor(v / 256) % 256, math.floor(v / 65536) % 256,
    math.floor(v / 16777216))
end
local pack = core.imatrix.pack

-- A legacy file from { name, calls, values } entries and a tail.
local function legacy(entries, tail)
  local parts = { i32(#entries) }
  for _, e in ipairs(entries) do
    parts[#parts + 1] = i32(#e[1]) .. e[1] .. i32(e[2]) .. i32(e.n or #e[3]) .. pack(e[3])
  end
  return table.concat(parts) .. (tail or "")
end

describe("imatrix", function()
  support.check_leaks()
  local path
  before_each(function() path = support.tmp "imatrix" end)
  after_each(function()
    os.remove(path)
    os.remove(path .. ".gguf")
    os.remove(path .. ".dat")
  end)

  local function open(bytes)
    support.spit(path, bytes)
    return imatrix.open(path)
  end

  local function values(im, name) return core.imatrix.floats(assert(im:values(name))) end

  it("reads the legacy format: means times calls", function()
    local im = assert(open(legacy({ { "b", 4, { 4, 8, 12 } }, { "a", 0, { 1, 2 } } }, i32(4) .. i32(5)
      .. "x.txt")))
    assert.equal("dat", im.format)
    assert.same({ "a", "b" }, im:names())
    assert.same({ 1, 2, 3 }, values(im, "b"))
    assert.same({ 1, 2 }, values(im, "a"))
    assert.equal(3, im:width "b")
    assert.is_nil(im:width "c")
    assert.equal(4, im.chunks)
    assert.equal("x.txt", im.datasets[1])
  end)

  it("reads a real legacy file", function()
    local demo = support.conformance "eval/demo.imatrix.dat"
    if not demo then return end
    local im = assert(imatrix.open(demo))
    assert.equal(56, #im:names())
    local s = assert(im:stats "blk.0.attn_k.weight")
    assert.equal(256, s.n)
    assert(s.min > 0 and s.mean > s.min and s.max > s.mean)
    assert(im:check())
  end)

  it("writes and reads GGUF, with one count per expert", function()
    local im = imatrix.new({
      ["blk.0.ffn_up_exps.weight"] = { sums = { 2, 4, 9, 12, 7, 7 }, counts = { 2, 3, 0 } },
      ["blk.0.attn_q.weight"] = { 5, 6 },
    }, { datasets = { "one", "two" }, chunks = 7, chunk_size = 512 })
    assert(im:save(path .. ".gguf"))
    local back = assert(imatrix.open(path .. ".gguf"))
    assert.equal("gguf", back.format)
    assert.same({ 1, 2, 3, 4, 1, 1 }, values(back, "blk.0.ffn_up_exps.weight"))
    assert.same({ 5, 6 }, values(back, "blk.0.attn_q.weight"))
    assert.same({ "one", "two" }, back.datasets)
    assert.equal(7, back.chunks)
    assert.equal(512, back.chunk_size)
    local digest, unused = back:check()
    assert.equal((im:check()), digest)
    assert.equal(1, unused["blk.0.ffn_up_exps.weight"])
    back:close()
    -- the file is llama.cpp's: tensors sorted by name, sums before counts
    local g = assert(core.gguf.open(path .. ".gguf"))
    assert.equal("blk.0.attn_q.weight.in_sum2", g:tensor(1).name)
    assert.equal("blk.0.attn_q.weight.counts", g:tensor(2).name)
    assert.same({ 2, 3 }, g:tensor(3).shape)
    assert.same({ 1, 3 }, g:tensor(4).shape)
    local key, _, value = g:kv(1)
    assert.equal("general.type", key)
    assert.equal("imatrix", value)
    g:close()
  end)

  it("converts between the formats without changing values", function()
    local im = assert(open(legacy { { "a", 3, { 3, 6, 0.75 } }, { "b", 8, { 1, 2 } } }))
    assert(im:save(path .. ".gguf"))
    assert(im:save(path .. ".dat"))
    local g, d = assert(imatrix.open(path .. ".gguf")), assert(imatrix.open(path .. ".dat"))
    for _, name in ipairs(im:names()) do
      assert.same(values(im, name), values(g, name))
      assert.same(values(im, name), values(d, name))
    end
    g:close()
  end)

  it("does not overwrite unless asked", function()
    local im = imatrix.new { a = { 1, 2 } }
    assert(im:save(path .. ".dat"))
    for _, suffix in ipairs { ".dat", ".gguf" } do
      support.spit(path .. suffix, "old")
      local ok, _, code = im:save(path .. suffix)
      assert.is_nil(ok)
      assert.equal("EEXIST", code)
      assert.equal("old", support.slurp(path .. suffix))
      assert(im:save(path .. suffix, { overwrite = true }))
    end
    assert.error_matches(function() im:save("x", { overwrit = true }) end, "unknown option")
  end)

  it("merges by adding sums and counts", function()
    local a = imatrix.new({ x = { sums = { 2, 4, 6, 8 }, counts = { 1, 2 } }, y = { 1 } }, { chunks = 2,
      datasets = { "a" } })
    local b = imatrix.new({ x = { sums = { 4, 2, 2, 0 }, counts = { 2, 0 } } }, { chunks = 3,
      datasets = { "b" } })
    local m = assert(imatrix.merge { a, b })
    assert.same({ 2, 2, 4, 4 }, values(m, "x"))
    assert.same({ 1 }, values(m, "y"))
    assert.equal(5, m.chunks)
    assert.same({ "a", "b" }, m.datasets)
    local bad, msg = imatrix.merge { a, imatrix.new { y = { 1, 2 } } }
    assert.is_nil(bad)
    assert.matches("entry y has another shape", msg)
  end)

  it("filters by parts of names", function()
    local im = imatrix.new { ["blk.0.attn_q"] = { 1 }, ["blk.0.ffn_up"] = { 1 }, ["blk.1.attn_q"] = { 1 } }
    assert.same({ "blk.0.attn_q", "blk.1.attn_q" }, im:filter({ "attn_q" }, nil):names())
    assert.same({ "blk.1.attn_q" }, im:filter(nil, { "blk.0" }):names())
    assert.equal(3, #im:names())
  end)

  it("finds bad values by name", function()
    for _, bad in ipairs { 0 / 0, 1 / 0, -1 } do
      local im = assert(open(legacy { { "good", 1, { 1 } }, { "worse", 1, { 1, bad, 1 } } }))
      local digest, msg, code = im:check()
      assert.is_nil(digest)
      assert.matches("entry worse: value 2 is negative or not finite", msg)
      assert.equal("EFORMAT", code)
    end
    local im = imatrix.new { a = { sums = { 1, 1 }, counts = { -3 } } }
    assert.matches("count 1 is %-3", (select(2, im:check())))
  end)

  it("refuses broken files, whatever the place", function()
    local good = legacy({ { "blk.0.a", 2, { 1, 2, 3 } }, { "blk.0.b", 2, { 4 } } })
    for n = 0, #good - 1 do
      local im, msg, code = open(good:sub(1, n))
      assert.is_nil(im, "opened a prefix of " .. n)
      assert.is_string(msg)
      assert(code == "ETRUNC" or code == "EFORMAT", code)
    end
    for _, case in ipairs {
      { i32(-1) .. "xxxx", "EFORMAT" }, { i32(2 ^ 31 - 1) .. "xxxx", "ELIMIT" },
      { i32(1) .. i32(2 ^ 30) .. "x", "ELIMIT" }, { i32(1) .. i32(0), "ELIMIT" },
      { legacy { { "a", 1, { 1 }, n = 2 ^ 30 } }, "ETRUNC" }, { legacy { { "a", 1, {}, n = -5 } },
        "EFORMAT" },
      { legacy { { "a", 1, { 1 } }, { "a", 1, { 2 } } }, "EFORMAT" },
    } do
      local im, _, code = open(case[1])
      assert.is_nil(im)
      assert.equal(case[2], code)
    end
    assert.is_nil((imatrix.open "nowhere"))
    assert.equal("EIO", (select(3, imatrix.open "spec")))
  end)

  it("refuses GGUF files that hold something else", function()
    local im, msg = imatrix.open "examples/models/demo-f16.gguf"
    assert.is_nil(im)
    assert.matches("holds no importance data", msg)
  end)

  it("notices a file that changed behind it", function()
    local im = assert(open(legacy { { "a", 1, { 1, 2, 3 } } }))
    support.spit(path, "short")
    local v, msg, code = im:values "a"
    assert.is_nil(v)
    assert.equal("ECHANGED", code)
    assert.matches("changed", msg)
  end)
end)
