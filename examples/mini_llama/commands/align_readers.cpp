// SPDX-License-Identifier: Apache-2.0
#include "commands/align_readers.hpp"

#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <string>

#include "checkpoint/alignment.hpp"
#include "commands/number_options.hpp"
#include "support/files.hpp"
#include "support/interrupt.hpp"
#include "support/standard_output.hpp"

namespace mini_llama {

void add_alignment_options(CLI::App& command, alignment_arguments& a) {
  command.add_flag("--align", a.wanted,
                   "Fit an alignment of readers to the keys and values that they read, and write it beside the plan");
  command
      .add_option("--align-on", a.request.activations,
                  "Activations to fit it on: the full model's, or layer by layer the sharing model's own")
      ->capture_default_str()
      ->check(CLI::IsMember({"full", "shared"}));
  command.add_option("--align-ridge", a.request.ridge, "Ridge of the fit, as a share of the mean variance")
      ->capture_default_str()
      ->check(number(0));
  command.add_option("--align-keys", a.request.keys, "Length of the key gains")
      ->capture_default_str()
      ->check(CLI::IsMember({"least-squares", "one"}));
  command.add_flag(
      "--align-no-offset", [&a](std::int64_t) { a.request.offset = false; },
      "Fit without an offset of values, which becomes an output bias");
}

std::optional<alignment_outcome> align_readers(const model& m, const token_batch& samples, alignment_request request,
                                               const std::filesystem::path& out, search_outcome& found) {
  request.cancelled = interrupted;
  alignment_outcome fitted = fit_alignment(m, samples, found.evidence.report.map(), request);
  if (static_cast<int>(fitted.readers.size()) < found.evidence.report.map().reader_count()) {
    std::fprintf(stderr, "mini_llama: stopped by Ctrl-C before the readers were aligned\n");
    return std::nullopt;
  }
  const std::filesystem::path file = alignment_beside(out);
  const std::string bytes = alignment_bytes(fitted.readers);
  write_file_atomically(file, bytes);
  found.alignment = {file.filename().string(), alignment_hash(bytes), request.activations, request.ridge,
                     request.offset,           request.keys};
  return fitted;
}

nlohmann::json to_json(const alignment_outcome& fitted) {
  nlohmann::json readers = nlohmann::json::array();
  for (const auto& [l, e] : fitted.explained)
    readers.push_back({{"layer", l}, {"keys_explained", e.keys}, {"values_explained", e.values}});
  return {{"seconds", fitted.seconds}, {"readers", readers}};
}

void print_text(const alignment_outcome& fitted) {
  for (const auto& [l, e] : fitted.explained)
    print_out("layer %d aligned: %.1f %% of its keys and %.1f %% of its values follow from its owner's\n", l,
              100 * e.keys, 100 * e.values);
}

}  // namespace mini_llama
