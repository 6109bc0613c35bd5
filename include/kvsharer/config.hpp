// SPDX-License-Identifier: Apache-2.0
#pragma once

/// The only header that asks which compiler compiles the library.
///
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
