--- The plugin in a real editor: a headless Neovim drives a second one over its
--- RPC, as a user interface would: keys go in, the screen and the buffers are
--- looked at. The model is the demo model.
local support = require "spec.support"
if support.elsewhere() then return end

local build = os.getenv "WANE_BUILD" or "build"

-- What each driver script begins with: the editor under test (its runtimepath has
-- this checkout, nothing is set up), and words to talk to it.
local DRIVER = [[
local root, out_path = %q, %q
local function child_start(...)
  local args = { "nvim", "--clean", "--headless", "--embed", "-n", "--cmd", "set rtp^=" .. root, ... }
  return vim.fn.jobstart(args, { rpc = true })
end
local chan = child_start()
local function call(name, ...) return vim.rpcrequest(chan, name, ...) end
local function lua(code, ...) return call("nvim_exec_lua", code, { ... }) end
local function keys(k) call("nvim_input", k) end
local function cmd(c) return call("nvim_exec", c, true) end
local function lines() return call("nvim_buf_get_lines", 0, 0, -1, false) end
local function until_true(what, f)
  for _ = 1, 3000 do
    local v = f()
    if v and v ~= vim.NIL then return v end
    vim.wait(10)
  end
  error("timeout: " .. what .. "\n" .. cmd "messages")
end
local function eq(want, got, what)
  if not vim.deep_equal(want, got) then
    error((what or "") .. " want " .. vim.inspect(want) .. " got " .. vim.inspect(got), 2)
  end
end
local function ghost() return lua "return package.loaded['wane.nvim.complete'] and require('wane.nvim.complete').text()" end
local function running() return lua "return require('wane.nvim.engine').facts().n_running" end
local function ghosted()
  return until_true("a finished suggestion", function() local g = ghost(); return g ~= vim.NIL and running() == 0 and g end)
end
local function with_model(more)
  lua("vim.g.wane = vim.tbl_extend('force', { model = ... }, " .. (more or "{}") .. ")", root .. "/examples/models/demo-f16.gguf")
end
local ok, message = xpcall(function()
%s
end, debug.traceback)
pcall(vim.rpcnotify, chan, "nvim_command", "qa!")
vim.fn.jobwait({ chan }, 5000)
local f = io.open(out_path, "w")
f:write(ok and "ok" or "error: " .. tostring(message))
f:close()
vim.cmd "qa!"
]]

local function executed(command)
  local status = os.execute(command)
  return status == true or status == 0
end

local here
local function cwd()
  if not here then
    local p = io.popen "pwd"
    here = p:read "*l"
    p:close()
  end
  return here
end

local function needs_editor()
  if not executed "command -v nvim > /dev/null 2>&1" then support.skip "Neovim is not installed" end
  if os.getenv "WANE_LANE" then support.skip "not under a sanitizer" end
  if not support.exists("build/luajit/wane/core.so") then support.skip "no LuaJIT build in build/ (make nvim)" end
end

-- Runs a script in a driver; fails with what it says.
local function drive(script)
  needs_editor()
  local file, out = support.tmp "driver.lua", support.tmp "driver.out"
  support.spit(file, DRIVER:format(cwd(), out, (script:gsub("%%", "%%%%")):gsub("%%%%", "%%")))
  executed(("timeout 100 nvim --headless -u NONE -i NONE -n -c 'luafile %s' > /dev/null 2>&1"):format(file))
  local said = support.exists(out) and support.slurp(out) or "the driver ended without a word"
  os.remove(file)
  os.remove(out)
  assert.equals("ok", said)
end

