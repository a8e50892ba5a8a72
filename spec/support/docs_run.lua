--- The Lua blocks of a Markdown page, as a reader would paste them:
---   docs_run.lua --paste PAGE      prints what goes into an interactive Lua
---   docs_run.lua --check PAGE LOG  compares what that printed, noted in LOG
--- Globals pass from block to block. What a line of a block says it prints
--- (`--> text`) must be printed by that block, in that order. A block that
--- begins with ```lua no-run is compiled and not run.
local mode, path, log = arg[1], arg[2], arg[3]
local compile = rawget(_G, "loadstring") or load

-- The blocks of the page: their lines, and line =, run =.
local function blocks_of(page)
  local list, block, n = {}, nil, 0
  for line in io.lines(page) do
    n = n + 1
    if block and line:find "^%s*```" then
      list[#list + 1], block = block, nil
    elseif block then
      block[#block + 1] = line
    else
      local mark = line:match "^%s*```lua(.*)$"
      if mark then block = { line = n, run = not mark:find "no%-run" } end
    end
  end
  assert(not block, "a block without an end")
  return list
end

-- A first line for the interactive Lua: what is printed is noted in "said".
local PRELUDE = [[
do local f = io.open("said", "w")
function print(...) local t = {} for i = 1, select("#", ...) do t[i] = tostring((select(i, ...))) end
f:write(table.concat(t, "\t"), "\n") f:flush() end end]]

local function squeezed(s) return (s:gsub("%s+", " ")) end

-- What block i promised was printed, in this order.
local function check(block, said)
  local at = 0
  for i, line in ipairs(block) do
    local want = line:match "%-%->%s*(.-)%s*$"
    if want then
      repeat at = at + 1 until not said[at] or squeezed(said[at]) == squeezed(want)
      if not said[at] then
        error(("%s:%d: want the line '%s', printed was:\n%s"):format(path, block.line + i, want, table.concat(said, "\n")), 0)
      end
    end
  end
end

local blocks = blocks_of(path)
if mode == "--paste" then
  print((PRELUDE:gsub("\n", " ")))
  for i, block in ipairs(blocks) do
    if block.run then io.write(('print("\\1#%d")\n'):format(i), table.concat(block, "\n"), "\n") end
  end
  io.write 'print("\\1#end")\n'
else
  local said, current = {}, nil -- luacheck: ignore current
  for line in io.lines(log) do
    local mark = line:match "^\1#(%w+)$"
    if mark then
      current = {}
      said[tonumber(mark) or mark] = current
    else
      current[#current + 1] = line
    end
  end
  for i, block in ipairs(blocks) do
    assert(compile(table.concat(block, "\n"), "@" .. path))
    if block.run then check(block, said[i]) end
  end
  assert(said["end"], "it ended early")
  io.write "fine\n"
end
