// SPDX-License-Identifier: Apache-2.0
// mini_llama: finds layers of a Llama that can share a KV cache, and runs the model with them shared.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <new>

#include "commands/commands.hpp"
#include "device/gpu.hpp"
#include "support/interrupt.hpp"
#include "support/usage_error.hpp"
#include "support/version.hpp"

int main(int argc, char** argv) {
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
  mini_llama::add_report(app);
  mini_llama::catch_interrupts();
  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
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
