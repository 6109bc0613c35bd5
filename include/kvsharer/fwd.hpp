// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

/// Forward declarations, so that an engine's own headers need not include the library.
namespace kvsharer::inline v0 {

enum class errc : int;
enum class memory_space : std::uint8_t;
enum class fold_scope : std::uint8_t;
enum class kv_part : std::uint8_t;
enum class rope_pairing : std::uint8_t;
enum class rope_scaling : std::uint8_t;

struct layer_id;
struct layer_pair;
struct cache_shape;
struct sequence_id;
struct rope_rule;
struct known_method;
struct known_methods;
struct layer_range;
struct cache_rules;
struct float16;
struct bfloat16;
struct float8_e4m3;
struct float8_e5m2;

class error;
class share_map;
class share_plan;
class method_spec;
class cache_plan;
class distance_matrix;
class rope_table;
class calibration_average;

struct search_options;
struct best_first_options;
struct search_report;
struct search_evidence;
struct plan_file;

template <class E, class Layout, class Allocator>
class shared_cache;

}  // namespace kvsharer::inline v0
