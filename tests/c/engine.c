// SPDX-License-Identifier: Apache-2.0
// An engine in C that shares its cache between layers: kvsharer/c.h, and all that its functions refuse.
#include <kvsharer/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;
#define CHECK(condition) \
  ((condition) ? (void)0 : (void)(++failures, fprintf(stderr, "engine.c:%d: %s\n", __LINE__, #condition)))

enum { LAYERS = 4, ROW = 2, TOKENS = 8 };

// Weights that stand for those of a model.
static float key_weight(int layer) { return 1.0f + 0.5f * (float)layer; }
static float value_weight(int layer) { return 2.0f - 0.25f * (float)layer; }

// [cache]
// One allocation per layer and part. A reader's pointers are its owner's: it allocates none and frees none.
struct layer_cache {
  float *keys, *values;  // [tokens][row]
};

static int new_cache(struct layer_cache* cache, const kvsharer_plan* plan, size_t tokens, size_t row) {
  for (int l = 0; l < kvsharer_plan_layers(plan); ++l) {
    const int k = kvsharer_plan_owner(plan, KVSHARER_KEYS, l), v = kvsharer_plan_owner(plan, KVSHARER_VALUES, l);
    // An owner is never a later layer, so that its pointer is there already.
    cache[l].keys = k == l ? calloc(tokens * row, sizeof(float)) : cache[k].keys;
    cache[l].values = v == l ? calloc(tokens * row, sizeof(float)) : cache[v].values;
    if (!cache[l].keys || !cache[l].values) return 0;
  }
  return 1;
}

static void free_cache(struct layer_cache* cache, const kvsharer_plan* plan) {
  for (int l = 0; l < kvsharer_plan_layers(plan); ++l) {
    if (!kvsharer_plan_is_reader(plan, KVSHARER_KEYS, l)) free(cache[l].keys);
    if (!kvsharer_plan_is_reader(plan, KVSHARER_VALUES, l)) free(cache[l].values);
  }
}
// [/cache]

// The mean of the values, weighted by how large the keys are.
static void attend(float* x, const float* keys, const float* values, int tokens) {
  for (int c = 0; c < ROW; ++c) {
    float weight = 0, sum = 0;
    for (int t = 0; t < tokens; ++t) {
      weight += keys[t * ROW + c] * keys[t * ROW + c] + 1;
      sum += (keys[t * ROW + c] * keys[t * ROW + c] + 1) * values[t * ROW + c];
    }
    x[c] += sum / weight;
  }
}

static int projections;

static void project(float* to, const float* x, float weight) {
  for (int c = 0; c < ROW; ++c) to[c] = weight * x[c];
  ++projections;
}

static void decode(const kvsharer_plan* plan, struct layer_cache* cache, float* x, int position) {
  // [forward]
  for (int l = 0; l < LAYERS; ++l) {
    // A reader's own keys and values are neither computed nor stored: the row is in its owner's memory already.
    if (!kvsharer_plan_is_reader(plan, KVSHARER_KEYS, l)) project(cache[l].keys + position * ROW, x, key_weight(l));
    if (!kvsharer_plan_is_reader(plan, KVSHARER_VALUES, l))
      project(cache[l].values + position * ROW, x, value_weight(l));
    attend(x, cache[l].keys, cache[l].values, position + 1);
  }
  // [/forward]
}

static void run(const kvsharer_plan* plan, float states[TOKENS][ROW]) {
  struct layer_cache cache[LAYERS];
  memset(cache, 0, sizeof cache);
  CHECK(new_cache(cache, plan, TOKENS, ROW));
  for (int t = 0; t < TOKENS; ++t) {
    states[t][0] = (float)t;
    states[t][1] = 1.0f / (float)(t + 1);
    decode(plan, cache, states[t], t);
  }
  free_cache(cache, plan);
}

// [load]
// The plan of a line of integers, or null where it is not for this model.
static kvsharer_plan* load_plan(const char* line, const kvsharer_model* found_for, const kvsharer_model* running) {
  kvsharer_error error;
  kvsharer_plan* plan = kvsharer_plan_from_text(line, &error);
  if (plan && kvsharer_same_model(found_for, running, &error) != KVSHARER_OK) {
    kvsharer_plan_free(plan);
    plan = NULL;
  }
  if (!plan) fprintf(stderr, "%s (error %d)\n", error.text, error.code);
  return plan;
}
// [/load]

// [fingerprint]
// Where this engine has a weight: it keeps heads interleaved, and its matrices transposed, [in][out].
struct weights {
  const float* query[LAYERS];  // [hidden][heads * head_dim]
  int queries;
};

static float weight_at(void* engine, kvsharer_weight_place at) {
  const struct weights* w = engine;
  switch (at.kind) {
    case KVSHARER_QUERY:
      return w->query[at.layer][at.column * w->queries + at.interleaved];
    default:  // and so on for the ten others
      return 0;
  }
}
// [/fingerprint]

static void check_plans(void) {
  const int keys[LAYERS] = {0, 1, 1, 3}, values[LAYERS] = {0, 1, 2, 1}, chain[LAYERS] = {0, 0, 1, 2};
  kvsharer_error error;
  kvsharer_plan* plan = kvsharer_plan_from_owners(keys, values, LAYERS, &error);
  CHECK(plan && error.code == KVSHARER_OK && error.text[0] == '\0');
  CHECK(kvsharer_plan_layers(plan) == 4);
  CHECK(kvsharer_plan_owner(plan, KVSHARER_KEYS, 2) == 1 && kvsharer_plan_owner(plan, KVSHARER_VALUES, 2) == 2);
  CHECK(kvsharer_plan_owner(plan, KVSHARER_VALUES, 3) == 1);
  CHECK(kvsharer_plan_is_reader(plan, KVSHARER_KEYS, 2) == 1 && kvsharer_plan_is_reader(plan, KVSHARER_KEYS, 3) == 0);
  CHECK(kvsharer_plan_slot(plan, KVSHARER_KEYS, 3) == 2 && kvsharer_plan_slot(plan, KVSHARER_KEYS, 2) == 1);
  CHECK(kvsharer_plan_owner_count(plan, KVSHARER_KEYS) == 3 && kvsharer_plan_owner_count(plan, KVSHARER_VALUES) == 3);
  CHECK(kvsharer_plan_planes(plan) == 6 && kvsharer_plan_shared_planes(plan) == 2);
  CHECK(kvsharer_plan_last_owner(plan) == 3);
  CHECK(kvsharer_plan_kv_bytes(plan, 2, 64, 2, 10) == 6 * 2 * 64 * 2 * 10);

  // As FNV-1a gives it in Python.
  const char* const expected = "kvsharer-plan 3 4 0 1 1 3 0 1 2 1 3381918816776937429\n";
  char line[128];
  CHECK(kvsharer_plan_text(plan, line, sizeof line) == strlen(expected));
  CHECK(strcmp(line, expected) == 0);
  CHECK(kvsharer_plan_hash(plan) == UINT64_C(3381918816776937429));
  kvsharer_plan* again = kvsharer_plan_from_text(line, NULL);
  CHECK(again && kvsharer_plan_hash(again) == kvsharer_plan_hash(plan));
  char cut[6];
  CHECK(kvsharer_plan_text(plan, cut, sizeof cut) == strlen(expected));
  CHECK(strcmp(cut, "kvsha") == 0);
  CHECK(kvsharer_plan_text(plan, NULL, 0) == strlen(expected));
  kvsharer_plan_free(again);
  kvsharer_plan_free(plan);

  plan = kvsharer_plan_from_owners(chain, NULL, LAYERS, &error);
  for (int l = 0; l < LAYERS; ++l) CHECK(kvsharer_plan_owner(plan, KVSHARER_VALUES, l) == 0);
  CHECK(kvsharer_plan_last_owner(plan) == 0);
  kvsharer_plan_free(plan);
}

static void check_refusals(void) {
  const int later[2] = {0, 2};
  kvsharer_error error;
  CHECK(!kvsharer_plan_from_owners(later, NULL, 2, &error));
  CHECK(error.code == KVSHARER_BAD_MAP && strstr(error.text, "E301: layer 1 cannot read layer 2"));
  CHECK(!kvsharer_plan_from_owners(NULL, NULL, 2, &error) && error.code == KVSHARER_BAD_ARGUMENT);
  CHECK(!kvsharer_plan_identity(-1, &error) && error.code == KVSHARER_BAD_MAP);
  CHECK(!kvsharer_plan_from_owners(later, NULL, -1, &error) && error.code == KVSHARER_BAD_MAP);
  CHECK(!kvsharer_plan_from_text("{}", &error) && error.code == KVSHARER_PLAN_SYNTAX);
  CHECK(!kvsharer_plan_from_text("kvsharer-plan 9 1 0 0 0", &error) && error.code == KVSHARER_PLAN_VERSION);
  CHECK(!kvsharer_plan_from_text(NULL, &error) && error.code == KVSHARER_BAD_ARGUMENT);
  CHECK(!kvsharer_plan_from_text("", NULL));

  char text[8] = "before";
  CHECK(kvsharer_plan_text(NULL, text, sizeof text) == 0 && text[0] == '\0');
  CHECK(kvsharer_plan_owner(NULL, KVSHARER_KEYS, 0) == -1 && kvsharer_plan_layers(NULL) == 0);
  CHECK(kvsharer_plan_planes(NULL) == 0 && kvsharer_plan_shared_planes(NULL) == 0 && kvsharer_plan_hash(NULL) == 0);
  CHECK(kvsharer_plan_last_owner(NULL) == -1 && kvsharer_plan_kv_bytes(NULL, 1, 1, 1, 1) == 0);
  kvsharer_plan_free(NULL);
  kvsharer_plan* plan = kvsharer_plan_identity(2, NULL);
  CHECK(kvsharer_plan_owner(plan, KVSHARER_KEYS, 2) == -1 && kvsharer_plan_owner(plan, KVSHARER_KEYS, -1) == -1);
  CHECK(kvsharer_plan_owner(plan, 0, 1) == -1 && kvsharer_plan_is_reader(plan, 3, 1) == -1);
  CHECK(kvsharer_plan_slot(plan, KVSHARER_VALUES, 2) == -1 && kvsharer_plan_owner_count(plan, 7) == 0);
  kvsharer_plan_free(plan);
}

static void check_models(void) {
  const kvsharer_model found_for = {LAYERS, 2, 64, "half-split theta=10000 scaling=none", "0123"};
  kvsharer_model running = found_for;
  running.rope = "interleaved theta=1e4";
  kvsharer_error error;
  CHECK(kvsharer_same_model(&found_for, &running, &error) == KVSHARER_OK && error.code == 0);
  running.layers = 5;
  running.fingerprint = "4567";
  CHECK(kvsharer_same_model(&found_for, &running, &error) == KVSHARER_PLAN_MODEL);
  CHECK(strstr(error.text, "layers 4 (this model: 5)") && strstr(error.text, "\"4567\""));
  running.rope = NULL;
  CHECK(kvsharer_same_model(&found_for, &running, &error) == KVSHARER_BAD_ARGUMENT);
  CHECK(kvsharer_same_model(NULL, &running, NULL) == KVSHARER_BAD_ARGUMENT);

  char line[128];
  kvsharer_plan* plan = kvsharer_plan_identity(LAYERS, NULL);
  kvsharer_plan_text(plan, line, sizeof line);
  kvsharer_plan_free(plan);
  plan = load_plan(line, &found_for, &found_for);
  CHECK(plan);
  kvsharer_plan_free(plan);
  running = found_for;
  running.layers = 5;
  CHECK(!load_plan(line, &found_for, &running));
}

static void check_fingerprint(void) {
  // Queries [8][6] with heads of 4, transposed and interleaved: the half-split rows 2 and 5 are rows 1 and 6 here.
  float transposed[6 * 8] = {0};
  transposed[2 * 8 + 1] = 1.0f;   // row 2, column 2
  transposed[4 * 8 + 6] = -2.0f;  // row 5, column 4
  struct weights w = {{transposed}, 8};
  const kvsharer_extents extents = {1, 6, 9, 2, 1, 4};
  char text[KVSHARER_FINGERPRINT_SIZE];
  kvsharer_error error;
  CHECK(kvsharer_fingerprint(&extents, weight_at, &w, text, sizeof text, &error) == KVSHARER_OK);
  char expected[KVSHARER_FINGERPRINT_SIZE] = "kv1:6:9:2:00000000000000003f80c000";
  for (int i = 6; i < 22; ++i) strcat(expected, "0000");
  CHECK(strcmp(text, expected) == 0);

  CHECK(kvsharer_fingerprint(&extents, weight_at, &w, text, 20, &error) == KVSHARER_BAD_ARGUMENT);
  CHECK(kvsharer_fingerprint(&extents, NULL, &w, text, sizeof text, &error) == KVSHARER_BAD_ARGUMENT);
  CHECK(kvsharer_fingerprint(NULL, weight_at, &w, text, sizeof text, NULL) == KVSHARER_BAD_ARGUMENT);
  const kvsharer_extents none = {1, 6, 9, 0, 1, 4};
  CHECK(kvsharer_fingerprint(&none, weight_at, &w, text, sizeof text, &error) == KVSHARER_BAD_SHAPE);
}

static void check_engine(void) {
  const int owners[LAYERS] = {0, 1, 1, 3};
  float alone[TOKENS][ROW], shared[TOKENS][ROW];
  kvsharer_plan* plan = kvsharer_plan_identity(LAYERS, NULL);
  run(plan, alone);
  CHECK(projections == 2 * LAYERS * TOKENS);
  kvsharer_plan_free(plan);

  projections = 0;
  plan = kvsharer_plan_from_owners(owners, NULL, LAYERS, NULL);
  run(plan, shared);
  CHECK(projections == kvsharer_plan_planes(plan) * TOKENS);
  CHECK(memcmp(alone, shared, sizeof alone) != 0);
  kvsharer_plan_free(plan);
}

int main(void) {
  check_plans();
  check_refusals();
  check_models();
  check_fingerprint();
  check_engine();
  return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
