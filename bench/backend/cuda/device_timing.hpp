// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <benchmark/benchmark.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "kvsharer/backend/cuda/memory.cuh"
#include "kvsharer/backend/cuda/status.cuh"
#include "kvsharer/backend/cuda/stream_ref.cuh"

/// Timing by the device's own clock.
namespace device_timing {

using namespace kvsharer;

class timed_stream {
 public:
  timed_stream() {
    cuda::check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
    cuda::check(cudaEventCreate(&begin_), "cudaEventCreate");
    cuda::check(cudaEventCreate(&end_), "cudaEventCreate");
  }
  timed_stream(const timed_stream&) = delete;
  ~timed_stream() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
    cudaStreamDestroy(stream_);
  }
  cuda::stream_ref ref() const { return stream_; }

  /// Seconds between the events around `work`, which may wait for the stream itself.
  template <class Work>
  double seconds_of(Work&& work) {
    cuda::check(cudaEventRecord(begin_, stream_), "cudaEventRecord");
    work();
    cuda::check(cudaEventRecord(end_, stream_), "cudaEventRecord");
    cuda::check(cudaEventSynchronize(end_), "cudaEventSynchronize");
    float milliseconds = 0;
    cuda::check(cudaEventElapsedTime(&milliseconds, begin_, end_), "cudaEventElapsedTime");
    return milliseconds * 1e-3;
  }

  /// Captures what `work` gives to the stream, and returns the seconds of one replay.
  template <class Work>
  std::vector<double> replay_seconds(Work&& work, int replays) {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t run = nullptr;
    cuda::check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    work();
    cuda::check(cudaStreamEndCapture(stream_, &graph), "cudaStreamEndCapture");
    cuda::check(cudaGraphInstantiate(&run, graph, 0), "cudaGraphInstantiate");
    std::vector<double> seconds;
    for (int i = 0; i < replays + 3; ++i) {
      cuda::check(cudaEventRecord(begin_, stream_), "cudaEventRecord");
      cuda::check(cudaGraphLaunch(run, stream_), "cudaGraphLaunch");
      cuda::check(cudaEventRecord(end_, stream_), "cudaEventRecord");
      cuda::check(cudaEventSynchronize(end_), "cudaEventSynchronize");
      float milliseconds = 0;
      cuda::check(cudaEventElapsedTime(&milliseconds, begin_, end_), "cudaEventElapsedTime");
      if (i >= 3) seconds.push_back(milliseconds * 1e-3);
    }
    cudaGraphExecDestroy(run);
    cudaGraphDestroy(graph);
    return seconds;
  }

 private:
  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

inline double median(std::vector<double> x) {
  const auto middle = x.begin() + static_cast<std::ptrdiff_t>(x.size() / 2);
  std::nth_element(x.begin(), middle, x.end());
  return *middle;
}

/// Bytes per second of a large copy inside the device, read and written bytes both counted. Not captured: as part of a
/// graph the same copy is a fifth slower.
inline double copy_bytes_per_second() {
  static const double rate = [] {
    timed_stream stream;
    constexpr std::size_t bytes = std::size_t{1} << 30;
    cuda::device_buffer<std::byte> from(stream.ref(), bytes), to(stream.ref(), bytes);
    cuda::check(cudaMemsetAsync(from.data(), 1, bytes, stream.ref().get()), "cudaMemsetAsync");
    std::vector<double> seconds;
    for (int i = 0; i < 20; ++i)
      seconds.push_back(stream.seconds_of([&] {
        cuda::check(cudaMemcpyAsync(to.data(), from.data(), bytes, cudaMemcpyDeviceToDevice, stream.ref().get()),
                    "cudaMemcpyAsync");
      }));
    return 2.0 * bytes / median(seconds);
  }();
  return rate;
}

/// Runs one benchmark: `work(i)` gives the i-th of `sets` rotated input sets to the stream; all of them are one replay.
/// Reports seconds for one set and the counters that follow from `bytes` moved by it.
template <class Work>
void measure(benchmark::State& state, timed_stream& stream, int sets, double bytes, Work&& work) {
  work(0);  // loads modules, and sets attributes that a capture may not
  stream.ref().synchronize();
  double seconds = 0;
  for (auto unused : state) {
    (void)unused;
    seconds = median(stream.replay_seconds(
                  [&] {
                    for (int i = 0; i < sets; ++i) work(i);
                  },
                  25)) /
              sets;
    state.SetIterationTime(seconds);
  }
  state.counters["bytes_per_s"] = bytes / seconds;
  state.counters["of_copy"] = bytes / seconds / copy_bytes_per_second();
  state.counters["copy_bytes_per_s"] = copy_bytes_per_second();
}

}  // namespace device_timing
