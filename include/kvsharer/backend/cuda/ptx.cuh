// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <nv/target>

#include "kvsharer/core/element.hpp"

/// Only the machine instructions that have no name in CUDA C++, for sm_80 and newer. Kernels use these names, so that
/// tests can replace this header by one of plain C++.
namespace kvsharer::inline v0::cuda::ptx {

/// The block's dynamic shared memory, at a multiple of 128 bytes.
__device__ inline std::byte* dynamic_shared() {
  extern __shared__ __align__(128) std::byte kvsharer_shared[];
  return kvsharer_shared;
}

/// Lets the stream's next kernel start on multiprocessors with room, if it was launched to overlap (launch.cuh).
__device__ inline void let_next_begin() {
  NV_IF_TARGET(NV_PROVIDES_SM_90, (asm volatile("griddepcontrol.launch_dependents;" ::: "memory");))
}
/// In a kernel that was launched to overlap: returns once the previous kernel has ended and its writes are visible.
/// Kernels never overlap on older devices.
__device__ inline void wait_for_previous() {
  NV_IF_TARGET(NV_PROVIDES_SM_90, (asm volatile("griddepcontrol.wait;" ::: "memory");))
}

/// Loads 16 bytes that no kernel writes during the launch and that will not be read again soon.
__device__ inline uint4 load_stream_16(const void* p) {
  uint4 r;
  asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w)
               : "l"(p));
  return r;
}

/// Will other code soon read the same device memory again?
enum class reuse { none, some };

/// Starts to copy 16 bytes from device to shared memory, both at multiples of 16; writes zeros unless `valid`, without
/// reading `from`. Data without reuse is the first to leave the L2.
template <reuse Reuse>
__device__ void copy_async_16(void* to, const void* from, bool valid) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(to));
  if constexpr (Reuse == reuse::none) {
    std::uint64_t policy;
    asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    asm volatile("cp.async.cg.shared.global.L2::cache_hint.L2::128B [%0], [%1], 16, %2, %3;" ::"r"(address), "l"(from),
                 "r"(valid ? 16 : 0), "l"(policy)
                 : "memory");
  } else {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(valid ? 16 : 0)
                 : "memory");
  }
}
/// Closes a group of copies; `copy_wait<n>` returns once all but this thread's newest n groups have landed.
__device__ inline void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int Newest>
__device__ void copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Newest) : "memory");
}

/// A barrier in shared memory that counts arrivals and bytes: a phase ends when both are complete, and the next begins.
/// Phases have parities in turns, 0 first. From here to fence_bulk_copies, all of it is for sm_90 and newer.
struct alignas(8) phase_barrier {
  std::uint64_t word;
};
namespace detail {
__device__ inline std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}
}  // namespace detail

/// Makes a barrier of so many arrivals per phase. One thread calls this, then fence_barriers, then the block meets.
__device__ inline void init_barrier(phase_barrier* barrier, int arrivals) {
  NV_IF_TARGET(
      NV_PROVIDES_SM_90,
      (asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(detail::shared_address(barrier)), "r"(arrivals)
                    : "memory");))
}
/// After init_barrier: copies in bulk, too, find the barriers as they were made.
__device__ inline void fence_barriers() {
  NV_IF_TARGET(NV_PROVIDES_SM_90,
               (asm volatile("fence.mbarrier_init.release.cluster;\nfence.proxy.async.shared::cta;" ::
                                 : "memory");))
}
__device__ inline void arrive(phase_barrier* barrier) {
  NV_IF_TARGET(NV_PROVIDES_SM_90,
               (asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(detail::shared_address(barrier))
                             : "memory");))
}
/// The phase also waits for so many bytes, which must be announced before they are copied and before the last arrival.
__device__ inline void expect_bytes(phase_barrier* barrier, int bytes) {
  NV_IF_TARGET(
      NV_PROVIDES_SM_90,
      (asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(detail::shared_address(barrier)),
                    "r"(bytes)
                    : "memory");))
}
/// Returns once the phase of this parity has ended: at once, if it is the one before the current phase.
__device__ inline void wait_for_phase(phase_barrier* barrier, int parity) {
  std::uint32_t ended = 0;
  do {
    NV_IF_ELSE_TARGET(NV_PROVIDES_SM_90,
                      (asm volatile("{\n"
                                    ".reg .pred p;\n"
                                    "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                                    "selp.u32 %0, 1, 0, p;\n"
                                    "}"
                                    : "=r"(ended)
                                    : "r"(detail::shared_address(barrier)), "r"(parity)
                                    : "memory");),
                      (ended = 1;))
  } while (ended == 0);
}

