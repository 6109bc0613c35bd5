// SPDX-License-Identifier: Apache-2.0
#pragma once

/// The library's version, as macros for the preprocessor. CMake reads these three lines; they stand nowhere else.
#define KVSHARER_VERSION_MAJOR 0
/// Raised where users may have to change something, below 1.0.
#define KVSHARER_VERSION_MINOR 1
/// Raised where nothing changes that users rely on.
#define KVSHARER_VERSION_PATCH 0
