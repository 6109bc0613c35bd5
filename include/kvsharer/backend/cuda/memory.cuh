// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <concepts>
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

#include "kvsharer/backend/cuda/status.cuh"
#include "kvsharer/backend/cuda/stream_ref.cuh"
#include "kvsharer/core/error.hpp"

namespace kvsharer::inline v0::cuda {

/// Where device memory comes from, in stream order: memory allocated on a stream may be used on it at once, and freed
/// memory may still be in use by work given to the stream earlier. An engine's own pool is one.
///
/// Required of `R r`, copied by value (a handle):
///   r.allocate(stream_ref, bytes) -> void*      at a multiple of 256 bytes; throws when there is none
///   r.deallocate(stream_ref, void*, bytes)      does not throw
template <class R>
concept MemoryResource = std::copyable<R> && requires(R r, stream_ref stream, void* p, std::size_t bytes) {
  { r.allocate(stream, bytes) } -> std::same_as<void*>;
  r.deallocate(stream, p, bytes);
};

/// A stream-ordered pool of the CUDA runtime: the device's own (cudaMallocAsync), or an engine's, which is borrowed.
struct pool_resource {
  cudaMemPool_t pool = nullptr;  ///< null: the device's current pool

  /// Throws errc::device_memory when the device does not have `bytes` left; the device stays usable.
  void* allocate(stream_ref stream, std::size_t bytes) const {
    void* p = nullptr;
    const cudaError_t outcome = pool != nullptr ? cudaMallocFromPoolAsync(&p, bytes, pool, stream.get())
                                                : cudaMallocAsync(&p, bytes, stream.get());
    if (outcome != cudaSuccess) {
      cudaGetLastError();  // a failed allocation leaves the device usable
      throw error(errc::device_memory, "the device has no " + std::to_string(bytes) + " bytes left (" +
                                           cudaGetErrorName(outcome) +
                                           "); ask for a smaller batch, context or page pool");
    }
    return p;
  }
  /// Freed in stream order: earlier work on the stream may still use the memory.
  void deallocate(stream_ref stream, void* p, std::size_t) const noexcept { cudaFreeAsync(p, stream.get()); }
};
static_assert(MemoryResource<pool_resource>);

namespace detail {

template <class R>
concept stream_first_resource = requires(R& r, cudaStream_t stream, void* p, std::size_t bytes) {
  { r.allocate(stream, bytes, bytes) } -> std::same_as<void*>;
  r.deallocate(stream, p, bytes, bytes);
};
template <class R>
concept stream_last_resource = requires(R& r, cudaStream_t stream, void* p, std::size_t bytes) {
  { r.allocate_async(bytes, bytes, stream) } -> std::same_as<void*>;
  r.deallocate_async(p, bytes, bytes, stream);
};

}  // namespace detail

/// A stream-ordered resource of an engine in a form of libcu++ and RMM, whose streams are made from a cudaStream_t.
///
/// Required of `R r`, either
///   r.allocate(stream, bytes, alignment) -> void*          r.deallocate(stream, void*, bytes, alignment)
/// or, as until CCCL 3.0,
///   r.allocate_async(bytes, alignment, stream) -> void*    r.deallocate_async(void*, bytes, alignment, stream)
template <class R>
concept AlignedResource = detail::stream_first_resource<R> || detail::stream_last_resource<R>;

/// Such a resource as a MemoryResource. It is borrowed and must outlive all memory that came from it.
template <AlignedResource R>
class borrowed_resource {
 public:
  static constexpr std::size_t alignment = 256;  ///< of all memory, in bytes

  /// The resource stays the engine's.
  explicit borrowed_resource(R& resource) noexcept : resource_(&resource) {}
  /// Throws what the resource throws.
  void* allocate(stream_ref stream, std::size_t bytes) const {
    if constexpr (detail::stream_first_resource<R>)
      return resource_->allocate(stream.get(), bytes, alignment);
    else
      return resource_->allocate_async(bytes, alignment, stream.get());
  }
  /// Freed in stream order.
  void deallocate(stream_ref stream, void* p, std::size_t bytes) const noexcept {
    if constexpr (detail::stream_first_resource<R>)
      resource_->deallocate(stream.get(), p, bytes, alignment);
    else
      resource_->deallocate_async(p, bytes, alignment, stream.get());
  }

 private:
  R* resource_;
};

/// `size` numbers in device memory, uninitialised. Allocated and freed in the order of one stream.
template <class T, MemoryResource R = pool_resource>
class device_buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  /// `size` numbers of T. Throws what the resource throws.
  explicit device_buffer(stream_ref stream, std::size_t size = 0, R resource = {})
      : stream_(stream), resource_(std::move(resource)), size_(size) {
    if (size > 0) data_ = static_cast<T*>(resource_.allocate(stream_, bytes()));
  }
  /// Leaves `other` empty.
  device_buffer(device_buffer&& other) noexcept
      : stream_(other.stream_),
        resource_(std::move(other.resource_)),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  /// Swaps the two, streams and resources included.
  device_buffer& operator=(device_buffer&& other) noexcept {
    std::swap(stream_, other.stream_);
    std::swap(resource_, other.resource_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~device_buffer() {
    if (data_ != nullptr) resource_.deallocate(stream_, data_, bytes());
  }

  /// Device memory at a multiple of 256 bytes; null for a size of 0.
  T* data() noexcept { return data_; }
  /// The same, read only.
  const T* data() const noexcept { return data_; }
  /// Numbers, not bytes.
  std::size_t size() const noexcept { return size_; }
  /// size() * sizeof(T).
  std::size_t bytes() const noexcept { return size_ * sizeof(T); }
  /// The stream in whose order the memory is allocated and freed.
  stream_ref stream() const noexcept { return stream_; }

 private:
  stream_ref stream_;
  R resource_;
  T* data_ = nullptr;
  std::size_t size_;
};

}  // namespace kvsharer::inline v0::cuda
