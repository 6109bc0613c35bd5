// SPDX-License-Identifier: Apache-2.0
// A model with NaN or infinity in it is refused by every command, and never has a result.
#include <doctest/doctest.h>

#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "mini_llama/program.hpp"
#include "mini_llama/tiny_checkpoint.hpp"

namespace {

using arguments = std::vector<std::string>;

constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN(),
                infinite = std::numeric_limits<float>::infinity();

std::string passages() {
  std::string text;
  for (int line = 0; line < 4; ++line)
    text += "The river flows through the town and into the sea, and then it rests.\n";
  return text;
}

}  // namespace

TEST_CASE("every command refuses a model that is not finite") {
  const scratch_directory folder;
  const std::string ids = folder.write("ids.json", "[[1, 5, 9, 33], [1, 7, 8, 40]]").string();
  const std::string text = folder.write("text.txt", passages()).string();
  const std::string out = (folder.path() / "out").string();
  const std::vector<arguments> commands{
      {"generate", "--token-ids", ids, "--max-new-tokens", "2"},
      {"logits", "--token-ids", ids},
      {"eval", "--text", text, "--window", "8"},
      {"search", "--token-ids", ids, "--share", "2", "--out", out},
      {"search", "--token-ids", ids, "--share", "2", "--objective", "kl", "--out", out},
      {"search", "--token-ids", ids, "--share", "2", "--order", "best", "--out", out},
      {"demo", "--calibration", text, "--samples", "2", "--sample-tokens", "8", "--max-new-tokens", "2", "--out", out},
      {"sweep",   "--text",       text, "--calibration",   text,    "--share",  "1", "--order",
       "similar", "--samples",    "2",  "--sample-tokens", "8",     "--window", "8", "--prompt-tokens",
       "4",       "--new-tokens", "2",  "--no-moves",      "--out", out}};
  struct damage {
    std::string tensor;
    float number;
    std::ptrdiff_t at = -1;
  };
  // The last is of a token that no prompt has: only the head, whose weights are the same, sees it.
  const std::vector<damage> damages{{"model.layers.2.self_attn.k_proj.weight", not_a_number},
                                    {"model.layers.7.self_attn.v_proj.weight", infinite},
                                    {"model.layers.7.mlp.down_proj.weight", not_a_number},
                                    {"model.norm.weight", infinite},
                                    {"model.embed_tokens.weight", not_a_number, 8000 * tiny_checkpoint::hidden}};
  for (const damage& d : damages) {
    tiny_checkpoint model;
    model.spoil(d.tensor, d.number, d.at);
    for (arguments command : commands) {
      command.insert(command.end(), {"--backend", "cpu", "--model", model.directory()});
      const program_run r = run_program(command);
      CAPTURE(d.tensor);
      CAPTURE(command[0]);
      CAPTURE(r.err);
      CHECK(r.exit_code == 1);
      CHECK(has(r.err, "kvsharer E406: "));
      CHECK(r.out.empty());
      // A sweep's folder is made before its first line is; it has none.
      if (command[0] == "sweep") CHECK(slurp(out + "/results.jsonl").empty());
      std::filesystem::remove_all(out);
    }
  }
}
