// SPDX-License-Identifier: Apache-2.0
// A saved sequence: as it comes, and with its checksums put right, without which the fuzzer would never get past them.
#include "kvsharer/runtime/cache_stream.hpp"

#include <cstdint>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/target.hpp"
#include "kvsharer/core/hash.hpp"
#include "kvsharer/layout/paged.hpp"
#include "kvsharer/runtime/shared_cache.hpp"

namespace {

using namespace kvsharer;
using cache_type = shared_cache<float16, layout::paged<2>>;

constexpr std::size_t header_bytes = 8 + 4 + 4 + 3 * 8 + 8 + 2 * 8 + 8 + 1;  // with a tag of one byte

void put_checksum(std::string& bytes, std::size_t at) {
  const std::uint64_t sum = fnv1a().add(std::string_view(bytes).substr(0, at)).value();
  for (std::size_t i = 0; i < 8; ++i) bytes[at + i] = static_cast<char>((sum >> (8 * i)) & 0xffu);
}

void restore(const std::string& bytes) {
  cache_type cache(share_map::from_owners(std::vector<int>{0, 0, 2}).value(), {3, 2, 2, 6},
                   {.max_sequences = 2, .pages = 4, .tag = "m", .positions = true});
  const cache_footprint before = cache.footprint();
  std::istringstream in(bytes);
  sequence_id id;
  try {
    id = cache.restore(in);
  } catch (const error&) {
    fuzz::promise(cache.footprint() == before, "a refused stream leaves the cache as it was");
    return;
  }
  std::ostringstream out;
  cache.save(id, out);
  const auto used = static_cast<std::size_t>(in.tellg());
  fuzz::promise(out.str() == bytes.substr(0, used), "what was restored is saved as it came");
  try {
    cache.append(id, 1);
  } catch (const error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string bytes(fuzz::text(data, size));
  restore(bytes);
  if (size >= header_bytes + 16) {
    put_checksum(bytes, header_bytes);
    put_checksum(bytes, size - 8);
    restore(bytes);
  }
  return 0;
}
