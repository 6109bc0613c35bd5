// SPDX-License-Identifier: Apache-2.0
#include "sweep/sweep.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "kvsharer/io/plan_json.hpp"
#include "mini_llama/program.hpp"
#include "mini_llama/tiny_checkpoint.hpp"
#include "report/page.hpp"
#include "report/results.hpp"
#include "run/evaluation.hpp"
#include "run/generation.hpp"
#include "search/find_sharing.hpp"
#include "sweep/calibrated.hpp"
#include "sweep/results_file.hpp"

namespace {

using namespace mini_llama;
using nlohmann::json;

const tiny_checkpoint checkpoint;
const std::string model = checkpoint.directory();
const std::string passages = KVSHARER_SOURCE_DIR "/examples/mini_llama/calibration/encyclopaedia.txt";

session& tiny() {
  static session s(model);
  return s;
}

/// Small, and with every axis: 2 x 2 x 3 x 2 combinations, single moves on two sets of samples and the full model.
sweep_request request(const std::filesystem::path& out) {
  return {.text = passages,
          .calibration = passages,
          .out = out,
          .axes = {.share = {"2", "4"},
                   .order = {"similar", "random:2"},
                   .metric = {"flat", "cosine"},
                   .samples = {3, 2},
                   .threshold = {0.5}},
          .sample_tokens = 8,
          .window = 12,
          .tokens = 30,
          .prompt_tokens = 6,
          .new_tokens = 4};
}

constexpr std::size_t all_lines = 24 + 2 + 1;

/// The lines of a sweep's results without what a clock had a part in.
std::vector<json> results(const std::filesystem::path& folder) {
  std::istringstream text(slurp(folder / "results.jsonl"));
  std::vector<json> lines;
  for (std::string line; std::getline(text, line);) {
    lines.push_back(json::parse(line));
    for (const char* key : {"seconds", "prefill_tokens_per_second", "decode_tokens_per_second"})
      CHECK((lines.back().erase(key) == 1 || lines.back().at("kind") == "moves"));
  }
  return lines;
}

const std::vector<json>& uninterrupted() {
  static const scratch_directory folder;
  static const std::vector<json> lines = [] {
    const sweep_summary done = run_sweep(tiny(), request(folder.path()));
    CHECK(done.planned == all_lines);
    CHECK(done.restored == 0);
    CHECK(done.made == all_lines);
    return results(folder.path());
  }();
  return lines;
}

TEST_CASE("a line says what search, eval and generate say") {
  const json& line = uninterrupted().at(5);  // random, seed 0, 4 layers
  CHECK(line.at("combination") ==
        json{{"share", 4}, {"order", "random"}, {"seed", 0}, {"metric", "flat"}, {"samples", 3}, {"threshold", 0.5}});
  const token_batch samples = read_calibration(passages, tiny().words(), 3, 8);
  const search_outcome found =
      find_sharing(tiny(), samples, {.share = 4, .how = recipe(search_order::random), .metric = "flat", .seed = 0});
  const kvsharer::search_report& r = found.evidence.report;
  CHECK(line.at("layer_map") == std::vector<int>(r.map().owners().begin(), r.map().owners().end()));
  CHECK(line.at("score") == r.score);
  CHECK(line.at("layers_shared") == r.accepted());
  CHECK(line.at("candidates_tried") == r.candidates.size());
  CHECK(line.at("candidates").size() == r.candidates.size());
  CHECK(line.at("candidates").at(0).at("rank") == 0);
  CHECK(line.at("layer_evaluations") == found.layer_evaluations);
  CHECK(line.at("layer_evaluations_without_resume") == 8 + r.layer_evaluations_without_resume);

  std::vector<int> ids = tiny().words().encode(slurp(passages), false);
  ids.resize(30);
  const evaluation e = evaluate(tiny(), r.map(), ids, 12);
  CHECK(line.at("perplexity") == e.perplexity);
  CHECK(line.at("kl") == e.kl);
  CHECK(line.at("top1_agreement") == e.top1_agreement);
  CHECK(line.at("tokens") == 30);
  CHECK(uninterrupted().at(0).at("perplexity") == e.full_perplexity);

  std::vector<int> prompt{1};
  prompt.insert(prompt.end(), ids.begin(), ids.begin() + 5);
  const generation g = generate(tiny(), r.map(), {.prompts = {prompt}, .max_new_tokens = 4, .stop_at_eos = false});
  CHECK(line.at("continuation").at("token_ids") == g.token_ids.at(0));
  CHECK(line.at("continuation").at("text") == tiny().words().decode(g.token_ids.at(0)));
  CHECK(line.at("kv_bytes") == g.footprint.keys + g.footprint.values);
  // 4 owners, keys and values, 2 heads of 10 floats, 10 tokens.
  CHECK(line.at("kv_bytes") == 4 * 2 * 2 * 10 * sizeof(float) * 10);
}

TEST_CASE("the folder says what was measured, and how different the layers are") {
  const scratch_directory folder;
  const sweep_request r = request(folder.path());
  run_sweep(tiny(), r);
  const json origin = json::parse(slurp(folder.path() / "model.json"));
  CHECK(origin.at("model").at("fingerprint") == tiny().identity.fingerprint);
  CHECK(origin.at("model").at("layers") == tiny_checkpoint::layers);
  CHECK(origin.at("text").at("name") == "encyclopaedia.txt");
  CHECK(origin.at("tokens") == 30);
  CHECK(origin.at("plan").size() == 24);
  for (const std::string metric : {"flat", "cosine"})
    for (const int samples : {2, 3}) {
      const json j =
          json::parse(slurp(folder.path() / ("distances-" + metric + "-" + std::to_string(samples) + ".json")));
      const token_batch batch = read_calibration(passages, tiny().words(), samples, 8);
      const search_outcome o = find_sharing(tiny(), batch, {.share = 0, .metric = metric});
      CHECK(j.at("distance_matrix") == kvsharer::distance_matrix_json(o.evidence.distances));
    }
  const json first = uninterrupted().at(0);
  CHECK(first.at("kind") == "full");
  CHECK(first.at("kl") == 0);
  CHECK(first.at("prompt").get<std::string>().size() > 3);
  CHECK(slurp(passages).find(first.at("text_goes_on").get<std::string>()) != std::string::npos);
}

TEST_CASE("single moves are scored as the maps that they are, and each metric is set against them") {
  const json& line = uninterrupted().at(1);
  CHECK(line.at("kind") == "moves");
  CHECK(line.at("samples") == 3);
  CHECK(line.at("objective") == "cosine");
  CHECK(uninterrupted().at(14).at("samples") == 2);
  const token_batch samples = read_calibration(passages, tiny().words(), 3, 8);
  const made_probe alone = host_probe({tiny().llama.config(), &tiny().llama}, {samples});
  const std::size_t moves = 8 * 7 / 2;
  REQUIRE(line.at("score").size() == moves);
  std::size_t i = 0;
  for (int reader = 1; reader < 8; ++reader)
    for (int owner = 0; owner < reader; ++owner, ++i) {
      CHECK(line.at("reader").at(i) == reader);
      CHECK(line.at("owner").at(i) == owner);
      const auto map = kvsharer::share_map::identity(8).with({{reader}, {owner}}).value();
      CHECK(line.at("score").at(i) == (*alone.runs)(map));
    }
  CHECK(line.at("distances").size() == 5);
  for (const auto& [metric, distances] : line.at("distances").items()) {
    const kvsharer::distance_matrix d = alone.runs->distances(metric, "post-rope");
    REQUIRE(distances.size() == moves);
    // Spearman's rho of lists without ties: 1 - 6 * sum of squared differences of ranks / (n^3 - n).
    double squares = 0;
    for (std::size_t a = 0; a < moves; ++a) {
      CHECK(distances[a] == d({{line["reader"][a].get<int>()}, {line["owner"][a].get<int>()}}));
      const auto rank = [a](const json& list) {
        return std::count_if(list.begin(), list.end(), [&](const json& other) { return other < list[a]; });
      };
      squares += std::pow(static_cast<double>(rank(distances) - rank(line["score"])), 2);
    }
    const double n = moves;
    CHECK(line.at("spearman").at(metric) == doctest::Approx(1 - 6 * squares / (n * n * n - n)));
  }

  const scratch_directory folder;
  sweep_request r = request(folder.path());
  r.moves = false;
  r.axes.order = {"similar"};
  CHECK(run_sweep(tiny(), r).planned == 9);
}

TEST_CASE("halves of layers have two maps in a line, and the bits of searches and evaluations of their own") {
  const scratch_directory folder;
  sweep_request r = request(folder.path());
  r.moves = false;
  r.axes = {.share = {"2"},
            .order = {"best:apart", "best:keys", "best:values", "best"},
            .metric = {"flat"},
            .samples = {3},
            .threshold = {-1}};
  CHECK(run_sweep(tiny(), r).planned == 5);
  const token_batch samples = read_calibration(passages, tiny().words(), 3, 8);
  std::vector<int> ids = tiny().words().encode(slurp(passages), false);
  ids.resize(30);
  const std::vector<json> lines = results(folder.path());
  std::vector<int> own(8);
  for (int l = 0; l < 8; ++l) own[static_cast<std::size_t>(l)] = l;
  for (std::size_t i = 0; i < 3; ++i) {
    const json& line = lines.at(i + 1);
    const search_outcome found = find_sharing(
        tiny(), samples, {.share = 2, .threshold = -1, .how = recipe::parse(r.axes.order[i]), .metric = "flat"});
    const kvsharer::share_plan& plan = found.evidence.report.plan;
    if (line.contains("layer_map")) {
      CHECK(line.at("layer_map") == kvsharer::detail::map_json(plan.one_map("this line")));
    } else {
      CHECK(line.at("key_map") == kvsharer::detail::map_json(plan.keys()));
      CHECK(line.at("value_map") == kvsharer::detail::map_json(plan.values()));
    }
    CHECK(line.at("layers_shared") == 2);
    CHECK(line.at("score") == found.evidence.report.score);
    CHECK(line.at("perplexity") == evaluate(tiny(), plan, ids, 12).perplexity);
    // 12 planes of 16, 2 heads of 10 floats, 10 tokens.
    CHECK(line.at("kv_bytes") == 12 * 2 * 10 * sizeof(float) * 10);
  }
  CHECK(lines.at(2).at("value_map") == own);
  CHECK(lines.at(3).at("key_map") == own);
  CHECK(lines.at(1).at("score") >= lines.at(4).at("score"));

  const report::sweep_results read = report::read_sweep(folder.path());
  CHECK(read.maps.at(1).shared() == 2);
  CHECK_FALSE(read.maps.at(1).is_one_map());
  CHECK(report::page(read).find("; values of ") != std::string::npos);
}

TEST_CASE("searches on one calibration have the bits of searches on their own") {
  const token_batch samples = read_calibration(passages, tiny().words(), 2, 8);
  const workplace here(tiny());
  calibrated base(here, samples, "cosine", "mean-of-cosines");
  base.single_moves();
  for (const std::string order : {"dissimilar", "best", "similar", "best-suffix", "random", "dissimilar"})
    for (const double threshold : {0.5, 0.99}) {
      const search_request wanted{.share = 5, .threshold = threshold, .how = recipe::parse(order)};
      const search_outcome shared = base.search(wanted), alone = find_sharing(tiny(), samples, wanted);
      CHECK(shared.evidence.report.map() == alone.evidence.report.map());
      CHECK(shared.evidence.report.score == alone.evidence.report.score);
      CHECK(shared.layer_evaluations == alone.layer_evaluations);
      REQUIRE(shared.evidence.report.candidates.size() == alone.evidence.report.candidates.size());
      for (std::size_t i = 0; i < alone.evidence.report.candidates.size(); ++i)
        CHECK(shared.evidence.report.candidates[i].score == alone.evidence.report.candidates[i].score);
    }
}

TEST_CASE("a results file cut at any byte of its last line loses that line and nothing else") {
  const scratch_directory folder;
  const std::string whole = "{\"a\":1}\n{\"b\":[2,3]}\n{\"c\":\"\u00e4 {}\\n\"}\n";
  const std::size_t last = whole.find("{\"c");
  for (std::size_t bytes = last; bytes < whole.size(); ++bytes) {
    const auto file = folder.write("results.jsonl", whole.substr(0, bytes));
    {
      results_file results(file);
      REQUIRE(results.lines().size() == 2);
      CHECK(results.lines()[1].at("b") == json{2, 3});
      CHECK(slurp(file) == whole.substr(0, last));
      results.append(nlohmann::ordered_json{{"c", "\u00e4 {}\n"}});
      CHECK(results.lines().size() == 3);
    }
    CHECK(slurp(file) == whole);
    CHECK(results_file(file).lines().size() == 3);
  }
}

TEST_CASE("zeros that a crash left behind are cut off, damage in the middle is refused") {
  const scratch_directory folder;
  const auto torn = folder.write("torn.jsonl", std::string("{\"a\":1}\n") + std::string(9, '\0') + "\n");
  CHECK(results_file(torn).lines().size() == 1);
  CHECK(slurp(torn) == "{\"a\":1}\n");
  for (const std::string bad : {"{\"a\":", "[1]", "", "{\"a\":1,\"a\":2}"}) {
    const auto file = folder.write("bad.jsonl", "{\"a\":1}\n" + bad + "\n{\"b\":1}\n");
    CHECK(has(refusal([&] { results_file again(file); }), "line 2"));
  }
}

TEST_CASE("two sweeps do not write one file") {
  const scratch_directory folder;
  const results_file mine(folder.path() / "results.jsonl");
  CHECK(has(refusal([&] { results_file other(folder.path() / "results.jsonl"); }), "another sweep"));
}

TEST_CASE("from any number of lines, and a piece of the next one, a sweep ends with the same lines" *
          doctest::test_suite("long")) {
  const scratch_directory folder;
  run_sweep(tiny(), request(folder.path()));
  const std::string whole = slurp(folder.path() / "results.jsonl");
  REQUIRE(results(folder.path()) == uninterrupted());
  std::vector<std::size_t> ends{0};
  while (ends.back() < whole.size()) ends.push_back(whole.find('\n', ends.back()) + 1);
  REQUIRE(ends.size() == all_lines + 1);
  struct cut {
    std::size_t kept, more;  // whole lines, and bytes of the next one
  };
  const std::size_t all_but_newline = ends[27] - ends[26] - 1;
  for (const cut c :
       {cut{0, 1}, cut{1, 200}, cut{2, 0}, cut{14, 7}, cut{15, 0}, cut{26, 1}, cut{26, all_but_newline}, cut{27, 0}}) {
    folder.write("results.jsonl", whole.substr(0, ends[c.kept] + c.more));
    const sweep_summary done = run_sweep(tiny(), request(folder.path()));
    CHECK(done.restored == c.kept);
    CHECK(done.made == all_lines - c.kept);
    CHECK(results(folder.path()) == uninterrupted());
    CHECK(slurp(folder.path() / "results.jsonl").substr(0, ends[c.kept]) == whole.substr(0, ends[c.kept]));
  }
}

TEST_CASE("a sweep that is asked to stop keeps whole lines, and goes on") {
  const scratch_directory folder;
  sweep_request r = request(folder.path());
  std::size_t done = 0;
  for (int round = 1; done < all_lines; ++round) {
    int asked = 0;
    r.cancelled = [&] { return ++asked > 30 * round; };
    const sweep_summary s = run_sweep(tiny(), r);
    CHECK(s.restored == done);
    done += s.made;
    REQUIRE(round < 1000);
  }
  CHECK(results(folder.path()) == uninterrupted());
}

TEST_CASE("a folder of another model, text or plan is refused, and left as it is") {
  const scratch_directory folder;
  sweep_request r = request(folder.path() / "sweep");
  r.axes = {.share = {"2"}, .order = {"similar"}, .metric = {"flat"}, .samples = {2}};
  run_sweep(tiny(), r);
  const std::string before = slurp(r.out / "results.jsonl");
  const auto refused_with = [&](const sweep_request& other) {
    const std::string text = refusal([&] { run_sweep(tiny(), other); });
    CHECK(slurp(r.out / "results.jsonl") == before);
    return text;
  };
  sweep_request other = r;
  other.axes.share = {"3"};
  CHECK(has(refused_with(other), "plan/0/share 2 (now: 3)"));
  other = r;
  other.axes.order.push_back("random:2");
  CHECK(has(refused_with(other), "plan/1/order missing"));
  other = r;
  other.text = folder.write("encyclopaedia.txt", slurp(passages) + " ");
  CHECK(has(refused_with(other), "text/hash"));
  other = r;
  other.window = 13;
  CHECK(has(refused_with(other), "window 12 (now: 13)"));
  other = r;
  other.text = folder.write("same under another name.txt", slurp(passages));
  CHECK(run_sweep(tiny(), other).restored == 3);

  json origin = json::parse(slurp(r.out / "model.json"));
  origin["model"]["fingerprint"] = "0123456789abcdef";
  folder.write("sweep/model.json", origin.dump());
  CHECK(has(refused_with(r), "model/fingerprint \"0123456789abcdef\" (now: "));
  folder.write("sweep/model.json", "{");
  CHECK(has(refused_with(r), "not valid JSON"));
  std::filesystem::remove(r.out / "model.json");
  CHECK(has(refused_with(r), "is missing"));
}

TEST_CASE("lines that are not the plan's are refused") {
  const scratch_directory folder;
  const sweep_request r = request(folder.path());
  run_sweep(tiny(), r);
  const std::string whole = slurp(folder.path() / "results.jsonl");
  folder.write("results.jsonl", whole.substr(whole.find('\n') + 1));
  CHECK(has(refusal([&] { run_sweep(tiny(), r); }), "line 1 is not what this sweep has there"));
  folder.write("results.jsonl", whole + whole);
  CHECK(has(refusal([&] { run_sweep(tiny(), r); }), "line 28 is not"));
}

/// The program's process, its output thrown away.
pid_t start(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), MINI_LLAMA_PROGRAM);
  std::vector<char*> argv;
  for (std::string& a : arguments) argv.push_back(a.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (const int stream : {STDOUT_FILENO, STDERR_FILENO})
    posix_spawn_file_actions_addopen(&actions, stream, "/dev/null", O_WRONLY, 0);
  pid_t process = 0;
  REQUIRE(::posix_spawn(&process, MINI_LLAMA_PROGRAM, &actions, nullptr, argv.data(), environ) == 0);
  posix_spawn_file_actions_destroy(&actions);
  return process;
}

