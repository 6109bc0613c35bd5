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
/// An object of the block in static shared memory, one for each type; its value is undefined at first.
template <class T>
__device__ __forceinline__ T& static_shared() {
  __shared__ T object;
  return object;
}
/// The address of shared memory as instructions take it.
__device__ inline std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
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
  const std::uint32_t address = shared_address(to);
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
/// Phases have parities in turns, 0 first. From here to fence_async_proxy, all of it is for sm_90 and newer.
struct alignas(8) barrier {
  std::uint64_t word;
};

/// Makes a barrier of so many arrivals per phase. One thread calls this before the block meets.
__device__ inline void barrier_init(barrier& b, int arrivals) {
  NV_IF_TARGET(NV_PROVIDES_SM_90,
               (asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&b)), "r"(arrivals)
                             : "memory");))
}
/// After barrier_init, by the same thread: copies in bulk, too, find the barriers as they were made.
__device__ inline void barriers_fence() {
  NV_IF_TARGET(NV_PROVIDES_SM_90,
               (asm volatile("fence.mbarrier_init.release.cluster;\nfence.proxy.async.shared::cta;" ::
                                 : "memory");))
}
__device__ inline void barrier_arrive(barrier& b) {
  NV_IF_TARGET(NV_PROVIDES_SM_90, (asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&b))
                                                : "memory");))
}
/// The thread arrives when all copies that it has started by copy_async_16 have landed. Does not wait.
__device__ inline void barrier_arrive_after_copies(barrier& b) {
  NV_IF_TARGET(NV_PROVIDES_SM_90,
               (asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(shared_address(&b))
                             : "memory");))
}
/// The phase also waits for so many bytes, which must be announced before they are copied and before the last arrival.
__device__ inline void barrier_expect(barrier& b, int bytes) {
  NV_IF_TARGET(
      NV_PROVIDES_SM_90,
      (asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&b)), "r"(bytes)
                    : "memory");))
}
/// Returns once the phase of this parity has ended: at once, if it is the one before the current phase. That of parity
/// 1 counts as ended at first.
__device__ inline void barrier_wait(barrier& b, int parity) {
  std::uint32_t ended = 0;
  do {
    NV_IF_ELSE_TARGET(NV_PROVIDES_SM_90,
                      (asm volatile("{\n"
                                    ".reg .pred p;\n"
                                    "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                                    "selp.u32 %0, 1, 0, p;\n"
                                    "}"
                                    : "=r"(ended)
                                    : "r"(shared_address(&b)), "r"(parity)
                                    : "memory");),
                      (ended = 1;))
  } while (ended == 0);
}
/// The same, but its loop is one instruction to the compiler, which therefore leaves the code around it in one piece.
/// Machine code and registers differ by the form of the wait, so a kernel keeps the one that it was tuned with.
__device__ inline void barrier_wait_opaque(barrier& b, int parity) {
  NV_IF_TARGET(NV_PROVIDES_SM_90, (asm volatile("{\n"
                                                ".reg .pred ended;\n"
                                                "again:\n"
                                                "mbarrier.try_wait.parity.shared::cta.b64 ended, [%0], %1;\n"
                                                "@!ended bra again;\n"
                                                "}" ::"r"(shared_address(&b)),
                                                "r"(parity)
                                                : "memory");))
}

/// Starts to copy bytes, a multiple of 16, from device to shared memory, both at multiples of 16, and counts them at
/// the barrier when they have landed. What was copied is the first to leave the L2.
__device__ inline void copy_bulk(void* to, const void* from, int bytes, barrier& b) {
  NV_IF_TARGET(
      NV_PROVIDES_SM_90,
      (std::uint64_t policy; asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;"
                                 : "=l"(policy));
       asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, "
                    "[%3], %4;" ::"r"(shared_address(to)),
                    "l"(from), "r"(bytes), "r"(shared_address(&b)), "l"(policy)
                    : "memory");))
}

/// What this thread has written to shared memory, or knows to have been written, comes before the copies in bulk and
/// the products of warpgroups (ptx_hopper.cuh) that are started afterwards: these do not access memory as threads do.
__device__ inline void fence_async_proxy() {
  NV_IF_TARGET(NV_PROVIDES_SM_90, (asm volatile("fence.proxy.async.shared::cta;" ::: "memory");))
}

/// Barriers 1 to 15 of a block, for whole warps of it; 0 is that of __syncthreads. `threads` is the number of those
/// that wait or only arrive.
__device__ inline void named_barrier_wait(int id, int threads) {
  asm volatile("barrier.cta.sync.aligned %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ inline void named_barrier_arrive(int id, int threads) {
  asm volatile("barrier.cta.arrive.aligned %0, %1;" ::"r"(id), "r"(threads) : "memory");
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
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
__device__ inline void load_matrices_transposed(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
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
