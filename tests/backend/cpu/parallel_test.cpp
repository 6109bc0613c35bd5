// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/backend/cpu/parallel.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace kvsharer;

namespace {

/// So many threads while it lives, however many processors the machine has.
struct threads_here {
  explicit threads_here(int n) { cpu::detail::use_threads(n); }
  ~threads_here() { cpu::detail::use_threads(before); }
  int before = cpu::thread_count();
};

std::vector<int> calls_of(index_t n) {
  std::vector<int> calls(static_cast<std::size_t>(n));
  cpu::parallel_for(n, [&](index_t i) { ++calls[static_cast<std::size_t>(i)]; });
  return calls;
}

}  // namespace

TEST_CASE("each index once, with any number of threads, in loops that follow at once") {
  for (const int threads : {1, 2, 3, 8, 2}) {
    const threads_here some(threads);
    CHECK(cpu::thread_count() <= threads);  // 1 without OpenMP
    for (int round = 0; round < 300; ++round)
      for (const index_t n : {0, 1, 2, 7, 40}) REQUIRE(calls_of(n) == std::vector<int>(static_cast<std::size_t>(n), 1));
  }
}

TEST_CASE("what the loop wrote is there behind it, and the caller's threads are as before") {
  const threads_here four(4);
  const int before = cpu::thread_count();
  for (int round = 0; round < 300; ++round) {
    std::vector<long> squares(64);
    cpu::parallel_for(64, [&](index_t i) { squares[static_cast<std::size_t>(i)] = i * i; });
    long sum = 0;
    for (const long s : squares) sum += s;
    REQUIRE(sum == 85344);
  }
  CHECK(cpu::thread_count() == before);
}

TEST_CASE("loops inside a loop run on its thread alone") {
  const threads_here four(4);
  std::atomic<int> wrong = 0, inner = 0;
  cpu::parallel_for(16, [&](index_t) {
    wrong += cpu::thread_count() != 1;
    const auto here = std::this_thread::get_id();
    cpu::parallel_for(5, [&](index_t) {
      ++inner;
      wrong += std::this_thread::get_id() != here;
    });
  });
  CHECK(wrong == 0);
  CHECK(inner == 16 * 5);
}

TEST_CASE("several callers at once each get all of their indices") {
  std::atomic<int> wrong = 0;
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c)
    callers.emplace_back([&] {
      const threads_here three(3);
      for (int round = 0; round < 200; ++round) wrong += calls_of(20) != std::vector<int>(20, 1);
    });
  for (std::thread& t : callers) t.join();
  CHECK(wrong == 0);
}

TEST_CASE("the first exception ends a loop, and the next loop is a new one") {
  const threads_here four(4);
  for (int round = 0; round < 100; ++round) {
    std::atomic<int> begun = 0;
    const auto loop = [&] {
      cpu::parallel_for(1000, [&](index_t i) {
        ++begun;
        if (i == 3) throw std::runtime_error("at 3");
      });
    };
    CHECK_THROWS_WITH_AS(loop(), "at 3", std::runtime_error);
    CHECK(begun <= 1000);
    REQUIRE(calls_of(9) == std::vector<int>(9, 1));
  }
}

TEST_CASE("a helper that holds an index is waited for") {
  const threads_here two(2);
  const auto caller = std::this_thread::get_id();
  for (int round = 0; round < 50; ++round) {
    std::atomic<bool> caller_had_one = false, finished = false;
    std::atomic<int> helped = 0;
    cpu::parallel_for(2, [&](index_t) {
      if (std::this_thread::get_id() == caller) {
        caller_had_one = true;
        return;
      }
      ++helped;
      while (!caller_had_one) std::this_thread::yield();
      for (int i = 0; i < 100; ++i) std::this_thread::yield();  // the caller has nothing left to do
      finished = true;
    });
    CHECK((helped == 0 || finished));
  }
}
