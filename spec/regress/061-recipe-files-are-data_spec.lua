-- A few lines of a recipe file could hang the host or take all its memory, and
-- a pipe in its place blocked for ever.
local pattern = require "wane.recipe.pattern"
local recipe = require "wane.recipe"
local support = require "spec.support"

describe("recipe files", function()
  support.check_leaks()
  local path
  before_each(function() path = support.tmp "r.lua" end)
  after_each(function() os.remove(path) end)

  it("cannot hang or fill the host", function()
    -- The last two take ever new strings: LuaJIT finds one that it has made
    -- before and allocates nothing. Strings of 4 kB fill 128 MiB in a quarter of
    -- the 10 million steps.
    for _, case in ipairs {
      { "return (('a'):rep(60)):find(('a?'):rep(60) .. ('a'):rep(60))", "10 million steps" },
      { "return (('a'):rep(1000000)):gsub('.-b', '')", "10 million steps" },
      { "return string.match(('x'):rep(100000), ('.-'):rep(9) .. 'y')", "10 million steps" },
      { "local s = 'x' while true do s = s .. s end", "128 MiB" },
      { "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(4000) .. i end", "128 MiB" },
      { "local s, i = ('x'):rep(1e6), 0 while true do i = i + 1 local u = s .. i end", "2 GiB in all" },
    } do
      local source, want = case[1], case[2]
      support.spit(path, source)
      local r, message, code = recipe.load(path)
      assert.is_nil(r)
      assert.equals("EFORMAT", code)
      -- on a busy machine the clock may be first
      local told = message:find(want, 1, true) or message:find("20 seconds", 1, true)
      assert.truthy(message:find(path, 1, true) and told, message)
    end
    assert.equals(string.find, ("").find) -- the host's own are back
  end)

  -- What the host had not collected yet was room for the recipe: the limit that
  -- was met first, and the message, were the collector's luck.
  it("get no room from the host's garbage", function()
    local fence = require("wane.core").fence
    local MiB = 1024 * 1024
    collectgarbage()
    collectgarbage "stop"
    local garbage = ("x"):rep(64 * MiB)
    assert.equals(64 * MiB, #garbage)
    garbage = nil -- luacheck: ignore
    fence(16 * MiB, 1024 * MiB)
    collectgarbage()
    local ok, why = pcall(string.rep, "y", 20 * MiB)
    local hit = fence()
    collectgarbage "restart"
    assert.is_false(ok)
    assert.equals("not enough memory", why)
    assert.is_true(hit)
  end)

  it("that fail on their own say so, after the fence was touched as well", function()
    local fill = "local s, t = ('x'):rep(4000) for i = 1, 80000 do t = { s .. i } end error('my own', 0)"
    support.spit(path, fill)
    collectgarbage "stop" -- Lua 5.4: only a full fence makes the collector run
    local r, message = recipe.load(path)
    collectgarbage "restart"
    assert.is_nil(r)
    assert.equals("my own", message)
  end)

  -- Editors and games have allocators of their own, and much in memory.
  it("are held back in Neovim and LÖVE, which live on", function()
    local game, code = support.tmp "game", [[
      package.path, package.cpath = %q, %q
      local function run()
        local recipe, told = require "wane.recipe", {}
        for i, s in ipairs { "local s = 'x' while true do s = s .. s end", "return recipe 'Q4_K_M'" } do
          local f = assert(io.open(%q, "w"))
          f:write(s)
          f:close()
          local r, message = recipe.load(%q)
          told[i] = r and "a recipe" or message
        end
        local t = {}
        for i = 1, 200 do t[i] = ("x"):rep(1024 * 1024) .. i end
        return table.concat(told, ", ") .. ", " .. #t
      end
      local ok, why = pcall(run)
      local f = assert(io.open(%q, "w"))
      f:write(tostring(why))
      f:close()
      os.exit(0)
    ]]
    local pwd = io.popen("pwd"):read "*l" .. "/"
    local build = pwd .. (os.getenv "WANE_BUILD" or "build") .. "/luajit/?.so"
    if not support.exists(build:gsub("%?", "wane/core") .. "") then support.skip "there is no build for LuaJIT" end
    if os.getenv "WANE_LANE" then support.skip "no sanitizer in Neovim and LÖVE" end
    assert(os.execute("mkdir -p " .. game))
    local out, tried = pwd .. game .. "/out", 0
    support.spit(game .. "/main.lua", code:format(pwd .. "lua/?.lua;" .. pwd .. "lua/?/init.lua", build, pwd .. game .. "/r.lua",
      pwd .. game .. "/r.lua", out))
    support.spit(game .. "/conf.lua", "function love.conf(t) t.modules.window, t.modules.graphics, t.modules.audio = false, false, false end")
    for _, host in ipairs {
      { "nvim", ("nvim --clean --headless -c 'luafile %s/main.lua' -c 'qa!'"):format(game) },
      { "love", "SDL_VIDEODRIVER=dummy SDL_AUDIODRIVER=dummy love " .. game },
    } do
      local there = os.execute("command -v " .. host[1] .. " > /dev/null 2>&1")
      if there == true or there == 0 then
        tried = tried + 1
        os.remove(out)
        os.execute("timeout 60 sh -c \"" .. host[2] .. "\" > /dev/null 2>&1")
        assert.equals(pwd .. game .. "/r.lua: the recipe takes more than 128 MiB of memory (or 2 GiB in all), a recipe, 200",
          support.exists(out) and support.slurp(out) or "nothing", host[1])
      end
    end
    os.execute("rm -rf " .. game)
    if tried == 0 then support.skip "neither Neovim nor LÖVE is here" end
  end)

  it("leave no fence behind", function()
    support.spit(path, "return recipe 'Q4_K_M'")
    for _ = 1, 3 do assert(recipe.load(path)) end
    assert.equals(200 * 1024 * 1024, #(("x"):rep(200 * 1024 * 1024)))
  end)

  it("are regular files", function()
    os.execute("mkfifo " .. path)
    local r, message, code = recipe.load(path)
    assert.is_nil(r)
    assert.equals("EIO", code)
    assert.truthy(message:find "is a pipe")
  end)

  it("have Lua's patterns", function()
    local own = pattern.functions(function() end)
    for _, c in ipairs {
      { "find", "hello world", "o w" }, { "find", "a.b", ".", 1, true }, { "find", "abc", "(b)()", -2 }, { "find", "", "" },
      { "match", "key = value", "^(%w+)%s*=%s*(%w+)$" }, { "match", "f(a(b)c)d", "%b()" }, { "match", "THE (quick) fox", "%f[%a]%a+", 5 },
      { "match", "abcabc", "(abc)%1" }, { "match", "2024-01-02", "(%d+)-(%d+)-(%d+)" }, { "match", "aaa", "a-$" }, { "match", "]", "[]]" },
      { "gsub", "hello", "l", "L" }, { "gsub", "hello", "", "-" }, { "gsub", "abc", "%w", "%0%0", 2 },
      { "gsub", "$a $b", "%$(%w+)", { a = "1" } }, { "gsub", "a,b", ",", "%%" },
    } do
      local want = { string[c[1]](c[2], c[3], c[4], c[5]) }
      assert.same(want, { own[c[1]](c[2], c[3], c[4], c[5]) }, c[3])
    end
    for p, want in pairs { ["("] = "unfinished capture", ["%"] = "ends with '%'", ["[a"] = "missing ']'", ["%1"] = "invalid capture index" } do
      local ok, why = pcall(own.find, "a", p)
      assert.is_false(ok)
      assert.truthy(why:find(want, 1, true), why)
    end
  end)
end)

describe("standard output that is full", function()
  it("is told by the exit status", function()
    if not support.exists "/dev/full" then support.skip "/dev/full is absent" end
    local lua = os.getenv "WANE_LUA" or "lua5.4"
    local command = lua .. " lua/wane/cli/wane.lua inspect examples/models/demo-f16.gguf --meta > /dev/full 2> build/tmp/full.err; echo $?"
    local p = assert(io.popen(command))
    local status = p:read "*l"
    p:close()
    assert.equals("1", status)
    assert.truthy(support.slurp("build/tmp/full.err"):find("standard output: No space left on device", 1, true))
    os.remove "build/tmp/full.err"
  end)
end)

describe("importance of others", function()
  support.check_leaks()
  local gguf, imatrix, quantize = require "wane.gguf", require "wane.imatrix", require "wane.quantize"

  local function model(names)
    local list = {}
    for i, name in ipairs(names) do
      local data = {}
      for k = 1, 256 * 4 * 4 do data[k] = string.char(k % 251, 56 + k % 5) end
      list[i] = { name = name, type = "f16", shape = { 256, 4, 4 }, data = table.concat(data) }
    end
    local path = support.tmp "moe.gguf"
    assert(gguf.write { path = path, tensors = list, meta = {
      { "general.architecture", "string", "llama" }, { "llama.block_count", "u32", 1 }, { "llama.expert_count", "u32", 4 } } })
    return path
  end

  -- Values of four experts; those in `zero` were never used.
  local function values(zero)
    local v = {}
    for x = 1, 4 do
      for i = 1, 256 do v[#v + 1] = zero[x] and 0 or i + x end
    end
    return v
  end

  it("may have experts of zeros in legacy files", function()
    local from, old = model { "blk.0.ffn_up_exps.weight" }, support.tmp "old.dat"
    assert(imatrix.new({ ["blk.0.ffn_up_exps.weight"] = values { [3] = true } }, { chunks = 1 }):save(old))
    local r = assert(quantize { from = from, to = from .. ".out", recipe = "IQ2_XS", imatrix = old })
    assert.truthy(table.concat(r.warnings, "\n"):find("1 of 4 experts were never seen by the imatrix", 1, true))
    local im = assert(imatrix.open(old))
    assert.equals(1, im:unseen("blk.0.ffn_up_exps.weight", 4))
    assert.equals(("\0\0\128\63"):rep(256), im:values("blk.0.ffn_up_exps.weight", 4):sub(2049, 3072))
    for _, path in ipairs { from, old, from .. ".out" } do os.remove(path) end
  end)

  it("may be of matrices that are one here and two there", function()
    for there, here in pairs { ffn_gate_up_exps = "ffn_gate_exps", ffn_up_exps = "ffn_gate_up_exps" } do
      local from = model { ("blk.0.%s.weight"):format(here) }
      local plan = assert(quantize.plan { from = from, recipe = "IQ2_XS",
        imatrix = { [("blk.0.%s.weight"):format(there)] = values {} } })
      assert.is_true(plan.tensors[1].importance)
      assert.truthy(table.concat(plan.warnings, "\n"):find(("blk.0.%s.weight from blk.0.%s.weight"):format(here, there), 1, true))
      os.remove(from)
    end
  end)

  it("that saw few tokens is warned about, and is recorded with provenance", function()
    local from, path = model { "blk.0.ffn_up_exps.weight" }, support.tmp "im.gguf"
    assert(imatrix.new({ ["blk.0.ffn_up_exps.weight"] = { sums = values {}, counts = { 500, 3, 500, 500 } } },
      { chunks = 7, chunk_size = 512, datasets = { "calib.txt" } }):save(path))
    local o = { from = from, to = from .. ".out", recipe = "Q4_K", imatrix = path, provenance = true }
    local plan = assert(quantize.plan(o))
    assert.truthy(table.concat(plan.warnings, "\n"):find("1 experts were seen by fewer than 64 tokens (the fewest: 3)", 1, true))
    local r = assert(quantize(o))
    assert.equals(plan.file_bytes, r.file_bytes)
    local f = assert(gguf.open(from .. ".out"))
    assert.equals(path, f.meta["quantize.imatrix.file"])
    assert.equals("calib.txt", f.meta["quantize.imatrix.dataset"])
    assert.equals(1, f.meta["quantize.imatrix.entries_count"])
    assert.equals(7, f.meta["quantize.imatrix.chunks_count"])
    f:close()
    local status = require("spec.support.cli").run("imatrix", "convert", path, "-o", path .. ".dat")
    assert.equals(0, status)
    assert.equals(1024, imatrix.open(path .. ".dat"):width "blk.0.ffn_up_exps.weight")
    local other, _, notes = require("spec.support.cli").run("imatrix", "merge", path, "-o", "build/no/such/x.gguf")
    assert.equals(1, other)
    assert.truthy(notes:find("build/no/such", 1, true))
    for _, p in ipairs { from, path, path .. ".dat", from .. ".out" } do os.remove(p) end
  end)
end)
