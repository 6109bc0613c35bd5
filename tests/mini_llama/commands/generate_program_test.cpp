// SPDX-License-Identifier: Apache-2.0
// `generate` as it is used at a terminal: text as it comes, Ctrl-C, output that fails, and the tokenizers of a folder.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "golden/golden_tokenizers.hpp"
#include "mini_llama/program.hpp"
#include "mini_llama/tiny_checkpoint.hpp"
#include "text/tokenizer.hpp"

namespace {

using nlohmann::json;
using arguments = std::vector<std::string>;

/// A program that runs beside the test, its standard output on a pipe and its standard error in a file.
class running_program {
 public:
  explicit running_program(const arguments& more) {
    arguments words{MINI_LLAMA_PROGRAM};
    words.insert(words.end(), more.begin(), more.end());
    std::vector<char*> argv;
    for (std::string& w : words) argv.push_back(w.data());
    argv.push_back(nullptr);
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const std::string errors = (folder_.path() / "err").string();
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(ends[1], STDOUT_FILENO);
      ::dup2(::open(errors.c_str(), O_WRONLY | O_CREAT, 0600), STDERR_FILENO);
      ::close(ends[0]);
      ::close(ends[1]);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
    ::close(ends[1]);
    out_ = ends[0];
  }

  /// Waits for more output; false at its end.
  bool read_some() {
    char bytes[4096];
    const ssize_t n = ::read(out_, bytes, sizeof bytes);
    if (n > 0) out.append(bytes, static_cast<std::size_t>(n));
    return n > 0;
  }

  void interrupt() { ::kill(pid_, SIGINT); }

  /// The exit code, -1 after a signal; out and err are then complete.
  int finish() {
    while (read_some()) {
    }
    ::close(out_);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    err = slurp(folder_.path() / "err");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  std::string out, err;

 private:
  scratch_directory folder_;
  pid_t pid_ = -1;
  int out_ = -1;
};

/// The tiny model in a folder of its own, without a tokenizer.
class folder_without_words {
 public:
  folder_without_words() {
    for (const char* file : {"config.json", "model.safetensors"})
      std::filesystem::create_symlink(std::filesystem::path(model_.directory()) / file, folder_.path() / file);
  }

  void give(const std::string& tokenizer_json) { folder_.write("tokenizer.json", tokenizer_json); }
  void give(const std::string& name, const json& content) { folder_.write(name, content.dump()); }
  void give_pieces() {
    std::filesystem::create_symlink(golden::model_directory() + "/tokenizer.model", folder_.path() / "tokenizer.model");
  }
  std::string ids(const std::string& text) { return folder_.write("ids.json", text).string(); }
  std::string text(const std::string& content) { return folder_.write("text.txt", content).string(); }
  std::string directory() const { return folder_.path().string(); }

