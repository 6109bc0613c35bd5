// SPDX-License-Identifier: Apache-2.0
#pragma once

/// The library's version, as macros. CMake reads these three lines; the numbers are in no other header.
#define KVSHARER_VERSION_MAJOR 0
/// Below 1.0, raised when users may have to change their code.
#define KVSHARER_VERSION_MINOR 1
/// Raised when nothing changes that users rely on.
#define KVSHARER_VERSION_PATCH 0
