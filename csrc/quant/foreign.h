/* foreign.h - number formats of checkpoints that GGUF has no type for, and
 * blocks that only differ in their layout.
 *
 * FP8 (OCP 8-bit floating point, 2023): E4M3 has 4 exponent bits with bias 7,
 * no infinity, NaN is 0x7f and 0xff; E5M2 is binary16 cut to its high byte.
 * MXFP4 as gpt-oss stores it: 16 bytes with value 2i in the low and 2i+1 in
 * the high half of byte i, the scale of each 32 values apart; GGUF wants the
 * scale first and values j, j + 16 in byte j. NVFP4 as ModelOpt stores it: two
 * values a byte in the same order, an E4M3 scale for each 16 values apart; GGUF
 * wants blocks of 64: four scales without their sign bit, then 8 bytes for each
 * 16 values, values j and j + 8 in byte j. */
#ifndef WN_QUANT_FOREIGN_H
#define WN_QUANT_FOREIGN_H

#include <stddef.h>
#include <stdint.h>

typedef enum wn_foreign {
  WN_FOREIGN_F8_E4M3,
  WN_FOREIGN_F8_E5M2,
  WN_FOREIGN_F64,
  WN_FOREIGN_I32,
  WN_FOREIGN_U8
} wn_foreign;

/* Bytes of one value. */
size_t wn_foreign_bytes(wn_foreign type);

/* n values to float32; src need not be aligned. */
void wn_foreign_decode(wn_foreign type, const uint8_t *src, float *dst,
                       size_t n);

/* n blocks of 32 values: `packed` 16 bytes each and `scales` one byte each,
 * to n blocks of 17 bytes. */
void wn_repack_mxfp4(const uint8_t *packed, const uint8_t *scales, uint8_t *dst,
                     size_t n);

/* n blocks of 64 values: `packed` 32 bytes each and `scales` four bytes each,
 * to n blocks of 36 bytes. */
void wn_repack_nvfp4(const uint8_t *packed, const uint8_t *scales, uint8_t *dst,
                     size_t n);

#endif
