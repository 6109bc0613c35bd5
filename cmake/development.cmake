# SPDX-License-Identifier: Apache-2.0
# What tests, examples and benchmarks are built with. Users of the library see none of it.
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release)
endif()
foreach(component IN ITEMS cpu json)
  if(NOT TARGET kvsharer::${component})
    message(FATAL_ERROR "kvsharer's tests, examples and benchmarks need ${kvsharer_${component}_needs}. cmake/bootstrap "
                        "installs what is missing; -DKVSHARER_BUILD_TESTS=OFF and its like leave them out.")
  endif()
endforeach()
find_program(KVSHARER_CCACHE ccache)
if(KVSHARER_CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${KVSHARER_CCACHE})
endif()
option(KVSHARER_NATIVE "Compile the project's own programs for this machine's instruction set" ON)

add_library(kvsharer_development INTERFACE)
target_compile_options(kvsharer_development INTERFACE -Wall -Wextra -Wpedantic -Wconversion
                       $<$<BOOL:${KVSHARER_NATIVE}>:-march=native>)
# GCC 12's own AVX-512 header trips its uninitialised-variable warnings when inlined into Eigen's products (GCC bug
# 105593, mended in 13), and its <string> the one on overlapping copies, in `"text" + std::string` (105651, mended in 13).
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(kvsharer_development INTERFACE -Wno-maybe-uninitialized -Wno-uninitialized -Wno-restrict)
endif()

# CUDA is used where it is; -DKVSHARER_CUDA=OFF leaves it out.
include(CheckLanguage)
include(${CMAKE_CURRENT_LIST_DIR}/cuda_choice.cmake)
if(TARGET kvsharer::cuda)
  check_language(CUDA)
  kvsharer_explain_nvcc("${CUDAToolkit_NVCC_EXECUTABLE}")
endif()
if(CMAKE_CUDA_COMPILER)
  set(cuda_found ON)
else()
  set(cuda_found OFF)
endif()
option(KVSHARER_CUDA "Build the CUDA tests and benchmarks, and the driver's CUDA backend" ${cuda_found})
if(KVSHARER_CUDA)
  if(KVSHARER_CCACHE AND NOT DEFINED CMAKE_CUDA_COMPILER_LAUNCHER)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${KVSHARER_CCACHE})
  endif()
  enable_language(CUDA)
  add_library(kvsharer_device_development INTERFACE)
  target_compile_options(kvsharer_device_development INTERFACE -std=c++20 -Xcompiler=-Wall,-Wextra)
  target_link_options(kvsharer_device_development INTERFACE -static-libstdc++)
endif()
