// SPDX-License-Identifier: Apache-2.0
#include "cuda/search_probe.cuh"

namespace mini_llama::cuda {

template <>
made_probe probe_on<kvsharer::bfloat16>(kvsharer::cuda::stream_ref stream, const weight_source& source,
                                        const probe_request& wanted) {
  return make_probe_on<kvsharer::bfloat16>(stream, source, wanted);
}

}  // namespace mini_llama::cuda
