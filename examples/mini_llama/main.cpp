// SPDX-License-Identifier: Apache-2.0
// mini_llama: finds layers of a Llama that can share a KV cache, and runs the model with them shared.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <new>
#include <sstream>

#include "commands/commands.hpp"
#include "device/gpu.hpp"
#include "support/interrupt.hpp"
#include "support/standard_output.hpp"
#include "support/usage_error.hpp"
#include "support/version.hpp"

namespace {

/// Reads the command line and runs what it asks for. Gives the exit code.
int run(int argc, char** argv) {
  CLI::App app{"Runs Llama-family models with a layer-shared KV cache, and finds which layers can share."};
  app.set_version_flag("--version", mini_llama::version_text());
  app.require_subcommand(1);
  app.fallthrough(false);
  mini_llama::add_demo(app, mini_llama::open_gpu);
  mini_llama::add_search(app, mini_llama::open_gpu);
  mini_llama::add_generate(app, mini_llama::open_gpu);
  mini_llama::add_bench(app, mini_llama::open_gpu);
  mini_llama::add_eval(app, mini_llama::open_gpu);
  mini_llama::add_logits(app, mini_llama::open_gpu);
  mini_llama::add_sweep(app, mini_llama::open_gpu);
  mini_llama::add_plan(app);
  mini_llama::add_report(app);
  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::ParseError& e) {  // --help and --version, too
    std::ostringstream out;
    const int code = app.exit(e, out);
    mini_llama::write_out(out.str());
    return code == 0 ? 0 : 2;
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    mini_llama::prepare_output();
    mini_llama::catch_interrupts();
    return run(argc, argv);
  } catch (const mini_llama::usage_error& e) {
    std::fprintf(stderr, "mini_llama: %s\n", e.what());
    return 2;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "mini_llama: not enough memory for this model and context\n");
    return 1;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "mini_llama: %s\n", e.what());
    return 1;
  }
}
