/* lanes_neon.h - the vectors of the kernel templates on aarch64: 4 lanes of
 * 32 bits, one lane per weight row; the same functions as in lanes_avx2.h.
 * Included between WN_TARGET_BEGIN and WN_TARGET_END.
 *
 * Levels are signed bytes here: the products of 8 bits are signed by signed
 * (vi_dot8, dot_neon.inc.h), and every format's levels fit. */

#define INLINE static inline __attribute__((always_inline))
#define LANES 4
#define DOT_SIGNED
typedef float32x4_t VF;
typedef int32x4_t VI;

/* VI as other numbers, and back. */
#define U8(v) vreinterpretq_u8_s32(v)
#define S8(v) vreinterpretq_s8_s32(v)
#define U16(v) vreinterpretq_u16_s32(v)
#define S16(v) vreinterpretq_s16_s32(v)
#define OF_U8(v) vreinterpretq_s32_u8(v)

/* ---- float ------------------------------------------------------------- */

static inline VF vf_load(const void *p) {
  return vreinterpretq_f32_u8(vld1q_u8(p));
}
static inline void vf_store(float *p, VF v) {
  vst1q_f32(p, v);
}
static inline VF vf_set1(const void *p) { /* the float at p in all lanes */
  float f;
  memcpy(&f, p, sizeof f);
  return vdupq_n_f32(f);
}
static inline VF vf_all(float f) {
  return vdupq_n_f32(f);
}
static inline VF vf_zero(void) {
  return vdupq_n_f32(0);
}
static inline VF vf_add(VF a, VF b) {
  return vaddq_f32(a, b);
}
static inline VF vf_mul(VF a, VF b) {
  return vmulq_f32(a, b);
}
static inline VF vf_fma(VF a, VF b, VF c) { /* a * b + c */
  return vfmaq_f32(c, a, b);
}

/* 4 binary16 (bfloat16) numbers to float. */
static inline VF vf_f16(const void *p) {
  return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}
static inline VF vf_bf16(const void *p) {
  return vreinterpretq_f32_u32(
      vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16));
}

/* v[j] lane i becomes v[i] lane j: pairs, then 64-bit halves. */
static inline void vf_transpose(VF v[4]) {
  VF a = vtrn1q_f32(v[0], v[1]), b = vtrn2q_f32(v[0], v[1]);
  VF c = vtrn1q_f32(v[2], v[3]), d = vtrn2q_f32(v[2], v[3]);
  v[0] = vcombine_f32(vget_low_f32(a), vget_low_f32(c));
  v[1] = vcombine_f32(vget_low_f32(b), vget_low_f32(d));
  v[2] = vcombine_f32(vget_high_f32(a), vget_high_f32(c));
  v[3] = vcombine_f32(vget_high_f32(b), vget_high_f32(d));
}

/* ---- integers ---------------------------------------------------------- */

static inline VI vi_load(const void *p) {
  return OF_U8(vld1q_u8(p));
}
static inline void vi_store(void *p, VI v) {
  vst1q_u8(p, U8(v));
}
static inline VI vi_zero(void) {
  return vdupq_n_s32(0);
}
static inline VI vi_set1(int32_t x) {
  return vdupq_n_s32(x);
}
static inline VI vi_set8(int x) { /* the low byte of x in all bytes */
  return OF_U8(vdupq_n_u8((uint8_t)x));
}
static inline VI vi_bcast(const void *p) { /* the 32 bits at p in all lanes */
  int32_t x;
  memcpy(&x, p, sizeof x);
  return vdupq_n_s32(x);
}
static inline VI vi_and(VI a, VI b) {
  return vandq_s32(a, b);
}
static inline VI vi_or(VI a, VI b) {
  return vorrq_s32(a, b);
}
static inline VI vi_xor(VI a, VI b) {
  return veorq_s32(a, b);
}
/* (a & m) | b */
static inline VI vi_and_or(VI a, VI m, VI b) {
  return vi_or(vi_and(a, m), b);
}
static inline VI vi_add8(VI a, VI b) {
  return OF_U8(vaddq_u8(U8(a), U8(b)));
}
static inline VI vi_sub8(VI a, VI b) {
  return OF_U8(vsubq_u8(U8(a), U8(b)));
}
static inline VI vi_add(VI a, VI b) {
  return vaddq_s32(a, b);
}
static inline VI vi_sub(VI a, VI b) {
  return vsubq_s32(a, b);
}
static inline VI vi_gt(VI a, VI b) { /* all ones where a > b, signed */
  return vreinterpretq_s32_u32(vcgtq_s32(a, b));
}
static inline VI vi_pick(VI m, VI a, VI b) { /* bits of a where m, else b */
  return vbslq_s32(vreinterpretq_u32_s32(m), a, b);
}
static inline VI vi_mul16(VI a, VI b) { /* low halves of 16-bit products */
  return vreinterpretq_s32_s16(vmulq_s16(S16(a), S16(b)));
}
/* Shifts of 32-bit lanes; n may be 0, which the intrinsics do not take. */
#define vi_srl(v, n) ((VI)((uint32x4_t)(v) >> (n)))
#define vi_sra(v, n) ((VI)((v) >> (n)))
#define vi_sll(v, n) ((VI)((uint32x4_t)(v) << (n)))

