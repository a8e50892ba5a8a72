-- M7: while a file is mapped our SIGBUS handler is in place. A SIGBUS that is
-- not ours goes to the host's own handler, a host that ignores the signal goes
-- on ignoring it, and afterwards the host's choice is back.
local S = require "spec.support"

local HELPER = [[
#include <signal.h>
#include <unistd.h>
extern void lua_pushinteger(void *L, long n);
static volatile sig_atomic_t hits;
static void on(int sig) { (void)sig; hits++; }
static void on3(int sig, siginfo_t *i, void *c) { (void)sig; (void)c; hits += i != 0 ? 10 : 0; }
int handle(void *L) { (void)L; signal(SIGBUS, on); return 0; }
int handle3(void *L) {
  (void)L;
  struct sigaction a = {0};
  a.sa_sigaction = on3;
  a.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &a, 0);
  return 0;
}
int ignore(void *L) { (void)L; signal(SIGBUS, SIG_IGN); return 0; }
int send(void *L) { kill(getpid(), SIGBUS); lua_pushinteger(L, hits); return 1; }
]]

local CHILD = [[
local lib, how, file = %q, %q, %q
local core = require "wane.core"
local function fn(name) return assert(package.loadlib(lib, name)) end
local send = fn "send"
fn(how)()
local g = assert(core.gguf.open(file))
assert(g:map())
local a = send()
local again = core.gguf.open(file)
again:close()
local b = send()
g:close()
local c = send()
print(("%%d %%d %%d"):format(a, b, c))
]]

local function result_of(how)
  local c, lib = S.tmp "host.c", S.tmp "host.so"
  S.spit(c, HELPER)
  local ok = os.execute(("cc -D_GNU_SOURCE -shared -fPIC -o %s %s 2>/dev/null"):format(lib, c))
  if ok ~= true and ok ~= 0 then S.skip "no C compiler" end
  local script = S.tmp "host.lua"
  S.spit(script, CHILD:format(lib, how, "examples/models/demo-f16.gguf"))
  local p = io.popen((os.getenv "WANE_LUA" or (jit and "luajit" or "lua5.4")) .. " " .. script .. " 2>&1")
  local text = p:read "*a"
  p:close()
  return (text:gsub("%s+$", ""))
end

describe("SIGBUS of the host", function()
  S.check_leaks()
  it("M7 reaches a handler of the simple kind", function()
    assert.equal("1 2 3", result_of "handle")
  end)
  it("M7 reaches a handler that takes siginfo", function()
    assert.equal("10 20 30", result_of "handle3")
  end)
  it("M7 stays ignored where the host ignores it", function()
    assert.equal("0 0 0", result_of "ignore")
  end)
end)
