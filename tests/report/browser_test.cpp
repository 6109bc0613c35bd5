// SPDX-License-Identifier: Apache-2.0
// The report of a real sweep in headless Chromium: what is drawn is there and readable, light and dark, on a desk and
// on a phone; numbers are those of results.jsonl; the console stays empty. Ends with 77, which CTest takes for
// "skipped", where no Chromium is installed; $CHROMIUM names one.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "mini_llama/program.hpp"
#include "mini_llama/tiny_checkpoint.hpp"

namespace {

using nlohmann::json;

std::string find_chromium() {
  if (const char* named = std::getenv("CHROMIUM")) return named;
  const char* path = std::getenv("PATH");
  std::istringstream folders(path ? path : "");
  std::vector<std::filesystem::path> all;
  for (std::string folder; std::getline(folders, folder, ':');) all.emplace_back(folder);
  for (const char* name : {"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"})
    for (const auto& folder : all)
      if (::access((folder / name).c_str(), X_OK) == 0) return folder / name;
  return {};
}

const std::string& chromium() {
  static const std::string program = [] {
    std::string found = find_chromium();
    if (found.empty()) {
      std::cout << "skipped: no Chromium is installed (Debian: chromium-headless-shell or chromium)" << std::endl;
      std::_Exit(77);
    }
    return found;
  }();
  return program;
}

struct look {
  bool dark = false;
  int width = 1280, height = 1000;
};

program_run browse(const std::filesystem::path& page, const look& how, const std::vector<std::string>& more) {
  const scratch_directory profile;
  std::vector<std::string> arguments{"--headless",
                                     "--disable-gpu",
                                     "--hide-scrollbars",
                                     "--enable-logging=stderr",
                                     "--user-data-dir=" + profile.path().string(),
                                     "--window-size=" + std::to_string(how.width) + "," + std::to_string(how.height),
                                     "--blink-settings=preferredColorScheme=" + std::to_string(how.dark ? 0 : 1)};
  // Chromium's sandbox refuses to be started by root; the page is our own.
  if (::geteuid() == 0) arguments.push_back("--no-sandbox");
  arguments.insert(arguments.end(), more.begin(), more.end());
  arguments.push_back("file://" + page.string());
  return run_command(chromium(), arguments);
}

std::vector<std::string> console(const program_run& run) {
  std::vector<std::string> said;
  std::istringstream lines(run.err);
  for (std::string line; std::getline(lines, line);)
    if (line.find("CONSOLE") != std::string::npos) said.push_back(line);
  return said;
}

std::string with_script(const std::string& page, const std::string& script) {
  const std::size_t end = page.rfind("</body>");
  REQUIRE(end != std::string::npos);
  return page.substr(0, end) + "<script>" + script + "</script>" + page.substr(end);
}

/// What the probe saw.
json probe(const scratch_directory& folder, const std::string& page, const look& how) {
  static const std::string script = slurp(KVSHARER_SOURCE_DIR "/tests/report/probe.js");
  const program_run run = browse(folder.write("probed.html", with_script(page, script)), how, {"--dump-dom"});
  REQUIRE(run.exit_code == 0);
  for (const std::string& said : console(run)) FAIL_CHECK(said);
  const std::string head = "<pre id=\"probe\">";
  const std::size_t begin = run.out.rfind(head);
  REQUIRE(begin != std::string::npos);
  std::string text = run.out.substr(begin + head.size(), run.out.find("</pre>", begin) - begin - head.size());
  for (const auto& [reference, character] : {std::pair{"&lt;", "<"}, {"&gt;", ">"}, {"&amp;", "&"}})
    for (std::size_t at = 0; (at = text.find(reference, at)) != std::string::npos; ++at)
      text.replace(at, std::string(reference).size(), character);
  return json::parse(text);
}

struct reported_sweep {
  scratch_directory folder;
  std::vector<json> lines, moves;
  std::vector<json> distances;
  std::string page;