 private:
  tiny_checkpoint model_;
  scratch_directory folder_;
};

}  // namespace

TEST_CASE("text comes while it is made, and Ctrl-C keeps it") {
  const arguments long_story{"generate", "--model",      golden::model_directory(),
                             "--prompt", "In 1914",      "--max-new-tokens",
                             "1000",     "--ignore-eos", "--backend",
                             "cpu"};
  running_program p(long_story);
  REQUIRE(p.read_some());
  const std::string first = p.out;
  CHECK(first.starts_with("In 1914"));
  p.interrupt();
  CHECK(p.finish() == 0);
  CHECK(p.out.starts_with(first));
  CHECK(p.out.ends_with("\n"));
  CHECK_MESSAGE(has(p.err, "stopped by Ctrl-C"), p.err);
  CHECK(has(p.err, "tokens/s"));

  arguments as_json = long_story;
  as_json.insert(as_json.end(), {"--json", "--batch", "16"});
  running_program q(as_json);
  ::usleep(200'000);  // whenever it comes, the answer is whole
  q.interrupt();
  const int code = q.finish();
  CHECK((code == 0 || code == -1));  // before the program listens, Ctrl-C ends it
  if (code == 0) {
    const json j = json::parse(q.out);
    CHECK(j.at("interrupted") == true);
    REQUIRE(j.at("token_ids").size() == 16);
    CHECK(j.at("token_ids")[0].size() >= 1);
    CHECK(j.at("token_ids")[0].size() < 1000);
  }
}

TEST_CASE("output that cannot be written is an error") {
  const tiny_checkpoint tiny;
  for (const char* more : {"", " --json", " --batch 2"}) {
    const std::string command = std::string("'") + MINI_LLAMA_PROGRAM +
                                "' generate --backend cpu --max-new-tokens 3 --prompt a --model '" + tiny.directory() +
                                "'" + more + " >/dev/full";
    const program_run r = run_command("/bin/sh", {"-c", command});
    CHECK(r.exit_code == 1);
    CHECK_MESSAGE(has(r.err, "standard output cannot be written (No space left on device)"), r.err);
  }
}

TEST_CASE("a folder with a byte-level tokenizer.json is continued in its words") {
  folder_without_words folder;
  folder.give(slurp(golden::byte_level_file("llama3")));
  const mini_llama::tokenizer words(golden::byte_level_file("llama3"));
  const arguments generate{
      "generate",  "--model", folder.directory(), "--max-new-tokens",           "40", "--ignore-eos",
      "--backend", "cpu",     "--prompt",         "The lighthouse \xE6\x9D\xB1"};
  arguments as_json = generate;
  as_json.push_back("--json");
  const program_run made = run_program(as_json);
  REQUIRE(made.exit_code == 0);
  const json j = json::parse(made.out);
  const std::vector<int> ids = j.at("token_ids");
  CHECK(ids.size() == 40);
  CHECK(j.at("interrupted") == false);
  // This model has 8192 rows of embeddings and random weights: most of what it makes has no text.
  std::vector<int> known = words.encode("The lighthouse \xE6\x9D\xB1");
  for (const int id : ids)
    if (id < words.vocab()) known.push_back(id);
  CHECK(run_program(generate).out == words.decode(known) + "\n");

  const scratch_directory ids_folder;
  const std::string prompt_ids =
      ids_folder.write("ids.json", json({words.encode("The lighthouse \xE6\x9D\xB1")}).dump()).string();
  const program_run of_ids = run_program({"generate", "--model", folder.directory(), "--max-new-tokens", "40",
                                          "--ignore-eos", "--backend", "cpu", "--token-ids", prompt_ids});
  CHECK(of_ids.out == words.decode(known) + "\n");
}

TEST_CASE("without words, token ids still work, and text is refused with what to do") {
  folder_without_words folder;
  const std::string ids = folder.ids("[[1, 5, 9]]");
  const arguments of_ids{
      "generate",    "--model", folder.directory(), "--max-new-tokens", "3", "--ignore-eos", "--backend", "cpu",
      "--token-ids", ids};
  const arguments of_text{"generate", "--model", folder.directory(), "--prompt", "a", "--backend", "cpu"};
  const program_run plain = run_program(of_ids);
  CHECK(plain.exit_code == 0);
  CHECK(plain.out.starts_with("[0] "));
  const program_run none = run_program(of_text);
  CHECK(none.exit_code == 1);
  CHECK_MESSAGE(has(none.err, "has neither tokenizer.model nor tokenizer.json"), none.err);

  folder.give(R"({"model": {"type": "Unigram", "vocab": []}})");
  const program_run warned = run_program(of_ids);
  CHECK(warned.exit_code == 0);
  CHECK(warned.out == plain.out);
  CHECK_MESSAGE(has(warned.err, "model.type is \"Unigram\""), warned.err);
  CHECK(has(warned.err, "only token ids are printed"));
  const program_run refused = run_program(of_text);
  CHECK(refused.exit_code == 1);
  CHECK(has(refused.err, "model.type is \"Unigram\""));
}

TEST_CASE("generation ends at each of the tokens that generation_config.json lists") {
  folder_without_words folder;
  const arguments generate{
      "generate",         "--model", folder.directory(), "--token-ids", folder.ids("[[1, 5, 9], [1, 7]]"),
      "--max-new-tokens", "12",      "--backend",        "cpu",         "--json"};
  using batch = std::vector<std::vector<int>>;
  const batch all = json::parse(run_program(generate).out).at("token_ids");
  REQUIRE(all[0].size() == 12);
  // Each sequence up to the first of these tokens, which is not the one of config.json.
  folder.give("generation_config.json", {{"eos_token_id", {2, all[0][3], all[1][5]}}});
  batch expected = all;
  for (std::vector<int>& ids : expected) {
    const auto end = std::find_if(ids.begin(), ids.end(), [&](int id) { return id == all[0][3] || id == all[1][5]; });
    ids.erase(end + 1, ids.end());
  }
  CHECK(expected[0].size() <= 4);
  CHECK(json::parse(run_program(generate).out).at("token_ids") == json(expected));
}

TEST_CASE("what stands beside tokenizer.model is followed in prompts, samples and evaluated texts") {
  folder_without_words folder;
  folder.give_pieces();
  folder.give(
      "tokenizer_config.json",
      {{"add_bos_token", false}, {"added_tokens_decoder", {{"300", {{"content", "<|im_end|>"}, {"special", true}}}}}});
  const std::string text = "of Lisbon<|im_end|>";
  const std::string ids = folder.ids("[[280, 6057, 3854, 300]]"), file = folder.text(text + "\n");
  const auto generated = [&](const arguments& prompt) {
    arguments a{"generate", "--model", folder.directory(), "--max-new-tokens", "6", "--ignore-eos", "--backend",
                "cpu",      "--json"};
    a.insert(a.end(), prompt.begin(), prompt.end());
    const json j = json::parse(run_program(a).out);
    return json{j.at("token_ids"), j.at("kv_bytes")};
  };
  CHECK(generated({"--prompt", text}) == generated({"--token-ids", ids}));

  const auto found = [&](const arguments& samples) {
    arguments a{"search",          "--model", folder.directory(), "--share", "1",     "--samples", "1",
                "--sample-tokens", "4",       "--backend",        "cpu",     "--json"};
    a.insert(a.end(), samples.begin(), samples.end());
    const program_run r = run_program(a);
    REQUIRE_MESSAGE(r.exit_code == 0, r.err);
    return json::parse(r.out).at("distance_matrix");
  };
  CHECK(found({"--calibration", file}) == found({"--token-ids", ids}));

  // Five tokens with the newline, none of which BOS predicts.
  const auto evaluated = [&] {
    return json::parse(run_program({"eval", "--model", folder.directory(), "--text", file, "--window", "16",
                                    "--backend", "cpu", "--json"})
                           .out)
        .at("tokens");
  };
  CHECK(evaluated() == 4);
  folder.give("tokenizer_config.json", {{"add_bos_token", true}});
  CHECK(evaluated() > 5);  // <|im_end|> is text now
}

TEST_CASE("a head that unties the embedding is used, and said on standard error") {
  folder_without_words folder;
  const scratch_directory other;
  std::filesystem::create_directory(other.path() / "model");
  const std::string ids = folder.ids("[[1, 5, 9]]");
  std::string bytes = slurp(std::filesystem::path(folder.directory()) / "model.safetensors");
  // The embedding stands first: a copy of it with the sign of every number changed is the head.
  const std::size_t header_bytes =
      static_cast<unsigned char>(bytes[0]) | static_cast<std::size_t>(static_cast<unsigned char>(bytes[1])) << 8;
  json header = json::parse(bytes.substr(8, header_bytes));
  std::string data = bytes.substr(8 + header_bytes), head = data.substr(0, golden::vocab * tiny_checkpoint::hidden * 4);
  for (std::size_t i = 3; i < head.size(); i += 4) head[i] = static_cast<char>(head[i] ^ 0x80);
  header["lm_head.weight"] = {{"dtype", "F32"},
                              {"shape", {golden::vocab, tiny_checkpoint::hidden}},
                              {"data_offsets", {data.size(), data.size() + head.size()}}};
  const auto untied = other.path() / "model";
  std::filesystem::copy(std::filesystem::path(folder.directory()) / "config.json", untied / "config.json");
  other.write("model/model.safetensors", safetensors_bytes(header.dump(), data + head));

  const auto logits = [&](const std::string& directory) {
    return run_program({"logits", "--model", directory, "--token-ids", ids, "--backend", "cpu"});
  };
  const program_run tied_run = logits(folder.directory()), untied_run = logits(untied.string());
  REQUIRE_MESSAGE(untied_run.exit_code == 0, untied_run.err);
  CHECK(tied_run.err.empty());
  CHECK_MESSAGE(has(untied_run.err, "mini_llama: config.json says \"tie_word_embeddings\": true"), untied_run.err);
  const std::vector<double> a = json::parse(tied_run.out).at("logits").at(0),
                            b = json::parse(untied_run.out).at("logits").at(0);
  REQUIRE(a.size() == golden::vocab);
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(a[i] == -b[i]);
}
