// SPDX-License-Identifier: Apache-2.0
#include "cuda/generate.cuh"
#include "cuda/measure.cuh"

namespace mini_llama::cuda {

template <>
generation generate_on<kvsharer::float16>(kvsharer::cuda::stream_ref stream, const session& s,
                                          const kvsharer::share_map& map, const generation_request& request) {
  return generator<kvsharer::float16>(stream, s, map, request).run();
}

template <>
throughput_report measure_on<kvsharer::float16>(kvsharer::cuda::stream_ref stream, const throughput_request& request) {
  return measure<kvsharer::float16>(stream, request);
}

}  // namespace mini_llama::cuda