  reported_sweep() {
    const tiny_checkpoint checkpoint;
    const std::string passages = KVSHARER_SOURCE_DIR "/examples/mini_llama/calibration/encyclopaedia.txt";
    const std::string text = folder.write("a <b> & 'c'.txt", slurp(passages)).string();
    const std::string out = (folder.path() / "sweep").string();
    const program_run swept = run_program({"sweep",
                                           "--model",
                                           checkpoint.directory(),
                                           "--text",
                                           text,
                                           "--out",
                                           out,
                                           "--share",
                                           "1,2,4,6",
                                           "--order",
                                           "dissimilar,similar,suffix,random:3",
                                           "--metric",
                                           "flat,cosine",
                                           "--samples",
                                           "3",
                                           "--threshold",
                                           "0.8",
                                           "--sample-tokens",
                                           "8",
                                           "--window",
                                           "16",
                                           "--tokens",
                                           "60",
                                           "--prompt-tokens",
                                           "12",
                                           "--new-tokens",
                                           "8"});
    REQUIRE_MESSAGE(swept.exit_code == 0, swept.err);
    REQUIRE(run_program({"report", out}).exit_code == 0);
    std::istringstream results(slurp(folder.path() / "sweep/results.jsonl"));
    for (std::string text; std::getline(results, text);) {
      const json line = json::parse(text);
      (line.at("kind") == "moves" ? moves : lines).push_back(line);
    }
    for (const std::string metric : {"flat", "cosine"})
      distances.push_back(json::parse(slurp(folder.path() / ("sweep/distances-" + metric + "-3.json"))));
    page = slurp(folder.path() / "sweep/report.html");
  }
};

const reported_sweep& subject() {
  static const reported_sweep s;
  return s;
}

void check_page(const json& seen) {
  CHECK(seen.at("sections").size() == 10);
  CHECK(seen.at("missing").empty());
  CHECK(seen.at("closed") > 0);
  CHECK(seen.at("overflow") <= 0);
  CHECK(seen.at("figures") > 0);
  CHECK(seen.at("tables") == seen.at("figures"));
  for (const json& size : seen.at("pictures")) {
    CHECK(size[0] > 150);
    CHECK(size[1] > 50);
  }
  CHECK_MESSAGE(seen.at("cut").empty(), seen.at("cut").dump());
  CHECK_MESSAGE(seen.at("overlaps").empty(), seen.at("overlaps").dump());
  CHECK(seen.at("focusable") > 20);
  CHECK_MESSAGE(seen.at("unfocused").empty(), seen.at("unfocused").dump());
  CHECK(seen.at("scrollers") == 0);
  for (const auto& item : seen.at("contrast").items()) {
    CAPTURE(item.key());
    CHECK(item.value() >= 4.5);
  }
}

TEST_CASE("a console message and a broken script are noticed") {
  chromium();
  const scratch_directory folder;
  const auto page = folder.write("bad.html", with_script("<!doctype html><html><body></body></html>",
                                                         "console.error('seen'); nothing.like.this();"));
  CHECK(console(browse(page, {}, {"--dump-dom"})).size() == 2);
}

TEST_CASE("on a desk, in light") {
  chromium();
  const reported_sweep& s = subject();
  const json seen = probe(s.folder, s.page, {});
  CHECK(seen.at("width") == 1280);
  CHECK(seen.at("dark") == false);
  check_page(seen);

  REQUIRE(s.lines.size() == 1 + 2 * 4 * 6);
  CHECK(s.moves.size() == 1);
  REQUIRE(seen.at("rows").size() == s.lines.size());
  for (std::size_t i = 0; i < s.lines.size(); ++i) {
    const json& line = s.lines[i];
    const json& row = seen.at("rows").at("line-" + std::to_string(i));
    const auto figure = [&](const char* key, double otherwise) { return line.value(key, json(otherwise)); };
    const json wanted{line.at("kv_bytes"),
                      line.at("perplexity"),
                      line.at("kl"),
                      line.at("top1_agreement"),
                      figure("score", 1),
                      figure("candidates_tried", 0),
                      figure("candidates_accepted", 0),
                      figure("layer_evaluations", 0),
                      figure("layer_evaluations_without_resume", 0),
                      line.at("seconds").at("search"),
                      line.at("prefill_tokens_per_second"),
                      line.at("decode_tokens_per_second")};
    CHECK(row == wanted);
  }
  for (std::size_t m = 0; m < s.distances.size(); ++m) {
    std::vector<double> wanted;
    const json& rows = s.distances[m].at("distance_matrix");
    for (std::size_t r = 0; r < rows.size(); ++r)
      for (std::size_t c = 0; c < r; ++c) wanted.push_back(rows[r][c]);
    CHECK(seen.at("distances").at(m) == json(wanted));
  }
  // In each of two settings 3 + 1 + 3 + 1 pictures of curves and distances, 4 of acceptance, 24 maps; single moves once
  // by each of five metrics.
  CHECK(seen.at("pictures").size() == 2 * (8 + 4 + 24) + 5);
  CHECK(seen.at("marks") > 0);
}

TEST_CASE("in the dark, and on a phone") {
  chromium();
  const reported_sweep& s = subject();
  const json dark = probe(s.folder, s.page, {.dark = true});
  CHECK(dark.at("dark") == true);
  check_page(dark);
  for (const bool night : {false, true}) {
    const json phone = probe(s.folder, s.page, {.dark = night, .width = 390, .height = 844});
    CHECK(phone.at("width") <= 500);
    check_page(phone);
  }
}

TEST_CASE("pictures of the page are kept to be looked at") {
  chromium();
  const reported_sweep& s = subject();
  const std::filesystem::path kept = KVSHARER_REPORT_PICTURES;
  std::filesystem::create_directories(kept);
  const auto page = s.folder.path() / "sweep/report.html";
  std::filesystem::copy_file(page, kept / "report.html", std::filesystem::copy_options::overwrite_existing);
  std::vector<std::string> pictures;
  for (const auto& [name, how] : {std::pair{"light", look{false, 1280, 9000}},
                                  {"dark", look{true, 1280, 9000}},
                                  {"phone", look{false, 390, 9000}}}) {
    const std::filesystem::path file = kept / (std::string(name) + ".png");
    std::filesystem::remove(file);
    const program_run run = browse(page, how, {"--screenshot=" + file.string()});
    CHECK(run.exit_code == 0);
    for (const std::string& said : console(run)) FAIL_CHECK(said);
    pictures.push_back(slurp(file));
    CHECK(pictures.back().starts_with("\x89PNG"));
    CHECK(pictures.back().size() > 50000);
  }
  CHECK(pictures[0] != pictures[1]);
}

}  // namespace
