// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kvsharer/core/element.hpp"

/// The library's header of this name in plain C++. Shapes and fragment layouts are those of the PTX manual (section on
/// warp-level matrix instructions), written from it and not from the other header.
namespace kvsharer::inline v0::cuda::ptx {

inline std::byte* dynamic_shared() { return simt::multiprocessor::here().dynamic_shared(); }

template <class T>
T& static_shared() {
  static_assert(sizeof(T) <= simt::multiprocessor::static_shared_bytes && alignof(T) <= 16);
  return *reinterpret_cast<T*>(simt::multiprocessor::here().static_shared());
}
/// As if the dynamic shared memory began at 1024 + 128.
inline constexpr std::uint32_t first_shared_address = 1024 + 128;
inline std::uint32_t shared_address(const void* p) {
  return first_shared_address + static_cast<std::uint32_t>(static_cast<const std::byte*>(p) - dynamic_shared());
}

inline void require_shared(const void* p, std::size_t bytes) {
  auto& sm = simt::multiprocessor::here();
  const auto* at = static_cast<const std::byte*>(p);
  const auto lies_in = [&](const std::byte* begin, std::size_t size) {
    return at >= begin && at + bytes <= begin + size;
  };
  if (!lies_in(sm.dynamic_shared(), sm.dynamic_shared_bytes()) &&
      !lies_in(sm.static_shared(), simt::multiprocessor::static_shared_bytes))
    simt::stop("an address lies outside the block's shared memory", sm.current().place);
}
inline void require_aligned(const void* p) {
  if (reinterpret_cast<std::uintptr_t>(p) % 16 != 0)
    simt::stop("an address is not a multiple of 16", simt::multiprocessor::here().current().place);
}

inline void let_next_begin() { simt::overlap::here().let_next_begin(); }
inline void wait_for_previous() { simt::overlap::here().wait_for_previous(); }

inline uint4 load_stream_16(const void* p) { return *static_cast<const uint4*>(p); }

enum class reuse { none, some };

template <reuse>
void copy_async_16(void* to, const void* from, bool valid) {
  require_shared(to, 16);
  require_aligned(to);
  if (valid) require_aligned(from);
  simt::multiprocessor::here().begin_copy({to, valid ? from : nullptr, 16});
}
inline void copy_commit() { simt::multiprocessor::here().close_copies(); }
template <int Newest>
void copy_wait() {
  simt::multiprocessor::here().land_copies(Newest);
}

struct alignas(8) barrier {
  std::uint64_t word;
};
inline void barrier_init(barrier& b, int arrivals) {
  require_shared(&b, sizeof b);
  simt::multiprocessor::here().make_phases(&b, arrivals);
}
inline void barriers_fence() {}
inline void barrier_arrive(barrier& b) { simt::multiprocessor::here().phases_of(&b).arrive(); }
inline void barrier_arrive_after_copies(barrier& b) { simt::multiprocessor::here().arrive_after_copies(&b); }
inline void barrier_expect(barrier& b, int bytes) {
  simt::multiprocessor::here().phases_of(&b).expect(static_cast<std::size_t>(bytes));
}
inline void barrier_wait(barrier& b, int parity) { simt::multiprocessor::here().wait_for_phase(&b, parity); }
inline void barrier_wait_opaque(barrier& b, int parity) { barrier_wait(b, parity); }
inline void copy_bulk(void* to, const void* from, int bytes, barrier& b) {
  require_shared(to, static_cast<std::size_t>(bytes));
  require_aligned(to);
  require_aligned(from);
  if (bytes <= 0 || bytes % 16 != 0)
    simt::stop("a bulk copy of a number of bytes that is no multiple of 16",
               simt::multiprocessor::here().current().place);
  simt::multiprocessor::here().begin_bulk_copy(&b, {to, from, static_cast<std::size_t>(bytes)});
}
inline void fence_async_proxy() {}

inline void named_barrier_wait(int id, int threads) {
  auto& sm = simt::multiprocessor::here();
  sm.wait_for_opening(id, sm.arrive(id, threads));
}
inline void named_barrier_arrive(int id, int threads) { simt::multiprocessor::here().arrive(id, threads); }

inline std::uint32_t transpose(std::uint32_t pair) {
  const auto* slots = simt::multiprocessor::here().exchange(pair);
  std::uint32_t r = 0;
  for (unsigned i = 0; i < 2; ++i) {  // of row `lane / 4` of the result: that column of row 2 (lane % 4) + i
    const unsigned row = 2 * (simt::lane() % 4) + i, column = simt::lane() / 4;
    const auto from = simt::from_lane<std::uint32_t>(slots, 4 * row + column / 2);
    r |= (from >> (16 * (column % 2)) & 0xffffu) << (16 * i);
  }
  return r;
}

inline std::uint32_t load_acquire(const std::uint32_t* p) { return *p; }

inline float load_once(const float* p) { return *p; }
inline float2 load_once_2(const float* p) {
  if (reinterpret_cast<std::uintptr_t>(p) % 8 != 0)
    simt::stop("an address is not a multiple of 8", simt::multiprocessor::here().current().place);
  return {p[0], p[1]};
}
inline float4 load_once_4(const float* p) {
  require_aligned(p);
  return {p[0], p[1], p[2], p[3]};
}

namespace simulated {

struct row_addresses {
  const void* row;
};

/// Rows of eight 16-bit numbers, 8 per matrix: register i of lane l holds the pair (row l / 4, columns 2 (l % 4) and
/// the next) of matrix i, or of its transpose.
inline void load_matrix(std::uint32_t (&r)[4], const void* row, bool transposed) {
  require_shared(row, 16);
  require_aligned(row);
  const auto* slots = simt::multiprocessor::here().exchange(row_addresses{row});
  const unsigned lane = simt::lane();
  for (unsigned matrix = 0; matrix < 4; ++matrix) {
    std::uint16_t pair[2];
    for (unsigned i = 0; i < 2; ++i) {
      const unsigned major = lane / 4, minor = 2 * (lane % 4) + i;
      const unsigned at_row = transposed ? minor : major, at_column = transposed ? major : minor;
      const auto from = simt::from_lane<row_addresses>(slots, 8 * matrix + at_row);
      std::memcpy(&pair[i], static_cast<const std::byte*>(from.row) + 2 * at_column, 2);
    }
    r[matrix] = pair[0] | static_cast<std::uint32_t>(pair[1]) << 16;
  }
}

struct mma_operands {
  std::uint32_t a[4], b[2];
};

template <class E>
float half_of(std::uint32_t bits, unsigned which) {
  E x;
  x.bits = static_cast<std::uint16_t>(bits >> (16 * which));
  return static_cast<float>(x);
}

}  // namespace simulated

inline void load_matrices(std::uint32_t (&r)[4], const void* row) { simulated::load_matrix(r, row, false); }
inline void load_matrices_transposed(std::uint32_t (&r)[4], const void* row) { simulated::load_matrix(r, row, true); }

/// m16n8k16: a lane holds of A (16 x 16) the pairs (g, 2q), (g + 8, 2q), (g, 2q + 8), (g + 8, 2q + 8), of B (16 x 8)
/// the pairs (2q, g), (2q + 8, g), of C (16 x 8) the numbers (g, 2q), (g, 2q + 1), (g + 8, 2q), (g + 8, 2q + 1), with
/// g = lane / 4 and q = lane % 4.
template <class E>
void multiply_add(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  using simulated::half_of;
  const auto* slots =
      simt::multiprocessor::here().exchange(simulated::mma_operands{{a[0], a[1], a[2], a[3]}, {b0, b1}});
  const unsigned g = simt::lane() / 4, q = simt::lane() % 4;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned row = g + 8 * (i / 2), column = 2 * q + i % 2;
    double sum = 0;
    for (unsigned k = 0; k < 16; ++k) {
      const auto of_a = simt::from_lane<simulated::mma_operands>(slots, 4 * (row % 8) + k % 8 / 2);
      const auto of_b = simt::from_lane<simulated::mma_operands>(slots, 4 * column + k % 8 / 2);
      sum += static_cast<double>(half_of<E>(of_a.a[row / 8 + 2 * (k / 8)], k % 2)) *
             static_cast<double>(half_of<E>(of_b.b[k / 8], k % 2));
    }
    c[i] += static_cast<float>(sum);
  }
}

template <class E>
std::uint32_t pack(float low, float high) {
  return static_cast<std::uint32_t>(E(low).bits) | static_cast<std::uint32_t>(E(high).bits) << 16;
}
template <class E>
float2 unpack(std::uint32_t pair) {
  return {simulated::half_of<E>(pair, 0), simulated::half_of<E>(pair, 1)};
}
template <class E>
float to_float(E x) {
  return static_cast<float>(x);
}
template <class E>
E from_float(float x) {
  return E(x);
}

inline float exp2(float x) { return std::exp2(x); }

}  // namespace kvsharer::inline v0::cuda::ptx
