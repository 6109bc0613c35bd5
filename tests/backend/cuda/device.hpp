// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <span>
#include <vector>

#include "kvsharer/backend/cuda/attention/attend.cuh"
#include "kvsharer/backend/cuda/backend.cuh"
#include "kvsharer/backend/cuda/memory.cuh"
#include "kvsharer/backend/cuda/stream_ref.cuh"

/// What tests on the device share: a stream, memory that begins as NaN, and copies to and fro.
namespace device_test {

using namespace kvsharer;
namespace cuda = kvsharer::cuda;  // where CUB is included there is a ::cuda, too

class owned_stream {
 public:
  owned_stream() { cuda::check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate"); }
  owned_stream(const owned_stream&) = delete;
  ~owned_stream() {
    cudaStreamSynchronize(stream_);
    cudaStreamDestroy(stream_);
  }
  cuda::stream_ref ref() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

/// Every byte of it 0xff, which is NaN in all stored types.
template <class T>
cuda::device_buffer<T> poisoned(cuda::stream_ref stream, std::size_t size) {
  cuda::device_buffer<T> buffer(stream, size);
  if (size > 0) cuda::check(cudaMemsetAsync(buffer.data(), 0xff, buffer.bytes(), stream.get()), "cudaMemsetAsync");
  return buffer;
}

template <class T>
cuda::device_buffer<T> on_device(cuda::stream_ref stream, const std::vector<T>& host) {
  cuda::device_buffer<T> buffer(stream, host.size());
  if (!host.empty()) {
    cuda::check(cudaMemcpyAsync(buffer.data(), host.data(), buffer.bytes(), cudaMemcpyHostToDevice, stream.get()),
                "cudaMemcpyAsync");
    stream.synchronize();
  }
  return buffer;
}

template <class T>
std::vector<T> on_host(cuda::stream_ref stream, const T* device, std::size_t size) {
  std::vector<T> host(size);
  if (size > 0)
    cuda::check(cudaMemcpyAsync(host.data(), device, size * sizeof(T), cudaMemcpyDeviceToHost, stream.get()),
                "cudaMemcpyAsync");
  stream.synchronize();
  return host;
}
template <class T>
std::vector<T> on_host(const cuda::device_buffer<T>& device) {
  return on_host(device.stream(), device.data(), device.size());
}

/// The work that a callable gives to a stream, captured once and replayed.
class captured {
 public:
  template <class Work>
  captured(cuda::stream_ref stream, Work&& work) : stream_(stream) {
    cuda::check(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal), "capture");
    work();
    cuda::check(cudaStreamEndCapture(stream.get(), &graph_), "capture");
    cuda::check(cudaGraphInstantiate(&replay_, graph_, 0), "instantiate");
  }
  captured(const captured&) = delete;
  ~captured() {
    cudaGraphExecDestroy(replay_);
    cudaGraphDestroy(graph_);
  }
  void replay() const { cuda::check(cudaGraphLaunch(replay_, stream_.get()), "replay"); }

 private:
  cuda::stream_ref stream_;
  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t replay_ = nullptr;
};

/// A stream with a backend on it, scratch and status word included.
struct device {
  owned_stream owned;
  cuda::stream_ref stream = owned.ref();
  cuda::device_properties properties = cuda::query_device();
  cuda::device_buffer<std::byte> scratch = poisoned<std::byte>(stream, cuda::attention_scratch_bytes(properties, 256));
  cuda::device_buffer<cuda::status_word> status = [this] {
    cuda::device_buffer<cuda::status_word> word(stream, 1);
    cuda::check(cudaMemsetAsync(word.data(), 0, word.bytes(), stream.get()), "cudaMemsetAsync");
    return word;
  }();
  cuda::backend backend{stream, properties, scratch.data(), scratch.size(), status.data()};
};

}  // namespace device_test
