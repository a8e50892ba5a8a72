local file = require "wane.file"
local support = require "spec.support"

describe("file", function()
  support.check_leaks()
  local path

  before_each(function() path = support.tmp "file" end)
  after_each(function() os.remove(path) os.remove(path .. ".part") end)

  it("reads and writes whole files", function()
    local bytes = ("\0\255\n"):rep(1000)
    assert.is_true(file.write(path, bytes))
    assert.equals(bytes, file.read(path))
    local ok, message, code = file.write(path, "x")
    assert.is_nil(ok)
    assert.equals("EEXIST", code)
    assert.truthy(message:find(path, 1, true))
    assert.is_true(file.write(path, "", { overwrite = true }))
    assert.equals("", file.read(path))
    assert.equals("file", file.kind(path))
    assert.is_false(support.exists(path .. ".part"))
  end)

  it("refuses what is no file, without waiting", function()
    os.execute("mkfifo " .. path)
    for p, want in pairs { [path] = "is a pipe", ["/dev/zero"] = "is a device", ["build"] = "is a directory" } do
      local s, message, code = file.read(p)
      assert.is_nil(s)
      assert.equals("EIO", code)
      assert.equals(p .. ": ", message:sub(1, #p + 2))
      assert.truthy(message:find(want, 1, true), message)
    end
    local s, message, code = file.read "build/no/such"
    assert.is_nil(s)
    assert.equals("ENOENT", code)
    assert.truthy(message:find("^build/no/such: "))
    assert.equals("other", file.kind(path))
    assert.equals("directory", file.kind "build")
    assert.is_nil(file.kind "build/no/such")
  end)

  it("has a limit", function()
    support.spit(path, "12345")
    local s, message, code = file.read(path, { max_bytes = 4 })
    assert.is_nil(s)
    assert.equals("ELIMIT", code)
    assert.truthy(message:find "has 5 bytes, want at most 4")
  end)

  it("tells before the work what writing would refuse", function()
    assert.is_true(file.can_write(path))
    assert.is_false(support.exists(path))
    assert.is_false(support.exists(path .. ".part"))
    local ok, message, code = file.can_write("build/no/such/x")
    assert.is_nil(ok)
    assert.equals("ENOENT", code)
    assert.truthy(message:find("build/no/such/x", 1, true))
    support.spit(path, "old")
    ok, message, code = file.can_write(path)
    assert.is_nil(ok)
    assert.equals("EEXIST", code)
    assert.truthy(message:find "exists")
    assert.is_true(file.can_write(path, { overwrite = true }))
    assert.equals("old", support.slurp(path))
    ok, message, code = file.can_write(path .. ".big", { bytes = 2 ^ 52 })
    assert.is_nil(ok)
    assert.is_true(code == "ENOSPC" or code == "EIO", code)
    assert.truthy(message:find "needs")
    ok, message = file.can_write "/dev/full"
    assert.is_nil(ok)
    assert.truthy(message:find "not a regular file")
  end)

  it("leaves the .part of an interrupted run alone", function()
    support.spit(path .. ".part", "half")
    assert.is_true(file.can_write(path))
    assert.equals("half", support.slurp(path .. ".part"))
  end)

  it("raises on misuse", function()
    assert.has_error(function() file.read() end, "wane: file.read: path: want a path (a string, not empty, without NUL), got nil")
    assert.has_error(function() file.read("a\0b") end,
      'wane: file.read: path: want a path (a string, not empty, without NUL), got "a?b"')
    assert.has_error(function() file.write(path, 5) end, "wane: file.write: bytes: want a string, got 5")
    assert.has_error(function() file.write(path, "", { mode = 1 }) end,
      "wane: file.write: unknown option 'mode': want one of overwrite")
  end)
end)
