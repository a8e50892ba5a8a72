/* plain.c - tensors of plain numbers: f32, f16, bf16 both ways; f64 and the
 * integers can only be read (as the nearest float32). */
#include <string.h>

#include "base/half.h"
#include "quant/family.h"

static void encode_f32(const float *src, void *dst, size_t n,
                       const float *importance) {
  (void)importance;
  memcpy(dst, src, n * sizeof *src);
}

static void decode_f32(const void *src, float *dst, size_t n) {
  memcpy(dst, src, n * sizeof *dst);
}

static void encode_f16(const float *src, void *dst, size_t n,
                       const float *importance) {
  (void)importance;
  uint8_t *out = dst;
  for (size_t i = 0; i < n; i++) {
    uint16_t h = wn_f16_of_f32(src[i]);
    memcpy(out + 2 * i, &h, 2);
  }
}

static void encode_bf16(const float *src, void *dst, size_t n,
                        const float *importance) {
  (void)importance;
  uint8_t *out = dst;
  for (size_t i = 0; i < n; i++) {
    uint16_t h = wn_bf16_of_f32(src[i]);
    memcpy(out + 2 * i, &h, 2);
  }
}

/* decode_<name>: n values of C type `t`, which may lie at any byte, each
 * turned into a float32 by `convert`. */
#define DECODER(name, t, convert)                                    \
  static void decode_##name(const void *src, float *dst, size_t n) { \
    const uint8_t *in = src;                                         \
    for (size_t i = 0; i < n; i++) {                                 \
      t v;                                                           \
      memcpy(&v, in + i * sizeof v, sizeof v);                       \
      dst[i] = convert(v);                                           \
    }                                                                \
  }
#define AS_FLOAT(v) ((float)(v))

DECODER(f16, uint16_t, wn_f32_of_f16)
DECODER(bf16, uint16_t, wn_f32_of_bf16)
DECODER(f64, double, AS_FLOAT)
DECODER(i8, int8_t, AS_FLOAT)
DECODER(i16, int16_t, AS_FLOAT)
DECODER(i32, int32_t, AS_FLOAT)
DECODER(i64, int64_t, AS_FLOAT)

#define FORMAT(ID, name, enc)                                       \
  const wn_format wn_fmt_##name = {WN_TYPE_##ID, false, false, enc, \
                                   decode_##name};
FORMAT(F32, f32, encode_f32)
FORMAT(F16, f16, encode_f16)
FORMAT(BF16, bf16, encode_bf16)
FORMAT(F64, f64, NULL)
FORMAT(I8, i8, NULL)
FORMAT(I16, i16, NULL)
FORMAT(I32, i32, NULL)
FORMAT(I64, i64, NULL)
