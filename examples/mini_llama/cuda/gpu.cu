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
made_probe probe_on(kvsharer::cuda::stream_ref stream, const weight_source& source, const probe_request& wanted);

namespace {

class first_gpu final : public gpu {
 public:
  first_gpu() : properties_(kvsharer::cuda::query_device()) {
    kvsharer::cuda::check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  }
  ~first_gpu() override { cudaStreamDestroy(stream_); }

  std::string name() const override { return kvsharer::cuda::device_name(); }

  generation generate(const session& s, const kvsharer::share_map& map, const generation_request& request) override {
    const kvsharer::cuda::stream_ref stream(stream_);
    if (request.cache.type == "f32") return generate_on<float>(stream, s, map, request);
    if (request.cache.type == "f16") return generate_on<kvsharer::float16>(stream, s, map, request);
    if (request.cache.type == "bf16") return generate_on<kvsharer::bfloat16>(stream, s, map, request);
    throw usage_error("there is no cache type \"" + request.cache.type + "\"; choose f32, f16 or bf16");
  }

  made_probe make_probe(const weight_source& source, const probe_request& wanted) override {
    const kvsharer::cuda::stream_ref stream(stream_);
    switch (type_of(source, wanted)) {
      case dtype::f16:
        return probe_on<kvsharer::float16>(stream, source, wanted);
      case dtype::bf16:
        return probe_on<kvsharer::bfloat16>(stream, source, wanted);
      default:
        return probe_on<float>(stream, source, wanted);
    }
  }

 private:
  kvsharer::cuda::device_properties properties_;
  cudaStream_t stream_ = nullptr;
};

}  // namespace
}  // namespace cuda

std::unique_ptr<gpu> open_gpu() { return std::make_unique<cuda::first_gpu>(); }

}  // namespace mini_llama
