// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>

#include "commands/commands.hpp"
#include "report/page.hpp"
#include "support/files.hpp"
#include "support/standard_output.hpp"

namespace mini_llama {

namespace {

struct report_arguments {
  std::filesystem::path sweep;
  std::optional<std::filesystem::path> out;
};

void run(const report_arguments& a) {
  const report::sweep_results all = report::read_sweep(a.sweep);
  const std::filesystem::path out = a.out.value_or(a.sweep / "report.html");
  write_file_atomically(out, report::page(all));
  write_out(out.string() + "\n");
  if (all.maps.size() + 1 < all.planned)
    std::fprintf(stderr, "mini_llama: the sweep is unfinished, %zu of %zu lines\n", all.maps.size() + 1, all.planned);
}

}  // namespace

void add_report(CLI::App& app) {
  auto a = std::make_shared<report_arguments>();
  CLI::App* c = app.add_subcommand("report", "Write a sweep's results as one HTML page");
  c->add_option("sweep", a->sweep, "Folder written by sweep")->required();
  c->add_option("--out", a->out, "File to write; report.html in the folder where not given");
  c->callback([a] { run(*a); });
}

}  // namespace mini_llama
