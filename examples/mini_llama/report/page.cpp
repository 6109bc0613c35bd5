// SPDX-License-Identifier: Apache-2.0
#include "report/page.hpp"

#include <string>
#include <vector>

#include "report/markup.hpp"
#include "report/naming.hpp"
#include "report/sections.hpp"
#include "report/style.hpp"

namespace mini_llama::report {
namespace {

struct section {
  const char *id, *name;
  std::string (*content)(const sweep_results&);
};

constexpr section sections[] = {
    {"glance", "At a glance", glance_section},
    {"quality", "Quality against KV bytes", quality_section},
    {"maps", "The maps", map_section},
    {"distances", "How different the layers are", distance_section},
    {"acceptance", "Ranking or test?", acceptance_section},
    {"moves", "Does the ranking foretell damage?", moves_section},
    {"score", "Does the score tell the truth?", score_section},
    {"speed", "Speed", speed_section},
    {"text", "The text continued", continuation_section},
    {"results", "All results", results_section},
};

std::string text_of(const nlohmann::json& value) { return escaped(value.get<std::string>()); }

/// A fingerprint has hundreds of digits, of which the first say enough to readers.
std::string beginning(const std::string& fingerprint) {
  return fingerprint.size() <= 24 ? fingerprint : fingerprint.substr(0, 23) + "…";
}

std::string lead(const sweep_results& all) {
  const nlohmann::json& o = all.origin;
  const nlohmann::json& m = o.at("model");
  const auto number = [](const nlohmann::json& value) { return std::to_string(value.get<long>()); };
  return element("p", {{"class", "lead"}},
                 element("b", {}, text_of(m.at("name"))) + ": " + text_of(m.at("architecture")) + ", " +
                     number(m.at("layers")) + " layers, " + number(m.at("heads")) + " query and " +
                     number(m.at("kv_heads")) + " KV heads of " + number(m.at("head_dim")) + ", fingerprint " +
                     element("code", {}, escaped(beginning(m.at("fingerprint").get<std::string>()))) +
                     ". Measured on " + element("b", {}, text_of(o.at("text").at("name"))) + ", calibrated on " +
                     text_of(o.at("calibration").at("name")) + " in samples of " + number(o.at("sample_tokens")) +
                     " tokens" +
                     (all.settings().size() == 1 ? " (" + escaped(setting_name(all, all.settings()[0])) + ")." : "."));
}

std::string footer(const nlohmann::json& o) {
  const auto number = [](const nlohmann::json& value) { return std::to_string(value.get<long>()); };
  return element("footer", {},
                 "Made by " + text_of(o.at("program")) + ". Perplexity, KL and agreement over " +
                     number(o.at("tokens")) + " tokens in windows of " + number(o.at("window")) +
                     "; speed and KV bytes of " + number(o.at("prompt_tokens")) + " prompt and " +
                     number(o.at("new_tokens")) +
                     " new tokens, float32, one sequence; similarity: " + text_of(o.at("similarity")) + ". Text hash " +
                     element("code", {}, text_of(o.at("text").at("hash"))) + ", calibration hash " +
                     element("code", {}, text_of(o.at("calibration").at("hash"))) + ".");
}

}  // namespace

std::string page(const sweep_results& all) {
  const std::string title = "KV sharing on " + all.origin.at("model").at("name").get<std::string>();
  std::string links, body;
  for (const section& s : sections) {
    links += element("li", {}, element("a", {{"href", "#" + std::string(s.id)}}, s.name));
    body += element("section", {{"id", s.id}, {"aria-labelledby", std::string(s.id) + "-name"}},
                    element("h2", {{"id", std::string(s.id) + "-name"}}, s.name) + "\n" + s.content(all)) +
            "\n";
  }
  const std::string head =
      element("head", {},
              element("meta", {{"charset", "utf-8"}}) +
                  element("meta", {{"name", "viewport"}, {"content", "width=device-width, initial-scale=1"}}) +
                  element("meta", {{"name", "color-scheme"}, {"content", "light dark"}}) +
                  // An empty icon, so that no browser asks a server for one.
                  element("link", {{"rel", "icon"}, {"href", "data:,"}}) + element("title", {}, escaped(title)) +
                  element("style", {}, style_sheet));
  const std::string header = element("header", {},
                                     element("h1", {}, "What sharing KV caches costs and buys") + lead(all) +
                                         element("nav", {{"aria-label", "Sections"}}, element("ul", {}, links)));
  return "<!doctype html>\n" +
         element("html", {{"lang", "en"}},
                 head + "\n" +
                     element("body", {},
                             element("a", {{"class", "skip"}, {"href", "#content"}}, "Skip to the content") + header +
                                 "\n" + element("main", {{"id", "content"}}, body) + footer(all.origin))) +
         "\n";
}

}  // namespace mini_llama::report
