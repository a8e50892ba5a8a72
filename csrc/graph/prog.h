/* prog.h - programs: what a model computes, as a flat list of operations.
 *
 * A description in Lua appends operations once, at load; C verifies them
 * (verify.c), groups them into stages (fuse.c), plans memory (plan.c) and runs
 * them (exec.c). An operation is transformer-sized: there are no reshapes,
 * views or permutations, the layout of data is the operation's own business.
 *
 * Every operation makes one value: a matrix with one row per token and a
 * fixed width. A value's id is the index of the operation that makes it, so
 * "defined before use" is `in < index`. The number of tokens and their
 * positions are symbolic: one program serves every batch.
 *
 * A program is built, verified by wn_prog_finish and immutable from then on.
 * Only finished programs can be bound and run; the executor trusts them. */
#ifndef WN_GRAPH_PROG_H
#define WN_GRAPH_PROG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Fields of an operation that are not used hold this. */
#define WN_NONE UINT32_MAX

/* The instruction set. id, name in Lua, what it computes:
 *
 * embed    row of w[0]: of the token (kind token), of the token's position
 *          (kind position), or always row i[0] (kind row)
 * norm     x normalised, times w[0], plus w[1] (both optional): kind rms or
 *          layer, in groups of i[0] values (0: the whole row), eps f[0].
 *          w[0] has one group's values, or one row's
 * linear   x times rows i[0] .. i[0]+i[1] of the matrix w[0], times the one
 *          value of w[2], plus the same rows of w[1] (both optional). With
 *          i[2] != 0 groups of so many rows, i[3] rows from one to the next
 * rope     x rotated by position, in heads of i[0] values of which the first
 *          i[1] rotate; pairs (2j, 2j+1) for kind normal, (j, j + i[1]/2) for
 *          kind neox. Kinds mrope and imrope: neox, but for pairs of the
 *          fourth of the axes whose numbers of pairs are the bytes of i[3],
 *          lowest first. Angle position * f[0]^(-2j/i[1]) / w[0][j], scaled by
 *          f[1] with YaRN's ramp where f[2] != 0: f[3] magnitude, f[4] and
 *          f[5] fast and slow bounds, i[2] original context. w[1]: factors
 *          instead of w[0] when the context is longer than i[2]
 * attend   softmax(scale q k^T) v over the sequence so far (kind causal) or
 *          the whole of it (kind full); in = q, k, v; cache slot i[0], i[1]
 *          query heads, i[2] key/value heads, window i[3] (0: none; of kind
 *          full i[3] / 2 to either side), scale f[0], soft cap f[1] (0: none),
 *          f[2]: largest bias by distance (ALiBi; 0: none), w[0] one sink per
 *          query head. Kind chunked: from the last multiple of i[3] on.
 *          Without k and v: those of slot i[0], which an earlier one fills.
 *          Without v: the first i[4] values of each head's key
 * act      kind(x + w[0]), element by element; w[0] is optional
 * glu      kind(x) * y, in = x, y; swiglu_oai has alpha f[0] and limit f[1]
 * clamp    x, at least f[0] and at most f[1]
 * xielu    with P, Q, beta, eps = f[0..3]: P x^2 + beta x for x > 0, else
 *          Q (e^min(x, eps) - 1 - x) + beta x
 * add, mul x + y, x * y. mul: y may have fewer values; each belongs to a group
 *          of x
 * sums     of each group of i[0] values of x their sum
 * part     i[1] values of x from value i[0] on
 * join     of each head of i[0] values of x and of i[1] values of y, one behind
 *          the other; y may have a single head, for all
 * scale    f[0] * x (kind constant), times w[0] (optional; one value, or as
 *          many as x has), or (kind position)
 *          x * (1 + f[0] ln(1 + floor((position + i[1]) / i[0])))
 * softcap  f[0] * tanh(x / f[0])
 * gain     f[0] * x times factor i[0] of the token's sequence (adapters)
 * moe      sum over the i[0] best experts e of weight(e) * down_e(glu(gate_e
 *          x, up_e x)); in = x, router logits; w = gate (without: act(up_e
 *          x)), up, down, their biases, a bias used only in choosing, and
 *          three scales of products, a value for each expert; gating i[1]
 *          (softmax, sigmoid, softmax of the chosen), i[2]: weights divided by
 *          their sum, times f[0]; expert width i[3]; i[4] groups of experts
 *          (0: none), of which the i[5] best by their two best experts are
 *          chosen from; kind as glu's with f[1], f[2]. i[6] & 1: the matrix of
 *          gate has up's rows behind its own; i[6] & 2: weight(e) multiplies
 *          gate and up instead of down
 * heads    each of i[0] heads of x times a matrix of its own, w[0], times w[1]
 *          (one value, optional)
 * conv     causal convolution over tokens: state i[0], i[1] taps, w[0] a row
 *          of taps for each channel, w[1] bias (optional). Kind shift: the row
 *          of the token before
 * delta    the gated delta rule: state i[0], i[1] key heads, i[2] value heads
 *          of i[3] values, eps f[0]; in = q|k|v, decay, beta (op_delta.c)
 * scan     selective state spaces: state i[0], i[1] heads, i[2] values of
 *          state, i[3] groups, i[4] channels; w = decay, bias of dt, skip
 *          (op_scan.c)
 * wkv      RWKV's recurrence: state i[0], i[1] heads of i[2] values; in =
 *          r|w|k|v|a|b (op_wkv.c)
 *
 * Each line: id, descriptor (op.h). */
