// SPDX-License-Identifier: Apache-2.0
// A sweep's folder, as someone else may have left it: model.json, results.jsonl and the distances by `flat` on 4
// samples, with a line of %% between them. What is read becomes a page.
#include "report/page.hpp"

#include <algorithm>
#include <string>
#include <string_view>

#include "fuzz/target.hpp"
#include "support/load_error.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest = fuzz::text(data, size);
  for (const char* file : {"model.json", "results.jsonl", "distances-flat-4.json"}) {
    constexpr std::string_view between = "%%\n";
    const auto end = std::min(rest.find(between), rest.size());
    fuzz::folder().write(file, rest.substr(0, end));
    rest.remove_prefix(std::min(end + between.size(), rest.size()));
  }
  try {
    const mini_llama::report::sweep_results results = mini_llama::report::read_sweep(fuzz::folder().path());
    const std::string page = mini_llama::report::page(results);
    fuzz::promise(page.starts_with("<!doctype html>") && page.find("</html>") != page.npos, "a page is whole");
    fuzz::promise(page.find("<script") == page.npos, "a page has no script, whatever the texts say");
  } catch (const mini_llama::load_error&) {
  }
  return 0;
}
