// SPDX-License-Identifier: Apache-2.0
#pragma once

/// The library's version, as macros for the preprocessor. CMake reads these three lines; they stand nowhere else.
#define KVSHARER_VERSION_MAJOR 0
#define KVSHARER_VERSION_MINOR 1
#define KVSHARER_VERSION_PATCH 0
