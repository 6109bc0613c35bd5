// SPDX-License-Identifier: Apache-2.0
// Results that do not arrive: on a full disk, in a closed pipe, in a folder that is not there.
#include <doctest/doctest.h>

#include <filesystem>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "mini_llama/program.hpp"
#include "mini_llama/tiny_checkpoint.hpp"

namespace {

using nlohmann::json;

/// What a shell makes of a line in which $P is the program, $M the tiny model and $F a folder.
program_run shell(const std::string& line, const tiny_checkpoint& model, const scratch_directory& folder) {
  return run_command("/bin/sh", {"-c", "P='" MINI_LLAMA_PROGRAM "'; M='" + model.directory() + "'; F='" +
                                           folder.path().string() + "'; " + line});
}

/// Prepares what the commands read: token ids, text, and a sweep's results.
void prepare(const tiny_checkpoint& model, const scratch_directory& folder) {
  folder.write("ids.json", "[[1, 5, 9, 33], [1, 7, 8, 40]]");
  std::string text;
  for (int line = 0; line < 4; ++line)
    text += "The river flows through the town and into the sea, and then it rests.\n";
  folder.write("text.txt", text);
  const program_run made = shell(
      "exec \"$P\" sweep --backend cpu --model \"$M\" --text \"$F/text.txt\" --calibration \"$F/text.txt\" --share 1 "
      "--order similar --samples 2 --sample-tokens 8 --window 8 --prompt-tokens 4 --new-tokens 2 --no-moves --out "
      "\"$F/swept\"",
      model, folder);
  REQUIRE_MESSAGE(made.exit_code == 0, made.err);
}

/// Every way in which the program says something on standard output.
const std::vector<std::string> commands{
    "--version",
    "--help",
    "eval --help",
    "generate --backend cpu --model $M --token-ids $F/ids.json --max-new-tokens 2",
    "logits --backend cpu --model $M --token-ids $F/ids.json",
    "search --backend cpu --model $M --token-ids $F/ids.json --share 1",
    "search --backend cpu --model $M --token-ids $F/ids.json --share 1 --json",
    "eval --backend cpu --model $M --text $F/text.txt --window 8",
    "eval --backend cpu --model $M --text $F/text.txt --window 8 --json",
    "bench --backend cpu --shape $M/config.json --context 16 --new-tokens 4 --repeats 1 --dtype f32",
    "bench --backend cpu --shape $M/config.json --context 16 --new-tokens 4 --repeats 1 --dtype f32 --json",
    "sweep --backend cpu --model $M --text $F/text.txt --calibration $F/text.txt --share 1 --order similar --samples 2 "
    "--sample-tokens 8 --window 8 --prompt-tokens 4 --new-tokens 2 --no-moves --out $F/again",
    "report $F/swept",
    "demo --backend cpu --model $M --calibration $F/text.txt --samples 2 --sample-tokens 8 --max-new-tokens 2 --out "
    "$F/demo",
    "demo --backend cpu --model $M --calibration $F/text.txt --samples 2 --sample-tokens 8 --max-new-tokens 2 --out "
    "$F/demo "
    "--json"};

}  // namespace

TEST_CASE("every command fails where its output cannot be written") {
  const tiny_checkpoint model;
  const scratch_directory folder;
  prepare(model, folder);
  for (const std::string& command : commands) {
    CAPTURE(command);
    const program_run full = shell("exec \"$P\" " + command + " >/dev/full", model, folder);
    CHECK(full.exit_code == 1);
    CHECK_MESSAGE(has(full.err, "standard output cannot be written (No space left on device)"), full.err);
    std::filesystem::remove_all(folder.path() / "again");
    if (command.starts_with("demo") || command.starts_with("bench")) continue;
    const program_run closed = shell("exec \"$P\" " + command + " >&-", model, folder);
    CHECK(closed.exit_code == 1);
    CHECK_MESSAGE(has(closed.err, "standard output cannot be written (Bad file descriptor)"), closed.err);
    std::filesystem::remove_all(folder.path() / "again");
  }
  // What reads has gone before there is anything to read.
  const program_run pipe = shell("{ sleep 0.3; \"$P\" --version; echo \"code $?\" >&2; } | true", model, folder);
  CHECK_MESSAGE(has(pipe.err, "standard output cannot be written (Broken pipe)"), pipe.err);
  CHECK_MESSAGE(has(pipe.err, "code 1\n"), pipe.err);
}

TEST_CASE("a place for results that takes none is refused before the work") {
  const tiny_checkpoint model;
  const scratch_directory folder;
  prepare(model, folder);
  const std::string search =
      "exec \"$P\" search --backend cpu --model $M --token-ids $F/ids.json --share 1 --threshold -1 ";
  for (const std::string place :
       {"--out $F/none/s.json", "--out $F/s.json --python-map $F/none/m.py", "--out $F/", "--out /dev/full"}) {
    CAPTURE(place);
    const program_run r = shell(search + place, model, folder);
    CHECK(r.exit_code == 1);
    CHECK_MESSAGE(has(r.err, "cannot be written"), r.err);
    CHECK(r.out.empty());  // and no map was found
    CHECK_FALSE(std::filesystem::exists(folder.path() / "s.json"));
  }
  folder.write("file", "");
  const program_run demo = shell(
      "exec \"$P\" demo --backend cpu --model $M --calibration $F/text.txt --samples 2 --sample-tokens 8 --out "
      "$F/file/demo",
      model, folder);
  CHECK(demo.exit_code == 1);
  CHECK_MESSAGE(has(demo.err, "file/demo: cannot be made"), demo.err);
  CHECK(demo.out.empty());
  // What asks leaves nothing behind: ids, text, file and the sweep's folder.
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), std::filesystem::directory_iterator{}) == 4);
}

TEST_CASE("a map that was found is printed where its file cannot be written") {
  const tiny_checkpoint model;
  const scratch_directory folder;
  prepare(model, folder);
  // No file may grow, as on a full disk; what is printed goes through a pipe.
  const auto found = [&](const std::string& more) {
    return shell(
        "{ (ulimit -f 0; exec \"$P\" search --backend cpu --model $M --token-ids $F/ids.json --share 1 --threshold "
        "-1 --out $F/s.json " +
            more + "); echo \"code $?\" >&2; } | cat",
        model, folder);
  };
  const program_run as_json = found("--json");
  CHECK_MESSAGE(has(as_json.err, "code 1\n"), as_json.err);
  REQUIRE_FALSE(as_json.out.empty());
  CHECK(json::parse(as_json.out).at("layer_map").size() == tiny_checkpoint::layers);
  const program_run as_text = found("");
  const std::size_t plan = as_text.out.find("{\n  \"kvsharer_plan\"");
  REQUIRE(plan != std::string::npos);
  CHECK(json::parse(as_text.out.substr(plan)).at("key_map") == json::parse(as_json.out).at("layer_map"));
  CHECK_FALSE(std::filesystem::exists(folder.path() / "s.json"));
}
