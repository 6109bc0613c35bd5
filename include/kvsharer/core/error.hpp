// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <variant>

#include "kvsharer/config.hpp"

/// The library's errors. Every error has a number, and the number is a heading in docs/troubleshooting.md.
namespace kvsharer::inline v0 {

/// Numbers of errors at run time, from 301 on. E1xx and E2xx are compile-time messages (concepts/require.hpp).
enum class errc : int {
  bad_map = 301,              ///< a share map that names a later layer, a negative one, or has the wrong length
  bad_shape = 302,            ///< sizes that do not agree or are not positive
  bad_argument = 303,         ///< an option outside its range
  maps_differ = 304,          ///< a plan with different maps for keys and values where only one map is supported
  bad_rule = 305,             ///< a rule of a plan that is not well formed, or for layers that it cannot be for
  unknown_method = 306,       ///< a codec, selector or budget that this version does not have
  mismatched_samples = 401,   ///< calibration samples of different lengths
  short_samples = 402,        ///< calibration samples of fewer than two tokens
  bad_share_count = 404,      ///< more readers asked for than layers allow
  share_count_missed = 405,   ///< fewer readers found than asked for, if the caller asked for an exception
  not_finite = 406,           ///< NaN or infinity in calibration data
  pages_exhausted = 501,      ///< the page pool has no free page
  sequences_exhausted = 502,  ///< every sequence slot is in use
  capacity_exceeded = 503,    ///< a sequence would grow past the capacity
  unknown_sequence = 504,     ///< a sequence id without a sequence
  not_an_owner = 505,         ///< a write to a layer that reads another layer's cache
  out_of_range = 506,         ///< a layer or token index outside the cache
  bad_stream = 507,           ///< a saved sequence that is incomplete, damaged or of another cache
  plan_syntax = 601,          ///< a plan file, or a plan's line of integers, that is not what it should be
  plan_version = 602,         ///< a plan of another schema version
  plan_model = 603,           ///< a plan made for another model
  file_access = 604,          ///< a file that cannot be read or written
  alignment_file = 605,       ///< an alignment file that is missing or not the one that the plan names
  no_device = 701,            ///< no CUDA device, or one that is too old
  cuda_call = 702,            ///< a call of the CUDA runtime that failed
  device_memory = 703,        ///< device memory that could not be allocated
  short_scratch = 704,        ///< less scratch memory on the device than a call needs
  device_refusal = 705,       ///< a kernel that skipped part of its work
};

/// An error: its number, and a text that says what is wrong and what to do. `what()` begins with "kvsharer E<number>:".
class error : public std::runtime_error {
 public:
  /// `what()` becomes "kvsharer E<number>: <text>".
  error(errc code, const std::string& text)
      : std::runtime_error("kvsharer E" + std::to_string(static_cast<int>(code)) + ": " + text), code_(code) {}

  /// The number.
  errc code() const noexcept { return code_; }

 private:
  errc code_;
};

/// A value, or the error that explains why there is none. For parsing and editing, where failure is an expected result.
template <class T>
class result {
 public:
  /// A success.
  result(T value) : state_(std::move(value)) {}
  /// A failure.
  result(error failure) : state_(std::move(failure)) {}

  /// Is there a value?
  bool has_value() const noexcept { return state_.index() == 0; }
  /// The same.
  explicit operator bool() const noexcept { return has_value(); }

  /// The value; throws the stored error if there is none.
  const T& value() const& {
    if (!has_value()) throw std::get<1>(state_);
    return std::get<0>(state_);
  }
  /// The value, moved out of the result. Throws the stored error if there is none.
  T&& value() && {
    if (!has_value()) throw std::get<1>(state_);
    return std::get<0>(std::move(state_));
  }

  /// The error. Precondition: `!has_value()`.
  const error& failure() const { return std::get<1>(state_); }

 private:
  std::variant<T, error> state_;
};

}  // namespace kvsharer::inline v0
