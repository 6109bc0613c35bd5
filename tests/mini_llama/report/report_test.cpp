// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "mini_llama/markup_reader.hpp"
#include "mini_llama/program.hpp"
#include "report/page.hpp"

namespace {

using namespace mini_llama;
using markup::element;
using nlohmann::json;

constexpr int layers = 6;
const std::string evil = "<script>alert('x')</script> & \"q\" \u00e4\x01 ]]>";

json measured(int owners, double perplexity) {
  return {{"perplexity", perplexity},
          {"kl", perplexity / 100},
          {"top1_agreement", 1 / (1 + perplexity / 100)},
          {"tokens", 1000},
          {"kv_bytes", owners * 4096},
          {"cache_bytes", owners * 4096 + 77},
          {"prefill_tokens_per_second", 1234.5 + owners},
          {"decode_tokens_per_second", 321.25 + owners},
          {"continuation", {{"token_ids", {1, 2, owners}}, {"text", "a b " + std::to_string(owners) + evil}}},
          {"seconds", {{"calibration", 0.5}, {"search", 1.5}, {"evaluation", 2.0}, {"speed", 0.25}}}};
}

json full_line() {
  json line = measured(layers, 20);
  line.update({{"kind", "full"},
               {"layer_map", {0, 1, 2, 3, 4, 5}},
               {"layers_shared", 0},
               {"prompt", "begin " + evil},
               {"text_goes_on", "on " + evil}});
  return line;
}

/// Layers above `share` from the top read layer 0.
json shared_line(int share, const std::string& order, int seed, const std::string& metric, double perplexity,
                 int reached = -1) {
  const int shared = reached < 0 ? share : reached;
  json line = measured(layers - shared, perplexity);
  std::vector<int> map;
  json candidates = json::array();
  for (int l = 0; l < layers; ++l) map.push_back(l >= layers - shared ? 0 : l);
  for (int c = 0; c < share; ++c)
    candidates.push_back({{"rank", 2 * c},
                          {"reader", layers - 1 - c},
                          {"owner", 0},
                          {"distance", 3.0 - c},
                          {"score", c == 1 && shared < share ? json() : json(0.9 - 0.1 * c)},
                          {"verdict", c < shared ? "accepted"
                                      : c == 1   ? "not finite"
                                                 : "below threshold"},
                          {"resumed_at", 0}});
  line.update(
      {{"kind", "shared"},
       {"combination",
        {{"share", share}, {"order", order}, {"seed", seed}, {"metric", metric}, {"samples", 4}, {"threshold", 0.5}}},
       {"layer_map", map},
       {"status", shared < share ? "ranking exhausted" : "complete"},
       {"layers_shared", shared},
       {"score", 1 - 0.1 * shared},
       {"candidates_tried", share},
       {"candidates_accepted", shared},
       {"pairs_ranked", 15},
       {"pairs_skipped", 1},
       {"layer_evaluations", 1000 + share},
       {"layer_evaluations_without_resume", 12345},
       {"candidates", candidates}});
  return line;
}

struct sweep {
  scratch_directory folder;
  json origin;
  std::vector<json> lines;

