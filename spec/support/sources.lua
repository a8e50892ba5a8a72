--- Rebuilds the source models of the conformance folder files/.
--
-- Every value is an exact float32 from a formula:
--   state = FNV-1a-64(tensor name) xor model seed  (imatrix: name .. ".imatrix")
--   z(i)  = splitmix64 of state + (i+1) * 0x9E3779B97F4A7C15, i row major
--   S(i)  = sum of the four 16-bit fields of z(i), minus 131070
--   weight(i) = S(i) * 2^-21, times 4 when i % 97 == 0
--   1-D "*.weight": 1 + S(i) * 2^-21; "*.bias" and "*sinks.weight": S(i) * 2^-21
--   imatrix(i) = (1 + ((z(i) >> 40) & 0xFFFF)) / 4096
-- 64-bit integers exist in both Luas, under different names: LuaJIT has them
-- in its ffi, 5.4 as operators that LuaJIT cannot parse.
local M = {}

local cjson = require "cjson"
local support = require "spec.support"

-- generator(name, seed): a function n, kind -> string of n packed numbers.
-- kinds: "f32", "f16", "bf16" of value(S, i), or "imatrix".
local sums -- sums(name, seed, n, visit): calls visit(i, S, high) for i = 0..n-1

-- Each half is source text, since neither Lua can parse the other's integers.
if jit then
  sums = rawget(_G, "loadstring") [[
    local bit, ffi = require "bit", require "ffi"
    local band, rshift, bxor = bit.band, bit.rshift, bit.bxor
    local function mix(z)
      z = bxor(z, rshift(z, 30)) * 0xBF58476D1CE4E5B9ULL
      z = bxor(z, rshift(z, 27)) * 0x94D049BB133111EBULL
      return bxor(z, rshift(z, 31))
    end
    local function field(z, shift) return tonumber(band(rshift(z, shift), 0xffffULL)) end
    return function(name, seed, n, visit)
      local h = 0xcbf29ce484222325ULL
      for i = 1, #name do h = bxor(h, ffi.cast("uint64_t", name:byte(i))) * 0x100000001b3ULL end
      local state = bxor(h, ffi.cast("uint64_t", seed))
      for i = 0, n - 1 do
        state = state + 0x9E3779B97F4A7C15ULL
        local z = mix(state)
        visit(i, field(z, 0) + field(z, 16) + field(z, 32) + field(z, 48) - 131070, field(z, 40))
      end
    end]]()
else
  sums = load [[
    return function(name, seed, n, visit)
      local h = 0xcbf29ce484222325
      for i = 1, #name do h = (h ~ name:byte(i)) * 0x100000001b3 end
      local state = h ~ seed
      for i = 0, n - 1 do
        state = state + 0x9E3779B97F4A7C15
        local z = state
        z = (z ~ (z >> 30)) * 0xBF58476D1CE4E5B9
        z = (z ~ (z >> 27)) * 0x94D049BB133111EB
        z = z ~ (z >> 31)
        local S = (z & 0xffff) + (z >> 16 & 0xffff) + (z >> 32 & 0xffff) + (z >> 48) - 131070
        visit(i, S, z >> 40 & 0xffff)
      end
    end]]()
end

-- Bytes of a float rounded to `mantissa` bits with the given exponent range;
-- the value is known to be far from overflow.
local function round_even(x)
  local f = math.floor(x)
  local d = x - f
  if d > 0.5 or (d == 0.5 and f % 2 == 1) then f = f + 1 end
  return f
end

local function float_bits(v, mantissa, bias)
  local sign = 0
  if v < 0 then sign, v = 1, -v end
  if v == 0 then return sign, 0 end
  local e = 0
  while v >= 2 ^ (e + 1) do e = e + 1 end
  while v < 2 ^ e do e = e - 1 end
  if e < 1 - bias then e = 1 - bias end
  local m = round_even(v / 2 ^ (e - mantissa)) -- with the hidden bit
  -- a carry into the exponent comes out right by plain addition
  return sign, m + (e + bias - 1) * 2 ^ mantissa
end

local packers = {}
function packers.f32(v)
  local sign, bits = float_bits(v, 23, 127)
  bits = bits + sign * 2 ^ 31
  return string.char(bits % 256, math.floor(bits / 256) % 256, math.floor(bits / 65536) % 256,
    math.floor(bits / 16777216))
end
function packers.f16(v)
  local sign, bits = float_bits(v, 10, 15)
  bits = bits + sign * 2 ^ 15
  return string.char(bits % 256, math.floor(bits / 256))
end
function packers.bf16(v)
  local sign, bits = float_bits(v, 7, 127)
  bits = bits + sign * 2 ^ 15
  return string.char(bits % 256, math.floor(bits / 256))
end
local pack = rawget(string, "pack")
if pack then packers.f32 = function(v) return pack("<f", v) end end

