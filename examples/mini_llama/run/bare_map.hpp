// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string_view>

#include "kvsharer/core/share_map.hpp"

namespace mini_llama {

/// The Python tools of KVSharer keep a map alone: the dictionary {layer: source}, as Python or JSON writes it, or a
/// list of owners. So does the line of integers of kvsharer/io/plan_text.hpp. That says nothing of the model that the
/// map was found on, and so is no plan. Throws kvsharer::error (plan_syntax), with the command that makes one of it,
/// where `text` of `file` is such a map; layers that it does not name read what they read in `own`, the model's own
/// map.
void refuse_bare_map(std::string_view text, const std::filesystem::path& file, const kvsharer::share_map& own);

}  // namespace mini_llama