  explicit sweep(const std::vector<std::string>& metrics = {"flat"}) {
    lines.push_back(full_line());
    for (const std::string& metric : metrics) {
      lines.push_back(shared_line(1, "dissimilar", 0, metric, 30.123456789));
      lines.push_back(shared_line(2, "dissimilar", 0, metric, 45));
      lines.push_back(shared_line(1, "best:keys", 0, metric, 21));
      lines.push_back(shared_line(2, "best:keys", 0, metric, 25));
      for (int seed = 0; seed < 3; ++seed) {
        lines.push_back(shared_line(1, "random", seed, metric, 23 + seed));
        lines.push_back(shared_line(2, "random", seed, metric, 33 + seed, seed == 2 ? 1 : -1));
      }
      json rows = json::array();
      for (int r = 0; r < layers; ++r) {
        rows.push_back(std::vector<double>(layers, 0.0));
        for (int c = 0; c < r; ++c) rows[static_cast<std::size_t>(r)][static_cast<std::size_t>(c)] = r + c / 7.0;
      }
      folder.write("distances-" + metric + "-4.json",
                   json{{"metric", metric}, {"samples", 4}, {"distance_matrix", rows}}.dump());
    }
    json plan = json::array();
    for (std::size_t i = 1; i < lines.size(); ++i) plan.push_back(lines[i].at("combination"));
    origin = {{"kvsharer_sweep", 1},
              {"program", "mini_llama " + evil},
              {"model",
               {{"name", "llama " + evil},
                {"fingerprint", "0123456789abcdef"},
                {"architecture", "LlamaForCausalLM"},
                {"layers", layers},
                {"hidden", 32},
                {"heads", 4},
                {"kv_heads", 2},
                {"head_dim", 8},
                {"vocab", 100},
                {"rope", "none"}}},
              {"text", {{"name", evil}, {"hash", "f"}}},
              {"calibration", {{"name", evil}, {"hash", "e"}}},
              {"similarity", "mean-of-cosines"},
              {"sample_tokens", 8},
              {"window", 12},
              {"tokens", 1000},
              {"prompt_tokens", 6},
              {"new_tokens", 4},
              {"plan", plan}};
    write();
  }

  void write() const {
    std::string text;
    for (const json& line : lines) text += line.dump() + "\n";
    folder.write("results.jsonl", text);
    folder.write("model.json", origin.dump());
  }

