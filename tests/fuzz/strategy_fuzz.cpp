// SPDX-License-Identifier: Apache-2.0
#include "fuzz/target.hpp"
#include "kvsharer/io/strategy_json.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const kvsharer::strategy s = kvsharer::read_strategy(fuzz::text(data, size));
    fuzz::promise(s.report.plan.layers() == s.model.layers, "the map is of the model");
    const std::string written = kvsharer::write_strategy(s);
    fuzz::promise(kvsharer::write_strategy(kvsharer::read_strategy(written)) == written, "what is written is read");
  } catch (const kvsharer::error&) {
  }
  return 0;
}