#define WN_OPS(X)           \
  X(EMBED, wn_op_embed)     \
  X(NORM, wn_op_norm)       \
  X(LINEAR, wn_op_linear)   \
  X(ROPE, wn_op_rope)       \
  X(ATTEND, wn_op_attend)   \
  X(ACT, wn_op_act)         \
  X(GLU, wn_op_glu)         \
  X(ADD, wn_op_add)         \
  X(MUL, wn_op_mul)         \
  X(SCALE, wn_op_scale)     \
  X(SOFTCAP, wn_op_softcap) \
  X(GAIN, wn_op_gain)       \
  X(CLAMP, wn_op_clamp)     \
  X(XIELU, wn_op_xielu)     \
  X(SUMS, wn_op_sums)       \
  X(PART, wn_op_part)       \
  X(JOIN, wn_op_join)       \
  X(MOE, wn_op_moe)         \
  X(HEADS, wn_op_heads)     \
  X(CONV, wn_op_conv)       \
  X(DELTA, wn_op_delta)     \
  X(SCAN, wn_op_scan)       \
  X(WKV, wn_op_wkv)

typedef enum wn_opcode {
#define X(id, desc) WN_OP_##id,
  WN_OPS(X)
#undef X
      WN_N_OPS
} wn_opcode;

/* Kinds, by operation. Those of act and glu are wn_act of kern/vec.h. */
enum { WN_EMBED_TOKEN, WN_EMBED_POSITION, WN_EMBED_ROW, WN_N_EMBED };
enum { WN_NORM_RMS, WN_NORM_LAYER, WN_N_NORM };
enum { WN_ROPE_NORMAL, WN_ROPE_NEOX, WN_ROPE_MROPE, WN_ROPE_IMROPE, WN_N_ROPE };
enum { WN_SCALE_CONSTANT, WN_SCALE_POSITION, WN_N_SCALE };
enum { WN_ATTEND_CAUSAL, WN_ATTEND_FULL, WN_ATTEND_CHUNKED, WN_N_ATTEND };
enum {
  WN_GATE_SOFTMAX,
  WN_GATE_SIGMOID,
  WN_GATE_CHOSEN,
  WN_GATE_SQRT_SOFTPLUS,
  WN_N_GATE
};

/* Weights of moe, by place. */
enum {
  WN_MOE_GATE,
  WN_MOE_UP,
  WN_MOE_DOWN,
  WN_MOE_GATE_B,
  WN_MOE_UP_B,
  WN_MOE_DOWN_B,
  WN_MOE_CHOICE_B,
  WN_MOE_GATE_S,
  WN_MOE_UP_S,
  WN_MOE_DOWN_S
};

enum { WN_OP_INS = 3, WN_OP_WEIGHTS = 10, WN_OP_INTS = 7, WN_OP_FLOATS = 6 };

