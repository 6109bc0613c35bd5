// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "block.hpp"

/// Streams as queues: what is given to one runs when the host asks for its result, not before, so that a host that
/// reads too early sees poison.
namespace simt {

struct operation {
  std::function<void()> work;
  const void* kernel = nullptr;  ///< of a launch
  unsigned blocks = 0;           ///< of the launch
  bool overlaps = false;         ///< the launch may begin before the one in front of it has ended
};

struct graph {
  std::vector<operation> operations;
};

/// A launch that may overlap begins, at random, before the one in front of it, if that is of a kernel which lets the
/// next one begin: as far as the first call of wait_for_previous. So what it reads too early is not there yet.
class overlap {
 public:
  static overlap& here() {
    static overlap one;
    return one;
  }

  /// Runs a launch. `in_front`, if any, was left for its wait, or for its end.
  void run(const operation& launch, const std::function<void()>& in_front) {
    const auto outer = std::exchange(in_front_, in_front);
    const operation* const outer_launch = std::exchange(launch_, &launch);
    launch.work();
    wait_for_previous();
    launch_ = outer_launch;
    in_front_ = outer;
  }
  bool pending() const { return static_cast<bool>(in_front_); }
  void wait_for_previous() {
    if (const auto work = std::exchange(in_front_, nullptr)) multiprocessor::inside(work);
  }
  void let_next_begin() { early_.insert({launch_->kernel, launch_->blocks}); }
  /// May `next` begin before `launch`? That `launch` lets it is known once its like has run.
  bool may_wait(const operation& launch, const operation& next) {
    return next.overlaps && early_.count({launch.kernel, launch.blocks}) != 0 && random_() % 4 != 0;
  }
  unsigned draw(unsigned below) { return static_cast<unsigned>(random_() % below); }

 private:
  std::function<void()> in_front_;
  const operation* launch_ = nullptr;  // that runs
  std::set<std::pair<const void*, unsigned>> early_;
  std::mt19937 random_{1};
};

class stream {
 public:
  void push(operation o) { (capturing_ ? captured_.operations : queue_).push_back(std::move(o)); }
  void push(std::function<void()> work) { push(operation{std::move(work)}); }

  void synchronize() {
    while (!queue_.empty()) {
      std::vector<operation> batch;
      batch.swap(queue_);
      std::function<void()> in_front;  // launches that have not begun
      for (std::size_t i = 0; i < batch.size(); ++i) {
        const operation& o = batch[i];
        if (!o.overlaps && in_front) std::exchange(in_front, nullptr)();
        const auto run = [&o, before = std::exchange(in_front, nullptr)] { overlap::here().run(o, before); };
        if (i + 1 < batch.size() && overlap::here().may_wait(o, batch[i + 1]))
          in_front = run;
        else
          run();
      }
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
  const unsigned first = overlap::here().pending() ? overlap::here().draw(grid.x) : 0;  // which block is too early
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) sm.run({(first + x) % grid.x, y, z}, block, grid, shared_bytes, body);
}

}  // namespace simt
