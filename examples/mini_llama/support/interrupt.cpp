// SPDX-License-Identifier: Apache-2.0
#include "support/interrupt.hpp"

#include <csignal>

namespace mini_llama {

namespace {

volatile std::sig_atomic_t pressed = 0;

extern "C" void on_interrupt(int) {
  pressed = 1;
  std::signal(SIGINT, SIG_DFL);
}

}  // namespace

void catch_interrupts() { std::signal(SIGINT, on_interrupt); }

bool interrupted() noexcept { return pressed != 0; }

}  // namespace mini_llama
