// SPDX-License-Identifier: Apache-2.0
#include "kvsharer/core/rope_text.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace kvsharer;

namespace {

const rope_rule llama3{.theta = 500000,
                       .scaling = rope_scaling::llama3,
                       .factor = 32,
                       .low_freq_factor = 1,
                       .high_freq_factor = 4,
                       .original_max_position = 8192};

}  // namespace

TEST_CASE("a rule as words, and back as its angles") {
  CHECK(rope_text(rope_rule{}) == "theta=10000 scaling=none");
  CHECK(rope_text({.theta = 1e6, .scaling = rope_scaling::linear, .factor = 2.5}) ==
        "theta=1e+06 scaling=linear factor=2.5");
  CHECK(rope_text(llama3) == "theta=5e+05 scaling=llama3 factor=32 low=1 high=4 original=8192");
  for (const rope_rule& rule : {rope_rule{}, llama3, rope_rule{.theta = 777.25}})
    CHECK(rope_angles_of(rope_text(rule), 64) == rope_frequencies(rule, 64));
}

TEST_CASE("angles by hand: theta 10000 turns four pairs by 1, 0.1, 0.01 and 0.001") {
  const std::vector<double> angles{1, 0.1, 0.01, 0.001};
  CHECK(rope_angles_text(angles) == "angles=1,0.1,0.01,0.001");
  CHECK(rope_angles_of("angles=1,0.1,0.01,0.001", 8) == angles);
  CHECK(same_rotation("angles=1,0.1,0.01,0.001", "half-split theta=10000", 8));
  CHECK(same_rotation("angles=0.5,0.05,0.005,0.0005", "theta=10000 scaling=linear factor=2", 8));
  CHECK_FALSE(same_rotation("angles=1,0.1,0.01,0.0011", "theta=10000", 8));
}

TEST_CASE("lines that say the same in other words agree") {
  const char* const same[] = {"half-split theta=10000 scaling=none", "interleaved theta=1e4", "theta=10000.0",
                              "scaling=linear factor=1 theta=10000",
                              "theta=10000 scaling=llama3 factor=1 low=1 high=4 original=8192"};
  for (const char* a : same)
    for (const char* b : same) CHECK_MESSAGE(same_rotation(a, b, 128), a << " and " << b);
  // Factors that a scaling of none does not use do not count.
  CHECK(same_rotation("theta=10000 factor=8", "theta=10000", 128));
}

TEST_CASE("other rotations differ, whatever the pairing") {
  const char* const other[] = {"half-split theta=500000", "theta=10000 scaling=linear factor=2",
                               "theta=10000 scaling=llama3 factor=8 low=1 high=4 original=8192", "theta=10001"};
  for (const char* text : other) CHECK_FALSE(same_rotation(text, "half-split theta=10000 scaling=none", 128));
}

TEST_CASE("what a line does not say is compared as words") {
  for (const char* text : {"none", "", "theta=ten", "theta=10000 scaling=yarn factor=4", "theta=10000 mscale=1",
                           "scaling=linear factor=2", "theta=0", "theta=10000,5", "theta=inf", "angles=1,nan,1,1",
                           "angles=1,x", "angles=1", "angles=1,0.1,0.01,0.001 theta=10000", "theta="}) {
    CAPTURE(text);
    CHECK_FALSE(rope_angles_of(text, 8).has_value());
    CHECK(same_rotation(text, text, 8));
    CHECK_FALSE(same_rotation(text, "theta=10000", 8));
  }
  CHECK_FALSE(rope_angles_of("theta=10000", 7).has_value());  // no pairs of channels
}
