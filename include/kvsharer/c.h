// SPDX-License-Identifier: Apache-2.0
#pragma once

/// Plans for engines in C (C11), and for languages that call C: opaque handles, plain numbers, error codes with texts.
/// No exception leaves these functions. One C++20 file of the engine includes kvsharer/c.hpp, which defines them; see
/// docs/how-to/engine-in-c.md.
///
/// A share map is a plan whose keys and values have the same owners. All functions may be called from any thread, and a
/// plan may be read by several at once: nothing changes it.
#include <stddef.h>
#include <stdint.h>

#if defined(__cplusplus)
extern "C" {
#endif

/// What a call came to. From 301 on they are the numbers of docs/troubleshooting.md.
enum kvsharer_code {
  KVSHARER_OK = 0,
  KVSHARER_NO_MEMORY = 1,       ///< memory could not be allocated
  KVSHARER_UNEXPECTED = 2,      ///< an error of another kind; its text says which
  KVSHARER_BAD_MAP = 301,       ///< an owner that is negative or a later layer, or maps of different lengths
  KVSHARER_BAD_SHAPE = 302,     ///< a size that is not positive
  KVSHARER_BAD_ARGUMENT = 303,  ///< a null pointer, or too little room for a text
  KVSHARER_PLAN_SYNTAX = 601,   ///< a text that is not a plan's line
  KVSHARER_PLAN_VERSION = 602,  ///< a line of another schema version
  KVSHARER_PLAN_MODEL = 603     ///< a plan made for another model
};

/// Where a call that fails puts its code and its text. The caller's own; calls that succeed set the code to 0 and the
/// text to "". Every function takes a null pointer for it, too.
typedef struct kvsharer_error {
  int code;        ///< a kvsharer_code
  char text[512];  ///< ends with 0; a longer text is cut
} kvsharer_error;

/// Which layer's keys and which layer's values each layer reads.
typedef struct kvsharer_plan kvsharer_plan;

/// Which of the two maps of a plan.
enum kvsharer_part { KVSHARER_KEYS = 1, KVSHARER_VALUES = 2 };

/// A plan from `keys[l]` and `values[l]`, the layers whose keys and values layer l reads, both [layers]; chains are
/// followed to their root. With null for `values`, keys and values have the same owners. Returns null and
/// KVSHARER_BAD_MAP, KVSHARER_BAD_ARGUMENT or KVSHARER_NO_MEMORY. Free it with kvsharer_plan_free. O(layers).
kvsharer_plan* kvsharer_plan_from_owners(const int* keys, const int* values, int layers, kvsharer_error* error);

/// The plan that shares nothing. Errors as kvsharer_plan_from_owners.
kvsharer_plan* kvsharer_plan_identity(int layers, kvsharer_error* error);

/// The plan of a line of integers ("kvsharer-plan 3 ..."), which ends with 0. Returns null and KVSHARER_PLAN_SYNTAX,
/// KVSHARER_PLAN_VERSION, KVSHARER_BAD_MAP, KVSHARER_BAD_ARGUMENT or KVSHARER_NO_MEMORY. O(length).
kvsharer_plan* kvsharer_plan_from_text(const char* text, kvsharer_error* error);

/// Frees a plan; null is none.
void kvsharer_plan_free(kvsharer_plan* plan);

/// Writes the plan as one line of integers with a line feed, and 0 behind it. Returns the length without the 0, as
/// snprintf does: where that is not below `size`, the line was cut and is no plan. Returns 0 for a null plan or where
/// memory is short. O(layers).
size_t kvsharer_plan_text(const kvsharer_plan* plan, char* text, size_t size);

/// Of the model, owners and readers; 0 for null.
int kvsharer_plan_layers(const kvsharer_plan* plan);

// Functions of a layer take KVSHARER_KEYS or KVSHARER_VALUES for `part`, and are O(1).

/// The layer whose keys or values layer `layer` reads: itself where it stores some. -1 where there is no such layer.
int kvsharer_plan_owner(const kvsharer_plan* plan, int part, int layer);

/// 1 where the layer reads another one's, and so neither computes nor stores its own; 0 where it stores its own. -1
/// where there is no such layer.
int kvsharer_plan_is_reader(const kvsharer_plan* plan, int part, int layer);

/// The number of the stored plane that a layer reads, from 0 without gaps, for engines that put all planes into one
/// allocation. Others want the owner. -1 where there is no such layer.
int kvsharer_plan_slot(const kvsharer_plan* plan, int part, int layer);

/// How many layers store keys, or values; 0 for null.
int kvsharer_plan_owner_count(const kvsharer_plan* plan, int part);

/// Stored planes, of keys and of values together; 0 for null.
int kvsharer_plan_planes(const kvsharer_plan* plan);

/// Planes that are not stored; 0 for null.
int kvsharer_plan_shared_planes(const kvsharer_plan* plan);

/// The last layer that stores anything: above it, a prefill needs only the last position. -1 for no layers.
int kvsharer_plan_last_owner(const kvsharer_plan* plan);

/// Bytes of `tokens` tokens of one sequence in all stored planes; 0 for null. The product must fit size_t.
size_t kvsharer_plan_kv_bytes(const kvsharer_plan* plan, ptrdiff_t kv_heads, ptrdiff_t head_dim, size_t element_bytes,
                              ptrdiff_t tokens);

/// A number for keys of prefix caches, the same on all machines and in all versions; 0 for null.
uint64_t kvsharer_plan_hash(const kvsharer_plan* plan);

/// The model that a plan was found for. The texts are borrowed.
typedef struct kvsharer_model {
  int layers;               ///< of the model
  ptrdiff_t kv_heads;       ///< of a layer
  ptrdiff_t head_dim;       ///< channels of a head
  const char* rope;         ///< the rotation, such as "theta=10000 scaling=none"
  const char* fingerprint;  ///< of the weights: kvsharer_fingerprint, or any text that changes with them
} kvsharer_model;

/// KVSHARER_OK if a plan found for one model is for the other: equal sizes, the same angles, the same weights.
/// KVSHARER_PLAN_MODEL if not, with each difference in the text. Or KVSHARER_BAD_ARGUMENT, KVSHARER_NO_MEMORY.
int kvsharer_same_model(const kvsharer_model* found, const kvsharer_model* running, kvsharer_error* error);

/// The sizes that a fingerprint depends on.
typedef struct kvsharer_extents {
  int layers;              ///< of the model
  ptrdiff_t hidden;        ///< channels of a token's state
  ptrdiff_t intermediate;  ///< channels within the MLP
  ptrdiff_t heads;         ///< of queries
  ptrdiff_t kv_heads;      ///< of keys and values
  ptrdiff_t head_dim;      ///< channels of a head
} kvsharer_extents;

/// The tensors that a fingerprint looks at. Matrices are [out][in].
enum kvsharer_weight_kind {
  KVSHARER_EMBEDDING,
  KVSHARER_ATTENTION_NORM,
  KVSHARER_QUERY,
  KVSHARER_KEY,
  KVSHARER_VALUE,
  KVSHARER_OUTPUT,
  KVSHARER_MLP_NORM,
  KVSHARER_GATE,
  KVSHARER_UP,
  KVSHARER_DOWN,
  KVSHARER_FINAL_NORM
};

/// One weight of a model.
typedef struct kvsharer_weight_place {
  int kind;          ///< a kvsharer_weight_kind
  int layer;         ///< 0 where the tensor belongs to no layer
  ptrdiff_t row;     ///< of a matrix, in HuggingFace's order; the token of the embedding
  ptrdiff_t column;  ///< of a matrix, or the channel of a gain
  ptrdiff_t
      interleaved;  ///< the row where heads of queries and keys are stored interleaved, as Meta's and GGUF files do
} kvsharer_weight_place;

/// Returns the weight at a place; 0 for a token that the vocabulary lacks. `engine` is what was given beside it.
typedef float (*kvsharer_weight)(void* engine, kvsharer_weight_place place);

/// Room for every fingerprint, with the 0 at its end.
enum { KVSHARER_FINGERPRINT_SIZE = 320 };

/// Writes the fingerprint of a model's weights and 0 behind it (docs/reference/model-fingerprint.md), from at most 58
/// calls of `weight`. Returns KVSHARER_OK, KVSHARER_BAD_SHAPE, KVSHARER_BAD_ARGUMENT or KVSHARER_NO_MEMORY.
int kvsharer_fingerprint(const kvsharer_extents* model, kvsharer_weight weight, void* engine, char* text, size_t size,
                         kvsharer_error* error);

#if defined(__cplusplus)
}
#endif
