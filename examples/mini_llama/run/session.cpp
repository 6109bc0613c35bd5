// SPDX-License-Identifier: Apache-2.0
#include "run/session.hpp"

#include <cstdio>
#include <string>
#include <utility>

#include "checkpoint/families/own_map.hpp"
#include "kvsharer/io/plan_json.hpp"
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

kvsharer::plan_file session::read(const std::filesystem::path& plan_file) const {
  const std::string text = read_text_file(plan_file);
  refuse_bare_map(text, plan_file, own_map(llama.config()));
  kvsharer::plan_file read = kvsharer::read_plan(text, plan_file.string());
  kvsharer::check_same_model(read.model, identity);
  require_own_readers(llama.config(), read.plan.sharing());
  require_same_kinds(llama.config(), read.plan.sharing());
  return read;
}

kvsharer::cache_plan session::follow(const std::optional<std::filesystem::path>& plan_file, bool align) {
  if (!plan_file) return own_map(llama.config());
  const kvsharer::plan_file found = read(*plan_file);
  if (align && found.alignment) {
    const kvsharer::share_map& map = found.plan.sharing().one_map(plan_file->string() + " has an alignment, which");
    use(map, read_alignment(*plan_file, *found.alignment, map, llama.config()));
  }
  return found.plan;
}

void session::use(const kvsharer::share_map& map, const alignment& readers) {
  model folded = llama;
  for (const auto& [l, a] : readers) folded.align(l, a);
  aligned_ = {map, std::move(folded)};
}

}  // namespace mini_llama
