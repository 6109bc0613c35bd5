// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <string>

#include "kvsharer/backend/cuda/status.cuh"
#include "kvsharer/core/error.hpp"

namespace kvsharer::inline v0::cuda {

/// What launches depend on, queried once.
struct device_properties {
  int capability = 0;        ///< 10 x major + minor
  int multiprocessors = 0;   ///< on the device
  std::size_t l2_bytes = 0;  ///< of second-level cache
};

/// The properties of the current device. Throws errc::no_device when there is none or it is older than sm_80.
inline device_properties query_device() {
  int count = 0, device = 0;
  const cudaError_t outcome = cudaGetDeviceCount(&count);
  if (outcome != cudaSuccess || count == 0)
    throw error(errc::no_device, std::string("no CUDA device can be used (") + cudaGetErrorName(outcome) +
                                     "); run on the host, or install a driver for the card");
  check(cudaGetDevice(&device), "cudaGetDevice");
  const auto attribute = [device](cudaDeviceAttr which) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute");
    return value;
  };
  device_properties p;
  p.capability = 10 * attribute(cudaDevAttrComputeCapabilityMajor) + attribute(cudaDevAttrComputeCapabilityMinor);
  p.multiprocessors = attribute(cudaDevAttrMultiProcessorCount);
  p.l2_bytes = static_cast<std::size_t>(attribute(cudaDevAttrL2CacheSize));
  if (p.capability < 80)
    throw error(errc::no_device, "the CUDA device is of compute capability " + std::to_string(p.capability / 10) + "." +
                                     std::to_string(p.capability % 10) + "; kvsharer needs 8.0 or newer");
  return p;
}

/// The current device's name. Throws errc::cuda_call.
inline std::string device_name() {
  int device = 0;
  cudaDeviceProp properties;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  return properties.name;
}

}  // namespace kvsharer::inline v0::cuda
