// SPDX-License-Identifier: Apache-2.0
// Two of eight layers of the paged engine read another layer's cache.
#include "compare_runs.hpp"
#include "paged_engine_cache.hpp"

int main() { return example::compare_runs<example::paged_engine>(2); }
