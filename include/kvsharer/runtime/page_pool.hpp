// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "kvsharer/core/error.hpp"
#include "kvsharer/core/types.hpp"

namespace kvsharer::inline v0 {

/// Which pages are in use, and by how many sequences: a stack of free pages and a reference count per page. Pages are
/// numbers in [0, pages()); their bytes lie elsewhere. Nothing is allocated after construction; all members but
/// `reset` are O(1).
template <class Allocator = std::allocator<std::byte>>
class page_pool {
 public:
  /// All pages free; the lowest is handed out first. Precondition: 0 <= pages < 2^31.
  explicit page_pool(index_t pages, const Allocator& allocator = {})
      : free_(static_cast<std::size_t>(pages), allocator), references_(static_cast<std::size_t>(pages), allocator) {
    reset();
  }

  /// The other holds and counts no pages afterwards.
  page_pool(page_pool&& other) noexcept
      : free_(std::move(other.free_)),
        references_(std::move(other.references_)),
        free_count_(std::exchange(other.free_count_, 0)),
        shared_count_(std::exchange(other.shared_count_, 0)),
        peak_(std::exchange(other.peak_, 0)) {}

  page_pool(const page_pool&) = default;             ///< the same pages, with counts of its own
  page_pool& operator=(const page_pool&) = default;  ///< the same

  /// The other holds and counts no pages afterwards. If the allocators differ and stay where they are, the lists are
  /// copied, which may throw.
  page_pool& operator=(page_pool&& other) noexcept(std::is_nothrow_move_assignable_v<counts>) {
    if (this == &other) return *this;
    free_ = std::move(other.free_);
    references_ = std::move(other.references_);
    other.free_.clear();  // copied lists are still there
    other.references_.clear();
    free_count_ = std::exchange(other.free_count_, 0);
    shared_count_ = std::exchange(other.shared_count_, 0);
    peak_ = std::exchange(other.peak_, 0);
    return *this;
  }

  /// Pages in the pool, used and free.
  index_t pages() const noexcept { return static_cast<index_t>(references_.size()); }
  /// Pages that nobody holds.
  index_t free_pages() const noexcept { return free_count_; }

  /// Pages that are held more than once.
  index_t shared_pages() const noexcept { return shared_count_; }
  /// The most pages that were held at one time, since construction or `reset`.
  index_t peak_pages() const noexcept { return peak_; }

  /// Takes a free page, which then has one holder. Throws errc::pages_exhausted.
  std::int32_t acquire() {
    if (free_count_ == 0) throw error(errc::pages_exhausted, "all " + std::to_string(pages()) + " pages are in use");
    const std::int32_t page = free_[static_cast<std::size_t>(--free_count_)];
    references_[index(page)] = 1;
    peak_ = std::max(peak_, pages() - free_count_);
    return page;
  }

  /// Adds a holder. Precondition of this and the members below: the page is held.
  void share(std::int32_t page) noexcept { shared_count_ += ++references_[index(page)] == 2; }

  /// Removes a holder; the last one frees the page.
  void release(std::int32_t page) noexcept {
    const std::int32_t left = --references_[index(page)];
    shared_count_ -= left == 1;
    if (left == 0) free_[static_cast<std::size_t>(free_count_++)] = page;
  }

  /// Is the page held more than once?
  bool shared(std::int32_t page) const noexcept { return references_[index(page)] > 1; }
  /// How often the page is held.
  std::int32_t references(std::int32_t page) const noexcept { return references_[index(page)]; }

  /// Frees all pages, in the order of a new pool. O(pages).
  void reset() noexcept {
    free_count_ = pages();
    shared_count_ = peak_ = 0;
    for (std::size_t i = 0; i < free_.size(); ++i) free_[i] = static_cast<std::int32_t>(free_.size() - 1 - i);
    for (auto& count : references_) count = 0;
  }

  /// Bytes of the pool's own lists, without the pages.
  std::size_t allocated_bytes() const noexcept {
    return (free_.capacity() + references_.capacity()) * sizeof(std::int32_t);
  }

 private:
  using counts =
      std::vector<std::int32_t, typename std::allocator_traits<Allocator>::template rebind_alloc<std::int32_t>>;

  static std::size_t index(std::int32_t page) noexcept { return static_cast<std::size_t>(page); }

  counts free_;        // [pages], of which the first free_count_ are free pages
  counts references_;  // [pages]
  index_t free_count_ = 0;
  index_t shared_count_ = 0;
  index_t peak_ = 0;
};

}  // namespace kvsharer::inline v0
