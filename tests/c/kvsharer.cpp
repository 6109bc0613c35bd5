// SPDX-License-Identifier: Apache-2.0
// [all]
// The one C++ file of an engine in C.
#include "kvsharer/c.hpp"
// [/all]
