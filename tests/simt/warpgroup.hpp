// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

/// Products of warpgroups (wgmma) as one thread sees them: they are started, and some time later their sums are there.
/// Written from the PTX manual (sections on asynchronous warpgroup matrix instructions and on their descriptors).
namespace simt {

/// A matrix of 16-bit numbers in shared memory with 128-byte swizzling, 16 columns or rows of it, given by a
/// descriptor.
class shared_matrix {
 public:
  explicit shared_matrix(std::uint64_t descriptor)
      : address_(static_cast<std::uint32_t>(descriptor & 0x3fff) << 4),
        leading_(static_cast<std::uint32_t>(descriptor >> 16 & 0x3fff) << 4),
        stride_(static_cast<std::uint32_t>(descriptor >> 32 & 0x3fff) << 4),
        valid_(descriptor >> 62 == 1 && (descriptor >> 49 & 7) == 0) {}

  /// Is it swizzled by 128 bytes, from a multiple of 1024 bytes on?
  bool valid() const { return valid_; }

  /// The address of number k of row i, where a row's 16 numbers are neighbours ("K-major"): eight rows of 128 bytes,
  /// and `stride` bytes on the next eight.
  std::uint32_t of_row(unsigned i, unsigned k) const {
    return swizzled(address_ + i / 8 * stride_ + i % 8 * 128 + k * 2);
  }
  /// The same where a column's numbers are neighbours ("MN-major"): 64 of them and eight k fill 1024 bytes; the next 64
  /// are `leading` bytes on, the next eight k `stride` bytes.
  std::uint32_t of_column(unsigned i, unsigned k) const {
    return swizzled(address_ + i / 64 * leading_ + k / 8 * stride_ + k % 8 * 128 + i % 64 * 2);
  }

 private:
  /// Bits 4 to 6 of an address change with bits 7 to 9.
  static std::uint32_t swizzled(std::uint32_t address) { return address ^ (address >> 7 & 7) << 4; }

  std::uint32_t address_, leading_, stride_;
  bool valid_;
};

/// One product of a thread: its two rows, 16 columns of them, times the columns of b that it has sums of.
struct started_product {
  float* sums = nullptr;  ///< [fragments][4], in the thread's registers
  unsigned fragments = 0;
  bool add = true;
  /// Fills `a`, [2 rows][16], and `b`, [16][2 fragments], from shared memory.
  void (*read)(started_product&) = nullptr;
  std::uint64_t a_descriptor = 0, b_descriptor = 0;
  const std::uint32_t* a_registers = nullptr;  ///< that must not change before the product has ended
  std::uint32_t a_copy[4] = {};
  std::vector<float> a, b, a_given;  ///< operands as numbers; a_given: those of a_registers
  unsigned warp_row = 0;             ///< the first of the warp's rows
  unsigned lane = 0;
};

/// The products that a thread has started. Their sums are NaN until the thread has waited for them.
class warpgroup_products {
 public:
  void clear() { *this = {}; }

  void fence() { fenced_ = true; }
  /// False: registers may not be as the products expect them, since no fence came before.
  bool start(started_product p, bool read_now) {
    if (!fenced_) return false;
    if (read_now) p.read(p);
    shadow(p);
    open_.push_back(std::move(p));
    return true;
  }
  void commit() {
    committed_.push_back(std::move(open_));
    open_.clear();
    fenced_ = false;
  }
  /// False: registers of an operand have changed meanwhile.
  bool wait(std::size_t but_newest) {
    bool unchanged = true;
    while (committed_.size() > but_newest) {
      for (started_product& p : committed_.front()) unchanged = end(p) && unchanged;
      committed_.erase(committed_.begin());
    }
    show();
    return unchanged;
  }
  bool pending() const { return !open_.empty() || !committed_.empty(); }

 private:
  struct hidden_sums {
    float* sums;
    std::vector<float> values;
    unsigned products;  // that have not ended
  };

  hidden_sums& of(const float* sums) {
    std::size_t i = 0;
    while (hidden_[i].sums != sums) ++i;
    return hidden_[i];
  }
  /// Keeps the true sums and leaves NaN in the registers.
  void shadow(const started_product& p) {
    for (hidden_sums& h : hidden_)
      if (h.sums == p.sums) return void(++h.products);
    hidden_.push_back({p.sums, std::vector<float>(p.sums, p.sums + 4 * p.fragments), 1});
    for (unsigned i = 0; i < 4 * p.fragments; ++i) p.sums[i] = std::numeric_limits<float>::quiet_NaN();
  }
  bool end(started_product& p) {
    if (p.a.empty()) p.read(p);
    hidden_sums& h = of(p.sums);
    for (unsigned j = 0; j < p.fragments; ++j)
      for (unsigned i = 0; i < 4; ++i) {
        double sum = 0;
        for (unsigned k = 0; k < 16; ++k)
          sum +=
              static_cast<double>(p.a[i / 2 * 16 + k]) * static_cast<double>(p.b[k * 2 * p.fragments + 2 * j + i % 2]);
        float& c = h.values[4 * j + i];
        c = static_cast<float>(p.add ? static_cast<double>(c) + sum : sum);
      }
    --h.products;
    bool unchanged = true;
    for (unsigned i = 0; p.a_registers && i < 4; ++i) unchanged = unchanged && p.a_registers[i] == p.a_copy[i];
    return unchanged;
  }
  void show() {
    for (std::size_t i = 0; i < hidden_.size();)
      if (hidden_[i].products == 0) {
        for (std::size_t n = 0; n < hidden_[i].values.size(); ++n) hidden_[i].sums[n] = hidden_[i].values[n];
        hidden_.erase(hidden_.begin() + static_cast<std::ptrdiff_t>(i));
      } else {
        ++i;
      }
  }

  std::vector<std::vector<started_product>> committed_;
  std::vector<started_product> open_;
  std::vector<hidden_sums> hidden_;
  bool fenced_ = false;
};

}  // namespace simt
