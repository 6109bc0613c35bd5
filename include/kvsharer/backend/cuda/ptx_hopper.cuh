// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <concepts>
#include <cstdint>
#include <nv/target>

#include "kvsharer/config.hpp"
#include "kvsharer/core/element.hpp"

/// Machine instructions that only code compiled for sm_90a has: products of four warps together (wgmma), and registers
/// that warps hand over. Tests replace this header by one of plain C++, too.
namespace kvsharer::inline v0::cuda::ptx {

/// Is this code compiled for sm_90a? The functions below may be called only where it is.
KVSHARER_HD constexpr bool has_warpgroup_products() {
  NV_IF_ELSE_TARGET(NV_HAS_FEATURE_SM_90a, (return true;), (return false;))
}

/// All warps of a warpgroup from here on have Count registers a thread, a multiple of 8: fewer, or more than before.
template <int Count>
__device__ __forceinline__ void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Count));
}
template <int Count>
__device__ __forceinline__ void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Count));
}

/// Sums in registers, as the products below leave them. Keeps the compiler from moving work on them over a product.
template <int Fragments>
__device__ __forceinline__ void pin(float (&c)[Fragments][4]) {
#pragma unroll
  for (int j = 0; j < Fragments; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i) asm volatile("" : "+f"(c[j][i])::"memory");
}
/// Before products: the registers that they read or add to are as the code before has left them.
template <int Fragments>
__device__ __forceinline__ void products_begin(float (&c)[Fragments][4]) {
  pin(c);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
/// Closes a group of products; `products_wait<n>` returns once all but the newest n groups have ended, those that add
/// to `c` among them. Until then their registers must not be touched.
__device__ __forceinline__ void products_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int Newest, int Fragments>
__device__ __forceinline__ void products_wait(float (&c)[Fragments][4]) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Newest) : "memory");
  pin(c);
}

// The operands of the products. Fragment j holds columns 8 j and on, spread over each warp as in mma.m16n8k16; a warp
// has the 16 rows of its place in the warpgroup.
#define KVSHARER_DETAIL_FRAGMENT(c, j) "+f"(c[j][0]), "+f"(c[j][1]), "+f"(c[j][2]), "+f"(c[j][3])
#define KVSHARER_DETAIL_FRAGMENTS_8(c, j)                                                                         \
  KVSHARER_DETAIL_FRAGMENT(c, j), KVSHARER_DETAIL_FRAGMENT(c, j + 1), KVSHARER_DETAIL_FRAGMENT(c, j + 2),         \
      KVSHARER_DETAIL_FRAGMENT(c, j + 3), KVSHARER_DETAIL_FRAGMENT(c, j + 4), KVSHARER_DETAIL_FRAGMENT(c, j + 5), \
      KVSHARER_DETAIL_FRAGMENT(c, j + 6), KVSHARER_DETAIL_FRAGMENT(c, j + 7)
#define KVSHARER_DETAIL_NAMES_32                                                                                   \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, " \
  "%24, %25, %26, %27, %28, %29, %30, %31"
#define KVSHARER_DETAIL_NAMES_64                                                                                     \
  KVSHARER_DETAIL_NAMES_32                                                                                           \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, " \
  "%54, %55, %56, %57, %58, %59, %60, %61, %62, %63"

/// Starts c (64 x 128) = a (64 x 16) times the transpose of b (128 x 16), or += where `add`: operands of 16-bit numbers
/// in shared memory, given by descriptors, rows along the 16; sums in float.
template <class E>
__device__ __forceinline__ void warpgroup_multiply(float (&c)[16][4], std::uint64_t a, std::uint64_t b, bool add) {
#define KVSHARER_DETAIL_MULTIPLY(type)                                                           \
  asm volatile(                                                                                  \
      "{\n.reg .pred add;\nsetp.ne.b32 add, %66, 0;\n"                                           \
      "wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type " {" KVSHARER_DETAIL_NAMES_64 \
      "}, %64, %65, add, 1, 1, 0, 0;\n}"                                                         \
      : KVSHARER_DETAIL_FRAGMENTS_8(c, 0), KVSHARER_DETAIL_FRAGMENTS_8(c, 8)                     \
      : "l"(a), "l"(b), "r"(static_cast<std::uint32_t>(add)))
  if constexpr (std::same_as<E, float16>)
    KVSHARER_DETAIL_MULTIPLY("f16");
  else
    KVSHARER_DETAIL_MULTIPLY("bf16");
#undef KVSHARER_DETAIL_MULTIPLY
}

/// Starts c (64 x 8 Fragments) += a (64 x 16) times b (16 x 8 Fragments): a in registers, as in mma.m16n8k16, b in
/// shared memory with its rows along the columns.
template <class E, int Fragments>
__device__ __forceinline__ void warpgroup_multiply_add(float (&c)[Fragments][4], const std::uint32_t (&a)[4],
                                                       std::uint64_t b) {
  static_assert(Fragments == 8 || Fragments == 16);
#define KVSHARER_DETAIL_MULTIPLY_ADD_64(type)                                                            \
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type " {" KVSHARER_DETAIL_NAMES_32 \
               "}, {%32, %33, %34, %35}, %36, 1, 1, 1, 1;"                                               \
               : KVSHARER_DETAIL_FRAGMENTS_8(c, 0)                                                       \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))
#define KVSHARER_DETAIL_MULTIPLY_ADD_128(type)                                                            \
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type " {" KVSHARER_DETAIL_NAMES_64 \
               "}, {%64, %65, %66, %67}, %68, 1, 1, 1, 1;"                                                \
               : KVSHARER_DETAIL_FRAGMENTS_8(c, 0), KVSHARER_DETAIL_FRAGMENTS_8(c, 8)                     \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))
  constexpr bool f16 = std::same_as<E, float16>;
  if constexpr (Fragments == 8 && f16)
    KVSHARER_DETAIL_MULTIPLY_ADD_64("f16");
  else if constexpr (Fragments == 8)
    KVSHARER_DETAIL_MULTIPLY_ADD_64("bf16");
  else if constexpr (f16)
    KVSHARER_DETAIL_MULTIPLY_ADD_128("f16");
  else
    KVSHARER_DETAIL_MULTIPLY_ADD_128("bf16");
#undef KVSHARER_DETAIL_MULTIPLY_ADD_64
#undef KVSHARER_DETAIL_MULTIPLY_ADD_128
}
#undef KVSHARER_DETAIL_FRAGMENT
#undef KVSHARER_DETAIL_FRAGMENTS_8
#undef KVSHARER_DETAIL_NAMES_32
#undef KVSHARER_DETAIL_NAMES_64

}  // namespace kvsharer::inline v0::cuda::ptx
