// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "kvsharer/backend/cuda/ptx.cuh"

/// The library's header of this name in plain C++, written from the PTX manual and not from the other header. Products
/// are those of ../../../../../warpgroup.hpp.
namespace kvsharer::inline v0::cuda::ptx {

constexpr bool has_warpgroup_products() { return true; }

template <int Count>
void give_registers() {
  static_assert(Count % 8 == 0 && Count >= 24 && Count <= 256);
}
template <int Count>
void take_registers() {
  static_assert(Count % 8 == 0 && Count >= 24 && Count <= 256);
}

namespace simulated {

/// The block's shared memory by its addresses.
class shared_numbers {
 public:
  template <class E>
  float at(std::uint32_t address) const {
    const std::size_t offset = address - first_shared_address;
    if (offset >= bytes_) require_shared(from_ + offset, 2);
    E x;
    std::memcpy(&x.bits, from_ + offset, 2);
    return static_cast<float>(x);
  }

 private:
  const std::byte* from_ = simt::multiprocessor::here().dynamic_shared();
  std::size_t bytes_ = simt::multiprocessor::here().dynamic_shared_bytes();
};
inline void require_valid(const simt::shared_matrix& m) {
  if (!m.valid())
    simt::stop("a descriptor is not one of 128-byte swizzling", simt::multiprocessor::here().current().place);
}

/// A warpgroup is four warps from a multiple of four on; each warp has 16 of the 64 rows.
inline simt::started_product product_here(float* sums, unsigned fragments) {
  const unsigned linear = simt::multiprocessor::here().current().place.linear;
  simt::started_product p;
  p.sums = sums;
  p.fragments = fragments;
  p.lane = linear % 32;
  p.warp_row = linear / 32 % 4 * 16;
  return p;
}
/// Column n of the thread's sums: 2 (lane % 4) and the next, of each eight.
inline unsigned column_of(const simt::started_product& p, unsigned n) { return n / 2 * 8 + p.lane % 4 * 2 + n % 2; }

inline void start(simt::started_product p) {
  auto& sm = simt::multiprocessor::here();
  // All lanes must start the same product together.
  const auto* slots = sm.exchange(p.b_descriptor);
  for (unsigned lane = 0; lane < simt::warp_size; ++lane)
    if (simt::from_lane<std::uint64_t>(slots, lane) != p.b_descriptor)
      simt::stop("lanes of a warp start different products", sm.current().place);
  if (!sm.current().products.start(std::move(p), sm.toss()))
    simt::stop("products are started without a fence before them", sm.current().place);
}

}  // namespace simulated

template <int Fragments>
void products_begin(float (&)[Fragments][4]) {
  simt::multiprocessor::here().current().products.fence();
}
inline void products_commit() { simt::multiprocessor::here().current().products.commit(); }
/// The whole warp waits, sometimes long enough for others to overwrite what its products still read.
template <int Newest, int Fragments>
void products_wait(float (&)[Fragments][4]) {
  auto& sm = simt::multiprocessor::here();
  if (simt::lane() == 0 && sm.toss()) {
    const auto ended = std::make_shared<bool>(false);
    sm.do_later([ended] { *ended = true; });
    sm.wait_until([ended] { return *ended; }, "a product does not end");
  }
  sm.sync_warp();
  if (!sm.current().products.wait(Newest))
    simt::stop("registers of an operand changed before its product ended", sm.current().place);
}

template <class E>
void warpgroup_multiply(float (&c)[16][4], std::uint64_t a, std::uint64_t b, bool add) {
  simt::started_product p = simulated::product_here(&c[0][0], 16);
  p.add = add;
  p.a_descriptor = a;
  p.b_descriptor = b;
  p.read = [](simt::started_product& it) {
    const simt::shared_matrix rows(it.a_descriptor), columns(it.b_descriptor);
    simulated::require_valid(rows);
    simulated::require_valid(columns);
    it.a.resize(2 * 16);
    it.b.resize(16 * 2 * it.fragments);
    const simulated::shared_numbers shared;
    for (unsigned k = 0; k < 16; ++k) {
      for (unsigned half = 0; half < 2; ++half)
        it.a[half * 16 + k] = shared.template at<E>(rows.of_row(it.warp_row + it.lane / 4 + 8 * half, k));
      for (unsigned n = 0; n < 2 * it.fragments; ++n)
        it.b[k * 2 * it.fragments + n] = shared.template at<E>(columns.of_row(simulated::column_of(it, n), k));
    }
  };
  simulated::start(std::move(p));
}

template <class E, int Fragments>
void warpgroup_multiply_add(float (&c)[Fragments][4], const std::uint32_t (&a)[4], std::uint64_t b) {
  using simulated::half_of;
  simt::started_product p = simulated::product_here(&c[0][0], Fragments);
  p.b_descriptor = b;
  p.a_registers = a;
  std::memcpy(p.a_copy, a, sizeof a);
  // The registers of a row's four lanes, as in mma.m16n8k16: (g, 2q), (g + 8, 2q), (g, 2q + 8), (g + 8, 2q + 8).
  const auto* slots = simt::multiprocessor::here().exchange(simulated::mma_operands{{a[0], a[1], a[2], a[3]}, {0, 0}});
  std::vector<float> rows(2 * 16);
  for (unsigned half = 0; half < 2; ++half)
    for (unsigned k = 0; k < 16; ++k) {
      const auto of_lane = simt::from_lane<simulated::mma_operands>(slots, p.lane / 4 * 4 + k % 8 / 2);
      rows[half * 16 + k] = half_of<E>(of_lane.a[half + 2 * (k / 8)], k % 2);
    }
  p.a_given = std::move(rows);
  p.read = [](simt::started_product& it) {
    const simt::shared_matrix columns(it.b_descriptor);
    simulated::require_valid(columns);
    it.a = it.a_given;
    it.b.resize(16 * 2 * it.fragments);
    const simulated::shared_numbers shared;
    for (unsigned k = 0; k < 16; ++k)
      for (unsigned n = 0; n < 2 * it.fragments; ++n)
        it.b[k * 2 * it.fragments + n] = shared.template at<E>(columns.of_column(simulated::column_of(it, n), k));
  };
  simulated::start(std::move(p));
}

}  // namespace kvsharer::inline v0::cuda::ptx
