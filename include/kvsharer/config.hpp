// SPDX-License-Identifier: Apache-2.0
#pragma once

/// The only header that asks which compiler compiles the library.
///
/// What the library needs of a compiler. A missing file ends the compilation at once, so that no other errors follow.
#if defined(__cplusplus) && __cplusplus < 202002L
#error "kvsharer needs C++20: compile with -std=c++20 or newer (CMake: target_compile_features(... cxx_std_20))"
#include <kvsharer needs C++20>
#endif
#if !defined(__cpp_exceptions) && !defined(__CUDA_ARCH__)
#error "kvsharer refuses by exceptions: compile what includes it without -fno-exceptions"
#include <kvsharer needs exceptions>
#endif

/// KVSHARER_HD marks functions that host and device code may call: views, layouts and metrics. Without CUDA it is
/// empty.
#if defined(__CUDACC__)
#define KVSHARER_HD __host__ __device__
#else
#define KVSHARER_HD
#endif

/// KVSHARER_HIDDEN marks kernels. If two shared objects have the same kernel, each keeps its own copy, since the CUDA
/// runtime registers kernels by address.
#define KVSHARER_HIDDEN __attribute__((visibility("hidden")))
