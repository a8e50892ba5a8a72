--- The plugin in a real editor (spec/support/nvim.lua): what it does. How it
--- behaves meanwhile is nvim_manners_spec's.
local support = require "spec.support"
if support.elsewhere() then return end

local editor = require "spec.support.nvim"
local cwd, drive, executed = editor.cwd, editor.drive, editor.executed

local build = os.getenv "WANE_BUILD" or "build"

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
  local poll = (vim.uv or vim.loop).new_poll(job:fd())
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
    editor.needs_editor(build)
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
      -- the other way round: all but these
      keys "<Esc>"
      lua("require('wane.nvim').setup { model = ..., auto = true, delay = 20, filetypes = { markdown = false }, max_tokens = 8 }",
        root .. "/examples/models/demo-f16.gguf")
      cmd "enew! | set filetype=markdown"
      keys "iOnce upon"
      vim.wait(200)
      eq(vim.NIL, ghost())
      keys "<Esc>"
      cmd "set filetype=text"
      keys "A a time"
      ghosted()
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
      local s = stats()
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

  it("begins from each init.lua of the examples, in an empty home", function()
    editor.needs_editor()
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
