-- A library that configured this thread's AMX tiles once (as ggml does) and
-- multiplies again after we did must find its configuration: without one, its
-- next product kills the process. Only a machine with AMX can show it; the
-- start of the AMX tier (kern/amx.c) asks the same of its own products.
local S = require "spec.support"

local HELPER = [[
#include <stdint.h>
#include <string.h>
extern void lua_pushinteger(void *L, long n);
static struct { uint8_t palette, start, none[14]; uint16_t bytes[16]; uint8_t rows[16]; } conf, now;
static int8_t a[16][64], b[16][64];
static int32_t c[16][16];
/* all eight tiles 16 rows of 64 bytes, for good */
int configure(void *L) {
  (void)L;
  conf.palette = 1;
  for (int i = 0; i < 8; i++) conf.bytes[i] = 64, conf.rows[i] = 16;
  __asm__ volatile("ldtilecfg %0" : : "m"(conf));
  return 0;
}
/* one product of ones: 64 in every place; 0 when the configuration is another */
int product(void *L) {
  memset(a, 1, sizeof a);
  memset(b, 1, sizeof b);
  __asm__ volatile("sttilecfg %0" : "=m"(now));
  if (memcmp(&conf, &now, sizeof conf) != 0) { lua_pushinteger(L, 0); return 1; }
  __asm__ volatile("tilezero %%tmm0\n\ttileloadd (%0,%2,1), %%tmm1\n\ttileloadd (%1,%2,1), %%tmm2\n\t"
                   "tdpbssd %%tmm2, %%tmm1, %%tmm0\n\ttilestored %%tmm0, (%3,%2,1)"
                   : : "r"(a), "r"(b), "r"((long)64), "r"(c) : "memory");
  lua_pushinteger(L, c[15][15]);
  return 1;
}
]]

-- With WANE_ISA as it comes; prints the products before and after ours, of
-- every kind: one column and many, floats and bytes, and the probe's loops.
local CHILD = [[
local lib = %q
local core = require "wane.core"
core.cpu() -- asks the system for the tiles
assert(package.loadlib(lib, "configure"))()
local product = assert(package.loadlib(lib, "product"))
io.write(product())
for _, file in ipairs { "demo-f16.gguf" } do
  local wane = require "wane"
  local m = assert(wane.load("examples/models/" .. file, { context = 64, threads = 1 }))
  local c = assert(m:context { threads = 1 })
  assert(c:eval { 1 })
  io.write(" ", product())
  local ids = {}
  for i = 1, 40 do ids[i] = 3 + i end
  assert(c:eval(ids))
  io.write(" ", product())
end
for _, unit in ipairs(core.probe.units()) do
  if unit:match "^amx" then
    core.probe.peak(unit, 1)
    io.write(" ", product())
  end
end
]]

local function has_amx()
  local f = io.open "/proc/cpuinfo"
  local text = f and f:read "*a" or ""
  if f then f:close() end
  return text:find("amx_tile", 1, true) ~= nil
end

describe("AMX tiles of somebody else", function()
  it("are configured as before after our products", function()
    if not has_amx() then S.skip "this CPU has no AMX" end
    local c, lib, script, out = S.tmp "tiles.c", S.tmp "tiles.so", S.tmp "tiles.lua", S.tmp "out"
    S.spit(c, HELPER)
    local ok = os.execute(("cc -O1 -shared -fPIC -o %s %s 2>/dev/null"):format(lib, c))
    if ok ~= true and ok ~= 0 then S.skip "no C compiler" end
    S.spit(script, CHILD:format(lib))
    os.execute(("%s %s > %s 2>&1"):format(os.getenv "WANE_LUA" or (jit and "luajit" or "lua5.4"), script, out))
    local text = S.slurp(out)
    assert.matches("^64 64 64", text)
    assert.equal("", (text:gsub("64 ?", "")))
  end)
end)
