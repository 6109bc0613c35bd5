// SPDX-License-Identifier: Apache-2.0
#include <string_view>

#include "fuzz/target.hpp"
#include "kvsharer/core/finite.hpp"
#include "kvsharer/search/model_identity.hpp"

namespace {

std::string_view line(std::string_view& rest) {
  const std::string_view first = rest.substr(0, rest.find('\n'));
  rest.remove_prefix(first.size() < rest.size() ? first.size() + 1 : first.size());
  return first;
}

}  // namespace

/// Two rotations, two fingerprints and the channels of a head, in lines.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kvsharer;
  std::string_view rest = fuzz::text(data, size);
  const std::string_view rope = line(rest), other_rope = line(rest), print = line(rest), other_print = line(rest);
  const index_t head_dim = rest.empty() ? 8 : rest[0] % 17;
  if (const auto angles = rope_angles_of(rope, head_dim)) {
    fuzz::promise(static_cast<index_t>(angles->size()) * 2 == head_dim, "an angle for each pair of channels");
    for (const double angle : *angles) fuzz::promise(is_finite(angle), "angles are finite");
    fuzz::promise(same_rotation(rope, rope_angles_text(*angles), head_dim), "what is written is read");
  }
  fuzz::promise(same_rotation(rope, rope, head_dim), "a rotation is itself");
  fuzz::promise(same_rotation(rope, other_rope, head_dim) == same_rotation(other_rope, rope, head_dim),
                "rotations are equal in both orders");
  fuzz::promise(fingerprint_difference(print, print).empty(), "a fingerprint is itself");
  fuzz::promise(
      fingerprint_difference(print, other_print).empty() == fingerprint_difference(other_print, print).empty(),
      "fingerprints are equal in both orders");
  return 0;
}
