--- The table of verbs: what the parser, the completions and the manual say of
--- each verb is the same, and shells take it.
local cli = require "spec.support.cli"
local support = require "spec.support"
local verbs = require "wane.cli.verbs"

local function sh(command)
  local p = assert(io.popen("(" .. command .. ") 2>&1"))
  local text = p:read "*a"
  p:close()
  return text
end

local function has(program) return sh("command -v " .. program) ~= "" end

describe("the table of verbs", function()
  local all = verbs.all()
  local page = support.slurp "doc/wane.1":gsub("\\%-", "-"):gsub("\\f%u", "")

  it("has every verb, and a verb for each module that has one", function()
    local known = {}
    for _, name in ipairs(verbs.names) do known[name] = true end
    for file in sh("ls lua/wane/cli/*.lua"):gmatch "([%w_]+)%.lua" do
      local source = support.slurp("lua/wane/cli/" .. file .. ".lua")
      if source:find "function M.describe" then assert(known[file], file .. " is no verb of wane.cli.verbs") end
    end
    assert.is_true(#all >= 20)
  end)

  it("is what help, the manual and the completions are made from", function()
    local shells = { support.slurp "doc/completion/wane.bash", support.slurp "doc/completion/_wane", support.slurp "doc/completion/wane.fish" }
    local argparse = require "argparse"
    local parser = verbs.parser(argparse)
    for i, verb in ipairs(all) do
      local help = parser._commands[i]:get_help()
      assert(page:find('.SS "' .. verb.name .. '"', 1, true), verb.name)
      for _, row in ipairs(verb.options) do
        local flag = row.flags[#row.flags]
        assert(help:find(flag, 1, true), verb.name .. " " .. flag)
        assert(page:find(flag, 1, true), verb.name .. " " .. flag)
        assert(shells[1]:find(flag, 1, true) and shells[2]:find(flag, 1, true), verb.name .. " " .. flag)
        assert(shells[3]:find("-l " .. flag:sub(3) .. " ", 1, true), verb.name .. " " .. flag)
      end
      for _, row in ipairs(verb.arguments) do assert(help:find(row.name, 1, true), verb.name .. " " .. row.name) end
    end
  end)

  it("gives the parser defaults and conversions", function()
    local args = verbs.parser(require "argparse"):parse { "generate", "m.gguf", "Once", "--stop", "a", "--stop", "b" }
    assert.equal(256, args.max_tokens)
    assert.same({ "a", "b" }, args.stop)
    args = verbs.parser(require "argparse"):parse { "chat", "m.gguf" }
    assert.is_nil(args.max_tokens)
  end)

  it("completes in bash", function()
    if not has "bash" then support.skip "bash is absent" end
    local function complete(words)
      return (sh(("bash -c '. doc/completion/wane.bash; COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _wane 2>/dev/null; "
        .. "echo \"${COMPREPLY[@]}\"'"):format(words)):gsub("%s+$", ""))
    end
    assert.equal("inspect", complete "wane ins")
    assert.equal("Q4_K_S Q4_K_M", complete "wane quantize --threads 4 from.gguf to.gguf Q4_K")
    assert.equal("classification chat writing code", complete [[wane fit --task ""]])
    assert.equal("--json-schema", complete "wane generate --json-")
    assert.equal("examples/models/demo-f16.gguf", complete "wane chat examples/models/demo")
    assert.equal("", complete "wane chat m.gguf --seed 1")
    assert.equal("bash zsh fish man", complete [[wane completion ""]])
  end)

  it("zsh and fish take their files", function()
    local n = 0
    for shell, file in pairs { zsh = "doc/completion/_wane", fish = "doc/completion/wane.fish" } do
      if has(shell) then
        n = n + 1
        assert.equal("", sh(("%s -n %s"):format(shell, file)))
      end
    end
    if has "fish" then
      assert.matches("compare\tcompare models", sh([[fish --no-config -c 'source doc/completion/wane.fish; complete -C "wane comp"']]))
    end
    if n == 0 then support.skip "neither zsh nor fish is installed" end
  end)

  it("groff takes the manual page", function()
    if not has "groff" then support.skip "groff is absent" end -- its frees are not a sanitizer's business
    assert.equal("", sh "env -u LD_PRELOAD groff -man -Tutf8 -ww doc/wane.1 2>&1 > /dev/null")
    assert.matches("wane quantize", (sh "env -u LD_PRELOAD groff -man -Tascii -P-c doc/wane.1":gsub(".\b", "")))
  end)

  it("prints them", function()
    for shell, file in pairs { bash = "doc/completion/wane.bash", zsh = "doc/completion/_wane", fish = "doc/completion/wane.fish",
      man = "doc/wane.1" } do
      local status, text = cli.run("completion", shell)
      assert.equal(0, status)
      assert.equal(support.slurp(file), text)
    end
    local status, _, notes = cli.run("completion", "csh")
    assert.equal(1, status)
    assert.matches("want bash, zsh, fish or man", notes)
  end)
end)
