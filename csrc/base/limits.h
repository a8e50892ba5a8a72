/* limits.h - the one table of limits on what comes from outside.
 * name, value, meaning; wane.limits() shows it. */
#ifndef WN_BASE_LIMITS_H
#define WN_BASE_LIMITS_H

#include <stdint.h>

#define WN_LIMITS(X)                                                           \
  X(WN_MAX_KEYS, 65536, "metadata keys of a file")                             \
  X(WN_MAX_TENSORS, 131072, "tensors of a file")                               \
  X(WN_MAX_HEADER_BYTES, 1073741824, "bytes of a file before its tensor data") \
  X(WN_MAX_KEY_BYTES, 65535, "bytes of a metadata key")                        \
  X(WN_MAX_NAME_BYTES, 255, "bytes of a tensor name")                          \
  X(WN_MAX_OUT_NAME_BYTES, 63, "bytes of a written name: llama.cpp's limit")   \
  X(WN_MAX_STRING_BYTES, 67108864, "bytes of a metadata string")               \
  X(WN_MAX_ARRAY, 67108864, "elements of a metadata array")                    \
  X(WN_MAX_NESTING, 4, "depth of nested metadata arrays")                      \
  X(WN_MAX_DIMS, 4, "dimensions of a tensor")                                  \
  X(WN_MAX_ELEMENTS, 281474976710656, "elements of a tensor (2^48)")           \
  X(WN_MAX_ALIGNMENT, 1048576, "alignment of tensor data")                     \
  X(WN_MAX_SHARDS, 65534, "files of a split model")                            \
  X(WN_MAX_LAYERS, 1024, "layers of a model")                                  \
  X(WN_MAX_HEADS, 4096, "attention heads of a layer")                          \
  X(WN_MAX_EXPERTS, 4096, "experts of a layer")                                \
  X(WN_MAX_WIDTH, 16777216, "values of a row: embedding, feed-forward (2^24)") \
  X(WN_MAX_VOCAB, 4194304, "tokens of a vocabulary")                           \
  X(WN_MAX_CONTEXT, 16777216, "tokens of a context")                           \
  X(WN_MAX_TOKEN_BYTES, 65536, "bytes of one token's text")                    \
  X(WN_MAX_PROMPT_BYTES, 268435456, "bytes of a prompt")                       \
  X(WN_MAX_OPS, 1000000, "operations of a program")                            \
  X(WN_MAX_TEMPLATE_BYTES, 1048576, "bytes of a chat template")                \
  X(WN_MAX_TEMPLATE_DEPTH, 100, "nesting of a chat template")                  \
  X(WN_MAX_TEMPLATE_STEPS, 5000000, "steps of rendering a chat template")      \
  X(WN_MAX_TEMPLATE_OUTPUT, 8388608, "bytes a chat template may produce")      \
  X(WN_MAX_GRAMMAR_BYTES, 1048576, "bytes of a grammar")                       \
  X(WN_MAX_GRAMMAR_DEPTH, 256, "nested groups and rules of a grammar")         \
  X(WN_MAX_GRAMMAR_NODES, 100000, "elements of a grammar, repetitions too")    \
  X(WN_MAX_GRAMMAR_REPEAT, 1000000, "repetitions of an element of a grammar")  \
  X(WN_MAX_GRAMMAR_STACKS, 10000, "ways a grammar may go on at one time")      \
  X(WN_MAX_GRAMMAR_WORK, 5000000, "steps to find the tokens a grammar allows")

#define WN_LIMIT_CONST(id, value, text) \
  __attribute__((unused)) static const int64_t id = value;
WN_LIMITS(WN_LIMIT_CONST)
#undef WN_LIMIT_CONST

#endif
