// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kvsharer/backend/cuda/attention/decode_line.cuh"
#include "kvsharer/backend/cuda/attention/problem.cuh"
#include "kvsharer/backend/cuda/attention/tile_ring.cuh"
#include "kvsharer/backend/cuda/attention/warp_product.cuh"
#include "kvsharer/backend/cuda/ptx.cuh"
#include "kvsharer/backend/cuda/status.cuh"

namespace kvsharer::inline v0::cuda::detail {

/// The tokens of an item's part: `units` units from token `first` on, of which those in [seen, end) exist.
struct part_tokens {
  int first, units, seen, end;
};

/// The warp that fills a block's ring. A unit consists of runs of Tile::run_tokens tokens, each within one page. A lane
/// looks up one run of keys and one of values, for all units that 32 lanes hold, and one such step ahead, so that page
/// numbers are there when they are needed. Runs that lie one behind the other, in a page or in neighbouring ones,
/// become one copy, of a whole unit at most. Units with newest tokens are copied when the launch in front has ended.
template <class Tile, class Problem, int UnitTokens>
class tile_copier {
  static constexpr int runs = UnitTokens / Tile::run_tokens, units_at_once = 32 / runs;  // runs per unit
  static constexpr int run_bytes = Tile::run_tokens * Tile::token_bytes;
  static_assert(32 % runs == 0);

 public:
  __device__ tile_copier(const Problem& p, tile_ring& ring) : p_(p), ring_(ring) {}

  /// Copies the units of an item's part; the last of them stay pending. Tokens in front of `seen` and from `end` on are
  /// not read, up to a run. A run outside the pool is reported and filled with zeros.
  __device__ void copy(const item_part& part, const part_tokens& tokens) {
    if (tokens.end < part.s.length) report(p_.status, refusal::past_capacity, p_.layer, part.at.sequence, tokens.end);
    for (int unit = 0; unit < tokens.units; unit += units_at_once) {
      const int left = tokens.units - unit;
      lookup next{part.at.sequence,
                  part.s.place,
                  part.at.head,
                  tokens.first + unit * UnitTokens + lane_id() * Tile::run_tokens,
                  tokens.end,
                  part.s.length - part.s.rows,
                  left < units_at_once ? left : units_at_once,
                  false,
                  0,
                  0};
      next.wanted =
          lane_id() / runs < next.units && next.token < tokens.end && next.token + Tile::run_tokens > tokens.seen;
      if (next.wanted) {
        next.key_page = *p_.keys.sequence(next.place).entry(next.head, next.token);
        next.value_page = *p_.values.sequence(next.place).entry(next.head, next.token);
      }
      flush();
      pending_ = next;
    }
  }

  /// Copies what is pending.
  __device__ void flush() {
    if (pending_.units == 0) return;
    const void *key = nullptr, *value = nullptr;
    if (pending_.wanted) {
      key = p_.keys.sequence(pending_.place).find_in(pending_.key_page, pending_.head, pending_.token);
      value = p_.values.sequence(pending_.place).find_in(pending_.value_page, pending_.head, pending_.token);
      if (key == nullptr || value == nullptr)
        report(p_.status, refusal::page_out_of_range, p_.layer, pending_.sequence, pending_.token);
    }
    const int first = pending_.token - lane_id() * Tile::run_tokens;
    const int key_bytes = bytes_from(key), value_bytes = bytes_from(value);
    for (int unit = 0; unit < pending_.units; ++unit) {
      if (first + (unit + 1) * UnitTokens > pending_.newest) ptx::wait_for_previous();
      std::byte* const stage = ring_.begin_fill() + lane_id() % runs * run_bytes;
      if (lane_id() / runs == unit && pending_.wanted) {
        fill(stage, key, key_bytes);
        fill(stage + UnitTokens * Tile::token_bytes, value, value_bytes);
      }
      ring_.end_fill();
    }
    pending_.units = 0;
  }

 private:
  /// What a lane looks up, and for how many units all lanes do.
  struct lookup {
    index_t sequence;
    int place, head;
    int token;   // the first of the lane's run
    int end;     // of the item's tokens
    int newest;  // the first token that the launch in front may have written
    int units;
    bool wanted;
    std::int32_t key_page, value_page;
  };

  /// Bytes to copy from this lane's run on: 0 where there is none, and where the lane before copies it.
  __device__ int bytes_from(const void* run) const {
    const auto address = reinterpret_cast<std::uintptr_t>(run);
    const std::uintptr_t before = __shfl_up_sync(0xffffffffu, address, 1u);
    const bool follows = lane_id() % runs != 0 && address != 0 && before != 0 && address == before + run_bytes;
    const unsigned joined = __ballot_sync(0xffffffffu, follows) >> 1 >> lane_id();
    if (address == 0 || follows) return 0;
    const int count = __ffs(static_cast<int>(~joined));  // this run and those that follow
    const int all = count * Tile::run_tokens, left = pending_.end - pending_.token;
    return (all < left ? all : left) * Tile::token_bytes;
  }

  __device__ void fill(std::byte* to, const void* from, int bytes) {
    if (bytes > 0) ring_.copy(to, from, bytes);
    if (from != nullptr) return;
    for (int i = 0; i < run_bytes / 16; ++i) reinterpret_cast<uint4*>(to)[i] = make_uint4(0, 0, 0, 0);
    ptx::fence_async_proxy();
  }

  const Problem& p_;
  tile_ring& ring_;
  lookup pending_{};
};

}  // namespace kvsharer::inline v0::cuda::detail
