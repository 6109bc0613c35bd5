// SPDX-License-Identifier: Apache-2.0
#include "text/calibration.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <filesystem>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "golden/golden.hpp"
#include "mini_llama/scratch_directory.hpp"
#include "support/files.hpp"

namespace {

using namespace mini_llama;

const tokenizer& words() {
  static const tokenizer t(std::filesystem::path(golden::model_directory()) / "tokenizer.model");
  return t;
}

TEST_CASE("the shipped calibration text has at least 40 passages of at least 80 tokens, none twice") {
  std::istringstream lines(read_text_file(KVSHARER_SOURCE_DIR "/examples/mini_llama/calibration/encyclopaedia.txt"));
  std::set<std::string> passages;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) continue;
    CHECK_MESSAGE(words().encode(line).size() >= 80, line.substr(0, 60));
    CHECK(passages.insert(line).second);
  }
  CHECK(passages.size() >= 40);
}

TEST_CASE("samples are the first long lines, cut to one length, BOS first") {
  const scratch_directory folder;
  const std::string a = "The town lies on the river and has a small harbour.", b = "The church was built in the city.";
  const auto file = folder.write("text.txt", a + "\n\nToo short.\n" + b + "\n" + a + "\n");
  const token_batch batch = read_calibration(file, words(), 2, 8);
  REQUIRE(batch.size() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    std::vector<int> whole = words().encode(i == 0 ? a : b);
    CHECK(whole[0] == 1);
    whole.resize(8);
    CHECK(batch[i] == whole);
  }
  const std::string missing = refusal([&] { read_calibration(file, words(), 4, 8); });
  CHECK(has(missing, "text.txt"));
  CHECK(has(missing, "3 lines"));
  CHECK(has(missing, "1 are shorter"));
}

TEST_CASE("what Windows adds to a text is no part of its passages") {
  const scratch_directory folder;
  const std::string a = "The town lies on the river and has a small harbour.", b = "The church was built in the city.";
  const auto plain = folder.write("plain.txt", a + "\n\n" + b + "\n");
  const auto windows = folder.write("windows.txt", "\xEF\xBB\xBF" + a + "\r\n\r\n" + b + "\r\n");
  CHECK(read_calibration(windows, words(), 2, 8) == read_calibration(plain, words(), 2, 8));
  // One that is a token too short does not become long enough.
  const int tokens = static_cast<int>(words().encode(b).size());
  const auto crlf = folder.write("crlf.txt", b + "\r\n");
  CHECK(read_calibration(crlf, words(), 1, tokens).at(0) == words().encode(b));
  CHECK(has(refusal([&] { read_calibration(crlf, words(), 1, tokens + 1); }), "0 lines have"));
}

TEST_CASE("a passage that is not UTF-8 is refused with its line") {
  const scratch_directory folder;
  const auto file = folder.write("latin1.txt", "The town.\n\nA caf\xE9 in the town.\n");
  const std::string said = refusal([&] { read_calibration(file, words(), 2, 2); });
  CHECK_MESSAGE(has(said, "latin1.txt: line 3 cannot be tokenized: its byte 5 is not UTF-8"), said);
}

TEST_CASE("batches of ids are cut, and refused when their lengths differ") {
  CHECK(trim_calibration({{1, 2, 3}, {4, 5, 6, 7}, {8}}, 2, 3) == token_batch{{1, 2, 3}, {4, 5, 6}});
  CHECK(has(refusal([] { trim_calibration({{1, 2, 3}, {4, 5}}, 5, 64); }), "sample 1 has 2 tokens"));
  CHECK(trim_calibration({{1, 2, 3}, {4, 5}, {6, 7, 8, 9}, {8, 8, 8}}, 2, 3, true) ==
        token_batch{{1, 2, 3}, {6, 7, 8}});
  CHECK(has(refusal([] { trim_calibration({{1}, {4}}, 5, 64); }), "fewer than 2"));
  CHECK(has(refusal([] { trim_calibration({}, 5, 64); }), "no calibration samples"));
}

}  // namespace