TEST_CASE("killed again and again, the program ends with the lines of one that was left alone") {
  const scratch_directory folder;
  const std::vector<std::string> command{"sweep",
                                         "--model",
                                         model,
                                         "--text",
                                         passages,
                                         "--out",
                                         folder.path().string(),
                                         "--share",
                                         "2,4",
                                         "--order",
                                         "similar,random:2",
                                         "--metric",
                                         "flat,cosine",
                                         "--samples",
                                         "3,2",
                                         "--sample-tokens",
                                         "8",
                                         "--window",
                                         "12",
                                         "--tokens",
                                         "30",
                                         "--prompt-tokens",
                                         "6",
                                         "--new-tokens",
                                         "4"};
  const auto file = folder.path() / "results.jsonl";
  std::uintmax_t before = 0;
  for (const int signal : {SIGKILL, SIGINT, SIGKILL}) {
    const pid_t process = start(command);
    int status = 0;
    pid_t ended = 0;
    // Let it come further, then end it wherever it is; if it was faster than that, it has simply finished.
    std::error_code none;
    for (int i = 0; i < 20000 && ended == 0; ++i) {
      const std::uintmax_t now = std::filesystem::exists(file, none) ? std::filesystem::file_size(file, none) : 0;
      if (now > before) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      ended = ::waitpid(process, &status, WNOHANG);
    }
    if (ended == 0) {
      ::kill(process, signal);
      ::waitpid(process, &status, 0);
      if (signal == SIGINT && WIFEXITED(status) && WEXITSTATUS(status) != 0) CHECK(WEXITSTATUS(status) == 1);
      if (signal == SIGINT) CHECK(WIFEXITED(status));
    }
    CHECK(std::filesystem::file_size(file) > before);
    before = std::filesystem::file_size(file);
  }
  const program_run last = run_program(command);
  CHECK(last.exit_code == 0);
  CHECK(has(last.err, "27 lines in "));
  CHECK(results(folder.path()) == uninterrupted());
  CHECK(has(run_program(command).err, "(27 were there already)"));
}

}  // namespace
