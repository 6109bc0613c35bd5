// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

#include "../stream.hpp"

// What the library and its tests use of the CUDA runtime, on the host. Names are CUDA's.

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(...)
#define __grid_constant__

// Errors.

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorNoDevice = 100,
  cudaErrorStreamCaptureUnsupported = 900
};
inline const char* cudaGetErrorName(cudaError_t e) {
  switch (e) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    default:
      return "cudaErrorInvalidValue";
  }
}
inline const char* cudaGetErrorString(cudaError_t e) { return cudaGetErrorName(e); }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaPeekAtLastError() { return cudaSuccess; }

// Devices.

enum cudaDeviceAttr {
  cudaDevAttrMaxSharedMemoryPerBlockOptin,
  cudaDevAttrMultiProcessorCount,
  cudaDevAttrComputeCapabilityMajor,
  cudaDevAttrComputeCapabilityMinor,
  cudaDevAttrL2CacheSize,
  cudaDevAttrMaxSharedMemoryPerMultiprocessor
};
inline cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
/// Few multiprocessors, so that small tests cut their work into many pieces all the same.
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = 227 * 1024;
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = 228 * 1024;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = 3;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 9;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      break;
    case cudaDevAttrL2CacheSize:
      *value = 50 << 20;
      break;
  }
  return cudaSuccess;
}

struct cudaDeviceProp {
  char name[256];
};
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::strcpy(properties->name, "the stand-in for a device");
  return cudaSuccess;
}

// Streams, events, graphs.

using cudaStream_t = simt::stream*;
struct cudaEventRecord {
  simt::stream* on = nullptr;
  std::shared_ptr<double> at = std::make_shared<double>(0);  // outlives the event where work still names it
};
using cudaEvent_t = cudaEventRecord*;
using cudaGraph_t = simt::graph*;
using cudaGraphExec_t = simt::graph*;

inline constexpr unsigned cudaStreamNonBlocking = 1;
inline constexpr unsigned cudaEventDefault = 0;
inline constexpr unsigned cudaEventDisableTiming = 2;

namespace simt {
inline stream& of(cudaStream_t s) { return s ? *s : default_stream(); }
}  // namespace simt

inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) {
  *s = new simt::stream;
  simt::streams().insert(*s);
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  if (simt::of(s).capturing()) return cudaErrorStreamCaptureUnsupported;
  simt::of(s).synchronize();
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t s) {
  s->synchronize();
  simt::streams().erase(s);
  delete s;
  return cudaSuccess;
}
inline cudaError_t cudaDeviceSynchronize() {
  simt::synchronize_all();
  return cudaSuccess;
}
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) {
  *e = new cudaEventRecord;
  return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t e) {
  delete e;
  return cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
  e->on = &simt::of(s);
  e->on->push([at = e->at] { *at = simt::device_milliseconds(); });
  return cudaSuccess;
}
inline cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  *milliseconds = static_cast<float>(*to->at - *from->at);
  return cudaSuccess;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t e) {
  if (e->on) e->on->synchronize();
  return cudaSuccess;
}

enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal,
  cudaStreamCaptureModeThreadLocal,
  cudaStreamCaptureModeRelaxed
};
inline cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode) {
  simt::of(s).begin_capture();
  return cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* g) {
  *g = new simt::graph(simt::of(s).end_capture());
  return cudaSuccess;
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* run, cudaGraph_t g, unsigned long long) {
  *run = new simt::graph(*g);
  return cudaSuccess;
}
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t run, cudaStream_t s) {
  for (const simt::operation& work : run->operations) simt::of(s).push(work);
  return cudaSuccess;
}
inline cudaError_t cudaGraphDestroy(cudaGraph_t g) {
  delete g;
  return cudaSuccess;
}
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t g) {
  delete g;
  return cudaSuccess;
}

// Memory. Device memory is the host's, filled with NaN.

enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice, cudaMemcpyDefault };

