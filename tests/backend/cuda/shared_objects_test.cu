// SPDX-License-Identifier: Apache-2.0
// Two shared objects that hold the same kernels, in one process: each launches its own.
#include <dlfcn.h>
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>

namespace {

/// A library beside this program, with all its symbols offered to those that are loaded later, as an engine's plugins
/// may be.
class plugin {
 public:
  explicit plugin(const char* name)
      : handle_(dlopen((std::filesystem::read_symlink("/proc/self/exe").parent_path() / name).c_str(),
                       RTLD_NOW | RTLD_GLOBAL)) {
    if (handle_ == nullptr) FAIL(dlerror());
    similarity = reinterpret_cast<double (*)(int)>(dlsym(handle_, "kvsharer_test_similarity"));
    if (similarity == nullptr) FAIL(dlerror());
  }
  plugin(const plugin&) = delete;
  ~plugin() { dlclose(handle_); }

  double (*similarity)(int) = nullptr;

 private:
  void* handle_;
};

/// By the sums of squares: (S - 2 n^2) / S, S = 1 + 4 + ... + n^2.
double expected(int n) {
  double s = 0;
  for (int i = 1; i <= n; ++i) s += static_cast<double>(i) * i;
  return (s - 2.0 * n * n) / s;
}

}  // namespace

TEST_CASE("two shared objects with the same kernels work beside each other, and the second after the first is gone") {
  plugin second(KVSHARER_SECOND_ENGINE);
  {
    plugin first(KVSHARER_FIRST_ENGINE);
    const bool apart = first.similarity != second.similarity;
    REQUIRE(apart);
    for (const int n : {5, 64, 1000}) {
      CAPTURE(n);
      CHECK(std::fabs(first.similarity(n) - expected(n)) < 1e-6);
      CHECK(std::fabs(second.similarity(n) - expected(n)) < 1e-6);
    }
  }
  CHECK(std::fabs(second.similarity(77) - expected(77)) < 1e-6);
}
