--- What typing feels like in Neovim while a model answers beside: the time from
--- a key to the screen, idle and answering.
---
---     make bench ARGS="--mode editor [--model FILE] [--blocks N] [--keys N]"
---
--- The model is a synthetic one of 134 M weights in Q4_K_M, or FILE; the editor
--- has the plugin as it is, with its default of one thread less than the machine
--- has. Wants LuaJIT's build (`make nvim`) and nvim.
local json = require "wane.json"
local synthetic = require "bench.synthetic"

local M = {}

local function percentile(sorted, p) return sorted[math.max(1, math.ceil(#sorted * p))] end

local SYNTHETIC = "build/bench/134m-Q4_K_M.gguf"

--- Runs the editor; lists of milliseconds, sorted: idle, answering, away.
---@param model string|nil   path; none: the synthetic model
---@param blocks integer   times that idle and answering take turns
---@param keys integer     keys typed in each
function M.measure(model, blocks, keys)
  if not model then
    model = SYNTHETIC
    os.execute "mkdir -p build/bench"
    synthetic.write(model, "134m", "Q4_K_M")
  end
  local out = os.tmpname()
  local settings = json.encode { model = model, blocks = blocks, keys = keys, settle = 3000, out = out }
  os.execute(("WANE_EDITOR='%s' nvim --headless -u NONE -i NONE -n -c 'luafile bench/editor_client.lua' > /dev/null 2>&1"):format(settings))
  local t = { idle = {}, answering = {}, away = {} }
  for line in io.lines(out) do
    local kind, value = line:match "^(%a+)\t(.*)$"
    assert(t[kind], value)
    table.insert(t[kind], assert(tonumber(value)))
  end
  os.remove(out)
  for _, list in pairs(t) do table.sort(list) end
  assert(#t.away == blocks, "the editor ended early")
  return t
end

--- The table.
function M.run(o)
  local t = M.measure(o.model, tonumber(o.blocks or 5), tonumber(o.keys or 60))
  print "| key to screen, ms | keys | median | 95 % | longest |\n| --- | ---: | ---: | ---: | ---: |"
  for _, kind in ipairs { "idle", "answering" } do
    local l = t[kind]
    print(("| %s | %d | %.2f | %.2f | %.2f |"):format(kind, #l, percentile(l, 0.5), percentile(l, 0.95), l[#l]))
  end
  print(("\nmore than idle: %+.2f ms at the median, %+.2f ms at 95 %%; the event loop was away for at most %.1f ms"):format(
    percentile(t.answering, 0.5) - percentile(t.idle, 0.5), percentile(t.answering, 0.95) - percentile(t.idle, 0.95), t.away[#t.away]))
end

return M