-- Numbers of one kind to bytes; LuaJIT packs float32 through its ffi.
local function collector(kind, n)
  if kind == "f32" and jit then
    local ffi = require "ffi"
    local a = ffi.new("float[?]", n)
    return function(i, v) a[i] = v end, function() return ffi.string(a, 4 * n) end
  end
  local put, parts, chunk = packers[kind], {}, {}
  return function(_, v)
    chunk[#chunk + 1] = put(v)
    if #chunk == 4096 then
      parts[#parts + 1] = table.concat(chunk)
      chunk = {}
    end
  end, function() return table.concat(parts) .. table.concat(chunk) end
end

local function product(ne)
  local n = 1
  for _, d in ipairs(ne) do n = n * d end
  return n
end

--- The bytes of one tensor.
function M.tensor(model, name, ne, kind)
  local put, finish = collector(kind, product(ne))
  local bias = name:find "%.bias$" or (#ne == 1 and name:find "sinks%.weight$")
  local offset = (#ne == 1 and not bias) and 1 or 0
  local spikes = #ne > 1 and not bias
  local scale = 2 ^ -21
  sums(name, model.seed, product(ne), function(i, S)
    local v = offset + S * scale
    if spikes and i % 97 == 0 then v = v * 4 end
    put(i, v)
  end)
  return finish()
end

--- The importance vectors of a model: name -> float32 bytes.
function M.imatrix(model)
  local entries = {}
  for _, t in ipairs(model.tensors) do
    local name, ne = t[1], t[2]
    if name:find "^blk%." and name:find "%.weight$" and #ne > 1 and not name:find "_norm"
      and not name:find "ffn_gate_inp" then
      local n = ne[1] * (ne[3] or 1)
      local put, finish = collector("f32", n)
      sums(name .. ".imatrix", model.seed, n, function(i, _, high) put(i, (1 + high) / 4096) end)
      entries[name] = finish()
    end
  end
  return entries
end

-- Little-endian integers.
local function u32(v)
  return string.char(v % 256, math.floor(v / 256) % 256, math.floor(v / 65536) % 256,
    math.floor(v / 16777216) % 256)
end
local function u64(v) return u32(v % 4294967296) .. u32(math.floor(v / 4294967296)) end
local function str(s) return u64(#s) .. s end

local scalar = {
  u32 = { 4, u32 },
  i32 = { 5, function(v) return u32(v % 4294967296) end },
  f32 = { 6, function(v) return packers.f32(v) end },
  bool = { 7, function(v) return v and "\1" or "\0" end },
  u64 = { 10, u64 },
}

local function value(kind, v)
  if kind == "str" then return u32(8) .. str(v) end
  local elem = kind:match "^arr:(.*)"
  if not elem then return u32(scalar[kind][1]) .. scalar[kind][2](v) end
  local parts = { u32(9), u32(elem == "str" and 8 or scalar[elem][1]), u64(#v) }
  for _, x in ipairs(v) do parts[#parts + 1] = elem == "str" and str(x) or scalar[elem][2](x) end
  return table.concat(parts)
end

local kinds = { [0] = "f32", [1] = "f16", [30] = "bf16" }

--- The bytes of a whole source model.
function M.build(model)
  local head = { "GGUF", u32(3), u64(#model.tensors), u64(#model.kv) }
  for _, e in ipairs(model.kv) do head[#head + 1] = str(e[1]) .. value(e[2], e[3]) end
  local off, data = 0, {}
  for _, t in ipairs(model.tensors) do
    local name, ne, id = t[1], t[2], t[3]
    local bytes = M.tensor(model, name, ne, kinds[id])
    local dims = {}
    for i, d in ipairs(ne) do dims[i] = u64(d) end
    head[#head + 1] = str(name) .. u32(#ne) .. table.concat(dims) .. u32(id) .. u64(off)
    local pad = -#bytes % 32
    data[#data + 1] = bytes .. ("\0"):rep(pad)
    off = off + #bytes + pad
  end
  local header = table.concat(head)
  return header .. ("\0"):rep(-#header % 32) .. table.concat(data)
end

--- All models of sources.json, or nil after marking the spec as pending.
function M.all()
  local path = support.conformance "files/sources.json"
  return path and cjson.decode(support.slurp(path)).models
end

--- The expected results of a model.
function M.expected(name)
  return cjson.decode(support.slurp(support.conformance("files/" .. name .. ".json")))
end

--- Writes the source model once per build folder and gives its path.
function M.path(name, model)
  local dir = os.getenv "WANE_TMP" or "build/tmp"
  local path = dir .. "/source-" .. name .. ".gguf"
  if not support.exists(path) then
    os.execute("mkdir -p " .. dir)
    support.spit(path .. ".new", M.build(model))
    os.rename(path .. ".new", path)
  end
  return path
end

return M
