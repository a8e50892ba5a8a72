--- The plugin is never in the way: what people blame other plugins for, each
--- shown absent in a real editor (spec/support/nvim.lua).
---
---     the editor waits or freezes      avante.nvim #981, codecompanion.nvim #2963
---     Tab inserts text of its own      llama.vim #38, #74
---     not limited to filetypes         llama.vim #118
---     editors thrash one context       llama.vim #42, which also works on when nobody types
---     nothing stops it                 avante.nvim #1069
---     native part missing, or another Lua's   avante.nvim #520, blink.cmp #2570
---     memory, a process per editor     copilot.vim #266
local support = require "spec.support"
if support.elsewhere() then return end

local editor = require "spec.support.nvim"
local drive = editor.drive

describe("Neovim with the plugin", function()
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
      -- between brackets, with text behind the cursor and two in a row
      lua "vim.keymap.set('i', '(', '()<Left>')"
      keys "<Esc>ccThe king (<Cmd>Wane complete<CR>"
      text = ghosted()
      keys "<Tab><Tab>x"
      until_true("the text", function() return table.concat(lines(), "\n") == "The king (" .. text .. "\tx)" end)
      -- while a menu is open
      keys "<Esc>ggdGikings and knights<CR>k<C-n>"
      until_true("a menu", function() return call("nvim_eval", "pumvisible()") == 1 end)
      keys "<Tab>x"
      until_true("a tab", function() return lines()[2] == "kings\tx" end)
      keys "<Esc>ggdGa"
      -- other keys end a suggestion
      keys "<Cmd>Wane complete<CR>"
      ghosted()
      keys "\1"
      until_true("no ghost", function() return ghost() == vim.NIL end)
      keys "<Esc>"
      lua "vim.keymap.set('i', '<C-l>', '<Plug>(wane-complete)'); vim.keymap.set('i', '<C-j>', '<Plug>(wane-accept-line)')"
      keys "ggdGiOnce<C-l>"
      local shown = ghosted()
      keys "<C-j>"
      until_true("a line", function() return table.concat(lines(), "\n") == "Once" .. shown:match "^\n?[^\n]*" end)
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
      -- a completion
      cmd "enew"
      lua "require('wane.nvim.config').get().max_tokens = 500"
      keys "iOnce upon a time<Cmd>Wane complete<CR>"
      until_true("it runs", function() return running() == 1 and ghost() end)
      keys "<Cmd>Wane stop<CR>"
      until_true("no ghost", function() return ghost() == vim.NIL and running() == 0 end)
      vim.wait(100)
      eq({ vim.NIL, "Once upon a time" }, { ghost(), lines()[1] })
      -- an edit, before it is shown
      keys "<Esc>"
      cmd "1Wane edit write a long story of it"
      eq(1, running())
      cmd "Wane stop"
      eq(0, running())
      vim.wait(100)
      eq({ vim.NIL, { "Once upon a time" } }, { lua "return require('wane.nvim.edit').shown()", lines() })
      -- the threads have ended too, not only their reports
      local function worked()
        local t = vim.split(vim.fn.readfile("/proc/" .. lua "return vim.fn.getpid()" .. "/stat")[1]:match "%) (.*)$", " ")
        return t[12] + t[13] -- of user and system, in hundredths of a second
      end
      until_true("rest", function()
        local before = worked()
        vim.wait(500)
        return worked() - before <= 2
      end)
    ]]
  end)

  -- The figures are bench/RESULTS.md's; here the limits allow for a busy machine.
  it("shows a key as soon while an answer is written as when nothing is", function()
    editor.needs_editor()
    if not jit then support.skip "the bench wants LuaJIT" end
    local t = require("bench.editor").measure(nil, 1, 30)
    assert.equal(30, #t.idle)
    assert.equal(30, #t.answering)
    assert.is_true(t.answering[15] < t.idle[15] + 5, ("median %.1f against %.1f ms"):format(t.answering[15], t.idle[15]))
    assert.is_true(t.answering[30] < 500, ("longest %.1f ms"):format(t.answering[30]))
  end)

  it("never waits for a job that hangs, and tells of one that fails once", function()
    drive [[
      with_model()
      lua [=[
        local engine = require "wane.nvim.engine"
        local uv = require("wane.nvim.compat").uv
        local pipe = uv.pipe and uv.pipe() or { read = assert(io.popen("sleep 30")), write = 0 }
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
      for _, name in ipairs { "lua", "plugin" } do (vim.uv or vim.loop).fs_symlink(root .. "/" .. name, dir .. "/" .. name) end
      lua("package.loaded['wane.nvim.native'] = nil; package.loaded['wane.nvim.engine'] = nil; vim.opt.rtp = { ... }", dir)
      lua("package.path = ''; package.cpath = ''")
      with_model()
      keys "i<Cmd>Wane complete<CR>"
      until_true("a message", function() return cmd("messages"):find("the native part is missing: run 'make nvim' in " .. dir, 1, true) end)
      -- one for another Lua
      local other = root .. "/build/lua5.4/wane/core.so"
      local function told(what)
        cmd "messages clear"
        keys "<Cmd>Wane complete<CR>"
        until_true(what, function()
          local said = cmd "messages"
          return said:find(dir .. "/build/luajit/wane/core.so", 1, true) and said:find("run 'make nvim' in " .. dir, 1, true)
        end)
      end
      if vim.fn.filereadable(other) == 1 then
        (vim.uv or vim.loop).fs_symlink(other, dir .. "/build/luajit/wane/core.so")
        told "a message about another Lua's"
        vim.fn.delete(dir .. "/build/luajit/wane/core.so")
      end
      -- one that is no library at all
      vim.fn.writefile({ "not a library" }, dir .. "/build/luajit/wane/core.so")
      told "a message about no library"
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
        local s = stats()
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
        eq("", table.concat(vim.fn.readfile(("/proc/%d/task/%d/children"):format(pid, pid))), "no process but the editor:")
      end)
      chan = second
      vim.rpcnotify(chan, "nvim_command", "qa!")
      chan = first
    ]]
  end)

  it("calls nothing that this Neovim calls deprecated", function()
    drive [[
      local list = vim.fn.readfile(vim.env.VIMRUNTIME .. "/doc/deprecated.txt")
      local old, n = {}, 0
      for _, line in ipairs(list) do
        for name in line:gmatch "%*(n?vim[_.][%w_.]+)%(?%)?%*" do
          old[name] = true
          n = n + 1
        end
      end
      assert(n > 10, n .. " names")
      local files = vim.fn.glob(root .. "/lua/wane/nvim/*.lua", false, true)
      vim.list_extend(files, { root .. "/plugin/wane.lua", root .. "/lua/wane/health.lua" })
      for _, file in ipairs(files) do
        if not file:find "/compat%.lua$" then -- it knows both names
          for i, line in ipairs(vim.fn.readfile(file)) do
            for name in line:gmatch "n?vim[_.][%w_.]+" do assert(not old[name], ("%s:%d: %s"):format(file, i, name)) end
          end
        end
      end
    ]]
  end)
end)
