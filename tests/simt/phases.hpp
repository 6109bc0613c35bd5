// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unordered_map>

/// Copies that land later, and the barriers that they arrive at (`mbarrier` in the PTX manual).
namespace simt {

/// A copy that was issued and has not landed.
struct pending_copy {
  void* to;
  const void* from;  ///< null: zeros
  std::size_t bytes;

  void land() const {
    if (from)
      std::memcpy(to, from, bytes);
    else
      std::memset(to, 0, bytes);
  }
};

/// One barrier. A phase ends when all have arrived and all bytes that were expected have landed.
class phase_barrier {
 public:
  explicit phase_barrier(int arrivals) : arrivals_(arrivals), missing_(arrivals) {}

  void arrive() {
    if (missing_ == 0) fail("more arrivals at a barrier than it was made for");
    --missing_;
    end_phase();
  }
  void expect(std::size_t bytes) { bytes_ += bytes; }
  /// Of a copy that lands now.
  void count(std::size_t bytes) {
    if (bytes > bytes_) fail("more bytes were copied than a barrier was told to expect");
    bytes_ -= bytes;
    end_phase();
  }
  /// Has the phase of this parity ended, so that the current one is of the other?
  bool ended(int parity) const { return phase_ % 2 != parity; }

 private:
  [[noreturn]] static void fail(const char* why) {
    std::fprintf(stderr, "simt: %s\n", why);
    std::abort();
  }
  void end_phase() {
    if (missing_ != 0 || bytes_ != 0) return;
    missing_ = arrivals_;
    ++phase_;
  }

  int arrivals_, missing_, phase_ = 0;
  std::size_t bytes_ = 0;  // expected and not landed
};

/// The barriers of a block, by their addresses.
class phase_table {
 public:
  void clear() { barriers_.clear(); }
  void make(const void* at, int arrivals) { barriers_.insert_or_assign(at, phase_barrier(arrivals)); }
  phase_barrier& of(const void* at) {
    const auto found = barriers_.find(at);
    if (found == barriers_.end()) {
      std::fprintf(stderr, "simt: a barrier that was not made\n");
      std::abort();
    }
    return found->second;
  }

 private:
  std::unordered_map<const void*, phase_barrier> barriers_;
};

}  // namespace simt
