// SPDX-License-Identifier: Apache-2.0
// Runs a fuzz target without a fuzzer: over every file of the folders that it is given, and over damaged copies of
// them, the same on every run.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include "mini_llama/damage.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

void run(const std::string& bytes) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
}

}  // namespace

int main(int argc, char** argv) {
  constexpr unsigned damaged_copies = 50;
  std::set<std::filesystem::path> files;
  for (int i = 1; i < argc; ++i)
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) files.insert(entry.path());
  run("");
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    run(bytes);
    for (unsigned seed = 0; seed < damaged_copies; ++seed) run(damage(seed)(bytes));
  }
  std::printf("%zu files, and %u damaged copies of each\n", files.size(), damaged_copies);
  return files.empty() ? 1 : 0;
}
