// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <random>
#include <string>

/// Damaged copies of a text, the same on every run: one to three bytes changed, inserted, removed or all behind cut
/// off, often with what means something in JSON.
class damage {
 public:
  explicit damage(unsigned seed) : random_(seed) {}

  std::string operator()(std::string bytes) {
    static const std::string json = "0123456789{}[]\",:.-eE\\ \xff" + std::string(1, '\0');
    for (std::size_t changes = 1 + below(3); changes > 0 && !bytes.empty(); --changes) {
      const std::size_t at = below(bytes.size());
      const char likely = json[below(json.size())], any = static_cast<char>(random_() & 0xff);
      switch (below(8)) {
        case 0:
        case 1:
          bytes[at] = any;
          break;
        case 2:
        case 3:
          bytes[at] = likely;
          break;
        case 4:
        case 5:
          bytes.insert(at, 1, likely);
          break;
        case 6:
          bytes.erase(at, 1 + below(4));
          break;
        case 7:
          bytes.resize(at);
          break;
      }
    }
    return bytes;
  }

 private:
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(random_()) % n; }

  std::mt19937 random_;
};
