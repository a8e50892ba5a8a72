--- Puts small bugs into a copy of the tree, one at a time, and runs the specs
--- that own the code: a bug that no spec notices survives and is listed.
---
---     lua5.4 spec/mutants/run.lua [NAME-PART...]
---
--- The list (spec/mutants/list.lua) names the file, the text that is replaced
--- (it must be there exactly once), what replaces it, and the specs. A text
--- that is gone is a failure too: the list has to follow the code. The copy is
--- build/mutants, with the objects of build/ so that little is compiled. Prints
--- what a lane prints: "N passed, N failed, N skipped"; a bug that is noticed
--- has passed. MUTANT_LUA: the Lua, luajit when absent.
local mutants = require "spec.mutants.list"

local DIR = "build/mutants"
local LUA = os.getenv "MUTANT_LUA" or "luajit"

local function sh(command)
  local ok, how, code = os.execute(command)
  if type(ok) == "number" then return ok == 0, ok end -- 5.1
  return ok == true, how == "exit" and code or 1
end

local function slurp(path)
  local f = assert(io.open(path, "rb"))
  local s = f:read "*a"
  f:close()
  return s
end

local function spit(path, bytes)
  local f = assert(io.open(path, "wb"))
  assert(f:write(bytes))
  f:close()
end

--- How often `part` is in `s`, and s with the first one replaced.
local function replaced(s, part, new)
  local from, to = s:find(part, 1, true)
  if not from then return 0 end
  local again = s:find(part, to + 1, true)
  return again and 2 or 1, s:sub(1, from - 1) .. new .. s:sub(to + 1)
end

--- The tree as git has it (changes included) with what is built.
local function copy()
  assert(sh("rm -rf " .. DIR .. " && mkdir -p " .. DIR))
  assert(sh("{ git ls-files -co --exclude-standard 2>/dev/null || find . -path ./build -prune -o -type f -print; } | "
    .. "tar -T - --ignore-failed-read -cf - 2>/dev/null | tar -C " .. DIR .. " -xf -"))
  assert(sh("mkdir -p " .. DIR .. "/build && cp -a build/obj build/" .. LUA .. " build/sources " .. DIR .. "/build/"))
end

local run_specs

--- Builds and runs the specs in the copy; "noticed", "survived", "broken", or
--- "hung": not done in MUTANT_LIMIT seconds (300), by the bug or by a busy machine.
local function judge(m)
  local log = "build/mutant.log"
  local c = m.file:match "%.[ch]$" ~= nil
  if c and not sh(("cd %s && MAKEFLAGS= make LUAS=%s all > %s 2>&1"):format(DIR, LUA, log)) then return "broken" end
  local passed, status = run_specs(m.specs, log)
  if status == 124 then return "hung" end
  return passed and "survived" or "noticed"
end

--- Do these specs pass in the copy?
function run_specs(names, log, factor)
  local limit = (tonumber(os.getenv "MUTANT_LIMIT") or 300) * (factor or 1)
  local specs = {}
  for _, s in ipairs(names) do
    specs[#specs + 1] = "spec/" .. s .. "_spec.lua"
    io.open(specs[#specs], "rb"):close() -- a spec that is gone would fail for everybody
  end
  local shared = os.getenv "WANE_SHARED" or (io.popen("pwd"):read "*l" .. "/../shared")
  return sh(("cd %s && WANE_SHARED=%s WANE_SLOW=0 timeout %d sh spec/support/run.sh build %s %s > %s 2>&1"):format(
    DIR, shared, limit, LUA, table.concat(specs, " "), log))
end

local function wanted(m, parts)
  if #parts == 0 then return true end
  for _, part in ipairs(parts) do
    if m.name:find(part, 1, true) then return true end
  end
  return false
end

--- Every spec that a wanted bug names passes while nothing is wrong.
local function check_specs()
  local seen, all = {}, {}
  for _, m in ipairs(mutants) do
    for _, s in ipairs(wanted(m, arg) and m.specs or {}) do
      if not seen[s] then all[#all + 1] = s end
      seen[s] = true
    end
  end
  if run_specs(all, "build/mutant.log", 4) then return end
  print "the specs fail before anything is wrong (build/mutant.log)"
  print "0 passed, 1 failed, 0 skipped"
  os.exit(1)
end

local n = { noticed = 0, survived = 0, broken = 0, stale = 0, skipped = 0, hung = 0 }
copy()
check_specs()
for _, m in ipairs(mutants) do
  local path = DIR .. "/" .. m.file
  local state
  if not wanted(m, arg) then
    state = "skipped"
  else
    local old = slurp(path)
    local count, new = replaced(old, m.old, m.new)
    if count ~= 1 then
      state = "stale"
    else
      spit(path, new)
      state = judge(m)
      spit(path, old)
    end
  end
  n[state] = n[state] + 1
  if state ~= "skipped" then print(("%-9s %s (%s)"):format(state, m.name, m.file)) end
  io.stdout:flush()
  if state == "stale" then print("          the text to replace is not there exactly once: " .. m.old:match "[^\n]*") end
end
local failed = n.survived + n.broken + n.stale + n.hung
print(("%d passed, %d failed, %d skipped"):format(n.noticed, failed, n.skipped))
os.exit(failed == 0)
