// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "commands/commands.hpp"
#include "commands/device_options.hpp"
#include "run/evaluation.hpp"
#include "run/finite_logits.hpp"
#include "search/layers_shared.hpp"
#include "support/files.hpp"
#include "support/interrupt.hpp"
#include "support/progress.hpp"
#include "support/standard_output.hpp"

namespace mini_llama {

namespace {

struct eval_arguments {
  std::string model, text;
  std::optional<std::filesystem::path> plan;
  kvsharer::index_t window = 512;
  std::size_t max_tokens = 0;
  bool json = false, no_align = false;
  device_options device;
};

void run(const eval_arguments& a, const gpu_opener& open) {
  std::unique_ptr<gpu> card = a.device.choose(open);
  session s(a.model);
  a.device.keep_for(card, s.llama.config());
  const kvsharer::cache_plan plan = s.follow(a.plan, !a.no_align);
  std::vector<int> ids = s.words().encode(read_text_file(a.text), false, a.text);
  if (a.max_tokens && ids.size() > a.max_tokens) ids.resize(a.max_tokens);
  progress shown("eval: tokens", ids.size(), true);
  const auto on_progress = [&](std::size_t done, std::size_t) { shown.update(done); };
  const evaluation e = card ? card->evaluate(s, plan, ids, a.window, a.device.choice, on_progress, interrupted)
                            : evaluate(s, plan, ids, a.window, on_progress, interrupted);
  check_figures(e);
  if (a.json) {
    const nlohmann::json j{{"perplexity", e.perplexity},
                           {"full_perplexity", e.full_perplexity},
                           {"kl", e.kl},
                           {"top1_agreement", e.top1_agreement},
                           {"tokens", e.tokens},
                           {"window", a.window},
                           {"layers_shared", layers_shared(plan.sharing())},
                           {"device", card ? card->name() : "CPU"},
                           {"dtype", a.device.choice.type}};
    print_out("%s\n", j.dump().c_str());
  } else {
    print_out("perplexity %.4f", e.perplexity);
    if (plan.sharing().shared_planes())
      print_out(" with %g of %d layers sharing (full model %.4f), KL %.4f nats, same top token at %.1f %%",
                plan.sharing().shared_planes() / 2.0, plan.layers(), e.full_perplexity, e.kl, 100 * e.top1_agreement);
    print_out(", over %zu tokens in windows of %td\n", e.tokens, a.window);
  }
  if (e.tokens < ids.size())
    std::fprintf(stderr, "mini_llama: stopped by Ctrl-C after %zu of %zu tokens\n", e.tokens, ids.size());
}

}  // namespace

void add_eval(CLI::App& app, const gpu_opener& open) {
  auto a = std::make_shared<eval_arguments>();
  CLI::App* c = app.add_subcommand("eval", "Perplexity on a text, and agreement with the full model");
  c->add_option("--model", a->model, "Model directory (HuggingFace format)")->required();
  c->add_option("--text", a->text, "Text file to evaluate on")->required();
  c->add_option("--plan", a->plan, "Plan file; without it, the full model");
  c->add_flag("--no-align", a->no_align, "Leave out the alignment that the plan names");
  c->add_option("--window", a->window, "Tokens per window, BOS included")->capture_default_str();
  c->add_option("--max-tokens", a->max_tokens, "Use only the first tokens of the text (0: all)")->capture_default_str();
  c->add_flag("--json", a->json, "Print one JSON object on standard output");
  a->device.add_to(*c);
  c->callback([a, open] { run(*a, open); });
}

}  // namespace mini_llama
