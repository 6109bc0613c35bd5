// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace mini_llama {

/// `text`, which is UTF-8, in Unicode's normalization form C: characters composed. O(text).
std::string nfc(std::string_view text);

}  // namespace mini_llama
