// SPDX-License-Identifier: Apache-2.0
#include "run/session.hpp"

#include <cstdio>
#include <utility>

#include "checkpoint/families/own_map.hpp"
#include "kvsharer/io/strategy_json.hpp"
#include "run/bare_map.hpp"
#include "support/files.hpp"

namespace mini_llama {

namespace {

checkpoint open(const std::filesystem::path& directory) {
  checkpoint file(directory);
  for (const std::string& remark : file.remarks()) std::fprintf(stderr, "mini_llama: %s\n", remark.c_str());
  return file;
}

}  // namespace

session::session(const std::filesystem::path& dir) : session(model(open(dir))) { directory = dir; }

session::session(model made) : llama(std::move(made)) {
  const model_config& c = llama.config();
  identity = {c.layers, c.kv_heads, c.head_dim, rope_identity(c.rope), llama.fingerprint()};
}

const tokenizer& session::words() {
  if (!words_) {
    const std::filesystem::path file = tokenizer_file(directory);
    tokenizer found(file);
    if (found.pieces() > llama.config().vocab)
      throw load_error(file.string() + ": the tokenizer has " + std::to_string(found.pieces()) +
                       " pieces, the model only " + std::to_string(llama.config().vocab) +
                       " embeddings; they do not belong together");
    found.fit_to(llama.config().vocab);
    words_ = std::move(found);
  }
  return *words_;
}

kvsharer::share_plan session::follow(const std::optional<std::filesystem::path>& strategy_file, bool align) {
  if (!strategy_file) return own_map(llama.config());
  const std::string text = read_text_file(*strategy_file);
  refuse_bare_map(text, *strategy_file, own_map(llama.config()));
  const kvsharer::strategy s = kvsharer::read_strategy(text, strategy_file->string());
  kvsharer::check_same_model(s.model, identity);
  require_own_readers(llama.config(), s.report.plan);
  require_same_kinds(llama.config(), s.report.plan);
  if (align && s.alignment) {
    const kvsharer::share_map& map = s.report.plan.one_map(strategy_file->string() + " has an alignment, which");
    use(map, read_alignment(*strategy_file, *s.alignment, map, llama.config()));
  }
  return s.report.plan;
}

void session::use(const kvsharer::share_map& map, const alignment& readers) {
  model folded = llama;
  for (const auto& [l, a] : readers) folded.align(l, a);
  aligned_ = {map, std::move(folded)};
}

}  // namespace mini_llama
