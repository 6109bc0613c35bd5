// SPDX-License-Identifier: Apache-2.0
#include "cuda/generate.cuh"
#include "cuda/measure.cuh"

namespace mini_llama::cuda {

template <>
generation generate_on<float>(kvsharer::cuda::stream_ref stream, const session& s, const kvsharer::share_map& map,
                              const generation_request& request) {
  return generator<float>(stream, s, map, request).run();
}

template <>
throughput_report measure_on<float>(kvsharer::cuda::stream_ref stream, const throughput_request& request) {
  return measure<float>(stream, request);
}

}  // namespace mini_llama::cuda
