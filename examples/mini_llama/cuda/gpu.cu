// SPDX-License-Identifier: Apache-2.0
#include "device/gpu.hpp"

#include <cuda_runtime.h>

#include <string_view>
#include <utility>
#include <vector>

#include "cuda/evaluate_on.hpp"
#include "kvsharer/backend/cuda/device.cuh"
#include "kvsharer/backend/cuda/status.cuh"
#include "kvsharer/backend/cuda/stream_ref.cuh"
#include "support/usage_error.hpp"

namespace mini_llama {
namespace cuda {

template <kvsharer::CacheElement E>
generation generate_on(kvsharer::cuda::stream_ref stream, const session& s, const kvsharer::cache_plan& plan,
                       const generation_request& request);
template <kvsharer::CacheElement E>
throughput_report measure_on(kvsharer::cuda::stream_ref stream, const throughput_request& request);
template <kvsharer::CacheElement E>
made_probe probe_on(kvsharer::cuda::stream_ref stream, const weight_source& source, const probe_request& wanted);

namespace {

/// Calls f(E{}) for the type with this name.
template <class F>
auto with_type(std::string_view name, F&& f) {
  if (name == "f32") return f(float{});
  if (name == "f16") return f(kvsharer::float16{});
  if (name == "bf16") return f(kvsharer::bfloat16{});
  throw usage_error("a GPU does not compute in \"" + std::string(name) + "\"; choose f32, f16 or bf16");
}

class first_gpu final : public gpu {
 public:
  first_gpu() : properties_(kvsharer::cuda::query_device()) {
    kvsharer::cuda::check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  }
  ~first_gpu() override { cudaStreamDestroy(stream_); }

  std::string name() const override { return kvsharer::cuda::device_name(); }

  generation generate(const session& s, const kvsharer::cache_plan& plan, const generation_request& request) override {
    return with_type(request.cache.type, [&]<class E>(E) { return generate_on<E>(stream_, s, plan, request); });
  }

  evaluation evaluate(const session& s, const kvsharer::cache_plan& plan, std::span<const int> ids,
                      kvsharer::index_t window, const gpu_choice& choice, const evaluation_progress& on_progress,
                      const std::function<bool()>& cancelled) override {
    return with_type(choice.type, [&]<class E>(E) {
      return evaluate_on<E>(stream_, s, plan, ids, window, choice, on_progress, cancelled);
    });
  }

  std::unique_ptr<text_reference> reference(const session& s, std::vector<int> ids, kvsharer::index_t window,
                                            const gpu_choice& choice, const evaluation_progress& on_progress,
                                            const std::function<bool()>& cancelled) override {
    return with_type(choice.type, [&]<class E>(E) {
      return reference_on<E>(stream_, s, std::move(ids), window, choice, on_progress, cancelled);
    });
  }

  std::vector<std::vector<float>> logits(const session& s, const kvsharer::cache_plan& plan, const token_batch& batch,
                                         const gpu_choice& choice) override {
    return with_type(choice.type, [&]<class E>(E) { return logits_on<E>(stream_, s, plan, batch, choice); });
  }

  throughput_report measure(const throughput_request& request) override {
    return with_type(request.type, [&]<class E>(E) { return measure_on<E>(stream_, request); });
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
