// SPDX-License-Identifier: Apache-2.0
// All code that runs the decoder in this type, in one file, since each such file compiles all attention kernels.
#include "cuda/evaluate.cuh"
#include "cuda/generate.cuh"
#include "cuda/measure.cuh"
#include "cuda/text_reference.cuh"

namespace mini_llama::cuda {

template <>
generation generate_on<kvsharer::bfloat16>(kvsharer::cuda::stream_ref stream, const session& s,
                                           const kvsharer::cache_plan& plan, const generation_request& request) {
  return generator<kvsharer::bfloat16>(stream, s, plan, request).run();
}

template <>
throughput_report measure_on<kvsharer::bfloat16>(kvsharer::cuda::stream_ref stream, const throughput_request& request) {
  return measure<kvsharer::bfloat16>(stream, request);
}

template evaluation evaluate_on<kvsharer::bfloat16>(kvsharer::cuda::stream_ref, const session&,
                                                    const kvsharer::cache_plan&, std::span<const int>,
                                                    kvsharer::index_t, const gpu_choice&, const evaluation_progress&,
                                                    const std::function<bool()>&);

template std::unique_ptr<text_reference> reference_on<kvsharer::bfloat16>(kvsharer::cuda::stream_ref, const session&,
                                                                          std::vector<int>, kvsharer::index_t,
                                                                          const gpu_choice&, const evaluation_progress&,
                                                                          const std::function<bool()>&);

template std::vector<std::vector<float>> logits_on<kvsharer::bfloat16>(kvsharer::cuda::stream_ref, const session&,
                                                                       const kvsharer::cache_plan&, const token_batch&,
                                                                       const gpu_choice&);

}  // namespace mini_llama::cuda
