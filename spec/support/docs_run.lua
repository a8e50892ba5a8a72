--- Runs the Lua blocks of a Markdown page, one after the other, as one program
--- would: `lua docs_run.lua PAGE`. Globals pass from block to block. What a
--- line of a block says it prints (`--> text`) must be printed, in that order.
--- A block that begins with ```lua no-run is compiled and not run.
--- `lua docs_run.lua --pasted PAGE` prints the blocks that run instead.
local pasted = arg[1] == "--pasted"
local path = pasted and arg[2] or arg[1]
local compile = rawget(_G, "loadstring") or load

-- The blocks of the page: { text =, line =, run = }.
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

local said = {}
local function note(...)
  local parts = {}
  for i = 1, select("#", ...) do parts[i] = tostring((select(i, ...))) end
  for line in (table.concat(parts, "\t") .. "\n"):gmatch "([^\n]*)\n" do said[#said + 1] = line end
end

-- What was promised was printed, in this order.
local function check(block, from)
  local at = from
  for i, line in ipairs(block) do
    local want = line:match "%-%->%s*(.-)%s*$"
    if want then
      repeat at = at + 1 until not said[at] or said[at]:gsub("%s+", " ") == want:gsub("%s+", " ")
      if not said[at] then
        error(("%s:%d: want the line '%s', printed was:\n%s"):format(path, block.line + i, want,
          table.concat(said, "\n", from + 1)), 0)
      end
    end
  end
end

local blocks = blocks_of(path)
for _, block in ipairs(blocks) do
  local text = table.concat(block, "\n") .. "\n"
  if pasted then
    if block.run then io.write(text) end
  else
    local chunk = assert(compile(("\n"):rep(block.line) .. text, "@" .. path))
    if block.run then
      local from = #said
      print = note -- luacheck: ignore
      chunk()
      check(block, from)
    end
  end
end
if not pasted then io.write(#blocks, " blocks\n") end
