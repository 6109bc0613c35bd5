// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "commands/commands.hpp"
#include "commands/number_options.hpp"
#include "device/gpu.hpp"
#include "probe/choices.hpp"
#include "run/generation.hpp"
#include "support/files.hpp"
#include "support/interrupt.hpp"
#include "support/standard_output.hpp"
#include "text/text_stream.hpp"

namespace mini_llama {

namespace {

struct generate_arguments {
  std::string model, backend = "auto";
  std::vector<std::string> prompts;
  std::size_t copies = 1;
  std::optional<std::filesystem::path> token_ids, plan;
  bool json = false, no_align = false, ignore_eos = false;
  bool layout_given = false, page_given = false;
  generation_request request;
};

/// One prompt gives its value as it is, several give a list.
template <class T>
nlohmann::json one_or_list(const std::vector<T>& values) {
  return values.size() == 1 ? nlohmann::json(values[0]) : nlohmann::json(values);
}

/// Are there words to show? Where only ids were given, a tokenizer that cannot be read is no reason to stop.
bool can_show_words(session& s, bool needed) {
  if (!needed && !has_tokenizer_file(s.directory)) return false;
  try {
    s.words();
    return true;
  } catch (const load_error& e) {
    if (needed) throw;
    std::fprintf(stderr, "mini_llama: %s\nmini_llama: only token ids are printed\n", e.what());
    return false;
  }
}

/// Did Ctrl-C end a sequence before its length or a token that ends texts?
bool cut_short(const generation& g, const generation_request& request, const std::vector<int>& eos) {
  const auto ended = [&](const std::vector<int>& ids) {
    return static_cast<kvsharer::index_t>(ids.size()) >= request.max_new_tokens ||
           (request.stop_at_eos && std::find(eos.begin(), eos.end(), ids.back()) != eos.end());
  };
  return interrupted() && !std::all_of(g.token_ids.begin(), g.token_ids.end(), ended);
}

std::string joined(const std::vector<int>& ids) {
  std::string text;
  for (const int id : ids) text += (text.empty() ? "" : " ") + std::to_string(id);
  return text;
}

void print_json(const generation& g, const std::vector<std::string>& texts, bool stopped) {
  nlohmann::json j{{"token_ids", one_or_list(g.token_ids)},
                   {"prefill_seconds", g.prefill_seconds},
                   {"decode_seconds", g.decode_seconds},
                   {"decode_tokens_per_second", g.decode_tokens_per_second()},
                   {"kv_bytes", g.footprint.keys + g.footprint.values},
                   {"kv_bytes_unshared", g.kv_bytes_unshared},
                   {"cache_bytes", g.footprint.total()},
                   {"interrupted", stopped}};
  j["text"] = texts.empty() ? nlohmann::json(nullptr) : one_or_list(texts);
  write_out(j.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

/// What was asked for that the GPU, whose cache has pages of 16 tokens and whose readers project nothing, does not do.
std::vector<std::string> host_options(const generate_arguments& a) {
  std::vector<std::string> options;
  const cache_choice& cache = a.request.cache;
  if (a.layout_given && cache.layout != "paged") options.push_back("--kv-layout " + cache.layout);
  if (a.page_given && cache.page_tokens != 16) options.push_back("--page-tokens " + std::to_string(cache.page_tokens));
  if (a.request.project_readers) options.push_back("--project-readers");
  return options;
}

void run(generate_arguments& a, const gpu_opener& open) {
  if (a.prompts.empty() != a.token_ids.has_value())
    throw usage_error("generate needs either --prompt TEXT or --token-ids FILE");
  for (const std::string& prompt : a.prompts)
    if (prompt.find_first_not_of(" \t\r\n") == std::string::npos)
      throw usage_error("the prompt is empty; give --prompt some text");
  std::unique_ptr<gpu> card = choose_backend(a.backend, open);
  keep_unless_given(card, a.backend, host_options(a));
  session s(a.model);
  keep_for(card, a.backend, s.llama.config());
  const kvsharer::cache_plan plan = s.follow(a.plan, !a.no_align);
  token_batch prompts;
  for (const std::string& prompt : a.prompts) prompts.push_back(s.words().encode(prompt));
  if (a.token_ids) prompts = read_token_ids(*a.token_ids, s.llama.config().vocab);
  for (std::size_t copy = 0; copy < a.copies; ++copy)
    a.request.prompts.insert(a.request.prompts.end(), prompts.begin(), prompts.end());
  const bool has_words = can_show_words(s, !a.prompts.empty());

  // One sequence streams as it grows; several would interleave, and JSON comes at the end.
  const bool streams = !a.json && has_words && a.request.prompts.size() == 1;
  std::optional<text_stream> shown;
  if (streams) {
    // The prompt is shown together with the first token, once the request has proved possible.
    shown.emplace(s.words(), a.request.prompts[0]);
    a.request.on_token = [&](std::size_t, int token) { write_out(shown->next(token)); };
  }
  a.request.stop_at_eos = !a.ignore_eos;
  a.request.cancelled = interrupted;
  const generation g = card ? card->generate(s, plan, a.request) : generate(s, plan, a.request);

  std::vector<std::string> texts;
  if (has_words)
    for (const std::vector<int>& ids : g.token_ids) texts.push_back(s.words().decode(ids));
  const bool stopped = cut_short(g, a.request, s.llama.config().eos);
  if (a.json)
    print_json(g, texts, stopped);
  else if (streams)
    write_out(shown->rest() + "\n");
  else
    for (std::size_t i = 0; i < g.token_ids.size(); ++i)
      write_out("[" + std::to_string(i) + "] " + (has_words ? texts[i] : joined(g.token_ids[i])) + "\n");
  if (stopped) std::fprintf(stderr, "mini_llama: stopped by Ctrl-C; what was generated until then is kept\n");
  if (a.json) return;
  std::fprintf(
      stderr, "%s: prefill %.3f s, decode %.1f tokens/s, KV cache %zu bytes (%zu unshared), %g of %d layers share\n",
      card ? card->name().c_str() : "CPU", g.prefill_seconds, g.decode_tokens_per_second(),
      g.footprint.keys + g.footprint.values, g.kv_bytes_unshared, plan.sharing().shared_planes() / 2.0, plan.layers());
}

}  // namespace

void add_generate(CLI::App& app, const gpu_opener& open) {
  auto a = std::make_shared<generate_arguments>();
  CLI::App* c = app.add_subcommand("generate", "Continue a prompt, with or without a plan");
  c->add_option("--model", a->model, "Model directory (HuggingFace format)")->required();
  c->add_option("--prompt", a->prompts, "Text to continue; given more than once, all run as one ragged batch")
      ->allow_extra_args(false);
  c->add_option("--batch", a->copies, "Sequences of each prompt; with --temperature every one goes its own way")
      ->capture_default_str()
      ->check(whole(1, 1 << 16));
  c->add_option("--token-ids", a->token_ids, "JSON array of arrays of token ids to continue, as one batch");
  c->add_option("--plan", a->plan, "Plan file; without it, the full model");
  c->add_flag("--no-align", a->no_align, "Leave out the alignment that the plan names");
  c->add_option("--max-new-tokens", a->request.max_new_tokens, "Tokens to generate")
      ->capture_default_str()
      ->check(whole(1));
  c->add_option("--temperature", a->request.temperature, "0 is greedy")->capture_default_str()->check(number(0));
  c->add_option("--top-p", a->request.top_p, "Sample from the most likely tokens of this total probability")
      ->capture_default_str()
      ->check(number(0, 1));
  c->add_option("--seed", a->request.seed, "Seed of sampling")->capture_default_str();
  c->add_flag("--ignore-eos", a->ignore_eos, "Go on after an end-of-sequence token");
  c->add_flag("--project-readers", a->request.project_readers,
              "Project keys and values in layers that share, and throw them away (same result, more work)");
  c->add_option("--kv-type", a->request.cache.type, "Type the cache stores")
      ->capture_default_str()
      ->check(CLI::IsMember(std::vector<std::string>(kv_type_names.begin(), kv_type_names.end())));
  c->add_option("--kv-layout", a->request.cache.layout, "Layout of the cache")
      ->capture_default_str()
      ->check(CLI::IsMember(std::vector<std::string>(kv_layout_names.begin(), kv_layout_names.end())));
  c->add_option("--page-tokens", a->request.cache.page_tokens, "Tokens in a page of the paged layout")
      ->capture_default_str()
      ->check(whole(1, 1 << 20));
  c->add_option("--backend", a->backend, "Where to run: auto takes a GPU where there is one; cuda insists on it")
      ->capture_default_str()
      ->check(CLI::IsMember(std::vector<std::string>(backend_names.begin(), backend_names.end())));
  c->add_flag("--json", a->json, "Print one JSON object on standard output");
  c->callback([a, c, open] {
    a->layout_given = c->count("--kv-layout") > 0;
    a->page_given = c->count("--page-tokens") > 0;
    run(*a, open);
  });
}

}  // namespace mini_llama
