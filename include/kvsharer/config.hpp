// SPDX-License-Identifier: Apache-2.0
#pragma once

/// The only place that asks which compiler reads the library.
///
/// What a compiler must be told. No other error is of interest then, and a file that is nowhere ends the compilation,
/// which would go on with hundreds of them.
#if defined(__cplusplus) && __cplusplus < 202002L
#error "kvsharer needs C++20: compile with -std=c++20 or newer (CMake: target_compile_features(... cxx_std_20))"
#include <kvsharer needs C++20>
#endif
#if !defined(__cpp_exceptions) && !defined(__CUDA_ARCH__)
#error "kvsharer refuses by exceptions: compile what includes it without -fno-exceptions"
#include <kvsharer needs exceptions>
#endif

/// KVSHARER_HD marks what both the host and a CUDA device may call: views, layouts and metrics. A compiler without
/// CUDA sees nothing there.
#if defined(__CUDACC__)
#define KVSHARER_HD __host__ __device__
#else
#define KVSHARER_HD
#endif

/// KVSHARER_HIDDEN marks kernels: two shared objects that hold the same one each keep their own, since the CUDA runtime
/// registers kernels by address.
#define KVSHARER_HIDDEN __attribute__((visibility("hidden")))
