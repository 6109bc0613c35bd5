// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kvsharer/backend/cuda/attention/tuning.hpp"
#include "kvsharer/config.hpp"

/// Constants of the distance kernels, and how layers and rows are cut for them. Arithmetic only, readable by any
/// compiler.
namespace kvsharer::inline v0::cuda::detail {

/// Layers on each side of the tile of pairs that a thread folds: 16 sums for 8 numbers read from shared memory. Layers
/// go to shared memory in groups of this size.
inline constexpr int group_layers = 4;

/// Channels in shared memory at a time: a row's piece of 128 bytes.
inline constexpr int chunk_channels = 32;

/// Floats from one group to the next in shared memory: [group_layers][chunk_channels] and 16 bytes more, so that
/// threads that read the same layer of eight neighbouring groups never meet in one bank.
inline constexpr int group_stride = group_layers * chunk_channels + 4;

/// Floats from one row to the next: padded by a multiple of 16 bytes, so that eight neighbouring rows of a group do not
/// meet in one bank either.
KVSHARER_HD constexpr int row_stride(int groups) { return groups * group_stride + (9 - groups % 8) % 8 * 4; }

/// The shape of the kernels. 256 threads are two warps for each of a multiprocessor's four schedulers; with two such
/// blocks, a thread has 128 registers, which 16 partials and 16 totals need.
struct distances_tuning {
  int max_threads = 256;
  int stages = 3;                     ///< chunks in shared memory: one being folded, the others in flight
  int blocks_per_multiprocessor = 2;  ///< for which registers must suffice
};
inline constexpr distances_tuning fold_tuning{};

/// The groups of layers whose pairs one launch folds: `readers` groups, against the groups before them in the same
/// range (`owners` is 0), or against `owners` other groups, all of earlier layers.
struct group_range {
  int first_reader = 0, readers = 0;
  int first_owner = 0, owners = 0;

  KVSHARER_HD constexpr bool triangle() const { return owners == 0; }
  KVSHARER_HD constexpr int groups() const { return readers + owners; }
  /// Tiles of two different groups.
  KVSHARER_HD constexpr int crossings() const { return triangle() ? readers * (readers - 1) / 2 : readers * owners; }
  KVSHARER_HD constexpr int tiles() const { return crossings() + (triangle() ? (readers + 1) / 2 : 0); }

  /// Threads for `rows` rows: different warps fold the two kinds of tile.
  KVSHARER_HD constexpr int crossing_threads(int rows) const { return (crossings() * rows + 31) / 32 * 32; }
  KVSHARER_HD constexpr int threads(int rows) const {
    return crossing_threads(rows) + ((tiles() - crossings()) * rows + 31) / 32 * 32;
  }

  /// What a thread folds: a tile for one row, or nothing. Neighbouring threads have the same tile and different rows.
  struct thread_work {
    int tile = 0, row = 0;
    bool any = false;
  };
  KVSHARER_HD constexpr thread_work work(int thread, int rows) const {
    const bool within = thread >= crossing_threads(rows);
    const int place = within ? thread - crossing_threads(rows) : thread, before = within ? crossings() : 0;
    const int tile = before + place / rows;
    if (tile >= (within ? tiles() : crossings())) return {};
    return {tile, place % rows, true};
  }

  /// The group at a place in shared memory.
  KVSHARER_HD constexpr int group(int place) const {
    return place < readers ? first_reader + place : first_owner + place - readers;
  }
  /// The places of a tile's two groups. A crossing has all pairs of a reader's layer with an owner's. A `within` tile
  /// is two tiles on the diagonal in one: the pairs inside each of its two groups (or of one group, if both are the
  /// same), six per group, for as many numbers read as the sixteen pairs of a crossing. Consecutive crossings mostly
  /// share the reader's group and have neighbouring owners' groups.
  struct tile_places {
    int reader, owner;
    bool within = false;
  };
  KVSHARER_HD constexpr tile_places tile(int t) const {
    if (!triangle()) return {t / owners, readers + t % owners};
    if (t >= crossings()) {
      const int first = 2 * (t - crossings());
      return {first, first + 1 < readers ? first + 1 : first, true};
    }
    int reader = 1;
    for (; t >= reader; ++reader) t -= reader;
    return {reader, t};
  }
};

/// How layers are cut: if every tile can have a thread, one launch folds all pairs (84 layers with 256 threads). With
/// more layers, the groups are cut into `parts` ranges, and every two ranges are one launch, so that numbers are read
/// `parts` times.
struct layer_cut {
  int groups;
  int parts = 1;

  constexpr int launches() const { return parts * (parts + 1) / 2; }
  constexpr int begin(int part) const { return groups * part / parts; }
  constexpr group_range launch(int i) const {
    int reader = 0;
    while (i > reader) i -= ++reader;
    const int first = begin(reader), end = begin(reader + 1);
    if (i == reader) return {first, end - first};
    return {first, end - first, begin(i), begin(i + 1) - begin(i)};
  }
};

constexpr layer_cut cut_layers(int layers, int max_threads) {
  layer_cut cut{(layers + group_layers - 1) / group_layers};
  const auto fits = [max_threads](const layer_cut& c) {
    const int most = (c.groups + c.parts - 1) / c.parts;
    return group_range{0, most}.threads(1) <= max_threads && (c.parts == 1 || most * most <= max_threads);
  };
  while (!fits(cut)) ++cut.parts;
  return cut;
}

/// How a launch runs: `rows` rows per block at once, each with a thread for every tile.
struct fold_plan {
  int rows = 1;
  int threads = 0;       ///< of a block: whole warps
  int shared_bytes = 0;  ///< of a block
  int resident = 1;      ///< blocks that a multiprocessor holds
};

/// `place_bytes`: needed twice for every row and layer of a batch, to note where the row is. `value_bytes`: needed once
/// for each thread's total.
constexpr fold_plan plan_fold(int capability, const distances_tuning& t, const group_range& range, int place_bytes,
                              int value_bytes) {
  const int available = shared_limit(capability) + 1024;  // of a multiprocessor; each block takes 1 KB besides its own
  const int stage_bytes = t.stages * row_stride(range.groups()) * 4;
  const int row_bytes = stage_bytes + 2 * range.groups() * group_layers * place_bytes;
  const int by_memory = (available / t.blocks_per_multiprocessor - 1024) / row_bytes;
  fold_plan p;
  while (p.rows < by_memory && range.threads(p.rows + 1) <= t.max_threads) ++p.rows;
  p.threads = range.threads(p.rows);
  p.shared_bytes = p.rows * row_bytes > p.threads * value_bytes ? p.rows * row_bytes : p.threads * value_bytes;
  const int by_shared = available / (p.shared_bytes + 1024);
  const int by_registers = t.max_threads * t.blocks_per_multiprocessor / p.threads;
  p.resident = by_shared < by_registers ? by_shared : by_registers;
  if (p.resident > 16) p.resident = 16;
  if (p.resident < 1) p.resident = 1;
  return p;
}

}  // namespace kvsharer::inline v0::cuda::detail