inline cudaError_t cudaMalloc(void** p, std::size_t bytes) {
  *p = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (!*p) return cudaErrorMemoryAllocation;
  std::memset(*p, 0xff, bytes);
  return cudaSuccess;
}
template <class T>
cudaError_t cudaMalloc(T** p, std::size_t bytes) {
  return cudaMalloc(reinterpret_cast<void**>(p), bytes);
}
inline cudaError_t cudaFree(void* p) {
  simt::synchronize_all();
  std::free(p);
  return cudaSuccess;
}
inline cudaError_t cudaMallocAsync(void** p, std::size_t bytes, cudaStream_t s) {
  if (simt::of(s).capturing()) return cudaErrorStreamCaptureUnsupported;
  return cudaMalloc(p, bytes);
}
inline cudaError_t cudaFreeAsync(void* p, cudaStream_t s) {
  simt::of(s).push([p] { std::free(p); });
  return cudaSuccess;
}
namespace simt {
struct memory_pool {
  std::uint64_t given = 0;  // bytes, those that came back included
};
}  // namespace simt
using cudaMemPool_t = simt::memory_pool*;
inline cudaError_t cudaMallocFromPoolAsync(void** p, std::size_t bytes, cudaMemPool_t pool, cudaStream_t s) {
  const cudaError_t outcome = cudaMallocAsync(p, bytes, s);
  if (outcome == cudaSuccess) pool->given += bytes;
  return outcome;
}
enum cudaMemAllocationType { cudaMemAllocationTypePinned = 1 };
enum cudaMemLocationType { cudaMemLocationTypeDevice = 1 };
struct cudaMemLocation {
  cudaMemLocationType type;
  int id;
};
struct cudaMemPoolProps {
  cudaMemAllocationType allocType;
  cudaMemLocation location;
};
enum cudaMemPoolAttr { cudaMemPoolAttrUsedMemHigh = 8 };
inline cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps*) {
  *pool = new simt::memory_pool;
  return cudaSuccess;
}
inline cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr, void* value) {
  *static_cast<std::uint64_t*>(value) = pool->given;
  return cudaSuccess;
}
inline cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool) {
  delete pool;
  return cudaSuccess;
}
/// Always the same: what is allocated here does not count.
inline cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* all) {
  *free = *all = std::size_t{1} << 30;
  return cudaSuccess;
}
inline cudaError_t cudaMallocHost(void** p, std::size_t bytes) { return cudaMalloc(p, bytes); }
inline cudaError_t cudaFreeHost(void* p) { return cudaFree(p); }
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t s) {
  simt::of(s).push([=] { std::memmove(to, from, bytes); });
  return cudaSuccess;
}
inline cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
  simt::synchronize_all();
  std::memmove(to, from, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t s) {
  simt::of(s).push([=] { std::memset(to, value, bytes); });
  return cudaSuccess;
}

// Built-in types and names of the language.

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

namespace simt {
/// One number of the place of the thread that runs.
template <index3 thread_place::*Part, unsigned index3::*Axis>
struct place_number {
  operator unsigned() const { return (multiprocessor::here().current().place.*Part).*Axis; }
};
template <index3 thread_place::*Part>
struct place_numbers {
  place_number<Part, &index3::x> x;
  place_number<Part, &index3::y> y;
  place_number<Part, &index3::z> z;
};
}  // namespace simt

inline constexpr simt::place_numbers<&simt::thread_place::thread> threadIdx{};
inline constexpr simt::place_numbers<&simt::thread_place::block> blockIdx{};
inline constexpr simt::place_numbers<&simt::thread_place::block_size> blockDim{};
inline constexpr simt::place_numbers<&simt::thread_place::grid_size> gridDim{};

inline void __syncthreads() { simt::multiprocessor::here().sync_block(); }
inline void __syncwarp(unsigned = 0xffffffffu) { simt::multiprocessor::here().sync_warp(); }
inline void __threadfence() {}

namespace simt {
inline unsigned lane() { return multiprocessor::here().current().place.linear % warp_size; }
template <class T>
T from_lane(const exchange_slot* slots, unsigned lane) {
  T value;
  std::memcpy(&value, slots[lane % warp_size].bytes, sizeof(T));
  return value;
}
}  // namespace simt

