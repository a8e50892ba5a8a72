-- T4: csrc/base/arith.h against 128-bit integers, by a C program that the
-- machine's compiler builds: all pairs of edge values (around 0, 2^31, 2^32,
-- 2^63, SIZE_MAX - k for k = 0..64 ...) and 200,000 random pairs.
local S = require "spec.support"

local PROGRAM = [[
#include <stdio.h>
#include "base/arith.h"
typedef unsigned __int128 u128;
static unsigned long long tried;

static int fits(u128 want, bool ok, uint64_t got, uint64_t before) {
  bool in = want <= UINT64_MAX;
  tried++;
  return ok == in && got == (in ? (uint64_t)want : before);
}

static int pair(uint64_t a, uint64_t b) {
  uint64_t r = 0xabcdu;
  bool ok = wn_add(a, b, &r);
  if (!fits((u128)a + b, ok, r, 0xabcdu)) return 1;
  r = 0xabcdu;
  ok = wn_mul(a, b, &r);
  if (!fits((u128)a * b, ok, r, 0xabcdu)) return 2;
  for (int s = 0; s < 64; s++) {
    u128 to = (u128)1 << s;
    r = 0xabcdu;
    ok = wn_pad(a, (uint64_t)to, &r);
    if (!fits((a + to - 1) / to * to, ok, r, 0xabcdu)) return 3;
  }
  for (int k = -1; k <= 1; k++) {
    uint64_t size = a + b + (uint64_t)k;
    bool in = (u128)a + b <= size;
    if (wn_inside(a, b, size) != in) return 4;
    if (wn_inside(a, b, UINT64_MAX) != ((u128)a + b <= UINT64_MAX)) return 4;
  }
  size_t z = 0;
  if (wn_size(a, &z) != (a <= SIZE_MAX) || (a <= SIZE_MAX && z != a)) return 5;
  return 0;
}

int main(void) {
  static uint64_t edge[2000];
  static const int bits[] = {0, 1, 5, 8, 16, 31, 32, 33, 48, 53, 62, 63};
  int n = 0, bad = 0;
  for (uint64_t k = 0; k <= 64; k++) edge[n++] = SIZE_MAX - k;
  for (unsigned i = 0; i < sizeof bits / sizeof *bits; i++)
    for (uint64_t k = 0; k < 7; k++)
      edge[n++] = ((uint64_t)1 << bits[i]) + k - 3;
  for (int i = 0; i < n && !bad; i++)
    for (int k = 0; k < n && !bad; k++) bad = pair(edge[i], edge[k]);
  uint64_t x = 88172645463325252u;
  for (int i = 0; i < 200000 && !bad; i++) {
    uint64_t v[2];
    for (int k = 0; k < 2; k++) {
      x ^= x << 13, x ^= x >> 7, x ^= x << 17;
      v[k] = x >> (x % 64);
    }
    bad = pair(v[0], v[1]);
  }
  printf("%d %llu", bad, tried);
  return bad;
}
]]

describe("checked arithmetic", function()
  it("T4 agrees with 128-bit integers", function()
    local c, exe = S.tmp "arith.c", S.tmp "arith"
    S.spit(c, PROGRAM)
    local ok = os.execute(("cc -O1 -std=gnu11 -Icsrc -o %s %s 2>/dev/null"):format(exe, c))
    if ok ~= true and ok ~= 0 then S.skip "no C compiler with 128-bit integers" end
    local p = io.popen("./" .. exe)
    local bad, tried = p:read "*a":match "^(%d+) (%d+)$"
    p:close()
    assert.equal("0", bad)
    assert.truthy(tonumber(tried) > 1e6)
  end)
end)
