// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "network/model.hpp"
#include "search/find_sharing.hpp"
#include "search/fit_alignment.hpp"
#include "text/calibration.hpp"

namespace CLI {
class App;
}

/// What `search --align` adds to a search.
namespace mini_llama {

struct alignment_arguments {
  bool wanted = false;
  alignment_request request;
};

void add_alignment_options(CLI::App& command, alignment_arguments& a);

/// Fits what brings the readers of the map that was found nearer to what they read, writes it beside the plan file
/// `out` and names it in the outcome. Nothing after Ctrl-C.
std::optional<alignment_outcome> align_readers(const model& m, const token_batch& samples, alignment_request request,
                                               const std::filesystem::path& out, search_outcome& found);

nlohmann::json to_json(const alignment_outcome& fitted);
void print_text(const alignment_outcome& fitted);

}  // namespace mini_llama
