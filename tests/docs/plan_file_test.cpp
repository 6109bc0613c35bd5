// SPDX-License-Identifier: Apache-2.0
// The code of docs/how-to/save-a-plan.md, and the file shown in docs/reference/plan-file.md.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "docs/markdown.hpp"
#include "kvsharer/io/plan_json.hpp"
#include "kvsharer/io/plan_text.hpp"
#include "kvsharer/io/python_map.hpp"
#include "kvsharer/kvsharer.hpp"

namespace {

using kvsharer::share_map;

kvsharer::distance_matrix three_layers() {
  kvsharer::distance_matrix d(3);
  d.set({{1}, {0}}, 2.5);
  d.set({{2}, {0}}, 3.0);
  d.set({{2}, {1}}, 3.25);
  return d;
}

// [save]
void save(const std::filesystem::path& file, const kvsharer::plan_file& found) {
  // Written beside the target and renamed, so that the file is never half there.
  const std::filesystem::path part = file.string() + ".part";
  std::ofstream out(part);
  if (!(out << kvsharer::write_plan(found)).flush())
    throw kvsharer::error(kvsharer::errc::file_access, "cannot write " + part.string());
  out.close();
  std::filesystem::rename(part, file);
}
// [/save]

// [load]
kvsharer::cache_plan load(const std::filesystem::path& file, const kvsharer::model_identity& running) {
  std::ifstream in(file);
  if (!in) throw kvsharer::error(kvsharer::errc::file_access, "cannot read " + file.string());
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const kvsharer::plan_file found = kvsharer::read_plan(text, file.string());
  kvsharer::check_same_model(found.model, running);  // throws E603 and names what differs
  return found.plan;
}
// [/load]

}  // namespace

TEST_CASE("a plan is saved, loaded and refused for another model") {
  const kvsharer::distance_matrix distances = three_layers();
  const kvsharer::search_report report = kvsharer::find_share_map(distances, kvsharer::policy::dissimilar_first{},
                                                                  [](const share_map&) { return 0.75; }, {.share = 1});
  // [identity]
  // The engine says which model this is. The fingerprint is any text that changes with the weights.
  const kvsharer::model_identity model{
      .layers = 3, .kv_heads = 2, .head_dim = 64, .rope = "half-split theta=10000", .fingerprint = "0a1b2c3d"};
  const kvsharer::search_settings settings{.share = 1,
                                           .threshold = 0.5,
                                           .metric = "mean-row-norm",
                                           .order = "dissimilar",
                                           .similarity = "mean-of-cosines",
                                           .samples = 30,
                                           .sample_tokens = 64};
  const kvsharer::plan_file found{model, report.plan, kvsharer::search_evidence{settings, report, distances}};
  // [/identity]

  const std::filesystem::path file = std::filesystem::temp_directory_path() / "kvsharer_docs_plan_file_test.json";
  save(file, found);
  CHECK(load(file, model) == report.plan);
  CHECK(!std::filesystem::exists(file.string() + ".part"));
  kvsharer::model_identity other = model;
  other.fingerprint = "ffffffff";
  CHECK_THROWS_AS(load(file, other), kvsharer::error);
  std::filesystem::remove(file);
  CHECK_THROWS_AS(load(file, model), kvsharer::error);

  // [python]
  const std::string dictionary = kvsharer::python_map(report.map());
  CHECK(dictionary == "{0: 0, 1: 1, 2: 1}");
  // [/python]

  // [line]
  // One line of integers, which a C program reads with scanf.
  const std::string line = kvsharer::plan_text(found.plan);
  CHECK(line.starts_with("kvsharer-plan 3 3 0 1 1 0 1 1 "));
  CHECK(kvsharer::plan_from_text(line).value() == report.plan);
  // [/line]

  // The page shows this very file.
  const auto page =
      docs::lines_of(docs::read(std::filesystem::path(KVSHARER_SOURCE_DIR) / "docs/reference/plan-file.md"));
  std::vector<std::string> shown;
  for (const docs::block& b : docs::blocks_of(page))
    if (b.language == "json") shown.push_back(b.text);
  REQUIRE(shown.size() == 1);
  CHECK(shown[0] == kvsharer::write_plan(found));
}