template <class T>
T __shfl_sync(unsigned, T mine, int from, int width = 32) {
  const unsigned base = simt::lane() / static_cast<unsigned>(width) * static_cast<unsigned>(width);
  return simt::from_lane<T>(simt::multiprocessor::here().exchange(mine),
                            base + static_cast<unsigned>(from) % static_cast<unsigned>(width));
}
template <class T>
T __shfl_xor_sync(unsigned, T mine, int mask, int = 32) {
  return simt::from_lane<T>(simt::multiprocessor::here().exchange(mine), simt::lane() ^ static_cast<unsigned>(mask));
}
template <class T>
T __shfl_up_sync(unsigned, T mine, unsigned delta, int = 32) {
  const auto* slots = simt::multiprocessor::here().exchange(mine);
  return simt::lane() < delta ? mine : simt::from_lane<T>(slots, simt::lane() - delta);
}
template <class T>
T __shfl_down_sync(unsigned, T mine, unsigned delta, int = 32) {
  const auto* slots = simt::multiprocessor::here().exchange(mine);
  return simt::lane() + delta > 31 ? mine : simt::from_lane<T>(slots, simt::lane() + delta);
}
inline unsigned __ballot_sync(unsigned, int predicate) {
  const auto* slots = simt::multiprocessor::here().exchange(predicate);
  unsigned bits = 0;
  for (unsigned i = 0; i < simt::warp_size; ++i) bits |= (simt::from_lane<int>(slots, i) != 0 ? 1u : 0u) << i;
  return bits;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) == 0xffffffffu; }

inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }
/// Bytes of two words, y the high one, as the selector's four digits say.
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const std::uint64_t both = std::uint64_t{y} << 32 | x;
  unsigned r = 0;
  for (unsigned i = 0; i < 4; ++i)
    r |= static_cast<unsigned>(both >> (8 * (selector >> (4 * i) & 7u)) & 0xffu) << (8 * i);
  return r;
}
inline int __popc(unsigned x) { return std::popcount(x); }
template <class T>
T __ldg(const T* p) {
  return *p;
}
template <class T>
T atomicCAS(T* p, T compare, T value) {
  const T old = *p;
  if (old == compare) *p = value;
  return old;
}
template <class T>
T atomicAdd(T* p, std::type_identity_t<T> value) {
  const T old = *p;
  *p = old + value;
  return old;
}
template <class T>
T atomicMax(T* p, std::type_identity_t<T> value) {
  const T old = *p;
  *p = std::max(old, value);
  return old;
}
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __log2f(float x) { return std::log2(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
using std::exp2f;
using std::fmaf;
using std::fmaxf;
using std::fminf;
using std::log2f;

// Launches.

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
template <class... P>
cudaError_t cudaFuncSetAttribute(void (*)(P...), cudaFuncAttribute, int bytes) {
  return bytes <= 227 * 1024 ? cudaSuccess : cudaErrorInvalidValue;
}
/// As if all kernels had static shared memory, which those for sm_90a have.
struct cudaFuncAttributes {
  std::size_t sharedSizeBytes = 0;
};
template <class... P>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, void (*)(P...)) {
  attributes->sharedSizeBytes = simt::multiprocessor::static_shared_bytes;
  return cudaSuccess;
}
template <class... P>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void (*)(P...), int, std::size_t) {
  *blocks = 2;
  return cudaSuccess;
}

enum cudaLaunchAttributeID { cudaLaunchAttributeProgrammaticStreamSerialization };
struct cudaLaunchAttributeValue {
  int programmaticStreamSerializationAllowed;
};
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  cudaLaunchAttributeValue val;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
  cudaLaunchAttribute* attrs = nullptr;
  unsigned numAttrs = 0;
};

template <class... P, class... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(P...), A&&... arguments) {
  const dim3 g = config->gridDim, b = config->blockDim;
  if (g.x == 0 || g.y == 0 || g.z == 0 || g.y > 65535 || g.z > 65535 || b.x == 0 || b.x * b.y * b.z > 1024 ||
      config->dynamicSmemBytes > 227 * 1024)
    return cudaErrorInvalidConfiguration;
  const std::tuple<std::remove_cvref_t<P>...> held(std::forward<A>(arguments)...);
  static_assert(sizeof(held) <= 4096, "kernel arguments are at most 4 KB");
  bool overlaps = false;
  for (unsigned i = 0; i < config->numAttrs; ++i)
    overlaps = overlaps || config->attrs[i].val.programmaticStreamSerializationAllowed != 0;
  const auto run = [g, b, bytes = config->dynamicSmemBytes, kernel, held] {
    simt::run_grid({g.x, g.y, g.z}, {b.x, b.y, b.z}, bytes, [&] { std::apply(kernel, held); });
  };
  simt::of(config->stream).push(simt::operation{run, reinterpret_cast<const void*>(kernel), g.x * g.y * g.z, overlaps});
  return cudaSuccess;
}
