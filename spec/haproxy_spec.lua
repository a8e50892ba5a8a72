--- Several servers behind HAProxy, with the configuration of examples/haproxy.
local json = require "wane.json"
local support = require "spec.support"

local DEMO, CONFIG = "examples/models/demo-f16.gguf", "examples/haproxy/haproxy.cfg"
local PURE = ";/usr/share/lua/5.1/?.lua;/usr/share/lua/5.1/?/init.lua" -- lua-http's pure part serves other Luas too

local function succeeds(command)
  local ok = os.execute(command)
  return ok == true or ok == 0
end

-- What is missing to run this, or nil.
local function missing()
  if os.getenv "WANE_LANE" then return "not under a sanitizer: its servers are too slow for a balancer's checks" end
  if not succeeds "command -v haproxy >/dev/null" then return "haproxy is not installed" end
  local before = package.path
  package.path = before .. PURE
  local ok = pcall(require, "http.server")
  package.path = before
  return not ok and "the Lua library http (lua-http on cqueues) is not installed" or nil
end

describe("servers behind HAProxy", function()
  local dir, path

  support.check_leaks(function()
    path, dir = package.path, support.tmp "haproxy"
    package.path = path .. PURE
    os.execute("mkdir -p " .. dir)
  end, function()
    os.execute(("for f in %s/*.pid; do kill $(cat $f) 2>/dev/null; done; rm -rf %s"):format(dir, dir))
    package.path = path
  end)

  -- Starts a server; its port.
  local function serve(name)
    local lua, build = os.getenv "WANE_LUA" or "luajit", os.getenv "WANE_BUILD" or "build"
    os.execute(([[LUA_PATH='%s' LUA_CPATH='%s/%s/?.so;;' timeout 120 %s lua/wane/cli/wane.lua serve %s --port 0 --parallel 8 ]]
      .. [[--context 256 -t 1 --json >%s/%s.log 2>&1 & echo $! >%s/%s.pid]]):format(package.path, build, lua, lua, DEMO, dir, name, dir, name))
    for _ = 1, 600 do
      local port = support.exists(dir .. "/" .. name .. ".log") and support.slurp(dir .. "/" .. name .. ".log"):match '"url":"[^"]*:(%d+)"'
      if port then return tonumber(port) end
      os.execute "sleep 0.05"
    end
    error("no server: " .. support.slurp(dir .. "/" .. name .. ".log"))
  end

  -- One request; status, headers in small letters, body.
  local function ask(port, method, target, body, lines)
    local socket = require("cqueues.socket").connect("127.0.0.1", port)
    socket:onerror(function(_, _, why) return why end)
    socket:setmode("b", "bn")
    local text = body and json.encode(body) or ""
    socket:xwrite(("%s %s HTTP/1.1\r\nHost: chat.example:80\r\n%sConnection: close\r\nContent-Length: %d\r\n\r\n%s"):format(method, target,
      lines or "", #text, text), "n", 5)
    local all = socket:xread("*a", 60) or ""
    socket:close()
    local head, rest = all:match "^(.-\r\n)\r\n(.*)$"
    return tonumber((head or ""):match "^HTTP/1%.1 (%d+)"), (head or ""):lower(), rest
  end

  it("keep conversations where they began, and lose none with a server", function()
    local why = missing()
    if why then support.skip(why) end
    local ports = { a = serve "a", b = serve "b" }
    local front = 20000 + ports.a % 10000
    os.execute(("WANE_BIND=127.0.0.1:%d WANE_A=127.0.0.1:%d WANE_B=127.0.0.1:%d haproxy -f %s >%s/proxy.log 2>&1 & echo $! >%s/proxy.pid")
      :format(front, ports.a, ports.b, CONFIG, dir, dir))
    local status
    for _ = 1, 200 do
      status = ask(front, "GET", "/health")
      if status == 200 then break end
      os.execute "sleep 0.05"
    end
    assert.equals(200, status, support.slurp(dir .. "/proxy.log"))
    -- eight conversations of three turns each
    local homes, before, n = {}, {}, 0
    local talks = {}
    for t = 1, 8 do talks[t] = { { role = "system", content = "You are number " .. t .. "." }, { role = "user", content = "Tell me of owls." } } end
    for turn = 1, 3 do
      for t, messages in ipairs(talks) do
        local code, head, body = ask(front, "POST", "/v1/chat/completions", { messages = messages, max_tokens = 4, temperature = 0 })
        assert.equals(200, code, body)
        local home, answer = head:match "x%-served%-by: (%w+)", json.decode(body)
        if turn == 1 then
          n, homes[t] = n + (homes[home] and 0 or 1), home
          homes[home] = true
        end
        assert.equals(homes[t], home, "a conversation has moved")
        local usage = answer.usage
        if turn > 1 then -- at least what the turn before has read and said, but for what a tokenizer joins
          assert.is_true(usage.prompt_tokens_details.cached_tokens >= before[t] - 2, usage.prompt_tokens_details.cached_tokens .. " of " .. before[t])
        end
        before[t] = usage.prompt_tokens
        messages[#messages + 1] = answer.choices[1].message
        messages[#messages + 1] = { role = "user", content = "And then?" }
      end
    end
    assert.equals(2, n, "all conversations are on one server")
    -- prompts of one text stay together too
    local one = select(2, ask(front, "POST", "/v1/completions", { prompt = "Once upon a time", max_tokens = 1 })):match "x%-served%-by: (%w+)"
    local two = select(2, ask(front, "POST", "/v1/completions", { max_tokens = 2, prompt = "Once upon a time" })):match "x%-served%-by: (%w+)"
    assert.equals(one, two)
    -- pages of other sites are refused, its own are served
    assert.equals(403, (ask(front, "GET", "/v1/models", nil, "Origin: http://evil.example\r\n")))
    assert.equals(200, (ask(front, "GET", "/v1/models", nil, "Origin: http://chat.example:80\r\n")))
    -- one server dies: its conversations go on at the other
    os.execute(("kill -9 $(env -u LD_PRELOAD pgrep -P $(cat %s/a.pid)) $(cat %s/a.pid) 2>/dev/null"):format(dir, dir))
    for t, messages in ipairs(talks) do
      local code, head, body = ask(front, "POST", "/v1/chat/completions", { messages = messages, max_tokens = 2, temperature = 0 })
      assert.equals(200, code, body)
      assert.equals("b", head:match "x%-served%-by: (%w+)", "conversation " .. t)
    end
  end)
end)
