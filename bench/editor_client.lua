--- A user interface for Neovim, as bare as can be: it types, and takes the time
--- until the screen shows the key. Runs in a Neovim of its own (its event loop
--- and its msgpack), which starts the editor under test:
---
---     WANE_EDITOR='{"model":...,"out":...}' nvim --headless -u NONE -c 'luafile bench/editor_client.lua'
---
--- Blocks of keys while the editor is idle and while it answers in a chat
--- beside take turns. `out` gets a line for each key: kind, milliseconds; and
--- for each answer the longest time that a timer of 1 ms in the editor waited:
--- how long its event loop was away.
local uv, mpack = vim.loop, vim.mpack
local o = vim.json.decode(os.getenv "WANE_EDITOR")

local to, from = uv.new_pipe(false), uv.new_pipe(false)
local editor = uv.spawn("nvim", {
  args = { "--clean", "--embed", "-n", "--cmd", "set rtp^=" .. uv.cwd() .. " noswapfile" }, stdio = { to, from, nil },
})
local function raw(_, bytes) return bytes end
local session = mpack.Session { unpack = mpack.Unpacker { ext = { [0] = raw, [1] = raw, [2] = raw } } }
local pack = mpack.Packer and mpack.Packer() or mpack.pack

local function notify(method, ...) to:write(session:notify() .. pack(method) .. pack { ... }) end
local function request(method, ...)
  local done, failed, result
  to:write(session:request(function(err, value) done, failed, result = true, err, value end) .. pack(method) .. pack { ... })
  assert(vim.wait(120000, function() return done end, 1), method .. ": no answer")
  if failed ~= nil and failed ~= mpack.NIL and failed ~= vim.NIL then error(vim.inspect(failed)) end
  return result
end
local function lua(code, ...) return request("nvim_exec_lua", code, { ... }) end

-- The key that is waited for, and when the screen showed it: in the first row,
-- left of the chat.
local WIDTH = 120
local waiting, shown

local function shows(line)
  local row, column, cells = line[2], line[3], line[4]
  if row ~= 0 or column >= WIDTH / 2 - 2 then return false end
  for _, cell in ipairs(cells) do
    if cell[1] == waiting then return true end
  end
  return false
end

local function on_redraw(events)
  if not waiting then return end
  for _, event in ipairs(events) do
    for k = 2, event[1] == "grid_line" and #event or 1 do
      if shows(event[k]) then
        waiting, shown = nil, uv.hrtime()
        return
      end
    end
  end
end

from:read_start(function(err, data)
  assert(not err, err)
  local at = 1
  while data and at <= #data do
    local kind, id_or_done, method_or_error, args
    kind, id_or_done, method_or_error, args, at = session:receive(data, at)
    if kind == "notification" and method_or_error == "redraw" then on_redraw(args)
    elseif kind == "response" then id_or_done(method_or_error, args) end
  end
end)

local out = assert(io.open(o.out, "w"))

-- Types n keys at the speed of a quick typist; one line each in `out`.
local function type_keys(kind, n)
  for i = 1, n do
    if i % 30 == 0 then -- the line stays in its first row
      notify("nvim_input", "<C-u>")
      vim.wait(30)
    end
    local key = string.char(97 + (i * 7) % 26)
    waiting, shown = key, nil
    local start = uv.hrtime()
    notify("nvim_input", key)
    local seen = vim.wait(1000, function() return shown end, 1)
    out:write(("%s\t%.4f\n"):format(kind, seen and (shown - start) / 1e6 or 1000))
    vim.wait(20 + (i * 13) % 40)
  end
end

local fine, message = xpcall(function()
  request("nvim_ui_attach", WIDTH, 40, { ext_linegrid = true, rgb = true })
  lua([[
    vim.g.wane = { model = ..., context = 2048 }
    vim.cmd "set noshowmode noruler laststatus=0"
    require("wane.nvim.chat").open()
    vim.cmd "wincmd p"
    ticks = { gap = 0, last = vim.loop.hrtime() }
    vim.loop.new_timer():start(1, 1, function()
      local now = vim.loop.hrtime()
      ticks.gap, ticks.last = math.max(ticks.gap, now - ticks.last), now
    end)
  ]], assert(uv.fs_realpath(o.model)))
  for block = 1, o.blocks do
    -- the first block loads the model
    assert(lua([[return (require("wane.nvim.chat").send(...))]], "Tell me a long story about the sea, number " .. block .. "."))
    vim.wait(o.settle) -- the prompt
    notify("nvim_input", "<Esc>ggcc")
    assert(lua [[return require("wane.nvim.chat").busy()]], "the answer ended before a key was typed")
    lua "ticks.gap = 0"
    type_keys("answering", o.keys)
    out:write(("away\t%.4f\n"):format(lua "return ticks.gap" / 1e6))
    assert(lua [[return require("wane.nvim.chat").busy()]], "the answer ended among the keys")
    lua [[require("wane.nvim.chat").stop()]]
    vim.wait(300)
    type_keys("idle", o.keys)
  end
end, debug.traceback)
if not fine then out:write("error\t" .. tostring(message):gsub("\n", " ") .. "\n") end
out:close()
notify("nvim_command", "qa!")
vim.wait(300)
editor:kill "sigkill"
vim.cmd "qa!"
