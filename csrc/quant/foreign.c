/* foreign.c - see foreign.h. */
#include "quant/foreign.h"

#include <math.h>
#include <string.h>

#include "base/half.h"

static float of_e4m3(uint8_t v) {
  int exponent = v >> 3 & 15, mantissa = v & 7;
  if ((v & 0x7f) == 0x7f) return NAN;
  float x = exponent == 0 ? ldexpf((float)mantissa, -9)
                          : ldexpf((float)(8 + mantissa), exponent - 10);
  return (v & 0x80) != 0 ? -x : x;
}

size_t wn_foreign_bytes(wn_foreign type) {
  switch (type) {
    case WN_FOREIGN_F64:
      return 8;
    case WN_FOREIGN_I32:
      return 4;
    default:
      return 1;
  }
}

static float decode_one(wn_foreign type, const uint8_t *p) {
  switch (type) {
    case WN_FOREIGN_F8_E4M3:
      return of_e4m3(*p);
    case WN_FOREIGN_F8_E5M2:
      return wn_f32_of_f16((uint16_t)(*p << 8));
    case WN_FOREIGN_F64: {
      double d;
      memcpy(&d, p, sizeof d);
      return (float)d;
    }
    case WN_FOREIGN_I32: {
      int32_t i;
      memcpy(&i, p, sizeof i);
      return (float)i;
    }
    default:
      return (float)*p;
  }
}

void wn_foreign_decode(wn_foreign type, const uint8_t *src, float *dst,
                       size_t n) {
  size_t size = wn_foreign_bytes(type);
  if (size == 1) { /* 256 values: a table is faster than arithmetic */
    float table[256];
    for (int i = 0; i < 256; i++) {
      uint8_t v = (uint8_t)i;
      table[i] = decode_one(type, &v);
    }
    for (size_t i = 0; i < n; i++)
      dst[i] = table[src[i]];
    return;
  }
  for (size_t i = 0; i < n; i++)
    dst[i] = decode_one(type, src + i * size);
}

/* Half byte i of 16 packed bytes: value i. */
static uint8_t value_of(const uint8_t *packed, int i) {
  uint8_t b = packed[i / 2];
  return i % 2 == 0 ? b & 15 : b >> 4;
}

void wn_repack_mxfp4(const uint8_t *packed, const uint8_t *scales, uint8_t *dst,
                     size_t n) {
  for (size_t k = 0; k < n; k++, packed += 16, dst += 17) {
    dst[0] = scales[k];
    for (int j = 0; j < 16; j++)
      dst[1 + j] =
          (uint8_t)(value_of(packed, j) | value_of(packed, j + 16) << 4);
  }
}

void wn_repack_nvfp4(const uint8_t *packed, const uint8_t *scales, uint8_t *dst,
                     size_t n) {
  for (size_t k = 0; k < n; k++, packed += 32, scales += 4, dst += 36) {
    for (int g = 0; g < 4; g++) {
      const uint8_t *p = packed + 8 * g;
      dst[g] = scales[g] & 0x7f;
      for (int j = 0; j < 8; j++)
        dst[4 + 8 * g + j] =
            (uint8_t)(value_of(p, j) | value_of(p, j + 8) << 4);
    }
  }
}
