// SPDX-License-Identifier: Apache-2.0
#pragma once

/// The only place that asks which compiler reads the library.
///
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
