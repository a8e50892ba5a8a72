--- The table of hostile GGUF files: one row per check of the hardening list.
--- { id, what, make = function() -> bytes | place = function(dir) -> path,
---   code = "EFORMAT" or "OK", msg = Lua pattern, seconds = most it may take }
local B = require "spec.hostile.build"

local rows = {}

--- Adds a row for a file with the bytes that make() returns.
local function row(id, what, code, msg, make, seconds)
  rows[#rows + 1] = { id = id, what = what, code = code, msg = msg, make = make, seconds = seconds or 1 }
end

--- Adds a row for something that is no ordinary file.
local function place(id, what, code, msg, make)
  rows[#rows + 1] = { id = id, what = what, code = code, msg = msg, place = make, seconds = 1 }
end

local function const(s) return function() return s end end
local function with_kv(...)
  local kv = { ... }
  return function() return B.file { kv = kv } end
end
--- A file with the tensor given, and 4 KiB of data.
local function with_tensor(t)
  t.name = t.name or "w"
  return function() return B.file { tensors = { t }, data = ("\0"):rep(4096) } end
end

-- G1: too short ---------------------------------------------------------------
row("G1", "empty file", "ETRUNC", "header ends at byte 0", const "")
for _, n in ipairs { 1, 3, 4, 7, 8, 12, 15, 16, 23 } do
  row("G1", "first " .. n .. " bytes", "ETRUNC", "header ends at byte " .. n,
    function() return B.good():sub(1, n) end)
end

-- G2: magic and version -------------------------------------------------------
row("G2", "wrong magic", "EFORMAT", "magic is 'GGML', want 'GGUF'",
  function() return B.file { magic = "GGML" } end)
row("G2", "magic of control characters", "EFORMAT", "magic is '\\x1b%[2J'",
  function() return B.file { magic = "\27[2J" } end)
for _, v in ipairs { 0, 1, 4 } do
  row("G2", "version " .. v, "EFORMAT", "version is " .. v .. ", want 2 or 3",
    function() return B.file { version = v } end)
end
row("G2", "byte-swapped version", "EFORMAT", "big%-endian file",
  function() return B.file { version = 0x03000000 } end)

-- G3, G4: counts --------------------------------------------------------------
row("G3", "no keys, no tensors", "OK", nil, function() return B.file {} end)
for _, n in ipairs { "80000000", "8000000000000000", "ffffffffffffffff" } do
  row("G3", "n_kv 0x" .. n, "ELIMIT", "header: found %d+ keys, want at most",
    function() return B.file { n_kv = n } end)
  row("G3", "n_tensors 0x" .. n, "ELIMIT", "header: found %d+ tensors, want at most",
    function() return B.file { n_tensors = n } end)
end
row("G4", "n_kv beyond the file", "ETRUNC", "found 65536 keys, .*room for 0",
  function() return B.file { n_kv = 65536 } end)
row("G4", "n_tensors beyond the file", "ETRUNC", "found 100 tensors, .*room for 0",
  function() return B.file { n_tensors = 100 } end)

-- G5: keys and names ----------------------------------------------------------
row("G5", "empty key", "EFORMAT", "key 1: key is empty", with_kv(B.kv("", "u8", "\1")))
row("G5", "key of 65536 bytes", "ELIMIT", "key has 65536 bytes, want at most 65535",
  with_kv(B.kv(("k"):rep(65536), "u8", "\1")))
row("G5", "key of 2^62 bytes", "ELIMIT", "key 1: key has 4611686018427387904 bytes",
  with_kv(B.str("abcdefgh", "4000000000000000") .. B.u32(0) .. "\1"))
row("G5", "key beyond the file", "ETRUNC", "key 1: header ends at byte", with_kv(B.str("abcdefgh", 60000)))
row("G5", "NUL in a key", "EFORMAT", "'a\\x00b' has a NUL byte", with_kv(B.kv("a\0b", "u8", "\1")))
for i, bytes in ipairs { "\128", "\192\175", "\237\160\128", "\226\130", "\244\144\128\128" } do
  row("G5", "key that is not UTF-8, case " .. i, "EFORMAT", "is not UTF%-8",
    with_kv(B.kv("k" .. bytes, "u8", "\1")))
end
row("G5", "tensor name of 256 bytes", "ELIMIT", "tensor name has 256 bytes, want at most 255",
  with_tensor { name = ("n"):rep(256), dims = { 4 } })
row("G5", "tensor name of 255 bytes", "OK", nil, with_tensor { name = ("n"):rep(255), dims = { 4 } })
row("G5", "empty tensor name", "EFORMAT", "tensor name is empty", with_tensor { name = "", dims = { 4 } })
row("G5", "NUL in a tensor name", "EFORMAT", "has a NUL byte", with_tensor { name = "a\0", dims = { 4 } })
row("G5", "tensor name that is not UTF-8", "EFORMAT", "is not UTF%-8",
  with_tensor { name = "\255", dims = { 4 } })
row("G5", "string of 2^62 bytes", "ELIMIT", "key 's': string has",
  with_kv(B.kv("s", "string", B.str("x", "4000000000000000"))))
row("G5", "string beyond the file", "ETRUNC", "key 's': header ends at byte",
  with_kv(B.kv("s", "string", B.str("x", 2))))

-- G6, G7: arrays --------------------------------------------------------------
for _, elem in ipairs { "u8", "string", "bool", "u64", "array" } do
  row("G6", "array of 2^60 " .. elem, "ETRUNC", "array has 1152921504606846976 elements",
    with_kv(B.kv("a", "array", B.array(elem, "1000000000000000", ""))), 0.05)
end
row("G6", "array of 2^64 - 1 f64", "ETRUNC", "array has 18446744073709551615 elements",
  with_kv(B.kv("a", "array", B.array("f64", "ffffffffffffffff", ""))), 0.05)
row("G6", "empty array", "OK", nil, with_kv(B.kv("a", "array", B.array("string", 0, ""))))

--- depth arrays inside each other, the innermost one empty
local function nested(depth)
  local head = B.array("array", 1, "")
  return head:rep(depth - 1) .. B.array("u8", 0, "")
end
row("G7", "arrays nested 4 deep", "OK", nil, with_kv(B.kv("a", "array", nested(4))))
row("G7", "arrays nested 5 deep", "ELIMIT", "key 'a': arrays nest deeper than 4",
  with_kv(B.kv("a", "array", nested(5))))
row("G7", "arrays nested 200000 deep", "ELIMIT", "arrays nest deeper than 4",
  function() return B.file { kv = { B.kv("a", "array", nested(200000)) } } end)

-- G8: types -------------------------------------------------------------------
for _, t in ipairs { 13, 255, 2 ^ 31, 2 ^ 32 - 1 } do
  row("G8", "value type " .. t, "EFORMAT", ("key 'k': value type is %.0f, want 0 to 12"):format(t),
    with_kv(B.kv("k", t, "\0\0\0\0")))
  row("G8", "element type " .. t, "EFORMAT", ("key 'k': array element type is %.0f"):format(t),
    with_kv(B.kv("k", "array", B.array(t, 0, ""))))
end
row("G8", "bool 2", "EFORMAT", "key 'k': bool is 2, want 0 or 1", with_kv(B.kv("k", "bool", "\2")))
row("G8", "bool 255 in an array", "EFORMAT", "bool is 255",
  with_kv(B.kv("k", "array", B.array("bool", 3, "\0\1\255"))))

-- G9: duplicates --------------------------------------------------------------
row("G9", "duplicate key", "EFORMAT", "key 'k': key 2 has the same name as 1",
  with_kv(B.kv("k", "u8", "\1"), B.kv("k", "u8", "\1")))
row("G9", "duplicate tensor", "EFORMAT", "tensor 'w': tensor 2 has the same name as 1", function()
  local t = { { name = "w", dims = { 8 } }, { name = "w", dims = { 8 }, off = 32 } }
  return B.file { tensors = t, data = ("\0"):rep(64) }
end)
row("G9", "100000 tensors, one twice", "EFORMAT", "tensor 100000 has the same name as 99999", function()
  local t = {}
  for i = 1, 100000 do
    t[i] = B.tensor { name = "t" .. math.min(i, 99999), dims = { 8 }, off = (i - 1) * 32 }
  end
  return B.file { tensors = t, data = ("\0"):rep(3200000) }
end, 2)
row("G9", "65536 keys, the last one twice", "EFORMAT", "key 65536 has the same name as 65535", function()
  local kv = {}
  for i = 1, 65536 do kv[i] = B.kv("k" .. math.min(i, 65535), "u8", "\1") end
  return B.file { kv = kv }
end, 2)

-- G11: not a regular file -----------------------------------------------------
local function sh(cmd) assert(os.execute(cmd)) end
place("G11", "directory", "EIO", "a directory, want a regular file", function(dir) return dir end)
place("G11", "FIFO", "EIO", "a FIFO, want a regular file", function(dir)
  sh("rm -f " .. dir .. "/fifo; mkfifo " .. dir .. "/fifo")
  return dir .. "/fifo"
end)
place("G11", "/dev/zero", "EIO", "a character device, want a regular file", function() return "/dev/zero" end)
place("G11", "dangling link", "ENOENT", "No such file", function(dir)
  sh("ln -sf nowhere-at-all " .. dir .. "/dangling")
  return dir .. "/dangling"
end)
place("G11", "missing file", "ENOENT", "No such file", function(dir) return dir .. "/missing.gguf" end)
place("G11", "link to itself", "EIO", "symbolic links", function(dir)
  sh("ln -sf loop " .. dir .. "/loop")
  return dir .. "/loop"
end)
place("G11", "file larger than memory", "OK", nil, function(dir)
  local path = dir .. "/huge"
  local f = assert(io.open(path, "wb"))
  f:write(B.file {})
  f:close()
  sh("truncate -s 1T " .. path)
  return path
end)

-- G12: splits -----------------------------------------------------------------
local function split_kv(no, count, total)
  return { B.kv("split.no", "u16", B.int(no, 2)), B.kv("split.count", "u16", B.int(count, 2)),
    B.kv("split.tensors.count", "i32", B.int(total, 4)) }
end

--- Writes files of a split: list of { name, no, count }, one tensor each;
--- returns the path of the first.
local function split(name, files, total)
  return function(dir)
    local sub = dir .. "/" .. name
    sh("rm -rf " .. sub .. "; mkdir -p " .. sub)
    for i, x in ipairs(files) do
      local f = assert(io.open(sub .. "/" .. x[1], "wb"))
      f:write(B.file {
        kv = x.kv or split_kv(x[2], x[3], total or #files),
        tensors = { { name = x.tensor or "t" .. i, dims = { 8 } } },
        data = ("\0"):rep(32),
      })
      f:close()
    end
    return sub .. "/" .. files[1][1]
  end
end
local one, two, three = "m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"
place("G12", "good split", "OK", nil, split("ok", { { one, 0, 3 }, { two, 1, 3 }, { three, 2, 3 } }))
place("G12", "missing file", "EFORMAT", "file 2 of 3 is missing",
  split("missing", { { one, 0, 3 }, { three, 2, 3 } }))
place("G12", "duplicate file", "EFORMAT", "'split.no' is 1, want 2",
  split("dup", { { one, 0, 3 }, { two, 1, 3 }, { three, 1, 3 } }))
place("G12", "out of order", "EFORMAT", "'split.no' is 2, want 1",
  split("order", { { one, 0, 3 }, { two, 2, 3 }, { three, 1, 3 } }))
place("G12", "the same tensor in two files", "EFORMAT", "same name",
  split("same", { { one, 0, 3 }, { two, 1, 3, tensor = "t1" }, { three, 2, 3 } }))
place("G12", "count 65535", "EFORMAT", "'split.count' is 65535", split("count", { { one, 0, 65535 } }))
place("G12", "count differs from the name", "EFORMAT", "want a name that ends in %-00001%-of%-00002",
  split("name", { { one, 0, 2 } }))
place("G12", "no split name", "EFORMAT", "want a name that ends in", split("plain", { { "m.gguf", 0, 2 } }))
place("G12", "wrong total", "EFORMAT", "'split.tensors.count' is 4, the files have 3",
  split("total", { { one, 0, 3 }, { two, 1, 3 }, { three, 2, 3 } }, 4))
place("G12", "count is a string path", "EFORMAT", "'split.count' is %-1",
  split("path", { { one, kv = { B.kv("split.count", "string", B.str "../../etc/passwd") } } }))
place("G12", "a file of the split says it is alone", "EFORMAT", "'split.count' is 1, want 3",
  split("alone", { { one, 0, 3 }, { two, 1, 1 }, { three, 2, 3 } }))

-- T1, T2, T3: shapes ----------------------------------------------------------
for _, n in ipairs { 0, 5, 8, 2 ^ 32 - 1 } do
  row("T1", "n_dims " .. n, "EFORMAT", ("tensor 'w': has %.0f dimensions, want 1 to 4"):format(n),
    with_tensor { dims = { 4, 1, 1, 1, 1, 1, 1, 1 }, n_dims = n })
end
row("T2", "dimension 0", "EFORMAT", "tensor 'w': dimension 1 is 0", with_tensor { dims = { 0 } })
row("T2", "dimension 3 is 0", "EFORMAT", "dimension 3 is 0", with_tensor { dims = { 4, 4, 0 } })
row("T2", "negative dimension", "EFORMAT", "dimension 2 is %-1",
  with_tensor { dims = { 4, "ffffffffffffffff" } })
row("T2", "most negative dimension", "EFORMAT", "dimension 1 is %-9223372036854775808",
  with_tensor { dims = { "8000000000000000" } })
for id = 0, 42 do
  local gone = { [4] = 1, [5] = 1, [31] = 1, [32] = 1, [33] = 1, [36] = 1, [37] = 1, [38] = 1 }
  if not gone[id] then
    row("T3", "product 2^63, type " .. id, "ELIMIT", "too many elements",
      with_tensor { dims = { "80000000", "80000000", 2 }, type = id })
    row("T3", "product 2^64 wraps to 0, type " .. id, "ELIMIT", "too many elements",
      with_tensor { dims = { "100000000", "100000000" }, type = id })
    row("T3", "product wraps to 256, type " .. id, "ELIMIT", "too many elements",
      with_tensor { dims = { "4000000000000100", 4 }, type = id })
  end
end
row("T3", "product 2^48", "ELIMIT", "too many elements", with_tensor { dims = { 2 ^ 24, 2 ^ 24 } })
row("T3", "product just below 2^48", "ETRUNC", "data ends at byte",
  with_tensor { dims = { 2 ^ 24, 2 ^ 24 - 1 } })

-- T4: offsets near 2^64 -------------------------------------------------------
for k = 0, 64 do
  local off = ("ffffffffffffff%02x"):format(255 - k)
  row("T4", "offset 2^64 - 1 - " .. k, "ELIMIT", "tensor 'w': data ends beyond 2%^64",
    with_tensor { dims = { 8 }, off = off })
end

-- T5: types -------------------------------------------------------------------
for _, id in ipairs { 4, 5, 31, 32, 33, 36, 37, 38 } do
  row("T5", "type " .. id, "EUNSUP", "tensor 'w': type " .. id .. " was removed",
    with_tensor { dims = { 256 }, type = id })
end
for _, id in ipairs { 43, 2 ^ 31, 2 ^ 32 - 1 } do
  row("T5", "type " .. id, "EUNSUP", ("tensor 'w': type %.0f is unknown"):format(id),
    with_tensor { dims = { 256 }, type = id })
end

-- T6: alignment ---------------------------------------------------------------
local function aligned(value, kind, off)
  return function()
    return B.file {
      kv = { B.kv("general.alignment", kind or "u32", value) },
      tensors = { { name = "w", dims = { 8 }, off = off } },
      align = 1024, data = ("\0"):rep(4096),
    }
  end
end
row("T6", "alignment 0", "EFORMAT", "alignment is 0, want a power of two", aligned(B.u32(0)))
row("T6", "alignment 3", "EFORMAT", "alignment is 3", aligned(B.u32(3)))
row("T6", "alignment 2^31", "EFORMAT", "alignment is 2147483648", aligned(B.u32(2 ^ 31)))
row("T6", "alignment as u64", "EFORMAT", "general.alignment': type is u64, want u32",
  aligned(B.u64(32), "u64"))
row("T6", "alignment as string", "EFORMAT", "type is string, want u32", aligned(B.str "32", "string"))
row("T6", "alignment 1024", "OK", nil, aligned(B.u32(1024)))
row("T6", "misaligned offset", "EFORMAT", "offset is 8, want a multiple of 32",
  with_tensor { dims = { 8 }, off = 8 })

-- T7: where data lies ---------------------------------------------------------
row("T7", "data ends one byte past the file", "ETRUNC", "data ends at byte %d+, the file at %d+", function()
  return B.file { tensors = { { name = "w", dims = { 8 } } }, data = ("\0"):rep(31) }
end)
row("T7", "padding before the data is missing", "ETRUNC", "data ends at byte",
  function() return B.file { tensors = { { name = "w", dims = { 8 } } } } end)
row("T7", "offset past the file", "ETRUNC", "data ends at byte", with_tensor { dims = { 8 }, off = 8192 })
row("T7", "overlap", "EFORMAT", "tensor 'b': offset is 0, want 32: data overlaps", function()
  local t = { { name = "a", dims = { 8 } }, { name = "b", dims = { 8 } } }
  return B.file { tensors = t, data = ("\0"):rep(64) }
end)
row("T7", "gap", "EFORMAT", "tensor 'w': offset is 64, want 0: data leaves a gap",
  with_tensor { dims = { 8 }, off = 64 })
row("T7", "no padding after the last tensor", "OK", nil, function()
  return B.file { tensors = { { name = "w", dims = { 3 } } }, data = ("\0"):rep(12) }
end)

-- T8: rows --------------------------------------------------------------------
row("T8", "row of 31 in q8_0", "EFORMAT", "tensor 'w': row has 31 values, want a multiple of 32 for q8_0",
  with_tensor { dims = { 31 }, type = 8 })
row("T8", "row of 128 in q4_K", "EFORMAT", "want a multiple of 256 for q4_K",
  with_tensor { dims = { 128, 2 }, type = 12 })

-- T9: sparse ------------------------------------------------------------------
place("T9", "1 TiB hole", "OK", nil, function(dir)
  local path = dir .. "/sparse"
  local f = assert(io.open(path, "wb"))
  f:write(B.file { tensors = { { name = "w", dims = { 2 ^ 20, 2 ^ 18 } } }, data = "" })
  f:close()
  sh("truncate -s 1025G " .. path)
  return path
end)

-- Strings that would attack a terminal ------------------------------------------
row("N3", "escape sequence in a key", "EFORMAT", "key 'a\\x1b%]0;x\\x07': value type is 99",
  with_kv(B.kv("a\27]0;x\7", 99, "")))

return rows