  std::string page() const { return report::page(report::read_sweep(folder.path())); }
};

/// The exact numbers below an element, in order.
std::vector<double> numbers(const element& e) {
  std::vector<double> found;
  for (const element* d : markup::all(e, "data"))
    found.push_back(d->at("value") == "null" ? std::nan("") : std::stod(d->at("value")));
  return found;
}

const element& by_id(const element& root, const std::string& id) {
  const auto found = markup::all(root, [&](const element& e) {
    const auto at = e.attributes.find("id");
    return at != e.attributes.end() && at->second == id;
  });
  REQUIRE(found.size() == 1);
  return *found[0];
}

TEST_CASE("the checker is strict") {
  const std::string start = "<!doctype html>\n";
  CHECK_NOTHROW(markup::read(start + "<p a=\"1\">x &amp; y<br/></p>\n"));
  for (const std::string bad :
       {"<p>", "<p></b>", "<p a=1></p>", "<p>a & b</p>", "<p>&nbsp;</p>", "<p a=\"1\" a=\"2\"></p>", "<p></p><p></p>",
        "<p a=\"<\"></p>", "<p>\x01</p>", "<b><p></b></p>", "<p>a < b</p>"})
    CHECK_THROWS(markup::read(start + bad));
}

TEST_CASE("the page is well-formed whatever the texts are, and asks for nothing from elsewhere") {
  const std::string page = sweep({"flat", "cosine"}).page();
  const auto root = markup::read(page);
  CHECK(markup::all(*root, "script").empty());
  for (const std::string word : {"http:", "https:", "//", "url(", "@import", "src="})
    CHECK_MESSAGE(page.find(word) == std::string::npos, word);
  for (const element* link : markup::all(*root, "a")) {
    REQUIRE(link->at("href").starts_with("#"));
    by_id(*root, link->at("href").substr(1));
  }
  CHECK(markup::all(*root, "title").front()->text ==
        "KV sharing on llama " + std::string("<script>alert('x')</script>") + " & \"q\" \u00e4\ufffd ]]>");
  const auto viewport = markup::all(*root, [](const element& e) {
    return e.is("meta") && e.attributes.contains("name") && e.at("name") == "viewport";
  });
  CHECK(viewport.size() == 1);
  CHECK(page.find("prefers-color-scheme: dark") != std::string::npos);
}

TEST_CASE("every line's numbers are in the table of all results") {
  sweep s;
  s.lines[3]["perplexity"] = nullptr;  // as JSON has what is not finite
  s.write();
  const auto root = markup::read(s.page());
  for (std::size_t i = 0; i < s.lines.size(); ++i) {
    const json& line = s.lines[i];
    const element& row = by_id(*root, "line-" + std::to_string(i));
    const std::vector<double> shown = numbers(row);
    std::vector<double> wanted;
    for (const char* key : {"kv_bytes", "perplexity", "kl", "top1_agreement", "score", "candidates_tried",
                            "candidates_accepted", "layer_evaluations", "layer_evaluations_without_resume"}) {
      const double of_full = std::string(key) == "score" ? 1 : 0;
      wanted.push_back(i == 0 && !line.contains(key) ? of_full
                       : line[key].is_null()         ? std::nan("")
                                                     : line[key].get<double>());
    }
    wanted.push_back(line.at("seconds").at("search"));
    wanted.push_back(line.at("prefill_tokens_per_second"));
    wanted.push_back(line.at("decode_tokens_per_second"));
    REQUIRE(shown.size() == wanted.size());
    for (std::size_t n = 0; n < wanted.size(); ++n)
      CHECK((shown[n] == wanted[n] || (std::isnan(shown[n]) && std::isnan(wanted[n]))));
  }
  CHECK(by_id(*root, "line-10").text.find("1 of 6 (2 wanted)") != std::string::npos);
  CHECK(by_id(*root, "line-1").text.find("30.12") != std::string::npos);
}

TEST_CASE("every picture has a name, words and a table behind it") {
  const auto root = markup::read(sweep({"flat", "cosine"}).page());
  const auto figures = markup::all(*root, "figure");
  std::size_t pictures = 0;
  for (const element* f : figures) {
    CHECK(f->children.front()->is("figcaption"));
    CHECK(!f->children.front()->text.empty());
    const auto drawn = markup::all(*f, [](const element& e) { return e.is("svg") && !e.is("svg", "key"); });
    CHECK(!drawn.empty());
    for (const element* svg : drawn) {
      CHECK(svg->at("role") == "img");
      CHECK(!svg->at("aria-label").empty());
      CHECK(svg->children.front()->is("title"));
    }
    pictures += drawn.size();
    const auto behind = markup::all(*f, "details");
    REQUIRE(behind.size() == 1);
    CHECK(behind[0]->children.front()->is("summary"));
    CHECK(markup::all(*behind[0], "table").size() == 1);
  }
  // In each of two settings: 3 of quality, 1 of scores, 3 of speed, 1 of distances, 3 of acceptance, 10 maps.
  CHECK(pictures == 2 * (3 + 1 + 3 + 1 + 3 + 10));
  CHECK(markup::all(*root, [](const element& e) { return e.is("svg") && !e.is("svg", "key"); }).size() == pictures);
  for (const element* t : markup::all(*root, "table")) CHECK(markup::all(*t, "caption").size() == 1);
}

TEST_CASE("heat maps and arcs draw what the files say") {
  const sweep s;
  const auto root = markup::read(s.page());
  const auto heat = markup::all(*root, "svg", "heat");
  REQUIRE(heat.size() == 1);
  std::vector<std::string> squares;
  for (const element* rect : markup::all(*heat[0], "rect"))
    if (!rect->children.empty()) squares.push_back(rect->text);
  CHECK(squares.size() == 15);
  CHECK(squares.front() == "layer 1 from layer 0: 1.00");
  CHECK(squares.back() == "layer 5 from layer 4: 5.57");
  const element& distances = by_id(*root, "distances");
  std::vector<double> shown = numbers(*markup::all(distances, "table").front());
  REQUIRE(shown.size() == 15);
  for (int r = 1, i = 0; r < layers; ++r)
    for (int c = 0; c < r; ++c, ++i) CHECK(shown[static_cast<std::size_t>(i)] == r + c / 7.0);

  const auto maps = markup::all(*root, "svg", "arcs");
  REQUIRE(maps.size() == 10);
  for (const element* map : maps) {
    const auto arcs = markup::all(*map, "path", "arc");
    const auto readers = markup::all(*map, "circle", "reader");
    CHECK(arcs.size() == readers.size());
    CHECK(arcs.size() + markup::all(*map, "circle", "owner").size() == layers);
  }
  CHECK(markup::all(*maps[1], "path", "arc")[0]->text == "layer 4 reads layer 0");
  CHECK(markup::all(by_id(*root, "maps"), "code")[1]->text == "0, 1, 2, 3, 0, 0");
}

TEST_CASE("curves have a point for each map, and a band where there are seeds") {
  const auto root = markup::read(sweep().page());
  const auto charts = markup::all(by_id(*root, "quality"), "svg", "chart");
  REQUIRE(charts.size() == 3);
  for (const element* c : charts) {
    CHECK(markup::all(*c, "path", "mark").size() == 10 + 1);
    CHECK(markup::all(*c, "polyline", "curve").size() == 3);
    CHECK(markup::all(*c, "polygon", "band").size() == 1);
    CHECK(markup::all(*c, "text", "name").size() == 3);
  }
  CHECK(charts[0]->text.find("dissimilar, 1 of 6: perplexity 30.12") != std::string::npos);
  // Random, two shared: the one that reached one layer alone counts where it was wanted.
  const std::vector<double> table = numbers(*markup::all(by_id(*root, "quality"), "table").front());
  CHECK(table.size() == 11 * 4);
}

TEST_CASE("quality stands against the time of prefill, with the numbers behind it") {
  const auto root = markup::read(sweep().page());
  const auto figures = markup::all(by_id(*root, "speed"), "figure");
  REQUIRE(figures.size() == 3);
  const auto charts = markup::all(*figures[2], "svg", "chart");
  REQUIRE(charts.size() == 1);
  CHECK(markup::all(*charts[0], "path", "mark").size() == 10 + 1);
  CHECK(markup::all(*charts[0], "polygon", "band").empty());  // seeds have times of their own
  CHECK(charts[0]->text.find("dissimilar, 1 of 6: perplexity 30.12") != std::string::npos);
  const std::vector<double> table = numbers(*markup::all(*figures[2], "table").front());
  REQUIRE(table.size() == 11 * 2);
  CHECK(table[0] == doctest::Approx(1e6 / (1234.5 + layers)));  // the full model
  CHECK(table[1] == 20);
  CHECK(table[2] == doctest::Approx(1e6 / (1234.5 + layers - 1)));
}

TEST_CASE("acceptance is counted by rank") {
  const auto root = markup::read(sweep().page());
  const auto figures = markup::all(by_id(*root, "acceptance"), "figure");
  REQUIRE(figures.size() == 3);
  const element& random = *figures[2];
  const std::vector<double> words = numbers(*random.children.front());
  CHECK(words == std::vector<double>{5, 6, 3});  // accepted, tried, passed over, of three searches for two layers
  CHECK(markup::all(random, "path", "cross").empty());  // the rejected one has no score to stand at
  std::vector<double> shown = numbers(*markup::all(random, "table").front());
  double tried = 0, accepted = 0;
  for (std::size_t i = 0; i < shown.size(); i += 2) {
    tried += shown[i];
    accepted += shown[i + 1];
  }
  CHECK(tried == 6);
  CHECK(accepted == 5);
  CHECK(shown[0] == 3);  // rank 0
  CHECK(shown[2] == 3);  // rank 2
}

TEST_CASE("at a glance: the best map of each size that was reached, and the spread of the random ones") {
  sweep s;
  const auto root = markup::read(s.page());
  const auto rows = markup::all(*markup::all(by_id(*root, "glance"), "tbody").front(), "tr");
  REQUIRE(rows.size() == 2);
  CHECK(numbers(*rows[0]) == std::vector<double>{5 * 4096, 21, 1 / 1.21, 30.123456789, 24, 23, 25});
  CHECK(numbers(*rows[1]) == std::vector<double>{4 * 4096, 25, 1 / 1.25, 45, 33.5, 33, 34});
  CHECK(markup::all(*root, "p", "note").empty());

  s.lines.resize(4);
  s.write();
  const auto unfinished = markup::read(s.page());
  REQUIRE(markup::all(*unfinished, "p", "note").size() == 1);
  CHECK(markup::all(*unfinished, "p", "note")[0]->text.find("4 of 11 lines") != std::string::npos);
}

TEST_CASE("continuations stand side by side, their first difference marked") {
  const auto root = markup::read(sweep().page());
  const auto pairs = markup::all(*root, "details", "pair");
  REQUIRE(pairs.size() == 10);
  for (const element* pair : pairs) {
    const auto marks = markup::all(*pair, "mark");
    REQUIRE(marks.size() == 2);
    CHECK(marks[0]->text == "6<script>alert('x')</script>");
    const auto same = markup::all(*pair, "span", "same");
    REQUIRE(same.size() == 2);
    CHECK(same[0]->text == "a b ");
    CHECK(pair->children.front()->text.find("the same for 2 of 3 tokens") != std::string::npos);
  }
  CHECK(markup::all(*pairs[1], "mark")[1]->text == "4<script>alert('x')</script>");
}

/// Moves whose score falls with the distance by one metric, and has nothing to do with that by the other.
json moves_line(const std::string& objective) {
  json line{{"kind", "moves"}, {"samples", 4}, {"objective", objective}};
  for (const char* key : {"reader", "owner", "score"}) line[key] = json::array();
  line["distances"] = {{"flat", json::array()}, {"cosine", json::array()}};
  for (int r = 1, i = 0; r < layers; ++r)
    for (int o = 0; o < r; ++o, ++i) {
      line["reader"].push_back(r);
      line["owner"].push_back(o);
      line["score"].push_back(1 - i * i / 1000.0);
      line["distances"]["flat"].push_back(3.0 + i);
      line["distances"]["cosine"].push_back(0.25);
    }
  line["score"][14] = nullptr;  // as JSON has what is not finite
  return line;
}

TEST_CASE("single moves: a table of how each metric foretells them, and a picture of each") {
  sweep s;
  CHECK(markup::all(by_id(*markup::read(s.page()), "moves"), "figure").empty());
  s.lines.insert(s.lines.begin() + 1, moves_line("cosine"));
  s.lines.insert(s.lines.begin() + 5, moves_line("kl"));
  s.write();
  const auto root = markup::read(s.page());
  CHECK(by_id(*root, "line-1").text.find("30.12") != std::string::npos);  // maps keep their places
  const element& section = by_id(*root, "moves");
  const auto table = numbers(*markup::all(section, "table").front());
  REQUIRE(table.size() == 4);
  for (const std::size_t row : {std::size_t{0}, std::size_t{2}}) {
    CHECK(std::isnan(table[row]));  // cosine: all equal
    CHECK(table[row + 1] == doctest::Approx(-1));
  }
  const auto figures = markup::all(section, "figure");
  REQUIRE(figures.size() == 4);
  CHECK(markup::all(*figures[1], "path", "mark").size() == 14);
  CHECK(figures[1]->children.front()->text.find("flat") != std::string::npos);
  CHECK(numbers(*markup::all(*figures[1], "table").front()).size() == 15 * 2);
  CHECK(figures[3]->text.find("minus KL") != std::string::npos);

  const json whole = s.lines[1];
  s.lines[1]["owner"][0] = -1;
  s.write();
  CHECK(has(refusal([&] { report::read_sweep(s.folder.path()); }), "line 2 names layer -1 of 6"));
  s.lines[1] = whole;
  s.lines[1]["owner"].erase(0);
  s.write();
  CHECK(has(refusal([&] { report::read_sweep(s.folder.path()); }), "line 2 has lists of different lengths"));
}

TEST_CASE("maps found by divergence have a score of their own, which is no similarity") {
  sweep s;
  json line = shared_line(1, "best:kl", 0, "flat", 22);
  line["score"] = -0.75;
  for (json& c : line["candidates"]) c["score"] = -0.75;
  s.lines.push_back(line);
  s.origin["plan"].push_back(line.at("combination"));
  s.write();
  const auto root = markup::read(s.page());
  CHECK(by_id(*root, "line-11").text.find("-0.75") == std::string::npos);
  CHECK(markup::all(by_id(*root, "acceptance"), "figure").size() == 3);
  const element& score = *markup::all(by_id(*root, "score"), "svg", "chart").front();
  CHECK(markup::all(score, "path", "mark").size() == 10 + 1);
}

TEST_CASE("a sweep that has only just begun, and one of many settings, have a report") {
  sweep s({"flat", "cosine", "mean-row-norm"});
  CHECK_NOTHROW(markup::read(s.page()));
  s.lines.resize(1);
  s.write();
  const auto root = markup::read(s.page());
  CHECK(numbers(by_id(*root, "line-0"))[1] == 20);
}

TEST_CASE("folders that are no sweep, and damaged ones, are refused by name") {
  const scratch_directory empty;
  CHECK(has(refusal([&] { report::read_sweep(empty.path()); }), "holds no sweep"));
  const auto refused = [](const auto& damage) {
    sweep s;
    damage(s);
    s.write();
    return refusal([&] { report::read_sweep(s.folder.path()); });
  };
  CHECK(has(refused([](sweep& s) { s.lines.clear(); }), "no line yet"));
  CHECK(has(refused([](sweep& s) { s.lines[2].erase("perplexity"); }), "line 3 is not what a sweep writes"));
  CHECK(has(refused([](sweep& s) { s.lines[0]["kind"] = "shared"; }), "line 1 is of the wrong kind"));
  CHECK(has(refused([](sweep& s) { s.lines[1]["layer_map"] = {0, 1, 2, 3, 5, 4}; }), "line 2 has a \"layer_map\""));
  CHECK(has(refused([](sweep& s) { s.lines[1]["layer_map"] = {0, 1}; }), "not a map of 6 layers"));
  CHECK(has(refused([](sweep& s) { s.origin.erase("model"); }), "model.json: is not what a sweep writes"));
  CHECK(has(refused([](sweep& s) { s.origin.erase("text"); }), "model.json: is not what a sweep writes"));
  CHECK(has(refused([](sweep& s) { s.origin["model"]["name"] = 1; }), "model.json: is not what a sweep writes"));
  CHECK(has(refused([](sweep& s) { s.origin["tokens"] = 1e300; }), "has 1e+300 where a whole number"));
  CHECK(has(refused([](sweep& s) { s.origin["window"] = -1; }), "has a negative number at /window"));
  CHECK(has(refused([](sweep& s) { s.lines[1]["combination"]["share"] = 1e300; }), "line 2 has 1e+300 where a whole"));
  CHECK(has(refused([](sweep& s) { s.lines[1]["combination"]["seed"] = -1; }), "line 2 has -1 where a whole number"));
  CHECK(has(refused([](sweep& s) { s.lines[1]["combination"]["order"] = evil; }),
            "line 2 has a rule that this version does not know"));
  CHECK(has(refused([](sweep& s) { s.lines[1]["layer_map"][1] = 0.5; }), "line 2 has 0.5 where a whole number"));
  CHECK(has(refused([](sweep& s) { s.lines[1]["candidates"][0]["reader"] = 6; }), "line 2 names layer 6 of 6"));
  CHECK(
      has(refused([](sweep& s) { s.lines[1]["combination"]["metric"] = "../flat"; }), "cannot be part of a file name"));
  CHECK(has(refused([](sweep& s) { std::filesystem::remove(s.folder.path() / "distances-flat-4.json"); }),
            "distances-flat-4.json"));
  CHECK(has(refused([](sweep& s) {
              s.folder.write("distances-flat-4.json",
                             "{\"metric\": \"flat\", \"samples\": 4, \"distance_matrix\": [[1]]}");
            }),
            "not a matrix of 6 layers"));
}

TEST_CASE("the program writes the page, beside the sweep or where it is told to") {
  const sweep s;
  const program_run beside = run_program({"report", s.folder.path().string()});
  CHECK(beside.exit_code == 0);
  CHECK(slurp(s.folder.path() / "report.html") == s.page());
  const std::string other = (s.folder.path() / "other.html").string();
  CHECK(run_program({"report", s.folder.path().string(), "--out", other}).exit_code == 0);
  CHECK(slurp(other) == s.page());
  const scratch_directory empty;
  const program_run none = run_program({"report", empty.path().string()});
  CHECK(none.exit_code == 1);
  CHECK(has(none.err, "holds no sweep"));
  CHECK(std::filesystem::is_empty(empty.path()));
}

}  // namespace