/* Bytes picked: `pick` holds 16 byte numbers (past 15: zero); the same as a
 * look-up of low nibbles in a table of 16 bytes. */
static inline VI vi_shuffle(VI v, VI pick) {
  return OF_U8(vqtbl1q_u8(U8(v), U8(pick)));
}
static inline VI vi_table(const void *p) { /* 16 bytes */
  return vi_load(p);
}
/* Bytes: value where v has any of the bits of `bits`, else 0. */
static inline VI vi_if_bits(VI v, VI bits, VI value) {
  return OF_U8(vandq_u8(vtstq_u8(U8(v), U8(bits)), U8(value)));
}
/* Bytes: offset - v where s has the bit of `bits`, offset + v elsewhere. */
static inline VI vi_around(VI v, VI s, VI bits, int offset) {
  uint8x16_t minus = vtstq_u8(U8(s), U8(bits)), at = U8(vi_set8(offset));
  return OF_U8(vbslq_u8(minus, vsubq_u8(at, U8(v)), vaddq_u8(at, U8(v))));
}
static inline VF vi_f32(VI v) { /* signed to float */
  return vcvtq_f32_s32(v);
}
static inline VF vi_as_f32(VI v) { /* the bits */
  return vreinterpretq_f32_s32(v);
}
/* The binary16 number in the low half of each lane. */
static inline VF vi_f16(VI v) {
  return vcvt_f32_f16(vreinterpret_f16_s16(vmovn_s32(v)));
}
/* acc + the sum of 2 products of signed 16-bit numbers. */
static inline VI vi_dot16(VI acc, VI a, VI b) {
  VI low = vmull_s16(vget_low_s16(S16(a)), vget_low_s16(S16(b)));
  VI high = vmull_high_s16(S16(a), S16(b));
  return vaddq_s32(acc, vpaddq_s32(low, high));
}

/* ---- columns of 4 rows, `stride` bytes apart --------------------------- */

/* 16 bytes of each row at p: v[j] = the j-th 32 bits of all rows. Nothing is
 * prefetched on the way: tiles of so few rows leave it to the walk. */
INLINE void vi_columns4(wn_rows *s, size_t off, VI v[4]) {
  VF t[4];
  WN_UNROLL
  for (size_t j = 0; j < 4; j++)
    t[j] = vf_load(s->w + off + j * s->stride);
  vf_transpose(t);
  WN_UNROLL
  for (size_t j = 0; j < 4; j++)
    v[j] = vreinterpretq_s32_f32(t[j]);
}

/* 32 bytes of each row. */
INLINE void vi_columns8(wn_rows *s, size_t off, VI v[8]) {
  vi_columns4(s, off, v);
  vi_columns4(s, off + 16, v + 4);
}

/* The 32 bits, the 16 bits (in the low half of a lane), the byte at p. */
INLINE VI vi_column(const wn_rows *s, size_t off) {
  int32_t x[4];
  WN_UNROLL
  for (size_t i = 0; i < 4; i++)
    memcpy(&x[i], s->w + off + i * s->stride, 4);
  return vi_load(x);
}
INLINE VI vi_column16(const wn_rows *s, size_t off) {
  uint16_t x[4];
  WN_UNROLL
  for (size_t i = 0; i < 4; i++)
    memcpy(&x[i], s->w + off + i * s->stride, 2);
  return vreinterpretq_s32_u32(vmovl_u16(vld1_u16(x)));
}
INLINE VF vf_column_f16(const wn_rows *s, size_t off) {
  return vi_f16(vi_column16(s, off));
}
INLINE VI vi_column8(const wn_rows *s, size_t off) {
  int32_t x[4];
  WN_UNROLL
  for (size_t i = 0; i < 4; i++)
    x[i] = s->w[off + i * s->stride];
  return vi_load(x);
}

#undef U8
#undef U16
