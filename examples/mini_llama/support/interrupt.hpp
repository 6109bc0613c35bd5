// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace mini_llama {

/// From now on the first Ctrl-C only asks long work to stop at its next safe point; the second one ends the program.
void catch_interrupts();

/// Was Ctrl-C pressed since?
bool interrupted() noexcept;

}  // namespace mini_llama
