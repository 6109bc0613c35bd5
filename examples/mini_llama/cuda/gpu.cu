// SPDX-License-Identifier: Apache-2.0
#include "gpu.hpp"

#include <cuda_runtime.h>

#include "kvsharer/backend/cuda/device.cuh"
#include "kvsharer/backend/cuda/status.cuh"
#include "kvsharer/backend/cuda/stream_ref.cuh"
#include "usage_error.hpp"

namespace mini_llama {
namespace cuda {

template <kvsharer::CacheElement E>
generation generate_on(kvsharer::cuda::stream_ref stream, const session& s, const kvsharer::share_map& map,
                       const generation_request& request);
template <kvsharer::CacheElement E>
throughput_report measure_on(kvsharer::cuda::stream_ref stream, const throughput_request& request);

namespace {

/// f(E) for the type of that name. Throws usage_error where there is none.
template <class F>
decltype(auto) with_element(const std::string& name, F&& f) {
  if (name == "f32") return f(float{});
  if (name == "f16") return f(kvsharer::float16{});
  if (name == "bf16") return f(kvsharer::bfloat16{});
  throw usage_error("there is no type \"" + name + "\"; choose f32, f16 or bf16");
}

class first_gpu final : public gpu {
 public:
  first_gpu() : properties_(kvsharer::cuda::query_device()) {
    kvsharer::cuda::check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  }
  ~first_gpu() override { cudaStreamDestroy(stream_); }

  std::string name() const override { return kvsharer::cuda::device_name(); }

  generation generate(const session& s, const kvsharer::share_map& map, const generation_request& request) override {
    return with_element(request.cache.type,
                        [&](auto element) { return generate_on<decltype(element)>(stream_, s, map, request); });
  }

  throughput_report measure(const throughput_request& request) override {
    return with_element(request.type, [&](auto element) { return measure_on<decltype(element)>(stream_, request); });
  }

 private:
  kvsharer::cuda::device_properties properties_;
  cudaStream_t stream_ = nullptr;
};

}  // namespace
}  // namespace cuda

std::unique_ptr<gpu> open_gpu() { return std::make_unique<cuda::first_gpu>(); }

}  // namespace mini_llama
