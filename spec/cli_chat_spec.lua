--- `wane chat`: commands, what is thought, calls of functions, in one process;
--- then a real terminal, driven through tmux.
local cli = require "wane.cli"
local core = require "wane.core"
local json = require "wane.json"
local support = require "spec.support"

local DEMO = "examples/models/demo-f16.gguf"

-- Types lines into `wane chat`; status, standard output, standard error.
local function chat(lines, ...)
  local printed, noted, n = {}, {}, 0
  local prompts = {}
  local out = {
    write = function(s) printed[#printed + 1] = s end,
    note = function(...) noted[#noted + 1] = table.concat({ ... }, " ") end,
    progress = function() end,
    paint = function(style, s) return style == "dim" and "{" .. s .. "}" or s end,
    reader = {
      read = function(_, prompt)
        n, prompts[#prompts + 1] = n + 1, prompt
        if lines[n] == nil then return nil, "end" end
        if not lines[n] then return nil, "interrupt" end
        return lines[n]
      end,
      close = function() end,
    },
  }
  local status = cli.main({ "chat", DEMO, "--temperature", "0", "--seed", "1", ... }, out)
  return status, table.concat(printed), table.concat(noted, "\n"), prompts
end

-- A template with marks for thoughts and calls, and a grammar that writes them.
local TEMPLATE = [[{%- if tools %}<|im_start|>system
<tools>{% for t in tools %}{{ t | tojson }}{% endfor %}</tools> <tool_call>{"name": ..., "arguments": ...}</tool_call><|im_end|>
{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>
{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}
</tool_call>{% endfor %}<|im_end|>
{% endfor %}<|im_start|>assistant
{% if enable_thinking is defined and not enable_thinking %}<think>

</think>

{% endif %}]]

local function file(suffix, text)
  local path = support.tmp(suffix)
  support.spit(path, text)
  return path
end

describe("wane chat", function()
  support.check_leaks()

  it("answers, counts, takes back, answers again and forgets", function()
    local status, text, notes = chat({ "Hello", "/tokens", "/regen", "/speed", "/undo", "/undo", "/regen", "Hello", "/clear", "/tokens" }, "-n", "6")
    assert.equal(0, status)
    local first, second = text:match "^(.-)\ncontext: %d+ of 512 tokens; 2 messages; 6 tokens answered so far\n(.-)\n"
    assert.equal(first, second) -- the same answer to the same message
    assert.is_true(#first > 3)
    assert.matches("message: %d+ tokens, [%d.]+ tokens/s; answer: 6 tokens, [%d.]+ tokens/s", text)
    assert.matches("taken back: Hello\n", notes)
    assert.matches("nothing to take back\nnothing to answer yet\n", notes)
    assert.matches("forgotten", notes)
    assert.matches("0 messages; 18 tokens answered so far\n$", text)
    assert.matches("{%[cut at %-%-max%-tokens, 6 tokens, [%d.]+ tokens/s, context %d+ of 512%]}", notes)
  end)

  it("has a system message, shown and changed", function()
    local _, text, notes = chat({ "/system", "/system You are a cat.", "/system", "/clear", "/system" }, "-s", "Be brief.")
    assert.equal("Be brief.\nYou are a cat.\nYou are a cat.\n", text)
    assert.matches("forgotten", notes)
  end)

  it("saves, loads and goes on; files that lie are refused", function()
    local path = support.tmp "talk.json"
    local _, text = chat({ "Hello", "/save " .. path, "/regen" }, "-n", "6")
    local saved = json.decode(support.slurp(path))
    assert.equal("Hello", saved.messages[1].content)
    assert.equal("assistant", saved.messages[2].role)
    local _, again, notes = chat({ "/load " .. path, "/regen" }, "-n", "6")
    assert.equal(text:match "^(.-)\n", again:match "^(.-)\n")
    assert.matches("2 messages", notes)
    local bad = { ["{"] = "json", ["{}"] = "want { messages", ['{"messages":[3]}'] = "message 1: want a role",
      ['{"messages":[{"role":"user","content":7}]}'] = "message 1: want a text" }
    for content, want in pairs(bad) do
      support.spit(path, content)
      local status, _, said = chat { "/load " .. path, "/tokens" }
      assert.equal(0, status)
      assert.truthy(said:lower():find(want, 1, true), said)
    end
    local _, _, said = chat { "/load build/no-such.json", "/load", "/save build", "/nonsense" }
    assert.matches("no%-such%.json", said)
    assert.matches("/load wants FILE", said)
    assert.matches("no command /nonsense: see /help", said)
    os.remove(path)
  end)

  it("puts a file before the next message", function()
    local path = file("read.txt", "Green apples.")
    local saved = support.tmp "talk.json"
    local _, _, notes = chat({ "/read " .. path, "Which colour?", "/save " .. saved }, "-n", "2")
    assert.matches("13 bytes, for your next message", notes)
    assert.equal("Green apples.\n\nWhich colour?", json.decode(support.slurp(saved)).messages[1].content)
    os.remove(path)
    os.remove(saved)
  end)

  it("shows what is thought dim, or hides it", function()
    local t, g = file("t.jinja", TEMPLATE), file("g.gbnf", 'root ::= "<think>\\nhmm\\n</think>\\n\\nyes"')
    local _, text = chat({ "Sure?", "/think hide", "Sure?", "/think show", "/think off", "/think" },
      "--template", t, "--grammar", g)
    assert.truthy(text:find("^{hm", 1) or text:find("^{h}{", 1), text)
    assert.matches("}\nyes\nthinking: as the template says, hidden\n{%(thinks%)}\nyes\n", text)
    assert.matches("thinking: off, shown", text)
    local _, _, notes = chat { "/think on", "/think perhaps" }
    assert.matches("has no switch for thinking", notes)
    assert.matches("want on, off, show or hide", notes)
    os.remove(t)
    os.remove(g)
  end)

  it("shows calls of functions and asks for their results", function()
    local t = file("t.jinja", TEMPLATE)
    local g = file("g.gbnf", 'root ::= "<tool_call>\\n{\\"name\\": \\"add\\", \\"arguments\\": {\\"a\\": 1}}\\n</tool_call>"')
    local tools = file("tools.json", '[{"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}]')
    local saved = support.tmp "talk.json"
    local status, text, notes, prompts = chat({ "1 + 1?", "2", "", "/save " .. saved }, "--template", t, "--grammar", g, "--tools", tools)
    assert.equal(0, status, notes)
    assert.matches('calls add {"a": ?1}\n', text)
    assert.equal("result of add> ", prompts[2])
    assert.equal("result of add> ", prompts[3]) -- it called again; an empty result ends that
    local messages = json.decode(support.slurp(saved)).messages
    assert.equal("tool", messages[3].role)
    assert.equal("2", messages[3].content)
    local refused, _, why = chat({}, "--tools", g, "--template", t)
    assert.equal(1, refused)
    assert.truthy(why:find(g, 1, true), why)
    for _, path in ipairs { t, g, tools, saved } do os.remove(path) end
  end)

  it("Ctrl-C at the prompt gives up the line, twice it ends; /quit ends", function()
    assert.equal(130, (chat { false, false, "Hello" }))
    local status, text, notes = chat({ false, "Hello", false, "/quit", "never" }, "-n", "2")
    assert.equal(0, status)
    assert.matches("Ctrl%-C again or Ctrl%-D ends", notes)
    assert.is_nil(text:find("never", 1, true))
  end)

  it("a message that does not fit is an error, not the end", function()
    local status, _, notes = chat({ ("long "):rep(600), "Hello" }, "-n", "2")
    assert.equal(0, status)
    assert.matches("the message has %d+ tokens", notes)
    assert.matches("2 tokens", notes)
  end)
end)

-- A terminal with `wane chat` in it.
local function terminal(env, ...)
  local name = ("wane%s"):format(tostring({}):match "0x(%x+)")
  local lua = os.getenv "WANE_LUA" or "lua5.4"
  local tmux = "tmux -L " .. name .. " -f /dev/null "
  local function quoted(s) return "'" .. s:gsub("'", "'\\''") .. "'" end
  local function sh(command)
    local p = assert(io.popen(command .. " 2>&1"))
    local text = p:read "*a"
    p:close()
    return text
  end
  local command = ("env TERM=screen NO_COLOR= %s LUA_PATH=%s LUA_CPATH=%s %s lua/wane/cli/wane.lua chat %s %s; echo status $?; exec sleep 60"):format(
    env, quoted(package.path), quoted(package.cpath), lua, DEMO, table.concat({ ... }, " "))
  local t = {}
  sh(tmux .. "new-session -d -x 80 -y 40 " .. quoted(command))
  function t.screen(colours) return sh(tmux .. "capture-pane -p " .. (colours and "-e" or "")) end
  function t.type(text) sh(tmux .. "send-keys -l " .. quoted(text)) end
  function t.press(...) sh(tmux .. "send-keys " .. table.concat({ ... }, " ")) end
  --- Waits for a pattern on the screen; the screen. Generous: it ends when it is there.
  function t.wait(pattern)
    local until_ = core.now() + 60
    local text
    repeat
      text = t.screen()
      if text:find(pattern) then return text end
      sh "sleep 0.05"
    until core.now() > until_
    error(("no '%s' on the screen:\n%s"):format(pattern, text), 2)
  end
  function t.close() sh(tmux .. "kill-server") end
  return t
end

describe("wane chat on a terminal", function()
  local t
  local history = support.tmp "history"
  after_each(function()
    if t then t.close() end
    t = nil
  end)

  local function needs(module)
    if os.getenv "WANE_LANE" or os.getenv "WANE_WRAP" then support.skip "not under a sanitizer" end
    local p = io.popen "command -v tmux"
    local has = p:read "*a" ~= ""
    p:close()
    if not has then support.skip "tmux is absent" end
    if module and not package.loaded[module] then
      for _, path in ipairs { package.path, package.cpath } do
        for template in path:gmatch "[^;]+" do
          if support.exists((template:gsub("%?", module))) then return end
        end
      end
      support.skip("lua-" .. module .. " is absent")
    end
  end

  it("edits lines, remembers them, stops an answer, completes commands", function()
    needs "readline"
    t = terminal("WANE_HISTORY=" .. history, "--temperature 0")
    t.wait "/help lists commands.-\n>"
    t.type "/tokuns"
    t.press("Left", "Left", "BSpace")
    t.type "e"
    t.press "Enter"
    t.wait "context: 0 of 512 tokens"
    t.type "Once upon a time"
    t.press "Enter"
    t.wait "Once upon a time\n%S"
    t.press "C-c"
    t.wait "%[stopped, %d+ tokens, [%d.]+ tokens/s, context %d+ of 512%]\n>"
    t.type "/cle"
    t.press "Tab"
    t.press "Enter"
    t.wait "forgotten\n>"
    t.press("Up", "Up", "Up", "Enter") -- /clear, Once upon a time, /tokens
    t.wait "forgotten\n> /tokens\ncontext: %d+ of 512 tokens; 0 messages"
    t.type "given up"
    t.wait "> given up" -- what is not read yet, Ctrl-C throws away in the terminal
    t.press "C-c"
    t.wait "given up\n%(Ctrl%-C again or Ctrl%-D ends"
    t.press "C-d"
    t.wait "status 0"
    assert.truthy(support.slurp(history):find("Once upon a time", 1, true))
    assert.is_nil(support.slurp(history):find("given up", 1, true))
  end)

  it("gives up a line without removing its handler in the middle, and leaves the terminal as it was", function()
    needs "readline"
    local guard = support.tmp "guard.lua" -- lua-readline 3.1 writes to a closed stream then
    support.spit(guard, [[
      local rl, inside = require "readline", false
      local install, remove = rl.handler_install, rl.handler_remove
      function rl.handler_install(prompt, f)
        install(prompt, function(s) inside = true f(s) inside = false end)
      end
      function rl.handler_remove()
        if not inside then os.exit(99) end
        remove()
      end]])
    t = terminal(("LUA_INIT=@%s WANE_HISTORY="):format(guard), "-n 2 --temperature 0; stty -a")
    t.wait "/help lists commands.-\n>"
    t.type "given up"
    t.wait "> given up" -- what is not read yet, Ctrl-C throws away in the terminal
    t.press "C-c"
    t.wait "given up[^\n]*\n%(Ctrl%-C again or Ctrl%-D ends.-\n>"
    t.press "C-_" -- nothing to undo in the new line
    t.type "/tokens"
    t.press "Enter"
    t.wait "0 messages"
    t.type "half"
    t.press "C-r" -- a search in the history
    t.type "tok"
    t.wait "tok': /tokens"
    t.press "C-c"
    t.wait "Ctrl%-C again.-Ctrl%-C again"
    t.press "C-c"
    local screen = t.wait "status 0" -- of stty
    assert.matches("isig icanon ", screen)
    assert.matches(" echo ", screen)
    os.remove(guard)
  end)

  it("has the history of the last time, several lines, and every command", function()
    needs "readline"
    local saved = support.tmp "talk.json"
    support.spit(history, "/speed\n")
    t = terminal("WANE_HISTORY=" .. history, "-n 4 --temperature 0")
    t.wait "/help lists commands.-\n>"
    t.press("Up", "Enter")
    t.wait "no answer yet"
    t.type '"""'
    t.press "Enter"
    t.type "first line"
    t.press "Enter"
    t.type "second line"
    t.press "Enter"
    t.type '"""'
    t.press "Enter"
    t.wait "%[cut at %-%-max%-tokens, 4 tokens"
    t.type "/undo"
    t.press "Enter"
    t.wait "taken back: first line\\nsecond line"
    local last = 0
    for _, step in ipairs { { "/system Be kind.", ">" }, { "/system", "Be kind%." }, { "Hello \\", "%.%.%." }, { "there", "4 tokens.-context" },
      { "/regen", "4 tokens" }, { "/speed", "answer: 4 tokens" }, { "/think", "as the model likes" }, { "/read README.md", "for your next message" },
      { "/save " .. saved, "3 messages" }, { "/load " .. saved, "3 messages" }, { "/clear", "forgotten" }, { "/help", "/quit +end" } } do
      t.type(step[1])
      t.press "Enter"
      last = last + 1
      local plain = step[1]:gsub("%p", "%%%0")
      t.wait(plain .. "%s*\n[^$]*" .. step[2])
    end
    assert.equal(12, last)
    assert.equal("Hello \nthere", json.decode(support.slurp(saved)).messages[2].content)
    t.type "/quit"
    t.press "Enter"
    t.wait "status 0"
    os.remove(saved)
    os.remove(history)
  end)

  it("reads plain lines without readline; two Ctrl-C at the prompt end with 130", function()
    needs()
    t = terminal("WANE_HISTORY=", "--no-edit", "--temperature 0")
    t.wait "/help lists commands.-\n>"
    t.type "Once upon"
    t.press "Enter"
    t.wait "Once upon\n%S"
    t.press "C-c"
    t.wait "%[stopped, %d+ tokens"
    t.press "C-c"
    t.wait "Ctrl%-C again"
    t.press "C-c"
    t.wait "status 130"
  end)

  it("colours what is thought, but not with NO_COLOR", function()
    needs()
    local template, grammar = file("t.jinja", TEMPLATE), file("g.gbnf", 'root ::= "<think>\\nhmm\\n</think>\\n\\nyes"')
    for _, no in ipairs { "", "1" } do
      t = terminal("WANE_HISTORY= NO_COLOR=" .. no, "--no-edit", "--template", template, "--grammar", grammar)
      t.wait "/help lists commands.-\n>"
      t.type "Sure?"
      t.press "Enter"
      t.wait "yes\n%["
      local dim = t.screen(true):find "\27%[2m.-h"
      assert.equal(no == "", dim ~= nil)
      t.close()
    end
    os.remove(template)
    os.remove(grammar)
  end)
end)
