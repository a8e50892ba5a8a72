-- C6: a child of fork has this library's memory but none of its threads. It
-- computes alone, with the same results, and neither it nor its parent hangs.
local S = require "spec.support"

local HELPER = [[
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
extern void lua_pushinteger(void *L, long n);
static pid_t child;
int do_fork(void *L) { child = fork(); if (child == 0) alarm(60); lua_pushinteger(L, child); return 1; }
/* the child's exit status; 1000 + the signal that ended it */
int wait_for(void *L) {
  int status = 0;
  waitpid(child, &status, 0);
  lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status));
  return 1;
}
]]

local CHILD = [[
local lib = %q
local core, wane = require "wane.core", require "wane"
local fork = assert(package.loadlib(lib, "do_fork"))
local wait = assert(package.loadlib(lib, "wait_for"))
local m = assert(wane.load("examples/models/demo-f16.gguf", { context = 64, threads = 3 }))
local function logits(model)
  local c = assert(model:context { threads = 3 })
  local bytes = assert(c:eval { 1, 2, 3, 4, 5, 6, 7 }):bytes()
  c:close()
  return bytes
end
local held = assert(m:context { threads = 3 }) -- threads live as long as a context does
assert(held:eval { 1, 2, 3 })
local want = logits(m)
assert(core.cpu().live_threads > 0, "nothing was shared")
%s
io.stdout:write("parent ", wait(), "\n")
assert(logits(m) == want)
]]

local CASES = {
  ["a model"] = [[
    if fork() == 0 then os.exit(logits(m) == want and 7 or 8) end]],
  ["a model of the child's own"] = [[
    if fork() == 0 then
      local own = assert(wane.load("examples/models/demo-f16.gguf", { context = 64, threads = 3 }))
      local same = logits(own) == want
      own:close()
      m:close()
      os.exit(same and 7 or 8)
    end]],
  ["quantizing"] = [[
    local b = wane.quant.buffer(64, 256)
    for i = 1, 64 * 256 do b[i] = math.sin(i) end
    local bytes = wane.quant.encode("q4_K", b):bytes()
    if fork() == 0 then os.exit(wane.quant.encode("q4_K", b):bytes() == bytes and 7 or 8) end]],
  -- the thread stays with the parent; the child is told, and may close it
  ["a running job"] = [[
    local job = assert(m:start("Once upon a time", { max_tokens = 20, temperature = 0 }))
    if fork() == 0 then
      local _, message = job:poll()
      job:close()
      os.exit(tostring(message):find "belongs to process" and 7 or 8)
    end]],
}

describe("a forked child", function()
  local names = {}
  for name in pairs(CASES) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    it("C6 uses " .. name, function()
      local c, lib, script, out = S.tmp "fork.c", S.tmp "fork.so", S.tmp "fork.lua", S.tmp "out"
      S.spit(c, HELPER)
      local ok = os.execute(("cc -D_GNU_SOURCE -shared -fPIC -o %s %s 2>/dev/null"):format(lib, c))
      if ok ~= true and ok ~= 0 then S.skip "no C compiler" end
      S.spit(script, CHILD:format(lib, CASES[name]))
      os.execute(("timeout 120 %s %s > %s 2>&1"):format(os.getenv "WANE_LUA" or (jit and "luajit" or "lua5.4"), script, out))
      assert.equal("parent 7", (S.slurp(out):gsub("%.0", ""):gsub("%s+$", "")))
    end)
  end
end)
