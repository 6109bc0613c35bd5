// SPDX-License-Identifier: Apache-2.0
#include "text/tokens/splitter.hpp"

#include <string>

namespace mini_llama {

void splitter::run(std::size_t step, std::string_view piece, const std::function<void(std::string_view)>& sink) const {
  if (piece.empty()) return;
  if (step == steps_.size()) return sink(piece);
  const split_step& s = steps_[step];
  std::string prefixed;
  if (s.prefix_space && piece[0] != ' ') piece = prefixed.append(" ").append(piece);
  const auto pass_on = [&](std::size_t begin, std::size_t end, bool matched) {
    if (s.kept == split_step::keep::all || (s.kept == split_step::keep::matches) == matched)
      run(step + 1, piece.substr(begin, end - begin), sink);
  };
  std::size_t done = 0;
  for (const pattern::match& m : s.at.matches(piece)) {
    pass_on(done, m.begin, false);
    pass_on(m.begin, m.end, true);
    done = m.end;
  }
  pass_on(done, piece.size(), false);
}

}  // namespace mini_llama
