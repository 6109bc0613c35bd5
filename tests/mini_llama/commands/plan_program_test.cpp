// SPDX-License-Identifier: Apache-2.0
// The command that writes plans without a search.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kvsharer/io/plan_json.hpp"
#include "kvsharer/io/plan_text.hpp"
#include "mini_llama/program.hpp"
#include "mini_llama/tiny_checkpoint.hpp"

namespace {

using nlohmann::json;
using arguments = std::vector<std::string>;

const std::string families = std::string(KVSHARER_SOURCE_DIR) + "/tests/golden/families/";

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

kvsharer::share_map map_of(const std::vector<int>& owners) { return kvsharer::share_map::from_owners(owners).value(); }

/// A tiny model, and a folder for plans of it.
class plans {
 public:
  program_run make(const arguments& more, const std::string& out = "plan.json") const {
    arguments all{"plan", "--model", tiny_.directory(), "--out", path(out)};
    all.insert(all.end(), more.begin(), more.end());
    return run_program(all);
  }

  kvsharer::plan_file read(const std::string& name = "plan.json") const {
    return kvsharer::read_plan(slurp(path(name)), name);
  }

  void refuse(const arguments& more, int code, const std::string& words, const std::string& out = "plan.json") const {
    const program_run r = make(more, out);
    CAPTURE(r.err);
    CHECK(r.exit_code == code);
    CHECK(r.out.empty());
    CHECK(has(r.err, words));
    CHECK_FALSE(std::filesystem::exists(path(out)));
  }

  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }
  std::string write(const std::string& name, const std::string& text) const {
    return folder_.write(name, text).string();
  }
  std::string model() const { return tiny_.directory(); }

 private:
  tiny_checkpoint tiny_;
  scratch_directory folder_;
};

}  // namespace

TEST_CASE("a plan of a map is written without a search, and followed") {
  const plans here;
  const program_run made = here.make({"--map", "0,1,2,3,1,5,6,2", "--line", here.path("plan.txt"), "--json"});
  REQUIRE_MESSAGE(made.exit_code == 0, made.err);
  const json said = json::parse(made.out);
  CHECK(said.at("key_map") == json({0, 1, 2, 3, 1, 5, 6, 2}));
  CHECK(said.at("value_map") == said.at("key_map"));
  CHECK(said.at("layers_shared") == 2);

  const kvsharer::plan_file plan = here.read();
  CHECK(plan.plan == kvsharer::cache_plan(map_of({0, 1, 2, 3, 1, 5, 6, 2})));
  CHECK(plan.model.layers == tiny_checkpoint::layers);
  CHECK_FALSE(plan.evidence.has_value());
  CHECK_FALSE(plan.alignment.has_value());
  CHECK(kvsharer::write_plan(plan) == slurp(here.path("plan.json")));
  CHECK(kvsharer::plan_from_text(slurp(here.path("plan.txt"))).value() == plan.plan.sharing());

  const arguments generate{"generate",
                           "--backend",
                           "cpu",
                           "--model",
                           here.model(),
                           "--token-ids",
                           here.write("ids.json", "[[1, 5, 9]]"),
                           "--max-new-tokens",
                           "2",
                           "--json",
                           "--plan",
                           here.path("plan.json")};
  const json run = json::parse(run_program(generate).out);
  CHECK(run.at("kv_bytes").get<long>() * 8 == run.at("kv_bytes_unshared").get<long>() * 6);
}

TEST_CASE("without a map no layer shares, and people are shown the plan") {
  const plans here;
  const program_run made = here.make({});
  REQUIRE_MESSAGE(made.exit_code == 0, made.err);
  CHECK(here.read().plan.is_identity());
  CHECK(has(made.out, "layers ########"));
}

TEST_CASE("a model that was trained to share has its own map in a plan") {
  const scratch_directory folder;
  const std::string out = (folder.path() / "plan.json").string();
  REQUIRE(run_program({"plan", "--model", families + "own_map", "--out", out}).exit_code == 0);
  CHECK(kvsharer::read_plan(slurp(out)).plan == kvsharer::cache_plan(map_of({0, 1, 2, 2, 2})));
  const program_run wrong = run_program({"plan", "--model", families + "own_map", "--out", out, "--map", "0,1,2,3,2"});
  CHECK(wrong.exit_code == 1);
  CHECK(has(wrong.err, "layer 3 is to store keys and values"));
  const program_run windows = run_program({"plan", "--model", families + "qwen2", "--out", out, "--map", "0,1,1,3"});
  CHECK(windows.exit_code == 1);
  CHECK(has(windows.err, "layer 2 attends to 6 tokens and is to read layer 1"));
}