/// Starts to copy bytes, a multiple of 16, from device to shared memory, both at multiples of 16, and counts them at
/// the barrier when they have landed. What was copied is the first to leave the L2.
__device__ inline void copy_bulk(void* to, const void* from, int bytes, phase_barrier* barrier) {
  NV_IF_TARGET(
      NV_PROVIDES_SM_90,
      (std::uint64_t policy; asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;"
                                 : "=l"(policy));
       asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, "
                    "[%3], %4;" ::"r"(detail::shared_address(to)),
                    "l"(from), "r"(bytes), "r"(detail::shared_address(barrier)), "l"(policy)
                    : "memory");))
}

/// After a thread's own writes to shared memory: copies in bulk to the same place come behind them.
__device__ inline void fence_bulk_copies() {
  NV_IF_TARGET(NV_PROVIDES_SM_90, (asm volatile("fence.proxy.async.shared::cta;" ::: "memory");))
}

/// The first Threads threads of the block wait for each other, whole warps of them; the others are not concerned.
template <int Threads>
__device__ void sync_first() {
  asm volatile("bar.sync 1, %0;" ::"n"(Threads) : "memory");
}

/// Transposes an 8 x 8 matrix of 16-bit numbers that is spread over the warp: a lane holds the pair in row lane / 4,
/// columns 2 (lane % 4) and the next.
__device__ inline std::uint32_t transpose(std::uint32_t pair) {
  std::uint32_t r;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(r) : "r"(pair));
  return r;
}

/// Loads a number that other blocks change; what they wrote before they changed it is visible afterwards.
__device__ inline std::uint32_t load_acquire(const std::uint32_t* p) {
  std::uint32_t x;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(x) : "l"(p) : "memory");
  return x;
}

/// Loads a number that another block may have written during this launch: bypasses the L1, which is not coherent.
__device__ inline float load_once(const float* p) { return __ldcg(p); }
__device__ inline float2 load_once_2(const float* p) { return __ldcg(reinterpret_cast<const float2*>(p)); }
__device__ inline float4 load_once_4(const float* p) { return __ldcg(reinterpret_cast<const float4*>(p)); }

/// Loads four 8 x 8 matrices of 16-bit numbers from shared memory; lane l gives the address of row l % 8 of matrix l /
/// 8. From each matrix, or its transpose, a lane gets the pair in row l / 4, columns 2 (l % 4) and the next.
__device__ inline void load_matrices(std::uint32_t (&r)[4], const void* row) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
__device__ inline void load_matrices_transposed(std::uint32_t (&r)[4], const void* row) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

/// c (16 x 8) += a (16 x 16) times b (16 x 8): 16-bit numbers, sums in float, spread over the warp as in mma.m16n8k16.
template <class E>
__device__ void multiply_add(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  if constexpr (std::same_as<E, float16>)
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
        "%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  else
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, "
        "%2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Rounds two numbers to E, the first in the low half.
template <class E>
__device__ std::uint32_t pack(float low, float high) {
  std::uint32_t pair;
  if constexpr (std::same_as<E, float16>)
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  else
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

template <class E>
__device__ float to_float(E x) {
  if constexpr (std::same_as<E, float16>) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
  } else {
    return static_cast<float>(x);  // bfloat16 is a shift, float itself
  }
}
template <class E>
__device__ float2 unpack(std::uint32_t pair) {
  E low, high;
  low.bits = static_cast<std::uint16_t>(pair);
  high.bits = static_cast<std::uint16_t>(pair >> 16);
  return make_float2(to_float(low), to_float(high));
}

/// Rounds one number to E.
template <class E>
__device__ E from_float(float x) {
  if constexpr (std::same_as<E, float>) {
    return x;
  } else {
    E y;
    y.bits = static_cast<std::uint16_t>(pack<E>(x, 0.0f));
    return y;
  }
}

/// 2 to the power of x, to two units in the last place; 0 for minus infinity.
__device__ inline float exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

}  // namespace kvsharer::inline v0::cuda::ptx
