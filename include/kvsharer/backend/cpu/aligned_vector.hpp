// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <new>
#include <vector>

#include "kvsharer/config.hpp"

namespace kvsharer::inline v0::cpu::detail {

/// Allocates at multiples of a cache line, which is as wide as the widest register.
template <class T>
struct cache_line_allocator {
  using value_type = T;
  static constexpr std::align_val_t line{64};

  cache_line_allocator() = default;
  template <class U>
  cache_line_allocator(const cache_line_allocator<U>&) noexcept {}

  T* allocate(std::size_t n) {
    if (n > static_cast<std::size_t>(-1) / sizeof(T)) throw std::bad_array_new_length();
    return static_cast<T*>(::operator new(n * sizeof(T), line));
  }
  void deallocate(T* p, std::size_t) noexcept { ::operator delete(p, line); }

  friend bool operator==(cache_line_allocator, cache_line_allocator) = default;
};

template <class T>
using aligned_vector = std::vector<T, cache_line_allocator<T>>;

}  // namespace kvsharer::inline v0::cpu::detail
