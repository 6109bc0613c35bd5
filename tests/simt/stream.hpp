// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <set>
#include <utility>
#include <vector>

#include "block.hpp"

/// Streams as queues: what is given to one runs when the host asks for its result, not before, so that a host that
/// reads too early sees poison.
namespace simt {

using operation = std::function<void()>;

struct graph {
  std::vector<operation> operations;
};

class stream {
 public:
  void push(operation work) { (capturing_ ? captured_.operations : queue_).push_back(std::move(work)); }

  void synchronize() {
    while (!queue_.empty()) {
      std::vector<operation> batch;
      batch.swap(queue_);
      for (const operation& work : batch) work();
    }
  }

  bool capturing() const { return capturing_; }
  void begin_capture() {
    capturing_ = true;
    captured_ = {};
  }
  graph end_capture() {
    capturing_ = false;
    return std::move(captured_);
  }

 private:
  std::vector<operation> queue_;
  graph captured_;
  bool capturing_ = false;
};

/// The device's clock, moved by work alone: what events measure is the same on every run.
inline double& device_milliseconds() {
  static double now = 0;
  return now;
}

/// All streams, so that a device synchronisation finds them.
inline std::set<stream*>& streams() {
  static std::set<stream*> all;
  return all;
}

inline stream& default_stream() {
  static stream one;
  return one;
}

inline void synchronize_all() {
  default_stream().synchronize();
  for (stream* s : streams()) s->synchronize();
}

/// Runs all blocks of a grid.
inline void run_grid(index3 grid, index3 block, std::size_t shared_bytes, const std::function<void()>& body) {
  constexpr double block_milliseconds = 1e-3;
  device_milliseconds() += block_milliseconds * grid.x * grid.y * grid.z;
  multiprocessor& sm = multiprocessor::here();
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) sm.run({x, y, z}, block, grid, shared_bytes, body);
}

}  // namespace simt
