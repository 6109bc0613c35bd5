# SPDX-License-Identifier: Apache-2.0
# What is built for a GPU, and for which. Read before the CUDA language is enabled; tests read it alone.

# One architecture where nobody names any, since every kernel is compiled for each. CUDAARCHS, CMake's own variable of the
# environment, names them as -DCMAKE_CUDA_ARCHITECTURES does.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES AND "$ENV{CUDAARCHS}" STREQUAL "")
  set(CMAKE_CUDA_ARCHITECTURES 90a-real)
endif()

# Says what to do where a toolkit is installed (the compiler `nvcc` lies there) and CMake, which looks in PATH, found none.
function(kvsharer_explain_nvcc nvcc)
  if(CMAKE_CUDA_COMPILER OR NOT nvcc)
    return()
  endif()
  cmake_path(GET nvcc PARENT_PATH folder)
  set(advice "${nvcc} is not in PATH. To build for a GPU, set PATH=${folder}:$PATH, or configure with "
             "-DCMAKE_CUDA_COMPILER=${nvcc}")
  string(CONCAT advice ${advice})
  if(NOT DEFINED KVSHARER_CUDA OR KVSHARER_CUDA STREQUAL "AUTO")
    message(STATUS "kvsharer: nothing is built for a GPU, since ${advice}; -DKVSHARER_CUDA=OFF says that none is wanted")
  elseif(KVSHARER_CUDA)
    message(FATAL_ERROR "${advice}")
  endif()
endfunction()