typedef struct wn_op {
  uint16_t code; /* wn_opcode */
  uint16_t kind; /* variant, see above */
  uint32_t name; /* offset in the program's strings; blk.3.ffn_down */
  uint32_t in[WN_OP_INS];
  uint32_t w[WN_OP_WEIGHTS];
  uint32_t i[WN_OP_INTS];
  float f[WN_OP_FLOATS];
} wn_op;

/* A tensor that the program needs. ne[0] values a row, ne[1] rows, ne[2]
 * matrices (experts). `matrix`: used by linear, embed or moe in its stored
 * type; otherwise it is a vector that loading expands to float32. */
typedef struct wn_weight {
  uint32_t name;
  uint32_t ne[3];
  bool matrix;
} wn_weight;

/* What a context keeps of a sequence for one operation (run/state.h). */
typedef enum wn_keep {
  WN_KEEP_ALL,    /* keys and values of every position */
  WN_KEEP_WINDOW, /* ... of the last `window` positions */
  WN_KEEP_KEYS,   /* keys only: values are the first width_v of each */
  WN_KEEP_STATE   /* n_state floats, whatever the length */
} wn_keep;

typedef struct wn_slot {
  wn_keep keep;
  uint32_t n_head_kv, width_k, width_v; /* widths of one head */
  uint32_t window;                      /* 0: everything */
  uint32_t n_state;
} wn_slot;

/* What the result value is. */
typedef enum wn_result { WN_RESULT_LOGITS, WN_RESULT_EMBEDDINGS } wn_result;

typedef struct wn_prog {
  int refs;
  bool finished;
  wn_op *ops;
  uint32_t n_ops, cap_ops;
  wn_weight *weights;
  uint32_t n_weights, cap_weights;
  char *strings; /* each terminated */
  uint32_t n_strings, cap_strings;
  /* the rest is filled in by wn_prog_finish */
  uint32_t result; /* value id */
  wn_result result_kind;
  bool causal;      /* no attend of kind full */
  uint32_t *widths; /* of each value */
  wn_slot *slots;
  uint32_t n_slots;
  uint32_t n_gains;     /* factors that a sequence has */
  uint32_t n_vocab;     /* rows of the token embedding: valid token ids */
  uint32_t n_positions; /* rows of position embeddings, or UINT32_MAX */
} wn_prog;

int wn_prog_new(wn_prog **out, wn_err *e);
wn_prog *wn_prog_ref(wn_prog *p);
void wn_prog_unref(wn_prog *p);

/* Declares a weight. A name may be declared more than once: both bind to the
 * same tensor (tied embeddings). */
int wn_prog_weight(wn_prog *p, const char *name, size_t n, const uint32_t ne[3],
                   bool matrix, uint32_t *id, wn_err *e);

/* Appends a copy of *op under `name`; *id is its value. Checks nothing but
 * limits: wn_prog_finish does. */
int wn_prog_add(wn_prog *p, const wn_op *op, const char *name, size_t n,
                uint32_t *id, wn_err *e);

/* Verifies the whole program (verify.c) and makes it immutable. Messages
 * name the operation and the reason. */
int wn_prog_finish(wn_prog *p, uint32_t result, wn_result kind, wn_err *e);

/* Values of a weight. */
static inline uint64_t wn_weight_values(const wn_weight *w) {
  return (uint64_t)w->ne[0] * w->ne[1] * w->ne[2];
}

static inline const char *wn_prog_str(const wn_prog *p, uint32_t off) {
  return p->strings + off;
}
const char *wn_op_name(uint32_t code);

/* An operation with every field unused. */
wn_op wn_op_blank(wn_opcode code, uint16_t kind);

/* Names of kinds, for Lua and for printing; NULL / -1 when there is none. */
const char *wn_kind_name(uint32_t code, uint32_t kind);
int wn_kind_of_name(uint32_t code, const char *name);

/* One line about operation i, as `wane inspect --program` prints it. Returns
 * the full length, at most cap - 1 bytes of it are stored. */
size_t wn_prog_line(const wn_prog *p, uint32_t i, char *buf, size_t cap);

#endif
