// SPDX-License-Identifier: Apache-2.0
#include "fuzz/target.hpp"
#include "kvsharer/io/plan_json.hpp"
#include "kvsharer/io/plan_text.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const kvsharer::plan_file f = kvsharer::read_plan(fuzz::text(data, size));
    fuzz::promise(f.plan.layers() == f.model.layers, "the maps are of the model");
    const std::string written = kvsharer::write_plan(f);
    fuzz::promise(kvsharer::write_plan(kvsharer::read_plan(written)) == written, "what is written is read");
    const std::string line = kvsharer::plan_text(f.plan);
    fuzz::promise(kvsharer::plan_from_text(line).value() == f.plan.sharing(), "its line has the same maps");
  } catch (const kvsharer::error&) {
  }
  const kvsharer::result<kvsharer::share_plan> plan = kvsharer::plan_from_text(fuzz::text(data, size));
  if (plan)
    fuzz::promise(kvsharer::plan_from_text(kvsharer::plan_text(plan.value())).value() == plan.value(),
                  "a line that is written is read");
  return 0;
}
