// SPDX-License-Identifier: Apache-2.0
// Two of eight layers of the flat engine read another layer's cache.
#include "compare_runs.hpp"
#include "flat_engine_cache.hpp"

int main() { return example::compare_runs<example::flat_engine>(2); }
