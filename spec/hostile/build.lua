--- Makes GGUF bytes by hand, right or wrong: every field can be overruled.
--- Independent of wane's own writer, so that it can also judge it.
local M = {}

--- n little-endian bytes of a number below 2^53, or of a hexadecimal string
--- such as "ffffffffffffffff" (most significant digit first).
function M.int(v, n)
  local out = {}
  if type(v) == "string" then
    v = ("0"):rep(2 * n - #v) .. v
    for i = n, 1, -1 do out[#out + 1] = string.char(tonumber(v:sub(2 * i - 1, 2 * i), 16)) end
    return table.concat(out)
  end
  if v < 0 then v = v + 256 ^ n end
  for _ = 1, n do
    out[#out + 1] = string.char(v % 256)
    v = math.floor(v / 256)
  end
  return table.concat(out)
end

function M.u32(v) return M.int(v, 4) end
function M.u64(v) return M.int(v, 8) end

--- Length and bytes; `n` overrules the length.
function M.str(s, n) return M.u64(n or #s) .. s end

M.kinds = {
  u8 = 0, i8 = 1, u16 = 2, i16 = 3, u32 = 4, i32 = 5, f32 = 6, bool = 7,
  string = 8, array = 9, u64 = 10, i64 = 11, f64 = 12,
}

--- A metadata entry from key, type (name or number) and the value's bytes.
function M.kv(key, kind, value) return M.str(key) .. M.u32(M.kinds[kind] or kind) .. value end

--- An array value.
function M.array(elem, count, bytes) return M.u32(M.kinds[elem] or elem) .. M.u64(count) .. bytes end

--- A tensor record: { name, dims, type id, offset, n_dims = }.
function M.tensor(t)
  local out = { type(t.name) == "string" and M.str(t.name, t.name_n) or "", M.u32(t.n_dims or #t.dims) }
  for _, d in ipairs(t.dims) do out[#out + 1] = M.u64(d) end
  out[#out + 1] = M.u32(t.type or 0)
  out[#out + 1] = M.u64(t.off or 0)
  return table.concat(out)
end

--- A whole file: kv = list of entries, tensors = list of records or tables,
--- data = bytes of the data section; magic, version, n_kv, n_tensors, align
--- overrule what follows from them.
function M.file(f)
  local kv, tensors = f.kv or {}, {}
  for i, t in ipairs(f.tensors or {}) do tensors[i] = type(t) == "table" and M.tensor(t) or t end
  local head = (f.magic or "GGUF") .. M.u32(f.version or 3) .. M.u64(f.n_tensors or #tensors)
    .. M.u64(f.n_kv or #kv) .. table.concat(kv) .. table.concat(tensors)
  if not f.data then return head end
  local align = f.align or 32
  return head .. ("\0"):rep(-#head % align) .. f.data
end

--- A small good file with most kinds of records.
function M.good(f)
  f = f or {}
  return M.file {
    version = f.version,
    kv = {
      M.kv("general.architecture", "string", M.str "llama"),
      M.kv("a.u8", "u8", M.int(200, 1)),
      M.kv("a.bool", "bool", M.int(1, 1)),
      M.kv("a.f32", "f32", M.int("3fc00000", 4)),
      M.kv("a.list", "array", M.array("u16", 3, M.int(1, 2) .. M.int(2, 2) .. M.int(3, 2))),
      M.kv("a.names", "array", M.array("string", 2, M.str "x" .. M.str "yz")),
      M.kv("a.nested", "array", M.array("array", 1, M.array("i8", 2, "\1\255"))),
    },
    tensors = {
      { name = "w", dims = { 4, 2 }, type = 0, off = 0 },
      { name = "blk.0.q", dims = { 32 }, type = 8, off = 32 },
    },
    data = ("\1"):rep(32) .. ("\2"):rep(34) .. ("\0"):rep(30),
  }
end

return M
