// SPDX-License-Identifier: Apache-2.0
#include "network/forward.hpp"

namespace mini_llama::detail {

template void run_layer(const model&, kvsharer::shared_cache<>&, const kvsharer::share_plan&,
                        std::span<const sequence_slice>, kvsharer::layer_id, layer_part, layer_options, float*,
                        workspace&);

}  // namespace mini_llama::detail