-- Generates in the editor's own state, without the plugin.
local BARE = [[
package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = "./%s/luajit/?.so;" .. package.cpath
local out = assert(io.open("%s", "w"))
local ok, message = pcall(function()
  local wane = require "wane"
  local model = assert(wane.load("examples/models/demo-f16.gguf", { context = 128 }))
  local direct = {}
  for text in model:generate("Once upon a time", { max_tokens = 16, temperature = 0 }) do
    direct[#direct + 1] = text
  end
  -- the same in the background, polled by the editor's event loop
  local job = assert(model:start("Once upon a time", { max_tokens = 16, temperature = 0 }))
  local parts, done = {}, false
  local poll = vim.loop.new_poll(job:fd())
  poll:start("r", function()
    local text, running = job:poll()
    parts[#parts + 1] = text or ""
    if not running and (text or "") == "" then
      done = true
      poll:stop()
    end
  end)
  vim.wait(20000, function() return done end, 5)
  poll:close()
  job:close()
  model:close()
  out:write(vim.version().major, "|", table.concat(direct), "|", table.concat(parts))
end)
if not ok then out:write("error: ", tostring(message)) end
out:close()
vim.cmd "qa!"
]]

describe("Neovim", function()
  it("generates text, also in the background", function()
    if not executed "command -v nvim > /dev/null 2>&1" then support.skip "Neovim is not installed" end
    if os.getenv "WANE_LANE" then support.skip "not under a sanitizer" end
    if not support.exists(build .. "/luajit/wane/core.so") then support.skip "no LuaJIT build" end
    local lua, out = support.tmp "nvim.lua", support.tmp "nvim.out"
    support.spit(lua, BARE:format(build, out))
    executed(("timeout 60 nvim --headless -u NONE -c 'luafile %s' > /dev/null 2>&1"):format(lua))
    local said = support.slurp(out)
    os.remove(lua)
    os.remove(out)
    local major, direct, background = said:match "^(%d+)|(.*)|(.*)$"
    assert(major, said)
    assert.is_true(#direct > 20)
    assert.equals(direct, background)
  end)

  it("is silent, maps nothing and loads nothing before it is used", function()
    drive [[
      eq("", cmd "messages")
      eq(2, call("nvim_eval", "exists(':Wane')"))
      eq(false, lua "return package.loaded['wane.nvim'] ~= nil or package.loaded['wane.core'] ~= nil")
      for _, mode in ipairs { "n", "i", "x", "c" } do
        for _, m in ipairs(call("nvim_get_keymap", mode)) do
          assert(not vim.inspect(m):find "wane" or m.lhs:find "^<Plug>", vim.inspect(m))
        end
      end
      eq({ "chat", "complete" }, lua "return vim.fn.getcompletion('Wane c', 'cmdline')")
      eq({}, lua "return vim.fn.getcompletion('Wane stop ', 'cmdline')")
      local models = lua("return vim.fn.getcompletion('Wane model ' .. ..., 'cmdline')", root .. "/examples/models/")
      eq({ root .. "/examples/models/demo-f16.gguf" }, models)
    ]]
  end)

  it("shows a completion and takes it by word, by line, as a whole", function()
    drive [[
      with_model "{ max_tokens = 24 }"
      keys "iOnce upon a time"
      until_true("typed text", function() return lines()[1] == "Once upon a time" end)
      keys "<Cmd>Wane complete<CR>"
      local text = ghosted()
      assert(#text > 20, text)
      eq({ "Once upon a time" }, lines(), "the buffer is as it was:")
      local screen = lua "vim.cmd 'redraw'; local s = ''; for c = 1, 40 do s = s .. vim.fn.screenstring(1, c) end; return s"
      local first = vim.split(text, "\n")[1]:sub(1, 10)
      assert(screen:find("Once upon a time" .. first, 1, true), screen)
      -- a word
      eq(true, lua "return require('wane.nvim').accept 'word'")
      local word = text:match "^%s*[%w_]+" or text:match "^%s*[^%w_%s]+"
      eq({ "Once upon a time" .. word }, lines())
      eq(text:sub(#word + 1), ghost(), "the rest is shown:")
      -- typing what is shown goes through it
      local typed = text:sub(#word + 1, #word + 2)
      keys(typed)
      until_true("the typed text", function() return lines()[1] == "Once upon a time" .. word .. typed end)
      eq(text:sub(#word + 3), ghost())
      -- the whole
      eq(true, lua "return require('wane.nvim').accept()")
      eq("Once upon a time" .. text, table.concat(lines(), "\n"))
      eq(vim.NIL, ghost())
      eq(false, lua "return require('wane.nvim').accept()", "nothing to accept:")
      local at = call("nvim_win_get_cursor", 0)
      eq({ #lines(), #lines()[#lines()] }, at)
      eq("", cmd "messages")
    ]]
  end)

  it("gives the key back where nothing is shown, and inserts nothing else", function()
    drive [[
      with_model "{ max_tokens = 8, max_ms = 60000 }"
      lua "vim.keymap.set('i', '<Tab>', function() require('wane.nvim').accept_or('all', '<Tab>') end)"
      keys "ia<Tab>b"
      until_true("a tab", function() return lines()[1] == "a\tb" end)
      keys "<Esc>ccThe king said<Cmd>Wane complete<CR>"
      local text = ghosted()
      keys "<Tab>"
      until_true("the text", function() return table.concat(lines(), "\n") == "The king said" .. text end)
      -- other keys end a suggestion
      keys "<Cmd>Wane complete<CR>"
      ghosted()
      keys "\1"
      until_true("no ghost", function() return ghost() == vim.NIL end)
      keys "<Esc>"
      lua "vim.keymap.set('i', '<C-l>', '<Plug>(wane-complete)'); vim.keymap.set('i', '<C-j>', '<Plug>(wane-accept-line)')"
      keys "ccOnce<C-l>"
      local shown = ghosted()
      keys "<C-j>"
      until_true("a line", function() return table.concat(lines(), "\n") == "Once" .. shown:match "^\n?[^\n]*" end)
    ]]
  end)

  it("completes while typing where that is asked for, in the filetypes of the user", function()
    drive [[
      lua("require('wane.nvim').setup { model = ..., auto = true, delay = 20, filetypes = { 'lua' }, max_tokens = 8 }",
        root .. "/examples/models/demo-f16.gguf")
      keys "iOnce upon a"
      vim.wait(300)
      eq(vim.NIL, ghost())
      eq(vim.NIL, lua "return require('wane.nvim.engine').facts().model", "no model for this filetype:")
      keys "<Esc>"
      cmd "set filetype=lua"
      keys "A time"
      ghosted()
      keys "<Esc>"
      until_true("gone with insert mode", function() return ghost() == vim.NIL end)
      cmd "new | set buftype=nofile filetype=lua"
      keys "iOnce upon"
      vim.wait(200)
      eq(vim.NIL, ghost())
    ]]
  end)

  it("keeps what was read: the next request pays for what is new", function()
    drive [[
      with_model "{ max_tokens = 8, context = 512, max_ms = 60000 }"
      local story = {}
      for i = 1, 20 do story[i] = "The king had a daughter, and she was very beautiful." end
      call("nvim_buf_set_lines", 0, 0, -1, false, story)
      keys "Go<Cmd>Wane complete<CR>"
      ghosted()
      keys "Then<Cmd>Wane complete<CR>"
      ghosted()
      local s = lua [=[
        for i = 1, 20 do
          local name, v = debug.getupvalue(require('wane.nvim.complete').text, i)
          if name == 'shown' then return v.stats end
        end]=]
      assert(s.n_reused > s.n_prompt * 0.8, vim.inspect(s))
    ]]
  end)

  it("builds the prompt: both sides in order, other files first, no control tokens out of text", function()
    drive [[
      local got = lua [=[
        local around = require "wane.nvim.around"
        local v = { special = { fim_pre = 1, fim_suf = 2, fim_mid = 3, fim_sep = 4, bos = 5 }, add_bos = true }
        function v:encode(text, o)
          assert(o.parse_special == false and o.special == false)
          return { text }
        end
        local p = { before = "B", after = "A", name = "me", files = { { name = "x", text = "X" }, { name = "y", text = "Y" } } }
        local both = around.ids(v, p)
        v.special = {}
        local lines = {}
        for i = 1, 100 do lines[i] = ("%03d"):format(i) end
        local cut = around.before(lines, 200)
        local cut2 = around.before({ unpack(lines, 1, 99) }, 200)
        return { both, around.ids(v, p), cut:sub(1, 3), cut2:sub(1, 3),
          around.after({ "é", "b", "c" }, 3), around.before({ "éa" }, 2), around.head("aé", 2) }
      ]=]
      eq({ 5, 4, "y\nY\n", 4, "x\nX\n", 4, "me\n", 1, "B", 2, "A", 3 }, got[1])
      eq({ "Y\n\n", "X\n\n", "B" }, got[2])
      eq("065", got[3])
      eq("065", got[4], "the window stays where it began:")
      eq("é", got[5])
      eq("a", got[6])
      eq("a", got[7])
      -- buffers: of the same filetype, with names, not this one
      lua [=[
        for _, name in ipairs { "a.lua", "b.lua", "c.txt" } do
          vim.cmd("edit " .. vim.fn.tempname() .. name)
          vim.bo.filetype = name:match "%a+$"
          vim.api.nvim_buf_set_lines(0, 0, -1, false, { "text of " .. name })
          vim.cmd "set hidden"
        end
        vim.cmd "enew | set filetype=lua"
      ]=]
      local files = lua "return require('wane.nvim.around').buffers(0, 5, 100)"
      local texts = { files[1].text, files[2].text }
      table.sort(texts)
      eq(2, #files)
      eq({ "text of a.lua", "text of b.lua" }, texts)
      eq(1, #lua "return require('wane.nvim.around').buffers(0, 1, 100)")
    ]]
  end)

  it("talks in a buffer, and nothing that is typed meanwhile is lost", function()
    drive [[
      with_model "{ chat = { max_tokens = 200, temperature = 0 } }"
      cmd "Wane chat Once upon a time"
      local n = #lines()
      keys "Gityped while it writes"
      until_true("a reply", function() return not lua "return require('wane.nvim.chat').busy()" end)
      local text = table.concat(lines(), "\n")
      local reply, rest = text:match "^## You\n\nOnce upon a time\n\n## Model\n\n(.*)\n\n## You\n(.*)$"
      assert(reply and #reply > 20, text)
      assert(rest:find("typed while it writes", 1, true), text)
      -- the second message is what stands under the last heading
      cmd "Wane chat"
      until_true("a reply", function() return not lua "return require('wane.nvim.chat').busy()" end)
      local _, replies = table.concat(lines(), "\n"):gsub("## Model", "")
      eq(2, replies)
      eq("", cmd "messages")
    ]]
  end)

  it("stops at once: replies, completions, edits", function()
    drive [[
      with_model "{ context = 2048, max_tokens = 500, chat = { max_tokens = 1800, temperature = 0 } }"
      cmd "Wane chat Once upon a time"
      until_true("some text", function() return #table.concat(lines(), "\n") > 60 end)
      cmd "Wane stop"
      eq(0, running())
      vim.wait(30)
      local before = lines()
      vim.wait(200)
      eq(before, lines(), "nothing comes after a stop:")
      eq(false, lua "return require('wane.nvim.chat').busy()")
      cmd "Wane chat and then?" -- and it can go on
      until_true("a second reply", function() return #lines() > #before + 3 end)
      cmd "Wane stop"
      eq("running: 0", cmd("Wane info"):match "running: %d+")
    ]]
  end)

  it("shows an edit as a diff; writing it takes it, closing it does not", function()
    drive [[
      with_model "{ edit = { max_tokens = 12 } }"
      call("nvim_buf_set_lines", 0, 0, -1, false, { "first", "Once upon a time", "there was a king", "last" })
      local buf = call("nvim_get_current_buf")
      local function now() return call("nvim_buf_get_lines", buf, 0, -1, false) end
      local function shown() return until_true("a diff", function() return lua "return require('wane.nvim.edit').shown()" end) end
      local old = now()
      cmd "2,3Wane edit make it shorter"
      local diff = shown()
      eq(old, now(), "nothing is taken yet:")
      local text = table.concat(call("nvim_buf_get_lines", diff, 0, -1, false), "\n")
      assert(text:find "^@@" and text:find("\n-Once upon a time", 1, true), text)
      cmd "quit!"
      until_true("it is gone", function() return not call("nvim_buf_is_valid", diff) end)
      eq(old, now())
      -- again, with lines put before the selection meanwhile, and taken
      cmd "2,3Wane edit make it shorter"
      call("nvim_buf_set_lines", buf, 0, 0, false, { "zeroth" })
      shown()
      cmd "write"
      local new = now()
      eq({ "zeroth", "first" }, { new[1], new[2] })
      eq("last", new[#new])
      assert(not vim.tbl_contains(new, "there was a king"), vim.inspect(new))
      -- a text that was changed meanwhile is not overwritten
      call("nvim_buf_set_lines", buf, 0, -1, false, old)
      until_true("the window", function() return call("nvim_get_current_buf") == buf end)
      cmd "2,3Wane edit make it shorter"
      shown()
      call("nvim_buf_set_lines", buf, 1, 2, false, { "mine" })
      local said = cmd "Wane! edit"
      eq("mine", now()[2])
      assert(said:find "changed meanwhile", said)
      cmd "Wane stop"
      eq(vim.NIL, lua "return require('wane.nvim.edit').shown()")
      eq({ "text", "```" }, lua "return require('wane.nvim.edit').clean '```lua\\ntext\\n```\\n```'" )
      eq({ "text" }, lua "return require('wane.nvim.edit').clean '\\n```lua\\ntext\\n```\\n'" )
    ]]
  end)

  it("never waits for a job that hangs, and tells of one that fails once", function()
    drive [[
      with_model()
      lua [=[
        local engine = require "wane.nvim.engine"
        local pipe = vim.loop.pipe and vim.loop.pipe() or { read = assert(io.popen("sleep 30")), write = 0 }
        local fd = type(pipe.read) == "number" and pipe.read or 0
        hung = { cancelled = 0, fd = function() return fd end, poll = function() return "", true end,
          stats = function() return {} end, cancel = function(s) s.cancelled = s.cancelled + 1 end, close = function() end }
        engine.watch(hung, error, error)
      ]=]
      eq(1, running())
      keys "ihello"
      until_true("typing goes on", function() return lines()[1] == "hello" end)
      keys "<Esc>"
      cmd "Wane stop"
      eq(0, running())
      eq(1, lua "return hung.cancelled")
      -- a model that is no model: one message, however often it is asked for
      lua "vim.g.wane = { model = '/etc/passwd' }; require('wane.nvim.config').forget()"
      lua "notes = {}; vim.notify = function(m) notes[#notes + 1] = m end"
      lua "require('wane.nvim').setup { model = '/etc/passwd', auto = true, delay = 5 }"
      keys "oa"
      vim.wait(100)
      keys "b"
      vim.wait(100)
      keys "c<Esc>"
      until_true("one message", function() return #lua "return notes" > 0 end)
      vim.wait(100)
      local notes = lua "return notes"
      eq(1, #notes)
      assert(notes[1]:find "^wane: /etc/passwd", notes[1])
    ]]
  end)

  it("leaves nothing behind when the editor ends in the middle of a reply", function()
    drive [[
      with_model "{ context = 2048, chat = { max_tokens = 1900 } }"
      cmd "Wane chat Once upon a time"
      until_true("some text", function() return #table.concat(lines(), "\n") > 60 end)
      vim.rpcnotify(chan, "nvim_command", "qa!")
      eq({ 0 }, vim.fn.jobwait({ chan }, 10000))
    ]]
  end)

  it("takes no model and no library from a project", function()
    drive [[
      local dir = vim.fn.tempname()
      vim.fn.mkdir(dir .. "/wane", "p")
      vim.fn.writefile({ "not a library" }, dir .. "/wane/core.so")
      vim.fn.writefile({ "" }, dir .. "/model.gguf")
      cmd("cd " .. dir)
      keys "ia<Cmd>Wane complete<CR>"
      until_true("a message", function() return cmd("messages"):find "no model" end)
      lua "vim.g.wane = { model = 'model.gguf' }; require('wane.nvim.config').forget()"
      keys "<Cmd>Wane complete<CR>"
      until_true("a message", function() return cmd("messages"):find "want an absolute path" end)
      lua "vim.g.wane = { modle = 'x' }; require('wane.nvim.config').forget()"
      keys "<Cmd>Wane complete<CR>"
      until_true("a message", function() return cmd("messages"):find "unknown option 'modle'" end)
      lua "vim.g.wane = nil; require('wane.nvim.config').forget()"
      eq(root .. "/build/luajit/wane/core.so", lua "return require('wane.nvim.native').file()")
      -- a model that is named is taken
      keys "<Esc>"
      cmd("Wane model " .. root .. "/examples/models/demo-f16.gguf")
      eq("", lua "return require('wane.nvim.engine').facts().model and 'loaded' or ''", "not before it is used:")
      keys "A<Cmd>Wane complete<CR>"
      ghosted()
      keys "<Esc>"
      local said = cmd "Wane model nowhere.gguf"
      assert(said:find "nowhere.gguf: cannot be read", said)
      said = cmd "Wane talk"
      assert(said:find "want one of chat, complete", said)
    ]]
  end)

  it("tells what to do where the native part is missing or made for another Lua", function()
    drive [[
      local dir = vim.fn.tempname()
      vim.fn.mkdir(dir .. "/build/luajit/wane", "p")
      for _, name in ipairs { "lua", "plugin" } do vim.loop.fs_symlink(root .. "/" .. name, dir .. "/" .. name) end
      lua("package.loaded['wane.nvim.native'] = nil; package.loaded['wane.nvim.engine'] = nil; vim.opt.rtp = { ... }", dir)
      lua("package.path = ''; package.cpath = ''")
      with_model()
      keys "i<Cmd>Wane complete<CR>"
      until_true("a message", function() return cmd("messages"):find("the native part is missing: run 'make nvim' in " .. dir, 1, true) end)
      -- one that wants another Lua's functions, or is no library at all
      vim.fn.writefile({ "not a library" }, dir .. "/build/luajit/wane/core.so")
      keys "<Cmd>Wane complete<CR>"
      until_true("a message", function()
        return cmd("messages"):find(dir .. "/build/luajit/wane/core.so", 1, true) and cmd("messages"):find "run 'make nvim' in"
      end)
      keys "still typing"
      until_true("typing goes on", function() return lines()[1] == "still typing" end)
    ]]
  end)

  it("shares the weights with other editors, and no context", function()
    drive [[
      local first = chan
      local function prepare(n)
        with_model "{ max_tokens = 8, context = 512, max_ms = 60000 }"
        local story = {}
        for i = 1, 12 do story[i] = n .. " The king had a daughter, and she was very beautiful." end
        call("nvim_buf_set_lines", 0, 0, -1, false, story)
      end
      local second = child_start()
      local function both(f)
        for n, c in ipairs { first, second } do
          chan = c
          f(n)
        end
      end
      both(prepare)
      both(function() keys "Go<Cmd>Wane complete<CR>" end) -- at the same time
      both(ghosted)
      both(function() keys "Then<Cmd>Wane complete<CR>" end)
      both(function()
        ghosted()
        local s = lua [=[
          for i = 1, 20 do
            local name, v = debug.getupvalue(require('wane.nvim.complete').text, i)
            if name == 'shown' then return v.stats end
          end]=]
        assert(s.n_reused > s.n_prompt * 0.8, vim.inspect(s))
        -- the file is mapped; this editor has no copy of its own of any page
        local mapped, own = 0, 0
        local pid = lua "return vim.fn.getpid()"
        local here = false
        for line in io.lines("/proc/" .. pid .. "/smaps") do
          if line:find "^%x+%-%x+ " then here = line:find("demo-f16.gguf", 1, true) ~= nil end
          if here and line:find "^Size:" then mapped = mapped + tonumber(line:match "%d+") end
          if here and line:find "^Private_Dirty:" then own = own + tonumber(line:match "%d+") end
        end
        assert(mapped > 14000, mapped .. " KiB are mapped")
        eq(0, own)
      end)
      chan = second
      vim.rpcnotify(chan, "nvim_command", "qa!")
      chan = first
    ]]
  end)

  it("begins from each init.lua of the examples, in an empty home", function()
    if not executed "command -v nvim > /dev/null 2>&1" then support.skip "Neovim is not installed" end
    if os.getenv "WANE_LANE" then support.skip "not under a sanitizer" end
    if not support.exists "build/luajit/wane/core.so" then support.skip "no LuaJIT build in build/ (make nvim)" end
    local home, out = cwd() .. "/" .. support.tmp "home", support.tmp "home.out"
    local start = home .. "/.local/share/nvim/site/pack/wane/start"
    executed(("mkdir -p %s %s/.config/nvim && ln -s %s %s/wane && cp examples/nvim/none.lua %s/.config/nvim/init.lua"):format(start, home,
      cwd(), start, home))
    executed(("cd / && env -i PATH=\"$PATH\" HOME=%s WANE_MODEL=%s/examples/models/demo-f16.gguf timeout 60 nvim --headless "
      .. "-c 'redir! > %s/%s' -c 'Wane info' -c 'redir END' -c 'qa!' > /dev/null 2>&1"):format(home, cwd(), cwd(), out))
    local said = support.slurp(out)
    executed("rm -rf " .. home)
    os.remove(out)
    assert.truthy(said:find("demo-f16.gguf (not loaded)", 1, true), said)
    -- those of the plugin managers are Lua, and set the same things
    local want = support.slurp("examples/nvim/none.lua"):match "\n(vim%.g%.wane.*)$"
    for _, name in ipairs { "lazy", "pack" } do
      local text = support.slurp("examples/nvim/" .. name .. ".lua")
      assert(loadfile("examples/nvim/" .. name .. ".lua"))
      assert.equals(want, text:match "\n(vim%.g%.wane.*)$")
    end
  end)

  -- The figures are bench/RESULTS.md's; here the limits allow for a busy machine.
  it("shows a key as soon while an answer is written as when nothing is", function()
    needs_editor()
    local t = require("bench.editor").measure(nil, 1, 30)
    assert.equal(30, #t.idle)
    assert.equal(30, #t.answering)
    assert.is_true(t.answering[15] < t.idle[15] + 5, ("median %.1f against %.1f ms"):format(t.answering[15], t.idle[15]))
    assert.is_true(t.answering[30] < 500, ("longest %.1f ms"):format(t.answering[30]))
  end)

  it("says how it is, and helps", function()
    drive [[
      local function health()
        cmd "checkhealth wane"
        until_true("a report", function() return #lines() > 5 end)
        local text = table.concat(lines(), "\n")
        cmd "bwipeout!"
        return text
      end
      local text = health()
      assert(text:find "native part" and text:find "no model", text)
      with_model()
      lua "require('wane.nvim.config').forget()"
      text = health()
      assert(text:find "demo%-f16.gguf" and not text:find "ERROR", text)
      assert(cmd("Wane info"):find "not loaded")
      local dir = vim.fn.tempname()
      vim.fn.mkdir(dir .. "/doc", "p")
      vim.fn.writefile(vim.fn.readfile(root .. "/doc/wane-nvim.txt"), dir .. "/doc/wane-nvim.txt")
      cmd("helptags " .. dir .. "/doc")
      cmd("set rtp^=" .. dir)
      for _, tag in ipairs { "wane-nvim", ":Wane", "wane-nvim-options", "wane-nvim-accept" } do
        cmd("help " .. tag)
        assert(call("nvim_buf_get_name", 0):find "wane%-nvim.txt$", tag)
      end
      for _, line in ipairs(lines()) do assert(vim.fn.strdisplaywidth(line) <= 80, line) end
    ]]
  end)
end)