TEST_CASE("a plan made from another keeps the plan and leaves the search's evidence there") {
  const plans here;
  kvsharer::plan_file found{
      .model = {}, .plan = kvsharer::share_plan(map_of({0, 1, 2, 3, 1, 5, 6, 2}), map_of({0, 0, 2, 3, 4, 5, 6, 7}))};
  REQUIRE(here.make({}, "own.json").exit_code == 0);
  found.model = here.read("own.json").model;
  found.evidence.emplace();
  found.evidence->report.plan = found.plan.sharing();
  found.evidence->distances = kvsharer::distance_matrix(8);
  const std::string from = here.write("found.json", kvsharer::write_plan(found));
  REQUIRE(here.make({"--from", from}).exit_code == 0);
  CHECK(here.read().plan == found.plan);
  CHECK_FALSE(here.read().evidence.has_value());
}

TEST_CASE("an alignment lies beside its plan") {
  const plans here;
  REQUIRE(here.make({"--map", "0,1,2,3,1,5,6,2"}, "own.json").exit_code == 0);
  kvsharer::plan_file aligned = here.read("own.json");
  aligned.alignment = {"found.align.safetensors", "0123456789abcdef", "shared", 0.1, true, "one"};
  const std::string from = here.write("aligned.json", kvsharer::write_plan(aligned));
  REQUIRE(here.make({"--from", from}).exit_code == 0);
  CHECK(here.read().alignment == aligned.alignment);
  REQUIRE(here.make({"--from", from, "--no-align"}).exit_code == 0);
  CHECK_FALSE(here.read().alignment.has_value());
  std::filesystem::create_directory(here.path("elsewhere"));
  here.refuse({"--from", from}, 2, "has an alignment, in the file found.align.safetensors beside it",
              "elsewhere/plan.json");
  CHECK(here.make({"--from", from, "--no-align"}, "elsewhere/plan.json").exit_code == 0);
}

TEST_CASE("what is no plan of this model is refused, and nothing is written") {
  const plans here;
  here.refuse({"--map", "0,1,2"}, 2, "--map has 3 entries; this model has 8 layers");
  here.refuse({"--map", "0,1,2,3,4,5,6,7,0"}, 2, "--map has 9 entries");
  here.refuse({"--map", "0,1,2,3,4,5,6,8"}, 1, "E301");
  here.refuse({"--map", "0,1,2,3,4,5,7,7"}, 1, "E301");
  here.refuse({"--map", "0,1,2,3,4,5,six,7"}, 2, "--map");
  here.refuse({"--from", here.path("nothing.json")}, 1, "nothing.json");
  here.refuse({"--from", here.write("damaged.json", "{\"kvsharer_plan\": 3")}, 1, "E601");
  here.refuse({"--from", here.write("old.json", "{\"kvsharer_strategy\": 1}")}, 1, "E602");
  here.refuse({"--from", here.write("map.py", "{7: 2}")}, 1,
              "mini_llama plan --model DIR --out FILE --map 0,1,2,3,4,5,6,2");
  here.refuse({"--from", here.write("line.txt", kvsharer::plan_text(map_of({0, 1, 2, 3, 4, 5, 6, 2})))}, 1,
              "mini_llama plan --model DIR --out FILE --map 0,1,2,3,4,5,6,2");
  here.refuse({"--map", "0,1,2,3,4,5,6,6", "--from", here.path("x.json")}, 2, "--from");
  here.refuse({"--codec", "kivi:bits=2"}, 2, "--codec");
  here.refuse({}, 1, "no/such/folder", "no/such/folder/plan.json");
  CHECK(run_program({"plan", "--model", here.model()}).exit_code == 2);
  CHECK(run_program({"plan", "--out", here.path("plan.json")}).exit_code == 2);
}

TEST_CASE("a plan of another model is refused") {
  const plans here;
  const program_run other = run_program({"plan", "--model", families + "own_map", "--out", here.path("other.json")});
  REQUIRE(other.exit_code == 0);
  here.refuse({"--from", here.path("other.json")}, 1, "E603");
}
